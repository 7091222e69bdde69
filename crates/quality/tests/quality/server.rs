//! A webhook's other end: an HTTP server on a free port that answers as it is told and remembers what it was sent.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// How a request is answered.
#[derive(Debug, Clone, Copy)]
pub enum Reply {
    /// With this status.
    Status(u16),
    /// Not at all; the connection stays open.
    Hang,
}

/// A request: its path and body, and the status that it was answered with.
#[derive(Debug, Clone)]
pub struct Request {
    pub path: String,
    pub body: String,
    pub status: Option<u16>,
}

#[derive(Default)]
struct State {
    replies: VecDeque<Reply>,
    requests: Vec<Request>,
    hanging: Vec<TcpStream>,
}

/// A server that runs until the test's process ends.
#[derive(Clone)]
pub struct Server {
    address: String,
    state: Arc<Mutex<State>>,
}

impl Server {
    /// Answers in this order, then 200.
    pub fn start(replies: &[Reply]) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let state = Arc::new(Mutex::new(State { replies: replies.iter().copied().collect(), ..State::default() }));
        let server = Server { address, state: Arc::clone(&state) };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&state);
                std::thread::spawn(move || answer(stream, &state));
            }
        });
        server
    }

    /// A URL of the server.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    /// Answers further requests in this order.
    pub fn reply(&self, replies: &[Reply]) {
        lock(&self.state).replies.extend(replies);
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.state).requests.clone()
    }

    /// Bodies of the requests to a path that were answered with 200.
    pub fn accepted(&self, path: &str) -> Vec<String> {
        let requests = self.requests().into_iter();
        requests.filter(|request| request.path == path && request.status == Some(200)).map(|r| r.body).collect()
    }
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer(mut stream: TcpStream, state: &Mutex<State>) {
    let Some((path, body)) = read(&mut stream) else { return };
    let mut state = lock(state);
    let reply = state.replies.pop_front().unwrap_or(Reply::Status(200));
    let status = match reply {
        Reply::Status(status) => Some(status),
        Reply::Hang => None,
    };
    state.requests.push(Request { path, body, status });
    match status {
        Some(status) => {
            let _ = write!(stream, "HTTP/1.1 {status} X\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
        }
        None => state.hanging.push(stream),
    }
}

/// The path and the body of a request.
fn read(stream: &mut TcpStream) -> Option<(String, String)> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
            });
            if body.len() >= length.unwrap_or(0) {
                return Some((head.split(' ').nth(1)?.to_owned(), body.to_owned()));
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(n) => bytes.extend_from_slice(&buffer[..n]),
        }
    }
}
