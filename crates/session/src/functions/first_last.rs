//! `first_value` and `last_value` of groups, by one column of whole numbers, dates or times.
//!
//! DataFusion's keep a list of values for each group to compare by, and look at all groups with each batch; with a hundred
//! thousand groups that is most of what a model like the weekly fact spends on them. Here a group is two numbers. Types,
//! names, states and answers are DataFusion's: of rows that are equal in the order, the one that comes first. Other orders,
//! and other types, are left to it.

use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, PrimitiveArray};
use arrow::compute::SortOptions;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, FieldRef, Float64Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType,
};
use datafusion::common::{Result, internal_err};
use datafusion::functions_aggregate::first_last::{FirstValue, LastValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, EmitTo, GroupsAccumulator, ReversedUDAF, Signature,
};

/// `first_value` as SQL sees it, in the place of DataFusion's.
pub fn first() -> Arc<AggregateUDF> {
    static UDAF: LazyLock<Arc<AggregateUDF>> =
        LazyLock::new(|| Arc::new(AggregateUDF::from(OneOfGroup { inner: Arc::new(FirstValue::new()), first: true })));
    Arc::clone(&UDAF)
}

/// `last_value` as SQL sees it, in the place of DataFusion's.
pub fn last() -> Arc<AggregateUDF> {
    static UDAF: LazyLock<Arc<AggregateUDF>> =
        LazyLock::new(|| Arc::new(AggregateUDF::from(OneOfGroup { inner: Arc::new(LastValue::new()), first: false })));
    Arc::clone(&UDAF)
}

#[derive(Debug)]
struct OneOfGroup {
    inner: Arc<dyn AggregateUDFImpl>,
    first: bool,
}

impl PartialEq for OneOfGroup {
    fn eq(&self, other: &Self) -> bool {
        *self.inner == *other.inner && self.first == other.first
    }
}

impl Eq for OneOfGroup {}

impl std::hash::Hash for OneOfGroup {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

impl AggregateUDFImpl for OneOfGroup {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        self.inner.return_field(fields)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.inner.accumulator(args)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        let [by] = args.order_bys else { return self.inner.create_groups_accumulator(args) };
        let order = Order { kind: by.expr.data_type(args.schema)?, options: by.options, first: self.first };
        let kind = args.return_field.data_type().clone();
        if !order.is_ours() {
            return self.inner.create_groups_accumulator(args);
        }
        Ok(match kind {
            DataType::Int32 => Box::new(ValueOfGroups::<Int32Type>::new(kind, order, args.ignore_nulls)),
            DataType::Int64 => Box::new(ValueOfGroups::<Int64Type>::new(kind, order, args.ignore_nulls)),
            DataType::Float64 => Box::new(ValueOfGroups::<Float64Type>::new(kind, order, args.ignore_nulls)),
            DataType::Date32 => Box::new(ValueOfGroups::<Date32Type>::new(kind, order, args.ignore_nulls)),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Box::new(ValueOfGroups::<TimestampMicrosecondType>::new(kind, order, args.ignore_nulls))
            }
            DataType::Decimal128(..) => Box::new(ValueOfGroups::<Decimal128Type>::new(kind, order, args.ignore_nulls)),
            _ => self.inner.create_groups_accumulator(args)?,
        })
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.inner.create_sliding_accumulator(args)
    }

    fn with_beneficial_ordering(self: Arc<Self>, beneficial: bool) -> Result<Option<Arc<dyn AggregateUDFImpl>>> {
        let inner = Arc::clone(&self.inner).with_beneficial_ordering(beneficial)?;
        Ok(inner.map(|inner| Arc::new(Self { inner, first: self.first }) as Arc<dyn AggregateUDFImpl>))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.order_sensitivity()
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Reversed(if self.first { last() } else { first() })
    }

    fn supports_null_handling_clause(&self) -> bool {
        self.inner.supports_null_handling_clause()
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}

/// The order of rows in a group, as ranks of which the greatest is wanted.
#[derive(Clone, Debug)]
struct Order {
    kind: DataType,
    options: SortOptions,
    first: bool,
}

/// Below all ranks: nothing was seen.
const UNSEEN: i128 = i128::MIN;

impl Order {
    fn is_ours(&self) -> bool {
        matches!(
            self.kind,
            DataType::Int32 | DataType::Int64 | DataType::Date32 | DataType::Timestamp(TimeUnit::Microsecond, _)
        )
    }

    /// Whether the smallest value is wanted, not the greatest.
    fn is_turned(&self) -> bool {
        self.options.descending != self.first
    }

    /// The rank of a value.
    fn rank(&self, value: Option<i64>) -> i128 {
        match value {
            // What comes first is wanted last, and the other way round.
            None if self.options.nulls_first == self.first => i128::MAX,
            None => UNSEEN + 1,
            Some(value) if self.is_turned() => -i128::from(value),
            Some(value) => i128::from(value),
        }
    }

    /// The value of a rank.
    fn value(&self, rank: i128) -> Option<i64> {
        // Of no rank that stands for no value there is a number of 64 bits.
        let rank = if self.is_turned() { rank.checked_neg()? } else { rank };
        i64::try_from(rank).ok()
    }

    fn ranks(&self, column: &ArrayRef) -> Result<Vec<i128>> {
        fn of<T: ArrowPrimitiveType<Native: Into<i64>>>(order: &Order, column: &ArrayRef) -> Vec<i128> {
            column.as_primitive::<T>().iter().map(|value| order.rank(value.map(Into::into))).collect()
        }
        Ok(match column.data_type() {
            DataType::Int32 => of::<Int32Type>(self, column),
            DataType::Date32 => of::<Date32Type>(self, column),
            DataType::Int64 => of::<Int64Type>(self, column),
            DataType::Timestamp(TimeUnit::Microsecond, _) => of::<TimestampMicrosecondType>(self, column),
            other => return internal_err!("ordered by {other}, expected {}", self.kind),
        })
    }

    fn column(&self, ranks: &[i128]) -> Result<ArrayRef> {
        let values = ranks.iter().map(|rank| self.value(*rank));
        let narrow = |value: Option<i64>| value.and_then(|value| i32::try_from(value).ok());
        Ok(match &self.kind {
            DataType::Int32 => Arc::new(values.map(narrow).collect::<PrimitiveArray<Int32Type>>()),
            DataType::Date32 => Arc::new(values.map(narrow).collect::<PrimitiveArray<Date32Type>>()),
            DataType::Int64 => Arc::new(values.collect::<PrimitiveArray<Int64Type>>()),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                let times = values.collect::<PrimitiveArray<TimestampMicrosecondType>>();
                Arc::new(times.with_data_type(self.kind.clone()))
            }
            other => return internal_err!("ordered by {other}"),
        })
    }
}

/// Of each group the value with the greatest rank.
#[derive(Debug)]
struct ValueOfGroups<T: ArrowPrimitiveType> {
    kind: DataType,
    order: Order,
    ignore_nulls: bool,
    ranks: Vec<i128>,
    values: Vec<Option<T::Native>>,
    of: PhantomData<fn() -> T>,
}

impl<T: ArrowPrimitiveType> ValueOfGroups<T> {
    fn new(kind: DataType, order: Order, ignore_nulls: bool) -> Self {
        Self { kind, order, ignore_nulls, ranks: Vec::new(), values: Vec::new(), of: PhantomData }
    }

    fn add(
        &mut self,
        columns: &[ArrayRef],
        groups: &[usize],
        wanted: Option<&BooleanArray>,
        total_groups: usize,
    ) -> Result<()> {
        let [values, by] = columns else { return internal_err!("{} columns, expected 2", columns.len()) };
        self.ranks.resize(total_groups, UNSEEN);
        self.values.resize(total_groups, None);
        let ranks = self.order.ranks(by)?;
        for (row, (value, rank)) in values.as_primitive::<T>().iter().zip(ranks).enumerate() {
            let is_wanted = wanted.is_none_or(|wanted| wanted.is_valid(row) && wanted.value(row));
            if !is_wanted || (self.ignore_nulls && value.is_none()) {
                continue;
            }
            let group = groups[row];
            if rank > self.ranks[group] {
                self.ranks[group] = rank;
                self.values[group] = value;
            }
        }
        Ok(())
    }

    fn take(&mut self, emit_to: EmitTo) -> (ArrayRef, Vec<i128>) {
        let values: PrimitiveArray<T> = emit_to.take_needed(&mut self.values).into_iter().collect();
        (Arc::new(values.with_data_type(self.kind.clone())), emit_to.take_needed(&mut self.ranks))
    }
}

impl<T: ArrowPrimitiveType + Debug> GroupsAccumulator for ValueOfGroups<T> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.add(values, group_indices, opt_filter, total_num_groups)
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        let Some((seen, columns)) = values.split_last() else { return internal_err!("no columns") };
        self.add(columns, group_indices, Some(seen.as_boolean()), total_num_groups)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        Ok(self.take(emit_to).0)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let (values, ranks) = self.take(emit_to);
        let seen: BooleanArray = ranks.iter().map(|rank| Some(*rank != UNSEEN)).collect();
        Ok(vec![values, self.order.column(&ranks)?, Arc::new(seen)])
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let rows = values.first().map_or(0, |values| values.len());
        let seen = opt_filter.cloned().unwrap_or_else(|| BooleanArray::from(vec![true; rows]));
        Ok([values, &[Arc::new(seen) as ArrayRef]].concat())
    }

    fn size(&self) -> usize {
        self.ranks.capacity() * size_of::<i128>() + self.values.capacity() * size_of::<Option<T::Native>>()
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch};
    use arrow::array::{StringArray, TimestampMicrosecondArray};
    use arrow::util::pretty::pretty_format_batches;
    use datafusion::datasource::MemTable;
    use datafusion::prelude::{SessionConfig, SessionContext};

    use super::*;

    const ORDERS: [&str; 8] = [
        "day",
        "day DESC",
        "small NULLS FIRST",
        "small DESC NULLS LAST",
        "large DESC",
        "time",
        "time DESC NULLS FIRST",
        // Left to DataFusion.
        "day, large",
    ];

    /// Rows with nulls and with equal values in all columns but the last, in one partition or in two.
    fn rows(partitions: usize) -> MemTable {
        let batch = |first: i64| {
            let rows = || (first..first + 300).map(|row| row * 7_919 % 1_009);
            let some = |row: i64, nth: i64| (row % nth != 0).then_some(row);
            let time: TimestampMicrosecondArray = rows().map(|row| some(row, 19).map(|row| row % 50 - 25)).collect();
            let money: Decimal128Array = rows().map(|row| some(row, 3).map(i128::from)).collect();
            let columns: [(&str, ArrayRef); 9] = [
                ("g", Arc::new(rows().map(|row| some(row, 29).map(|row| row % 23)).collect::<Int64Array>())),
                ("day", Arc::new(rows().map(|row| some(row, 7).map(|row| row as i32 % 40)).collect::<Date32Array>())),
                (
                    "small",
                    Arc::new(rows().map(|row| some(row, 5).map(|row| row as i32 % 9 - 4)).collect::<Int32Array>()),
                ),
                ("large", Arc::new(rows().map(|row| some(row, 11).map(|row| i64::MIN + row)).collect::<Int64Array>())),
                ("time", Arc::new(time.with_timezone("UTC"))),
                ("money", Arc::new(money.with_precision_and_scale(12, 2).expect("a decimal"))),
                (
                    "ratio",
                    Arc::new(rows().map(|row| some(row, 4).map(|row| row as f64 / 8.0)).collect::<Float64Array>()),
                ),
                (
                    "text",
                    Arc::new(rows().map(|row| some(row, 6).map(|row| format!("t{row}"))).collect::<StringArray>()),
                ),
                ("row", Arc::new((first..first + 300).map(Some).collect::<Int64Array>())),
            ];
            RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))
                .expect("a batch")
        };
        let batches: Vec<RecordBatch> = (0..8).map(|n| batch(300 * n)).collect();
        let partitions = match partitions {
            1 => vec![batches.clone()],
            _ => vec![batches[..5].to_vec(), batches[5..].to_vec()],
        };
        MemTable::try_new(batches[0].schema(), partitions).expect("a table")
    }

    fn context(ours: bool, partitions: usize) -> SessionContext {
        let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(partitions));
        if ours {
            context.register_udaf((*first()).clone());
            context.register_udaf((*last()).clone());
        }
        context.register_table("facts", Arc::new(rows(partitions))).expect("registered");
        context
    }

    async fn answer(context: &SessionContext, sql: &str) -> String {
        let rows = context.sql(sql).await.expect("a plan").collect().await.expect("rows");
        pretty_format_batches(&rows).expect("text").to_string()
    }

    #[tokio::test]
    async fn answers_are_those_of_datafusion() {
        let (ours, theirs) = (context(true, 1), context(false, 1));
        for order in ORDERS {
            for column in ["row", "day", "small", "large", "time", "money", "ratio", "text"] {
                let sql = format!(
                    "SELECT g, first_value({column} ORDER BY {order}) AS a, last_value({column} ORDER BY {order}) AS b, \
                       first_value({column} ORDER BY {order}) FILTER (WHERE small > 0) AS c, \
                       last_value({column} ORDER BY {order}) FILTER (WHERE small > 100) AS d, \
                       last_value({column} ORDER BY {order}) IGNORE NULLS AS e \
                     FROM facts GROUP BY g ORDER BY g"
                );
                assert_eq!(answer(&ours, &sql).await, answer(&theirs, &sql).await, "{sql}");
            }
        }
    }

    /// With several partitions, states are merged. Which of equal rows is the first is by chance then, so that each order
    /// ends with the number of the row, which is wide enough for all.
    #[tokio::test]
    async fn states_are_merged() {
        let (ours, theirs) = (context(true, 3), context(false, 3));
        for by in ["(large + 9223372036854775807) * 4096 + row", "CAST(small AS BIGINT) * 4096 + row", "-row"] {
            let sql = format!(
                "SELECT g, first_value(money ORDER BY {by}) AS a, last_value(time ORDER BY {by} DESC) AS b, \
                   last_value(day ORDER BY {by} NULLS FIRST) AS c FROM facts \
                 WHERE small IS NOT NULL AND large IS NOT NULL GROUP BY g ORDER BY g"
            );
            assert_eq!(answer(&ours, &sql).await, answer(&theirs, &sql).await, "{sql}");
        }
    }
}
