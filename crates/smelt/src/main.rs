//! `smelt`: parse, wire, report. The work is in the library crates; see ARCHITECTURE.md.

mod alerts;
mod app;
mod cli;
mod cmd;
mod day;
mod exit;
mod kafka;
mod logging;
mod memory;
mod output;
mod progress;
mod project;
mod settings;
mod shutdown;
mod units;

use std::process::ExitCode;

use crate::cli::{Cli, Command};
use crate::memory::Keep;

fn main() -> ExitCode {
    let cli = Cli::read();
    memory::set_up(if matches!(cli.command, Command::Ingest(_)) { Keep::Shortest } else { Keep::Briefly });
    logging::init(cli.common.log_format, cli.common.verbose);
    match run(cli) {
        Ok(code) => code,
        Err(error) if output::is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            logging::report(&error);
            exit::code(&error)
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        match cli.command {
            Command::Demo(args) => cmd::demo::run(&cli.common, args).await,
            Command::Init(args) => cmd::init::run(args),
            Command::Ingest(args) => cmd::ingest::run(&cli.common, args).await,
            Command::Refine(args) => cmd::refine::run(&cli.common, args).await,
            Command::Check(args) => cmd::check::run(&cli.common, args).await,
            Command::Query(args) => cmd::query::run(&cli.common, args).await,
            Command::Sql(args) => cmd::sql::run(&cli.common, args).await,
            Command::Publish(args) => cmd::publish::run(&cli.common, args).await,
            Command::Quarantine(args) => cmd::quarantine::run(&cli.common, args).await,
            Command::Status(args) => cmd::status::run(&cli.common, args).await,
            Command::Maintain(args) => cmd::maintain::run(&cli.common, args).await,
            Command::Sim(args) => cmd::sim::run(&cli.common, args).await,
            Command::Completions(args) => cmd::completions::run(args),
        }
    });
    // A blocking read of a source that has nothing must not hold the process: all that counts is committed by now.
    runtime.shutdown_background();
    result
}
