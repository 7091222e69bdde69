//! Which streams and sets run, and from which sources.

use std::collections::BTreeSet;
use std::sync::Arc;

use schema::{Contract, KafkaSpec};

use crate::decoders::{Decoders, SharedDecoders};
use crate::plan_sets::{self, SetJob};
use crate::registry::Registry;
use crate::source::Source;
use crate::source::files::{FileSettings, FileSource, Place, PlaceError};
use crate::source::kafka::{KafkaSettings, KafkaSource};
use crate::source::simulator::SimulatorSource;
use crate::{IngestEnv, IngestError, IngestOptions, Mode, Progress};

/// One source of one stream.
pub(crate) struct Job {
    pub contract: Arc<Contract>,
    pub decoders: SharedDecoders,
    /// The source, or why it cannot be opened; the other jobs run all the same.
    pub source: Result<Box<dyn Source>, IngestError>,
    /// Whether the job loads files: with all cores, so that in once mode one such job runs after the other.
    pub files: bool,
}

/// What a run does.
pub(crate) struct Plan {
    /// The jobs of single streams, by the streams' names.
    pub jobs: Vec<Job>,
    /// The landing sets, by their names.
    pub sets: Vec<SetJob>,
}

/// What a run does.
///
/// # Errors
/// What the user wrote cannot be used: streams that no contract names, streams that were named and have no source, rules
/// that are no conditions, options of a source.
pub(crate) fn plan(
    env: &IngestEnv,
    options: &IngestOptions,
    progress: &Arc<dyn Progress>,
) -> Result<Plan, IngestError> {
    let named = Named::of(env, options)?;
    let sets = plan_sets::jobs(env, options, progress, &named)?;
    Ok(Plan { jobs: jobs(env, options, progress, &named)?, sets })
}

/// The streams and sets that were named; none: all that are configured.
pub(crate) struct Named<'a>(BTreeSet<&'a str>);

impl<'a> Named<'a> {
    fn of(env: &IngestEnv, options: &'a IngestOptions) -> Result<Self, IngestError> {
        let named: BTreeSet<&str> =
            options.streams.iter().map(String::as_str).chain(options.inputs.iter().map(|(s, _)| s.as_str())).collect();
        let sets = env.project.sets();
        for name in &named {
            match env.project.contracts.get(*name).map(|contract| contract.set()) {
                None if sets.contains_key(name) => {}
                Some(None) => {}
                Some(Some(set)) => {
                    return Err(IngestError::Option {
                        key: "stream".to_owned(),
                        value: (*name).to_owned(),
                        expected: format!("{set}, the landing set that it is a member of: its files come together"),
                    });
                }
                None => {
                    let streams = env.project.contracts.values().filter(|contract| contract.set().is_none());
                    let mut known: Vec<&str> = streams.map(|contract| contract.name.as_str()).collect();
                    known.extend(sets.keys());
                    known.sort_unstable();
                    return Err(IngestError::UnknownStream { name: (*name).to_owned(), known: known.join(", ") });
                }
            }
        }
        let with_topics = || env.project.contracts.values().filter(|contract| contract.kafka.is_some());
        for name in &options.accept_gaps {
            if !with_topics().any(|contract| contract.name == *name) {
                let names: Vec<&str> = with_topics().map(|contract| contract.name.as_str()).collect();
                return Err(IngestError::Option {
                    key: "accept-gap".to_owned(),
                    value: name.clone(),
                    expected: format!("a stream that has a topic: {}", names.join(", ")),
                });
            }
        }
        Ok(Self(named))
    }

    /// Whether nothing was named.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a stream or set runs if it is configured.
    pub fn wants(&self, name: &str) -> bool {
        self.0.is_empty() || self.0.contains(name)
    }
}

fn jobs(
    env: &IngestEnv,
    options: &IngestOptions,
    progress: &Arc<dyn Progress>,
    named: &Named<'_>,
) -> Result<Vec<Job>, IngestError> {
    let mut jobs = Vec::new();
    let registry = options.registry.as_ref().map(Registry::new).transpose()?.map(Arc::new);
    for contract in env.project.contracts.values() {
        // The members of a set are named by its name.
        if !named.wants(contract.set().unwrap_or(&contract.name)) {
            continue;
        }
        let contract = Arc::new(contract.clone());
        let planner = Planner { env, options, progress, registry: registry.clone(), contract: Arc::clone(&contract) };
        let opened = match &options.simulator {
            Some(config) => planner.simulated(config, !named.is_empty())?,
            None => planner.real(!named.is_empty()),
        };
        if opened.is_empty() {
            // The files of a set's member are the set's matter.
            if named.is_empty() || contract.set().is_some() {
                continue;
            }
            let why = "its contract names no landing files, and no topic of a configured Kafka; give --input or \
                       bootstrap.servers"
                .to_owned();
            return Err(IngestError::NotConfigured { stream: contract.name.clone(), why });
        }
        let decoders = Arc::new(Decoders::new(&contract)?);
        for Opened { source, files } in opened {
            let source = match source {
                Err(error) if error.is_usage() => return Err(error),
                source => source,
            };
            jobs.push(Job { contract: Arc::clone(&contract), decoders: Arc::clone(&decoders), source, files });
        }
    }
    Ok(jobs)
}

/// A source of a stream, as it could be opened.
struct Opened {
    source: Result<Box<dyn Source>, IngestError>,
    files: bool,
}

struct Planner<'a> {
    env: &'a IngestEnv,
    options: &'a IngestOptions,
    progress: &'a Arc<dyn Progress>,
    registry: Option<Arc<Registry>>,
    contract: Arc<Contract>,
}

impl Planner<'_> {
    fn simulated(&self, config: &sim::SimConfig, named: bool) -> Result<Vec<Opened>, IngestError> {
        let rows = self.contract.name.parse::<sim::Stream>().map(|stream| config.rows.of(stream)).unwrap_or(0);
        if rows > 0 {
            let source = SimulatorSource::new(Arc::clone(&self.contract), config)?;
            return Ok(vec![Opened { source: Ok(Box::new(source)), files: false }]);
        }
        if named {
            let why = "the simulation makes no events of it".to_owned();
            return Err(IngestError::NotConfigured { stream: self.contract.name.clone(), why });
        }
        Ok(Vec::new())
    }

    fn real(&self, named: bool) -> Vec<Opened> {
        let inputs: Vec<&str> = self
            .options
            .inputs
            .iter()
            .filter(|(s, _)| s == self.contract.set().unwrap_or(&self.contract.name))
            .map(|(_, path)| path.as_str())
            .collect();
        if !inputs.is_empty() && self.contract.set().is_some() {
            return Vec::new();
        }
        if !inputs.is_empty() {
            return inputs.into_iter().map(|path| Opened { source: self.files(path), files: true }).collect();
        }
        let mut opened = Vec::new();
        if let Some(spec) = &self.contract.kafka
            && self.options.kafka.contains_key("bootstrap.servers")
        {
            opened.push(Opened { source: self.topics(spec), files: false });
        }
        if let Some(spec) = &self.contract.files
            && spec.set.is_none()
        {
            let source = self.files(&spec.path);
            // A landing folder that nobody made yet is a source that is not configured, unless it was asked for.
            let is_absent = matches!(source, Err(IngestError::NoInput { .. }));
            if !is_absent || (named && opened.is_empty()) {
                opened.push(Opened { source, files: true });
            }
        }
        opened
    }

    fn topics(&self, spec: &KafkaSpec) -> Result<Box<dyn Source>, IngestError> {
        let registry = self.registry.clone().filter(|_| spec.format.is_registered());
        if spec.format.is_registered() && registry.is_none() {
            let why = format!("its messages are {}, and schema_registry.url is not set", spec.format.word());
            return Err(IngestError::NotConfigured { stream: self.contract.name.clone(), why });
        }
        let settings = KafkaSettings {
            properties: self.options.kafka.clone(),
            mode: self.options.mode,
            flush: self.options.flush.clone(),
            patience: self.options.patience,
            accept_gap: self.options.accept_gaps.contains(&self.contract.name),
            registry,
        };
        let source = KafkaSource::new(self.env.lake.clone(), Arc::clone(&self.contract), spec.clone(), settings)?;
        Ok(Box::new(source))
    }

    fn files(&self, path: &str) -> Result<Box<dyn Source>, IngestError> {
        let place = place(self.env, &self.contract.name, path)?;
        let settings = file_settings(self.env, self.options, self.progress);
        Ok(Box::new(FileSource::new(self.env.lake.clone(), Arc::clone(&self.contract), place, settings)))
    }
}

/// The landing place `path` of a stream or set.
///
/// # Errors
/// [`IngestError::NoInput`] where there is nothing, [`IngestError::Input`] where it cannot be a landing place.
pub(crate) fn place(env: &IngestEnv, stream: &str, path: &str) -> Result<Place, IngestError> {
    let (stream, input) = (stream.to_owned(), path.to_owned());
    Place::parse(path, &env.root, &env.lake.options().storage).map_err(|error| match error {
        PlaceError::Absent => IngestError::NoInput { stream, input },
        PlaceError::Unfit(reason) => IngestError::Input { stream, input, reason },
    })
}

/// How landing files are looked at by this run.
pub(crate) fn file_settings(env: &IngestEnv, options: &IngestOptions, progress: &Arc<dyn Progress>) -> FileSettings {
    FileSettings {
        mode: options.mode,
        settle: if options.mode == Mode::Once { std::time::Duration::ZERO } else { options.settle },
        look_every: options.look_every,
        lock_wait: options.lock_wait,
        threads: options.thread_count(),
        clock: Arc::clone(&env.clock),
        progress: Arc::clone(progress),
    }
}
