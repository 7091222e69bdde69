//! `ratio(a, b)` and `ratio(a, b, scale)`: the one way to divide (ENGINE.md 23).
//!
//! DataFusion cuts decimal quotients off and divides integers as integers. With a scale the quotient of two decimals or
//! integers is a `decimal(38, scale)`, exact and rounded half away from zero; without, it is a double, the nearest to
//! the exact operands' quotient that two roundings allow. Null over zero and where an operand is null.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Float64Array};
use arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef, Float64Type, i256};
use datafusion::common::{Result, ScalarValue, exec_datafusion_err, exec_err, plan_datafusion_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// Digits of a decimal result: the most that 128 bits hold.
const PRECISION: u8 = 38;

/// The function as SQL sees it.
pub fn udf() -> Arc<ScalarUDF> {
    static UDF: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Arc::new(ScalarUDF::from(Ratio::new())));
    Arc::clone(&UDF)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Ratio {
    signature: Signature,
}

impl Ratio {
    fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Ratio {
    fn name(&self) -> &str {
        "ratio"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        if types.len() != 2 && types.len() != 3 {
            return plan_err!("ratio takes two operands and perhaps a scale, not {} arguments", types.len());
        }
        let operands: Vec<DataType> = types[..2].iter().map(exact_type).collect::<Result<_>>()?;
        let exact = operands.iter().all(|kind| matches!(kind, DataType::Decimal128(..)));
        if types.len() == 3 {
            if !exact {
                return plan_err!("ratio to a scale takes decimals or integers; doubles have no exact quotient");
            }
            return Ok([operands, vec![DataType::Int64]].concat());
        }
        Ok(if exact { operands } else { vec![DataType::Float64; 2] })
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        plan_err!("the type of ratio depends on its scale")
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let kind = match args.scalar_arguments.get(2) {
            None => DataType::Float64,
            Some(scale) => DataType::Decimal128(PRECISION, parse_scale(*scale)?),
        };
        Ok(Arc::new(Field::new(self.name(), kind, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let all_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let operands = ColumnarValue::values_to_arrays(&args.args[..2])?;
        let result: ArrayRef = match (args.return_field.data_type(), operands[0].data_type()) {
            (DataType::Decimal128(_, scale), _) => Arc::new(rounded(&operands[0], &operands[1], *scale)?),
            (_, DataType::Float64) => Arc::new(doubles(&operands[0], &operands[1])),
            _ => Arc::new(nearest(&operands[0], &operands[1])?),
        };
        if all_scalar {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?));
        }
        // Two scalar operands beside a column cannot be: the scale is a literal too. One is spread out by now.
        Ok(ColumnarValue::Array(result))
    }
}

/// The type in which an operand is divided: a decimal that holds every value of its own type, or double.
fn exact_type(kind: &DataType) -> Result<DataType> {
    Ok(match kind {
        DataType::Decimal128(precision, scale) if *scale >= 0 => DataType::Decimal128(*precision, *scale),
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) if *scale >= 0 => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => DataType::Decimal128(19, 0),
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Null => DataType::Decimal128(1, 0),
        DataType::Float16 | DataType::Float32 | DataType::Float64 => DataType::Float64,
        other => return plan_err!("ratio takes numbers, not {other}"),
    })
}

fn parse_scale(scale: Option<&ScalarValue>) -> Result<i8> {
    let value = scale
        .and_then(|scale| scale.cast_to(&DataType::Int64).ok())
        .ok_or_else(|| plan_datafusion_err!("the scale of ratio must be a literal whole number"))?;
    match value {
        ScalarValue::Int64(Some(scale @ 0..=30)) => Ok(scale as i8),
        other => plan_err!("the scale of ratio must be 0 to 30, not {other}"),
    }
}

fn scale_of(operand: &ArrayRef) -> Result<i8> {
    match operand.data_type() {
        DataType::Decimal128(_, scale) => Ok(*scale),
        other => exec_err!("ratio: a decimal was promised, not {other}"),
    }
}

/// Quotients as `decimal(38, scale)`, rounded half away from zero.
///
/// # Errors
/// When a quotient has more than 38 digits at that scale.
fn rounded(left: &ArrayRef, right: &ArrayRef, scale: i8) -> Result<Decimal128Array> {
    // left/10^l over right/10^r at a scale s is left * 10^(s + r - l) over right.
    let shift = i32::from(scale) + i32::from(scale_of(right)?) - i32::from(scale_of(left)?);
    let power = power_of_ten(shift.unsigned_abs());
    let (left, right) = (left.as_primitive::<Decimal128Type>(), right.as_primitive::<Decimal128Type>());
    let mut quotients = Decimal128Array::builder(left.len());
    for (a, b) in left.iter().zip(right.iter()) {
        match (a, b) {
            (Some(a), Some(b)) if b != 0 => {
                let (mut a, mut b) = (i256::from_i128(a), i256::from_i128(b));
                let scaled = if shift >= 0 { &mut a } else { &mut b };
                *scaled = power.and_then(|power| scaled.checked_mul(power)).ok_or_else(too_large)?;
                quotients.append_value(half_away(a, b).ok_or_else(too_large)?);
            }
            _ => quotients.append_null(),
        }
    }
    Ok(quotients.finish().with_precision_and_scale(PRECISION, scale)?)
}

fn too_large() -> datafusion::common::DataFusionError {
    exec_datafusion_err!("a ratio has more than {PRECISION} digits at its scale")
}

fn power_of_ten(exponent: u32) -> Option<i256> {
    (0..exponent).try_fold(i256::ONE, |power, _| power.checked_mul(i256::from_i128(10)))
}

/// `a / b` rounded half away from zero, when it has at most 38 digits; `b` is not zero.
fn half_away(a: i256, b: i256) -> Option<i128> {
    let quotient = a.checked_div(b)?;
    let rest = a.checked_rem(b)?;
    let round_up = abs(rest) >= abs(b).wrapping_sub(abs(rest));
    let away = if (a < i256::ZERO) == (b < i256::ZERO) { i256::ONE } else { i256::MINUS_ONE };
    let rounded = if round_up { quotient.checked_add(away)? } else { quotient };
    rounded.to_i128().filter(|value| value.unsigned_abs() < 10u128.pow(u32::from(PRECISION)))
}

fn abs(value: i256) -> i256 {
    if value < i256::ZERO { value.wrapping_neg() } else { value }
}

/// Quotients of decimals as doubles: the unscaled integers are divided first, so that 139.120 over 1 is 139.12.
fn nearest(left: &ArrayRef, right: &ArrayRef) -> Result<Float64Array> {
    let shift = i32::from(scale_of(right)?) - i32::from(scale_of(left)?);
    let (left, right) = (left.as_primitive::<Decimal128Type>(), right.as_primitive::<Decimal128Type>());
    // Powers of ten up to 22 are exact as doubles, so scaling costs at most one more rounding.
    let power = 10f64.powi(shift.abs());
    let quotient = |a: i128, b: i128| match shift >= 0 {
        true => a as f64 * power / b as f64,
        false => a as f64 / (b as f64 * power),
    };
    Ok(left.iter().zip(right.iter()).map(|pair| divide(pair, |b| *b == 0, quotient)).collect())
}

fn doubles(left: &ArrayRef, right: &ArrayRef) -> Float64Array {
    let (left, right) = (left.as_primitive::<Float64Type>(), right.as_primitive::<Float64Type>());
    left.iter().zip(right.iter()).map(|pair| divide(pair, |b| *b == 0.0, |a, b| a / b)).collect()
}

fn divide<T>(pair: (Option<T>, Option<T>), is_zero: fn(&T) -> bool, quotient: impl Fn(T, T) -> f64) -> Option<f64> {
    match pair {
        (Some(a), Some(b)) if !is_zero(&b) => Some(quotient(a, b)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decimal(value: i128, scale: i8) -> ArrayRef {
        let array = Decimal128Array::from(vec![value]);
        Arc::new(array.with_precision_and_scale(PRECISION, scale).expect("38 digits"))
    }

    fn check(a: (i128, i8), b: (i128, i8), scale: i8, expected: i128) {
        let got = rounded(&decimal(a.0, a.1), &decimal(b.0, b.1), scale).expect("fits");
        assert_eq!(got.value(0), expected, "{a:?} over {b:?} at {scale}");
    }

    #[test]
    fn rounds_half_away_from_zero() {
        check((5, 1), (1, 0), 0, 1);
        check((-5, 1), (1, 0), 0, -1);
        check((4, 1), (1, 0), 0, 0);
        check((1, 0), (3, 0), 4, 3333);
        check((2, 0), (3, 0), 4, 6667);
        check((-2, 0), (3, 0), 4, -6667);
        check((100, 2), (8, 0), 2, 13);
        check((100, 2), (-8, 0), 2, -13);
        check((123_456_789, 6), (1, 3), 0, 123_457);
        check((15, 6), (10, 0), 6, 2);
        check((14, 6), (10, 0), 6, 1);
    }

    #[test]
    fn over_zero_or_null_is_null() {
        assert!(rounded(&decimal(1, 0), &decimal(0, 0), 2).expect("null").is_null(0));
        assert!(nearest(&decimal(1, 0), &decimal(0, 0)).expect("null").is_null(0));
        assert_eq!(divide((None, Some(1.0)), |b| *b == 0.0, |a: f64, b| a / b), None);
    }

    #[test]
    fn too_many_digits_is_an_error() {
        let most = 10i128.pow(38) - 1;
        assert!(rounded(&decimal(most, 0), &decimal(1, 0), 1).is_err());
        assert!(rounded(&decimal(most, 0), &decimal(1, 30), 30).is_err());
    }

    #[test]
    fn doubles_are_those_one_would_write() {
        let got = nearest(&decimal(139_120, 3), &decimal(1, 0)).expect("fits");
        assert_eq!(got.value(0), 139.12);
    }

    proptest! {
        #[test]
        fn agrees_with_wide_arithmetic(a in -10i128.pow(20)..10i128.pow(20), b in -10i128.pow(9)..10i128.pow(9), scale in 0i8..8) {
            prop_assume!(b != 0);
            let got = rounded(&decimal(a, 2), &decimal(b, 3), scale).expect("fits").value(0);
            // Half away from zero by another road: floor(2n + d over 2d) of the absolute values.
            let (n, d) = (a.unsigned_abs() * 10u128.pow(scale as u32 + 1), b.unsigned_abs());
            let expected = ((2 * n + d) / (2 * d)) as i128;
            prop_assert_eq!(got, if (a < 0) == (b < 0) { expected } else { -expected });
        }
    }
}
