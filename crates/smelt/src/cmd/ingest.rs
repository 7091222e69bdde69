//! `smelt ingest`: what is new in topics and landing files, to Bronze.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use ingest::{FlushPolicy, IngestEnv, IngestOptions, IngestReport, Mode, StreamReport};

use crate::app::{App, aws_variables};
use crate::cli::{Common, IngestArgs};
use crate::exit::Usage;
use crate::progress::{IngestProgress, counted, grouped, say};
use crate::shutdown;

/// Runs the streams that are named or configured, and reports what came and what became of it.
///
/// # Errors
/// Wrong usage, an unknown stream, a source or lake that fails. A refused landing file is no error of the run: the others
/// are loaded, and the exit code is 1.
pub async fn run(common: &Common, args: IngestArgs) -> Result<ExitCode> {
    let app = App::open(common).await?;
    let options = options(&app, &args)?;
    let env = IngestEnv::new(app.lake.clone(), Arc::clone(&app.project), app.landing());
    let report = ingest::run(env, options, shutdown::token()?, Arc::new(IngestProgress::new())).await?;
    summarise(&report);
    Ok(if report.failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
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
        mode: if args.follow { Mode::Follow } else { Mode::Once },
        flush: FlushPolicy {
            rows: settings.ingest.flush_rows as u64,
            bytes: settings.ingest.flush_bytes.0,
            interval: settings.ingest.flush_interval.0,
        },
        kafka: settings.kafka.clone(),
        storage: aws_variables(),
        settle: settings.ingest.settle.0,
        threads: settings.limits.cores(),
        ..IngestOptions::default()
    })
}

/// Says what a run did: one line a source. What a landing file needs to have said was said when it was met.
pub fn summarise(report: &IngestReport) {
    if report.streams.is_empty() {
        say("nothing to ingest: no stream has a source here (see smelt ingest --help)");
    }
    for stream in &report.streams {
        say(&line(stream));
        for (rule, rows) in &stream.warnings {
            say(&format!("  warning: {rule}: {}", counted(*rows, "row")));
        }
        if let Some(error) = &stream.error {
            say(&format!("  failed: {error}"));
        }
    }
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
    let files = &stream.files;
    if files.seen > 0 {
        text.push_str(&format!("; {} of {}", counted(files.accepted, "new file"), grouped(files.seen)));
        for (count, what) in [
            (files.same, "same"),
            (files.empty, "empty"),
            (files.refused, "refused"),
            (files.still_refused, "still refused"),
            (files.gone, "gone"),
        ] {
            if count > 0 {
                text.push_str(&format!(", {} {what}", grouped(count)));
            }
        }
    }
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
