//! The few ways in which the generator writes JSON and decimals.

/// An object under way.
pub(crate) struct JsonObject<'a> {
    /// The message so far.
    pub out: &'a mut Vec<u8>,
    spaced: bool,
    empty: bool,
}

impl<'a> JsonObject<'a> {
    /// Opens an object; `spaced` puts blanks after separators.
    pub fn open(out: &'a mut Vec<u8>, spaced: bool) -> JsonObject<'a> {
        out.push(b'{');
        JsonObject { out, spaced, empty: true }
    }

    /// Writes a name and its colon; the value is written by the caller.
    pub fn name(&mut self, name: &str) -> &mut Vec<u8> {
        if !self.empty {
            self.out.extend_from_slice(if self.spaced { b", " } else { b"," });
        }
        self.empty = false;
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(if self.spaced { b"\": " } else { b"\":" });
        self.out
    }

    /// A string field.
    pub fn string(&mut self, name: &str, value: &str) {
        write_string(value, self.name(name));
    }

    /// An integer field.
    pub fn int(&mut self, name: &str, value: i64) {
        write_int(value, self.name(name));
    }

    /// A field with text that is JSON already.
    pub fn raw(&mut self, name: &str, value: &str) {
        self.name(name).extend_from_slice(value.as_bytes());
    }

    /// Ends the object.
    pub fn close(self) {
        self.out.push(b'}');
    }
}

/// Appends an integer.
pub(crate) fn write_int(value: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends a JSON string: quotes, backslashes and control characters are escaped, everything else is UTF-8.
pub(crate) fn write_string(value: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    if value.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        out.extend_from_slice(value.as_bytes());
    } else {
        for byte in value.bytes() {
            match byte {
                b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
                b'\t' => out.extend_from_slice(b"\\t"),
                0..0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
                _ => out.push(byte),
            }
        }
    }
    out.push(b'"');
}

/// Appends `minor` / 10^`scale` as a decimal; without `all`, zeros at the end of the fraction are left out.
pub(crate) fn write_decimal(minor: i128, scale: u32, all: bool, out: &mut Vec<u8>) {
    if minor < 0 {
        out.push(b'-');
    }
    let unit = 10u128.pow(scale);
    let (whole, fraction) = (minor.unsigned_abs() / unit, minor.unsigned_abs() % unit);
    match u64::try_from(whole) {
        Ok(whole) => out.extend_from_slice(itoa::Buffer::new().format(whole).as_bytes()),
        Err(_) => out.extend_from_slice(whole.to_string().as_bytes()),
    }
    let dot = out.len();
    out.push(b'.');
    for place in (0..scale).rev() {
        out.push(b'0' + (fraction / 10u128.pow(place) % 10) as u8);
    }
    if !all {
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
    if out.len() == dot + 1 {
        out.pop();
    }
}

/// Appends `a / b` to 12 decimals, half away from zero; nothing (null) over zero.
pub(crate) fn write_ratio(a: i128, b: i128, out: &mut Vec<u8>) {
    const SCALE: u32 = 12;
    if b != 0 {
        write_decimal(rounded(a * 10i128.pow(SCALE), b), SCALE, true, out);
    }
}

/// `a / b` as an integer, half away from zero; `b` is not 0.
pub(crate) fn rounded(a: i128, b: i128) -> i128 {
    let half = b.abs() / 2;
    let away = if a < 0 { a - half } else { a + half };
    away / b
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(minor: i128, scale: u32, all: bool) -> String {
        let mut out = Vec::new();
        write_decimal(minor, scale, all, &mut out);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn decimals() {
        assert_eq!([written(-5, 2, true), written(-5, 2, false)], ["-0.05", "-0.05"]);
        assert_eq!([written(123_450, 3, true), written(123_450, 3, false)], ["123.450", "123.45"]);
        assert_eq!([written(60_000, 2, true), written(60_000, 2, false)], ["600.00", "600"]);
        assert_eq!(written(0, 2, false), "0");
    }

    #[test]
    fn ratios_round_half_away_from_zero() {
        let ratio = |a, b| {
            let mut out = Vec::new();
            write_ratio(a, b, &mut out);
            String::from_utf8(out).expect("ASCII")
        };
        assert_eq!(ratio(1, 3), "0.333333333333");
        assert_eq!(ratio(-2, 3), "-0.666666666667");
        assert_eq!(ratio(1, 2_000_000_000_000), "0.000000000001");
        assert_eq!(ratio(-1, 2_000_000_000_000), "-0.000000000001");
        assert_eq!(ratio(1, 0), "");
        assert_eq!((rounded(5, 10), rounded(-5, 10), rounded(4, -10), rounded(7, 3)), (1, -1, 0, 2));
    }

    #[test]
    fn objects_are_json() {
        let mut out = Vec::new();
        let mut object = JsonObject::open(&mut out, true);
        object.string("a", "say \"hi\"\t\u{1}é");
        object.int("b", -3);
        object.raw("c", "[1]");
        object.close();
        let value: serde_json::Value = serde_json::from_slice(&out).expect("valid JSON");
        assert_eq!(value, serde_json::json!({"a": "say \"hi\"\t\u{1}é", "b": -3, "c": [1]}));
    }
}
