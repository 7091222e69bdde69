//! From a message's time to the release whose Gold tables contain it.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use chrono::Utc;

use crate::Settings;
use crate::broker::TOPIC;
use crate::child::{self, Run, Running};
use crate::lake_log::LakeLog;
use crate::live::{BRONZE, Live};
use crate::report::{Report, percentile, three};
use crate::till::{Sent, Sold, Tills};

const ABOUT: &str = "Sales events are sent to a real broker at a steady rate, some of them twice, while `ingest --follow` and \
    `refine --follow` run as two processes on the project `live/`: Bronze, silver.sales_lines, and two Gold tables, by hour \
    and store and by minute. Broker, sender, and watcher share the machine's cores with them. An event is fresh after the \
    time from its Kafka timestamp until the release is there (`_releases/<n>.json`) whose Gold tables both contain it: the \
    logs say which version of Silver a version of Gold has consumed, which version of Bronze that one, and which offsets \
    that one. One event in ten is followed. The first seconds, in which the tables and the group are made, do not count.";

/// Silver.
const SILVER: &str = "silver.sales_lines";
/// The Gold tables.
const GOLD: [&str; 2] = ["gold.bf_store_hour", "gold.live_minute"];

/// Minutes of which a bar asks; of a longer run, the first and the last so many.
const ASKED: i64 = 10;
/// Before figures count.
const WARM_UP: Duration = Duration::from_secs(5);
/// The pause between two looks for a release.
const LOOK: Duration = Duration::from_millis(5);
/// How long the last events may take.
const VISIBLE_WITHIN: Duration = Duration::from_secs(120);

/// The load.
#[derive(Debug)]
pub struct Load {
    /// Messages a second.
    pub rate: u64,
    /// Seconds.
    pub seconds: u64,
    /// The share of messages that are sales which were sent before.
    pub repeats: f64,
    /// Partitions of the topic.
    pub partitions: i32,
    /// Whether the lake is on MinIO.
    pub minio: bool,
    /// Settings of Smelt, `key=value`.
    pub set: Vec<String>,
}

/// Sends and watches, then compares the Gold tables with what was sold.
///
/// # Errors
/// When a process fails, an event does not become visible, or a total differs.
pub fn run(settings: &Settings, load: &Load) -> Result<()> {
    ensure!(load.rate > 0 && load.seconds > 0, "expected a rate and a time above 0");
    let mut live = Live::start(settings, load.partitions, &[])?.with(&load.set);
    let name = if load.minio { "freshness-s3" } else { "freshness" };
    let mut report = Report::new(name, ABOUT, &["minute", "events followed", "p50 s", "p99 s", "max s"]);
    report.fact("smelt", live.smelt.version()?);
    report.fact("load", format!("{load:?}"));
    let lake = match load.minio {
        true => live.start_minio()?,
        false => child::fresh(settings, name)?.to_string_lossy().into_owned(),
    };
    let mut refine = live.command(&lake);
    refine
        .args(["refine", "--follow", "--select", SILVER])
        .args(GOLD.into_iter().flat_map(|table| ["--select", table]));
    let processes = [child::start(&mut live.ingest(&lake, "--follow"))?, child::start(&mut refine)?];
    let mut tills = Tills::new(&live.kafka, load.partitions as usize, load.repeats)?;
    let mut watch = Watch::new(live.log(&lake)?, tills.sent(), load.partitions as usize);

    send(&mut watch, &processes, &mut tills, load.rate, WARM_UP)?;
    watch.forget();
    let before = tills.messages();
    let late = send(&mut watch, &processes, &mut tills, load.rate, Duration::from_secs(load.seconds))?;
    report.note(format!("{} messages were sent, at most {} ms late", tills.messages() - before, late.as_millis()));
    processes.iter().try_for_each(Running::terminate)?;
    let [ingest, refine] = processes.map(Running::wait);
    for (process, run) in [("ingest", ingest?), ("refine", refine?)] {
        report.note(used(process, &run, tills.messages()));
    }

    watch.tell(&mut report, load.seconds);
    check(&live, &lake, tills.sold(), tills.messages())?;
    report.note("both Gold tables have the sales, pieces and money that were sold, Bronze has every message once");
    report.finish(settings)
}

/// Sends for so long, and watches until all of it is visible. Gives by how much messages were late.
fn send(
    watch: &mut Watch,
    processes: &[Running],
    tills: &mut Tills<'_>,
    rate: u64,
    length: Duration,
) -> Result<Duration> {
    let (late, ends) = watch.beside(processes, |stop| Ok((tills.run(rate, length, stop)?, tills.settle()?)))?;
    watch.until(&ends, processes)?;
    Ok(late)
}

fn used(process: &str, run: &Run, messages: i64) -> String {
    let us = run.cpu_s * 1e6 / messages as f64;
    let busy = run.cpu_s / run.wall_s;
    format!("{process}: {us:.2} us of CPU an event, {busy:.2} cores, {:.0} MiB at most", run.peak_mib)
}

/// Bronze has each message, and the Gold tables each sale.
fn check(live: &Live, lake: &str, sold: Sold, messages: i64) -> Result<()> {
    live.check_bronze(lake, messages.unsigned_abs())?;
    let expected = format!("{},{},{}.{:02}0", sold.sales, sold.units, sold.cents / 100, sold.cents % 100);
    for table in GOLD {
        let statement = "SELECT sum(sales) AS sales, sum(units) AS units, sum(revenue) AS revenue";
        let found = live.sql(lake, &format!("{statement} FROM {table}"))?;
        ensure!(found == expected, "{table} has {found}, expected {expected}");
    }
    Ok(())
}

/// An event that became visible.
#[derive(Debug, Clone, Copy)]
struct Seen {
    sent_us: i64,
    after_s: f64,
}

/// Looks for releases, and notes which events are new in them.
struct Watch {
    log: LakeLog,
    sent: Sent,
    /// The next release.
    next: u64,
    releases: u64,
    /// The offsets up to which the last release had the topic.
    visible: Vec<i64>,
    /// How many of each partition's followed events are visible.
    noted: Vec<usize>,
    seen: Vec<Seen>,
}

impl Watch {
    fn new(log: LakeLog, sent: Sent, partitions: usize) -> Self {
        let (visible, noted) = (vec![0; partitions], vec![0; partitions]);
        Self { log, sent, next: 1, releases: 0, visible, noted, seen: Vec::new() }
    }

    /// Watches while `work` runs on a thread of its own; tells it to stop when something is wrong.
    fn beside<T: Send>(
        &mut self,
        processes: &[Running],
        work: impl FnOnce(&AtomicBool) -> Result<T> + Send,
    ) -> Result<T> {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let worker = scope.spawn(|| work(&stop));
            while !worker.is_finished() {
                if let Err(error) = self.look(processes) {
                    stop.store(true, Ordering::Relaxed);
                    return Err(error);
                }
            }
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Watches until a release has all messages before these offsets.
    fn until(&mut self, ends: &[i64], processes: &[Running]) -> Result<()> {
        let begun = Instant::now();
        while self.visible != ends {
            self.look(processes)?;
            if begun.elapsed() > VISIBLE_WITHIN {
                bail!("{:?} is visible after {VISIBLE_WITHIN:?}, the partitions end at {ends:?}", self.visible);
            }
        }
        Ok(())
    }

    /// Takes in the releases that are there, then waits a moment.
    fn look(&mut self, processes: &[Running]) -> Result<()> {
        while let Some(versions) = self.log.release(self.next)? {
            let at_us = Utc::now().timestamp_micros();
            self.next += 1;
            self.releases += 1;
            let mut visible = vec![i64::MAX; self.visible.len()];
            for table in GOLD {
                let consumed = match versions.get(table) {
                    Some(version) => self.log.consumed(&[table, SILVER, BRONZE], *version, TOPIC, visible.len())?,
                    None => vec![0; visible.len()],
                };
                visible.iter_mut().zip(consumed).for_each(|(least, offset)| *least = offset.min(*least));
            }
            self.note(visible, at_us);
        }
        for process in processes {
            if process.has_ended()? {
                process.terminate()?;
            }
        }
        thread::sleep(LOOK);
        Ok(())
    }

    fn note(&mut self, visible: Vec<i64>, at_us: i64) {
        for (partition, offset) in visible.iter().enumerate() {
            let new = self.sent.before(partition, *offset, self.noted[partition]);
            self.noted[partition] += new.len();
            let seen = new.into_iter().map(|sent_us| Seen { sent_us, after_s: (at_us - sent_us) as f64 / 1e6 });
            self.seen.extend(seen);
        }
        self.visible = visible;
    }

    /// Begins the figures anew.
    fn forget(&mut self) {
        self.seen.clear();
        self.releases = 0;
    }

    /// Puts the figures into a report: by the minute in which events were sent, and all together.
    fn tell(&self, report: &mut Report, seconds: u64) {
        let first = self.seen.iter().map(|seen| seen.sent_us).min().unwrap_or_default();
        let minutes = seconds.div_ceil(60) as i64;
        // The very last events, which only settle, are of the last minute.
        let minute = |seen: &Seen| ((seen.sent_us - first) / 60_000_000).min(minutes - 1);
        for number in 0..minutes {
            let of = self.seen.iter().filter(|seen| minute(seen) == number).map(|seen| seen.after_s);
            report.row(row(&(number + 1).to_string(), &sorted(of)));
        }
        let all = sorted(self.seen.iter().map(|seen| seen.after_s));
        report.row(row("all", &all));
        report.note(format!("{} releases in the time that counts", self.releases));
        if minutes > ASKED {
            let mut ten = |name: &str, asked: Range<i64>| {
                let of = self.seen.iter().filter(|seen| asked.contains(&minute(seen))).map(|seen| seen.after_s);
                let of = sorted(of);
                report.row(row(&format!("{name} {ASKED}"), &of));
                report.bar(&format!("p99 of the {name} {ASKED} minutes, seconds"), percentile(&of, 0.99), 1.0);
            };
            ten("first", 0..ASKED);
            ten("last", minutes - ASKED..minutes);
        }
        report.bar("seconds from an event to its release, p99", percentile(&all, 0.99), 1.0);
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

fn row(minute: &str, sorted: &[f64]) -> Vec<String> {
    let at = |share| three(percentile(sorted, share));
    vec![minute.to_owned(), sorted.len().to_string(), at(0.5), at(0.99), at(1.0)]
}
