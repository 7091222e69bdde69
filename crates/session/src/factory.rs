//! The factory of sessions: one runtime (memory, spill, caches, object store), one configuration, one set of functions.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use datafusion::catalog::{
    CatalogProvider, MemoryCatalogProvider, MemorySchemaProvider, SchemaProvider, TableProvider,
};
use datafusion::execution::context::{SessionContext, SessionState};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{SendableRecordBatchStream, SessionStateBuilder};
use datafusion::prelude::SessionConfig;
use schema::{Layer, Project, TableName};
use store::{Lake, Snapshot, Table};

use crate::catalog::{Area, LakeSchema};
use crate::limits::{self, QueryThreads};
use crate::log_counts::LogCounts;
use crate::plans::Prepared;
use crate::resolver::Resolver;
use crate::top_bound::TopBound;
use crate::top_rows::TopRows;
use crate::{LakeSession, SessionError, SessionOptions, functions};

/// The one catalog of every session. Its schemas are the layers, and `gold` where a name has none.
pub const CATALOG: &str = "smelt";

/// Parquet footers that are kept, in bytes: a thousand files of some tens of columns.
const METADATA_CACHE_BYTES: usize = 256 << 20;

/// What merging one spilled run takes, about: some batches. It bounds how many runs one merge opens; without a bound the
/// first partition that merges takes all that is left and the others fail.
const MERGED_RUN_BYTES: usize = 8 << 20;

/// Below this memory the batches are smaller, because operators hold several of them whatever their share.
const SMALL_MEMORY_BYTES: usize = 128 << 20;

/// Rows of a batch where memory is small.
const SMALL_BATCH_ROWS: usize = 2048;

/// How many of the greatest memory holders an out-of-memory error names.
const NAMED_CONSUMERS: NonZeroUsize = NonZeroUsize::new(3).expect("three is not zero");

/// Makes sessions. Clones share everything.
#[derive(Debug, Clone)]
pub struct SessionFactory {
    shared: Arc<Shared>,
}

struct Shared {
    lake: Lake,
    project: Arc<Project>,
    options: SessionOptions,
    /// What every session starts from; its catalog is empty.
    template: SessionState,
    /// Started when the first query runs.
    threads: OnceLock<QueryThreads>,
    /// Tables opened so far, so that a long-lived process reads only what was committed since.
    tables: Mutex<HashMap<TableName, Table>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionFactory").field("lake", &self.lake.url().to_string()).finish_non_exhaustive()
    }
}

impl SessionFactory {
    /// A factory over a lake and the project that describes it. Reads nothing yet.
    ///
    /// # Errors
    /// [`SessionError::TempDir`] when the temporary directory cannot be made.
    pub fn new(lake: Lake, project: Arc<Project>, options: SessionOptions) -> Result<Self, SessionError> {
        let runtime = runtime(&lake, &options)?;
        let template =
            SessionStateBuilder::new().with_config(config(&options)).with_runtime_env(runtime).with_default_features();
        let template = template.with_optimizer_rule(Arc::new(TopRows)).with_optimizer_rule(Arc::new(TopBound));
        let mut template = template.with_optimizer_rule(Arc::new(LogCounts));
        template.scalar_functions().get_or_insert_default().extend(functions::scalar_functions());
        // Later functions replace earlier ones of the same name.
        template.aggregate_functions().get_or_insert_default().extend(functions::aggregate_functions());
        let template = template.build();
        Ok(Self {
            shared: Arc::new(Shared {
                lake,
                project,
                options,
                template,
                threads: OnceLock::new(),
                tables: Mutex::default(),
            }),
        })
    }

    /// The lake that sessions read.
    pub fn lake(&self) -> &Lake {
        &self.shared.lake
    }

    /// The project that describes it.
    pub fn project(&self) -> &Arc<Project> {
        &self.shared.project
    }

    /// The limits of its sessions.
    pub fn options(&self) -> &SessionOptions {
        &self.shared.options
    }

    /// A session for questions: Silver and Gold as of the latest release, Bronze and quarantine as of now (each table
    /// when a query first names it). Read-only.
    ///
    /// # Errors
    /// [`SessionError::Store`] when the latest release cannot be read.
    pub async fn session(&self) -> Result<LakeSession, SessionError> {
        let release = self.shared.lake.releases().latest().await?;
        let resolver = Arc::new(Resolver::new(self.clone(), release));
        let context = SessionContext::new_with_state(self.state_over(&resolver, &[]));
        Ok(LakeSession::new(self.clone(), resolver, context))
    }

    /// Runs a query of one of its sessions.
    pub(crate) async fn start(&self, query: Prepared) -> Result<SendableRecordBatchStream, SessionError> {
        let threads = match self.shared.threads.get() {
            Some(threads) => threads,
            None => {
                let started = QueryThreads::start(self.shared.options.threads)?;
                self.shared.threads.get_or_init(|| started)
            }
        };
        limits::start(query, threads, &self.shared.options).await
    }

    /// A context with the functions and limits of all sessions and exactly these tables, each in the schema of its
    /// layer. Nothing is read-only here: it is for SQL of the project's own models.
    pub fn context(&self, tables: HashMap<TableName, Arc<dyn TableProvider>>) -> SessionContext {
        let mut schemas: BTreeMap<&str, Vec<_>> = BTreeMap::new();
        for (name, table) in tables {
            schemas.entry(layer_schema(name.layer)).or_default().push((name.name, table));
        }
        let catalog = MemoryCatalogProvider::new();
        for layer in [Layer::Bronze, Layer::Silver, Layer::Gold, Layer::System] {
            let schema = MemorySchemaProvider::new();
            for (name, table) in schemas.remove(layer_schema(layer)).unwrap_or_default() {
                let registered = schema.register_table(name, table);
                registered.expect("names in a map are unique, so none is registered twice");
            }
            let registered = catalog.register_schema(layer_schema(layer), Arc::new(schema));
            registered.expect("a memory catalog takes schemas");
        }
        SessionContext::new_with_state(self.state(Arc::new(catalog)))
    }

    /// A state whose tables are those that `resolver` finds. `visiting` are the models that are being planned.
    pub(crate) fn state_over(&self, resolver: &Arc<Resolver>, visiting: &[TableName]) -> SessionState {
        let catalog = MemoryCatalogProvider::new();
        for area in Area::ALL {
            let schema = LakeSchema::new(area, Arc::clone(resolver), visiting.to_vec());
            catalog.register_schema(area.schema(), Arc::new(schema)).expect("a memory catalog takes schemas");
        }
        self.state(Arc::new(catalog))
    }

    fn state(&self, catalog: Arc<dyn CatalogProvider>) -> SessionState {
        let catalogs = datafusion::catalog::MemoryCatalogProviderList::new();
        let catalogs: Arc<dyn datafusion::catalog::CatalogProviderList> = Arc::new(catalogs);
        catalogs.register_catalog(CATALOG.to_owned(), catalog);
        SessionStateBuilder::new_from_existing(self.shared.template.clone()).with_catalog_list(catalogs).build()
    }

    /// The head of a table, or its state at `version`; `None` when there is no such table.
    pub(crate) async fn snapshot(
        &self,
        name: &TableName,
        version: Option<i64>,
    ) -> Result<Option<Arc<Snapshot>>, SessionError> {
        let known = self.lock_tables().contains_key(name);
        let Some(table) = self.table(name).await? else { return Ok(None) };
        let head = table.snapshot();
        match version {
            Some(version) if version == head.version() => Ok(Some(head)),
            Some(version) => Ok(Some(table.snapshot_at(version).await?)),
            // Just opened, so this is the head.
            None if !known => Ok(Some(head)),
            None => Ok(Some(table.refresh().await?)),
        }
    }

    /// A table, as of when it was last looked at; `None` when there is no such table.
    pub(crate) async fn table(&self, name: &TableName) -> Result<Option<Table>, SessionError> {
        if let Some(table) = self.lock_tables().get(name) {
            return Ok(Some(table.clone()));
        }
        let opened = self.shared.lake.open_table(name).await?;
        if let Some(table) = &opened {
            self.lock_tables().insert(name.clone(), table.clone());
        }
        Ok(opened)
    }

    fn lock_tables(&self) -> std::sync::MutexGuard<'_, HashMap<TableName, Table>> {
        // The map is whole after any panic: it is only read and inserted into.
        self.shared.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The SQL schema of a layer's tables.
pub(crate) fn layer_schema(layer: Layer) -> &'static str {
    match layer {
        Layer::Bronze => "bronze",
        Layer::Silver => "silver",
        Layer::Gold => "gold",
        Layer::System => "_smelt",
    }
}

fn runtime(lake: &Lake, options: &SessionOptions) -> Result<Arc<RuntimeEnv>, SessionError> {
    // Each operator that can spill gets an equal share, so that none starves the others into failing.
    let pool = TrackConsumersPool::new(FairSpillPool::new(options.memory_bytes), NAMED_CONSUMERS);
    let mut builder = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(pool))
        .with_max_spill_merge_fan_in((options.memory_bytes / (options.threads.max(1) * MERGED_RUN_BYTES)).max(2))
        .with_metadata_cache_limit(METADATA_CACHE_BYTES.min(options.memory_bytes / 4))
        // Files come from the table's log and never from a listing.
        .with_object_list_cache_limit(0);
    if let Some(dir) = &options.temp_dir {
        std::fs::create_dir_all(dir)
            .map_err(|source| SessionError::TempDir { path: dir.display().to_string(), source })?;
        builder = builder.with_temp_file_path(dir);
    }
    let runtime = builder.build_arc()?;
    runtime.register_object_store(lake.object_store_url().as_ref(), lake.object_store());
    Ok(runtime)
}

fn config(options: &SessionOptions) -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_target_partitions(options.threads.max(1))
        .with_default_catalog_and_schema(CATALOG, "gold")
        .with_create_default_catalog_and_schema(false)
        .with_information_schema(true);
    if options.memory_bytes < SMALL_MEMORY_BYTES {
        config = config.with_batch_size(SMALL_BATCH_ROWS);
    }
    let settings = config.options_mut();
    // What a sort keeps back to merge its spilled runs: DataFusion's 10 MB in each partition would be all of a small limit.
    let share = options.memory_bytes / (8 * options.threads.max(1));
    settings.execution.sort_spill_reservation_bytes = settings.execution.sort_spill_reservation_bytes.min(share);
    settings.execution.time_zone = Some("UTC".to_owned());
    // The new streams of DataFusion 55 give groups whose order is known out a batch at a time and move all others up each
    // time: a million groups of one week took half of the time of the weekly fact. The stream before them does not.
    settings.execution.enable_migration_aggregate = false;
    settings.execution.parquet.pushdown_filters = true;
    // Money that is written with a point is money: 0.1 is a decimal and not a double.
    settings.sql_parser.parse_float_as_decimal = true;
    settings.sql_parser.collect_spans = true;
    // Text in SQL has the type that text in tables has.
    settings.sql_parser.map_string_types_to_utf8view = false;
    settings.execution.parquet.schema_force_view_types = false;
    config
}
