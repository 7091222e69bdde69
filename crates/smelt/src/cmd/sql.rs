//! `smelt sql`: one statement, a script from standard input, or a prompt.

use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use query::PromptOptions;

use crate::app::App;
use crate::cli::{Common, SqlArgs};

/// Runs the statement, or what standard input holds, or opens the prompt.
///
/// # Errors
/// The first statement that fails: later ones are not run.
pub async fn run(common: &Common, args: SqlArgs) -> Result<ExitCode> {
    let app = App::open(common).await?;
    let factory = app.sessions()?;
    let format = query::Format::from(args.output.format);
    let text = match args.statement {
        Some(statement) => statement,
        None if std::io::stdin().is_terminal() => {
            query::prompt(&factory, PromptOptions { history: history(), format }).await?;
            return Ok(ExitCode::SUCCESS);
        }
        None => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("reading statements from standard input")?;
            text
        }
    };
    let mut writer = args.output.open()?;
    query::run_script(&factory.session().await?, &text, format, &mut writer).await?;
    writer.finish()?;
    Ok(ExitCode::SUCCESS)
}

/// Where the prompt's history is kept: `$XDG_STATE_HOME/smelt/history`, else `~/.local/state/smelt/history`.
fn history() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".local/state")))?;
    Some(state.join("smelt/history"))
}
