//! `smelt quarantine replay`: records that were set aside become rows, as they came or mended.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
use ingest::replay::{Edits, Outcome, ReplayOptions, ReplayReport, StreamReplay};
use ingest::{IngestEnv, Mend};

use super::{filter, known_streams};
use crate::app::App;
use crate::cli::{Common, QuarantineReplayArgs};
use crate::exit::Usage;
use crate::output;
use crate::progress::{counted, grouped, say};
use crate::shutdown;

/// Says what would become of the open records that are meant, and with `--yes` stores the good ones.
///
/// Prints one row an outcome: stream, outcome (`mended`, `would be mended`, `still bad`), reason (of a good record why it
/// was set aside, of a bad one why it is bad now), records, and one of them as it was decoded: source, partition, offset,
/// raw.
///
/// # Errors
/// Wrong usage, such as an expression that is none or a line that names no record: nothing is stored then. A lake that
/// cannot be read or written.
pub async fn run(common: &Common, args: QuarantineReplayArgs) -> Result<ExitCode> {
    let app = App::open(common).await?;
    known_streams(&app, &args.select.streams)?;
    let options = options(&app, &args)?;
    let env = IngestEnv::new(app.lake.clone(), Arc::clone(&app.project), app.landing());
    let report = ingest::replay(env, options, shutdown::token()?).await?;
    let mut writer = args.output.open()?;
    output::write_batch(batch(&report)?, args.output.format.into(), &mut writer).await?;
    writer.finish()?;
    summarise(&report);
    Ok(if report.failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn options(app: &App, args: &QuarantineReplayArgs) -> Result<ReplayOptions> {
    let mends = args
        .mends
        .iter()
        .map(|mend| mend.parse::<Mend>().map_err(|expected| Usage(format!("--mend {mend}: {expected}"))));
    let mends = mends.collect::<Result<Vec<_>, _>>()?;
    if !mends.is_empty() && args.select.streams.len() != 1 {
        return Err(Usage("--mend speaks of the fields of one stream: name it with --stream".to_owned()).into());
    }
    Ok(ReplayOptions {
        streams: args.select.streams.clone(),
        filter: filter(&args.select),
        limit: args.limit,
        mends,
        edits: args.file.as_deref().map(edits).transpose()?,
        dry_run: !args.yes,
        registry: app.settings.schema_registry.options(),
        patience: app.settings.ingest.patience.0,
    })
}

fn edits(path: &Path) -> Result<Arc<Edits>> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path).with_context(|| format!("reading {name}"))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
        Usage(format!("{name}:{}: not UTF-8", line + 1))
    })?;
    Ok(Arc::new(Edits::parse(&name, &text)?))
}

fn batch(report: &ReplayReport) -> Result<RecordBatch> {
    let rows: Vec<(&StreamReplay, &Outcome)> =
        report.streams.iter().flat_map(|stream| stream.outcomes.iter().map(move |outcome| (stream, outcome))).collect();
    let word = |outcome: &Outcome| match (outcome.mended, report.dry_run) {
        (true, false) => "mended",
        (true, true) => "would be mended",
        (false, _) => "still bad",
    };
    let text = |value: &dyn Fn(&(&StreamReplay, &Outcome)) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(rows.iter().map(value)))
    };
    let partitions: Int32Array = rows.iter().map(|(_, outcome)| Some(outcome.example.partition)).collect();
    let offsets: Int64Array = rows.iter().map(|(_, outcome)| Some(outcome.example.offset)).collect();
    let records: Int64Array = rows.iter().map(|(_, outcome)| i64::try_from(outcome.records).ok()).collect();
    Ok(RecordBatch::try_from_iter([
        ("stream", text(&|(stream, _)| stream.stream.clone())),
        ("outcome", text(&|(_, outcome)| word(outcome).to_owned())),
        ("reason", text(&|(_, outcome)| outcome.reason.clone())),
        ("records", Arc::new(records) as ArrayRef),
        ("source", text(&|(_, outcome)| outcome.example.source.clone())),
        ("partition", Arc::new(partitions)),
        ("offset", Arc::new(offsets)),
        ("raw", text(&|(_, outcome)| outcome.example.raw.clone())),
    ])?)
}

/// Says what was done: one line a stream that had open records.
fn summarise(report: &ReplayReport) {
    for stream in &report.streams {
        if let Some(error) = &stream.error {
            say(&format!("{}: failed: {error}", stream.stream));
        } else if stream.selected + stream.mended_before > 0 {
            say(&line(stream, report.dry_run));
        }
    }
    let looked_at: u64 = report.streams.iter().map(|stream| stream.selected + stream.mended_before).sum();
    if looked_at == 0 && !report.failed() {
        say("no open record in quarantine is meant");
    } else if report.dry_run {
        say("nothing was changed; with --yes the good ones are stored");
    }
}

fn line(stream: &StreamReplay, dry: bool) -> String {
    let mut text = format!(
        "{}: {} = {} {} + {} still bad",
        stream.stream,
        counted(stream.selected, "open record"),
        grouped(stream.mended),
        if dry { "would be mended" } else { "mended" },
        grouped(stream.still_bad)
    );
    if stream.mended_before > 0 {
        text.push_str(&format!("; {} mended before", grouped(stream.mended_before)));
    }
    if let (Some(replay), Some(version)) = (stream.replay, stream.version) {
        text.push_str(&format!("; replay {replay}, version {version}"));
    }
    text
}
