//! Telling people what checks found, beside a run and bounded in time at its end.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::NaiveDate;
use ingest::IngestReport;
use quality::CheckResult;
use quality::alerts::Alerts;
use schema::{Project, TableName};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use crate::progress::{counted, say};

/// Where a run puts what its checks found.
#[derive(Debug, Clone)]
pub struct Results(UnboundedSender<Vec<CheckResult>>);

impl Results {
    /// Passes results on; returns at once.
    pub fn send(&self, results: &[CheckResult]) {
        // After the watch has ended nobody listens, and nothing is left to tell.
        let _ = self.0.send(results.to_vec());
    }
}

/// Opens and resolves incidents while a run goes on.
#[derive(Debug)]
pub struct Watch {
    task: JoinHandle<()>,
}

impl Watch {
    /// Starts to listen. The watch ends when all [`Results`] are dropped.
    pub fn start(alerts: Alerts, project: Arc<Project>) -> (Watch, Results) {
        let (sender, receiver) = unbounded_channel();
        (Watch { task: tokio::spawn(listen(alerts, project, receiver)) }, Results(sender))
    }

    /// Waits until all that was passed on is told, or its time is up.
    pub async fn finish(self) {
        if let Err(error) = self.task.await {
            tracing::warn!("alerts: the task that sends them ended early: {error}");
        }
    }
}

async fn listen(alerts: Alerts, project: Arc<Project>, mut results: UnboundedReceiver<Vec<CheckResult>>) {
    retire(&alerts, &project).await;
    // What was told last of each incident: a run that follows finds the same a thousand times.
    let mut told: HashMap<String, bool> = HashMap::new();
    while let Some(mut batch) = results.recv().await {
        while let Ok(more) = results.try_recv() {
            batch.extend(more);
        }
        batch.retain(|result| told.insert(result.incident(), result.holds()) != Some(result.holds()));
        if !batch.is_empty() {
            tell(&alerts, &batch).await;
        }
    }
    // Also what earlier runs could not send.
    deliver(&alerts).await;
}

/// Resolves the incidents of checks and gates that the project's models do not have any more, and sends what is due.
pub async fn retire(alerts: &Alerts, project: &Project) {
    match alerts.retire(project.models.values()).await {
        Ok(0) => {}
        Ok(_) => deliver(alerts).await,
        Err(error) => tracing::warn!("alerts: incidents cannot be kept: {error}"),
    }
}

/// Opens and resolves the incidents of these results, and sends what is due. What fails is said and is no failure of the
/// run: its data is published.
pub async fn tell(alerts: &Alerts, results: &[CheckResult]) {
    if let Err(error) = alerts.report(results).await {
        tracing::warn!("alerts: incidents cannot be kept: {error}");
    }
    deliver(alerts).await;
}

/// Opens an incident for each day of a landing set that is not complete, and resolves those whose day was accepted.
pub async fn tell_sets(alerts: &Alerts, report: &IngestReport) {
    if report.sets.is_empty() {
        return;
    }
    if let Err(error) = sets(alerts, report).await {
        tracing::warn!("alerts: incidents cannot be kept: {error}");
    }
    deliver(alerts).await;
}

async fn sets(alerts: &Alerts, report: &IngestReport) -> quality::Result<()> {
    for lacking in report.incomplete() {
        let title = format!("landing set {} of {} is not complete", lacking.set, lacking.day);
        alerts.raise(&set_key(&lacking.set, lacking.day), &title, &lacking.to_string()).await?;
    }
    // Of hundreds of days that are accepted at once, few were waited for.
    let open: HashSet<String> = alerts.open_incidents().await?.into_iter().map(|incident| incident.key).collect();
    let accepted = report.sets.iter().flat_map(|set| set.accepted.iter().map(|day| set_key(&set.set, *day)));
    for key in accepted.filter(|key| open.contains(key)) {
        alerts.resolve(&key).await?;
    }
    Ok(())
}

/// Opens an incident for each table of which upkeep leaves too much, with what it is, and resolves those of the others.
pub async fn tell_upkeep(alerts: &Alerts, tables: &[(TableName, Option<String>)]) {
    if let Err(error) = upkeep(alerts, tables).await {
        tracing::warn!("alerts: incidents cannot be kept: {error}");
    }
    deliver(alerts).await;
}

async fn upkeep(alerts: &Alerts, tables: &[(TableName, Option<String>)]) -> quality::Result<()> {
    let open: HashSet<String> = alerts.open_incidents().await?.into_iter().map(|incident| incident.key).collect();
    for (table, left) in tables {
        let key = format!("upkeep:{table}");
        match left {
            Some(left) => {
                alerts.raise(&key, &format!("{table}: upkeep is behind"), left).await?;
            }
            None if open.contains(&key) => {
                alerts.resolve(&key).await?;
            }
            None => {}
        }
    }
    Ok(())
}

fn set_key(set: &str, day: NaiveDate) -> String {
    format!("set:{set}:{day}")
}

async fn deliver(alerts: &Alerts) {
    match alerts.deliver().await {
        Err(error) => tracing::warn!("{error}"),
        Ok(delivered) => {
            if delivered.sent > 0 {
                say(&format!("{} sent", counted(delivered.sent as u64, "alert")));
            }
            for why in delivered.kept {
                tracing::warn!("alert not sent, the next run tries again: {why}");
            }
        }
    }
}
