//! A project: all contracts, models and queries, by name.

use std::collections::BTreeMap;

use crate::name::is_identifier;
use crate::text::{contract::contract, model, query::query};
use crate::{Contract, Layer, Location, Model, NamedQuery, SchemaError, TableName};

/// A file of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// The path as errors show it, relative to the project folder, with `/`: `models/bronze/pos_sales.toml`.
    pub path: String,
    /// Its content.
    pub text: String,
}

/// A parsed and checked project.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Project {
    /// Contracts by stream.
    pub contracts: BTreeMap<String, Contract>,
    /// Models by table.
    pub models: BTreeMap<TableName, Model>,
    /// Queries by name.
    pub queries: BTreeMap<String, NamedQuery>,
}

impl Project {
    /// Parses and checks a project. A later file of the same path overrides an earlier one: the built-in project comes
    /// first, the user's after it. Files of other names are refused, so that none is ignored in silence.
    ///
    /// What needs SQL (which tables a model reads, which columns it has) is checked where it is planned.
    ///
    /// # Errors
    /// The first thing that is wrong, with file and line, in the order of the paths.
    pub fn parse(files: impl IntoIterator<Item = SourceFile>) -> Result<Project, SchemaError> {
        let files: BTreeMap<String, SourceFile> = files.into_iter().map(|f| (f.path.clone(), f)).collect();
        let mut project = Project::default();
        let mut folders: BTreeMap<TableName, Folder<'_>> = BTreeMap::new();
        for file in files.values() {
            match place(&file.path)? {
                Place::Contract(name) => {
                    project.contracts.insert(name.to_owned(), contract(name, &file.path, &file.text)?);
                }
                Place::Query(name) => {
                    project.queries.insert(name.to_owned(), query(name, file)?);
                }
                Place::Model(name) => project.add(model::single(name, file)?)?,
                Place::Table(name) => folders.entry(name).or_default().table = Some(file),
                Place::Feed(name, feed) => folders.entry(name).or_default().feeds.push((feed.to_owned(), file)),
            }
        }
        for (name, folder) in folders {
            project.add(folder.parse(name)?)?;
        }
        project.check_sets()?;
        Ok(project)
    }

    /// The landing sets: the contracts of each set's members, in the order of their names.
    pub fn sets(&self) -> BTreeMap<&str, Vec<&Contract>> {
        let mut sets: BTreeMap<&str, Vec<&Contract>> = BTreeMap::new();
        for contract in self.contracts.values() {
            if let Some(set) = contract.set() {
                sets.entry(set).or_default().push(contract);
            }
        }
        sets
    }

    /// A set shares its namespace with the streams, and no two members claim the same files.
    fn check_sets(&self) -> Result<(), SchemaError> {
        for members in self.sets().values() {
            for (place, member) in members.iter().enumerate() {
                let Some((files, set)) = member.files.as_ref().and_then(|f| Some((f, f.set.as_ref()?))) else {
                    continue;
                };
                let duplicate = |what: String, other: &Contract| SchemaError::Duplicate {
                    at: set.at.clone(),
                    what,
                    other: other.path.clone(),
                };
                if let Some(stream) = self.contracts.get(&set.name) {
                    return Err(duplicate(format!("`{}`, a stream and so no name of a set,", set.name), stream));
                }
                let claims = |other: &&&Contract| {
                    other.files.as_ref().is_some_and(|f| f.path == files.path && f.date == files.date)
                };
                if let Some(other) = members[..place].iter().find(claims) {
                    let pattern = files.date.as_deref().unwrap_or_default();
                    return Err(duplicate(format!("`{pattern}` in {} of the set {}", files.path, set.name), other));
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, model: Model) -> Result<(), SchemaError> {
        if let Some(other) = self.models.get(&model.name) {
            return Err(SchemaError::Duplicate {
                at: Location { path: model.path, line: 1 },
                what: model.name.to_string(),
                other: other.path.clone(),
            });
        }
        self.models.insert(model.name.clone(), model);
        Ok(())
    }
}

/// The files of a model with several feeds.
#[derive(Default)]
struct Folder<'a> {
    table: Option<&'a SourceFile>,
    feeds: Vec<(String, &'a SourceFile)>,
}

impl Folder<'_> {
    fn parse(self, name: TableName) -> Result<Model, SchemaError> {
        let folder = format!("models/{}/{}", name.layer, name.name);
        match (self.table, self.feeds.first()) {
            (Some(file), Some(_)) => model::folder(name, file, &self.feeds),
            (Some(file), None) => Err(SchemaError::Path {
                path: file.path.clone(),
                expected: format!("at least one feed beside it, {folder}/<stream>.sql"),
            }),
            (None, feed) => Err(SchemaError::Path {
                path: feed.map_or(folder.clone(), |(_, file)| file.path.clone()),
                expected: format!("{folder}/table.toml beside it"),
            }),
        }
    }
}

/// What a file is, by its path.
enum Place<'a> {
    Contract(&'a str),
    Model(TableName),
    Table(TableName),
    Feed(TableName, &'a str),
    Query(&'a str),
}

const PLACES: &str = "models/bronze/<stream>.toml, models/silver/<table>.sql, models/gold/<table>.sql, \
                      models/<layer>/<table>/table.toml, models/<layer>/<table>/<feed>.sql or queries/<name>.sql";

fn place(path: &str) -> Result<Place<'_>, SchemaError> {
    let wrong = |expected: &str| SchemaError::Path { path: path.to_owned(), expected: expected.to_owned() };
    let named = |name| match is_identifier(name) {
        true => Ok(name),
        false => Err(wrong("a name of lower-case letters, digits and `_`, starting with a letter")),
    };
    let layer = |layer: &str| match layer {
        "silver" => Some(Layer::Silver),
        "gold" => Some(Layer::Gold),
        _ => None,
    };
    let parts: Vec<&str> = path.split('/').collect();
    let (stem, extension) = path.rsplit('/').next().and_then(|f| f.rsplit_once('.')).unwrap_or((path, ""));
    match (parts.as_slice(), extension) {
        (["models", "bronze", _], "toml") => Ok(Place::Contract(named(stem)?)),
        (["queries", _], "sql") => Ok(Place::Query(named(stem)?)),
        (["models", l, _], "sql") => {
            let layer = layer(l).ok_or_else(|| wrong(PLACES))?;
            Ok(Place::Model(TableName::new(layer, named(stem)?)))
        }
        (["models", l, table, file], _) if *file == "table.toml" || extension == "sql" => {
            let table = TableName::new(layer(l).ok_or_else(|| wrong(PLACES))?, named(table)?);
            if *file == "table.toml" { Ok(Place::Table(table)) } else { Ok(Place::Feed(table, named(stem)?)) }
        }
        _ => Err(wrong(PLACES)),
    }
}
