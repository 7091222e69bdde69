//! What there is to ask: tables and columns with their types, units and meaning.

use std::collections::BTreeMap;

use datafusion::logical_expr::TableType;
use schema::{Contract, Kept, Model, TableName};

use crate::catalog::Area;
use crate::resolver::Resolver;
use crate::{LakeSession, SessionError};

/// A table of a session, as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct TableEntry {
    /// `bronze`, `quarantine`, `silver`, `gold` or `quality`.
    pub schema: String,
    /// The name within the schema.
    pub name: String,
    /// How it is kept: `stream`, `append`, `latest`, `scoped`, `full`, `view`, or `unknown` for a table of the release
    /// that the project no longer has.
    pub kind: String,
    /// What one row is.
    pub description: String,
}

/// A table with its columns.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct TableDescription {
    /// The table.
    pub table: TableEntry,
    /// Columns that name a row; empty where nothing does.
    pub grain: Vec<String>,
    /// The version that the session reads; `None` for views, streams (read at their head) and tables never loaded.
    pub version: Option<i64>,
    /// The columns, in order.
    pub columns: Vec<ColumnDescription>,
}

/// A column with its documentation.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ColumnDescription {
    /// The name.
    pub name: String,
    /// The SQL type.
    pub kind: String,
    /// The unit of its values (`pieces`, `currency`).
    pub unit: Option<String>,
    /// What it means.
    pub description: Option<String>,
}

impl LakeSession {
    /// All tables, by schema and name. Opens none.
    pub fn tables(&self) -> Vec<TableEntry> {
        let resolver = self.resolver();
        let areas = Area::ALL.into_iter();
        areas.flat_map(|area| resolver.names(area).into_iter().map(move |name| self.entry(area, name))).collect()
    }

    /// One table with its columns: `schema.name`, or a name in `gold`.
    ///
    /// # Errors
    /// [`SessionError::UnknownTable`], and what opening it can raise.
    pub async fn describe(&self, table: &str) -> Result<TableDescription, SessionError> {
        let unknown = || self.unknown_table(table);
        let (area, name) = table.split_once('.').unwrap_or(("gold", table));
        let area = Area::ALL.into_iter().find(|known| known.schema() == area).ok_or_else(unknown)?;
        let opened = Resolver::table(self.resolver(), area, name, &[]).await?.ok_or_else(unknown)?;
        let docs = self.column_docs(area, name);
        let schema = opened.schema();
        let columns = schema.fields().iter().map(|field| {
            let (unit, description) = docs.get(field.name()).cloned().unwrap_or_default();
            let comment = field.metadata().get("comment").cloned();
            ColumnDescription {
                name: field.name().clone(),
                kind: sql_type(field.data_type()),
                unit,
                description: description.or(comment),
            }
        });
        let full_name = TableName::new(area.layer(), name);
        let released = self.resolver().release().and_then(|release| release.tables.get(&full_name));
        Ok(TableDescription {
            table: self.entry(area, name.to_owned()),
            grain: self.model(area, name).map(|model| model.grain.clone()).unwrap_or_default(),
            version: released.filter(|_| opened.table_type() == TableType::Base).copied(),
            columns: columns.collect(),
        })
    }

    /// The error for a table that is not there, with what may have been meant.
    pub(crate) fn unknown_table(&self, name: &str) -> SessionError {
        let known = self.tables().into_iter().map(|table| format!("{}.{}", table.schema, table.name));
        let bare = name.rsplit('.').next().unwrap_or(name);
        let mut suggestions = nearest(name, known.clone());
        // `sales_lines` alone is looked for in gold; it may be in another schema.
        let same: Vec<String> = known.filter(|known| known.rsplit('.').next() == Some(bare)).collect();
        if !same.is_empty() {
            suggestions = same;
        }
        SessionError::UnknownTable { name: name.to_owned(), suggestions }
    }

    fn entry(&self, area: Area, name: String) -> TableEntry {
        if area == Area::Quality {
            let known = crate::quality::TABLES.iter().find(|(known, _)| *known == name);
            let description = known.map_or_else(String::new, |(_, description)| (*description).to_owned());
            return TableEntry { schema: area.schema().to_owned(), name, kind: "view".to_owned(), description };
        }
        let (kind, description) = match (self.contract(area, &name), self.model(area, &name)) {
            (Some(contract), _) if area == Area::Quarantine => {
                ("stream", format!("Bad records of {}: {}", contract.name, contract.description))
            }
            (Some(contract), _) => ("stream", contract.description.clone()),
            (None, Some(model)) => (kept_name(&model.kept), model.description.clone()),
            (None, None) => ("unknown", String::new()),
        };
        TableEntry { schema: area.schema().to_owned(), name, kind: kind.to_owned(), description }
    }

    fn contract(&self, area: Area, name: &str) -> Option<&Contract> {
        let bronze = matches!(area, Area::Bronze | Area::Quarantine);
        bronze.then(|| self.factory().project().contracts.get(name)).flatten()
    }

    fn model(&self, area: Area, name: &str) -> Option<&Model> {
        self.factory().project().models.get(&TableName::new(area.layer(), name))
    }

    /// Unit and description by column, from the contract or the model.
    fn column_docs(&self, area: Area, name: &str) -> BTreeMap<String, (Option<String>, Option<String>)> {
        let fields = self.contract(area, name).into_iter().flat_map(|contract| &contract.fields);
        let columns = self.model(area, name).into_iter().flat_map(|model| &model.columns);
        fields
            .map(|field| (field.name.clone(), (field.unit.clone(), field.description.clone())))
            .chain(columns.map(|column| (column.name.clone(), (column.unit.clone(), column.description.clone()))))
            .collect()
    }
}

fn kept_name(kept: &Kept) -> &'static str {
    match kept {
        Kept::Append => "append",
        Kept::Latest => "latest",
        Kept::Scoped { .. } => "scoped",
        Kept::Full => "full",
        Kept::View => "view",
    }
}

/// A type in SQL's words where it has one, as contracts spell it.
fn sql_type(kind: &arrow::datatypes::DataType) -> String {
    use arrow::datatypes::DataType;
    match kind {
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => "string".to_owned(),
        DataType::Binary | DataType::BinaryView | DataType::LargeBinary => "binary".to_owned(),
        DataType::Int32 => "int".to_owned(),
        DataType::Int64 => "bigint".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Boolean => "bool".to_owned(),
        DataType::Date32 => "date".to_owned(),
        DataType::Timestamp(..) => "timestamp".to_owned(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision},{scale})"),
        DataType::List(item) => format!("list<{}>", sql_type(item.data_type())),
        DataType::Struct(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|field| format!("{} {}", field.name(), sql_type(field.data_type()))).collect();
            format!("struct<{}>", fields.join(", "))
        }
        DataType::Dictionary(_, values) => sql_type(values),
        other => other.to_string(),
    }
}

/// Up to three of the known names that look most like `name`, best first.
pub(crate) fn nearest(name: &str, known: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut scored: Vec<(f64, String)> = known
        .into_iter()
        .map(|known| (strsim::jaro_winkler(&name.to_lowercase(), &known.to_lowercase()), known))
        .filter(|(score, _)| *score > 0.8)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    scored.dedup_by(|a, b| a.1 == b.1);
    scored.into_iter().take(3).map(|(_, known)| known).collect()
}
