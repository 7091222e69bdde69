//! `smelt query`: a question by name.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{ArrayRef, RecordBatch, StringArray};
use schema::Project;

use crate::app::App;
use crate::cli::{Common, QueryArgs};
use crate::exit::Usage;
use crate::{output, project};

/// Prints the answer, or the list of questions.
///
/// # Errors
/// An unknown name or parameter (exit code 2, with a suggestion); a query that fails.
pub async fn run(common: &Common, args: QueryArgs) -> Result<ExitCode> {
    let format = query::Format::from(args.output.format);
    let Some(name) = &args.name else {
        let project = project::load(&project::folder(common.project.as_deref())?)?;
        let mut writer = args.output.open()?;
        output::write_batch(list(&project)?, format, &mut writer).await?;
        writer.finish()?;
        return Ok(ExitCode::SUCCESS);
    };
    let app = App::open(common).await?;
    let named = query::named(&app.project, name)?;
    let session = app.sessions()?.session().await?;
    let rows = query::run_named(&session, named, &parameters(&args.params)?).await?;
    let mut writer = args.output.open()?;
    format.write(rows, &mut writer).await?;
    writer.finish()?;
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
fn list(project: &Project) -> Result<RecordBatch> {
    let entries = query::list(project);
    let column = |text: fn(&query::QueryEntry) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(entries.iter().map(text)))
    };
    Ok(RecordBatch::try_from_iter([
        ("name", column(|entry| entry.name.clone())),
        ("question", column(|entry| entry.question.clone())),
        ("parameters", column(|entry| entry.parameters.join("; "))),
    ])?)
}
