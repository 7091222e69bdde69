//! A reader that was away while events came.

use anyhow::Result;

use super::change::copy;
use crate::live::{Live, Loaded};
use crate::report::{Report, median, two};
use crate::{Settings, child, events};

const ABOUT: &str = "`ingest --follow` has stored a topic of sales events (163 bytes) and is stopped; more are sent while it is \
    away, and it is started again, on a copy of the lake by hard links. Beside it, by turns, `ingest --once` of the same topic \
    into an empty lake. Both with default settings, on a real broker (Apache Kafka, KRaft, on the same disk and cores) that \
    does not wait for more members of a group (group.initial.rebalance.delay.ms = 0). Times are from the start of the \
    process until Bronze's log names the ends of all partitions; CPU and memory are of the whole process.";

/// Of so many events one is stored before the reader goes away.
const BEFORE: u64 = 50;

/// Sends the events, then runs both by turns.
///
/// # Errors
/// When a run fails or does not store each event once.
pub fn run(settings: &Settings, events: u64, partitions: i32) -> Result<()> {
    let live = Live::start(settings, partitions, &[])?;
    let columns = ["pair", "run", "events", "events/s", "wall s", "CPU s", "CPU us an event", "peak MiB"];
    let mut report = Report::new("catch-up", ABOUT, &columns);
    report.fact("smelt", live.smelt.version()?);
    report.fact("partitions", partitions);
    let before = live.load(&events::sales((events / BEFORE).max(1))?)?;
    let lake = child::fresh(settings, "catch-up")?;
    live.follow(&lake.to_string_lossy(), 1)?;
    let missed = live.load(&events::sales(events)?)?;
    let all = before + missed;
    report.fact("events before the stop, and while it was away", format!("{before}, {missed}"));
    let (mut behind, mut from_scratch, mut peak) = (Vec::new(), Vec::new(), 0.0_f64);
    for pair in 1..=settings.pairs {
        let at = copy(settings, &lake)?.to_string_lossy().into_owned();
        let loaded = live.follow(&at, 1)?;
        live.check_bronze(&at, all)?;
        report.row(row(pair, "catching up", missed, &loaded));
        behind.push(loaded.wall_s / missed as f64);
        peak = peak.max(loaded.peak_mib() * 1.048_576);

        let at = child::fresh(settings, "catch-up-once")?.to_string_lossy().into_owned();
        let loaded = live.once(&at)?;
        live.check_bronze(&at, all)?;
        report.row(row(pair, "--once, empty lake", all, &loaded));
        from_scratch.push(loaded.wall_s / all as f64);
    }
    let (behind, from_scratch) = (median(behind), median(from_scratch));
    report.note(format!("caught up at {:.0} events/s, --once {:.0} (medians)", 1.0 / behind, 1.0 / from_scratch));
    report.bar("time an event of catching up over that of --once (medians)", behind / from_scratch, 1.25);
    report.bar("peak MB of catching up", peak, 300.0);
    report.finish(settings)
}

fn row(pair: usize, run: &str, events: u64, loaded: &Loaded) -> Vec<String> {
    vec![
        pair.to_string(),
        run.to_owned(),
        events.to_string(),
        format!("{:.0}", events as f64 / loaded.wall_s),
        two(loaded.wall_s),
        two(loaded.cpu_s()),
        two(loaded.cpu_s() * 1e6 / events as f64),
        format!("{:.0}", loaded.peak_mib()),
    ]
}
