//! `smelt maintain`: compact, checkpoint, clean the logs and vacuum, table by table.

use std::collections::HashMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use schema::TableName;
use store::{CleanPolicy, CompactPolicy, Snapshot, Table, VacuumPolicy};

use crate::alerts;
use crate::app::App;
use crate::cli::{Common, MaintainArgs};
use crate::exit::Usage;
use crate::progress::{counted, grouped, say};
use crate::settings::Maintain as Most;
use crate::units::ByteSize;

/// How long a release can be read after a newer one came.
const RELEASES_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// Maintains the tables that are named, or all. Safe beside running commands and readers. A table that is left with more
/// files or tombstones than the settings allow is an incident, until it is not.
///
/// # Errors
/// An unknown table, or a table that fails; those before it are done.
pub async fn run(common: &Common, args: MaintainArgs) -> Result<ExitCode> {
    let app = App::open(common).await?;
    quality::loads::keep(&app.lake, app.project.contracts.values()).await.context("keeping what logs say of loads")?;
    let mut tables = Vec::new();
    for name in app.lake.tables().await? {
        tables.push(app.lake.table(&name).await?);
    }
    let sets = app.project.sets();
    for owner in app.project.contracts.keys().map(String::as_str).chain(sets.keys().copied()) {
        tables.extend(app.lake.open_table(&TableName::system(format!("landing/{owner}"))).await?);
    }
    for name in [schema::results_table(), schema::loads_table()] {
        tables.extend(app.lake.open_table(&name).await?);
    }
    let needed = Needed::of(&app, &tables).await?;
    let mut left = Vec::new();
    for table in wanted(&args, &tables)? {
        maintain(table, &needed, &app).await.with_context(|| format!("maintaining {}", table.name()))?;
        left.push((table.name().clone(), behind(&table.snapshot(), &app.settings.maintain)));
    }
    alerts::tell_upkeep(&app.alerts(), &left).await;
    let released = app.lake.releases().clean(RELEASES_KEPT).await.context("removing old releases")?;
    if released > 0 {
        say(&format!("{} removed", counted(released as u64, "old release")));
    }
    app.alerts().clean().await.context("removing old incidents")?;
    Ok(ExitCode::SUCCESS)
}

fn wanted<'a>(args: &MaintainArgs, tables: &'a [Table]) -> Result<Vec<&'a Table>> {
    if args.tables.is_empty() {
        return Ok(tables.iter().collect());
    }
    let find = |name: &String| tables.iter().find(|table| table.name().to_string() == *name);
    let missing = |name: &String| Usage(format!("--table {name}: the lake has no such table")).into();
    args.tables.iter().map(|name| find(name).ok_or_else(|| missing(name))).collect()
}

/// The versions that somebody still needs: readers of the latest release, and the tables that consume others.
struct Needed {
    released: HashMap<TableName, i64>,
    /// The versions that tables have read, by the upstream's table id.
    consumed: HashMap<String, Vec<(TableName, i64)>>,
}

impl Needed {
    async fn of(app: &App, tables: &[Table]) -> Result<Needed> {
        let release = app.lake.releases().latest().await?;
        let released = release.map(|release| release.tables.into_iter().collect()).unwrap_or_default();
        let mut consumed: HashMap<String, Vec<(TableName, i64)>> = HashMap::new();
        // Also of tables whose models this project does not have: another one may.
        for table in tables {
            for (input, position) in table.snapshot().txns() {
                if let Some(id) = input.strip_prefix("table:") {
                    consumed.entry(id.to_owned()).or_default().push((table.name().clone(), position));
                }
            }
        }
        Ok(Needed { released, consumed })
    }

    /// The version of `table` that readers of the latest release see.
    fn released(&self, table: &Table) -> Option<i64> {
        self.released.get(table.name()).copied()
    }

    /// Who has read `table`, and up to which version.
    fn consumed(&self, table: &Table) -> &[(TableName, i64)] {
        self.consumed.get(table.snapshot().id()).map_or(&[], Vec::as_slice)
    }
}

/// What is too much of a table, if anything is.
fn behind(snapshot: &Snapshot, most: &Most) -> Option<String> {
    let (files, tombstones) = (snapshot.file_count(), snapshot.tombstones().count());
    let is_much = files > most.most_files || tombstones > most.most_tombstones;
    is_much.then(|| {
        format!(
            "{} (most: {}) and {} (most: {}) are left: see [maintain] in smelt.toml; run smelt maintain more often, and \
             see in smelt status whether a table that reads it is behind",
            counted(files as u64, "live file"),
            grouped(most.most_files as u64),
            counted(tombstones as u64, "tombstone"),
            grouped(most.most_tombstones as u64),
        )
    })
}

async fn maintain(table: &Table, needed: &Needed, app: &App) -> Result<()> {
    let compacted = table.compact(&CompactPolicy::default()).await?;
    table.checkpoint().await?;
    let (released, consumers) = (needed.released(table), needed.consumed(table));
    let consumed: Vec<i64> = consumers.iter().map(|(_, version)| *version).collect();
    let clean = CleanPolicy {
        keep_after: released,
        consumed,
        most_lag: app.settings.maintain.most_lag.0,
        ..CleanPolicy::default()
    };
    let cleaned = table.clean_log(&clean).await?;
    let (gone, kept): (Vec<_>, Vec<_>) = consumers.iter().partition(|(_, version)| cleaned.gone.contains(version));
    // Nobody can rebuild a table whose model is not here.
    for (consumer, version) in gone.into_iter().filter(|(name, _)| app.project.models.contains_key(name)) {
        say(&format!(
            "{consumer} has read {} up to version {version} and is given up (see most_lag in smelt.toml): what came next is \
             no longer kept; rebuild it with smelt refine --full-refresh --select {consumer}",
            table.name(),
        ));
    }
    let least = kept.into_iter().map(|(_, version)| *version).chain(released).min();
    let policy = VacuumPolicy { keep_versions: least.into_iter().collect(), ..VacuumPolicy::default() };
    let vacuumed = table.vacuum(&policy).await?;
    say(&format!(
        "{}: {} compacted to {}; {} removed ({}); {} of the log removed",
        table.name(),
        counted(compacted.files_removed as u64, "file"),
        grouped(compacted.files_added as u64),
        counted(vacuumed.removed.len() as u64, "unused file"),
        ByteSize(vacuumed.bytes),
        counted(cleaned.commits as u64, "version"),
    ));
    Ok(())
}
