//! `smelt check`: the checks of all models, on the tables as they stand.

use std::collections::HashSet;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use quality::results::{self, Run};
use quality::{CheckResult, Reach, Rows, Subject, any_fails, incidents_of, report};
use schema::{Model, Severity, TableName};
use session::LakeSession;

use crate::alerts;
use crate::app::App;
use crate::cli::{CheckArgs, CheckFormat, Common, OutputArgs, OutputFormat};
use crate::exit::{FAILED_CHECK, Usage};
use crate::output::{self, Destination};

/// Evaluates the checks, keeps and tells what they found, and prints it.
///
/// # Errors
/// A model that cannot be planned or is not there (exit code 2), a check whose SQL fails (1). A check that is not met is
/// none: the exit code is 3.
pub async fn run(common: &Common, args: CheckArgs) -> Result<ExitCode> {
    let app = App::open(common).await?;
    let factory = app.sessions()?;
    let session = factory.session().await?;
    let models = selected(&app, &args.select)?;
    let (run, results) = match args.last {
        true => (Run::now(&app.lake, "check"), last(&session, &models).await?),
        false => {
            refine::check(&super::refine::env_of(&app, factory)).await?;
            let run = Run::now(&app.lake, "check");
            let results = evaluate(&app, &session, &models).await?;
            results::append(&app.lake, &run, &results).await.context("keeping the results")?;
            alerts::retire(&app.alerts(), &app.project).await;
            alerts::tell(&app.alerts(), &results).await;
            (run, results)
        }
    };
    print(&args, &run, &results).await?;
    Ok(if any_fails(&results) { ExitCode::from(FAILED_CHECK) } else { ExitCode::SUCCESS })
}

fn selected<'a>(app: &'a App, select: &[String]) -> Result<Vec<&'a Model>> {
    let is = |name: &TableName, text: &String| name.to_string() == *text || name.name == *text;
    let all = || app.project.models.values();
    for text in select {
        if !all().any(|model| is(&model.name, text)) {
            let known = all().map(|model| model.name.to_string());
            let near = known.min_by_key(|name| strsim::levenshtein(name, text)).unwrap_or_default();
            return Err(Usage(format!("--select {text}: unknown model; did you mean {near}?")).into());
        }
    }
    Ok(all().filter(|model| select.is_empty() || select.iter().any(|text| is(&model.name, text))).collect())
}

async fn evaluate(app: &App, session: &LakeSession, models: &[&Model]) -> Result<Vec<CheckResult>> {
    let mut results = Vec::new();
    for model in models {
        let rows = Rows::Session(session.clone());
        let subject = Subject { model, fresh: rows.clone(), whole: rows, now: app.lake.now() };
        let found = subject.evaluate(|_| Reach::Whole).await.with_context(|| format!("checking {}", model.name))?;
        let version = session.version(&model.name);
        results.extend(found.into_iter().map(|result| CheckResult { version, ..result }));
    }
    Ok(results)
}

/// The last result of each check and gate of these models, as far as one is kept.
async fn last(session: &LakeSession, models: &[&Model]) -> Result<Vec<CheckResult>> {
    let kept = results::latest(session).await?;
    let known: HashSet<String> = models.iter().flat_map(|model| incidents_of(model)).collect();
    Ok(kept.into_iter().filter(|result| known.contains(&result.incident())).collect())
}

async fn print(args: &CheckArgs, run: &Run, results: &[CheckResult]) -> Result<()> {
    let output = OutputArgs { format: OutputFormat::Table, output: args.output.clone() };
    let mut writer = output.open()?;
    match args.format {
        CheckFormat::Table => output::write_batch(batch(results)?, OutputFormat::Table.into(), &mut writer).await?,
        CheckFormat::Json => text(&mut writer, &format!("{:#}\n", report::json(run, results)))?,
        CheckFormat::Junit => text(&mut writer, &report::junit(run, results))?,
    }
    writer.finish()
}

fn text(writer: &mut Destination, text: &str) -> Result<()> {
    Ok(writer.write_all(text.as_bytes()).map_err(query::QueryError::Write)?)
}

fn batch(results: &[CheckResult]) -> Result<RecordBatch> {
    let texts = |value: &dyn Fn(&CheckResult) -> Option<String>| -> ArrayRef {
        Arc::new(results.iter().map(value).collect::<StringArray>())
    };
    let unexpected = results.iter().map(|result| i64::try_from(result.unexpected_count).ok());
    let check = |result: &CheckResult| match &result.feed {
        Some(feed) => format!("feed {feed}: {}", result.check),
        None => result.check.clone(),
    };
    let seen =
        |result: &CheckResult| result.observed_value.clone().or_else(|| result.sample.first().map(ToString::to_string));
    Ok(RecordBatch::try_from_iter_with_nullable([
        ("table", texts(&|result| Some(result.table.to_string())), false),
        ("check", texts(&|result| Some(check(result))), false),
        ("result", texts(&|result| Some(word(result).to_owned())), false),
        ("unexpected", Arc::new(unexpected.collect::<Int64Array>()), true),
        ("observed", texts(&seen), true),
    ])?)
}

fn word(result: &CheckResult) -> &'static str {
    match (result.success, result.allowed, result.severity) {
        (true, ..) => "ok",
        (false, true, _) => "let through",
        (false, false, Severity::Warn) => "warning",
        (false, false, Severity::Fail) => "failed",
    }
}
