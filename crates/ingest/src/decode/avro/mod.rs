//! Avro records as JSON text, which the JSON decoder then takes: one decoder says what fits a contract.
//!
//! A record is read by the schema that it was written by (Avro 1.12, binary encoding) and written as the JSON object that
//! a producer of JSON would send: numbers by their digits, `decimal` with its point, a union by the value that it holds,
//! an `enum` as its symbol, instants as RFC 3339 (`timestamp-*` in UTC, `local-timestamp-*` without a zone), `date` and
//! `time-*` as ISO 8601, `uuid` as text. Nothing is rounded: a decimal never is a float. Two kinds of values have no such
//! form. Bytes without a meaning become `{"bytes": "…"}`, a character a byte, as Avro's own JSON has them in a union, so
//! that they fit no field and are rescued whole; a float that is no number becomes its name as text.

mod read;
mod schema;
mod values;

pub(crate) use read::Wrong;
pub use schema::{AvroSchema, AvroSchemaError};
