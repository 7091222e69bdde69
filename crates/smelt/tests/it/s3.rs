//! A lake on a real S3 (MinIO): more than one of everything, keys that change, a server that refuses or does not answer.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use servers::proxy::{Effect, Fault, Flaky, Proxy};
use servers::{Keys, Minio};

use crate::faults::{check_truth, pieces};
use crate::support::{Lake, Ran, files_in, terminate};

/// How long other processes may take for what they were asked.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the binary is told of a bucket behind an address.
pub fn variables(minio: &Minio, endpoint: &str) -> Vec<(&'static str, String)> {
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
fn files_that_land_in_a_bucket_are_taken_once() {
    let Some((minio, _)) = started() else { return };
    let lake = Lake::elsewhere("s3://lake/retail", variables(&minio, &minio.endpoint()));
    landing(&lake, "6000", "4");
    minio.create_bucket("drop");
    let land = |stream: &str| {
        for file in files_in(&lake.folder().join("landing").join(stream)) {
            let name = file.file_name().expect("a name").to_string_lossy().into_owned();
            minio.put("drop", &format!("shop/{stream}/{name}"), fs::read(&file).expect("a piece"));
        }
    };
    land("pos_sales");
    let ingest =
        ["ingest", "--input", "pos_sales=s3://drop/shop/pos_sales", "--input", "invoices=s3://drop/shop/invoices/"];
    lake.run(&ingest[..3]).fine();
    let places = "SELECT count(DISTINCT _source) > 1, min(_source) LIKE 'files:pos_sales_%.ndjson' \
                  FROM bronze.pos_sales";
    assert_eq!(lake.sql(places), "true,true");
    land("invoices");
    lake.run(ingest).fine().says(&["pos_sales: 0 delivered"]);
    lake.ingest("pos_stock", &lake.folder().join("made/pos_stock.csv"));
    lake.refine();
    check_truth(&lake, &lake.folder().join("made/truth"));
    lake.run(["ingest", "--input", "pos_sales=s3://nowhere/x"]).exit(1).says(&["s3://nowhere/x"]);
}

#[test]
fn a_server_that_refuses_or_is_not_there_is_named() {
    let Some((minio, proxy)) = started() else { return };
    let lake = Lake::elsewhere("s3://lake/retail", variables(&minio, &proxy.endpoint()));
    proxy.add(Fault::new("", "", Effect::Refuse(403)).times(usize::MAX));
    let refused = lake.run(["sql", "SELECT 1"]);
    refused.exit(1).says(&["s3://lake/retail", "403"]);
    let lake = Lake::elsewhere("s3://lake/retail", variables(&minio, &minio.endpoint()));
    minio.stop();
    lake.run(["sql", "SELECT 1"]).exit(1).says(&["s3://lake/retail", &minio.address()]);
}

#[test]
fn a_slow_network_that_fails_changes_no_answer() {
    let Some((minio, proxy)) = started() else { return };
    let lake = Lake::elsewhere("s3://lake/retail", variables(&minio, &proxy.endpoint()));
    let inputs = landing(&lake, "10000", "9");
    proxy.make_flaky(Flaky { seed: 9, per_mille: 15, delay: Duration::from_millis(10) });
    lake.run(["ingest", "--input", &inputs[0], "--input", &inputs[1]]).fine();
    lake.refine();
    lake.ingest("pos_stock", &lake.folder().join("made/pos_stock.csv"));
    lake.refine();
    lake.run(["maintain"]).fine();
    assert!(proxy.fired() > 20, "only {} faults", proxy.fired());
    proxy.clear();
    check_truth(&lake, &lake.folder().join("made/truth"));
}

#[test]
fn what_a_killed_writer_leaves_stays_while_it_is_young_and_harms_nothing() {
    let Some((minio, proxy)) = started() else { return };
    let lake = Lake::elsewhere("s3://lake/retail", variables(&minio, &proxy.endpoint()));
    let inputs = landing(&lake, "5000", "3");
    let ingest = ["ingest", "--input", &inputs[0], "--input", &inputs[1]];
    let files = || -> BTreeSet<String> {
        let is_data = |path: &String| path.contains("/bronze/pos_sales/") && path.ends_with(".parquet");
        minio.objects("lake").into_iter().filter(is_data).collect()
    };
    // Refused, and not held: what is held could still land after the writer's death.
    let commit = "bronze/pos_sales/_delta_log/00000000000000000001.json";
    proxy.add(Fault::new("PUT", commit, Effect::Refuse(503)).times(usize::MAX));
    let mut writer = spawn(lake.command(ingest));
    let begun = Instant::now();
    while proxy.fired() == 0 {
        assert!(begun.elapsed() < PATIENCE, "no commit was tried");
        std::thread::sleep(Duration::from_millis(10));
    }
    writer.kill().expect("SIGKILL");
    writer.wait().expect("the child is gone");
    proxy.clear();
    let orphans = files();
    assert!(!orphans.is_empty(), "it had put its files before its commit");

    lake.run(ingest).fine();
    lake.ingest("pos_stock", &lake.folder().join("made/pos_stock.csv"));
    lake.refine();
    lake.run(["maintain"]).fine();
    assert!(
        files().is_superset(&orphans),
        "{orphans:?} are younger than two days, and of them only {:?} are left",
        files()
    );
    check_truth(&lake, &lake.folder().join("made/truth"));
}
