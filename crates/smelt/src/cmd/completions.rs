//! `smelt completions`: a completion script for the shell.

use std::process::ExitCode;

use anyhow::Result;
use clap::CommandFactory;

use crate::cli::{Cli, CompletionsArgs};

/// Prints the script to standard output.
///
/// # Errors
/// None today.
pub fn run(args: CompletionsArgs) -> Result<ExitCode> {
    clap_complete::generate(args.shell, &mut Cli::command(), "smelt", &mut std::io::stdout());
    Ok(ExitCode::SUCCESS)
}
