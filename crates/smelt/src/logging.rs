//! Logs and errors, both on standard error, as text or as JSON lines.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use tracing_subscriber::EnvFilter;

use crate::cli::LogFormat;

/// Whether standard error holds JSON lines.
static JSON: AtomicBool = AtomicBool::new(false);

/// Starts logging: warnings by default, `-v` what Smelt did, `-vv` every step. `RUST_LOG` overrides both.
pub fn init(format: LogFormat, verbose: u8) {
    let default = match verbose {
        0 => "warn,smelt::report=info",
        1 => "warn,smelt=info,ingest=info,refine=info,store=info,session=info,query=info",
        _ => "info,smelt=debug,ingest=debug,refine=debug,store=debug,session=debug,query=debug",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => builder.with_target(false).init(),
        LogFormat::Json => {
            JSON.store(true, Ordering::Relaxed);
            builder.json().flatten_event(true).init();
        }
    }
}

/// Prints a line for a person to standard error, as one of the log where that is JSON. A closed standard error is not
/// worth failing for.
pub fn say(text: &str) {
    if JSON.load(Ordering::Relaxed) {
        tracing::info!(target: "smelt::report", "{text}");
    } else {
        let _ = writeln!(std::io::stderr(), "{text}");
    }
}

/// Logs why the command failed, with all causes in one line.
pub fn report(error: &anyhow::Error) {
    if tracing::enabled!(tracing::Level::ERROR) {
        tracing::error!("{}", message(error));
    }
}

/// The error and its causes, joined by colons; a cause that its parent already spells out is not repeated.
fn message(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}
