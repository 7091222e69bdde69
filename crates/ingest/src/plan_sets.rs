//! Which landing sets run, and where their files lie.

use std::collections::BTreeMap;
use std::sync::Arc;

use schema::Contract;

use crate::decoders::Decoders;
use crate::plan::{Job, Named, file_settings, place};
use crate::source::files::{LandingSet, SetPlace};
use crate::{IngestEnv, IngestError, IngestOptions, Progress};

/// A landing set of a run.
pub(crate) struct SetJob {
    /// The set's name.
    pub name: String,
    /// The set, or why its places cannot be opened; the other jobs run all the same.
    pub set: Result<LandingSet, IngestError>,
    /// The jobs that load what it accepts; none if it cannot be opened.
    pub members: Vec<Job>,
}

/// The sets of a run, by their names.
///
/// # Errors
/// A day is asked for and no set runs; rules of a contract that are no conditions.
pub(crate) fn jobs(
    env: &IngestEnv,
    options: &IngestOptions,
    progress: &Arc<dyn Progress>,
    named: &Named<'_>,
) -> Result<Vec<SetJob>, IngestError> {
    let mut jobs = Vec::new();
    for (name, members) in env.project.sets() {
        if !named.wants(name) || options.simulator.is_some() {
            continue;
        }
        let members: Vec<Arc<Contract>> = members.into_iter().cloned().map(Arc::new).collect();
        let job = match places(env, options, name, &members, named) {
            Err(error) if error.is_usage() => return Err(error),
            Err(error) => SetJob { name: name.to_owned(), set: Err(error), members: Vec::new() },
            // A landing folder that nobody made yet is a source that is not configured, unless a day of it is asked for.
            Ok(places) if places.is_empty() && options.day.is_none() => continue,
            Ok(places) => {
                let settings = file_settings(env, options, progress);
                let set = LandingSet::new(env.lake.clone(), name, members.clone(), places, options.day, settings);
                let members = members.iter().map(|contract| job_of(&set, contract)).collect::<Result<_, _>>()?;
                SetJob { name: name.to_owned(), set: Ok(set), members }
            }
        };
        jobs.push(job);
    }
    match options.day {
        Some(day) if jobs.is_empty() => Err(IngestError::Option {
            key: "day".to_owned(),
            value: day.to_string(),
            expected: "a landing set among the streams of this run: only the files of a set are asked for by day"
                .to_owned(),
        }),
        _ => Ok(jobs),
    }
}

fn job_of(set: &LandingSet, contract: &Arc<Contract>) -> Result<Job, IngestError> {
    let decoders = Arc::new(Decoders::new(contract)?);
    Ok(Job { contract: Arc::clone(contract), decoders, source: Ok(Box::new(set.member(contract))), files: true })
}

/// The places of a set: those of `--input`, where all members' files may lie, else those of the members' contracts.
fn places(
    env: &IngestEnv,
    options: &IngestOptions,
    name: &str,
    members: &[Arc<Contract>],
    named: &Named<'_>,
) -> Result<Vec<SetPlace>, IngestError> {
    let inputs: Vec<&str> =
        options.inputs.iter().filter(|(stream, _)| stream == name).map(|(_, path)| path.as_str()).collect();
    if !inputs.is_empty() {
        let place_of =
            |path: &str| Ok(SetPlace { place: Arc::new(place(env, name, path)?), members: members.to_vec() });
        return inputs.into_iter().map(place_of).collect();
    }
    let mut by_path: BTreeMap<&str, Vec<Arc<Contract>>> = BTreeMap::new();
    for member in members {
        if let Some(files) = &member.files {
            by_path.entry(&files.path).or_default().push(Arc::clone(member));
        }
    }
    let mut places = Vec::new();
    for (path, members) in by_path {
        match place(env, name, path) {
            Ok(place) => places.push(SetPlace { place: Arc::new(place), members }),
            Err(IngestError::NoInput { .. }) if named.is_empty() || options.day.is_some() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(places)
}
