//! Ports that stay free while their server is down.

use std::fs::{File, OpenOptions};
use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the range from which systems give ports to connections, so that none of these takes the port of a server that is
/// to come back.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// A loopback port that no other test of this machine gets: a locked file stands for it.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    /// A free port.
    pub fn reserve() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let folder = std::env::temp_dir().join("smelt-test-ports");
        std::fs::create_dir_all(&folder).expect("the temporary folder can be written to");
        // Processes start at places of their own, so that they seldom try the same port.
        let start = std::process::id().wrapping_mul(97);
        for _ in 0..COUNT {
            let place = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed).into());
            let number = FIRST + u16::try_from(place % u32::from(COUNT)).expect("less than COUNT");
            let file =
                OpenOptions::new().create(true).truncate(false).write(true).open(folder.join(number.to_string()));
            let lock = file.expect("a file of the temporary folder");
            if lock.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", number)).is_ok() {
                return Self { number, _lock: lock };
            }
        }
        panic!("no port is free from {FIRST} on");
    }

    pub fn number(&self) -> u16 {
        self.number
    }

    /// `127.0.0.1:<port>`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.number)
    }
}
