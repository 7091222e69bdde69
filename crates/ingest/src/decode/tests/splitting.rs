//! Splitting: the same records however a file is chunked, their lines, and its awkward ends.

use super::generate::Random;
use super::{batch, contract, contract_of};
use crate::decode::{FileEnd, HeaderError, Origin, SplitLimits, Splitter};
use crate::records::{OVERSIZE_KEPT, RawBatch};
use schema::{Contract, Format};

fn origin() -> Origin {
    Origin { source: "files:a.csv".into(), partition: 7, arrived_at: super::NOW }
}

/// All batches of a file pushed in random chunks.
pub(super) fn split(
    contract: &Contract,
    format: Format,
    file: &[u8],
    random: &mut Random,
) -> Result<(Vec<RawBatch>, FileEnd), HeaderError> {
    let limits = SplitLimits { records: 1 + random.below(50), bytes: 1 + random.below(5000) };
    let mut splitter = Splitter::new(contract, format, origin(), limits);
    let (mut batches, mut rest) = (Vec::new(), file);
    let largest = random.pick(&[&1, &7, &1000, &100_000]);
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at((1 + random.below(*largest)).min(rest.len()));
        splitter.push(chunk)?;
        batches.extend(std::iter::from_fn(|| splitter.take()));
        rest = after;
    }
    let end = splitter.finish()?;
    batches.extend(std::iter::from_fn(|| splitter.take()));
    assert_eq!(batches.iter().map(|b| b.len() as u64).sum::<u64>(), end.records);
    Ok((batches, end))
}

/// Records with their lines.
fn records(batches: &[RawBatch]) -> Vec<(i64, String)> {
    let of = |b: &RawBatch| -> Vec<(i64, String)> {
        (0..b.len()).map(|i| (b.offsets[i], String::from_utf8_lossy(b.record(i)).into_owned())).collect()
    };
    batches.iter().flat_map(of).collect()
}

fn check(format: Format, file: &str, wanted: &[(i64, &str)], ended: bool) {
    let contract = contract("pos_stock");
    for seed in 0..20 {
        let (batches, end) = split(&contract, format, file.as_bytes(), &mut Random(seed)).unwrap();
        let found = records(&batches);
        let found: Vec<(i64, &str)> = found.iter().map(|(line, text)| (*line, text.as_str())).collect();
        assert_eq!(found, wanted, "{file:?}");
        assert_eq!(end, FileEnd { ended, records: wanted.len() as u64 }, "{file:?}");
    }
}

const CSV: Format = Format::Csv { delimiter: None };

#[test]
fn lines_of_json() {
    check(Format::Ndjson, "", &[], true);
    check(Format::Ndjson, "{}\n", &[(1, "{}")], true);
    check(Format::Ndjson, "\u{feff}{}\r\n\r\n[1", &[(1, "{}"), (2, ""), (3, "[1")], false);
    check(Format::Ndjson, "\n\n", &[(1, ""), (2, "")], true);
    check(Format::Ndjson, "{\"a\":\"\\\"\n\"}", &[(1, "{\"a\":\"\\\""), (2, "\"}")], false);
}

#[test]
fn rows_of_csv() {
    let head = "product,stock_quantity\n";
    let with = |rest: &str| format!("{head}{rest}");
    check(CSV, head, &[], true);
    check(CSV, "product,stock_quantity", &[], false);
    check(CSV, &with("a,1\r\nb,2"), &[(2, "a,1"), (3, "b,2")], false);
    check(CSV, &with("\"a\nb\",1\n\nc,2\n"), &[(2, "\"a\nb\",1"), (4, ""), (5, "c,2")], true);
    check(CSV, &with("a \"b\",1\nc \"\n,2\n"), &[(2, "a \"b\",1"), (3, "c \""), (4, ",2")], true);
    check(CSV, &with("\"a\"\"\nb\",1\n"), &[(2, "\"a\"\"\nb\",1")], true);
    // A quote that is never closed costs its own line only.
    check(CSV, &with("\"a,1\nb,2\nc,3\n"), &[(2, "\"a,1"), (3, "b,2"), (4, "c,3")], true);
    check(CSV, &with("x,1\n\"a,1"), &[(2, "x,1"), (3, "\"a,1")], false);
    check(CSV, &format!("\u{feff}{head}a,1\n"), &[(2, "a,1")], true);
}

#[test]
fn headers_are_read_or_refused() {
    let contract = contract("pos_stock");
    let header = |line: &str| {
        let mut splitter = Splitter::new(&contract, CSV, origin(), SplitLimits::default());
        splitter.push(format!("{line}\n").as_bytes())?;
        splitter.finish()?;
        let header = splitter.header().map(|h| (h.delimiter(), h.names().collect::<Vec<_>>().join("|")));
        Ok::<_, HeaderError>(header.unwrap_or_default())
    };
    assert_eq!(header("product,stock_quantity"), Ok((b',', "product|stock_quantity".into())));
    assert_eq!(header("\"Product\";\"a,b\";Stock_Quantity;"), Ok((b';', "Product|a,b|Stock_Quantity|column 4".into())));
    assert_eq!(header("x\tproduct\tstock_quantity\r"), Ok((b'\t', "x|product|stock_quantity".into())));
    let missing = header("product,quantity").unwrap_err();
    assert_eq!(missing.to_string(), "the header lacks \"stock_quantity\" or \"Stock_Quantity\"");
    assert_eq!(header("product,Product,stock_quantity"), Err(HeaderError::Repeated("Product".into())));
    assert_eq!(header("product,stock_quantity,x,x"), Err(HeaderError::Repeated("x".into())));
    assert!(matches!(header(""), Err(HeaderError::Unreadable(_))));
    assert!(matches!(header("pro\0duct,stock_quantity"), Err(HeaderError::Unreadable(_))));
    let empty = Splitter::new(&contract, CSV, origin(), SplitLimits::default()).finish();
    assert_eq!(empty.unwrap_err().to_string(), "empty file: expected a header");
}

#[test]
fn records_that_are_too_long_do_not_fill_memory() {
    let mut contract = contract_of(
        "t",
        "description = \"t\"\nmax_record = \"70 KiB\"\n[fields]\nproduct = { type = \"string\" }\nn = { type = \"int\" }\n",
    );
    for (format, head) in [(Format::Ndjson, ""), (CSV, "product,n\n")] {
        let long = "x".repeat(300_000);
        let file = format!("{head}a,1\n{long}\nb,2\n{long}");
        let mut splitter = Splitter::new(&contract, format, origin(), SplitLimits::default());
        let mut largest = 0;
        for chunk in file.as_bytes().chunks(1000) {
            splitter.push(chunk).unwrap();
            largest = largest.max(splitter.buffered());
        }
        assert!(largest < 400_000, "{largest}");
        assert!(!splitter.finish().unwrap().ended);
        let batch = splitter.take().unwrap();
        assert_eq!(batch.len(), 4);
        let lengths: Vec<usize> = (0..4).map(|i| batch.record(i).len()).collect();
        assert_eq!(lengths, [3, OVERSIZE_KEPT, 3, OVERSIZE_KEPT]);
        let hash = xxhash_rust::xxh3::xxh3_128(long.as_bytes());
        assert!(batch.oversize.iter().all(|o| (o.length, o.hash) == (300_000, hash)));
        assert_eq!(batch.oversize.iter().map(|o| o.record).collect::<Vec<_>>(), [1, 3]);
    }
    // Nor do many of them, and nothing else.
    let mut splitter = Splitter::new(&contract, Format::Ndjson, origin(), SplitLimits::default());
    let line = format!("{}\n", "x".repeat(300_000));
    let (mut largest, mut taken) = (0, 0);
    for _ in 0..100 {
        splitter.push(line.as_bytes()).unwrap();
        largest = largest.max(splitter.buffered());
        taken += std::iter::from_fn(|| splitter.take()).map(|batch| batch.len()).sum::<usize>();
    }
    assert!(largest < SplitLimits::default().bytes + 3 * OVERSIZE_KEPT && taken > 80, "{largest} bytes, {taken} taken");
    // Quotes that stay open over more than the limit are given up at their line's end.
    contract.max_record = 1024;
    let file = format!("product,n\n\"a,1\n{}\"b,2\n", "c,3\n".repeat(500));
    let (batches, _) = split(&contract, CSV, file.as_bytes(), &mut Random(5)).unwrap();
    let found = records(&batches);
    assert_eq!((found.len(), found[0].1.as_str(), found[500].1.as_str()), (502, "\"a,1", "c,3"));
}

#[test]
fn any_bytes_split_the_same_in_any_chunks() {
    let mut contract = contract("pos_stock");
    let mut random = Random(11);
    for _ in 0..4000 {
        contract.max_record = *random.pick(&[&23, &30, &60, &1000]);
        let mut file = String::from("product,stock_quantity\n");
        for _ in 0..random.below(60) {
            file.push_str(random.pick(&["a", "\"", "\"\"", ",", "\n", "\r\n", "\r", "1", " "]));
        }
        let format = if random.once_in(3) { Format::Ndjson } else { CSV };
        let (a, end_a) = split(&contract, format, file.as_bytes(), &mut random).unwrap();
        let (b, end_b) = split(&contract, format, file.as_bytes(), &mut random).unwrap();
        assert_eq!((records(&a), end_a), (records(&b), end_b), "{file:?}");
        let hashes = |batches: &[RawBatch]| -> Vec<(u64, u128)> {
            batches.iter().flat_map(|b| b.oversize.iter().map(|o| (o.length, o.hash))).collect()
        };
        assert_eq!(hashes(&a), hashes(&b), "{file:?}");
        if format == Format::Ndjson && contract.max_record == 1000 {
            let lines: Vec<String> = file.split('\n').map(|l| l.strip_suffix('\r').unwrap_or(l).to_owned()).collect();
            let lines = if file.ends_with('\n') { &lines[..lines.len() - 1] } else { &lines[..] };
            assert_eq!(records(&a).into_iter().map(|(_, text)| text).collect::<Vec<_>>(), lines);
        }
    }
    assert!(batch(&["x"]).header.is_none());
}
