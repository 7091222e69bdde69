//! The order of models, from which tables their SQL reads.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::common::TableReference;
use datafusion::execution::context::SessionState;
use datafusion::sql::parser::Statement;
use schema::{Feed, Layer, Project, TableName};

use super::feed_error;
use crate::{RefineError, Result};

/// What the SQL of a feed reads, and its text without comments and chance of layout.
pub(super) struct Parsed {
    pub(super) reads: BTreeSet<TableName>,
    pub(super) canonical: String,
}

/// Parses a feed and finds the tables that it names.
///
/// # Errors
/// With file and line: SQL that does not parse, more than one statement, tables that nothing declares.
pub(super) fn parse(state: &SessionState, project: &Project, feed: &Feed) -> Result<Parsed> {
    let dialect = state.config_options().sql_parser.dialect;
    let statement =
        state.sql_to_statement(&feed.sql, &dialect).map_err(|error| syntax(feed, &error.strip_backtrace()))?;
    let canonical = match &statement {
        Statement::Statement(inner) => inner.to_string(),
        other => return Err(feed_error(feed, None, format!("a model is one SELECT, not {other}"))),
    };
    let references = state.resolve_table_references(&statement)?;
    let reads = references.iter().map(|reference| name_of(project, feed, reference)).collect::<Result<_>>()?;
    Ok(Parsed { reads, canonical })
}

/// Puts the models in an order in which each comes after all that it reads.
///
/// # Errors
/// With file: models that read each other in a circle.
pub(super) fn order(project: &Project, reads: &BTreeMap<TableName, BTreeSet<TableName>>) -> Result<Vec<TableName>> {
    let mut walk = Walk { project, reads, path: Vec::new(), done: BTreeSet::new(), order: Vec::new() };
    for name in reads.keys() {
        walk.visit(name)?;
    }
    Ok(walk.order)
}

/// What models read, with what only their checks read, as far as that closes no circle: so a check sees its other tables
/// as this cycle leaves them.
pub(super) fn with_checks(
    reads: &BTreeMap<TableName, BTreeSet<TableName>>,
    checked: &BTreeMap<TableName, BTreeSet<TableName>>,
) -> BTreeMap<TableName, BTreeSet<TableName>> {
    let mut all = reads.clone();
    for (model, others) in checked {
        for other in others.iter().filter(|other| *other != model) {
            if !reaches(&all, other, model) {
                all.entry(model.clone()).or_default().insert(other.clone());
            }
        }
    }
    all
}

/// These models and all that they read, directly or through others.
pub(super) fn needed(
    reads: &BTreeMap<TableName, BTreeSet<TableName>>,
    wanted: &BTreeSet<TableName>,
) -> BTreeSet<TableName> {
    let mut seen = wanted.clone();
    let mut open: Vec<TableName> = wanted.iter().cloned().collect();
    while let Some(name) = open.pop() {
        let next = reads.get(&name).into_iter().flatten();
        open.extend(next.filter(|next| seen.insert((*next).clone())).cloned());
    }
    seen
}

/// Whether a model reads another one, directly or through others.
fn reaches(reads: &BTreeMap<TableName, BTreeSet<TableName>>, from: &TableName, to: &TableName) -> bool {
    needed(reads, &BTreeSet::from([from.clone()])).contains(to)
}

struct Walk<'a> {
    project: &'a Project,
    reads: &'a BTreeMap<TableName, BTreeSet<TableName>>,
    path: Vec<TableName>,
    done: BTreeSet<TableName>,
    order: Vec<TableName>,
}

impl Walk<'_> {
    fn visit(&mut self, name: &TableName) -> Result<()> {
        let Some(reads) = self.reads.get(name) else { return Ok(()) };
        if self.done.contains(name) {
            return Ok(());
        }
        if let Some(start) = self.path.iter().position(|visited| visited == name) {
            let circle: Vec<String> = self.path[start..].iter().chain([name]).map(ToString::to_string).collect();
            let model = &self.project.models[name];
            let message = format!("models read each other in a circle: {}", circle.join(" reads "));
            return Err(match model.feeds.first() {
                Some(feed) => feed_error(feed, None, message),
                None => RefineError::Model { path: model.path.clone(), line: 1, message },
            });
        }
        self.path.push(name.clone());
        for read in reads {
            self.visit(read)?;
        }
        self.path.pop();
        self.done.insert(name.clone());
        self.order.push(name.clone());
        Ok(())
    }
}

fn name_of(project: &Project, feed: &Feed, reference: &TableReference) -> Result<TableName> {
    let layer = reference.schema().unwrap_or("gold");
    let parsed = layer.parse::<Layer>().ok().filter(|layer| *layer != Layer::System);
    let name = parsed.map(|layer| TableName::new(layer, reference.table()));
    let known = name.filter(|name| match name.layer {
        Layer::Bronze => project.contracts.contains_key(&name.name),
        _ => project.models.contains_key(name),
    });
    known.ok_or_else(|| {
        let written = format!("{layer}.{}", reference.table());
        let all = project.contracts.values().map(schema::Contract::table).chain(project.models.keys().cloned());
        let nearest = all
            .map(|name| (strsim::damerau_levenshtein(&name.to_string(), &written), name))
            .filter(|(distance, _)| *distance <= 3)
            .min();
        let hint = nearest.map(|(_, name)| format!("; did you mean {name}?")).unwrap_or_default();
        feed_error(feed, Some(reference.table()), format!("unknown table {written}{hint}"))
    })
}

/// A syntax error, moved from the line of the statement to that of the file.
fn syntax(feed: &Feed, message: &str) -> RefineError {
    let line = message.split("Line: ").nth(1).and_then(|rest| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<usize>().ok()
    });
    RefineError::Model {
        path: feed.path.clone(),
        line: feed.sql_first_line + line.unwrap_or(1).saturating_sub(1),
        message: message.to_owned(),
    }
}
