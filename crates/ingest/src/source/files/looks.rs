//! Two looks at a file, some time apart: one that differs between them is still being written.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::place::Found;

/// Files that were seen once and have to look the same at a second look.
pub(super) struct Looks {
    settle: Duration,
    seen: HashMap<String, (Found, Instant)>,
}

impl Looks {
    /// Files must look the same for `settle`; zero: one look is enough.
    pub fn new(settle: Duration) -> Self {
        Self { settle, seen: HashMap::new() }
    }

    /// Whether a file looked the same for long enough.
    pub fn is_settled(&mut self, found: &Found) -> bool {
        if self.settle.is_zero() {
            return true;
        }
        match self.seen.get(&found.path) {
            Some((seen, since)) if seen == found => since.elapsed() >= self.settle,
            _ => {
                self.begin(found);
                false
            }
        }
    }

    /// Begins to wait for a file to stay as it is.
    pub fn begin(&mut self, found: &Found) {
        self.seen.insert(found.path.clone(), (found.clone(), Instant::now()));
    }

    /// The file was dealt with.
    pub fn forget(&mut self, path: &str) {
        self.seen.remove(path);
    }
}
