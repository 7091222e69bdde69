use schema::{Project, SourceFile};
use store::LakeOptions;

use super::*;
use crate::Silent;
use crate::decoders::Decoders;
use crate::source::outlet;

const EVENTS: &str = r#"
description = "An event of a test"
entity = ["id"]
kafka = { topic = "events" }

[fields]
id = { type = "int", required = true, description = "its number" }
"#;

fn env() -> SinkEnv {
    let file = SourceFile { path: "models/bronze/events.toml".to_owned(), text: EVENTS.to_owned() };
    let contract = Project::parse([file]).expect("a lake in memory").contracts["events"].clone();
    SinkEnv {
        lake: Lake::with_store(Arc::new(object_store::memory::InMemory::new()), LakeOptions::default()),
        decoders: Arc::new(Decoders::new(&contract).expect("a lake in memory")),
        contract: Arc::new(contract),
        flush: FlushPolicy::default(),
        threads: 1,
        clock: Arc::new(chrono::Utc::now),
        progress: Arc::new(Silent),
    }
}

/// Events of the partition `p` that were read from `from` on, one an offset.
fn events(from: Option<i64>, to: i64) -> Event {
    let offsets: Vec<i64> = (from.unwrap_or(0)..to).collect();
    let texts: Vec<String> = offsets.iter().map(|offset| format!("{{\"id\":{offset}}}")).collect();
    let mut end = 0;
    let ranges = texts.iter().map(|text| {
        let start = end;
        end += text.len() as u32;
        start..end
    });
    let raw = RawBatch {
        ranges: ranges.collect(),
        bytes: texts.concat().into(),
        source: "kafka:c/events".into(),
        partition: 0,
        arrived_at: crate::records::ArrivedAt::All(0),
        keys: None,
        oversize: Vec::new(),
        header: None,
        headers: None,
        framing: None,
        offsets,
    };
    Event::Records(raw, Some(Reached { input: "p".into(), from: Begins::At(from), to, skipped: 0 }))
}

/// Runs a sink from where the table stands; `said` are the events of its source.
async fn run(env: &SinkEnv, said: impl AsyncFnOnce(crate::source::Outlet) + Send) -> Result<(), IngestError> {
    let table = env.lake.open_table(&env.contract.table()).await.expect("a lake in memory");
    let start = match &table {
        Some(table) => Some(table.refresh().await.expect("a lake in memory")),
        None => None,
    };
    let (mut watch, mut totals) = (StopWatch::new(None), Totals::default());
    let mut sink = Sink::new(env, table, start, &mut watch, &mut totals, Box::new(|_| {}));
    let (out, mut received) = outlet();
    let cancel = CancellationToken::new();
    let (done, ()) = tokio::join!(sink.consume(&mut received, &cancel), said(out));
    done
}

#[tokio::test]
async fn what_was_read_before_somebody_else_took_it_is_refused_although_the_table_was_asked_since() {
    let env = env();
    let refused = run(&env, async |out| {
        // The reader has the partition and read nothing of it yet. One that had it before wakes and commits what it read.
        run(&env, async |zombie| zombie.send(events(None, 300)).await.expect("a lake in memory"))
            .await
            .expect("a lake in memory");
        // Other partitions change hands, so the table is asked; this one stays where it is.
        out.settle(false).await.expect("a lake in memory");
        out.send(events(None, 500)).await.expect("a lake in memory");
    });
    let error = refused.await.expect_err("it is refused");
    assert!(
        matches!(&error, IngestError::Store(StoreError::Conflict { reason: ConflictReason::InputMoved { .. }, .. })),
        "{error:?}"
    );
    // From the table on, as the run that begins again does.
    run(&env, async |out| {
        out.send(events(Some(300), 400)).await.expect("a lake in memory");
        out.send(events(Some(400), 500)).await.expect("a lake in memory");
    })
    .await
    .expect("a lake in memory");
    let table = env.lake.table(&env.contract.table()).await.expect("a lake in memory");
    assert_eq!((table.snapshot().rows(), table.snapshot().txn("p")), (Some(500), Some(500)));
}

#[tokio::test]
async fn a_source_that_leaves_something_out_is_stopped() {
    let env = env();
    let stopped = run(&env, async |out| {
        out.send(events(None, 300)).await.expect("a lake in memory");
        out.send(events(Some(301), 400)).await.expect("a lake in memory");
    });
    assert!(matches!(stopped.await, Err(IngestError::Internal(_))));
    assert!(
        env.lake
            .open_table(&env.contract.table())
            .await
            .expect("a lake in memory")
            .is_none_or(|table| table.snapshot().version() == 0)
    );
}
