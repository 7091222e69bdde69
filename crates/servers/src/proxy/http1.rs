//! As much of HTTP/1.1 as a proxy needs: where a message ends.

use std::io::{self, BufRead, Read};

/// The longest head of a message.
const HEAD_BYTES: u64 = 1 << 20;

/// A request or an answer, as it was sent.
#[derive(Debug)]
pub(super) struct Message {
    /// Start line and headers, with the empty line behind them.
    pub head: Vec<u8>,
    /// The body, in chunks where it was sent in chunks.
    pub body: Vec<u8>,
}

impl Message {
    /// Reads a request; `None` when the client hung up before.
    pub fn request(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let head = head(from)?;
        if head.is_empty() {
            return Ok(None);
        }
        let body = body(from, &head)?;
        Ok(Some(Self { head, body }))
    }

    /// Reads the answer to a request of a method.
    pub fn answer(from: &mut impl BufRead, method: &str) -> io::Result<Self> {
        let head = head(from)?;
        let status = status(&head)?;
        let bare = method == "HEAD" || matches!(status, 100..=199 | 204 | 304);
        let body = if bare { Vec::new() } else { body(from, &head)? };
        Ok(Self { head, body })
    }

    /// Method and target of a request.
    pub fn target(&self) -> io::Result<(String, String)> {
        let line = start_line(&self.head);
        let mut words = line.split(' ').map(str::to_owned);
        words.next().zip(words.next()).ok_or_else(|| invalid(&line))
    }

    /// The status of an answer.
    pub fn status(&self) -> io::Result<u16> {
        status(&self.head)
    }
}

fn head(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut limited = from.take(HEAD_BYTES);
    while !head.ends_with(b"\r\n\r\n") {
        if limited.read_until(b'\n', &mut head)? == 0 {
            // Nothing at all is a connection that was closed between two messages.
            return if head.is_empty() { Ok(head) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
    }
    Ok(head)
}

fn body(from: &mut impl BufRead, head: &[u8]) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if header(head, "transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        while chunk(from, &mut body)? > 0 {}
        return Ok(body);
    }
    let length = header(head, "content-length").map_or(Ok(0), |length| length.parse().map_err(|_| invalid(&length)))?;
    if from.take(length).read_to_end(&mut body)? as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(body)
}

/// Copies a chunk with its frame, and says how long it is.
fn chunk(from: &mut impl BufRead, to: &mut Vec<u8>) -> io::Result<u64> {
    let start = to.len();
    from.read_until(b'\n', to)?;
    let line = String::from_utf8_lossy(&to[start..]).into_owned();
    let size = line.split(';').next().unwrap_or_default().trim();
    let length = u64::from_str_radix(size, 16).map_err(|_| invalid(&line))?;
    from.take(length).read_to_end(to)?;
    from.read_until(b'\n', to)?;
    Ok(length)
}

fn header(head: &[u8], name: &str) -> Option<String> {
    let text = String::from_utf8_lossy(head);
    let fields = text.lines().skip(1).filter_map(|line| line.split_once(':'));
    fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned()).next()
}

fn status(head: &[u8]) -> io::Result<u16> {
    let line = start_line(head);
    line.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(|| invalid(&line))
}

fn start_line(head: &[u8]) -> String {
    String::from_utf8_lossy(head).lines().next().unwrap_or_default().to_owned()
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not HTTP/1.1: {what:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_end_where_they_say() {
        let mut sent: &[u8] = b"PUT /a?b HTTP/1.1\r\nContent-Length: 3\r\n\r\nxyzGET / HTTP/1.1\r\n\r\n";
        let put = Message::request(&mut sent).expect("whole").expect("one");
        assert_eq!((put.target().expect("a target"), put.body), (("PUT".into(), "/a?b".into()), b"xyz".to_vec()));
        let get = Message::request(&mut sent).expect("whole").expect("one");
        assert_eq!(get.target().expect("a target").0, "GET");
        assert!(Message::request(&mut sent).expect("the end").is_none());
    }

    #[test]
    fn answers_may_be_in_chunks_or_without_a_body() {
        let chunks = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        let mut sent = chunks.as_bytes();
        let answer = Message::answer(&mut sent, "GET").expect("whole");
        assert_eq!((answer.status().expect("a status"), answer.body.len(), sent.len()), (200, 13, 0));
        let mut sent: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n";
        assert_eq!(Message::answer(&mut sent, "HEAD").expect("whole").body, b"");
        let mut cut: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc";
        assert!(Message::answer(&mut cut, "GET").is_err());
    }
}
