//! Publishing: complete windows as files, corrections as revisions, nothing twice.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use servers::Minio;
use servers::proxy::{Fault, Proxy};

use crate::s3::variables;
use crate::support::{Lake, files_below};
use crate::topic::until;

/// An invoice of one item, in the form of the wire.
fn invoice(no: u32, at: &str, country: &str, kind: &str, price: &str) -> String {
    format!(
        "{{\"invoice_no\":{no},\"country\":\"{country}\",\"timestamp\":\"{at}\",\"type\":\"{kind}\",\
         \"items\":[{{\"SKU\":\"A\",\"title\":\"a\",\"unit_price\":{price},\"quantity\":1}}]}}\n"
    )
}

/// The published files by their path, with their text.
fn published(folder: &Path) -> BTreeMap<String, String> {
    let below = |path: PathBuf| path.strip_prefix(folder).expect("below").to_string_lossy().into_owned();
    let read = |path: PathBuf| (below(path.clone()), fs::read_to_string(path).expect("a text file"));
    files_below(folder).into_iter().map(read).filter(|(path, _)| !path.starts_with('_')).collect()
}

struct Shop {
    lake: Lake,
}

impl Shop {
    fn new() -> Shop {
        Shop { lake: Lake::new() }
    }

    fn land(&self, file: &str, invoices: &[String]) {
        let path = self.lake.folder().join(file);
        fs::write(&path, invoices.concat()).expect("a landing file");
        self.lake.ingest("invoices", &path);
        self.lake.refine();
    }

    fn publish(&self, table: &str, more: &[&str]) -> BTreeMap<String, String> {
        self.lake.run([&["publish", table, "--to", "kpi"], more].concat()).fine();
        published(&self.lake.folder().join("kpi"))
    }
}

#[test]
fn windows_are_published_once_and_corrections_are_revisions() {
    let shop = Shop::new();
    let first = invoice(1, "2024-01-05 10:00:10", "Norway", "ORDER", "2.50");
    let second = invoice(2, "2024-01-05 10:00:50", "Spain", "RETURN", "1.00");
    let third = invoice(3, "2024-01-05 10:02:00", "Spain", "ORDER", "4.00");
    shop.land("1.ndjson", &[first, second, third]);
    let files = shop.publish("kpi_minute", &[]);
    assert_eq!(files.len(), 8, "{files:?}");
    assert_eq!(
        files["opm/window_start=2024-01-05T10:00:00Z/1.json"],
        "{\"window_start\":\"2024-01-05T10:00:00Z\",\"opm\":2}\n"
    );
    assert!(files["total_sale_volume/window_start=2024-01-05T10:00:00Z/1.json"].contains(":1.500"), "{files:?}");
    assert!(files["rate_of_return/window_start=2024-01-05T10:00:00Z/1.json"].contains("\"rate_of_return\":0.5"));
    assert_eq!(shop.publish("kpi_minute", &[]), files, "again puts nothing");

    shop.land("2.ndjson", &[invoice(2, "2024-01-05 10:00:50", "Spain", "RETURN", "2.50")]);
    let after = shop.publish("kpi_minute", &[]);
    let new: Vec<&String> = after.keys().filter(|path| !files.contains_key(*path)).collect();
    assert_eq!(
        new,
        [
            "average_transaction_size/window_start=2024-01-05T10:00:00Z/2.json",
            "total_sale_volume/window_start=2024-01-05T10:00:00Z/2.json"
        ],
        "only what changed has a new revision"
    );
    assert!(files.iter().all(|(path, text)| after[path] == *text), "a revision never changes");

    // What a run that ended before its note was written left behind is found again.
    fs::remove_dir_all(shop.lake.folder().join("kpi/_published")).expect("the note is there");
    let lost = "kpi/opm/window_start=2024-01-05T10:02:00Z";
    fs::remove_dir_all(shop.lake.folder().join(lost)).expect("the file is there");
    assert_eq!(shop.publish("kpi_minute", &[]), after);
}

#[test]
fn figures_by_country_and_other_formats_stand_beside_each_other() {
    let shop = Shop::new();
    shop.land(
        "1.ndjson",
        &[
            invoice(1, "2024-01-05 10:00:10", "Norway", "ORDER", "2.50"),
            invoice(2, "2024-01-05 10:00:50", "Côte d'Ivoire", "ORDER", "1.00"),
        ],
    );
    let files = shop.publish("gold.kpi_minute_country", &["--format", "csv"]);
    assert_eq!(
        files["opm_by_country/window_start=2024-01-05T10:00:00Z/1.csv"],
        "window_start,country,opm\n2024-01-05 10:00:00,Côte d'Ivoire,1\n2024-01-05 10:00:00,Norway,1\n"
    );
    shop.lake.run(["publish", "kpi_minute", "--to", "kpi", "--format", "parquet"]).fine();
    let parquet = shop.lake.folder().join("kpi/opm/window_start=2024-01-05T10:00:00Z/1.parquet");
    assert!(fs::read(parquet).expect("a file").starts_with(b"PAR1"));
}

#[test]
fn two_at_once_publish_the_same_files() {
    let shop = Shop::new();
    let invoices: Vec<String> = (0..200)
        .map(|n| invoice(n, &format!("2024-01-05 {:02}:{:02}:00", n / 60, n % 60), "Norway", "ORDER", "1.00"))
        .collect();
    shop.land("1.ndjson", &invoices);
    let start = || shop.lake.command(["publish", "kpi_minute", "--to", "kpi"]).spawn().expect("the binary starts");
    for mut child in [start(), start()] {
        assert!(child.wait().expect("it ends").success());
    }
    let files = published(&shop.lake.folder().join("kpi"));
    assert_eq!(files.len(), 800);
    assert!(files.keys().all(|path| path.ends_with("/1.json")));
}

#[test]
fn a_publication_to_a_bucket_that_is_killed_again_and_again_ends_as_one_that_is_not() {
    let Some(minio) = Minio::start() else { return };
    minio.create_bucket("figures");
    let shop = Shop::new();
    let invoices: Vec<String> = (0..300)
        .map(|n| invoice(n, &format!("2024-01-05 {:02}:{:02}:00", n / 60, n % 60), "Norway", "ORDER", "1.00"))
        .collect();
    shop.land("1.ndjson", &invoices);
    let expected = shop.publish("kpi_minute", &[]);
    let proxy = Proxy::start(&minio.address());
    let command = || {
        let mut command = shop.lake.command(["publish", "kpi_minute", "--to", "s3://figures/kpi"]);
        command.envs(variables(&minio, &proxy.endpoint())).stderr(Stdio::null());
        command
    };
    for round in 0..5 {
        // Those behind the first 50 wait, so that the run cannot end before it is killed; then they arrive late.
        let (held, _) = Fault::hold("PUT", "figures");
        proxy.add(held.after_skipping(50).times(usize::MAX));
        let before = proxy.fired();
        let mut child = command().spawn().expect("the binary starts");
        until("a file that waits", || proxy.fired() > before || child.try_wait().expect("its state").is_some());
        child.kill().expect("SIGKILL");
        assert_eq!(child.wait().expect("the child is gone").signal(), Some(9), "round {round}");
        proxy.clear();
    }
    let put = minio.objects("figures").len();
    assert!((250..1200).contains(&put), "{put} of 1200 before the run that ends");
    let published = || -> BTreeMap<String, String> {
        command().status().map(|status| assert!(status.success(), "{status}")).expect("the binary starts");
        let objects = minio.objects("figures").into_iter().filter_map(|path| {
            let name = path.strip_prefix("kpi/").filter(|name| !name.starts_with('_'))?;
            Some((name.to_owned(), String::from_utf8(minio.get("figures", &path)).expect("a text")))
        });
        objects.collect()
    };
    assert_eq!(published(), expected);
    assert_eq!(published(), expected, "again puts nothing");
}

#[test]
fn only_what_declares_it_is_published() {
    let lake = Lake::new();
    lake.run(["publish", "pos_daily", "--to", "kpi"]).exit(2).says(&["gold.pos_daily", "gold.kpi_minute"]);
    lake.run(["publish", "kpi_minute", "--to", "gs://bucket"]).exit(2).says(&["gs://bucket"]);
    lake.run(["publish", "kpi_minute", "--to", "kpi"]).fine().says(&["nothing was consumed yet"]);
}
