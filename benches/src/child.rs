//! Running a program and measuring it.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use crate::Settings;
use crate::usage;

/// What a run took.
#[derive(Debug, Clone, Default)]
pub struct Run {
    /// From its start to its end, in seconds.
    pub wall_s: f64,
    /// User and system time, in seconds.
    pub cpu_s: f64,
    /// The most resident memory, in MiB.
    pub peak_mib: f64,
    /// Standard output.
    pub output: String,
    /// Standard error.
    pub log: String,
}

impl Run {
    /// Two runs one after the other.
    pub fn then(self, next: Run) -> Run {
        Run {
            wall_s: self.wall_s + next.wall_s,
            cpu_s: self.cpu_s + next.cpu_s,
            peak_mib: self.peak_mib.max(next.peak_mib),
            output: next.output,
            log: next.log,
        }
    }
}

/// Runs a program to its end.
///
/// # Errors
/// When it cannot be started or ends with anything but 0; the message holds the end of its standard error.
pub fn run(command: &mut Command) -> Result<Run> {
    start(command)?.wait()
}

/// Starts a program.
///
/// # Errors
/// When it cannot be started.
pub fn start(command: &mut Command) -> Result<Running> {
    // Files and not pipes: a full pipe would make the child wait for us.
    let (out, err) = (tempfile::tempfile()?, tempfile::tempfile()?);
    command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(err.try_clone()?);
    let begun = Instant::now();
    let child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
    Ok(Running { child, command: format!("{command:?}"), out, err, begun, is_waited_for: false })
}

/// A program that runs; it is killed where nobody waits for its end.
///
/// Its peak of memory counts this process's at its start: the system takes it over when a program is started.
#[derive(Debug)]
pub struct Running {
    child: Child,
    command: String,
    out: File,
    err: File,
    begun: Instant,
    is_waited_for: bool,
}

impl Running {
    /// Waits for its end.
    ///
    /// # Errors
    /// As [`run`].
    pub fn wait(mut self) -> Result<Run> {
        let (status, used) = usage::wait(&self.child)?;
        self.is_waited_for = true;
        let wall_s = self.begun.elapsed().as_secs_f64();
        let log = text_of(&self.err)?;
        if !status.success() {
            bail!("{} ended with {status}:\n{}", self.command, end_of(&log));
        }
        Ok(Run { wall_s, cpu_s: used.cpu_s, peak_mib: used.peak_mib, output: text_of(&self.out)?, log })
    }

    /// Asks it to end, with SIGTERM.
    ///
    /// # Errors
    /// When it has ended by itself; the message holds the end of its standard error.
    pub fn terminate(&self) -> Result<()> {
        if self.has_ended()? {
            bail!("{} ended by itself:\n{}", self.command, end_of(&text_of(&self.err)?));
        }
        let sent = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status()?;
        ensure!(sent.success(), "SIGTERM was not sent to {}", self.command);
        Ok(())
    }

    /// Whether it has ended.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn has_ended(&self) -> Result<bool> {
        Ok(usage::has_ended(&self.child)?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.is_waited_for {
            // Both fail only when it has ended already.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn text_of(mut file: &File) -> Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn end_of(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

/// The release binary under test.
#[derive(Debug, Clone)]
pub struct Smelt {
    path: PathBuf,
}

impl Smelt {
    /// The binary that the settings name.
    ///
    /// # Errors
    /// When it is not there.
    pub fn find(settings: &Settings) -> Result<Smelt> {
        let beside = || std::env::current_exe().map(|exe| exe.with_file_name("smelt"));
        let path = settings.smelt.clone().map_or_else(beside, Ok)?;
        if !path.is_file() {
            bail!("no smelt at {}: cargo build --release -p smelt, or --smelt FILE", path.display());
        }
        Ok(Smelt { path })
    }

    /// A command without the caller's settings, which must not get into the figures.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        let variables = std::env::vars_os().map(|(name, _)| name);
        for name in variables.filter(|name| name.to_string_lossy().starts_with("SMELT_")) {
            command.env_remove(name);
        }
        command
    }

    /// A command on a project and a lake.
    pub fn on(&self, project: &Path, lake: &Path) -> Command {
        let mut command = self.command();
        command.arg("--project").arg(project).arg("--lake").arg(lake);
        command
    }

    /// Runs one SQL statement and gives its answer as CSV.
    pub fn sql(&self, project: &Path, lake: &Path, statement: &str) -> Result<String> {
        Ok(run(self.on(project, lake).args(["sql", statement, "--format", "csv"]))?.output)
    }

    /// What it calls itself.
    pub fn version(&self) -> Result<String> {
        Ok(run(Command::new(&self.path).arg("--version"))?.output.trim().to_owned())
    }
}

/// An empty folder of this name in the work folder; what was there is removed.
pub fn fresh(settings: &Settings, name: &str) -> Result<PathBuf> {
    let path = settings.work.join(name);
    if path.exists() {
        std::fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    std::fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
    Ok(path)
}
