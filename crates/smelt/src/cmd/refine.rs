//! `smelt refine`: Silver and Gold, brought up to date.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use quality::CheckResult;
use refine::{ModelReport, Outcome, Progress, RefineEnv, RefineError, RefineOptions, RefineReport};
use schema::TableName;
use session::SessionFactory;

use crate::alerts::{Results, Watch};
use crate::app::App;
use crate::cli::{Common, RefineArgs};
use crate::progress::{Spinner, counted, say};
use crate::shutdown;

/// Refreshes the models, and reports what changed.
///
/// # Errors
/// A model that cannot be kept as it says (exit code 2), a failed check (3), anything else (1).
pub async fn run(common: &Common, args: RefineArgs) -> Result<ExitCode> {
    let app = App::open(common).await?;
    let options = RefineOptions {
        select: args.select,
        full_refresh: args.full_refresh,
        from: args.from,
        to: args.to,
        allow: args.allow,
        follow: args.follow.then_some(app.settings.refine.poll.0),
        ..RefineOptions::default()
    };
    let (watch, results) = Watch::start(app.alerts(), Arc::clone(&app.project));
    let progress = Arc::new(RefineProgress::reporting(results));
    let report = refine::run(env(&app)?, options, shutdown::token()?, progress).await;
    watch.finish().await;
    // Checkpoints are made beside the commits; an early end of the process would cut them off.
    app.lake.settle().await;
    match report {
        Ok(report) => summarise(&report),
        Err(error) => {
            if let RefineError::Gates { report, .. } = &error {
                summarise(report);
            }
            return Err(error.into());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What `refine` works on.
///
/// # Errors
/// When the temporary folder for spilled data cannot be used.
pub fn env(app: &App) -> Result<RefineEnv> {
    Ok(env_of(app, app.sessions()?))
}

/// The same over sessions that are there already.
pub fn env_of(app: &App, factory: SessionFactory) -> RefineEnv {
    RefineEnv { factory, lake: app.lake.clone(), project: Arc::clone(&app.project) }
}

/// Says what a run changed: one line a model that did something.
pub fn summarise(report: &RefineReport) {
    for model in report.models.iter().filter(|model| model.outcome != Outcome::Unchanged) {
        say(&line(model));
    }
    match report.release {
        Some(number) => say(&format!("release {number} published")),
        None => say("nothing changed"),
    }
}

fn line(model: &ModelReport) -> String {
    let name = &model.model;
    match &model.outcome {
        Outcome::Unchanged | Outcome::Positions => format!("{name}: nothing changed"),
        Outcome::Held => format!("{name}: held back"),
        Outcome::Skipped(reason) => format!("{name}: skipped: {reason}"),
        Outcome::Changed => format!(
            "{name}: {} added, {} removed, in {} ({:.1} s)",
            counted(model.rows_added, "row"),
            counted(model.rows_removed, "row"),
            counted(model.files_added, "new file"),
            model.seconds
        ),
    }
}

/// Shows which models are being refreshed, on a terminal, and passes on what checks found.
pub struct RefineProgress {
    spinner: Spinner,
    under_way: Mutex<BTreeSet<String>>,
    results: Option<Results>,
}

impl RefineProgress {
    /// A spinner if standard error is a terminal.
    pub fn new() -> Self {
        RefineProgress { spinner: Spinner::new(), under_way: Mutex::default(), results: None }
    }

    /// The same, which passes results on.
    pub fn reporting(results: Results) -> Self {
        RefineProgress { results: Some(results), ..Self::new() }
    }

    /// Shows what is under way, after a change.
    fn now(&self, change: impl FnOnce(&mut BTreeSet<String>)) {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut under_way);
        match Vec::from_iter(under_way.iter().map(String::as_str)) {
            none if none.is_empty() => self.spinner.clear(),
            names => self.spinner.show(&format!("refreshing {}", names.join(", "))),
        }
    }
}

impl Progress for RefineProgress {
    fn started(&self, model: &TableName) {
        self.now(|under_way| {
            under_way.insert(model.to_string());
        });
    }

    fn checked(&self, results: &[CheckResult]) {
        if let Some(to) = &self.results {
            to.send(results);
        }
    }

    fn finished(&self, report: &ModelReport) {
        self.failed(&report.model);
    }

    fn failed(&self, model: &TableName) {
        self.now(|under_way| {
            under_way.remove(&model.to_string());
        });
    }
}
