//! Landing files cut in pieces, and pieces in another order.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::support::files_in;

/// Pieces that a stream's files are cut into.
pub const PIECES: usize = 20;

/// The path of a piece.
pub type Piece = PathBuf;

/// Cuts the lines of the files at `place` (one file, or all of a folder in order of their names) into [`PIECES`] files of
/// about as many lines each, in `folder`, named in order. Each piece of CSV begins with the header.
pub fn pieces(place: &Path, folder: &Path) -> Vec<Piece> {
    let files = if place.is_dir() { files_in(place) } else { vec![place.to_owned()] };
    let is_csv = files[0].to_string_lossy().contains(".csv");
    let mut header = "";
    let texts: Vec<String> = files.iter().map(|file| text(file)).collect();
    let mut lines: Vec<&str> = Vec::new();
    for text in &texts {
        let mut of_file = text.split_inclusive('\n');
        if is_csv {
            header = of_file.next().expect("a header");
        }
        lines.extend(of_file);
    }
    fs::create_dir_all(folder).expect("a folder for the pieces");
    let write = |piece: usize| {
        let path = folder.join(format!("piece_{piece:02}.{}", if is_csv { "csv" } else { "ndjson" }));
        let own = &lines[lines.len() * piece / PIECES..lines.len() * (piece + 1) / PIECES];
        fs::write(&path, format!("{header}{}", own.concat())).expect("the piece is written");
        path
    };
    (0..PIECES).map(write).collect()
}

/// The text of a file, plain or gzip; its last line is ended.
fn text(file: &Path) -> String {
    let mut bytes = fs::read(file).expect("the file is read");
    if file.extension().is_some_and(|extension| extension == "gz") {
        let mut plain = Vec::new();
        flate2::read::MultiGzDecoder::new(bytes.as_slice()).read_to_end(&mut plain).expect("gzip");
        bytes = plain;
    }
    if bytes.last() != Some(&b'\n') {
        bytes.push(b'\n');
    }
    String::from_utf8(bytes).expect("UTF-8")
}

/// The items in an order that no name has: every `step`-th, round and round.
pub fn shuffled<T: Clone>(items: &[T], step: usize) -> Vec<T> {
    let mut rest: Vec<T> = items.to_vec();
    let mut order = Vec::new();
    let mut at = 0;
    while !rest.is_empty() {
        at = (at + step) % rest.len();
        order.push(rest.remove(at));
    }
    order
}
