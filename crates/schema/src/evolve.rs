//! Whether a changed contract still fits the table that was made from it.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, Schema};

use crate::{HEADERS_COLUMN, SchemaError};

/// How a wanted schema differs from the one that a table has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemaChange {
    /// Not at all (documentation aside).
    Same,
    /// By these new columns, all nullable: rows that exist read as null there.
    Add(Vec<FieldRef>),
}

/// Compares the schema that a table has with the one that its contract wants. Comments, nullability and the order of
/// columns do not count, nor do the names that engines give to a list's element. A table that has [`HEADERS_COLUMN`] keeps
/// it when it is no longer asked for.
///
/// # Errors
/// [`SchemaError::Incompatible`] for a column that changed its type or is no longer wanted, with what to do.
pub fn evolve(table: &str, existing: &Schema, wanted: &Schema) -> Result<SchemaChange, SchemaError> {
    let refuse =
        |problem: String, advice: String| Err(SchemaError::Incompatible { table: table.to_owned(), problem, advice });
    let mut added = Vec::new();
    for field in wanted.fields() {
        match existing.field_with_name(field.name()) {
            Err(_) => added.push(Arc::new(field.as_ref().clone().with_nullable(true))),
            Ok(had) if same_type(had.data_type(), field.data_type()) => {}
            Ok(had) => {
                let name = field.name();
                return refuse(
                    format!(
                        "column {name} is {} in the table and {} in the contract",
                        shown(had.data_type()),
                        shown(field.data_type())
                    ),
                    format!(
                        "give the field its old type back, or give it another name (and `{name}` as an alias) to get a new column"
                    ),
                );
            }
        }
    }
    let is_gone = |f: &&FieldRef| f.name() != HEADERS_COLUMN && wanted.field_with_name(f.name()).is_err();
    if let Some(gone) = existing.fields().iter().find(is_gone) {
        let name = gone.name();
        return refuse(
            format!("the table has a column {name} that the contract no longer names"),
            format!(
                "keep the field in the contract, without `required`: it costs nothing where it is absent (or is `{name}` the old name of a field? then keep the old name and make the new one an alias)"
            ),
        );
    }
    if added.is_empty() { Ok(SchemaChange::Same) } else { Ok(SchemaChange::Add(added)) }
}

fn same_type(a: &DataType, b: &DataType) -> bool {
    match (a, b) {
        (DataType::List(a), DataType::List(b)) => same_type(a.data_type(), b.data_type()),
        (DataType::Struct(a), DataType::Struct(b)) => {
            a.len() == b.len()
                && a.iter().all(|f| b.iter().any(|g| f.name() == g.name() && same_type(f.data_type(), g.data_type())))
        }
        _ => a == b,
    }
}

/// A type in the words of contracts where there is one.
fn shown(kind: &DataType) -> String {
    match kind {
        DataType::Utf8 => "string".to_owned(),
        DataType::Int32 => "int".to_owned(),
        DataType::Int64 => "bigint".to_owned(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision},{scale})"),
        DataType::Timestamp(..) => "timestamp".to_owned(),
        DataType::Date32 => "date".to_owned(),
        DataType::Boolean => "bool".to_owned(),
        DataType::List(item) => match item.data_type() {
            DataType::Struct(fields) => {
                let fields: Vec<String> =
                    fields.iter().map(|f| format!("{} {}", f.name(), shown(f.data_type()))).collect();
                format!("a list of ({})", fields.join(", "))
            }
            other => format!("a list of {}", shown(other)),
        },
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Field;

    use super::*;

    fn schema(fields: &[(&str, DataType)]) -> Schema {
        Schema::new(fields.iter().map(|(n, t)| Field::new(*n, t.clone(), true)).collect::<Vec<_>>())
    }

    #[test]
    fn new_fields_become_nullable_columns() {
        let had = schema(&[("a", DataType::Int32), ("_error", DataType::Utf8)]);
        let wanted = schema(&[("a", DataType::Int32), ("b", DataType::Date32), ("_error", DataType::Utf8)]);
        assert_eq!(evolve("bronze.t", &had, &had), Ok(SchemaChange::Same));
        let Ok(SchemaChange::Add(added)) = evolve("bronze.t", &had, &wanted) else { panic!("refused") };
        assert_eq!(added.iter().map(|f| (f.name().as_str(), f.is_nullable())).collect::<Vec<_>>(), [("b", true)]);
    }

    #[test]
    fn changed_and_dropped_fields_are_refused_with_advice() {
        let had = schema(&[("a", DataType::Int32), ("b", DataType::Utf8)]);
        let changed = schema(&[("a", DataType::Decimal128(18, 2)), ("b", DataType::Utf8)]);
        let message = evolve("bronze.t", &had, &changed).expect_err("refused").to_string();
        assert!(message.starts_with("bronze.t: column a is int in the table and decimal(18,2) in the contract; give"));
        let dropped = schema(&[("a", DataType::Int32)]);
        let message = evolve("bronze.t", &had, &dropped).expect_err("refused").to_string();
        assert!(message.contains("column b that the contract no longer names; keep the field"), "{message}");
    }

    #[test]
    fn headers_are_kept_or_not_as_the_contract_says_today() {
        let without = schema(&[("a", DataType::Int32)]);
        let headers = crate::headers_field();
        let with = Schema::new(vec![without.field(0).clone(), headers.as_ref().clone()]);
        assert_eq!(evolve("bronze.t", &without, &with), Ok(SchemaChange::Add(vec![headers])));
        assert_eq!(evolve("bronze.t", &with, &without), Ok(SchemaChange::Same));
    }

    #[test]
    fn lists_compare_by_their_fields_only() {
        let list = |element: &str, kind: DataType| {
            let item = DataType::Struct(vec![Field::new("q", kind, true)].into());
            schema(&[("items", DataType::List(Arc::new(Field::new(element, item, true))))])
        };
        let (a, b) = (list("element", DataType::Int32), list("item", DataType::Int32));
        assert_eq!(evolve("bronze.t", &a, &b), Ok(SchemaChange::Same));
        assert!(evolve("bronze.t", &a, &list("element", DataType::Int64)).is_err());
    }
}
