//! A lock that saves work: only one run at a time loads the landing files of a stream on a local lake.
//!
//! Nothing rests on it (ENGINE.md, rule 6): two runs that both load the same files are kept apart by the commit check,
//! but one of them would have worked for nothing. The operating system frees the lock when its process ends, however it
//! ends. Lakes on object storage have no such lock.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::time::Duration;

use store::Lake;
use tokio::time::Instant;

use crate::{Clock, IngestError};

/// A held lock; dropping it frees it.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: Option<File>,
}

/// Takes the lock of a stream, waiting up to `wait`. A lake that cannot hold locks gives an empty one.
///
/// # Errors
/// [`IngestError::Busy`], which names the run that has it.
pub(crate) async fn take(lake: &Lake, stream: &str, wait: Duration, clock: &Clock) -> Result<Lock, IngestError> {
    let Some(mut file) = lake.local_path().and_then(|root| open(root, stream)) else {
        return Ok(Lock { _file: None });
    };
    let until = Instant::now() + wait;
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => {
                sign(&mut file, clock);
                return Ok(Lock { _file: Some(file) });
            }
            // A file system without locks: go on without.
            Err(TryLockError::Error(_)) => return Ok(Lock { _file: None }),
            Err(TryLockError::WouldBlock) => {}
        }
        let holder = holder(&mut file);
        if Instant::now() >= until {
            return Err(IngestError::Busy { stream: stream.to_owned(), holder });
        }
        if !told {
            tracing::info!(stream, holder, "another run is loading this stream; waiting for it");
            told = true;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn open(root: PathBuf, stream: &str) -> Option<File> {
    let folder = root.join("_smelt").join("locks");
    std::fs::create_dir_all(&folder).ok()?;
    // The content stays until the lock is held: it names the holder to those that wait.
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(folder.join(format!("ingest-{stream}")))
        .ok()
}

fn sign(file: &mut File, clock: &Clock) {
    let text = format!("process {} since {}", std::process::id(), clock().format("%Y-%m-%dT%H:%M:%SZ"));
    // The name is for people only.
    let _ = file.set_len(0).and_then(|()| file.seek(SeekFrom::Start(0))).and_then(|_| file.write_all(text.as_bytes()));
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_string(&mut text));
    if read.is_err() || text.is_empty() { "an unknown process".to_owned() } else { text }
}
