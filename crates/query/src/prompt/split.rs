//! Where statements end: at a `;` that is not inside quotes or a comment.

/// The statements of a text, trimmed and without their `;`, and whether the last of them has its end.
///
/// Empty statements and comments alone are left out. The last statement counts as ended only by a `;`.
pub fn statements(text: &str) -> (Vec<&str>, bool) {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let (mut start, mut at) = (0, 0);
    while at < bytes.len() {
        match bytes[at] {
            b';' => {
                found.push(text[start..at].trim());
                at += 1;
                start = at;
            }
            quote @ (b'\'' | b'"' | b'`') => at = after(bytes, at + 1, &[quote]),
            b'-' if bytes[at..].starts_with(b"--") => at = after(bytes, at, b"\n"),
            b'/' if bytes[at..].starts_with(b"/*") => at = after(bytes, at + 2, b"*/"),
            _ => at += 1,
        }
    }
    let rest = text[start..].trim();
    let complete = is_blank(rest);
    if !complete {
        found.push(rest);
    }
    found.retain(|statement| !is_blank(statement));
    (found, complete)
}

/// The place after the next `end`, or the end of the text. (A doubled quote closes and opens again: the same to us.)
fn after(bytes: &[u8], from: usize, end: &[u8]) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    rest.windows(end.len()).position(|window| window == end).map_or(bytes.len(), |place| from + place + end.len())
}

/// Whether there is nothing but blanks and comments.
fn is_blank(statement: &str) -> bool {
    let mut rest = statement.trim_start();
    loop {
        rest = if let Some(comment) = rest.strip_prefix("--") {
            comment.split_once('\n').map_or("", |(_, rest)| rest)
        } else if let Some(comment) = rest.strip_prefix("/*") {
            // An open comment is not blank: its end is still to come.
            let Some((_, rest)) = comment.split_once("*/") else { return false };
            rest
        } else {
            return rest.is_empty();
        }
        .trim_start();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str], complete: bool) {
        assert_eq!(statements(text), (expected.to_vec(), complete), "{text:?}");
    }

    #[test]
    fn statements_end_outside_quotes_and_comments() {
        check("SELECT 1; SELECT 2;", &["SELECT 1", "SELECT 2"], true);
        check("SELECT 1; SELECT 2", &["SELECT 1", "SELECT 2"], false);
        check("SELECT ';' AS \"a;b\";", &["SELECT ';' AS \"a;b\""], true);
        check("SELECT 'it''s; fine';", &["SELECT 'it''s; fine'"], true);
        check("SELECT 'open; ", &["SELECT 'open;"], false);
        check("SELECT 1 -- no; end\n;", &["SELECT 1 -- no; end"], true);
        check("/* a; b */ SELECT 1;", &["/* a; b */ SELECT 1"], true);
        check("SELECT 1; -- done", &["SELECT 1"], true);
        check("/* open", &["/* open"], false);
        check("", &[], true);
        check(" ;; ", &[], true);
        check("SELECT 'ü;ß';", &["SELECT 'ü;ß'"], true);
    }
}
