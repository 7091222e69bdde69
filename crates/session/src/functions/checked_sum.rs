//! `sum` that fails on overflow. DataFusion's wraps around in silence (integers), or leaves a decimal with more digits
//! than its type has; here both are errors (ENGINE.md 23).
//!
//! Types, names and plans are those of DataFusion's `sum`: integers to `bigint`, `decimal(p,s)` to
//! `decimal(min(38, p + 10), s)`. Doubles, durations and intervals are left to it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, ArrowNativeTypeOp, ArrowNumericType, AsArray, BooleanArray};
use arrow::datatypes::{DataType, Decimal128Type, DecimalType, FieldRef, Int64Type, UInt64Type};
use datafusion::common::{Result, ScalarValue, exec_datafusion_err, not_impl_err};
use datafusion::functions_aggregate::sum::Sum;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, EmitTo, GroupsAccumulator, ReversedUDAF,
    SetMonotonicity, Signature, StatisticsArgs,
};
use datafusion::physical_expr::NullState;

/// The function as SQL sees it; registered under the name of DataFusion's `sum`, which it replaces.
pub fn udaf() -> Arc<AggregateUDF> {
    static UDAF: LazyLock<Arc<AggregateUDF>> =
        LazyLock::new(|| Arc::new(AggregateUDF::from(CheckedSum { inner: Sum::new() })));
    Arc::clone(&UDAF)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct CheckedSum {
    inner: Sum,
}

/// Whether sums of this type are ours to check.
fn is_checked(kind: &DataType) -> bool {
    matches!(kind, DataType::Int64 | DataType::UInt64 | DataType::Decimal128(..))
}

impl AggregateUDFImpl for CheckedSum {
    fn name(&self) -> &str {
        "sum"
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let kind = args.return_field.data_type().clone();
        match kind {
            _ if !is_checked(&kind) => self.inner.accumulator(args),
            _ if args.is_distinct => {
                let sum = plain(&kind)?;
                Ok(Box::new(DistinctSum { distinct: self.inner.accumulator(args)?, sum }))
            }
            _ => plain(&kind),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        let kind = args.return_field.data_type().clone();
        match kind {
            DataType::Int64 => Ok(Box::new(SumOfGroups::<Int64Type>::new(kind))),
            DataType::UInt64 => Ok(Box::new(SumOfGroups::<UInt64Type>::new(kind))),
            DataType::Decimal128(..) => Ok(Box::new(SumOfGroups::<Decimal128Type>::new(kind))),
            _ => self.inner.create_groups_accumulator(args),
        }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let kind = args.return_field.data_type().clone();
        match kind {
            _ if !is_checked(&kind) => self.inner.create_sliding_accumulator(args),
            _ if args.is_distinct => not_impl_err!("sum(DISTINCT) over a sliding window"),
            _ => plain(&kind),
        }
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        self.inner.reverse_expr()
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.order_sensitivity()
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn set_monotonicity(&self, kind: &DataType) -> SetMonotonicity {
        self.inner.set_monotonicity(kind)
    }

    fn value_from_stats(&self, args: &StatisticsArgs) -> Option<ScalarValue> {
        self.inner.value_from_stats(args)
    }
    // `simplify_expr_op_literal` stays out: sum(a + 1) as sum(a) + 1 * count(a) would move an addition to where it
    // wraps.
}

fn plain(kind: &DataType) -> Result<Box<dyn Accumulator>> {
    Ok(match kind {
        DataType::Int64 => Box::new(SumOfAll::<Int64Type>::new(kind.clone())),
        DataType::UInt64 => Box::new(SumOfAll::<UInt64Type>::new(kind.clone())),
        DataType::Decimal128(..) => Box::new(SumOfAll::<Decimal128Type>::new(kind.clone())),
        other => return not_impl_err!("a checked sum of {other}"),
    })
}

fn overflow(kind: &DataType) -> datafusion::common::DataFusionError {
    exec_datafusion_err!("a sum does not fit {kind}")
}

/// Fails when one of the values has more digits than a decimal type allows.
fn check_digits(values: &ArrayRef) -> Result<()> {
    if let DataType::Decimal128(precision, scale) = values.data_type() {
        let decimals = values.as_primitive::<Decimal128Type>();
        let fits = |value| Decimal128Type::validate_decimal_precision(value, *precision, *scale).is_ok();
        if decimals.iter().flatten().any(|value| !fits(value)) {
            return Err(overflow(values.data_type()));
        }
    }
    Ok(())
}

/// The sum of all rows, or of a window's: rows can leave again.
#[derive(Debug)]
struct SumOfAll<T: ArrowNumericType> {
    sum: T::Native,
    rows: u64,
    kind: DataType,
}

impl<T: ArrowNumericType> SumOfAll<T> {
    fn new(kind: DataType) -> Self {
        Self { sum: T::default_value(), rows: 0, kind }
    }
}

impl<T: ArrowNumericType + std::fmt::Debug> Accumulator for SumOfAll<T> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = values[0].as_primitive::<T>();
        self.rows += (values.len() - values.null_count()) as u64;
        for value in values.iter().flatten() {
            self.sum = self.sum.add_checked(value).map_err(|_| overflow(&self.kind))?;
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = values[0].as_primitive::<T>();
        self.rows -= (values.len() - values.null_count()) as u64;
        for value in values.iter().flatten() {
            self.sum = self.sum.sub_checked(value).map_err(|_| overflow(&self.kind))?;
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let value = ScalarValue::new_primitive::<T>((self.rows > 0).then_some(self.sum), &self.kind)?;
        check_digits(&value.to_array()?)?;
        Ok(value)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::new_primitive::<T>((self.rows > 0).then_some(self.sum), &self.kind)?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

/// `sum(DISTINCT x)`: DataFusion collects the distinct values, we add them.
#[derive(Debug)]
struct DistinctSum {
    distinct: Box<dyn Accumulator>,
    sum: Box<dyn Accumulator>,
}

impl Accumulator for DistinctSum {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.distinct.update_batch(values)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        for state in self.distinct.state()? {
            let ScalarValue::List(list) = state else {
                return not_impl_err!("distinct values as {}", state.data_type());
            };
            self.sum.update_batch(&[Arc::clone(list.values())])?;
        }
        self.sum.evaluate()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.distinct.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.distinct.merge_batch(states)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.distinct.size() + self.sum.size()
    }
}

/// One sum per group.
#[derive(Debug)]
struct SumOfGroups<T: ArrowNumericType> {
    sums: Vec<T::Native>,
    seen: NullState,
    kind: DataType,
    /// Set inside the loop over rows, which cannot return an error; looked at after it.
    overflowed: AtomicBool,
}

impl<T: ArrowNumericType + Send> SumOfGroups<T> {
    fn new(kind: DataType) -> Self {
        Self { sums: Vec::new(), seen: NullState::new(), kind, overflowed: AtomicBool::new(false) }
    }

    fn add(
        &mut self,
        values: &ArrayRef,
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total_groups: usize,
    ) -> Result<()> {
        self.sums.resize(total_groups, T::default_value());
        let (sums, overflowed) = (&mut self.sums, &self.overflowed);
        self.seen.accumulate(groups, values.as_primitive::<T>(), filter, total_groups, |group, value| {
            match sums[group].add_checked(value) {
                Ok(sum) => sums[group] = sum,
                Err(_) => overflowed.store(true, Ordering::Relaxed),
            }
        });
        if self.overflowed.load(Ordering::Relaxed) { Err(overflow(&self.kind)) } else { Ok(()) }
    }

    fn emit(&mut self, emit_to: EmitTo) -> ArrayRef {
        let sums = emit_to.take_needed(&mut self.sums);
        let nulls = self.seen.build(emit_to);
        let sums = arrow::array::PrimitiveArray::<T>::new(sums.into(), nulls);
        Arc::new(sums.with_data_type(self.kind.clone()))
    }
}

impl<T: ArrowNumericType + std::fmt::Debug + Send> GroupsAccumulator for SumOfGroups<T> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.add(&values[0], group_indices, opt_filter, total_num_groups)
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.add(&values[0], group_indices, None, total_num_groups)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let sums = self.emit(emit_to);
        check_digits(&sums)?;
        Ok(sums)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.emit(emit_to)])
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let values = values[0].as_primitive::<T>().clone().with_data_type(self.kind.clone());
        let Some(filter) = opt_filter else { return Ok(vec![Arc::new(values)]) };
        // A row that the filter leaves out adds nothing, as a null does.
        let left_out: BooleanArray = filter.iter().map(|keep| Some(keep != Some(true))).collect();
        Ok(vec![arrow::compute::nullif(&values, &left_out)?])
    }

    fn size(&self) -> usize {
        self.sums.capacity() * size_of::<T::Native>() + self.seen.size()
    }
}
