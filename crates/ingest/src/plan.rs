//! Which streams run, and from which sources.

use std::collections::BTreeSet;
use std::sync::Arc;

use schema::Contract;

use crate::decoders::{Decoders, SharedDecoders};
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

/// The jobs of a run, by the streams' names.
///
/// # Errors
/// What the user wrote cannot be used: streams that no contract names, streams that were named and have no source, rules
/// that are no conditions, options of a source.
pub(crate) fn jobs(
    env: &IngestEnv,
    options: &IngestOptions,
    progress: &Arc<dyn Progress>,
) -> Result<Vec<Job>, IngestError> {
    let named: BTreeSet<&str> =
        options.streams.iter().map(String::as_str).chain(options.inputs.iter().map(|(s, _)| s.as_str())).collect();
    for name in &named {
        if !env.project.contracts.contains_key(*name) {
            let known = env.project.contracts.keys().cloned().collect::<Vec<_>>().join(", ");
            return Err(IngestError::UnknownStream { name: (*name).to_owned(), known });
        }
    }
    let mut jobs = Vec::new();
    for contract in env.project.contracts.values() {
        let wanted = named.is_empty() || named.contains(contract.name.as_str());
        if !wanted {
            continue;
        }
        let contract = Arc::new(contract.clone());
        let planner = Planner { env, options, progress, contract: Arc::clone(&contract) };
        let opened = match &options.simulator {
            Some(config) => planner.simulated(config, !named.is_empty())?,
            None => planner.real(!named.is_empty()),
        };
        if opened.is_empty() {
            if named.is_empty() {
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
            .filter(|(s, _)| *s == self.contract.name)
            .map(|(_, path)| path.as_str())
            .collect();
        if !inputs.is_empty() {
            return inputs.into_iter().map(|path| Opened { source: self.files(path), files: true }).collect();
        }
        let mut opened = Vec::new();
        if let Some(spec) = &self.contract.kafka
            && self.options.kafka.contains_key("bootstrap.servers")
        {
            let settings = KafkaSettings {
                properties: self.options.kafka.clone(),
                mode: self.options.mode,
                flush: self.options.flush.clone(),
            };
            let source = KafkaSource::new(self.env.lake.clone(), Arc::clone(&self.contract), spec.clone(), settings);
            opened.push(Opened { source: source.map(|s| Box::new(s) as Box<dyn Source>), files: false });
        }
        if let Some(spec) = &self.contract.files {
            let source = self.files(&spec.path);
            // A landing folder that nobody made yet is a source that is not configured, unless it was asked for.
            let is_absent = matches!(source, Err(IngestError::NoInput { .. }));
            if !is_absent || (named && opened.is_empty()) {
                opened.push(Opened { source, files: true });
            }
        }
        opened
    }

    fn files(&self, path: &str) -> Result<Box<dyn Source>, IngestError> {
        let (stream, input) = (self.contract.name.clone(), path.to_owned());
        let place = Place::parse(path, &self.env.root, &self.options.storage).map_err(|error| match error {
            PlaceError::Absent => IngestError::NoInput { stream, input },
            PlaceError::Unfit(reason) => IngestError::Input { stream, input, reason },
        })?;
        let settings = FileSettings {
            mode: self.options.mode,
            settle: if self.options.mode == Mode::Once { std::time::Duration::ZERO } else { self.options.settle },
            look_every: self.options.look_every,
            lock_wait: self.options.lock_wait,
            threads: self.options.thread_count(),
            clock: Arc::clone(&self.env.clock),
            progress: Arc::clone(self.progress),
        };
        Ok(Box::new(FileSource::new(self.env.lake.clone(), Arc::clone(&self.contract), place, settings)))
    }
}
