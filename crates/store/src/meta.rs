//! What a table is: id, schema, partition columns, properties; and how that may change.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};
use deltalake_core::kernel::StructType;
use deltalake_core::kernel::engine::arrow_conversion::{TryIntoArrow, TryIntoKernel};
use schema::TableName;

use crate::error::{Result, StoreError};

/// The property that holds the fingerprint of the model that a table is kept by (ENGINE.md, rule 20).
pub const FINGERPRINT: &str = "smelt.fingerprint";

/// What a caller wants a table to be.
#[derive(Clone, Debug)]
pub struct TableSpec {
    /// All columns in order, partition columns included. Strings may be any of Arrow's string types. What a field's
    /// metadata has under `comment` becomes the column's comment.
    pub schema: SchemaRef,
    /// Names of the partition columns.
    pub partition_by: Vec<String>,
    /// Whether updates of rows are kept as change data files, so that consumers see before and after images.
    pub change_data: bool,
    /// Fingerprint of the model that fills the table.
    pub fingerprint: Option<String>,
    /// What the table holds, for people.
    pub description: Option<String>,
    /// Further table properties.
    pub properties: BTreeMap<String, String>,
}

impl TableSpec {
    /// A table that is not partitioned and has no properties.
    pub fn new(schema: SchemaRef) -> Self {
        Self {
            schema,
            partition_by: Vec::new(),
            change_data: false,
            fingerprint: None,
            description: None,
            properties: BTreeMap::new(),
        }
    }

    /// Sets the partition columns.
    pub fn partitioned_by(mut self, columns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.partition_by = columns.into_iter().map(Into::into).collect();
        self
    }
}

/// What a commit changes about the table itself; `None` leaves a part as it is.
///
/// A schema that only adds nullable columns is accepted beside live files. Any other schema, and other partition
/// columns, are accepted only in a commit that removes all live files (a rebuild).
#[derive(Clone, Debug, Default)]
pub struct MetadataChange {
    /// The new schema.
    pub schema: Option<SchemaRef>,
    /// The new partition columns.
    pub partition_by: Option<Vec<String>>,
    /// The new fingerprint.
    pub fingerprint: Option<String>,
    /// The new description.
    pub description: Option<String>,
    /// Properties to set.
    pub properties: BTreeMap<String, String>,
}

/// What a table is, at a version.
#[derive(Clone, Debug, PartialEq)]
pub struct TableMeta {
    /// The table's name in the lake.
    pub table: TableName,
    /// Delta's id of the table, which never changes.
    pub id: String,
    /// All columns in order: strings are `Utf8`, binaries `Binary`, timestamps `Timestamp(Microsecond, "UTC")`.
    pub schema: SchemaRef,
    /// The columns that are in the files: all but the partition columns, in order.
    pub file_schema: SchemaRef,
    /// Names of the partition columns, in the order of [`crate::DataFile::partition_values`].
    pub partition_columns: Vec<String>,
    /// Table properties (Delta's `configuration`).
    pub properties: BTreeMap<String, String>,
    /// What the table holds, for people.
    pub description: Option<String>,
    /// What columns hold, for people, by the column's name: Delta's column comments.
    pub comments: BTreeMap<String, String>,
    /// When it was created, milliseconds since 1970 UTC.
    pub created_ms: Option<i64>,
    /// Delta's minimum reader and writer versions.
    pub protocol: (i32, i32),
}

impl TableMeta {
    /// A table without properties; the schema must be canonical.
    pub(crate) fn new(
        table: TableName,
        id: String,
        schema: SchemaRef,
        partition_columns: Vec<String>,
        protocol: (i32, i32),
    ) -> Self {
        let in_files = |field: &&FieldRef| !partition_columns.contains(field.name());
        let file_schema = Arc::new(Schema::new(schema.fields().iter().filter(in_files).cloned().collect::<Fields>()));
        Self {
            table,
            id,
            schema,
            file_schema,
            partition_columns,
            properties: BTreeMap::new(),
            description: None,
            comments: BTreeMap::new(),
            created_ms: None,
            protocol,
        }
    }

    /// The fingerprint of the model that the table is kept by.
    pub fn fingerprint(&self) -> Option<&str> {
        self.properties.get(FINGERPRINT).map(String::as_str)
    }

    /// Whether commits write change data files for rows that they update or remove.
    pub fn change_data(&self) -> bool {
        self.properties.get("delta.enableChangeDataFeed").is_some_and(|v| v == "true")
    }

    /// The fields of the partition columns, in their order.
    pub fn partition_fields(&self) -> Vec<FieldRef> {
        let find = |name: &String| self.schema.fields().iter().find(|f| f.name() == name).cloned();
        self.partition_columns.iter().filter_map(find).collect()
    }
}

/// The schema as Delta keeps it: strings are `Utf8`, binaries `Binary`, without Arrow metadata.
///
/// # Errors
/// [`StoreError::BadColumn`] for types that lose something on the way to Delta and back, and for names that other engines
/// do not read.
pub(crate) fn canonical(table: &TableName, schema: &Schema) -> Result<SchemaRef> {
    let mut seen = HashSet::new();
    for field in schema.fields() {
        let bad = |message: &str| StoreError::BadColumn {
            table: table.clone(),
            column: field.name().clone(),
            message: message.to_string(),
        };
        if field.name().is_empty() || field.name().contains([' ', ',', ';', '{', '}', '(', ')', '\n', '\t', '=']) {
            return Err(bad("names of columns have no spaces and none of ,;{}()="));
        }
        if !seen.insert(field.name().to_lowercase()) {
            return Err(bad("there are two columns of this name (case does not count)"));
        }
    }
    let fields = schema.fields().iter().map(|field| canonical_field(table, field.name(), field));
    Ok(Arc::new(Schema::new(fields.collect::<Result<Vec<_>>>()?)))
}

fn canonical_field(table: &TableName, column: &str, field: &Field) -> Result<Field> {
    Ok(Field::new(field.name(), canonical_type(table, column, field.data_type())?, field.is_nullable()))
}

fn canonical_type(table: &TableName, column: &str, kind: &DataType) -> Result<DataType> {
    let bad = |message: &str| StoreError::BadColumn {
        table: table.clone(),
        column: column.to_string(),
        message: format!("{kind}: {message}"),
    };
    Ok(match kind {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => DataType::Binary,
        DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float32
        | DataType::Float64
        | DataType::Date32 => kind.clone(),
        DataType::Decimal128(precision, scale) if *scale >= 0 && *precision >= scale.cast_unsigned() => kind.clone(),
        DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if zone.eq_ignore_ascii_case("utc") => {
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
        }
        DataType::Timestamp(..) => return Err(bad("timestamps are in microseconds and UTC")),
        DataType::Dictionary(_, value) => canonical_type(table, column, value)?,
        DataType::List(item) | DataType::LargeList(item) => {
            let item = canonical_type(table, column, item.data_type())
                .map(|t| Field::new("element", t, item.is_nullable()))?;
            DataType::List(Arc::new(item))
        }
        DataType::Struct(fields) => {
            let fields = fields.iter().map(|field| canonical_field(table, column, field));
            DataType::Struct(fields.collect::<Result<Vec<_>>>()?.into())
        }
        _ => return Err(bad("tables do not hold this type")),
    })
}

/// The key of a column's comment in its metadata, in Delta's schemas as in Arrow's.
const COMMENT: &str = "comment";

/// The comments of a schema's columns, by the column's name.
fn comments(schema: &Schema) -> BTreeMap<String, String> {
    let comment = |field: &FieldRef| Some((field.name().clone(), field.metadata().get(COMMENT)?.clone()));
    schema.fields().iter().filter_map(comment).collect()
}

/// The schema as Delta's JSON, with the columns' comments.
pub(crate) fn schema_to_json(meta: &TableMeta) -> Result<String> {
    let table = &meta.table;
    let bad = |message: String| StoreError::BadColumn { table: table.clone(), column: "*".to_string(), message };
    let documented = |field: &FieldRef| match meta.comments.get(field.name()) {
        Some(text) => Arc::new(field.as_ref().clone().with_metadata([(COMMENT.to_string(), text.clone())].into())),
        None => Arc::clone(field),
    };
    let schema = Schema::new(meta.schema.fields().iter().map(documented).collect::<Fields>());
    let delta: StructType = (&schema).try_into_kernel().map_err(|e: arrow::error::ArrowError| bad(e.to_string()))?;
    serde_json::to_string(&delta).map_err(|e| bad(e.to_string()))
}

/// The schema that Delta's JSON stands for, and the columns' comments.
pub(crate) fn schema_of_json(table: &TableName, json: &str) -> Result<(SchemaRef, BTreeMap<String, String>)> {
    let bad =
        |message: String| StoreError::UnsupportedTable { table: table.clone(), feature: format!("schema: {message}") };
    let delta: StructType = serde_json::from_str(json).map_err(|e| bad(e.to_string()))?;
    let arrow: Schema = (&delta).try_into_arrow().map_err(|e: arrow::error::ArrowError| bad(e.to_string()))?;
    Ok((canonical(table, &arrow)?, comments(&arrow)))
}

/// The schema of a table that grew: the stored columns as they are, then the columns that only the wanted schema has.
/// `None` when there is nothing to add. Stored columns that are no longer wanted stay.
///
/// # Errors
/// [`StoreError::Incompatible`] when a column has another type, or a new one may not be null.
pub(crate) fn grown(table: &TableName, stored: &Schema, wanted: &Schema) -> Result<Option<SchemaRef>> {
    let incompatible = |message: String| StoreError::Incompatible {
        table: table.clone(),
        message,
        advice: "give the field a new name".to_string(),
    };
    let mut fields: Vec<FieldRef> = stored.fields().iter().cloned().collect();
    for field in wanted.fields() {
        match stored.field_with_name(field.name()) {
            Ok(old) if old.data_type() == field.data_type() => {}
            Ok(old) => {
                return Err(incompatible(format!(
                    "column {} is {} in the table and {} is wanted",
                    field.name(),
                    old.data_type(),
                    field.data_type()
                )));
            }
            Err(_) => {
                let lower = field.name().to_lowercase();
                if let Some(old) = stored.fields().iter().find(|old| old.name().to_lowercase() == lower) {
                    return Err(incompatible(format!(
                        "columns {} and {} differ by case only",
                        old.name(),
                        field.name()
                    )));
                }
                if !field.is_nullable() {
                    return Err(incompatible(format!(
                        "the new column {} may not be null in rows that exist",
                        field.name()
                    )));
                }
                fields.push(field.clone());
            }
        }
    }
    Ok((fields.len() > stored.fields().len()).then(|| Arc::new(Schema::new(fields))))
}

/// The metadata of a new table.
pub(crate) fn created(lake: &crate::lake::Lake, table: &TableName, spec: &TableSpec) -> Result<TableMeta> {
    let schema = canonical(table, &spec.schema)?;
    check_partitions(table, &schema, &spec.partition_by)?;
    let id = uuid::Uuid::new_v4().to_string();
    let mut properties = spec.properties.clone();
    properties.extend(spec.fingerprint.clone().map(|fingerprint| (FINGERPRINT.to_string(), fingerprint)));
    if spec.change_data {
        properties.insert("delta.enableChangeDataFeed".to_string(), "true".to_string());
    }
    let protocol = (1, if spec.change_data { 4 } else { 2 });
    let meta = TableMeta::new(table.clone(), id, schema, spec.partition_by.clone(), protocol);
    let (description, comments) = (spec.description.clone(), comments(&spec.schema));
    Ok(TableMeta { properties, description, comments, created_ms: Some(lake.now_ms()), ..meta })
}

/// The metadata after a change. Only a rebuild, which removes all live files, may do more than add nullable columns.
pub(crate) fn changed(meta: &TableMeta, change: &MetadataChange, rebuild: bool) -> Result<TableMeta> {
    let table = &meta.table;
    let (mut schema, mut comments_now) = (meta.schema.clone(), meta.comments.clone());
    if let Some(wanted) = &change.schema {
        comments_now.extend(comments(wanted));
        let wanted = canonical(table, wanted)?;
        schema = match rebuild {
            true => wanted,
            false => grown(table, &schema, &wanted)?.unwrap_or(schema),
        };
    }
    let partitions = change.partition_by.as_ref().unwrap_or(&meta.partition_columns);
    check_partitions(table, &schema, partitions)?;
    if !rebuild && *partitions != meta.partition_columns {
        return Err(other_partitions(table, &meta.partition_columns, partitions));
    }
    let mut next = TableMeta::new(table.clone(), meta.id.clone(), schema, partitions.clone(), meta.protocol);
    next.properties = meta.properties.clone();
    next.properties.extend(change.properties.clone());
    next.properties.extend(change.fingerprint.clone().map(|fingerprint| (FINGERPRINT.to_string(), fingerprint)));
    if next.change_data() {
        next.protocol.1 = next.protocol.1.max(4);
    }
    next.description = change.description.clone().or_else(|| meta.description.clone());
    comments_now.retain(|column, _| next.schema.field_with_name(column).is_ok());
    next.comments = comments_now;
    next.created_ms = meta.created_ms;
    Ok(next)
}

/// What an existing table needs to serve a spec too; `None` when nothing.
///
/// # Errors
/// [`StoreError::Incompatible`] when it cannot without a rebuild.
pub(crate) fn growth(meta: &TableMeta, spec: &TableSpec) -> Result<Option<MetadataChange>> {
    let wanted = canonical(&meta.table, &spec.schema)?;
    if spec.partition_by != meta.partition_columns {
        return Err(other_partitions(&meta.table, &meta.partition_columns, &spec.partition_by));
    }
    let is_grown = grown(&meta.table, &meta.schema, &wanted)?.is_some();
    let is_documented = comments(&spec.schema).iter().all(|(column, text)| meta.comments.get(column) == Some(text));
    let schema = (is_grown || !is_documented).then(|| Arc::clone(&spec.schema));
    let mut properties: BTreeMap<String, String> = spec
        .properties
        .iter()
        .filter(|(k, v)| meta.properties.get(*k) != Some(v))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    if spec.change_data && !meta.change_data() {
        properties.insert("delta.enableChangeDataFeed".to_string(), "true".to_string());
    }
    let description = spec.description.clone().filter(|text| meta.description.as_ref() != Some(text));
    let nothing = schema.is_none() && properties.is_empty() && description.is_none();
    let change = MetadataChange { schema, properties, description, ..MetadataChange::default() };
    Ok((!nothing).then_some(change))
}

fn other_partitions(table: &TableName, stored: &[String], wanted: &[String]) -> StoreError {
    StoreError::Incompatible {
        table: table.clone(),
        message: format!("it is partitioned by {stored:?} and {wanted:?} is wanted"),
        advice: "rebuild the table (smelt refine --full-refresh)".to_string(),
    }
}

fn check_partitions(table: &TableName, schema: &Schema, partitions: &[String]) -> Result<()> {
    for name in partitions {
        let bad = |message: &str| StoreError::BadColumn {
            table: table.clone(),
            column: name.clone(),
            message: message.to_string(),
        };
        let field =
            schema.field_with_name(name).map_err(|_| bad("the table is partitioned by it and does not have it"))?;
        let kind = field.data_type();
        let fits = matches!(kind, DataType::Utf8 | DataType::Date32 | DataType::Boolean) || kind.is_signed_integer();
        if !fits {
            return Err(bad("tables are partitioned by strings, dates, booleans and integers"));
        }
    }
    if partitions.len() == schema.fields().len() {
        let (table, column) = (table.clone(), "*".to_string());
        return Err(StoreError::BadColumn {
            table,
            column,
            message: "a table has columns besides its partitions".to_string(),
        });
    }
    Ok(())
}
