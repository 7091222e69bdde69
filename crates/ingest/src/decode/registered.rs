//! Messages behind the header of Confluent's serializers: a zero byte, the id of a schema (4 bytes, big-endian), then the
//! record.

use std::collections::HashMap;
use std::sync::Arc;

use schema::KafkaFormat;

use super::avro::{AvroSchema, Wrong};
use super::reject::{Fate, Reject};

/// The bytes before the record.
const HEADER: usize = 5;

/// What a registry knows of an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// The Avro schema of a record.
    Avro(Arc<AvroSchema>),
    /// A JSON schema. What it asks for is not looked at: the contract says what a record is.
    Json,
    /// A schema of another type, as the registry names it.
    Other(String),
    /// A schema that cannot be read, and why.
    Unreadable(String),
    /// Nothing: there is no such id.
    Absent,
}

impl Known {
    /// The type as registries name it.
    fn kind(&self) -> &str {
        match self {
            Known::Avro(_) | Known::Unreadable(_) | Known::Absent => "AVRO",
            Known::Json => "JSON",
            Known::Other(kind) => kind,
        }
    }
}

/// How the records of a batch are framed, and what is known of the ids in it.
#[derive(Debug, Clone)]
pub struct Framing {
    /// How the records are written; not [`KafkaFormat::Json`], which has no header.
    pub format: KafkaFormat,
    /// The ids of the batch.
    pub schemas: Arc<HashMap<u32, Known>>,
}

/// The id before a record; `None` where there is no header.
pub(crate) fn schema_id(message: &[u8]) -> Option<u32> {
    let (magic, id) = message.get(..HEADER)?.split_first()?;
    (*magic == 0).then_some(u32::from_be_bytes(id.try_into().ok()?))
}

impl Framing {
    /// The JSON text of a message: of JSON the part behind the header, as it came, of Avro what `out` then holds, at most
    /// `limit` bytes.
    ///
    /// # Errors
    /// Why the message has none; the header's id is named where it has one.
    pub(crate) fn text<'a>(&self, message: &'a [u8], out: &'a mut Vec<u8>, limit: usize) -> Fate<&'a [u8]> {
        if message.is_empty() {
            return Err(Box::new(Reject::Empty));
        }
        let id = schema_id(message).ok_or_else(|| Box::new(Reject::NoSchemaId { length: message.len() }))?;
        let record = &message[HEADER..];
        match (self.format, self.schemas.get(&id).unwrap_or(&Known::Absent)) {
            (_, Known::Absent) => Err(Reject::schema(id, "the registry does not know it")),
            (_, Known::Unreadable(reason)) => Err(Reject::schema(id, &format!("cannot be read: {reason}"))),
            (KafkaFormat::Avro, Known::Avro(schema)) => {
                out.clear();
                schema.write_json(record, out, limit).map_err(|wrong| rejected(wrong, id, limit))?;
                Ok(out.as_slice())
            }
            (KafkaFormat::JsonRegistered, Known::Json) => match simdutf8::basic::from_utf8(record) {
                Ok(_) => Ok(record),
                Err(_) => Err(Box::new(Reject::NotText)),
            },
            (format, known) => {
                let wanted = if format == KafkaFormat::Avro { "AVRO" } else { "JSON" };
                Err(Reject::schema(id, &format!("is of type {}, not {wanted}", known.kind())))
            }
        }
    }
}

fn rejected(wrong: Wrong, id: u32, limit: usize) -> Box<Reject> {
    match wrong {
        Wrong::Bytes { what, at } => Reject::schema(id, &format!("not one record of it: {what} at byte {at}")),
        Wrong::TooDeep => Box::new(Reject::TooDeep),
        Wrong::TooLong => Reject::schema(id, &format!("the record is longer than {limit} bytes as JSON")),
    }
}
