//! Running a program and measuring it.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

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
}

impl Run {
    /// Two runs one after the other.
    pub fn then(self, next: Run) -> Run {
        Run {
            wall_s: self.wall_s + next.wall_s,
            cpu_s: self.cpu_s + next.cpu_s,
            peak_mib: self.peak_mib.max(next.peak_mib),
            output: next.output,
        }
    }
}

/// Runs a program to its end.
///
/// # Errors
/// When it cannot be started or ends with anything but 0; the message holds the end of its standard error.
pub fn run(command: &mut Command) -> Result<Run> {
    // Files and not pipes: a full pipe would make the child wait for us.
    let (mut out, mut err) = (tempfile::tempfile()?, tempfile::tempfile()?);
    command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(err.try_clone()?);
    let start = Instant::now();
    let child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
    let (status, used) = usage::wait(&child)?;
    let wall_s = start.elapsed().as_secs_f64();
    if !status.success() {
        let text = text_of(&mut err)?;
        let tail: Vec<&str> = text.lines().rev().take(20).collect();
        bail!("{command:?} ended with {status}:\n{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
    }
    Ok(Run { wall_s, cpu_s: used.cpu_s, peak_mib: used.peak_mib, output: text_of(&mut out)? })
}

fn text_of(file: &mut File) -> Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
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
