//! How the bytes of one landing file are wrapped: its compression and its format, by its name.

use std::io::{self, BufReader, Read};

use flate2::read::MultiGzDecoder;
use schema::Format;

/// The compression of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// By the name, or by the first bytes where the name says nothing: no text begins with either mark.
    pub fn of(path: &str, first: &[u8]) -> Self {
        let name = path.to_ascii_lowercase();
        if name.ends_with(".gz") || first.starts_with(&[0x1f, 0x8b]) {
            Self::Gzip
        } else if name.ends_with(".zst") || first.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            Self::Zstd
        } else {
            Self::None
        }
    }

    /// Reads the text behind `raw`. Frames and members that follow each other are read as one text.
    pub fn decode<R: Read + Send + 'static>(self, raw: R) -> io::Result<Box<dyn Read + Send>> {
        Ok(match self {
            Self::None => Box::new(raw),
            Self::Gzip => Box::new(MultiGzDecoder::new(BufReader::with_capacity(256 << 10, raw))),
            Self::Zstd => Box::new(zstd::stream::read::Decoder::new(raw)?),
        })
    }

    /// What an error of [`Compression::decode`]'s reader means to a person.
    pub fn explain(self, error: &io::Error) -> String {
        match (self, error.kind()) {
            (Self::Gzip, io::ErrorKind::UnexpectedEof) => "gzip data is truncated".to_owned(),
            (Self::Gzip, io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => {
                format!("is not gzip data: {error}")
            }
            (Self::Zstd, io::ErrorKind::UnexpectedEof) => "zstd data is truncated".to_owned(),
            (Self::Zstd, io::ErrorKind::Other) => format!("is not zstd data: {error}"),
            _ => super::place::plain(error),
        }
    }
}

/// The format that the name asks for, else the contract's.
pub(crate) fn format_of(path: &str, contract: &Format) -> Format {
    match stem(path).rsplit_once('.').map(|(_, extension)| extension) {
        Some("csv") => match contract {
            Format::Csv { .. } => *contract,
            Format::Ndjson => Format::Csv { delimiter: None },
        },
        Some("ndjson" | "jsonl" | "json") => Format::Ndjson,
        _ => *contract,
    }
}

/// Whether a name looks like that of a data file: the extension of a format or a compression.
pub(crate) fn data_extension(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let plain = stem(name);
    plain.len() != lower.len()
        || matches!(plain.rsplit_once('.'), Some((_, "csv" | "tsv" | "ndjson" | "jsonl" | "json")))
}

/// The name in lower case, without the extension of a compression.
fn stem(path: &str) -> String {
    let lower = path.to_ascii_lowercase();
    lower.strip_suffix(".gz").or_else(|| lower.strip_suffix(".zst")).map(str::to_owned).unwrap_or(lower)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_says_format_and_compression() {
        let csv = Format::Csv { delimiter: Some(b';') };
        for (path, contract, format, compression) in [
            ("a.csv", Format::Ndjson, Format::Csv { delimiter: None }, Compression::None),
            ("a.CSV.gz", csv, csv, Compression::Gzip),
            ("a.jsonl.zst", csv, Format::Ndjson, Compression::Zstd),
            ("a.txt", csv, csv, Compression::None),
            ("noext", Format::Ndjson, Format::Ndjson, Compression::None),
        ] {
            assert_eq!((format_of(path, &contract), Compression::of(path, b"abcd")), (format, compression), "{path}");
        }
        assert_eq!(Compression::of("export.csv", &[0x1f, 0x8b, 8, 0]), Compression::Gzip, "by its first bytes");
    }

    #[test]
    fn names_of_data_files_are_known() {
        for (name, is) in [("a.csv", true), ("a.gz", true), ("a.json.zst", true), ("2024-01.d", false), ("in", false)] {
            assert_eq!(data_extension(name), is, "{name}");
        }
    }
}
