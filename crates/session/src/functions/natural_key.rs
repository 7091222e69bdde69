//! `natural_key(text)`: text whose byte order is the natural order of names (`part-9` before `part-10`).
//!
//! Each run of ASCII digits is replaced by its number of significant digits, in four digits, and then those digits:
//! `part-9` gives `part-00019`, `part-10` gives `part-000210`. Names that differ only in leading zeros give one key;
//! where they must be told apart something else has to follow (in a lineage, the file's number).

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, StringBuilder};
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

/// Digits of the length that precedes each run. A run of more digits than that can say (nothing that is a name) keeps
/// the greatest length, and such runs compare by their text.
const LENGTH_DIGITS: usize = 4;

/// The key of one text.
///
/// ```
/// assert!(session::functions::natural_key::natural_key("b2") < session::functions::natural_key::natural_key("b10"));
/// ```
pub fn natural_key(text: &str) -> String {
    let mut key = String::with_capacity(text.len() + 2 * LENGTH_DIGITS);
    push_natural_key(text, &mut key);
    key
}

fn push_natural_key(text: &str, key: &mut String) {
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        key.push_str(&rest[..start]);
        let run = &rest[start..];
        let end = run.find(|c: char| !c.is_ascii_digit()).unwrap_or(run.len());
        let digits = run[..end].trim_start_matches('0');
        let length = digits.len().min(10usize.pow(LENGTH_DIGITS as u32) - 1);
        key.push_str(&format!("{length:0width$}", width = LENGTH_DIGITS));
        key.push_str(digits);
        rest = &run[end..];
    }
    key.push_str(rest);
}

/// The function as SQL sees it.
pub fn udf() -> Arc<ScalarUDF> {
    static UDF: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Arc::new(ScalarUDF::from(NaturalKey::new())));
    Arc::clone(&UDF)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct NaturalKey {
    signature: Signature,
}

impl NaturalKey {
    fn new() -> Self {
        Self { signature: Signature::exact(vec![DataType::Utf8], Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for NaturalKey {
    fn name(&self) -> &str {
        "natural_key"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match &args.args[0] {
            ColumnarValue::Scalar(value) => {
                let text = value.try_as_str().flatten();
                Ok(ColumnarValue::Scalar(ScalarValue::Utf8(text.map(natural_key))))
            }
            ColumnarValue::Array(texts) => Ok(ColumnarValue::Array(natural_keys(texts))),
        }
    }
}

fn natural_keys(texts: &ArrayRef) -> ArrayRef {
    let texts = texts.as_string::<i32>();
    let mut keys = StringBuilder::with_capacity(texts.len(), texts.value_data().len() * 2);
    let mut key = String::new();
    for text in texts {
        match text {
            None => keys.append_null(),
            Some(text) => {
                key.clear();
                push_natural_key(text, &mut key);
                keys.append_value(&key);
            }
        }
    }
    Arc::new(keys.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn digit_runs_carry_their_length() {
        assert_eq!(natural_key("part-9"), "part-00019");
        assert_eq!(natural_key("part-10.csv"), "part-000210.csv");
        assert_eq!(natural_key("a007b0"), "a00017b0000");
        assert_eq!(natural_key(""), "");
        assert_eq!(natural_key("naïve"), "naïve");
    }

    proptest! {
        #[test]
        fn numbers_order_by_value(a in 0u64.., b in 0u64.., zeros in 0usize..4) {
            let (left, right) = (format!("f{}{a}.csv", "0".repeat(zeros)), format!("f{b}.csv"));
            prop_assert_eq!(natural_key(&left).cmp(&natural_key(&right)), a.cmp(&b));
        }

        #[test]
        fn text_without_digits_is_its_own_key(text in "[^0-9]*") {
            prop_assert_eq!(natural_key(&text), text);
        }
    }
}
