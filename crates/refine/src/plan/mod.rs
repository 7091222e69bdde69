//! The project's models, planned and checked: in which order they are refreshed, what each reads and stores.

mod check;
mod folding;
mod graph;
mod load;
mod slicing;
mod trace;

pub(crate) use folding::{Folding, Measure, MeasureKind};
pub(crate) use load::{LoadedFeed, LoadedModel, Plan, Sources};
pub(crate) use slicing::{Slicing, Source, slicing};

use schema::Feed;

use crate::RefineError;

/// An error in a feed's file, on the line of its SQL that names `word`, else on the first line of the SQL.
pub(crate) fn feed_error(feed: &Feed, word: Option<&str>, message: impl Into<String>) -> RefineError {
    let offset = word.and_then(|word| feed.sql.lines().position(|line| line.contains(word))).unwrap_or(0);
    RefineError::Model { path: feed.path.clone(), line: feed.sql_first_line + offset, message: message.into() }
}
