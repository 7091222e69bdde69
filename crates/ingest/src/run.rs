//! The run: its jobs, each begun again from the table as often as a commit is refused, and what came of them.

use std::sync::Arc;
use std::time::Duration;

use store::{ErrorKind, Run, StoreError};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::decoders::SharedDecoders;
use crate::pending::Totals;
use crate::plan::{self, Job};
use crate::run_sets::{accept_days, run_set};
use crate::sink::{Sink, SinkEnv};
use crate::source::{Source, SourceError, outlet};
use crate::stop::StopWatch;
use crate::{
    IngestEnv, IngestError, IngestOptions, IngestReport, Mode, Progress, ProgressEvent, SetReport, StreamReport, bronze,
};

/// In once mode, a source whose commits are refused this often in a row gives up: somebody else is doing its work.
const MOST_CONFLICTS: u32 = 30;
/// Longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Ingests until the sources are consumed ([`crate::Mode::Once`]) or `cancel` fires, which flushes and commits.
///
/// Streams are independent: one that fails does not stop the others, and what ended it is in its [`StreamReport`]. The
/// run's record is written to `<lake>/_smelt/runs/`; a run that consumed nothing writes nothing else.
///
/// # Errors
/// Wrong options: streams that do not exist or have no source.
pub async fn run(
    env: IngestEnv,
    options: IngestOptions,
    cancel: CancellationToken,
    progress: Arc<dyn Progress>,
) -> Result<IngestReport, IngestError> {
    let (begun, run) = (Instant::now(), Run::start("ingest", (env.clock)()));
    let plan = plan::plan(&env, &options, &progress)?;
    let mut report = IngestReport { run: run.name().to_owned(), ..IngestReport::default() };
    let env = Arc::new(RunEnv { env, options, cancel, progress });
    let mut tasks = start(&env, plan);
    while let Some(done) = tasks.join_next().await {
        let (streams, sets) = done.map_err(|e| IngestError::Internal(format!("a stream died: {e}")))?;
        report.streams.extend(streams);
        report.sets.extend(sets);
    }
    report.streams.sort_by(|a, b| (&a.stream, &a.source).cmp(&(&b.stream, &b.source)));
    report.sets.sort_by(|a, b| a.set.cmp(&b.set));
    report.seconds = begun.elapsed().as_secs_f64();
    env.env.lake.settle().await;
    run.end(&env.env.lake, (env.env.clock)(), report.failed(), &report).await;
    Ok(report)
}

/// What all jobs of a run share.
pub(crate) struct RunEnv {
    pub env: IngestEnv,
    pub options: IngestOptions,
    pub cancel: CancellationToken,
    pub progress: Arc<dyn Progress>,
}

/// What a task of a run reports.
pub(crate) type Reports = (Vec<StreamReport>, Vec<SetReport>);

/// Starts the jobs of a run. In once mode those that load files run one after the other: each uses all cores.
fn start(env: &Arc<RunEnv>, plan: plan::Plan) -> JoinSet<Reports> {
    let plan::Plan { mut jobs, sets } = plan;
    let mut tasks = JoinSet::new();
    if env.options.mode == Mode::Once {
        let files: Vec<Job> = jobs.extract_if(.., |job| job.files).collect();
        let env = Arc::clone(env);
        tasks.spawn(async move {
            let mut reports = Reports::default();
            for job in files {
                reports.0.push(run_job(&env, job).await);
            }
            for set in sets {
                let (streams, set) = run_set(&env, set).await;
                reports.0.extend(streams);
                reports.1.push(set);
            }
            reports
        });
    } else {
        for set in sets {
            jobs.extend(set.members);
            let env = Arc::clone(env);
            tasks.spawn(async move { (Vec::new(), vec![accept_days(&env, &set.name, set.set).await]) });
        }
    }
    for job in jobs {
        let env = Arc::clone(env);
        tasks.spawn(async move { (vec![run_job(&env, job).await], Vec::new()) });
    }
    tasks
}

pub(crate) async fn run_job(run: &RunEnv, job: Job) -> StreamReport {
    let begun = Instant::now();
    let mut report = StreamReport { stream: job.contract.name.clone(), ..StreamReport::default() };
    let result = match job.source {
        Ok(mut source) => {
            report.source = source.name();
            let (stream, name) = (&job.contract.name, &report.source);
            run.progress.event(ProgressEvent::Started { stream, source: name, bytes: None });
            let mut totals = Totals::default();
            let stream = (&job.contract, &job.decoders);
            let result = drive(run, stream, source.as_mut(), &mut totals, &mut report.conflicts).await;
            source.close().await;
            report.counts = totals.counts;
            report.bytes = totals.bytes;
            report.commits = totals.commits;
            report.version = totals.version;
            report.gaps = std::mem::take(&mut totals.gaps);
            report.warnings = totals.named_warnings(&job.contract);
            source.report(&mut report);
            run.progress.event(ProgressEvent::Finished { stream: &job.contract.name });
            result
        }
        Err(error) => Err(error),
    };
    if let Err(error) = result {
        tracing::debug!(stream = report.stream, %error, "the stream stopped");
        report.error = Some(chain(&error));
    }
    report.seconds = begun.elapsed().as_secs_f64();
    report
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &IngestError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}

/// Runs a source from the table's position until it ends, again after every refused commit.
async fn drive(
    run: &RunEnv,
    (contract, decoders): (&Arc<schema::Contract>, &SharedDecoders),
    source: &mut dyn Source,
    totals: &mut Totals,
    conflicts: &mut u64,
) -> Result<(), IngestError> {
    let sink_env = SinkEnv {
        lake: run.env.lake.clone(),
        contract: Arc::clone(contract),
        decoders: Arc::clone(decoders),
        flush: run.options.flush.clone(),
        threads: run.options.thread_count(),
        clock: Arc::clone(&run.env.clock),
        progress: Arc::clone(&run.progress),
    };
    let mut watch = StopWatch::new(contract.stop);
    let mut tries = Tries::default();
    loop {
        let commits = totals.commits;
        let Err(error) = once(run, &sink_env, source, &mut watch, totals).await else { return Ok(()) };
        if totals.commits > commits {
            tries = Tries::default();
        }
        let pause = tries.pause(error, run.options.mode, &contract.name, conflicts)?;
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = run.cancel.cancelled() => return Ok(()),
        }
    }
}

/// How often something failed in a row.
#[derive(Debug, Default)]
pub(crate) struct Tries(u32);

impl Tries {
    /// How long to wait before the next try; `conflicts` counts those that another run won.
    ///
    /// # Errors
    /// The error itself, where another try would not help.
    pub fn pause(
        &mut self,
        error: IngestError,
        mode: Mode,
        stream: &str,
        conflicts: &mut u64,
    ) -> Result<Duration, IngestError> {
        self.0 += 1;
        match again(&error) {
            Again::Now if mode == Mode::Follow || self.0 < MOST_CONFLICTS => {
                *conflicts += 1;
                tracing::info!(stream, %error, "another run was first; starting again from the table");
                Ok(Duration::from_millis(5) * self.0.min(40))
            }
            Again::Later if mode == Mode::Follow => {
                tracing::warn!(stream, error = chain(&error), "storage failed; trying again");
                Ok(LONGEST_PAUSE.min(Duration::from_millis(250) * 2u32.saturating_pow(self.0.min(10))))
            }
            _ => Err(error),
        }
    }
}

/// Whether to begin again from the table.
enum Again {
    /// Another writer was first, or nobody knows whether the commit landed.
    Now,
    /// Storage failed or refused, which may pass.
    Later,
    No,
}

fn again(error: &IngestError) -> Again {
    match error {
        IngestError::Store(StoreError::FateUnknown { .. }) => Again::Now,
        IngestError::Store(error) if error.kind() == ErrorKind::Conflict => Again::Now,
        IngestError::Store(error) if error.is_outage() => Again::Later,
        _ => Again::No,
    }
}

/// One run of a source, from where the table stands.
async fn once(
    run: &RunEnv,
    sink_env: &SinkEnv,
    source: &mut dyn Source,
    watch: &mut StopWatch,
    totals: &mut Totals,
) -> Result<(), IngestError> {
    let table = bronze::existing(&sink_env.lake, &sink_env.contract).await?;
    let start = match &table {
        Some(table) => Some(table.refresh().await?),
        None => None,
    };
    if run.cancel.is_cancelled() {
        return Ok(());
    }
    let on_commit = source.on_commit();
    let (out, mut events) = outlet();
    let mut sink = Sink::new(sink_env, table, start.clone(), watch, totals, on_commit);
    let mut reading = source.run(start, out);
    let consume = sink.consume(&mut events, &run.cancel);
    tokio::pin!(consume);
    let mut ended = None;
    let consumed = loop {
        tokio::select! {
            result = &mut reading, if ended.is_none() => ended = Some(result),
            result = &mut consume => break result,
        }
    };
    // What the sink found comes first: a source that lost its sink has nothing to say.
    consumed?;
    // The sink ends when the source has let go of its outlet, which can be a moment before it says why.
    if ended.is_none() && !run.cancel.is_cancelled() {
        ended = Some(reading.await);
    }
    match ended {
        Some(Err(SourceError::Failed(error))) => Err(error),
        _ => Ok(()),
    }
}
