//! Models: SQL with a TOML header, one table each (`models/silver`, `models/gold`).

use crate::{Check, FieldType, Gate, Publication, Severity, TableName};

/// A table of Silver or Gold: how it is kept, and the SELECTs that feed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// The table: its layer is the folder, its name the file's name (or the folder's, of a model with several feeds).
    pub name: TableName,
    /// The file with the header, relative to the project folder.
    pub path: String,
    /// What one row is.
    pub description: String,
    /// The unique key of the rows; may be finer than a feed's entity. Empty only for [`Kept::Append`] and
    /// [`Kept::View`].
    pub grain: Vec<String>,
    /// How the table is kept up to date.
    pub kept: Kept,
    /// Partition columns, outermost first.
    pub partition_by: Vec<String>,
    /// Documentation of columns; need not name all.
    pub columns: Vec<ColumnDoc>,
    /// Checks on the staged rows, run before they are published: one that fails holds the table back.
    pub checks: Vec<Check>,
    /// Checks of the same kind that only warn.
    pub warnings: Vec<Check>,
    /// How the table is published as files, if it is.
    pub publication: Option<Publication>,
    /// At least one. A single-file model has one feed, named like the model.
    pub feeds: Vec<Feed>,
}

impl Model {
    /// The documentation of a column, if it has any.
    pub fn column(&self, name: &str) -> Option<&ColumnDoc> {
        self.columns.iter().find(|c| c.name == name)
    }

    /// All checks with what a failure means, those that hold the table back first.
    pub fn all_checks(&self) -> impl Iterator<Item = (Severity, &Check)> {
        let fail = self.checks.iter().map(|check| (Severity::Fail, check));
        fail.chain(self.warnings.iter().map(|check| (Severity::Warn, check)))
    }
}

/// What a table's rows are a function of, and so what a refresh must look at (ENGINE.md 14).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// Each new upstream row gives its rows once.
    Append,
    /// The latest version of each entity wins.
    Latest,
    /// The rows of one value of the scope columns depend only on upstream rows of that value.
    Scoped {
        /// The scope columns; at least one.
        scope: Vec<String>,
    },
    /// Recomputed as a whole.
    Full,
    /// Not stored.
    View,
}

/// Documentation of a model's column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnDoc {
    /// The column.
    pub name: String,
    /// The type, if the model promises one.
    pub kind: Option<FieldType>,
    /// The unit of the value.
    pub unit: Option<String>,
    /// What it means.
    pub description: Option<String>,
}

impl ColumnDoc {
    /// The column's comment: what it means, and its unit in brackets.
    pub fn comment(&self) -> Option<String> {
        crate::field::comment(self.description.as_deref(), self.unit.as_deref())
    }
}

/// One SELECT that feeds a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feed {
    /// The file's name without `.sql`.
    pub name: String,
    /// The file, for error messages.
    pub path: String,
    /// What the feed brings; of a single-file model its description.
    pub description: String,
    /// The statement, without the header.
    pub sql: String,
    /// The 1-based line of the file on which `sql` starts.
    pub sql_first_line: usize,
    /// Columns that name what is replaced as a whole; only with [`Kept::Latest`], where it is not empty.
    pub entity: Vec<String>,
    /// The column that orders versions of an entity, before `_lineage`.
    pub version: Option<String>,
    /// What holds the feed back; only with [`Kept::Latest`].
    pub gate: Option<Gate>,
}
