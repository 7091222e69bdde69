//! An HTTP proxy before a server that delays, refuses and cuts single requests, and loses answers.
//!
//! ```no_run
//! use servers::Minio;
//! use servers::proxy::{Effect, Fault, Proxy};
//!
//! let Some(minio) = Minio::start() else { return };
//! let proxy = Proxy::start(&minio.address());
//! // The next commit lands, and nobody is told.
//! proxy.add(Fault::new("PUT", "_delta_log/", Effect::LoseReply));
//! ```

mod connection;
mod fault;
mod http1;

pub use fault::{Effect, Fault, Flaky, Pause};

use std::collections::HashMap;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use fault::Plan;

/// A proxy before one server. It ends when it is dropped, and its connections with it.
#[derive(Debug)]
pub struct Proxy {
    address: String,
    state: Arc<State>,
    accepting: Option<JoinHandle<()>>,
}

/// A request that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its method.
    pub method: String,
    /// Its path and query.
    pub path: String,
    /// The server's status; `None` where it was not forwarded.
    pub status: Option<u16>,
}

#[derive(Debug)]
struct State {
    target: String,
    plan: Mutex<Plan>,
    seen: Mutex<Vec<Seen>>,
    /// Open connections by their number.
    clients: Mutex<HashMap<usize, TcpStream>>,
    ended: AtomicBool,
}

impl Proxy {
    /// A proxy on a free port before `target`, a host and port, without faults.
    pub fn start(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let state = Arc::new(State {
            target: target.to_owned(),
            plan: Mutex::default(),
            seen: Mutex::default(),
            clients: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        let accepting = std::thread::spawn({
            let state = Arc::clone(&state);
            move || accept(&listener, &state)
        });
        Self { address, state, accepting: Some(accepting) }
    }

    /// `http://127.0.0.1:<port>`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Adds a fault. Of several that fit a request the first that was added is taken.
    pub fn add(&self, fault: Fault) {
        self.state.plan().add(fault);
    }

    /// From now on requests fail by chance, as a seed has it; faults that were added come first.
    pub fn make_flaky(&self, flaky: Flaky) {
        self.state.plan().make_flaky(flaky);
    }

    /// Removes all faults; requests that are held go on.
    pub fn clear(&self) {
        self.state.plan().clear();
    }

    /// How many requests met a fault.
    pub fn fired(&self) -> usize {
        self.state.plan().fired()
    }

    /// The requests since the last call, in the order in which they were answered.
    pub fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.state.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, seen: Seen) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<usize, TcpStream>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn accept(listener: &TcpListener, state: &Arc<State>) {
    for (number, client) in listener.incoming().enumerate() {
        let mut clients = state.clients();
        if state.ended.load(Ordering::Acquire) {
            return;
        }
        let Ok(client) = client else { continue };
        let Ok(handle) = client.try_clone() else { continue };
        clients.insert(number, handle);
        drop(clients);
        let state = Arc::clone(state);
        // It ends when its client hangs up or the proxy does.
        std::thread::spawn(move || {
            connection::serve(client, &state);
            state.clients().remove(&number);
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::Release);
        self.clear();
        for client in self.state.clients().values() {
            // Fails where the client hung up before.
            let _ = client.shutdown(Shutdown::Both);
        }
        // Wakes the thread that waits for the next client.
        let _ = TcpStream::connect(&self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}
