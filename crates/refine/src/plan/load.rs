//! Loading a project: each model planned against the schemas of what it reads, checked, and described for storage.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::{DFSchema, TableReference};
use datafusion::datasource::ViewTable;
use datafusion::datasource::empty::EmptyTable;
use datafusion::execution::context::{SessionContext, SessionState};
use datafusion::logical_expr::LogicalPlan;
use schema::{Check, Feed, Kept, Layer, Model, Severity, TableName};
use session::LINEAGE_COLUMN;
use xxhash_rust::xxh3::xxh3_128;

use super::folding::{Folding, folding};
use super::{check, feed_error, graph};
use crate::{RefineEnv, RefineError, Result};

/// Grows whenever the same SQL would give other rows than before, so that tables are rebuilt.
const ENGINE_EPOCH: u32 = 1;

/// Models of a project that are stored, in the order in which they are refreshed.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) models: Vec<LoadedModel>,
    /// Views, in an order in which each comes after the views that it reads.
    pub(crate) views: Vec<(TableName, Feed)>,
}

/// A model that is stored.
#[derive(Debug)]
pub(crate) struct LoadedModel {
    pub(crate) model: Model,
    pub(crate) feeds: Vec<LoadedFeed>,
    /// The table's columns as they are stored.
    pub(crate) schema: SchemaRef,
    /// All stored tables that the feeds read, also through views.
    pub(crate) reads: BTreeSet<TableName>,
    /// The views that the feeds read, also through other views.
    pub(crate) views: BTreeSet<TableName>,
    /// Stored tables that only the checks read, besides the model's own.
    pub(crate) check_reads: BTreeSet<TableName>,
    /// Says by which SQL, kind and schema the table is kept (ENGINE.md 20).
    pub(crate) fingerprint: String,
}

/// A SELECT that feeds a model.
#[derive(Debug)]
pub(crate) struct LoadedFeed {
    pub(crate) feed: Feed,
    /// The stored tables that it reads, also through views.
    pub(crate) reads: BTreeSet<TableName>,
    /// Whether an upstream row gives at most one row.
    pub(crate) at_most_one: bool,
    /// Whether each upstream row gives at least one row.
    pub(crate) keeps_all: bool,
    /// Columns that the SQL's last GROUP BY makes unique together.
    pub(crate) grouped_by: Option<Vec<String>>,
    /// How changes are added to the stored groups; `None` where they are computed again.
    pub(crate) folding: Option<Folding>,
}

impl LoadedModel {
    /// The model's name.
    pub(crate) fn name(&self) -> &TableName {
        &self.model.name
    }

    /// Names an error after this model.
    pub(crate) fn error(&self, message: impl Into<String>) -> RefineError {
        match self.feeds.first() {
            Some(feed) => feed_error(&feed.feed, None, message),
            None => RefineError::Model { path: self.model.path.clone(), line: 1, message: message.into() },
        }
    }
}

/// The SQL of a project, parsed, and which of its models are to be planned.
pub(crate) struct Sources {
    parsed: BTreeMap<TableName, Vec<graph::Parsed>>,
    /// What models read, and their checks.
    reads: BTreeMap<TableName, BTreeSet<TableName>>,
    /// The models to be planned, in the order in which they are refreshed.
    order: Vec<TableName>,
}

impl Sources {
    /// Parses all models of the project; to be planned are these and all that they read, or all (`None`).
    ///
    /// # Errors
    /// [`RefineError::Model`] with file and line.
    pub(crate) fn parse(env: &RefineEnv, wanted: Option<&BTreeSet<TableName>>) -> Result<Self> {
        let state = env.factory.context(HashMap::new()).state();
        let mut parsed = BTreeMap::new();
        for (name, model) in &env.project.models {
            let feeds = model.feeds.iter().map(|feed| graph::parse(&state, &env.project, feed));
            parsed.insert(name.clone(), feeds.collect::<Result<Vec<graph::Parsed>>>()?);
        }
        let direct: BTreeMap<TableName, BTreeSet<TableName>> = parsed
            .iter()
            .map(|(name, feeds)| (name.clone(), feeds.iter().flat_map(|feed| feed.reads.iter().cloned()).collect()))
            .collect();
        let checked = checked(env, &state);
        let mut order = graph::order(&env.project, &graph::with_checks(&direct, &checked))?;
        let mut reads = direct;
        for (name, others) in checked {
            reads.entry(name).or_default().extend(others);
        }
        if let Some(wanted) = wanted {
            let needed = graph::needed(&reads, wanted);
            order.retain(|name| needed.contains(name));
        }
        Ok(Self { parsed, reads, order })
    }

    /// The tables that the models to be planned are or read, stored or not.
    pub(crate) fn tables(&self) -> BTreeSet<TableName> {
        graph::needed(&self.reads, &self.order.iter().cloned().collect())
    }
}

impl Plan {
    /// Plans and checks models of the project. Opens no table.
    ///
    /// # Errors
    /// [`RefineError::Model`] with file and line.
    pub(crate) async fn load(env: &RefineEnv, sources: &Sources) -> Result<Plan> {
        let context = env.factory.context(HashMap::new());
        let state = context.state();
        let parsed = &sources.parsed;
        let mut loader = Loader { env, parsed, context, known: HashMap::new(), views: HashMap::new() };
        let tables = sources.tables();
        for contract in env.project.contracts.values().filter(|contract| tables.contains(&contract.table())) {
            let empty = session::bronze_view(contract, session::empty_bronze(contract))?;
            loader.know(contract.table(), empty)?;
        }
        let mut plan = Plan { models: Vec::new(), views: Vec::new() };
        for name in &sources.order {
            let model = &env.project.models[name];
            if matches!(model.kept, Kept::View) {
                plan.views.push((name.clone(), loader.view(model).await?));
            } else {
                plan.models.push(loader.model(model).await?);
            }
        }
        for model in &mut plan.models {
            model.check_reads = loader.check_reads(&state, model).await?;
        }
        Ok(plan)
    }

    /// A context over `tables` and the views of a model over them.
    pub(crate) async fn with_views(
        &self,
        env: &RefineEnv,
        model: &LoadedModel,
        mut tables: HashMap<TableName, Arc<dyn TableProvider>>,
    ) -> Result<SessionContext> {
        for (name, feed) in self.views.iter().filter(|(name, _)| model.views.contains(name)) {
            let context = env.factory.context(tables.clone());
            let plan = context.state().create_logical_plan(&feed.sql).await?;
            tables.insert(name.clone(), Arc::new(ViewTable::new(plan, None)));
        }
        Ok(env.factory.context(tables))
    }

    /// A stored table, or part of one, as SQL sees it; empty where there is none.
    pub(crate) fn seen(
        &self,
        env: &RefineEnv,
        name: &TableName,
        stored: Option<Arc<dyn TableProvider>>,
    ) -> Result<Arc<dyn TableProvider>> {
        if name.layer == Layer::Bronze {
            let contract = &env.project.contracts[&name.name];
            let stored = stored.unwrap_or_else(|| session::empty_bronze(contract));
            return Ok(session::bronze_view(contract, stored)?);
        }
        Ok(stored.unwrap_or_else(|| {
            let model = self.models.iter().find(|model| model.name() == name);
            let schema = model.map_or_else(|| Arc::new(Schema::empty()), |model| store::read_schema(&model.schema));
            Arc::new(EmptyTable::new(schema))
        }))
    }
}

/// What the checks of each model read. What is wrong with them is said later.
fn checked(env: &RefineEnv, state: &SessionState) -> BTreeMap<TableName, BTreeSet<TableName>> {
    let reads = |model: &Model, check: &Check| match check {
        Check::Sql { name, sql } => {
            let parsed = graph::parse(state, &env.project, &statement(&model.path, name, sql));
            parsed.map(|parsed| parsed.reads).unwrap_or_default()
        }
        _ => check.other().map(|(table, _)| table.clone()).into_iter().collect(),
    };
    let of = |model: &Model| model.all_checks().flat_map(|(_, check)| reads(model, check)).collect();
    env.project.models.iter().map(|(name, model)| (name.clone(), of(model))).collect()
}

/// The SQL of a check, in the form in which feeds are parsed.
fn statement(path: &str, name: &str, sql: &str) -> Feed {
    Feed {
        name: name.to_owned(),
        path: path.to_owned(),
        description: String::new(),
        sql: sql.to_owned(),
        sql_first_line: 1,
        entity: Vec::new(),
        version: None,
        gate: None,
    }
}

/// What SQL comes to when the views that it reads are looked through.
struct Expanded {
    /// Stored tables that are read in the end.
    reads: BTreeSet<TableName>,
    /// Views on the way.
    views: BTreeSet<TableName>,
    /// The SQL and that of all views below it.
    canonical: String,
}

struct Loader<'a> {
    env: &'a RefineEnv,
    parsed: &'a BTreeMap<TableName, Vec<graph::Parsed>>,
    /// What has [`Loader::known`], for planning.
    context: SessionContext,
    /// Empty tables and views.
    known: HashMap<TableName, Arc<dyn TableProvider>>,
    views: HashMap<TableName, Expanded>,
}

impl Loader<'_> {
    /// Has SQL that is planned from now on see a table.
    fn know(&mut self, name: TableName, table: Arc<dyn TableProvider>) -> Result<()> {
        let place = TableReference::partial(name.layer.to_string(), name.name.clone());
        self.context.register_table(place, Arc::clone(&table))?;
        self.known.insert(name, table);
        Ok(())
    }

    async fn view(&mut self, model: &Model) -> Result<Feed> {
        let [feed] = model.feeds.as_slice() else {
            let message = "a view has one SQL file".to_owned();
            return Err(RefineError::Model { path: model.path.clone(), line: 1, message });
        };
        let plan = self.plan(feed).await?;
        let parsed = &self.parsed[&model.name][0];
        let expanded = self.expand(parsed);
        self.views.insert(model.name.clone(), expanded);
        self.know(model.name.clone(), Arc::new(ViewTable::new(plan, None)))?;
        Ok(feed.clone())
    }

    async fn model(&mut self, model: &Model) -> Result<LoadedModel> {
        let mut feeds = Vec::new();
        let mut plans = Vec::new();
        let mut views = BTreeSet::new();
        let mut text = String::new();
        for (feed, parsed) in model.feeds.iter().zip(&self.parsed[&model.name]) {
            let plan = self.plan(feed).await?;
            let Expanded { reads, views: through, canonical } = self.expand(parsed);
            views.extend(through);
            kind_checks(model, feed, &plan, &reads).map_err(|message| feed_error(feed, None, message))?;
            text.push_str(&format!("{}\n{canonical}\n{:?} {:?}\n", feed.name, feed.entity, feed.version));
            let (at_most_one, keeps_all) = (check::at_most_one(&plan), check::keeps_all(&plan));
            let (grouped_by, folding) = (check::grouped_by(&plan), folding(&plan));
            feeds.push(LoadedFeed { feed: feed.clone(), reads, at_most_one, keeps_all, grouped_by, folding });
            plans.push(plan);
        }
        let schema = stored_schema(model, &plans)?;
        for (feed, plan) in feeds.iter_mut().zip(&plans) {
            feed.folding = feed.folding.take().filter(|folding| stored_as_summed(folding, plan, &schema));
        }
        table_checks(model, &schema)?;
        apart(model, &plans)?;
        let empty = EmptyTable::new(store::read_schema(&schema));
        self.know(model.name.clone(), Arc::new(empty))?;
        let columns: Vec<String> = schema.fields().iter().map(|f| format!("{} {}", f.name(), f.data_type())).collect();
        text.push_str(&format!("{ENGINE_EPOCH} {:?} {:?} {}", model.kept, model.partition_by, columns.join(", ")));
        let reads = feeds.iter().flat_map(|feed| feed.reads.iter().cloned()).collect();
        let fingerprint = format!("{:032x}", xxh3_128(text.as_bytes()));
        Ok(LoadedModel { model: model.clone(), feeds, schema, reads, views, check_reads: BTreeSet::new(), fingerprint })
    }

    async fn plan(&self, feed: &Feed) -> Result<LogicalPlan> {
        let plan = self.context.state().create_logical_plan(&feed.sql).await;
        plan.map_err(|error| {
            let error = session::SessionError::from(error);
            let word = match &error {
                session::SessionError::UnknownColumn { name, .. } => name.rsplit('.').next().map(str::to_owned),
                _ => None,
            };
            feed_error(feed, word.as_deref(), error.to_string())
        })
    }

    /// Plans the checks of a model that read other tables; gives what they read.
    async fn check_reads(&self, state: &SessionState, model: &LoadedModel) -> Result<BTreeSet<TableName>> {
        let mut reads = BTreeSet::new();
        for (_, check) in model.model.all_checks() {
            let located = |message: String| RefineError::Model {
                path: model.model.path.clone(),
                line: 1,
                message: format!("check {check}: {message}"),
            };
            let found = match check {
                Check::Sql { name, sql } => self.sql_check(state, model, (name, sql)).await.map_err(|e| match e {
                    RefineError::Model { message, .. } => located(message),
                    other => other,
                })?,
                _ => self.other_of(check).map_err(located)?,
            };
            if let Some(view) = found.iter().find(|read| self.views.contains_key(read)) {
                return Err(located(format!("reads the view {view}: name the tables that it reads")));
            }
            reads.extend(found.into_iter().filter(|read| read != model.name()));
        }
        Ok(reads)
    }

    async fn sql_check(
        &self,
        state: &SessionState,
        model: &LoadedModel,
        (name, sql): (&str, &str),
    ) -> Result<BTreeSet<TableName>> {
        let path = model.model.path.clone();
        let parsed = graph::parse(state, &self.env.project, &statement(&path, name, sql))?;
        match self.context.state().create_logical_plan(sql).await {
            Ok(_) => Ok(parsed.reads),
            Err(error) => {
                let message = session::SessionError::from(error).to_string();
                Err(RefineError::Model { path, line: 1, message })
            }
        }
    }

    /// The table that a check compares with, if there is one, and its column in it.
    fn other_of(&self, check: &Check) -> Result<BTreeSet<TableName>, String> {
        let Some((table, column)) = check.other() else { return Ok(BTreeSet::new()) };
        let known = self.known.get(table).ok_or_else(|| format!("unknown table {table}"))?;
        match column {
            Some(column) if known.schema().index_of(column).is_err() => Err(format!("{table} has no column {column}")),
            _ => Ok([table.clone()].into()),
        }
    }

    fn expand(&self, parsed: &graph::Parsed) -> Expanded {
        let mut all = Expanded { reads: BTreeSet::new(), views: BTreeSet::new(), canonical: parsed.canonical.clone() };
        for read in &parsed.reads {
            let Some(view) = self.views.get(read) else {
                all.reads.insert(read.clone());
                continue;
            };
            all.reads.extend(view.reads.iter().cloned());
            all.views.extend(view.views.iter().cloned().chain([read.clone()]));
            all.canonical.push_str(&format!("\n{read}: {}", view.canonical));
        }
        all
    }
}

fn kind_checks(model: &Model, feed: &Feed, plan: &LogicalPlan, reads: &BTreeSet<TableName>) -> Result<(), String> {
    let one = |kept: &str| match reads.len() {
        1 => Ok(()),
        n => Err(format!(
            "a model kept as `{kept}` reads one table, this one reads {n}: join in a `scoped` model or a view"
        )),
    };
    match &model.kept {
        Kept::Append => {
            one("append")?;
            check::row_by_row(plan)
        }
        Kept::Latest => {
            one("latest")?;
            if reads.iter().any(|read| read.layer != Layer::Bronze) {
                return Err(
                    "a model kept as `latest` reads a Bronze table: only there has each row its _lineage".to_owned()
                );
            }
            if scans(plan) != 1 {
                return Err("a feed of a model kept as `latest` names its table once".to_owned());
            }
            latest_columns(feed, plan)?;
            check::scoped(plan, &[LINEAGE_COLUMN.to_owned()])
                .map_err(|problem| format!("what a feed makes of one message must depend on no other: {problem}"))
        }
        Kept::Scoped { scope } => check::scoped(plan, scope),
        Kept::Full => check::repeatable(plan),
        Kept::View => Ok(()),
    }
}

fn latest_columns(feed: &Feed, plan: &LogicalPlan) -> Result<(), String> {
    let names: Vec<String> = plan.schema().columns().into_iter().map(|column| column.name).collect();
    let wanted = feed.entity.iter().chain(&feed.version).map(String::as_str).chain([LINEAGE_COLUMN]);
    for column in wanted {
        if !names.iter().any(|name| name == column) {
            return Err(format!("the SQL must give the column {column}; it gives {}", names.join(", ")));
        }
    }
    Ok(())
}

fn scans(plan: &LogicalPlan) -> usize {
    use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
    let mut count = 0;
    let visited = plan.apply(|node| {
        count += usize::from(matches!(node, LogicalPlan::TableScan(_)));
        Ok(TreeNodeRecursion::Continue)
    });
    debug_assert!(visited.is_ok(), "the visitor gives no errors");
    count
}

/// Whether sums are stored in the types in which they are made, so that nothing is rounded between.
fn stored_as_summed(folding: &Folding, plan: &LogicalPlan, schema: &Schema) -> bool {
    folding.measures.iter().all(|measure| {
        let made = plan.schema().field_with_unqualified_name(&measure.name);
        let stored = schema.field_with_name(&measure.name);
        made.ok().zip(stored.ok()).is_some_and(|(made, stored)| made.data_type() == stored.data_type())
    })
}

/// The table's schema: of one SELECT, what it gives; of several feeds, what `table.toml` declares, and `_lineage`.
fn stored_schema(model: &Model, plans: &[LogicalPlan]) -> Result<SchemaRef> {
    let [first, others @ ..] = plans else {
        let message = "the model has no SQL".to_owned();
        return Err(RefineError::Model { path: model.path.clone(), line: 1, message });
    };
    let of_first = session::stored_schema(model, first.schema().as_arrow());
    let folder = !others.is_empty() || model.path != model.feeds[0].path;
    if !folder {
        return Ok(of_first);
    }
    let mut fields = Vec::new();
    for column in &model.columns {
        let kind = column.kind.as_ref().ok_or_else(|| RefineError::Model {
            path: model.path.clone(),
            line: 1,
            message: format!(
                "column {} needs a type: the feeds of a folder are cast to the types of its table.toml",
                column.name
            ),
        })?;
        fields.push(Field::new(&column.name, kind.to_arrow(), true));
    }
    if matches!(model.kept, Kept::Latest) && !fields.iter().any(|field| field.name() == LINEAGE_COLUMN) {
        fields.push(of_first.field_with_name(LINEAGE_COLUMN)?.clone());
    }
    let schema = Arc::new(Schema::new(fields));
    for (feed, plan) in model.feeds.iter().zip(plans) {
        same_columns(feed, plan.schema(), &schema)?;
    }
    Ok(schema)
}

fn same_columns(feed: &Feed, found: &DFSchema, wanted: &Schema) -> Result<()> {
    let found: BTreeSet<&str> = found.fields().iter().map(|field| field.name().as_str()).collect();
    let declared: BTreeSet<&str> = wanted.fields().iter().map(|field| field.name().as_str()).collect();
    if let Some(missing) = declared.difference(&found).next() {
        return Err(feed_error(
            feed,
            None,
            format!("the SQL must give the column {missing}, which table.toml declares"),
        ));
    }
    match found.difference(&declared).next() {
        None => Ok(()),
        Some(extra) => Err(feed_error(feed, Some(extra), format!("table.toml declares no column {extra}"))),
    }
}

/// Columns that the header names must exist.
fn table_checks(model: &Model, schema: &Schema) -> Result<()> {
    let scope = match &model.kept {
        Kept::Scoped { scope } => scope.as_slice(),
        _ => &[],
    };
    let mut named: Vec<(&str, &String)> = Vec::new();
    named.extend(model.partition_by.iter().map(|column| ("partition_by", column)));
    named.extend(model.grain.iter().map(|column| ("grain", column)));
    named.extend(scope.iter().map(|column| ("scope", column)));
    named.extend(model.columns.iter().map(|column| ("columns", &column.name)));
    for (severity, check) in model.all_checks() {
        let key = if severity == Severity::Warn { "warnings" } else { "checks" };
        let columns: Vec<&String> = check.columns();
        named.extend(columns.into_iter().map(|column| (key, column)));
    }
    for (key, column) in named {
        if schema.index_of(column).is_err() {
            let known: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
            let message =
                format!("`{key}` names the column {column}, which the SQL does not give ({})", known.join(", "));
            return Err(RefineError::Model { path: model.path.clone(), line: 1, message });
        }
    }
    Ok(())
}

/// Feeds of one `latest` table must not meet in one entity, or each would take the other's rows for old versions of its
/// own: some entity column of each must be a constant, another one in each feed.
fn apart(model: &Model, plans: &[LogicalPlan]) -> Result<()> {
    if !matches!(model.kept, Kept::Latest) || plans.len() < 2 {
        return Ok(());
    }
    let shared = model.feeds[0].entity.iter().filter(|column| model.feeds.iter().all(|f| f.entity.contains(column)));
    for column in shared {
        let constants: Option<BTreeSet<String>> = plans.iter().map(|plan| constant(plan, column)).collect();
        if constants.is_some_and(|values| values.len() == plans.len()) {
            return Ok(());
        }
    }
    let feed = &model.feeds[0];
    let message = "the feeds of a table kept as `latest` must be told apart by an entity column that is a constant in each \
                   feed, for example 'pos_sales' AS source";
    Err(feed_error(feed, None, message))
}

/// The literal that a plan gives as a column, as text.
fn constant(plan: &LogicalPlan, column: &str) -> Option<String> {
    let LogicalPlan::Projection(projection) = plan else { return None };
    let place = projection.schema.fields().iter().position(|field| field.name() == column)?;
    match projection.expr[place].clone().unalias_nested().data {
        datafusion::logical_expr::Expr::Literal(value, _) => Some(value.to_string()),
        _ => None,
    }
}
