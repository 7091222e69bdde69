//! `smelt query`: a question by name.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{ArrayRef, RecordBatch, StringArray};

use crate::app::App;
use crate::cli::{Common, QueryArgs};
use crate::exit::Usage;
use crate::output;

/// Prints the answer, or the list of questions.
///
/// # Errors
/// An unknown name or parameter (exit code 2, with a suggestion); a query that fails.
pub async fn run(common: &Common, args: QueryArgs) -> Result<ExitCode> {
    let app = App::open(common).await?;
    let mut writer = args.output.open()?;
    let format = query::Format::from(args.output.format);
    match &args.name {
        None => output::write_batch(list(&app)?, format, &mut *writer).await?,
        Some(name) => {
            let named = query::named(&app.project, name)?;
            let session = app.sessions()?.session().await?;
            let rows = query::run_named(&session, named, &parameters(&args.params)?).await?;
            format.write(rows, &mut *writer).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn parameters(pairs: &[String]) -> Result<BTreeMap<String, String>> {
    let split = |pair: &String| match pair.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => Err(Usage(format!("--param {pair}: expected KEY=VALUE")).into()),
    };
    pairs.iter().map(split).collect()
}

/// The questions: name, question, parameters.
fn list(app: &App) -> Result<RecordBatch> {
    let entries = query::list(&app.project);
    let column = |text: fn(&query::QueryEntry) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(entries.iter().map(text)))
    };
    Ok(RecordBatch::try_from_iter([
        ("name", column(|entry| entry.name.clone())),
        ("question", column(|entry| entry.question.clone())),
        ("parameters", column(|entry| entry.parameters.join("; "))),
    ])?)
}
