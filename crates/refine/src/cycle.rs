//! Refresh cycles: all models in their order, then a release.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use quality::CheckResult;
use schema::{Kept, Project, TableName};
use tokio_util::sync::CancellationToken;

use crate::job::Mode;
use crate::keeper::Keeper;
use crate::pins::Pins;
use crate::plan::{LoadedModel, Plan, Sources};
use crate::record::Record;
use crate::refresh::{Ended, SideBySide, refresh};
use crate::{Limits, Outcome, Progress, RefineEnv, RefineError, RefineOptions, RefineReport, Result, gated};

/// How often a model is begun again because another writer was first.
const ATTEMPTS: u32 = 20;
/// Longest pause between two cycles of a run that follows while storage fails.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What cycles go by.
pub(crate) struct Cycles {
    env: RefineEnv,
    plan: Plan,
    mode: Mode,
    limits: Limits,
    /// Feeds whose gates are left open.
    allow: Vec<String>,
    selected: BTreeSet<TableName>,
    pins: Arc<Pins>,
    /// Whether the tables are pinned for the first cycle.
    is_open: bool,
    keeper: Keeper,
    record: Record,
    progress: Arc<dyn Progress>,
}

impl Cycles {
    /// Loads and checks the project, and pins its tables.
    ///
    /// # Errors
    /// [`RefineError::Model`] and [`RefineError::Options`].
    pub(crate) async fn new(env: RefineEnv, options: &RefineOptions, progress: Arc<dyn Progress>) -> Result<Self> {
        let mode = mode(options)?;
        gated::named_feeds(&env.project, &options.allow)?;
        let selected = select(&env.project, &options.select)?;
        // Whatever else the project has is not there for this run.
        let sources = Sources::parse(&env, selected.as_ref())?;
        let pins = Arc::new(Pins::new(env.lake.clone(), options.follow.is_some()));
        // Tables are opened while models are planned, which takes about as long.
        let opening = tokio::spawn({
            let (pins, names) = (Arc::clone(&pins), sources.tables());
            async move { pins.refresh(names).await }
        });
        let plan = Plan::load(&env, &sources).await?;
        let all = || plan.models.iter().map(|model| model.name().clone()).collect();
        let selected = selected.unwrap_or_else(all);
        // Storage that fails is asked again, and says why, when a cycle begins.
        let is_open = matches!(opening.await, Ok(Ok(_)));
        let keeper = Keeper::new(env.lake.clone(), options.follow.is_some());
        let (limits, allow) = (options.limits, options.allow.clone());
        Ok(Self {
            env,
            plan,
            mode,
            limits,
            allow,
            selected,
            pins,
            is_open,
            keeper,
            record: Record::default(),
            progress,
        })
    }

    /// What the cycles did so far.
    pub(crate) fn record(&self) -> &Record {
        &self.record
    }

    /// Runs one cycle.
    ///
    /// # Errors
    /// As [`crate::run`].
    pub(crate) async fn once(&mut self, cancel: &CancellationToken) -> Result<RefineReport> {
        if !self.is_open {
            self.pins.refresh(self.tables()).await?;
        }
        self.cycle(cancel).await
    }

    /// Runs cycle after cycle until it is cancelled. Checks that fail and storage that fails for a while are reported
    /// and tried again; everything else ends the run.
    ///
    /// # Errors
    /// As [`crate::run`], but for [`RefineError::Gates`].
    pub(crate) async fn follow(&mut self, every: Duration, cancel: &CancellationToken) -> Result<RefineReport> {
        let mut last = RefineReport::default();
        // Whether a cycle is due although no table moved: the first one, and one that storage cut off.
        let mut due = true;
        let mut pause = every;
        while !cancel.is_cancelled() {
            match self.one_of_many(&mut due, cancel).await {
                Ok(report) => {
                    report.into_iter().for_each(|report| last.absorb(report));
                    pause = every;
                }
                Err(RefineError::Gates { failures, report }) => {
                    failures.iter().for_each(|failure| tracing::warn!("{failure}"));
                    last.absorb(*report);
                    pause = every;
                }
                Err(error) if error.is_retryable() => {
                    tracing::warn!("will try again: {error}");
                    pause = pause.saturating_mul(2).min(LONGEST_PAUSE.max(every));
                }
                Err(error) => return Err(error),
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = cancel.cancelled() => {}
            }
        }
        self.keeper.flush().await?;
        Ok(last)
    }

    /// A cycle, if one is due or any table moved.
    async fn one_of_many(&mut self, due: &mut bool, cancel: &CancellationToken) -> Result<Option<RefineReport>> {
        let was_due = std::mem::replace(due, true);
        let moved = self.pins.refresh(self.tables()).await?;
        *due = moved || was_due;
        if !*due {
            return Ok(None);
        }
        let done = self.cycle(cancel).await;
        *due = !matches!(done, Ok(_) | Err(RefineError::Gates { .. }));
        done.map(Some)
    }

    /// All tables that models read or are.
    fn tables(&self) -> BTreeSet<TableName> {
        let reads = self.plan.models.iter().flat_map(|model| model.reads.iter().chain(&model.check_reads));
        reads.chain(self.plan.models.iter().map(LoadedModel::name)).cloned().collect()
    }

    async fn cycle(&mut self, cancel: &CancellationToken) -> Result<RefineReport> {
        let mut report = RefineReport::default();
        let mut failures: Vec<CheckResult> = Vec::new();
        let mut failed = None;
        let ended = self.models(cancel).await;
        let mut is_whole = ended.len() == self.selected.len();
        for (model, ended) in ended {
            let done = match ended.map_err(|error| error.in_model(&model)) {
                Ok(Ended::Done(done)) => done,
                Ok(Ended::Cancelled | Ended::Again(_)) => {
                    is_whole = false;
                    continue;
                }
                // Like a model that a check holds back, it stays as it is, and the others go on.
                Err(error) => {
                    tracing::debug!(%model, %error, "the model failed");
                    self.record.add_failed(&model, &error);
                    failed = failed.or(Some(error));
                    continue;
                }
            };
            failures.extend(done.checks.iter().filter(|result| result.holds()).cloned());
            self.record.add(&done);
            report.models.push(done);
        }
        if !is_whole {
            // The run was cancelled. No release of models that are new beside others that are not.
            self.keep(&report).await?;
            return Ok(report);
        }
        report.release = self.release().await?;
        self.keep(&report).await?;
        if let Some(error) = failed {
            failures.iter().for_each(|failure| tracing::warn!("{failure}"));
            return Err(error);
        }
        report.cycles = u64::from(report.models.iter().any(|model| model.outcome == Outcome::Changed));
        match failures.is_empty() {
            true => Ok(report),
            false => Err(RefineError::Gates { failures, report: Box::new(report) }),
        }
    }

    /// Refreshes the selected models, each as soon as all that it reads is done: those of which none reads the other side by
    /// side, twice as many as there are threads, because they wait for storage too. Gives how they ended, in the plan's
    /// order; once the run is cancelled none begins.
    async fn models(&self, cancel: &CancellationToken) -> Vec<(TableName, Result<Ended>)> {
        let models: Vec<_> = self.plan.models.iter().filter(|model| self.selected.contains(model.name())).collect();
        let beside = SideBySide::default();
        let most = 2 * self.env.factory.options().threads.max(1);
        let mut waiting: Vec<usize> = (0..models.len()).collect();
        let mut open: BTreeSet<usize> = waiting.iter().copied().collect();
        let mut running = FuturesUnordered::new();
        let mut ended = BTreeMap::new();
        loop {
            waiting.retain(|&place| {
                let is_ready = !open.range(..place).any(|&before| is_before(models[before], models[place]));
                let begins = is_ready && running.len() < most && !cancel.is_cancelled();
                if begins {
                    let (model, beside) = (models[place], &beside);
                    self.progress.started(model.name());
                    running.push(async move { (place, self.model(model, beside, cancel).await) });
                }
                !begins
            });
            let Some((place, how)) = running.next().await else { break };
            match &how {
                Ok(Ended::Done(done)) => self.progress.finished(done),
                _ => self.progress.failed(models[place].name()),
            }
            open.remove(&place);
            ended.insert(place, how);
        }
        ended.into_iter().map(|(place, how)| (models[place].name().clone(), how)).collect()
    }

    /// Refreshes a model, again and again where another writer is first.
    async fn model(&self, model: &LoadedModel, beside: &SideBySide, cancel: &CancellationToken) -> Result<Ended> {
        let work = (self.mode, self.limits, self.allow.as_slice());
        let mut attempts = 0;
        let mut is_alone = self.mode != Mode::Refresh;
        loop {
            attempts += 1;
            let room = (beside, is_alone);
            let source = match refresh(&self.env, &self.plan, model, work, &self.pins, room, cancel).await {
                Ok(Ended::Again(source)) => source,
                // Others may have had what it lacked.
                Err(error) if error.is_out_of_memory() && !is_alone => {
                    tracing::debug!(model = %model.name(), %error, "begins again, alone");
                    is_alone = true;
                    continue;
                }
                ended => return ended,
            };
            tracing::debug!("{}: {source}", model.name());
            if attempts >= ATTEMPTS {
                return Err(RefineError::Contended { model: model.name().clone(), attempts, source });
            }
        }
    }

    /// Keeps and tells what the checks of a cycle found.
    async fn keep(&mut self, report: &RefineReport) -> Result<()> {
        let results: Vec<CheckResult> = report.models.iter().flat_map(|model| model.checks.iter().cloned()).collect();
        if results.is_empty() {
            return Ok(());
        }
        let warned = results.iter().filter(|result| !result.success && !result.holds());
        warned.for_each(|result| tracing::warn!("{result}{}", if result.allowed { " (let through)" } else { "" }));
        self.progress.checked(&results);
        Ok(self.keeper.keep(&results).await?)
    }

    /// Publishes the versions that the cycle is pinned to, where any of them is newer than in the last release.
    async fn release(&self) -> Result<Option<u64>> {
        let versions = self.plan.models.iter().filter_map(|model| {
            let (_, snapshot) = self.pins.get(model.name())?;
            Some((model.name().clone(), snapshot.version()))
        });
        let tables: BTreeMap<TableName, i64> = versions.collect();
        let releases = self.env.lake.releases();
        let last = releases.latest().await?;
        let known = last.as_ref().map(|release| &release.tables);
        let moved = |(name, version): (&TableName, &i64)| {
            known.and_then(|known| known.get(name)).is_none_or(|released| released < version)
        };
        if !tables.iter().any(moved) {
            return Ok(None);
        }
        let release = releases.advance(&tables).await?;
        self.progress.released(release.number);
        Ok(Some(release.number))
    }
}

impl RefineReport {
    fn absorb(&mut self, cycle: RefineReport) {
        if cycle.cycles > 0 || self.models.is_empty() {
            self.models = cycle.models;
        }
        self.release = cycle.release.or(self.release);
        self.cycles += cycle.cycles;
    }
}

/// Whether of two models in the plan's order the later one waits for the earlier: it reads it, or it must not change under
/// the earlier one's checks.
fn is_before(earlier: &LoadedModel, later: &LoadedModel) -> bool {
    let reads = |model: &LoadedModel, name| model.reads.contains(name) || model.check_reads.contains(name);
    reads(later, earlier.name()) || reads(earlier, later.name())
}

fn mode(options: &RefineOptions) -> Result<Mode> {
    let ranged = options.from.is_some() || options.to.is_some();
    match (options.full_refresh, ranged) {
        (true, true) => Err(RefineError::Options("--full-refresh computes all days: leave --from and --to out".into())),
        (_, _) if options.follow.is_some() && (options.full_refresh || ranged) => {
            Err(RefineError::Options("--follow refreshes from changes: run --full-refresh or --from/--to first".into()))
        }
        (_, _) if options.follow.is_some() && !options.allow.is_empty() => {
            Err(RefineError::Options("--allow lets through what waits now: leave --follow out".into()))
        }
        (true, false) => Ok(Mode::Rebuild),
        (false, true) => match (options.from, options.to) {
            (Some(from), Some(to)) if from > to => {
                Err(RefineError::Options(format!("--from {from} is after --to {to}")))
            }
            (from, to) => Ok(Mode::Range { from, to }),
        },
        (false, false) => Ok(Mode::Refresh),
    }
}

/// The models that are named; `None`: all.
fn select(project: &Project, wanted: &[String]) -> Result<Option<BTreeSet<TableName>>> {
    let mut selected = BTreeSet::new();
    for text in wanted {
        let stored = project.models.values().filter(|model| !matches!(model.kept, Kept::View));
        let is_meant = |name: &&TableName| name.to_string() == *text || name.name == *text;
        let matching: Vec<&TableName> = stored.map(|model| &model.name).filter(is_meant).collect();
        match matching.as_slice() {
            [one] => {
                selected.insert((*one).clone());
            }
            [] => return Err(RefineError::Options(unknown(project, text))),
            several => {
                let names: Vec<String> = several.iter().map(ToString::to_string).collect();
                return Err(RefineError::Options(format!("--select {text} may be {}", names.join(" or "))));
            }
        }
    }
    Ok((!wanted.is_empty()).then_some(selected))
}

fn unknown(project: &Project, text: &str) -> String {
    let is_view = project.models.keys().any(|name| name.to_string() == *text || name.name == *text);
    if is_view {
        return format!("--select {text}: a view is not stored, so there is nothing to refresh");
    }
    let stored = project.models.values().filter(|model| !matches!(model.kept, Kept::View));
    let names = stored.map(|model| model.name.to_string());
    let nearest = names.map(|name| {
        let bare = name.split_once('.').map_or(name.as_str(), |(_, bare)| bare);
        let distance = strsim::damerau_levenshtein(&name, text).min(strsim::damerau_levenshtein(bare, text));
        (distance, name)
    });
    match nearest.min().filter(|(distance, _)| *distance <= 3) {
        Some((_, name)) => format!("--select {text}: unknown model; did you mean {name}?"),
        None => format!("--select {text}: unknown model"),
    }
}
