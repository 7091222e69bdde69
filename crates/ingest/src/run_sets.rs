//! Running landing sets: the days are accepted first, then each member loads them.

use futures::StreamExt;
use tokio::time::Instant;

use crate::plan_sets::SetJob;
use crate::run::{RunEnv, Tries, chain, run_job};
use crate::source::files::LandingSet;
use crate::{IngestError, Mode, SetReport, StreamReport};

/// What may wait for the members of a set so that they load it side by side, in bytes of files.
const SMALL: u64 = 64 << 20;

/// Accepts the days of a set once, and loads them.
pub(crate) async fn run_set(run: &RunEnv, job: SetJob) -> (Vec<StreamReport>, SetReport) {
    let (report, waiting) = accept(run, &job.name, job.set).await;
    // What an earlier run accepted waits for a run that can look into the landing place.
    if report.error.is_some() {
        return (Vec::new(), report);
    }
    // Each of those that load much uses all cores, and memory.
    let most = if waiting <= SMALL { job.members.len().max(1) } else { 1 };
    let loads = job.members.into_iter().map(|member| run_job(run, member));
    (futures::stream::iter(loads).buffered(most).collect().await, report)
}

/// Accepts the days of a set: once, or in follow mode until cancelled.
pub(crate) async fn accept_days(run: &RunEnv, name: &str, set: Result<LandingSet, IngestError>) -> SetReport {
    accept(run, name, set).await.0
}

/// Accepts days; gives how many bytes of files then wait for the members.
async fn accept(run: &RunEnv, name: &str, set: Result<LandingSet, IngestError>) -> (SetReport, u64) {
    let begun = Instant::now();
    let mut report = SetReport { set: name.to_owned(), ..SetReport::default() };
    let mut waiting = 0;
    let result = match set {
        Ok(mut set) => {
            let result = rounds(run, &mut set).await;
            report = set.report();
            waiting = set.waiting_bytes().await;
            result
        }
        Err(error) => Err(error),
    };
    report.error = result.err().map(|error| chain(&error));
    report.seconds = begun.elapsed().as_secs_f64();
    (report, waiting)
}

async fn rounds(run: &RunEnv, set: &mut LandingSet) -> Result<(), IngestError> {
    let (mut tries, mut conflicts) = (Tries::default(), 0);
    loop {
        let done = tokio::select! {
            biased;
            () = run.cancel.cancelled() => return Ok(()),
            done = set.round() => done,
        };
        let pause = match done {
            Ok(()) if run.options.mode == Mode::Once => return Ok(()),
            Ok(()) => {
                tries = Tries::default();
                set.look_every()
            }
            // A landing place that is away for a while is no reason to stop following it.
            Err(error @ IngestError::Input { .. }) if run.options.mode == Mode::Follow => {
                set.say_unreadable(&error);
                set.look_every()
            }
            Err(error) => tries.pause(error, run.options.mode, set.name(), &mut conflicts)?,
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = run.cancel.cancelled() => return Ok(()),
        }
    }
}
