//! Schemas as their JSON says them, with all names resolved.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::decode::json::push_text;

/// A place in [`AvroSchema::nodes`].
pub(super) type NodeId = usize;

/// Digits of a `decimal` that are believed: far more than any column holds, and few enough to write out.
const MOST_DIGITS: u64 = 1000;

/// The schema of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AvroSchema {
    pub(super) nodes: Vec<Node>,
    pub(super) root: NodeId,
}

/// Why a text is no schema of a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AvroSchemaError(String);

/// A type. Named ones stand once, so that a record may hold itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    String,
    /// Bytes; `fixed`: always so many.
    Bytes {
        fixed: Option<usize>,
    },
    /// Symbols, as JSON texts.
    Enum(Vec<Box<[u8]>>),
    /// Fields: `"name":` and their types.
    Record(Vec<(Box<[u8]>, NodeId)>),
    Array(NodeId),
    Map(NodeId),
    Union(Vec<NodeId>),
    /// The unscaled number in bytes, or in so many.
    Decimal {
        fixed: Option<usize>,
        scale: usize,
    },
    /// 16 bytes.
    Uuid,
    /// Days since 1970-01-01.
    Date,
    /// A time of day, as an `int` or a `long` of this unit.
    Time(Unit),
    /// An instant, or where `local` a clock time of no zone, since 1970-01-01 00:00.
    Timestamp {
        unit: Unit,
        local: bool,
    },
}

/// What a logical time counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Millis,
    Micros,
    Nanos,
}

impl AvroSchema {
    /// Reads a schema. `references` are the schemas that it names types of, each after those that it refers to itself.
    ///
    /// # Errors
    /// [`AvroSchemaError`]: what is wrong, for people; also where it is the schema of something else than a record.
    pub fn parse(text: &str, references: &[String]) -> Result<Self, AvroSchemaError> {
        let mut parser = Parser::default();
        for reference in references {
            parser.schema(reference)?;
        }
        let root = parser.schema(text)?;
        match parser.nodes.get(root) {
            Some(Node::Record(_)) => Ok(AvroSchema { nodes: parser.nodes, root }),
            _ => Err(wrong("it is the schema of a value, not of a record")),
        }
    }
}

fn wrong(reason: impl Into<String>) -> AvroSchemaError {
    AvroSchemaError(reason.into())
}

#[derive(Default)]
struct Parser {
    nodes: Vec<Node>,
    /// Named types by their full names.
    names: HashMap<String, NodeId>,
}

impl Parser {
    fn schema(&mut self, text: &str) -> Result<NodeId, AvroSchemaError> {
        // A primitive type may stand without its quotes, as some registries give it back.
        let value = serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.trim().to_owned()));
        self.node(&value, "")
    }

    fn add(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// Reads a type within a namespace.
    fn node(&mut self, value: &Value, namespace: &str) -> Result<NodeId, AvroSchemaError> {
        match value {
            Value::String(name) => self.named(name, namespace),
            Value::Array(branches) => {
                let branches = branches.iter().map(|branch| self.node(branch, namespace));
                let branches = branches.collect::<Result<_, _>>()?;
                Ok(self.add(Node::Union(branches)))
            }
            Value::Object(object) => match object.get("type") {
                Some(Value::String(kind)) => self.complex(kind, object, namespace),
                Some(inner) => self.node(inner, namespace),
                None => Err(wrong("a type without \"type\"")),
            },
            other => Err(wrong(format!("{other} is no type"))),
        }
    }

    fn named(&mut self, name: &str, namespace: &str) -> Result<NodeId, AvroSchemaError> {
        if let Some(node) = primitive(name) {
            return Ok(self.add(node));
        }
        let found = self.names.get(&full_name(name, namespace)).or_else(|| self.names.get(name));
        found.copied().ok_or_else(|| wrong(format!("type {name} is not defined before it is used")))
    }

    fn complex(&mut self, kind: &str, object: &Map<String, Value>, namespace: &str) -> Result<NodeId, AvroSchemaError> {
        let part = |key: &str| object.get(key).ok_or_else(|| wrong(format!("{kind} without {key:?}")));
        match kind {
            "array" => {
                let items = self.node(part("items")?, namespace)?;
                Ok(self.add(Node::Array(items)))
            }
            "map" => {
                let values = self.node(part("values")?, namespace)?;
                Ok(self.add(Node::Map(values)))
            }
            "record" | "error" => self.record(kind, object, namespace),
            "enum" => {
                let symbols = part("symbols")?.as_array().ok_or_else(|| wrong("\"symbols\" is no list"))?;
                let symbol = |symbol: &Value| Some(quoted(symbol.as_str()?));
                let symbols = symbols.iter().map(symbol).collect::<Option<_>>();
                let symbols = symbols.ok_or_else(|| wrong("\"symbols\" is no list of texts"))?;
                let id = self.add(Node::Enum(symbols));
                self.define(kind, object, namespace, id)?;
                Ok(id)
            }
            "fixed" => {
                let size = part("size")?.as_u64().and_then(|size| usize::try_from(size).ok());
                let size = size.ok_or_else(|| wrong("\"size\" is no number"))?;
                let id = self.add(logical(Node::Bytes { fixed: Some(size) }, object));
                self.define(kind, object, namespace, id)?;
                Ok(id)
            }
            _ => match primitive(kind) {
                Some(node) => Ok(self.add(logical(node, object))),
                None => self.named(kind, namespace),
            },
        }
    }

    fn record(&mut self, kind: &str, object: &Map<String, Value>, namespace: &str) -> Result<NodeId, AvroSchemaError> {
        // Known before its fields are read, which may speak of it.
        let id = self.add(Node::Record(Vec::new()));
        let namespace = self.define(kind, object, namespace, id)?;
        let fields =
            object.get("fields").and_then(Value::as_array).ok_or_else(|| wrong("record without \"fields\""))?;
        let mut read = Vec::with_capacity(fields.len());
        for field in fields {
            let name = field.get("name").and_then(Value::as_str).ok_or_else(|| wrong("a field without \"name\""))?;
            let kind = field.get("type").ok_or_else(|| wrong(format!("field {name} without \"type\"")))?;
            let mut token = quoted(name).into_vec();
            token.push(b':');
            read.push((token.into(), self.node(kind, &namespace)?));
        }
        self.nodes[id] = Node::Record(read);
        Ok(id)
    }

    /// Notes the name of a type; returns the namespace within it.
    fn define(
        &mut self,
        kind: &str,
        object: &Map<String, Value>,
        namespace: &str,
        id: NodeId,
    ) -> Result<String, AvroSchemaError> {
        let text = |key: &str| object.get(key).and_then(Value::as_str);
        let name = text("name").ok_or_else(|| wrong(format!("{kind} without \"name\"")))?;
        let full = full_name(name, text("namespace").unwrap_or(namespace));
        let namespace = full.rsplit_once('.').map_or("", |(namespace, _)| namespace).to_owned();
        if self.names.insert(full.clone(), id).is_some() {
            return Err(wrong(format!("type {full} is defined twice")));
        }
        Ok(namespace)
    }
}

/// A name with its namespace; one with a dot has its own.
fn full_name(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") }
}

/// A text with its quotes.
fn quoted(text: &str) -> Box<[u8]> {
    let mut out = Vec::with_capacity(text.len() + 2);
    push_text(text.as_bytes(), &mut out);
    out.into()
}

fn primitive(name: &str) -> Option<Node> {
    Some(match name {
        "null" => Node::Null,
        "boolean" => Node::Boolean,
        "int" => Node::Int,
        "long" => Node::Long,
        "float" => Node::Float,
        "double" => Node::Double,
        "bytes" => Node::Bytes { fixed: None },
        "string" => Node::String,
        _ => return None,
    })
}

/// What a type's `logicalType` makes of it. One that is unknown, or does not fit its type, says nothing (Avro 1.12,
/// "Logical Types").
fn logical(node: Node, object: &Map<String, Value>) -> Node {
    let Some(name) = object.get("logicalType").and_then(Value::as_str) else { return node };
    match (name, &node) {
        ("decimal", Node::Bytes { fixed }) => decimal(*fixed, object).unwrap_or(node),
        ("uuid", Node::Bytes { fixed: Some(16) }) => Node::Uuid,
        ("date", Node::Int) => Node::Date,
        ("time-millis", Node::Int) => Node::Time(Unit::Millis),
        ("time-micros", Node::Long) => Node::Time(Unit::Micros),
        ("timestamp-millis", Node::Long) => Node::Timestamp { unit: Unit::Millis, local: false },
        ("timestamp-micros", Node::Long) => Node::Timestamp { unit: Unit::Micros, local: false },
        ("timestamp-nanos", Node::Long) => Node::Timestamp { unit: Unit::Nanos, local: false },
        ("local-timestamp-millis", Node::Long) => Node::Timestamp { unit: Unit::Millis, local: true },
        ("local-timestamp-micros", Node::Long) => Node::Timestamp { unit: Unit::Micros, local: true },
        ("local-timestamp-nanos", Node::Long) => Node::Timestamp { unit: Unit::Nanos, local: true },
        _ => node,
    }
}

fn decimal(fixed: Option<usize>, object: &Map<String, Value>) -> Option<Node> {
    let precision = object.get("precision")?.as_u64()?;
    let scale = object.get("scale").map_or(Some(0), Value::as_u64)?;
    let fits = (1..=MOST_DIGITS).contains(&precision) && scale <= precision;
    fits.then_some(Node::Decimal { fixed, scale: scale as usize })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str, references: &[&str]) -> Result<Vec<(String, Node)>, String> {
        let references: Vec<String> = references.iter().map(|text| (*text).to_owned()).collect();
        let schema = AvroSchema::parse(text, &references).map_err(|error| error.to_string())?;
        let Node::Record(fields) = &schema.nodes[schema.root] else { panic!("a record") };
        let name = |token: &[u8]| String::from_utf8_lossy(token).into_owned();
        Ok(fields.iter().map(|(token, id)| (name(token), schema.nodes[*id].clone())).collect())
    }

    fn one(kind: &str) -> Result<Node, String> {
        let text = format!(r#"{{"type":"record","name":"r","fields":[{{"name":"f","type":{kind}}}]}}"#);
        fields(&text, &[]).map(|mut fields| fields.remove(0).1)
    }

    #[test]
    fn logical_types_say_something_only_where_they_fit() {
        let decimal = |rest: &str| one(&format!(r#"{{"type":"bytes","logicalType":"decimal"{rest}}}"#));
        assert_eq!(decimal(r#","precision":9,"scale":2"#), Ok(Node::Decimal { fixed: None, scale: 2 }));
        assert_eq!(decimal(r#","precision":9"#), Ok(Node::Decimal { fixed: None, scale: 0 }));
        for wrong in [r#","precision":9,"scale":10"#, r#","scale":2"#, r#","precision":9,"scale":-1"#] {
            assert_eq!(decimal(wrong), Ok(Node::Bytes { fixed: None }), "{wrong}");
        }
        let micros = Node::Timestamp { unit: Unit::Micros, local: false };
        assert_eq!(one(r#"{"type":{"type":"long","logicalType":"timestamp-micros"}}"#), Ok(micros));
        assert_eq!(one(r#"{"type":"int","logicalType":"timestamp-micros"}"#), Ok(Node::Int));
        assert_eq!(one(r#"{"type":"string","logicalType":"uuid"}"#), Ok(Node::String));
        assert_eq!(one(r#"{"type":"fixed","name":"u","size":16,"logicalType":"uuid"}"#), Ok(Node::Uuid));
    }

    #[test]
    fn names_are_found_within_their_namespace() {
        let item = r#"{"type":"record","name":"Item","namespace":"shop.parts","fields":[]}"#;
        let order = r#"{"type":"record","name":"Order","namespace":"shop","fields":[
            {"name":"a","type":{"type":"enum","name":"Kind","symbols":["x"]}},{"name":"b","type":"Kind"},
            {"name":"c","type":"shop.parts.Item"},{"name":"d","type":["null","shop.Order"]}]}"#;
        let found = fields(order, &[item]).expect("all names are known");
        assert_eq!(found[0].1, found[1].1);
        assert_eq!((found[2].0.as_str(), &found[2].1), ("\"c\":", &Node::Record(Vec::new())));
        let error = fields(order, &[]).expect_err("nobody defines Item");
        assert_eq!(error, "type shop.parts.Item is not defined before it is used");
    }

    #[test]
    fn what_is_no_schema_of_a_record_says_why() {
        for (text, reason) in [
            ("\"string\"", "it is the schema of a value, not of a record"),
            ("string", "it is the schema of a value, not of a record"),
            ("{", "type { is not defined before it is used"),
            ("{}", "a type without \"type\""),
            (r#"{"type":"record","fields":[]}"#, "record without \"name\""),
            (r#"{"type":"record","name":"r"}"#, "record without \"fields\""),
            (r#"{"type":"record","name":"r","fields":[{"name":"x"}]}"#, "field x without \"type\""),
            (
                r#"{"type":"record","name":"r","fields":[{"name":"x","type":{"type":"array"}}]}"#,
                "array without \"items\"",
            ),
        ] {
            assert_eq!(fields(text, &[]).err().as_deref(), Some(reason), "{text}");
        }
    }
}
