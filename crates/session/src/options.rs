//! Limits of sessions.

use std::path::PathBuf;
use std::time::Duration;

/// The setting that limits memory, as error messages name it.
pub const MEMORY_SETTING: &str = "limits.memory";

/// The setting that limits a query's time, as error messages name it.
pub const TIME_LIMIT_SETTING: &str = "limits.query_time";

/// Limits that all sessions of one factory share.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// Bytes that all running queries may hold together; sorts and aggregations beyond their share spill to disk.
    pub memory_bytes: usize,
    /// Threads that one query uses: the number of partitions in which it runs.
    pub threads: usize,
    /// Where spilled data goes; `None` for the system's temporary directory.
    pub temp_dir: Option<PathBuf>,
    /// How long one query may run; `None` for no limit.
    pub time_limit: Option<Duration>,
}

impl Default for SessionOptions {
    /// 1 GiB, as many threads as the machine has, the system's temporary directory, no time limit.
    fn default() -> Self {
        Self {
            memory_bytes: 1 << 30,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            temp_dir: None,
            time_limit: None,
        }
    }
}
