//! `smelt completions`: a completion script for the shell.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;

use crate::cli::{Cli, CompletionsArgs};

/// Prints the script to standard output.
///
/// # Errors
/// When standard output cannot be written.
pub fn run(args: CompletionsArgs) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::definition(), "smelt", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}
