//! The shipped queries and the formats, over an empty lake and over answers made in SQL.

mod empty_project;
mod formats;
mod shared;
