//! A lake as DuckDB reads it: for each table the data files that its log names, and the views of the project.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use datafusion::arrow::datatypes::DataType;
use schema::{Kept, Layer, Project, SourceFile};
use serde::Serialize;
use store::{Lake, Snapshot};

/// What `peers/lake_duckdb.py` reads.
#[derive(Debug, Serialize)]
struct Described {
    tables: Vec<Stored>,
    views: Vec<View>,
}

/// A table, or a part of one.
#[derive(Debug, Serialize)]
struct Stored {
    name: String,
    files: Vec<PathBuf>,
    /// SQL types of the partition columns, which are in the files' paths.
    partitions: BTreeMap<String, &'static str>,
    columns: &'static str,
    #[serde(rename = "where")]
    filter: &'static str,
}

#[derive(Debug, Serialize)]
struct View {
    name: String,
    sql: String,
}

/// The project of this repository.
///
/// # Errors
/// When a file cannot be read or parsed.
pub fn project(workspace: &Path) -> Result<Project> {
    let mut files = Vec::new();
    for folder in ["models", "queries"] {
        collect(workspace, &workspace.join(folder), &mut files)?;
    }
    Ok(Project::parse(files)?)
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<SourceFile>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(root, &path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "sql" || extension == "toml") {
            let relative = path.strip_prefix(root)?.to_string_lossy().into_owned();
            files.push(SourceFile { path: relative, text: fs::read_to_string(&path)? });
        }
    }
    Ok(())
}

/// Writes the description of `lake` as it stands to `to`.
///
/// # Errors
/// When a table cannot be opened.
pub async fn describe(lake: &Lake, project: &Project, to: &Path) -> Result<()> {
    let root = lake.local_path().context("the lake is not on local disk")?;
    let mut tables = Vec::new();
    for name in lake.tables().await? {
        let Some(table) = lake.open_table(&name).await? else { continue };
        let snapshot = table.snapshot();
        if snapshot.file_count() == 0 {
            continue;
        }
        let stored = |schema: &str, columns, filter| stored(&root, &snapshot, schema, columns, filter);
        match name.layer {
            Layer::Bronze => {
                tables.push(stored("bronze", "*", "_status = 'stored'"));
                // None of them was mended here.
                tables.push(stored("quarantine", "*, false as _mended", "_status = 'quarantined'"));
            }
            Layer::Silver => tables.push(stored("silver", "*", "")),
            Layer::Gold => tables.push(stored("gold", "*", "")),
            Layer::System => {}
        }
    }
    let mut views = Vec::new();
    for (name, model) in project.models.iter().filter(|(_, model)| matches!(model.kept, Kept::View)) {
        let sql = model.feeds.first().map(|feed| feed.sql.clone()).unwrap_or_default();
        views.push(View { name: name.to_string(), sql });
    }
    fs::write(to, serde_json::to_vec(&Described { tables, views })?)?;
    Ok(())
}

fn stored(root: &Path, snapshot: &Snapshot, schema: &str, columns: &'static str, filter: &'static str) -> Stored {
    let table = snapshot.table();
    let folder = root.join(table.layer.to_string()).join(&table.name);
    let kind = |column: &String| match snapshot.schema().field_with_name(column).map(|field| field.data_type().clone())
    {
        Ok(DataType::Date32) => "DATE",
        Ok(DataType::Int32) => "INTEGER",
        Ok(DataType::Int64) => "BIGINT",
        _ => "VARCHAR",
    };
    Stored {
        name: format!("{schema}.{}", table.name),
        files: snapshot.files().map(|file| folder.join(file.path.as_ref())).collect(),
        partitions: snapshot.partition_columns().iter().map(|column| (column.clone(), kind(column))).collect(),
        columns,
        filter,
    }
}
