//! Alerts: people are told once when something goes wrong, and once when it is over.
//!
//! Runs say what is wrong by key ([`Alerts::raise`], [`Alerts::resolve`], [`Alerts::report`]); the state is kept in the
//! lake (see `incidents.rs`), so that the hundredth cron run that finds the same thing says nothing, and the first that
//! no longer does resolves it. [`Alerts::deliver`] tells the configured channels within a bounded time; what could not be
//! sent is kept, and the next run sends it. A notice is sent at least once: a run that dies between the answer and its
//! note of it has the next one send it again, which PagerDuty recognises by its key.

mod channel;
mod incidents;
mod send;

use std::time::Duration;

use futures::future::join_all;
use reqwest::Client;
use schema::Model;
use store::Lake;
use tokio::time::Instant;

use crate::result::{incidents_of, is_incident_of};
use crate::{CheckResult, Result};

pub use channel::{Channel, ChannelKind, Secret};
pub use incidents::Incident;
use incidents::{Incidents, Known, folder_of};

/// How alerts are sent.
#[derive(Clone, Debug)]
pub struct AlertOptions {
    /// Where to.
    pub channels: Vec<Channel>,
    /// The longest that [`Alerts::deliver`] takes.
    pub wait: Duration,
}

/// What became of notices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Notices that were accepted.
    pub sent: usize,
    /// Notices that were not, and why: the next run tries again.
    pub kept: Vec<String>,
}

/// The incidents of a lake, and the channels that are told of them. Clones are the same.
#[derive(Clone, Debug)]
pub struct Alerts {
    incidents: Incidents,
    lake: String,
    options: AlertOptions,
}

impl Alerts {
    /// Alerts about a lake. Reads nothing yet.
    pub fn new(lake: Lake, options: AlertOptions) -> Self {
        let url = lake.url().to_string();
        Self { incidents: Incidents::new(lake), lake: url, options }
    }

    /// Says that something is wrong. `key` tells it from everything else that may be (`set:weekly:2024-01-05`). Gives
    /// whether this opened the incident: it is false while it is open already.
    ///
    /// # Errors
    /// When the lake cannot be read or written.
    pub async fn raise(&self, key: &str, title: &str, details: &str) -> Result<bool> {
        let known = self.incidents.one(key).await?;
        self.open(&known, key, title, details).await
    }

    /// Says that it is over. Gives whether this resolved the incident: it is false where none was open.
    ///
    /// # Errors
    /// When the lake cannot be read or written.
    pub async fn resolve(&self, key: &str) -> Result<bool> {
        let known = self.incidents.one(key).await?;
        self.close(&known, key).await
    }

    /// Raises what these results hold back or fail, and resolves what they say is met.
    ///
    /// # Errors
    /// When the lake cannot be read or written.
    pub async fn report(&self, results: &[CheckResult]) -> Result<()> {
        if results.is_empty() {
            return Ok(());
        }
        let all = self.incidents.all().await?;
        let nothing = Known::default();
        for result in results {
            let key = result.incident();
            let known = all.get(&folder_of(&key)).unwrap_or(&nothing);
            if result.holds() {
                self.open(known, &key, &title(result), &details(result)).await?;
            } else {
                self.close(known, &key).await?;
            }
        }
        Ok(())
    }

    /// Resolves the incidents of checks and gates that these models do not have any more, because no result will ever say
    /// that they are over. Gives how many. What is about other tables is left alone: another project may keep them.
    ///
    /// # Errors
    /// When the lake cannot be read or written.
    pub async fn retire<'a>(&self, models: impl IntoIterator<Item = &'a Model>) -> Result<usize> {
        let models: Vec<&Model> = models.into_iter().collect();
        let mut retired = 0;
        for Incident { key, .. } in self.open_incidents().await? {
            let model = models.iter().find(|model| is_incident_of(&key, &model.name));
            if model.is_some_and(|model| !incidents_of(model).any(|known| known == key)) {
                retired += usize::from(self.resolve(&key).await?);
            }
        }
        Ok(retired)
    }

    /// The incidents that go on, oldest first.
    ///
    /// # Errors
    /// When the lake cannot be read.
    pub async fn open_incidents(&self) -> Result<Vec<Incident>> {
        let mut open = Vec::new();
        for (folder, known) in self.incidents.all().await?.iter().filter(|(_, known)| known.is_open()) {
            open.extend(self.incidents.read(folder, known.last).await?);
        }
        open.sort_by(|a, b| (a.at, &a.key).cmp(&(b.at, &b.key)));
        Ok(open)
    }

    /// Sends all notices that are due, those of earlier runs too, to all channels side by side. Takes no longer than
    /// [`AlertOptions::wait`] to talk to them.
    ///
    /// # Errors
    /// When the lake cannot be read or written, or no HTTP client can be made. A channel that does not take a notice is
    /// none: see [`Delivered::kept`].
    pub async fn deliver(&self) -> Result<Delivered> {
        if self.options.channels.is_empty() {
            return Ok(Delivered::default());
        }
        let all = self.incidents.all().await?;
        let due = all.iter().any(|(_, known)| {
            let of = |number| self.options.channels.iter().any(|channel| !known.is_sent(number, channel.kind()));
            known.last > 0 && numbers(known).any(of)
        });
        if !due {
            return Ok(Delivered::default());
        }
        let (client, until) = (send::client()?, Instant::now() + self.options.wait);
        let each = self.options.channels.iter().map(|channel| self.deliver_to(channel, &client, &all, until));
        let mut delivered = Delivered::default();
        for done in join_all(each).await {
            let done = done?;
            delivered.sent += done.sent;
            delivered.kept.extend(done.kept);
        }
        Ok(delivered)
    }

    /// Forgets what incidents came before the last one of each key. Gives how many objects were removed.
    ///
    /// # Errors
    /// When the lake cannot be read or written.
    pub async fn clean(&self) -> Result<usize> {
        self.incidents.clean().await
    }

    async fn deliver_to(
        &self,
        channel: &Channel,
        client: &Client,
        all: &std::collections::BTreeMap<String, Known>,
        until: Instant,
    ) -> Result<Delivered> {
        let (mut delivered, kind) = (Delivered::default(), channel.kind());
        for (folder, known) in all {
            for number in numbers(known).filter(|number| !known.is_sent(*number, kind)) {
                let Some(incident) = self.incidents.read(folder, number).await? else { continue };
                if !incident.to.contains(&kind) {
                    continue;
                }
                let Some(taken) = self.incidents.take(folder, (number, kind), known, self.options.wait).await? else {
                    break;
                };
                let sent = match channel.post(&incident, &self.lake) {
                    Ok(post) => send::post(client, &post, until).await,
                    Err(why) => Err(why),
                };
                match sent {
                    Ok(()) => {
                        self.incidents.done(&taken).await?;
                        delivered.sent += 1;
                    }
                    Err(why) => {
                        self.incidents.give_back(&taken).await?;
                        delivered.kept.push(format!("{}: {}: {why}", kind.word(), incident.key));
                        // What comes later of this incident must not overtake.
                        break;
                    }
                }
            }
        }
        Ok(delivered)
    }

    async fn open(&self, known: &Known, key: &str, title: &str, details: &str) -> Result<bool> {
        if known.is_open() {
            return Ok(false);
        }
        let at = self.incidents.now();
        let to = self.options.channels.iter().map(Channel::kind).collect();
        let (key, title, details) = (key.to_owned(), title.to_owned(), details.to_owned());
        let incident = Incident { key, resolved: false, at, opened_at: at, title, details, to };
        self.incidents.append(known, &incident).await
    }

    async fn close(&self, known: &Known, key: &str) -> Result<bool> {
        if !known.is_open() {
            return Ok(false);
        }
        let Some(opened) = self.incidents.read(&folder_of(key), known.last).await? else { return Ok(false) };
        // Those who were told that it began are told that it is over.
        self.incidents.append(known, &Incident { resolved: true, at: self.incidents.now(), ..opened }).await
    }
}

/// The events of which notices may be due: the last incident's.
fn numbers(known: &Known) -> impl Iterator<Item = u64> + use<> {
    let first = if known.is_open() { known.last } else { known.last.saturating_sub(1) };
    first.max(1)..known.last + 1
}

fn title(result: &CheckResult) -> String {
    match &result.feed {
        Some(feed) => format!("{}: feed {feed} is held back", result.table),
        None => format!("{}: {} fails", result.table, result.check),
    }
}

/// What is wrong, without the rows themselves, which may hold what is nobody's business there.
fn details(result: &CheckResult) -> String {
    let plain = CheckResult { sample: Vec::new(), ..result.clone() };
    let advice = result
        .feed
        .as_ref()
        .map(|feed| format!("; mend its rows (smelt quarantine), or let it through with smelt refine --allow {feed}"));
    format!("{plain}{}", advice.unwrap_or_default())
}
