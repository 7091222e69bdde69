//! Which streams run, and from which sources.

use std::collections::BTreeSet;
use std::sync::Arc;

use schema::Contract;

use crate::source::Source;
use crate::source::files::{FileSettings, FileSource, Place};
use crate::source::kafka::{KafkaSettings, KafkaSource};
use crate::source::simulator::SimulatorSource;
use crate::{IngestEnv, IngestError, IngestOptions, Mode, Progress};

/// One source of one stream.
pub(crate) struct Job {
    pub contract: Arc<Contract>,
    /// The source, or why it cannot be opened; the other jobs run all the same.
    pub source: Result<Box<dyn Source>, IngestError>,
    /// Whether the job loads files: with all cores, so that in once mode one such job runs after the other.
    pub files: bool,
}

/// The jobs of a run, by the streams' names.
///
/// # Errors
/// Streams that no contract names, and streams that were named and have no source.
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
        let before = jobs.len();
        let planner = Planner { env, options, progress, contract: Arc::new(contract.clone()) };
        match &options.simulator {
            Some(config) => planner.simulated(config, !named.is_empty(), &mut jobs)?,
            None => planner.real(!named.is_empty(), &mut jobs),
        }
        if jobs.len() == before && !named.is_empty() {
            let why = "its contract names no landing files, and no topic of a configured Kafka; give --input or \
                       bootstrap.servers"
                .to_owned();
            return Err(IngestError::NotConfigured { stream: contract.name.clone(), why });
        }
    }
    Ok(jobs)
}

struct Planner<'a> {
    env: &'a IngestEnv,
    options: &'a IngestOptions,
    progress: &'a Arc<dyn Progress>,
    contract: Arc<Contract>,
}

impl Planner<'_> {
    fn job(&self, source: Result<Box<dyn Source>, IngestError>, files: bool) -> Job {
        Job { contract: Arc::clone(&self.contract), source, files }
    }

    fn simulated(&self, config: &sim::SimConfig, named: bool, jobs: &mut Vec<Job>) -> Result<(), IngestError> {
        let rows = self.contract.name.parse::<sim::Stream>().map(|stream| config.rows.of(stream)).unwrap_or(0);
        if rows > 0 {
            let source = SimulatorSource::new(Arc::clone(&self.contract), config)?;
            jobs.push(self.job(Ok(Box::new(source)), false));
        } else if named {
            let why = "the simulation makes no events of it".to_owned();
            return Err(IngestError::NotConfigured { stream: self.contract.name.clone(), why });
        }
        Ok(())
    }

    fn real(&self, named: bool, jobs: &mut Vec<Job>) {
        let inputs: Vec<&str> = self
            .options
            .inputs
            .iter()
            .filter(|(s, _)| *s == self.contract.name)
            .map(|(_, path)| path.as_str())
            .collect();
        if !inputs.is_empty() {
            jobs.extend(inputs.into_iter().map(|path| self.job(self.files(path), true)));
            return;
        }
        if let Some(spec) = &self.contract.kafka
            && self.options.kafka.contains_key("bootstrap.servers")
        {
            let settings = KafkaSettings {
                properties: self.options.kafka.clone(),
                mode: self.options.mode,
                flush: self.options.flush.clone(),
            };
            let source = KafkaSource::new(self.env.lake.clone(), Arc::clone(&self.contract), spec.clone(), settings);
            jobs.push(self.job(source.map(|s| Box::new(s) as Box<dyn Source>), false));
        }
        if let Some(spec) = &self.contract.files {
            let source = self.files(&spec.path);
            // A landing folder that nobody made yet is a source that is not configured, unless it was asked for.
            let only = named && jobs.is_empty();
            if source.is_ok() || only {
                jobs.push(self.job(source, true));
            }
        }
    }

    fn files(&self, path: &str) -> Result<Box<dyn Source>, IngestError> {
        let place = Place::parse(path, &self.env.root, &self.options.storage).map_err(|reason| IngestError::Input {
            stream: self.contract.name.clone(),
            input: path.to_owned(),
            reason,
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
