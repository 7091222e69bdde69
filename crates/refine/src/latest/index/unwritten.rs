//! An index that goes on from another one by entries that are at hand.

use std::collections::HashSet;
use std::sync::Arc;

use object_store::path::Path;
use store::Snapshot;

use super::manifest::{Manifest, Partitions, Run, files_of};
use super::objects::{Haste, Objects};
use super::pack::Entry;
use super::runs::{Gatherer, settle};
use super::tails::Tails;
use super::{IndexError, KeyIndex};
use crate::job::Job;

/// What is to be written.
pub(in crate::latest) struct Unwritten {
    objects: Objects,
    haste: Haste,
    tails: Option<Arc<Tails>>,
    /// Where the manifest of the index that it goes on from lies.
    before: Option<Path>,
    /// With the runs that it goes on from.
    manifest: Manifest,
}

impl Unwritten {
    /// The index by `entity` at a version of the table, which goes on from `before` (`None`: the entries are all there are).
    /// `partitions` are those of `before`, and may be more. Writing it takes its time until there is haste.
    pub(in crate::latest) fn new(
        job: &Job<'_>,
        entity: &[String],
        snapshot: &Snapshot,
        before: Option<&KeyIndex>,
        partitions: &Partitions,
        haste: &Haste,
    ) -> Self {
        let manifest = Manifest {
            table: job.model.name().to_string(),
            entity: entity.to_vec(),
            version: snapshot.version(),
            files: files_of(snapshot),
            partitions: partitions.clone().into_names(),
            runs: before.map(|before| before.manifest.runs.clone()).unwrap_or_default(),
        };
        let tails = job.known.as_ref().map(|known| Arc::clone(known.tails()));
        let before = before.and_then(|before| before.path.clone());
        let objects = KeyIndex::objects(job, entity, snapshot).leisurely(haste);
        Self { objects, haste: haste.clone(), tails, before, manifest }
    }

    /// Writes it.
    ///
    /// # Errors
    /// When objects cannot be read or written.
    pub(in crate::latest) async fn write(mut self, entries: Vec<Entry>) -> Result<KeyIndex, IndexError> {
        let mut gatherer = Gatherer::new(&self.objects);
        gatherer.add_all(entries).await?;
        let mut runs = std::mem::take(&mut self.manifest.runs);
        let names = |runs: &[Run]| -> HashSet<String> {
            runs.iter().flat_map(|run| &run.segments).map(|segment| segment.name.clone()).collect()
        };
        let known = names(&runs);
        runs.extend(gatherer.finish().await?);
        self.manifest.runs = settle(&self.objects, runs).await?;
        let path = self.objects.put_manifest(&self.manifest).await?;
        // The index before this one is asked until this one is there.
        let keep: Vec<&Path> = self.before.iter().chain([&path]).collect();
        self.objects.tidy(&keep).await;
        if let Some(tails) = &self.tails {
            let left = names(&self.manifest.runs);
            tails.remove(known.difference(&left).map(String::as_str));
        }
        // What others write to it is waited for.
        self.haste.begins();
        Ok(KeyIndex { objects: self.objects, path: Some(path), manifest: self.manifest, tails: self.tails })
    }
}
