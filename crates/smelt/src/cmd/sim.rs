//! `smelt sim`: retail events from a seed, as landing files or messages, and the right answers to them.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use produce::ProduceOptions;
use schema::{KafkaFormat, Project};
use sim::{Catalog, FolderOptions, RateShape, Rows, Shares, SimConfig, SimError, Simulation, Stream, Weekly};

use crate::cli::{Common, Destination, DirtArgs, SimArgs};
use crate::exit::Usage;
use crate::progress::{counted, grouped, say};
use crate::settings::Settings;
use crate::{app, project, shutdown};

/// Writes the files, or sends the messages, and says what they were.
///
/// # Errors
/// Settings that cannot be followed, I/O errors with the path, a broker that is not there or refuses.
pub async fn run(common: &Common, args: SimArgs) -> Result<ExitCode> {
    match args.to.clone() {
        Destination::Folder(folder) => {
            if args.bootstrap.is_some() {
                return Err(Usage("--bootstrap is for --to kafka".to_owned()).into());
            }
            write(&args, &folder)
        }
        Destination::Kafka => send(common, &args).await,
    }
}

fn write(args: &SimArgs, folder: &Path) -> Result<ExitCode> {
    let simulation = Simulation::new(config(args)?)?;
    let options = FolderOptions { gzip: args.gzip, truth: args.truth.clone(), rate: args.rate };
    let truth = sim::write_folder(&simulation, folder, &options)?;
    for (name, counts) in &truth.counts {
        say(&format!(
            "{name}: {} events: {} facts, {} bad",
            grouped(counts.events),
            grouped(counts.facts),
            grouped(counts.quarantined)
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Sends the streams to their topics, and says how many messages each has got.
async fn send(common: &Common, args: &SimArgs) -> Result<ExitCode> {
    if args.gzip {
        return Err(Usage("--gzip is for files: compression.type in [kafka] compresses messages".to_owned()).into());
    }
    let folder = project::folder(common.project.as_deref())?;
    let settings = Settings::load(&folder, app::variables(), &common.set)?;
    let project = project::load(&folder)?;
    let simulation = Simulation::new(SimConfig { rows: message_rows(args)?, ..config(args)? })?;
    let mut properties = settings.kafka.0;
    properties.extend(args.bootstrap.clone().map(|servers| ("bootstrap.servers".to_owned(), servers)));
    if properties.get("bootstrap.servers").is_none_or(String::is_empty) {
        let message = "--to kafka: no broker: give --bootstrap, or bootstrap.servers in [kafka] of smelt.toml";
        return Err(Usage(message.to_owned()).into());
    }
    let topics = simulation.streams().map(|stream| Ok((stream, topic(&project, stream)?))).collect::<Result<_>>()?;
    let options = ProduceOptions { properties, topics, rate: args.rate, patience: settings.ingest.patience.0 };
    let cancel = shutdown::token()?;
    let simulated = simulation.clone();
    let sent = tokio::task::spawn_blocking(move || produce::send(&simulated, &options, &cancel)).await??;
    for (topic, messages) in &sent.topics {
        say(&format!("{topic}: {} sent", counted(*messages, "message")));
    }
    match &args.truth {
        Some(_) if !sent.is_whole => say("stopped before all was sent: the right answers are not written"),
        Some(folder) => simulation.truth().write(folder)?,
        None => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// The topic that a stream's contract names first, else one of the stream's name.
fn topic(project: &Project, stream: Stream) -> Result<String> {
    let Some(spec) = project.contracts.get(stream.name()).and_then(|contract| contract.kafka.as_ref()) else {
        return Ok(stream.name().to_owned());
    };
    if spec.format != KafkaFormat::Json {
        let format = spec.format.word();
        return Err(Usage(format!(
            "--to kafka: the simulator writes JSON, and the contract of {stream} says {format}"
        ))
        .into());
    }
    let named = spec.topics.iter().find(|topic| !schema::is_pattern(topic));
    Ok(named.map_or(stream.name(), String::as_str).to_owned())
}

/// The rows of the streams, as [`rows`]; landing sets are no messages.
fn message_rows(args: &SimArgs) -> Result<Rows> {
    if args.streams.is_empty() {
        return Ok(Rows::even(args.rows, &Stream::ALL.map(Stream::name))?);
    }
    let rows = rows(args)?;
    if args.streams.iter().any(|stream| stream.name == "weekly") {
        return Err(Usage("--to kafka: weekly is a landing set, whose files need a folder".to_owned()).into());
    }
    Ok(rows)
}

fn config(args: &SimArgs) -> Result<SimConfig, SimError> {
    let catalog = &args.catalog;
    Ok(SimConfig {
        seed: args.seed,
        start: args.start,
        days: args.days,
        rows: rows(args)?,
        shares: shares(&args.dirt),
        shape: RateShape { peak: args.peak.clone(), ..RateShape::default() },
        catalog: Catalog { products: catalog.products, stores: catalog.stores, customers: catalog.customers },
        weekly: Weekly { full_extract_days: args.full_extract_days, ..Weekly::default() },
        ..SimConfig::default()
    })
}

/// The rows of each stream: its own number, or an even share of `--rows`.
fn rows(args: &SimArgs) -> Result<Rows, SimError> {
    if args.streams.is_empty() {
        return Rows::even(args.rows, &Rows::NAMES);
    }
    let shared: Vec<&str> =
        args.streams.iter().filter(|stream| stream.rows.is_none()).map(|stream| stream.name.as_str()).collect();
    let mut rows = Rows::even(args.rows, &shared)?;
    for stream in &args.streams {
        if let Some(own) = stream.rows {
            rows.set(&stream.name, own)?;
        }
    }
    Ok(rows)
}

fn shares(args: &DirtArgs) -> Shares {
    let base = if args.clean { Shares::clean() } else { Shares::default() };
    Shares {
        bad: args.bad.unwrap_or(base.bad),
        duplicate: args.duplicate.unwrap_or(base.duplicate),
        late: args.late.unwrap_or(base.late),
        out_of_order: args.out_of_order.unwrap_or(base.out_of_order),
        corrected: args.corrected.unwrap_or(base.corrected),
        unknown: args.unknown.unwrap_or(base.unknown),
    }
}
