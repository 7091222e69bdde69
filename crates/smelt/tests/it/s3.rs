//! A lake on a real S3 (MinIO): more than one of everything, a network that fails, processes that die, keys that change.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use futures::TryStreamExt;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt};
use servers::proxy::{Effect, Fault, Flaky, Proxy};
use servers::{Keys, Minio};
use store::{Clock, LakeOptions, VacuumPolicy};

use crate::faults::{check_truth, pieces};
use crate::support::{Lake, Ran, files_in, terminate};

/// How long other processes may take for what they were asked.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the binary is told of a bucket behind an address.
fn variables(minio: &Minio, endpoint: &str) -> Vec<(&'static str, String)> {
    let mut variables = minio.env();
    variables.retain(|(name, _)| *name != "AWS_ENDPOINT_URL");
    variables.push(("AWS_ENDPOINT_URL", endpoint.to_owned()));
    variables
}

fn started() -> Option<(Minio, Proxy)> {
    let minio = Minio::start()?;
    minio.create_bucket("lake");
    let proxy = Proxy::start(&minio.address());
    Some((minio, proxy))
}

/// Makes sales with their truth in the lake's folder, cut into files of a landing folder each, and gives the inputs.
fn landing(lake: &Lake, rows: &str, seed: &str) -> [String; 2] {
    let made = ["sim", "--to", "made", "--truth", "made/truth", "--stream", "pos_sales", "--stream", "invoices"];
    lake.run_plain([&made[..], &["--rows", rows, "--seed", seed]].concat()).fine();
    let streams = ["pos_sales", "invoices"];
    pieces(&lake.folder().join("made"), &lake.folder().join("landing"), &streams, 700);
    streams.map(|stream| format!("{stream}={}", lake.folder().join("landing").join(stream).display()))
}

fn spawn(mut command: Command) -> Child {
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary starts")
}

fn ended(child: Child) -> Ran {
    Ran::of(child.wait_with_output().expect("the child ends"))
}

/// The data files of a bucket that no commit names.
fn orphans(minio: &Minio) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let bucket = minio.bucket("lake");
        let all: Vec<ObjectPath> =
            bucket.list(None).map_ok(|object| object.location).try_collect().await.expect("the bucket can be listed");
        let mut named = String::new();
        for commit in
            all.iter().filter(|path| path.as_ref().contains("/_delta_log/") && path.as_ref().ends_with("json"))
        {
            let bytes = bucket.get(commit).await.expect("it is there").bytes().await;
            named.push_str(&String::from_utf8_lossy(&bytes.expect("it can be read")));
        }
        let is_data =
            |path: &&ObjectPath| path.as_ref().ends_with(".parquet") && !path.as_ref().contains("/_delta_log/");
        let unnamed = |path: &&ObjectPath| !named.contains(path.filename().unwrap_or_default());
        all.iter().filter(is_data).filter(unnamed).map(ToString::to_string).collect()
    })
}

#[test]
fn more_than_one_of_everything_counts_once() {
    let Some((minio, _)) = started() else { return };
    let lake = Lake::elsewhere("s3://lake/retail", variables(&minio, &minio.endpoint()));
    let inputs = landing(&lake, "20000", "5");
    for args in [vec!["ingest", "--input", &inputs[0], "--input", &inputs[1]], vec!["refine"]] {
        let all: Vec<Child> = (0..3).map(|_| spawn(lake.command(&args))).collect();
        all.into_iter().for_each(|child| drop(ended(child).fine()));
    }
    lake.ingest("pos_stock", &lake.folder().join("made/pos_stock.csv"));
    lake.refine();
    check_truth(&lake, &lake.folder().join("made/truth"));
}

#[test]
fn a_slow_network_that_fails_changes_no_answer() {
    let Some((minio, proxy)) = started() else { return };
    let lake = Lake::elsewhere("s3://lake/retail", variables(&minio, &proxy.endpoint()));
    let inputs = landing(&lake, "8000", "7");
    let [first, second] = inputs.each_ref().map(|input| ["ingest", "--input", input]);
    proxy.make_flaky(Flaky { seed: 9, per_mille: 12, delay: Duration::from_millis(6) });
    for args in [&first[..], &["refine"], &second[..], &["refine"]] {
        lake.run(args).fine();
    }
    lake.ingest("pos_stock", &lake.folder().join("made/pos_stock.csv"));
    lake.refine();
    assert!(proxy.fired() > 20, "{} faults", proxy.fired());
    check_truth(&lake, &lake.folder().join("made/truth"));
    lake.run(["maintain"]).fine();
    check_truth(&lake, &lake.folder().join("made/truth"));
}

#[test]
fn what_a_killed_writer_leaves_is_kept_while_it_may_be_someones() {
    let Some((minio, proxy)) = started() else { return };
    let lake = Lake::elsewhere("s3://lake/retail", variables(&minio, &proxy.endpoint()));
    let inputs = landing(&lake, "2000", "3");
    let ingest = ["ingest", "--input", &inputs[0]];
    // Version 0 makes the table; the commit of the first rows waits, and its writer dies.
    let (fault, pause) = Fault::hold("PUT", "bronze/pos_sales/_delta_log/00000000000000000001.json");
    proxy.add(fault);
    let mut child = spawn(lake.command(ingest));
    pause.reached();
    child.kill().expect("SIGKILL");
    child.wait().expect("the child is gone");
    let left = orphans(&minio);
    assert!(!left.is_empty(), "the writer had a file");

    // The proxy still holds what the dead one asked for; others go past it.
    let lake = Lake::elsewhere("s3://lake/retail", variables(&minio, &minio.endpoint()));
    lake.run(ingest).fine();
    lake.run(["maintain"]).fine();
    assert_eq!(orphans(&minio), left, "a file that is young may still be committed");
    let stored = lake.sql("SELECT count(*) FROM bronze.pos_sales");
    assert_eq!(vacuumed_after(&minio, "bronze.pos_sales", 49), left);
    assert_eq!(orphans(&minio), Vec::<String>::new());

    // Now the request of the dead one goes on, and finds its version taken.
    pause.resume();
    wait_for(|| proxy.take_seen().iter().any(|seen| seen.status == Some(412)));
    assert_eq!(lake.sql("SELECT count(*) FROM bronze.pos_sales"), stored);
    lake.run(ingest).fine().says(&["0 delivered"]);
}

/// What a vacuum removes that many hours from now, as paths in the bucket.
fn vacuumed_after(minio: &Minio, table: &str, hours: i64) -> Vec<String> {
    let storage = minio.env().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let clock: Clock = Arc::new(move || Utc::now() + chrono::Duration::hours(hours));
    let options = LakeOptions { storage, clock, ..LakeOptions::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let lake = store::Lake::open("s3://lake/retail", options).await.expect("the lake");
        let table = lake.table(&table.parse().expect("a name")).await.expect("the table");
        let report = table.vacuum(&VacuumPolicy::default()).await.expect("vacuumed");
        let folder = table.name().to_string().replace('.', "/");
        report.removed.iter().map(|path| format!("retail/{folder}/{path}")).collect()
    })
}

/// Asks until it is so.
fn wait_for(is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Asks until the answer is there: other processes are at it.
fn until(lake: &Lake, statement: &str, expected: &str, followers: &mut [Child]) {
    let start = Instant::now();
    loop {
        let answer = lake.run(["sql", statement, "--format", "csv"]);
        if answer.code == Some(0) && answer.stdout.lines().nth(1) == Some(expected) {
            return;
        }
        for follower in followers.iter_mut() {
            assert!(follower.try_wait().expect("its state").is_none(), "a run that follows ended");
        }
        assert!(start.elapsed() < PATIENCE, "{statement}: not {expected} but {answer:?}");
    }
}

fn write_keys(path: &Path, keys: &Keys) {
    let token = keys.token.iter().map(|token| format!("aws_session_token = {token}\n")).collect::<String>();
    let text = format!("[lake]\naws_access_key_id = {}\naws_secret_access_key = {}\n{token}", keys.id, keys.secret);
    fs::write(path, text).expect("the folder is writable");
}

#[test]
fn keys_that_change_while_runs_follow_are_taken_up() {
    let Some((minio, _)) = started() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("credentials");
    write_keys(&file, &minio.keys());
    let mut variables = variables(&minio, &minio.endpoint());
    variables.retain(|(name, _)| !["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].contains(name));
    variables.push(("AWS_SHARED_CREDENTIALS_FILE", file.display().to_string()));
    variables.push(("AWS_PROFILE", "lake".to_owned()));
    let lake = Lake::elsewhere("s3://lake/retail", variables);
    landing(&lake, "3000", "2");
    let waiting = lake.folder().join("landing/pos_sales");
    let files = files_in(&waiting);
    let watched = lake.folder().join("watched");
    fs::create_dir(&watched).expect("a folder");
    let land = |file: &Path| fs::copy(file, watched.join(file.file_name().expect("a name"))).expect("it lands");
    let rows = |files: &[PathBuf]| {
        let lines = files.iter().map(|file| fs::read(file).expect("a file").iter().filter(|b| **b == b'\n').count());
        lines.sum::<usize>().to_string()
    };

    land(&files[0]);
    let input = format!("pos_sales={}", watched.display());
    let fast = ["--set", "ingest.settle=0s", "--set", "ingest.flush_interval=50ms", "--set", "refine.poll=100ms"];
    let mut followers = [
        spawn(lake.command([&["ingest", "--follow", "--input", &input], &fast[..]].concat())),
        spawn(lake.command([&["refine", "--follow"], &fast[..]].concat())),
    ];
    let delivered = "SELECT (SELECT count(*) FROM bronze.pos_sales) + (SELECT count(*) FROM quarantine.pos_sales)";
    // Silver has what Bronze has; neither is empty.
    let refined = "SELECT (SELECT count(DISTINCT sale_id) FROM bronze.pos_sales) = count(DISTINCT event_id) AND count(*) > 0 \
                   FROM silver.sales_lines WHERE source = 'pos_sales'";
    let taken_up = |files: &[PathBuf], followers: &mut [Child]| {
        until(&lake, delivered, &rows(files), followers);
        until(&lake, refined, "true", followers);
    };
    taken_up(&files[..1], &mut followers);

    // The owner's keys change first, and the file a while later: what runs is refused in between.
    minio.restart_with(Keys::new("second", "second-secret"));
    land(&files[1]);
    let refused = lake.run(["sql", delivered]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    write_keys(&file, &minio.keys());
    taken_up(&files[..2], &mut followers);

    // Temporary keys, with a token.
    write_keys(&file, &minio.temporary_keys(900));
    land(&files[2]);
    taken_up(&files[..3], &mut followers);
    for follower in followers {
        terminate(&follower);
        ended(follower).fine();
    }
}

#[test]
fn a_server_that_does_not_answer_is_named() {
    let Some((minio, proxy)) = started() else { return };
    let lake = Lake::elsewhere("s3://lake/retail", variables(&minio, &proxy.endpoint()));
    proxy.add(Fault::new("", "", Effect::Refuse(403)).times(usize::MAX));
    let refused = lake.run(["sql", "SELECT 1"]);
    refused.exit(1).says(&["s3://lake/retail", "403"]);
}
