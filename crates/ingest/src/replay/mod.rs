//! Replay of quarantine: records that were set aside become rows of their Bronze table after all.
//!
//! A record is taken as it came (after its contract was changed), or is mended first: by SQL expressions ([`Mend`]) or by
//! an edited file ([`Edits`]). It then goes through the stream's decoder and rules like any other. A good one is stored as
//! a new row that has the place of the quarantined one (`_source`, `_partition`, `_offset`, `_key`, `_arrived_at`) and
//! `_mends` 1, so that it takes its original's place in the order (ENGINE.md, rule 10). One that is still bad stays in
//! quarantine as it was. Nothing is deleted: the quarantined row stays, and is open no more once a row has its place.
//!
//! All good rows of a stream are stored in one commit, which moves the input `replay:<stream>` from the replay number on
//! which the table stood when the open rows were read. Two replays at once, one that died and a repeated one therefore
//! store a row once: whoever finds the number moved starts again from the table, where those rows are open no more.

mod attempt;
mod edits;
mod framed;
mod lenient;
mod mend;
mod open;
mod report;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use schema::Contract;
use session::QuarantineFilter;
use store::{ErrorKind, Run, StoreError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use self::edits::Edits;
pub use self::mend::Mend;
pub use self::report::{Example, Outcome, ReplayReport, StreamReplay};
use crate::decoders::Decoders;
use crate::registry::Registry;
use crate::{IngestEnv, IngestError, RegistryOptions, run};

/// Commits of one stream that are refused in a row before a replay gives up.
const MOST_CONFLICTS: u32 = 30;

/// What is replayed, and how it is mended.
#[derive(Debug, Clone, Default)]
pub struct ReplayOptions {
    /// Only these streams; empty: all. Expressions need exactly one.
    pub streams: Vec<String>,
    /// Only these of the open rows.
    pub filter: QuarantineFilter,
    /// At most so many rows of each stream, those that arrived first.
    pub limit: Option<usize>,
    /// Expressions that mend each record.
    pub mends: Vec<Mend>,
    /// Records that were edited, instead of `streams`, `filter`, `limit` and `mends`.
    pub edits: Option<Arc<Edits>>,
    /// Whether only to say what would become of the records.
    pub dry_run: bool,
    /// The schema registry, for streams whose messages stand behind ids of schemas.
    pub registry: Option<RegistryOptions>,
    /// How long it may be away.
    pub patience: Duration,
}

/// Replays what `options` name, stream by stream; `cancel` ends it after what was read so far is stored. A run that is not
/// dry leaves its record in `<lake>/_smelt/runs/`.
///
/// # Errors
/// Streams that do not exist, mends that are no expressions over the record, lines of an edited file that name no
/// quarantined row: nothing is stored then. What stops a stream later is in its [`StreamReplay`].
pub async fn replay(
    env: IngestEnv,
    options: ReplayOptions,
    cancel: CancellationToken,
) -> Result<ReplayReport, IngestError> {
    let (begun, run) = (Instant::now(), Run::start("replay", (env.clock)()));
    let streams = prepare(&env, &options)?;
    if options.edits.is_some() && !options.dry_run {
        // A line that names no row is found before anything is stored.
        for stream in &streams {
            stream.attempt(&env, &options, true, &cancel).await?;
        }
    }
    let mut report = ReplayReport { run: run.name().to_owned(), ..ReplayReport::default() };
    for stream in &streams {
        if cancel.is_cancelled() {
            break;
        }
        let replayed = match replay_one(stream, &env, &options, &cancel).await {
            Err(error) if error.is_usage() => return Err(error),
            Err(error) => StreamReplay { error: Some(run::chain(&error)), ..StreamReplay::of(&stream.contract.name) },
            Ok(replayed) => replayed,
        };
        report.streams.push(replayed);
    }
    report.dry_run = options.dry_run;
    report.seconds = begun.elapsed().as_secs_f64();
    if !options.dry_run {
        env.lake.settle().await;
        run.end(&env.lake, (env.clock)(), report.failed(), &report).await;
    }
    Ok(report)
}

/// A stream to replay.
struct Stream {
    contract: Arc<Contract>,
    decoders: Arc<Decoders>,
    mender: Arc<mend::Mender>,
    registry: Option<Arc<Registry>>,
}

fn prepare(env: &IngestEnv, options: &ReplayOptions) -> Result<Vec<Stream>, IngestError> {
    let edited = options.edits.iter().flat_map(|edits| edits.streams());
    let named: Vec<&str> = options.streams.iter().map(String::as_str).chain(edited).collect();
    let contracts = &env.project.contracts;
    if let Some(name) = named.iter().find(|name| !contracts.contains_key(**name)) {
        let known = contracts.keys().cloned().collect::<Vec<_>>().join(", ");
        return Err(IngestError::UnknownStream { name: (*name).to_owned(), known });
    }
    let all = named.is_empty() && options.edits.is_none();
    let wanted = contracts.values().filter(|contract| all || named.contains(&contract.name.as_str()));
    let registry = options.registry.as_ref().map(Registry::new).transpose()?.map(Arc::new);
    let prepared = wanted.map(|contract| {
        let mender = mend::Mender::new(contract, &options.mends)?;
        let decoders = Arc::new(Decoders::new(contract)?);
        let (contract, mender) = (Arc::new(contract.clone()), Arc::new(mender));
        Ok(Stream { contract, decoders, mender, registry: registry.clone() })
    });
    prepared.collect()
}

/// Replays one stream, again from the table whenever another commit was first.
async fn replay_one(
    stream: &Stream,
    env: &IngestEnv,
    options: &ReplayOptions,
    cancel: &CancellationToken,
) -> Result<StreamReplay, IngestError> {
    let mut conflicts = 0;
    loop {
        let error = match stream.attempt(env, options, options.dry_run, cancel).await {
            Ok(replayed) => return Ok(StreamReplay { conflicts, ..replayed }),
            Err(error) => error,
        };
        let again = match &error {
            IngestError::Store(StoreError::FateUnknown { .. }) => true,
            IngestError::Store(error) => error.kind() == ErrorKind::Conflict,
            _ => false,
        };
        conflicts += 1;
        if !again || conflicts >= MOST_CONFLICTS {
            return Err(error);
        }
        tracing::info!(stream = stream.contract.name, %error, "another run was first; starting again from the table");
        tokio::time::sleep(Duration::from_millis(5) * conflicts).await;
    }
}
