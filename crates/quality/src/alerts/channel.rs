//! Where notices go: the shapes that Slack and PagerDuty understand.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_128;

use super::Incident;

/// The longest `dedup_key` that PagerDuty takes.
const LONGEST_DEDUP_KEY: usize = 255;
/// The longest `summary` that it takes.
const LONGEST_SUMMARY: usize = 1024;
/// What of the details a notice carries: Slack cuts a message at 40,000 characters.
const LONGEST_DETAILS: usize = 3000;

/// A kind of channel, as objects in the lake name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelKind {
    /// An incoming webhook of Slack.
    Slack,
    /// The Events API v2 of PagerDuty.
    PagerDuty,
}

impl ChannelKind {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Slack => "slack",
            Self::PagerDuty => "pagerduty",
        }
    }

    pub(super) fn of_word(word: &str) -> Option<Self> {
        [Self::Slack, Self::PagerDuty].into_iter().find(|kind| kind.word() == word)
    }
}

/// A text that is shown nowhere.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Takes a text that must be shown nowhere.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A configured channel. `Err` in place of its secret: why there is none.
#[derive(Clone, Debug)]
pub enum Channel {
    /// An incoming webhook of Slack.
    Slack {
        /// The webhook's URL, which whoever knows it can post to.
        url: Result<Secret, String>,
    },
    /// The Events API v2 of PagerDuty.
    PagerDuty {
        /// The integration key.
        key: Result<Secret, String>,
        /// Where events go; PagerDuty's own address but for tests and relays.
        url: String,
    },
}

/// What to post where.
pub(super) struct Post {
    pub(super) url: Secret,
    pub(super) body: Value,
}

impl Post {
    pub(super) fn address(&self) -> &str {
        &self.url.0
    }
}

impl Channel {
    /// Its kind.
    pub fn kind(&self) -> ChannelKind {
        match self {
            Self::Slack { .. } => ChannelKind::Slack,
            Self::PagerDuty { .. } => ChannelKind::PagerDuty,
        }
    }

    /// The notice of an incident of the lake at `lake`.
    pub(super) fn post(&self, incident: &Incident, lake: &str) -> Result<Post, String> {
        match self {
            Self::Slack { url } => Ok(Post { url: url.clone()?, body: slack(incident, lake) }),
            Self::PagerDuty { key, url } => {
                let body = pagerduty(incident, lake, &key.clone()?);
                Ok(Post { url: Secret::new(url.clone()), body })
            }
        }
    }
}

/// A message of an incoming webhook: <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>.
fn slack(incident: &Incident, lake: &str) -> Value {
    let title = escaped(&incident.title);
    let text = match incident.resolved {
        true => format!(
            ":large_green_circle: *Resolved:* {title}\nsince {}, over at {}",
            at(incident.opened_at),
            at(incident.at)
        ),
        false => format!(
            ":red_circle: *{title}*\n{}\nsince {}",
            escaped(&cut(&incident.details, LONGEST_DETAILS)),
            at(incident.at)
        ),
    };
    json!({ "text": format!("{text}\nlake {}", escaped(lake)) })
}

/// An event: <https://developer.pagerduty.com/docs/events-api-v2-overview>.
fn pagerduty(incident: &Incident, lake: &str, key: &Secret) -> Value {
    let dedup_key = dedup_key(&incident.key, lake);
    if incident.resolved {
        return json!({ "routing_key": key.0, "event_action": "resolve", "dedup_key": dedup_key });
    }
    json!({
        "routing_key": key.0,
        "event_action": "trigger",
        "dedup_key": dedup_key,
        "client": "Smelt",
        "payload": {
            "summary": cut(&incident.title, LONGEST_SUMMARY),
            "source": lake,
            "severity": "error",
            "timestamp": incident.at.to_rfc3339(),
            "component": incident.key,
            "group": "smelt",
            "class": incident.key.split(':').next().unwrap_or_default(),
            "custom_details": { "details": cut(&incident.details, LONGEST_DETAILS) },
        },
    })
}

/// The key with a hash of the lake before it, because two lakes may have the same thing wrong.
fn dedup_key(key: &str, lake: &str) -> String {
    let whole = format!("smelt:{:016x}:{key}", xxh3_128(lake.as_bytes()) as u64);
    if whole.len() <= LONGEST_DEDUP_KEY { whole } else { format!("smelt:{:032x}", xxh3_128(whole.as_bytes())) }
}

fn at(instant: chrono::DateTime<chrono::Utc>) -> String {
    instant.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// The three characters that Slack reads as marks.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => text.chars().take(most - 3).chain("...".chars()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incident(resolved: bool) -> Incident {
        let at = chrono::DateTime::UNIX_EPOCH;
        let (title, details) = ("a < b & c".to_owned(), "x".repeat(5000));
        Incident { key: "gate:silver.s:f".into(), resolved, at, opened_at: at, title, details, to: Vec::new() }
    }

    #[test]
    fn slack_gets_a_text_without_marks_of_ours() {
        let text = slack(&incident(false), "file:///lake")["text"].as_str().unwrap_or_default().to_owned();
        assert!(text.starts_with(":red_circle: *a &lt; b &amp; c*\nxxx"), "{text}");
        assert!(text.ends_with("...\nsince 1970-01-01 00:00:00 UTC\nlake file:///lake"), "{text}");
        let text = slack(&incident(true), "l")["text"].as_str().unwrap_or_default().to_owned();
        assert!(text.starts_with(":large_green_circle: *Resolved:*"), "{text}");
    }

    #[test]
    fn pagerduty_is_told_by_one_key_from_trigger_to_resolve() {
        let key = Secret::new("k");
        let (trigger, resolve) = (pagerduty(&incident(false), "l", &key), pagerduty(&incident(true), "l", &key));
        assert_eq!((&trigger["event_action"], &resolve["event_action"]), (&json!("trigger"), &json!("resolve")));
        assert_eq!(trigger["dedup_key"], resolve["dedup_key"]);
        assert_eq!((&trigger["routing_key"], &resolve["routing_key"]), (&json!("k"), &json!("k")));
        // What the Events API requires of a payload, and within its lengths.
        let payload = &trigger["payload"];
        assert_eq!(
            [&payload["summary"], &payload["source"], &payload["severity"], &payload["class"]],
            [&json!("a < b & c"), &json!("l"), &json!("error"), &json!("gate")]
        );
        assert_eq!(payload["timestamp"], "1970-01-01T00:00:00+00:00");
        let long = Incident { title: "t".repeat(2000), ..incident(false) };
        let summary = &pagerduty(&long, "l", &key)["payload"]["summary"];
        assert_eq!(summary.as_str().map(str::len), Some(LONGEST_SUMMARY));
        assert!(resolve.get("payload").is_none());
        assert!(dedup_key(&"k".repeat(300), "l").len() <= LONGEST_DEDUP_KEY);
        assert_ne!(dedup_key("k", "a"), dedup_key("k", "b"));
    }

    #[test]
    fn a_secret_is_shown_nowhere() {
        let channel = Channel::Slack { url: Ok(Secret::new("https://hooks/T0/secret")) };
        assert!(!format!("{channel:?}").contains("secret"));
    }
}
