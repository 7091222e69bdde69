//! SIGKILL at random moments, and two of everything at once: the answers stay right, no row twice, none missing.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::answers::assert_same;
use crate::support::{Lake, files_below};

/// A small generator of our own, so that a failure can be repeated from its seed (`TEST_SEED`).
pub struct Random(u64);

impl Random {
    /// The numbers of a seed; each gives its own.
    pub fn seeded(seed: u64) -> Random {
        // Seeds of few bits would begin with numbers that are alike, and zero would stay zero.
        Random(seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    pub fn from_env() -> Random {
        let seed = std::env::var("TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_240_105);
        println!("TEST_SEED={seed}");
        Random(seed)
    }

    /// A number below `bound` (xorshift64*).
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }
}

pub fn size_from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Data files on disk that no commit names: staged by a process that died before its commit.
fn orphans(layer: &Path) -> HashSet<PathBuf> {
    let files = files_below(layer);
    let mut named = String::new();
    for path in files.iter().filter(|path| path.extension().is_some_and(|extension| extension == "json")) {
        named.push_str(&fs::read_to_string(path).unwrap_or_default());
    }
    files
        .into_iter()
        .filter(|path| path.to_string_lossy().contains(".parquet") && !path.to_string_lossy().contains("_delta_log"))
        .filter(|path| !named.contains(&*path.file_name().unwrap_or_default().to_string_lossy()))
        .collect()
}

/// Waits until a data file that was not there appears below `layer`, or the process ends, at most a minute.
fn await_data_file(layer: &Path, child: &mut Child) {
    let before: HashSet<PathBuf> = data_files(layer);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        if child.try_wait().expect("the state of the child").is_some() || !data_files(layer).is_subset(&before) {
            return;
        }
    }
}

fn data_files(layer: &Path) -> HashSet<PathBuf> {
    files_below(layer).into_iter().filter(|path| path.to_string_lossy().contains(".parquet")).collect()
}

/// Cuts every NDJSON file of `from` into pieces of `lines` lines, named in order, and returns them by stream in turn.
pub fn pieces(from: &Path, to: &Path, streams: &[&str], lines: usize) -> Vec<(String, PathBuf)> {
    let mut by_stream = Vec::new();
    for stream in streams {
        // Bytes, not text: some of the simulator's records are not UTF-8.
        let mut text = Vec::new();
        let mut files: Vec<PathBuf> = files_below(&from.join(stream));
        files.sort();
        for file in files {
            text.extend(fs::read(file).expect("a file of the simulator"));
        }
        let all: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
        let folder = to.join(stream);
        fs::create_dir_all(&folder).expect("a folder");
        let mut cut = Vec::new();
        for (number, piece) in all.chunks(lines).enumerate() {
            let path = folder.join(format!("{stream}_{number:04}.ndjson"));
            fs::write(&path, piece.concat()).expect("a piece");
            cut.push(((*stream).to_owned(), path));
        }
        by_stream.push(cut.into_iter());
    }
    let mut turn = Vec::new();
    loop {
        let round: Vec<_> = by_stream.iter_mut().filter_map(Iterator::next).collect();
        if round.is_empty() {
            return turn;
        }
        turn.extend(round);
    }
}

/// Makes events of the till and of the international shop, with their truth.
const SIM: [&str; 9] =
    ["sim", "--to", "made", "--truth", "made/truth", "--stream", "pos_sales", "--stream", "invoices"];

#[test]
fn sigkill_at_random_moments_changes_no_answer() {
    let rows = size_from_env("TEST_KILL_ROWS", 1_000_000);
    let kills = size_from_env("TEST_KILLS", 50);
    let mut random = Random::from_env();
    let lake = Lake::new();
    let (made, landing) = (lake.folder().join("made"), lake.folder().join("landing"));
    let rows_text = rows.to_string();
    lake.run([&SIM[..], &["--rows", &rows_text, "--seed", "11"]].concat()).fine();
    let waiting =
        pieces(&made, &lake.folder().join("waiting"), &["pos_sales", "invoices"], (rows / 150).max(1) as usize);
    for stream in ["pos_sales", "invoices"] {
        fs::create_dir_all(landing.join(stream)).expect("a landing folder");
    }
    let inputs: Vec<String> =
        ["pos_sales", "invoices"].iter().map(|stream| format!("{stream}={}", landing.join(stream).display())).collect();
    let ingest = ["ingest", "--input", &inputs[0], "--input", &inputs[1]];

    let (mut killed, mut before_commit, mut in_refine, mut round) = (0, 0, 0, 0);
    let (total, mut landed) = (waiting.len(), 0);
    let mut waiting = waiting.into_iter();
    let mut seen = HashSet::new();
    while killed < kills || before_commit < 20 || in_refine < 10 {
        round += 1;
        assert!(round < 10 * kills, "{killed} kills, {before_commit} before a commit, {in_refine} in refine's commit");
        // They come as what is wanted comes, the last of them with the last kill.
        let reached = [(killed, kills), (before_commit, 20), (in_refine, 10)];
        let share = reached.map(|(count, wanted)| count as f64 / wanted as f64).into_iter().fold(1.0, f64::min);
        let due = ((total as f64 * share) as usize).saturating_sub(landed).max(1);
        landed += due;
        for (stream, piece) in waiting.by_ref().take(due) {
            fs::rename(&piece, landing.join(stream).join(piece.file_name().expect("a name"))).expect("a piece lands");
        }
        // In turn: an ingest that is killed, one that is not, and a refine that is killed and has something to do.
        let refining = round % 3 == 2;
        if round % 3 == 1 {
            lake.run(ingest).fine();
            continue;
        }
        let layers: &[&str] = if refining { &["silver", "gold"] } else { &["bronze"] };
        let mut command = if refining { lake.command(["refine"]) } else { lake.command(ingest) };
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts");
        if random.below(4) == 0 {
            std::thread::sleep(Duration::from_millis(random.below(600)));
        } else {
            await_data_file(&lake.path().join(layers[random.below(layers.len() as u64) as usize]), &mut child);
            std::thread::sleep(Duration::from_micros(random.below(20_000)));
        }
        let ended = child.try_wait().expect("the state of the child").is_some();
        child.kill().expect("SIGKILL");
        child.wait().expect("the child is gone");
        let mut left = HashSet::new();
        for layer in layers {
            left.extend(orphans(&lake.path().join(layer)));
        }
        let known = seen.len();
        seen.extend(left);
        if ended {
            continue;
        }
        killed += 1;
        if seen.len() > known {
            *(if refining { &mut in_refine } else { &mut before_commit }) += 1;
        }
    }
    println!(
        "SIGKILL: {killed} kills, {before_commit} between a first data file and its commit, {in_refine} in refine's commit"
    );

    for (stream, piece) in waiting {
        fs::rename(&piece, landing.join(stream).join(piece.file_name().expect("a name"))).expect("a piece lands");
    }
    lake.run(ingest).fine();
    lake.ingest("pos_stock", &made.join("pos_stock.csv"));
    lake.refine();
    check_truth(&lake, &made.join("truth"));
    for stream in ["pos_sales", "invoices"] {
        let twice = format!(
            "SELECT count(*) FROM (SELECT _source, _offset FROM bronze.{stream} UNION ALL SELECT _source, _offset FROM quarantine.{stream}) \
             GROUP BY _source, _offset HAVING count(*) > 1"
        );
        assert_eq!(lake.sql(&twice), "", "{stream}: rows of one place in one file");
        // What was quarantined too: no answer says that it is there.
        let lines: usize = files_below(&landing.join(stream)).iter().map(|file| lines(file)).sum();
        let kept =
            format!("SELECT (SELECT count(*) FROM bronze.{stream}) + (SELECT count(*) FROM quarantine.{stream})");
        assert_eq!(lake.sql(&kept), lines.to_string(), "{stream}: lines in Bronze or in quarantine");
    }
}

/// Lines of a file, also those without a character: each is a record.
fn lines(file: &Path) -> usize {
    fs::read(file).expect("a file of a landing folder").iter().filter(|byte| **byte == b'\n').count()
}

pub fn check_truth(lake: &Lake, truth: &Path) {
    for query in [
        "pos_totals",
        "pos_monthly",
        "pos_product_month",
        "invoice_daily",
        "invoice_kpi_minute",
        "invoice_kpi_minute_country",
    ] {
        let expected = fs::read_to_string(truth.join(format!("{query}.csv"))).expect("the truth");
        assert_same(query, &expected, &lake.answer(query), 1e-9);
    }
}

#[test]
fn two_of_everything_at_once_count_once() {
    let lake = Lake::new();
    let made = lake.folder().join("made");
    lake.run([&SIM[..], &["--rows", "60000", "--seed", "5"]].concat()).fine();
    let landing = lake.folder().join("landing");
    let streams = ["pos_sales", "invoices"];
    streams.iter().for_each(|stream| fs::create_dir_all(landing.join(stream)).expect("a landing folder"));
    let inputs = streams.map(|stream| format!("{stream}={}", landing.join(stream).display()));
    let ingest = ["ingest", "--input", &inputs[0], "--input", &inputs[1]];
    // Four at once, again and again: the files come one by one.
    for (stream, piece) in pieces(&made, &lake.folder().join("waiting"), &streams, 12_000) {
        fs::rename(&piece, landing.join(stream).join(piece.file_name().expect("a name"))).expect("a piece lands");
        let start = |args: &[&str]| {
            lake.command(args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary starts")
        };
        let all: Vec<Child> = [&ingest[..], &["refine"], &ingest, &["refine"]].into_iter().map(start).collect();
        for child in all {
            let output = child.wait_with_output().expect("the child ends");
            let stderr = String::from_utf8_lossy(&output.stderr);
            // One of two waits and finds nothing, or finds its work done.
            assert_eq!(output.status.code(), Some(0), "{stderr}");
        }
    }
    lake.run(ingest).fine();
    lake.refine();
    check_truth(&lake, &made.join("truth"));
}
