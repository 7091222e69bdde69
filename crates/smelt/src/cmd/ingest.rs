//! `smelt ingest`: what is new in topics and landing files, to Bronze.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use chrono::Utc;
use ingest::{FileCounts, FlushPolicy, IngestEnv, IngestOptions, IngestReport, Mode, SetReport, StreamReport};

use crate::alerts;
use crate::app::App;
use crate::cli::{Common, IngestArgs};
use crate::exit::{NOT_THERE_YET, Usage};
use crate::progress::{IngestProgress, counted, grouped, say};
use crate::shutdown;

/// Runs the streams that are named or configured, and reports what came and what became of it.
///
/// # Errors
/// Wrong usage, an unknown stream, a source or lake that fails. A refused landing file is no error of the run: the others
/// are loaded, and the exit code is 1; it is 4 where a day of a landing set is not complete.
pub async fn run(common: &Common, args: IngestArgs) -> Result<ExitCode> {
    let app = App::open(common).await?;
    let options = options(&app, &args)?;
    let env = IngestEnv::new(app.lake.clone(), Arc::clone(&app.project), app.landing());
    let report = ingest::run(env, options, shutdown::token()?, Arc::new(IngestProgress::new())).await?;
    summarise(&report);
    alerts::tell_sets(&app.alerts(), &report).await;
    Ok(code(&report, args.follow))
}

/// A run that looked at everything says first what is not there yet. One that follows has waited for it.
fn code(report: &IngestReport, follow: bool) -> ExitCode {
    if !report.broke() && !follow && report.incomplete().next().is_some() {
        return ExitCode::from(NOT_THERE_YET);
    }
    if report.failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn options(app: &App, args: &IngestArgs) -> Result<IngestOptions> {
    let settings = &app.settings;
    let mut inputs = Vec::new();
    for input in &args.inputs {
        let (stream, path) =
            input.split_once('=').ok_or_else(|| Usage(format!("--input {input}: expected STREAM=PATH")))?;
        // Relative to where the user is, unlike the landing paths of contracts.
        let is_path = !path.contains("://") && Path::new(path).is_relative();
        let path = if is_path { std::path::absolute(path)?.to_string_lossy().into_owned() } else { path.to_owned() };
        inputs.push((stream.to_owned(), path));
    }
    Ok(IngestOptions {
        streams: args.streams.clone(),
        inputs,
        day: args.day.map(|day| day.at(Utc::now(), settings.time_zone)),
        mode: if args.follow { Mode::Follow } else { Mode::Once },
        flush: FlushPolicy {
            rows: settings.ingest.flush_rows as u64,
            bytes: settings.ingest.flush_bytes.0,
            interval: settings.ingest.flush_interval.0,
        },
        kafka: settings.kafka.0.clone(),
        registry: settings.schema_registry.options(),
        patience: settings.ingest.patience.0,
        accept_gaps: args.accept_gaps.clone(),
        settle: settings.ingest.settle.0,
        threads: settings.limits.cores(),
        ..IngestOptions::default()
    })
}

/// Says what a run did: one line a source. What a landing file needs to have said was said when it was met.
pub fn summarise(report: &IngestReport) {
    if report.streams.is_empty() && report.sets.is_empty() {
        say("nothing to ingest: no stream has a source here (see smelt ingest --help)");
    }
    for stream in &report.streams {
        say(&line(stream));
        for (rule, rows) in &stream.warnings {
            say(&format!("  warning: {rule}: {}", counted(*rows, "row")));
        }
        for gap in &stream.gaps {
            say(&format!("  accepted: {}: {}", gap.input, gap.reason));
        }
        if let Some(error) = &stream.error {
            say(&format!("  failed: {error}"));
        }
    }
    for set in &report.sets {
        say(&set_line(set));
        if let Some(error) = &set.error {
            say(&format!("  failed: {error}"));
        }
    }
}

fn set_line(set: &SetReport) -> String {
    let mut text = format!("{}: {} accepted", set.set, counted(set.accepted.len() as u64, "day"));
    if !set.incomplete.is_empty() {
        text.push_str(&format!(", {} not complete", grouped(set.incomplete.len() as u64)));
    }
    text + &files(&set.files)
}

/// `; 3 new files of 5, 1 same`; nothing where no file was seen.
fn files(files: &FileCounts) -> String {
    if files.seen == 0 {
        return String::new();
    }
    let mut text = format!("; {} of {}", counted(files.accepted, "new file"), grouped(files.seen));
    for (count, what) in [
        (files.same, "same"),
        (files.empty, "empty"),
        (files.refused, "refused"),
        (files.still_refused, "still refused"),
        (files.gone, "gone"),
        (files.waiting, "waiting"),
    ] {
        if count > 0 {
            text.push_str(&format!(", {} {what}", grouped(count)));
        }
    }
    text
}

fn line(stream: &StreamReport) -> String {
    let counts = &stream.counts;
    let mut text = format!(
        "{}: {} delivered = {} stored + {} quarantined",
        stream.stream,
        grouped(counts.delivered),
        grouped(counts.stored),
        grouped(counts.quarantined)
    );
    if counts.skipped > 0 {
        text.push_str(&format!(", {} skipped", grouped(counts.skipped)));
    }
    text.push_str(&files(&stream.files));
    if stream.commits > 0 {
        text.push_str(&format!(
            "; {} in {:.1} s, {} events/s",
            counted(stream.commits, "commit"),
            stream.seconds,
            grouped(stream.rows_per_second() as u64)
        ));
    }
    text
}
