//! Running the binary, and where things are.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

/// The workspace root.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A file or folder of the shared data, or `None` with a line that says what is skipped.
pub fn shared(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("TEST_SHARED").map_or_else(|| workspace().join("../shared"), PathBuf::from);
    let found = root.join(path);
    if found.exists() {
        return Some(found);
    }
    skip(&format!("shared data {path}"), &format!("{} is not there", found.display()));
    None
}

/// Says that something was not tested, in the form that `./ci` counts.
pub fn skip(what: &str, why: &str) {
    println!("skipped: {what}: {why}");
}

/// A temporary folder with a lake in it or elsewhere, and the binary on that lake.
pub struct Lake {
    folder: TempDir,
    /// The lake's address where it is not in the folder, and the variables that lead there.
    elsewhere: Option<(String, Vec<(&'static str, String)>)>,
}

/// What a command printed, and its exit code.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// What a command left behind.
    pub fn of(output: Output) -> Ran {
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The command ended with 0.
    #[track_caller]
    pub fn fine(self) -> Ran {
        self.exit(0)
    }

    /// The command ended with `code`, and did not panic.
    #[track_caller]
    pub fn exit(self, code: i32) -> Ran {
        assert!(!self.stderr.contains("panicked"), "panicked:\n{}", self.stderr);
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Standard error names all of `texts`.
    #[track_caller]
    pub fn says(self, texts: &[&str]) -> Ran {
        for text in texts {
            assert!(self.stderr.contains(text), "{text:?} is not in:\n{}", self.stderr);
        }
        self
    }
}

impl Lake {
    pub fn new() -> Lake {
        Lake { folder: tempfile::tempdir().expect("a temporary folder"), elsewhere: None }
    }

    /// A lake at an address that these variables lead to.
    pub fn elsewhere(url: &str, variables: Vec<(&'static str, String)>) -> Lake {
        Lake { elsewhere: Some((url.to_owned(), variables)), ..Lake::new() }
    }

    /// The temporary folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The lake's folder, in the temporary one.
    pub fn path(&self) -> PathBuf {
        self.folder().join("lake")
    }

    /// The command `smelt args… --lake <this>`, not yet run, in the temporary folder, without the caller's settings.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = self.plain_command(args);
        match &self.elsewhere {
            Some((url, _)) => command.arg("--lake").arg(url),
            None => command.arg("--lake").arg(self.path()),
        };
        command
    }

    /// The command `smelt args…` on whatever lake the arguments name.
    pub fn plain_command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_smelt"));
        for (name, _) in std::env::vars_os() {
            if ["SMELT_", "AWS_"].iter().any(|ours| name.to_string_lossy().starts_with(ours)) {
                command.env_remove(name);
            }
        }
        let variables = self.elsewhere.iter().flat_map(|(_, variables)| variables);
        command.envs(variables.map(|(name, value)| (name, value)));
        command.args(args).current_dir(self.folder()).stdin(Stdio::null());
        command
    }

    pub fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ran {
        Ran::of(self.command(args).output().expect("the binary starts"))
    }

    /// Runs `smelt args…` on whatever lake the arguments name.
    pub fn run_plain<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ran {
        Ran::of(self.plain_command(args).output().expect("the binary starts"))
    }

    /// Ingests `path` as `stream`.
    #[track_caller]
    pub fn ingest(&self, stream: &str, path: &Path) -> Ran {
        self.run(["ingest".to_owned(), "--input".to_owned(), format!("{stream}={}", path.display())]).fine()
    }

    /// Ingests each path as its stream, in one run.
    #[track_caller]
    pub fn ingest_all(&self, inputs: &[(String, PathBuf)]) -> Ran {
        let inputs =
            inputs.iter().flat_map(|(stream, path)| ["--input".into(), format!("{stream}={}", path.display())]);
        self.run(std::iter::once("ingest".to_owned()).chain(inputs)).fine()
    }

    #[track_caller]
    pub fn refine(&self) -> Ran {
        self.run(["refine"]).fine()
    }

    /// The answer of a named query, as CSV.
    #[track_caller]
    pub fn answer(&self, query: &str) -> String {
        self.run(["query", query, "--format", "csv"]).fine().stdout
    }

    /// The result of a statement, as CSV without its header.
    #[track_caller]
    pub fn sql(&self, statement: &str) -> String {
        let csv = self.run(["sql", statement, "--format", "csv"]).fine().stdout;
        csv.split_once('\n').map_or(String::new(), |(_, rows)| rows.trim_end().to_owned())
    }

    /// The commits of all tables: a run that consumed nothing adds none.
    pub fn commits(&self) -> Vec<PathBuf> {
        let mut commits: Vec<PathBuf> = files_below(&self.path())
            .into_iter()
            .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
            .filter(|path| path.components().any(|part| part.as_os_str() == "_delta_log"))
            .filter(|path| !path.ends_with("_last_checkpoint"))
            .collect();
        commits.sort();
        commits
    }
}

/// Asks a child to end, with SIGTERM.
pub fn terminate(child: &Child) {
    let sent = Command::new("sh").args(["-c", &format!("kill -TERM {}", child.id())]).status().expect("a shell");
    assert!(sent.success(), "the child has ended before");
}

/// What lies in a folder, in order of the names.
pub fn files_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

/// All files below a folder.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return found };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_below(&path));
        } else {
            found.push(path);
        }
    }
    found
}
