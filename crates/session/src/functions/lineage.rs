//! `lineage(...)`: the place of a Bronze row in the order of all rows of its stream (ENGINE.md 10).
//!
//! A lineage is a struct that is compared field by field, nulls first. It does not depend on which run saw the row:
//! Kafka rows go by broker timestamp, partition and offset, file rows by the date in the file's name if the contract
//! has a pattern, else by the name in natural order, then by the file version's number and the line. A mended row
//! keeps its original's place with a higher revision.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanBufferBuilder, Int32Array, Int64Array, StringBuilder, StructArray,
};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Fields, Int32Type, TimeUnit, TimestampMicrosecondType};
use datafusion::common::{Result, ScalarValue, exec_datafusion_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::natural_key::natural_key;

/// The column that [`bronze_view`](crate::bronze_view) adds and that `latest` models keep.
pub const LINEAGE_COLUMN: &str = "_lineage";

/// What `_source` starts with for a row that came from a landing file.
pub const FILES_PREFIX: &str = "files:";

/// The type of a lineage: (`at` timestamp, `name` string, `part` bigint, `offset` bigint, `revision` int).
pub fn data_type() -> DataType {
    DataType::Struct(fields())
}

fn fields() -> Fields {
    static FIELDS: LazyLock<Fields> = LazyLock::new(|| {
        Fields::from(vec![
            Field::new("at", timestamp(), true),
            Field::new("name", DataType::Utf8, true),
            Field::new("part", DataType::Int64, true),
            Field::new("offset", DataType::Int64, true),
            Field::new("revision", DataType::Int32, true),
        ])
    });
    FIELDS.clone()
}

fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// The function as SQL sees it: `lineage(_source, _partition, _offset, _arrived_at, _mends, dated)`, where `dated`
/// says that `_arrived_at` of a file row is the date in the file's name.
pub fn udf() -> Arc<ScalarUDF> {
    static UDF: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Arc::new(ScalarUDF::from(Lineage::new())));
    Arc::clone(&UDF)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Lineage {
    signature: Signature,
}

impl Lineage {
    fn new() -> Self {
        let types =
            vec![DataType::Utf8View, DataType::Int32, DataType::Int64, timestamp(), DataType::Int32, DataType::Boolean];
        Self { signature: Signature::exact(types, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Lineage {
    fn name(&self) -> &str {
        "lineage"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(data_type())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let dated = match &args.args[5] {
            ColumnarValue::Scalar(ScalarValue::Boolean(Some(dated))) => *dated,
            other => return Err(exec_datafusion_err!("lineage: 'dated' must be true or false, not {other:?}")),
        };
        let columns = ColumnarValue::values_to_arrays(&args.args[..5])?;
        Ok(ColumnarValue::Array(Arc::new(lineages(&columns, dated)?)))
    }
}

/// Lineages of the columns `_source`, `_partition`, `_offset`, `_arrived_at`, `_mends`.
fn lineages(columns: &[ArrayRef], dated: bool) -> Result<StructArray> {
    let sources = columns[0].as_string_view();
    let rows = sources.len();
    let arrived = columns[3].as_primitive::<TimestampMicrosecondType>();
    let mends = columns[4].as_primitive::<Int32Type>();

    let mut names = StringBuilder::with_capacity(rows, rows * 8);
    let mut at_is_known = BooleanBufferBuilder::new(rows);
    // Rows of one file follow each other, so its key is made once.
    let mut last: Option<(&str, String)> = None;
    for row in 0..rows {
        let path = if sources.is_valid(row) { sources.value(row).strip_prefix(FILES_PREFIX) } else { None };
        let Some(path) = path else {
            names.append_value("");
            at_is_known.append(arrived.is_valid(row));
            continue;
        };
        at_is_known.append(dated && arrived.is_valid(row));
        // A day that is delivered again under another name is later by its number, whatever the name is.
        if dated && arrived.is_valid(row) {
            names.append_value("");
            continue;
        }
        let key = match last.take() {
            Some((of, key)) if of == path => key,
            _ => natural_key(path),
        };
        names.append_value(&key);
        last = Some((path, key));
    }
    let at = arrow::array::TimestampMicrosecondArray::new(
        arrived.values().clone(),
        Some(NullBuffer::new(at_is_known.finish())),
    )
    .with_timezone("UTC");
    let part: Int64Array = cast(&columns[1], &DataType::Int64)?.as_primitive().clone();
    let revision: Int32Array = mends.iter().map(|mend| Some(mend.unwrap_or(0))).collect();
    let columns: Vec<ArrayRef> =
        vec![Arc::new(at), Arc::new(names.finish()), Arc::new(part), Arc::clone(&columns[2]), Arc::new(revision)];
    Ok(StructArray::try_new(fields(), columns, None)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{StringViewArray, TimestampMicrosecondArray};

    fn columns(source: &str) -> Vec<ArrayRef> {
        vec![
            Arc::new(StringViewArray::from(vec![source])),
            Arc::new(Int32Array::from(vec![3])),
            Arc::new(Int64Array::from(vec![7])),
            Arc::new(TimestampMicrosecondArray::from(vec![1_000]).with_timezone("UTC")),
            Arc::new(Int32Array::from(vec![None])),
        ]
    }

    fn check(source: &str, dated: bool, at: Option<i64>, name: &str) {
        let got = lineages(&columns(source), dated).expect("columns of the right types");
        let ats = got.column(0).as_primitive::<TimestampMicrosecondType>();
        assert_eq!(ats.is_valid(0).then(|| ats.value(0)), at, "{source}");
        assert_eq!(got.column(1).as_string::<i32>().value(0), name, "{source}");
        assert_eq!(got.column(4).as_primitive::<Int32Type>().value(0), 0, "{source}");
        assert_eq!(got.data_type(), &data_type());
    }

    #[test]
    fn kafka_rows_go_by_time_and_files_by_name_unless_dated() {
        check("kafka:c/sales", false, Some(1_000), "");
        check("kafka:c/sales", true, Some(1_000), "");
        check("files:pos/Sales_9.csv", false, None, "pos/Sales_00019.csv");
        check("files:pos/Sales_9.csv", true, Some(1_000), "");
    }
}
