//! Graceful stop: the first SIGINT or SIGTERM cancels, a second one ends the process at once.
//!
//! Both are safe: what is not committed is not acknowledged, and is read again by the next run.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The exit code of a process that a second signal ended.
const INTERRUPTED: i32 = 130;

/// Returns a token that the first SIGINT or SIGTERM cancels.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn token() -> std::io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let cancelled = token.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            if cancelled.is_cancelled() {
                std::process::exit(INTERRUPTED);
            }
            tracing::info!("stopping: committing what is there (a second signal stops at once)");
            cancelled.cancel();
        }
    });
    Ok(token)
}
