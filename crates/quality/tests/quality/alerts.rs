//! Incidents are told once each, to servers that fail, hang and recover, by as many runs as there are.

use std::time::{Duration, Instant};

use quality::CheckResult;
use quality::alerts::{AlertOptions, Alerts, Channel, Secret};
use schema::{Check, Severity, TableName};
use store::{Lake, LakeOptions};

use crate::server::{Reply, Server};
use crate::world::{lake, project, run};

const SLACK: &str = "/services/T0/B0/s3cret";

fn alerts(lake: &Lake, server: &Server, wait: Duration) -> Alerts {
    let slack = Channel::Slack { url: Ok(Secret::new(server.url(SLACK))) };
    let key = Ok(Secret::new("k3y"));
    let pagerduty = Channel::PagerDuty { key, url: server.url("/v2/enqueue") };
    Alerts::new(lake.clone(), AlertOptions { channels: vec![slack, pagerduty], wait })
}

fn result(success: bool) -> CheckResult {
    CheckResult {
        success,
        ..CheckResult::met(&TableName::gold("daily"), Severity::Fail, &Check::NotNull("day".into()))
    }
}

#[test]
fn an_incident_is_told_once_when_it_opens_and_once_when_it_is_over() {
    run(async {
        let (lake, server) = (lake().await, Server::start(&[]));
        for _ in 0..3 {
            let alerts = alerts(&lake, &server, Duration::from_secs(5));
            alerts.report(&[result(false)]).await.unwrap();
            alerts.deliver().await.unwrap();
        }
        assert_eq!((server.accepted(SLACK).len(), server.accepted("/v2/enqueue").len()), (1, 1));
        let alerts = alerts(&lake, &server, Duration::from_secs(5));
        let open = alerts.open_incidents().await.unwrap();
        assert_eq!(
            open.iter().map(|incident| incident.key.as_str()).collect::<Vec<_>>(),
            ["check:gold.daily:not_null(day)"]
        );
        for _ in 0..2 {
            alerts.report(&[result(true)]).await.unwrap();
            alerts.deliver().await.unwrap();
        }
        let (slack, pagerduty) = (server.accepted(SLACK), server.accepted("/v2/enqueue"));
        assert_eq!((slack.len(), pagerduty.len()), (2, 2));
        assert!(slack[0].contains(":red_circle:") && slack[1].contains("Resolved"), "{slack:?}");
        assert!(pagerduty[0].contains("\"trigger\"") && pagerduty[1].contains("\"resolve\""), "{pagerduty:?}");
        assert!(alerts.open_incidents().await.unwrap().is_empty());
        // It comes back: a new incident.
        alerts.report(&[result(false)]).await.unwrap();
        assert_eq!(alerts.deliver().await.unwrap().sent, 2);
        assert!(alerts.clean().await.unwrap() > 0);
        alerts.report(&[result(false)]).await.unwrap();
        assert_eq!(alerts.deliver().await.unwrap().sent, 0, "what is cleaned up is not told again");
    });
}

/// No result ever says that a check is met which its model does not have any more.
#[test]
fn an_incident_of_a_check_that_was_removed_is_over() {
    let model = |header: &str| {
        let text = format!(
            "/* models/gold/daily.sql\n---\ndescription = \"d\"\ngrain = [\"day\"]\nkept = \"full\"\n{header}\n--- */\n\
             SELECT 1 AS day"
        );
        project(&[("models/gold/daily.sql", text)])
    };
    run(async {
        let (lake, server) = (lake().await, Server::start(&[]));
        let alerts = alerts(&lake, &server, Duration::from_secs(5));
        let gate = CheckResult { feed: Some("daily".into()), ..result(false) };
        let weekly = CheckResult { table: TableName::gold("daily_weekly"), ..result(false) };
        alerts.report(&[result(false), gate, weekly]).await.unwrap();
        alerts.raise("set:weekly:2024-01-05", "files are missing", "").await.unwrap();
        let open = async || -> Vec<String> {
            alerts.open_incidents().await.unwrap().into_iter().map(|incident| incident.key).collect()
        };
        let left = ["check:gold.daily:not_null(day)", "check:gold.daily_weekly:not_null(day)", "set:weekly:2024-01-05"];
        // It has the check, and never had a gate.
        assert_eq!(alerts.retire(model("checks = [\"not_null(day)\"]").models.values()).await.unwrap(), 1);
        let mut found = open().await;
        found.sort();
        assert_eq!(found, left);
        // As a warning it is the same check.
        assert_eq!(alerts.retire(model("warnings = [\"not_null(day)\"]").models.values()).await.unwrap(), 0);
        assert_eq!(alerts.retire(model("checks = [\"unique(day)\"]").models.values()).await.unwrap(), 1);
        let mut found = open().await;
        found.sort();
        assert_eq!(found, left[1..]);
        alerts.deliver().await.unwrap();
        let resolved = server.accepted(SLACK).into_iter().filter(|body| body.contains("Resolved"));
        assert_eq!(resolved.count(), 2);
    });
}

#[test]
fn failures_that_pass_are_tried_again_and_a_hanging_server_holds_nobody_up() {
    run(async {
        let (lake, server) = (lake().await, Server::start(&[Reply::Status(503), Reply::Status(429)]));
        let channel = || Channel::Slack { url: Ok(Secret::new(server.url(SLACK))) };
        let of = |wait| Alerts::new(lake.clone(), AlertOptions { channels: vec![channel()], wait });
        let patient = of(Duration::from_secs(10));
        assert!(patient.raise("set:weekly:2024-01-05", "files are missing", "store_20240105.csv").await.unwrap());
        assert!(!patient.raise("set:weekly:2024-01-05", "files are missing", "").await.unwrap());
        assert_eq!(patient.deliver().await.unwrap().sent, 1);
        assert_eq!(server.requests().len(), 3);

        let hurried = of(Duration::from_secs(1));
        server.reply(&[Reply::Hang, Reply::Hang, Reply::Hang]);
        assert!(hurried.resolve("set:weekly:2024-01-05").await.unwrap());
        let begun = Instant::now();
        let delivered = hurried.deliver().await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
        assert_eq!((delivered.sent, delivered.kept.len()), (0, 1), "{delivered:?}");
        assert!(!format!("{delivered:?} {hurried:?}").contains("s3cret"), "{delivered:?} {hurried:?}");
        // Whatever is left of the hanging answers, the next runs get through.
        let mut sent = 0;
        for _ in 0..3 {
            sent += patient.deliver().await.unwrap().sent;
        }
        assert_eq!(sent, 1);
        assert_eq!(server.accepted(SLACK).len(), 2);
    });
}

#[test]
fn a_refusal_is_kept_and_a_missing_secret_named() {
    run(async {
        let (lake, server) = (lake().await, Server::start(&[Reply::Status(403)]));
        let refused = alerts(&lake, &server, Duration::from_secs(5));
        let channels = vec![Channel::Slack { url: Err("the variable SLACK is not set".into()) }];
        let unset = Alerts::new(lake.clone(), AlertOptions { channels, wait: Duration::from_secs(5) });
        refused.raise("k", "t", "d").await.unwrap();
        let kept = unset.deliver().await.unwrap().kept;
        assert_eq!(kept, ["slack: k: the variable SLACK is not set"]);
        let delivered = refused.deliver().await.unwrap();
        assert_eq!(delivered.sent, 1);
        assert!(delivered.kept[0].contains("403"), "{delivered:?}");
        assert_eq!(server.requests().len(), 2, "a refusal is not tried again at once");
        assert_eq!(refused.deliver().await.unwrap().sent, 1);
    });
}

#[test]
fn runs_side_by_side_tell_once() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(&[]);
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let (path, server) = (folder.path().to_string_lossy().into_owned(), server.clone());
            tasks.spawn(async move {
                let lake = Lake::open(&path, LakeOptions::default()).await.unwrap();
                let alerts = alerts(&lake, &server, Duration::from_secs(10));
                alerts.report(&[result(false)]).await.unwrap();
                alerts.deliver().await.unwrap();
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
        assert_eq!((server.accepted(SLACK).len(), server.accepted("/v2/enqueue").len()), (1, 1));
    });
}
