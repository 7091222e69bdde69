//! `smelt publish`: the figures of a Gold table as files elsewhere.

use std::process::ExitCode;

use anyhow::{Context, Result};
use query::{Complete, Destination, Format};
use schema::{Layer, TableName};
use store::LakeOptions;

use crate::app::App;
use crate::cli::{Common, FileFormat, PublishArgs};
use crate::exit::Usage;
use crate::progress::{counted, say};

/// Publishes what is new.
///
/// # Errors
/// A table that is not published (exit code 2); a lake or a destination that fails.
pub async fn run(common: &Common, args: PublishArgs) -> Result<ExitCode> {
    let app = App::open(common).await?;
    let table = name(&args.table)?;
    let format = match args.format {
        FileFormat::Json => Format::Json,
        FileFormat::Csv => Format::Csv,
        FileFormat::Parquet => Format::Parquet,
    };
    let options = LakeOptions { sync: app.settings.store.sync, ..LakeOptions::default() };
    let to = Destination::open(&args.to, &options).with_context(|| format!("opening {}", args.to))?;
    let done = query::publish(&app.sessions()?, &table, &to, format)
        .await
        .with_context(|| format!("publishing {table} to {}", args.to))?;
    let until = match done.complete_to {
        None => "nothing was consumed yet".to_owned(),
        Some(Complete::All) => "all windows are complete".to_owned(),
        Some(Complete::Until(at)) => format!("complete up to {}", at.format("%Y-%m-%d %H:%M:%S")),
    };
    say(&format!("{table}: {} written of {}; {until}", counted(done.files, "file"), counted(done.windows, "window")));
    Ok(ExitCode::SUCCESS)
}

/// A name without a layer is one of Gold.
fn name(text: &str) -> Result<TableName> {
    match text.contains('.') {
        true => text.parse().map_err(|error| Usage(format!("{text}: {error}")).into()),
        false => Ok(TableName::new(Layer::Gold, text)),
    }
}
