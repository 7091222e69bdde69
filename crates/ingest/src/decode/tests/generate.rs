//! Random records: valid ones in every disguise that JSON allows, nearly valid ones, and mutilated ones.

use schema::{Contract, Field, FieldType};

/// SplitMix64: a seed gives the same records everywhere.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// True once in `n` times.
    pub(super) fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(super) fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }

    pub(super) fn digits(&mut self, n: usize) -> String {
        (0..n).map(|_| char::from(b'0' + self.below(10) as u8)).collect()
    }
}

/// A record for `contract`: mostly good, sometimes bad on purpose or by mutation.
pub(super) fn json_record(random: &mut Random, contract: &Contract) -> Vec<u8> {
    let dirt = if random.once_in(3) { 12 } else { 400 };
    let mut record = String::new();
    white(random, &mut record, dirt);
    object(random, &contract.fields, dirt, &mut record);
    white(random, &mut record, dirt);
    let mut bytes = record.into_bytes();
    if random.once_in(4) {
        mutate(random, &mut bytes);
    }
    bytes
}

/// An object of these fields. `dirt` is how rarely something unusual happens.
fn object(random: &mut Random, fields: &[Field], dirt: usize, out: &mut String) {
    let mut members: Vec<Option<&Field>> = fields.iter().map(Some).collect();
    if random.once_in(3) {
        members.insert(random.below(members.len() + 1), None);
    }
    if random.once_in(dirt) {
        let n = random.below(members.len());
        members.swap(0, n);
    }
    if random.once_in(dirt) {
        members.remove(random.below(members.len()));
    }
    if random.once_in(dirt) {
        members.push(members[random.below(members.len())]);
    }
    if random.once_in(dirt * 20) {
        members.extend([None; 40]);
    }
    out.push('{');
    for (i, member) in members.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        white(random, out, dirt);
        match member {
            Some(field) => {
                let names: Vec<&str> = field.wire_names().collect();
                text(random, random_name(i, &names), dirt, out);
                colon(random, dirt, out);
                value(random, field, dirt, out);
            }
            None => {
                let name = format!("x{}", random.below(if members.len() > 20 { 3000 } else { 6 }));
                text(random, &name, dirt, out);
                colon(random, dirt, out);
                anything(random, 0, out);
            }
        }
        white(random, out, dirt);
    }
    out.push('}');

    /// The same alias for most records, so that an order can be learned.
    fn random_name<'a>(i: usize, names: &[&'a str]) -> &'a str {
        names[(i * 7 + 1) % names.len()]
    }
}

fn colon(random: &mut Random, dirt: usize, out: &mut String) {
    white(random, out, dirt);
    out.push(':');
    white(random, out, dirt);
}

fn white(random: &mut Random, out: &mut String, dirt: usize) {
    while random.once_in(dirt) {
        out.push_str(random.pick(&[" ", "\t", "\r", "\n", "  "]));
    }
}

/// A quoted text, some of its characters as escapes.
fn text(random: &mut Random, text: &str, dirt: usize, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            _ if random.once_in(dirt * 4) => {
                let mut units = [0; 2];
                c.encode_utf16(&mut units).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04X}")));
            }
            c => out.push(c),
        }
    }
    if random.once_in(dirt * 8) {
        out.push_str(random.pick(&[
            "\\ud83d\\ude00",
            "\\ud800",
            "\\udc00",
            "\\u0000",
            "\\x",
            "\t",
            "\u{7f}",
            "\\/\\b\\f\\r\\t",
        ]));
    }
    out.push('"');
}

fn value(random: &mut Random, field: &Field, dirt: usize, out: &mut String) {
    if random.once_in(dirt * 2) {
        return anything(random, 0, out);
    }
    match &field.kind {
        FieldType::String if field.accepts_integer && random.once_in(3) => {
            let n = random.next() % 1_000_000;
            out.push_str(&n.to_string());
        }
        FieldType::String if field.name == "kind" => {
            text(random, random_word(random.0, &["ORDER", "RETURN", "ORDER", "RETURN", "REFUND"]), dirt, out);
        }
        FieldType::String => {
            let words = [
                "P501",
                "",
                "WHITE HANGING HEART",
                "Crème brûlée",
                "日本",
                "a\"b\\c\nd",
                "😀",
                "T-0123456789abcdef0123456789abcdef",
            ];
            text(random, random_word(random.0, &words), dirt, out);
        }
        FieldType::Timestamp => {
            let time = timestamp(random, dirt);
            text(random, &time, dirt, out);
        }
        FieldType::Int | FieldType::BigInt => out.push_str(&number(random, 0, dirt)),
        FieldType::Decimal { scale, .. } => out.push_str(&number(random, scale.unsigned_abs().into(), dirt)),
        FieldType::List(fields) => {
            out.push('[');
            for i in 0..random.below(4) {
                if i > 0 {
                    out.push(',');
                }
                white(random, out, dirt);
                object(random, fields, dirt * 4, out);
                white(random, out, dirt);
            }
            out.push(']');
        }
        _ => anything(random, 0, out),
    }
}

fn random_word<'a>(seed: u64, words: &[&'a str]) -> &'a str {
    words[(seed >> 7) as usize % words.len()]
}

/// A number that mostly fits a scale, in one of its many spellings.
pub(super) fn number(random: &mut Random, scale: usize, dirt: usize) -> String {
    let sign = if random.once_in(12) { "-" } else { "" };
    let whole = match random.below(if dirt < 100 { 12 } else { 40 }) {
        0 => "0".to_owned(),
        1 => random.pick(&["2147483647", "2147483648", "9223372036854775807", "9223372036854775808"]).to_owned(),
        2 => {
            let n = random.pick(&[&15, &16, &17, &18, &19, &20, &38, &39, &260, &400]);
            format!("{}{}", 1 + random.below(9), random.digits(n - 1))
        }
        _ => {
            let n = random.below(5);
            format!("{}{}", 1 + random.below(9), random.digits(n))
        }
    };
    let fraction = match random.below(if dirt < 100 { 6 } else { 3 }) {
        0 => String::new(),
        1 | 2 => {
            let n = random.below(scale + 1);
            random.digits(n)
        }
        3 => {
            let n = random.below(30);
            format!("{}{}", random.digits(scale), "0".repeat(n))
        }
        4 => random.digits(scale + 1),
        _ => "0".repeat(1 + random.below(300)),
    };
    let point = if fraction.is_empty() { "" } else { "." };
    let exponent = match random.once_in(dirt) {
        false => String::new(),
        true => {
            let sign = random.pick(&["", "+", "-"]);
            let n = random.pick(&["0", "1", "2", "3", "02", "20", "400", "99999999999999999999999"]);
            format!("{}{sign}{n}", random.pick(&["e", "E"]))
        }
    };
    format!("{sign}{whole}{point}{fraction}{exponent}")
}

/// A time in late 2023, rarely at the edge of what is allowed.
pub(super) fn timestamp(random: &mut Random, dirt: usize) -> String {
    let days = if random.once_in(dirt) { 31 } else { 30 };
    let (month, day) = (10 + random.below(3), 1 + random.below(days));
    let year =
        if random.once_in(dirt * 2) { random.pick(&["2024", "0000", "0001", "9999", "1969", "2o23"]) } else { "2023" };
    let (hour, minute, second) = (random.below(24), random.below(60), random.below(60));
    let middle = random.pick(&[" ", " ", "T", "t"]);
    let mut time = format!("{year}-{month:02}-{day:02}{middle}{hour:02}:{minute:02}:{second:02}");
    if random.once_in(5) {
        let n = random.below(8);
        time.push_str(&format!(".{}{}", random.digits(n), "0".repeat(random.below(4))));
    }
    time.push_str(random.pick(&["", "", "", "Z", "z", "+05:30", "-00:15", "+23:59"]));
    if random.once_in(dirt) {
        time = random
            .pick(&[
                "2024-01-01 00:00:00",
                "2024-01-02 00:00:00",
                "2024-01-02 00:00:00.000001",
                "2023-12-31 23:59:60",
                "",
                "2023-11-24",
                "04/19/19 08:46",
                "2023-11-24 10:00:00+24:00",
                "yesterday, at around 10",
            ])
            .to_owned();
    }
    time
}

/// Any JSON value.
fn anything(random: &mut Random, depth: usize, out: &mut String) {
    match random.below(if depth > 3 { 6 } else { 9 }) {
        0 => out.push_str("null"),
        1 => out.push_str(random.pick(&["true", "false"])),
        2 => text(random, "gold", 20, out),
        3 | 4 => out.push_str(&number(random, 2, 12)),
        5 => out.push_str(random.pick(&["{}", "[]", "\"\"", "-0", "0.0"])),
        6 | 7 => {
            out.push('[');
            for i in 0..random.below(3) {
                out.push_str(if i > 0 { "," } else { "" });
                anything(random, depth + 1, out);
            }
            out.push(']');
        }
        _ => {
            out.push('{');
            for i in 0..random.below(3) {
                out.push_str(if i > 0 { "," } else { "" });
                let name = format!("y{}", random.below(9));
                text(random, &name, 20, out);
                out.push(':');
                anything(random, depth + 1, out);
            }
            out.push('}');
        }
    }
}

/// Spoils some bytes.
pub(super) fn mutate(random: &mut Random, bytes: &mut Vec<u8>) {
    const TOKENS: &[&str] = &[
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\",
        "null",
        "true",
        "1",
        "-",
        ".",
        "e9",
        "0",
        " ",
        "\n",
        "\u{0}",
        "\u{e9}",
        "\u{feff}",
        "\"quantity\":1,",
        "\\u00",
        "{\"a\":1}",
        ",,",
        "//",
    ];
    for _ in 0..1 + random.below(3) {
        let at = random.below(bytes.len() + 1);
        let end = (at + random.below(9)).min(bytes.len());
        match random.below(7) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            3 => {
                let token = random.pick(TOKENS);
                bytes.splice(at..at, token.bytes());
            }
            4 => {
                let token = random.pick(TOKENS);
                bytes.splice(at..end, token.bytes());
            }
            5 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            _ if at < bytes.len() => bytes[at] = random.next() as u8,
            _ => {}
        }
    }
}
