//! `smelt quarantine`: the records that were set aside: list them by reason, show them, mend and replay them.

mod list;
mod replay;
mod show;

use std::process::ExitCode;

use anyhow::Result;
use datafusion::common::ScalarValue;
use datafusion::dataframe::DataFrame;
use datafusion::logical_expr::{ident, lit};
use session::{LakeSession, QuarantineFilter};

use crate::app::App;
use crate::cli::{Common, OutputArgs, QuarantineArgs, QuarantineCommand, QuarantineSelectArgs};
use crate::exit::Usage;

/// Runs the subcommand.
///
/// # Errors
/// As each of them.
pub async fn run(common: &Common, args: QuarantineArgs) -> Result<ExitCode> {
    match args.command {
        QuarantineCommand::List(args) => list::run(common, args).await,
        QuarantineCommand::Show(args) => show::run(common, args).await,
        QuarantineCommand::Replay(args) => replay::run(common, args).await,
    }
}

/// Which rows are meant, as the libraries take it.
fn filter(args: &QuarantineSelectArgs) -> QuarantineFilter {
    QuarantineFilter {
        reason: args.reason.clone(),
        from: args.from.as_ref().map(|from| from.start()),
        until: args.to.as_ref().map(|to| to.end()),
    }
}

/// Refuses a stream that the project does not have.
fn known_streams(app: &App, streams: &[String]) -> Result<(), Usage> {
    let contracts = &app.project.contracts;
    match streams.iter().find(|name| !contracts.contains_key(*name)) {
        None => Ok(()),
        Some(name) => {
            let known = contracts.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            Err(Usage(format!("--stream {name}: no such stream; the project has {known}")))
        }
    }
}

/// The rows of `quality.quarantine` that are meant, with the columns of `select` besides.
async fn selected(session: &LakeSession, select: &str, args: &QuarantineSelectArgs) -> Result<DataFrame> {
    let mut rows = session.sql(&format!("SELECT {select} FROM quality.quarantine")).await?;
    if !args.streams.is_empty() {
        let streams = args.streams.iter().map(|name| lit(ScalarValue::Utf8(Some(name.clone())))).collect();
        rows = rows.filter(ident("stream").in_list(streams, false))?;
    }
    if let Some(condition) = filter(args).condition() {
        rows = rows.filter(condition)?;
    }
    Ok(rows)
}

/// Prints an answer.
async fn print(session: &LakeSession, answer: DataFrame, output: &OutputArgs) -> Result<()> {
    let rows = session.execute(answer).await?;
    let mut writer = output.open()?;
    query::Format::from(output.format).write(rows, &mut writer).await?;
    writer.finish()
}
