//! A server's process, which ends with the test.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use crate::wait;

/// Becomes the server; what it leaves beside it waits for a line, and kills the server when there comes none: the
/// test's end of the pipe is closed by the system, however the test ended.
const KEEPER: &str = r#"exec 3<&0; (read -r _ <&3 || kill -KILL $$) & exec "$@" </dev/null 3<&-"#;

/// How long a server may take to stop; what takes longer has hung, as a broker does that lost its quorum.
const STOP_WITHIN: Duration = Duration::from_secs(20);

/// A running server.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    keeper: ChildStdin,
    log: PathBuf,
}

impl Process {
    /// Starts `command`, whose output is added to `log`.
    pub fn start(name: &str, command: &Command, log: &Path) -> Self {
        let output = OpenOptions::new().create(true).append(true).open(log).expect("the server's folder is writable");
        let mut keeper = Command::new("/bin/sh");
        keeper.args(["-c", KEEPER, "keeper"]).arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => keeper.env(key, value),
                None => keeper.env_remove(key),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            keeper.current_dir(folder);
        }
        keeper.stdin(Stdio::piped()).stderr(output.try_clone().expect("a handle")).stdout(output);
        let mut child = keeper.spawn().unwrap_or_else(|e| panic!("{name}: cannot be started: {e}"));
        let pipe = child.stdin.take().expect("it was asked for");
        Self { name: name.to_owned(), child, keeper: pipe, log: log.to_owned() }
    }

    /// Asks until the server answers.
    ///
    /// # Panics
    /// With the end of its log, when it ends before or takes too long.
    #[track_caller]
    pub fn ready<T>(&mut self, mut ask: impl FnMut() -> Option<T>) -> T {
        wait::until(&format!("{}: an answer (log: {})", self.name, self.log.display()), || {
            self.assert_alive();
            ask()
        })
    }

    /// # Panics
    /// With the end of its log, when it ended by itself.
    #[track_caller]
    pub fn assert_alive(&mut self) {
        if let Some(status) = self.child.try_wait().expect("a child of this process") {
            panic!("{} ended ({status}), its log ends:\n{}", self.name, self.log_tail());
        }
    }

    /// SIGTERM, and waits; SIGKILL when it does not end by itself.
    pub fn stop(mut self) {
        self.signal("TERM");
        let start = Instant::now();
        while start.elapsed() < STOP_WITHIN {
            if self.child.try_wait().expect("a child of this process").is_some() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: &str) {
        let script = format!("kill -{signal} {}", self.child.id());
        let sent = Command::new("/bin/sh").args(["-c", &script]).status().expect("a shell");
        assert!(sent.success(), "{}: SIG{signal} was not sent", self.name);
    }

    fn log_tail(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Drop for Process {
    /// SIGKILL, if it has not ended.
    fn drop(&mut self) {
        // Both fail only when the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = self.keeper.write_all(b"\n");
    }
}
