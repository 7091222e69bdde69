//! The one error type of the generator.

use std::path::PathBuf;

/// What can go wrong while events are made or written.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// A setting that no simulation can follow.
    #[error("simulation setting {key}: {reason}")]
    Config {
        /// Name of the setting, as in [`SimConfig`](crate::SimConfig).
        key: &'static str,
        /// What was expected and what came.
        reason: String,
    },
    /// A file or folder that could not be written.
    #[error("cannot write {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
}
