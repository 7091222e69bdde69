//! The text formats: strict TOML tables with places in files, and SQL files with a TOML header.

pub(crate) mod check;
pub(crate) mod contract;
pub(crate) mod field;
pub(crate) mod header;
pub(crate) mod kafka;
pub(crate) mod model;
pub(crate) mod query;
pub(crate) mod table;
