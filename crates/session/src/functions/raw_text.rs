//! `raw_text(bytes)`: bytes as text that loses nothing.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, StringBuilder};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

/// The function as SQL sees it: `raw_text(_raw)`. UTF-8 stays as it is. In bytes that are not UTF-8 each byte that is no
/// part of a character becomes `\xNN`, and a backslash becomes two, so that [`unescaped`] gives the bytes back. Null for
/// null.
pub fn udf() -> Arc<ScalarUDF> {
    static UDF: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Arc::new(ScalarUDF::from(RawText::new())));
    Arc::clone(&UDF)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct RawText {
    signature: Signature,
}

impl RawText {
    fn new() -> Self {
        Self { signature: Signature::uniform(1, vec![DataType::BinaryView, DataType::Binary], Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for RawText {
    fn name(&self) -> &str {
        "raw_text"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let bytes = cast(&args.args[0].clone().into_array(args.number_rows)?, &DataType::Binary)?;
        Ok(ColumnarValue::Array(texts(&bytes)))
    }
}

fn texts(bytes: &ArrayRef) -> ArrayRef {
    let bytes = bytes.as_binary::<i32>();
    let mut texts = StringBuilder::with_capacity(bytes.len(), bytes.value_data().len());
    for row in 0..bytes.len() {
        if bytes.is_null(row) {
            texts.append_null();
            continue;
        }
        match std::str::from_utf8(bytes.value(row)) {
            Ok(text) => texts.append_value(text),
            Err(_) => texts.append_value(escaped(bytes.value(row))),
        }
    }
    Arc::new(texts.finish())
}

/// Bytes as text: `\xNN` for what is no character, `\\` for a backslash.
pub fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        text.push_str(&chunk.valid().replace('\\', "\\\\"));
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
    }
    text
}

/// The bytes of a text that [`escaped`] wrote; `None` where a backslash is followed by anything else.
pub fn unescaped(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
        bytes.extend_from_slice(&rest[..at]);
        rest = match rest.get(at + 1) {
            Some(b'\\') => {
                bytes.push(b'\\');
                &rest[at + 2..]
            }
            Some(b'x') => {
                let digit = |place: usize| (*rest.get(place)? as char).to_digit(16);
                bytes.push((digit(at + 2)? * 16 + digit(at + 3)?) as u8);
                &rest[at + 4..]
            }
            _ => return None,
        };
    }
    bytes.extend_from_slice(rest);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_from_their_text() {
        for (bytes, text) in [
            (b"caf\xe9 \\ ok".as_slice(), r"caf\xe9 \\ ok"),
            ("né\u{0}".as_bytes(), "né\u{0}"),
            (b"\xff\xfe\x00", "\\xff\\xfe\u{0}"),
            (b"", ""),
        ] {
            assert_eq!(escaped(bytes), text);
            assert_eq!(unescaped(text).as_deref(), Some(bytes));
        }
        for wrong in ["\\", "\\n", "\\x1", "\\xg0", "\\x+1"] {
            assert_eq!(unescaped(wrong), None, "{wrong}");
        }
    }
}
