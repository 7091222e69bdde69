//! In which types a model's rows are stored, and plans that give them in those.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast};
use schema::Model;

/// The schema of a model's table, given the schema of its SQL's result: the same columns in the same order, all
/// nullable, in the types that the model promises (`columns.x = { type = ... }`), else in the nearest that every engine
/// reads: UTC microseconds for timestamps, `string`, `int`/`bigint`, 128-bit decimals, signed integers.
pub fn stored_schema(model: &Model, result: &Schema) -> SchemaRef {
    let fields = result.fields().iter().map(|field| {
        let promised = model.column(field.name()).and_then(|column| column.kind.as_ref());
        let kind = promised.map_or_else(|| stored_type(field.data_type()), schema::FieldType::to_arrow);
        Field::new(field.name(), kind, true)
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn stored_type(kind: &DataType) -> DataType {
    match kind {
        DataType::Timestamp(..) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        DataType::Date64 => DataType::Date32,
        DataType::Utf8View | DataType::LargeUtf8 | DataType::Null => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary | DataType::FixedSizeBinary(_) => DataType::Binary,
        DataType::Int8 | DataType::Int16 | DataType::UInt8 | DataType::UInt16 => DataType::Int32,
        DataType::UInt32 | DataType::UInt64 => DataType::Int64,
        DataType::Float16 | DataType::Float32 => DataType::Float64,
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::Dictionary(_, values) => stored_type(values),
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(|field| stored_field(field)).collect::<Fields>())
        }
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::FixedSizeList(item, _) => DataType::List(Arc::new(stored_field(item).with_name("element"))),
        other => other.clone(),
    }
}

fn stored_field(field: &Field) -> Field {
    Field::new(field.name(), stored_type(field.data_type()), true)
}

/// The plan with its columns cast to `schema`, which has the same columns; the plan itself where nothing differs.
pub(crate) fn conform(plan: LogicalPlan, schema: &Schema) -> Result<LogicalPlan> {
    let mut changed = false;
    let columns: Vec<Expr> = plan
        .schema()
        .columns()
        .into_iter()
        .zip(plan.schema().fields().iter().zip(schema.fields()))
        .map(|(column, (found, wanted))| {
            let name = column.name().to_owned();
            let column = Expr::Column(Column::new(column.relation, column.name));
            if found.data_type() == wanted.data_type() {
                return column;
            }
            changed = true;
            cast(column, wanted.data_type().clone()).alias(name)
        })
        .collect();
    if !changed {
        return Ok(plan);
    }
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}
