//! Files that are there only when they are whole.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::error::SimError;

/// A file under way. It has the ending `.part`, which no reader of a landing folder takes, until it is finished.
pub(crate) struct Output {
    path: PathBuf,
    part: PathBuf,
    sink: Sink,
}

enum Sink {
    Plain(BufWriter<File>),
    Gzip(Box<GzEncoder<BufWriter<File>>>),
}

impl Output {
    /// Begins a file; with `gzip` it is compressed and its name ends in `.gz`.
    pub fn create(path: &Path, gzip: bool) -> Result<Output, SimError> {
        let path = if gzip { with_ending(path, "gz") } else { path.to_owned() };
        let part = with_ending(&path, "part");
        let file = File::create(&part).map_err(|source| SimError::Io { path: part.clone(), source })?;
        let plain = BufWriter::with_capacity(1 << 18, file);
        let sink =
            if gzip { Sink::Gzip(Box::new(GzEncoder::new(plain, Compression::default()))) } else { Sink::Plain(plain) };
        Ok(Output { path, part, sink })
    }

    /// Appends bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), SimError> {
        let written = match &mut self.sink {
            Sink::Plain(sink) => sink.write_all(bytes),
            Sink::Gzip(sink) => sink.write_all(bytes),
        };
        written.map_err(|source| SimError::Io { path: self.part.clone(), source })
    }

    /// Ends the file and gives it its name.
    pub fn finish(self) -> Result<(), SimError> {
        let flushed = match self.sink {
            Sink::Plain(mut sink) => sink.flush(),
            Sink::Gzip(sink) => sink.finish().and_then(|mut inner| inner.flush()),
        };
        let finished = flushed.and_then(|()| fs::rename(&self.part, &self.path));
        finished.map_err(|source| SimError::Io { path: self.path, source })
    }
}

/// Writes a whole file.
pub(crate) fn write_file(path: &Path, gzip: bool, bytes: &[u8]) -> Result<(), SimError> {
    let mut out = Output::create(path, gzip)?;
    out.write(bytes)?;
    out.finish()
}

/// Makes a folder and those above it.
pub(crate) fn make_folder(path: &Path) -> Result<(), SimError> {
    fs::create_dir_all(path).map_err(|source| SimError::Io { path: path.to_owned(), source })
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    PathBuf::from(format!("{}.{ending}", path.display()))
}
