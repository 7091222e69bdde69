//! One reader, and three that share its topic.

use anyhow::{Context, Result};

use crate::child::Run;
use crate::live::Live;
use crate::report::{Report, median, two};
use crate::{Settings, child, events};

const ABOUT: &str = "A topic of sales events (163 bytes) on a real broker, stored by one `ingest --follow`, and by three that are \
    one consumer group, each into an empty lake with default settings. The broker has Kafka's default for \
    group.initial.rebalance.delay.ms (3 s), so that processes that start together share the partitions from the first \
    message on; the wait is in the time. CPU is the sum over the processes, from their start until Bronze's log names the \
    ends of all partitions and they have ended.";

/// Processes that share the topic.
const SEVERAL: usize = 3;

/// Sends the events, then runs one and several processes by turns.
///
/// # Errors
/// When a run fails or does not store each event once.
pub fn run(settings: &Settings, events: u64, partitions: i32) -> Result<()> {
    let live = Live::start(settings, partitions, &[("group.initial.rebalance.delay.ms", "3000")])?;
    let columns = ["pair", "processes", "events of each", "wall s", "CPU s", "CPU us an event", "peak MiB of one"];
    let mut report = Report::new("scale-out", ABOUT, &columns);
    report.fact("smelt", live.smelt.version()?);
    report.fact("partitions", partitions);
    let events = live.load(&events::sales(events)?)?;
    report.fact("events", events);
    let (mut one, mut several) = (Vec::new(), Vec::new());
    for pair in 1..=settings.pairs {
        for (processes, costs) in [(1, &mut one), (SEVERAL, &mut several)] {
            let lake = child::fresh(settings, "scale-out")?.to_string_lossy().into_owned();
            let loaded = live.follow(&lake, processes)?;
            live.check_bronze(&lake, events)?;
            let shares: Vec<String> = loaded.runs.iter().map(delivered).collect::<Result<_>>()?;
            let us = loaded.cpu_s() * 1e6 / events as f64;
            report.row(vec![
                pair.to_string(),
                processes.to_string(),
                shares.join(" + "),
                two(loaded.wall_s),
                two(loaded.cpu_s()),
                two(us),
                format!("{:.0}", loaded.peak_mib()),
            ]);
            costs.push(us);
        }
    }
    let (one, several) = (median(one), median(several));
    report.bar("CPU an event of three processes over that of one (medians)", several / one, 1.1);
    report.finish(settings)
}

/// How many records a process says that it took: `sales_transactions: 1,000 delivered = …`.
fn delivered(run: &Run) -> Result<String> {
    let said = run.log.lines().find_map(|line| line.split_once(" delivered")?.0.rsplit(' ').next());
    said.map(str::to_owned).with_context(|| format!("no count in what it said:\n{}", run.log))
}
