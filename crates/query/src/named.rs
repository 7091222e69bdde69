//! Named queries: what there is to ask, and asking it.

use std::collections::BTreeMap;

use datafusion::execution::SendableRecordBatchStream;
use schema::{NamedQuery, Project};
use session::LakeSession;

use crate::QueryError;
use crate::params::{bind, nearest};

/// A query as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct QueryEntry {
    /// The name to ask by.
    pub name: String,
    /// The question that it answers.
    pub question: String,
    /// Its parameters, as `name type = default`.
    pub parameters: Vec<String>,
}

/// All queries of a project, by name.
pub fn list(project: &Project) -> Vec<QueryEntry> {
    let entry = |query: &NamedQuery| QueryEntry {
        name: query.name.clone(),
        question: query.question.clone(),
        parameters: query.params.iter().map(describe).collect(),
    };
    project.queries.values().map(entry).collect()
}

fn describe(param: &schema::Param) -> String {
    match &param.default {
        None => format!("{} {}", param.name, param.kind),
        Some(default) if default.is_empty() => format!("{} {}, optional", param.name, param.kind),
        Some(default) => format!("{} {} = {default}", param.name, param.kind),
    }
}

/// The query of that name.
///
/// # Errors
/// [`QueryError::UnknownQuery`], with the known name that looks most like it.
pub fn named<'a>(project: &'a Project, name: &str) -> Result<&'a NamedQuery, QueryError> {
    project.queries.get(name).ok_or_else(|| QueryError::UnknownQuery {
        name: name.to_owned(),
        suggestion: nearest(name, project.queries.keys().map(String::as_str)),
    })
}

/// Runs a named query: its rows as they come, under the session's limits.
///
/// `given` are the values of its parameters, as text, by name; those not given have their defaults.
///
/// # Errors
/// [`QueryError::UnknownParameter`], [`QueryError::MissingParameter`] and [`QueryError::WrongValue`] before anything is
/// read; [`QueryError::Named`] when the query does not plan or start.
pub async fn run_named(
    session: &LakeSession,
    query: &NamedQuery,
    given: &BTreeMap<String, String>,
) -> Result<SendableRecordBatchStream, QueryError> {
    let parameters = bind(query, given)?;
    let failed = |source| QueryError::Named { path: query.path.clone(), source: Box::new(source) };
    session.query(&query.sql, &parameters).await.map_err(failed)
}
