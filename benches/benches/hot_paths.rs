//! The two hot paths of ingest, each on one thread: records to Arrow, and Arrow to files.
//!
//! `cargo bench -p benches`; the end-to-end loads are subcommands of the runner.
#![allow(missing_docs, reason = "criterion's macros write undocumented functions")]

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ingest::decode::Decoder;
use ingest::records::{ArrivedAt, RawBatch};
use schema::{Contract, Project, SourceFile};
use sim::{EventBatch, Rows, Shares, SimConfig, Simulation, Stream};
use store::{Lake, LakeOptions, TableSpec, WriterOptions};

/// Records of a batch.
const RECORDS: u64 = 32 * 1024;

fn contract(stream: Stream) -> Contract {
    let path = format!("models/bronze/{stream}.toml");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(&path);
    let text = std::fs::read_to_string(file).expect("the shipped contract is there");
    let mut project = Project::parse([SourceFile { path, text }]).expect("the shipped contract is right");
    project.contracts.remove(stream.name()).expect("the contract has its file's name")
}

fn records(stream: Stream, shares: Shares) -> RawBatch {
    let rows = Rows::even(RECORDS, &[stream.name()]).expect("the stream is simulated");
    let config = SimConfig { rows, shares, partitions: 1, ..SimConfig::default() };
    let mut batch = EventBatch::default();
    let mut events = Simulation::new(config).expect("valid settings").events(stream);
    while (batch.entries.len() as u64) < RECORDS && events.next_into(&mut batch) {}
    RawBatch {
        ranges: batch.entries.iter().map(|entry| entry.payload.clone()).collect(),
        offsets: batch.entries.iter().map(|entry| entry.offset).collect(),
        arrived_at: ArrivedAt::Each(batch.entries.iter().map(|entry| entry.arrived_at_ms * 1000).collect()),
        keys: Some(batch.entries.iter().map(|entry| Some(entry.key.clone())).collect()),
        bytes: Bytes::from(batch.bytes),
        source: Arc::from("kafka:bench/topic"),
        partition: 0,
        oversize: Vec::new(),
        header: None,
        headers: None,
        framing: None,
    }
}

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(RECORDS));
    let dirty = Shares { bad: 0.01, unknown: 1.0, ..Shares::clean() };
    for stream in [Stream::PosSales, Stream::Invoices, Stream::SalesTransactions] {
        let contract = contract(stream);
        for (name, shares) in [("clean", Shares::clean()), ("dirty", dirty.clone())] {
            let raw = records(stream, shares);
            let mut decoder = Decoder::new(&contract, Vec::new(), Vec::new());
            group.bench_function(format!("{stream}/{name}"), |bencher| {
                bencher.iter(|| decoder.decode(&raw, 0).expect("a batch decodes"));
            });
        }
    }
    group.finish();
}

fn encode(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut group = criterion.benchmark_group("encode");
    group.throughput(Throughput::Elements(RECORDS));
    for stream in [Stream::PosSales, Stream::Invoices, Stream::SalesTransactions] {
        let contract = contract(stream);
        let rows = Decoder::new(&contract, Vec::new(), Vec::new())
            .decode(&records(stream, Shares::clean()), 0)
            .expect("a batch decodes")
            .stored;
        let table = runtime.block_on(async {
            let lake = Lake::open("memory:///", LakeOptions::default()).await.expect("a lake in memory");
            let name = format!("silver.{stream}").parse().expect("a name");
            lake.create_table(&name, &TableSpec::new(rows.schema())).await.expect("a table")
        });
        group.bench_function(stream.name(), |bencher| {
            bencher.iter(|| {
                runtime.block_on(async {
                    let mut writer = table.writer(WriterOptions { threads: 1, ..WriterOptions::default() });
                    writer.write(rows.clone()).await.expect("rows fit their table");
                    writer.finish().await.expect("files in memory")
                })
            });
        });
    }
    group.finish();
}

criterion_group!(hot_paths, decode, encode);
criterion_main!(hot_paths);
