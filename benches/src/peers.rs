//! Where the Python peers and the shared data are.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use benches::interop::environments;
pub use benches::interop::workspace;

use crate::child;

/// A file of the shared data: below `TEST_SHARED`, by default `../shared` beside the workspace.
///
/// # Errors
/// When it is not there, with the variable to set.
pub fn shared(path: &str) -> Result<PathBuf> {
    let root = std::env::var_os("TEST_SHARED").map_or_else(|| workspace().join("../shared"), PathBuf::from);
    let file = root.join(path);
    if !file.exists() {
        bail!("{} is not there: set TEST_SHARED to the folder of the shared data", file.display());
    }
    Ok(file)
}

/// The interpreter of an environment, which is set up if need be; `None`, with a line that says why, if it cannot be had.
pub fn python(name: &str) -> Result<Option<PathBuf>> {
    let output = Command::new(workspace().join("benches/peers/setup.sh")).arg(name).output()?;
    if !output.status.success() {
        print!("{}", String::from_utf8_lossy(&output.stdout));
        return Ok(None);
    }
    Ok(Some(environments()?.join(name).join("bin/python")))
}

/// The interpreter of an environment that a load cannot do without.
pub fn needed(name: &str) -> Result<PathBuf> {
    python(name)?.with_context(|| format!("the Python environment {name} cannot be had"))
}

/// Runs a Python script and gives what it printed and took.
pub fn script(python: &Path, script: &Path, arguments: &[&Path]) -> Result<child::Run> {
    child::run(Command::new(python).arg("-u").arg(script).args(arguments))
}
