//! The schema registry: what the ids before records stand for, asked once each over Confluent's HTTP API.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::future::join_all;
use reqwest::{Client, StatusCode, Url};
use schema::KafkaFormat;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::IngestError;
use crate::decode::{AvroSchema, Framing, Known};

/// The longest wait for one answer.
const ANSWER: Duration = Duration::from_secs(3);
/// Ids that are asked for at the same time.
const AT_ONCE: usize = 8;
/// How long an id that the registry did not know is not asked for again.
const ABSENT_FOR: Duration = Duration::from_secs(60);
/// A registry of several servers tells a new id to all of them within this; only then one is unknown.
pub(crate) const NEWS_WITHIN: Duration = Duration::from_secs(3);
/// Schemas that refer to schemas, which do so again: nobody nests them deeper.
const MOST_REFERENCES: usize = 200;
/// What the registry calls an id that it does not know, and a subject or version that it does not.
const NOT_FOUND: std::ops::RangeInclusive<u32> = 40_401..=40_403;

/// Where the schema registry is, and who asks it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RegistryOptions {
    /// Its address: `http(s)://host:port`, with the path before `/schemas/ids` if it has one.
    pub url: String,
    /// The user, if it wants one (HTTP basic authentication).
    pub user: Option<String>,
    /// The user's password; shown nowhere.
    pub password: Option<String>,
}

impl fmt::Debug for RegistryOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let password = self.password.as_ref().map(|_| "[secret]");
        let mut shown = f.debug_struct("RegistryOptions");
        shown.field("url", &self.url).field("user", &self.user).field("password", &password).finish()
    }
}

/// Why something is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The registry is away, or answers what is no answer: asking again may help.
    Away(String),
    /// It does not want us, or is none.
    Refused(String),
    /// It does not know what was asked for.
    NotFound,
}

/// The registry, and what it said: ids are never given to another schema, so an answer holds for good.
pub(crate) struct Registry {
    client: Client,
    url: Url,
    options: RegistryOptions,
    known: Mutex<HashMap<u32, Known>>,
    /// Ids that it did not know, and when.
    absent: Mutex<HashMap<u32, Instant>>,
}

/// The answer to `/schemas/ids/{id}` and `/subjects/{subject}/versions/{version}`.
#[derive(Deserialize)]
struct Answer {
    schema: String,
    /// Absent: `AVRO`.
    #[serde(rename = "schemaType")]
    kind: Option<String>,
    #[serde(default)]
    references: Option<Vec<Reference>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
struct Reference {
    subject: String,
    version: i64,
}

#[derive(Deserialize)]
struct Refusal {
    error_code: u32,
}

impl Registry {
    /// A client of the registry; nobody is asked yet.
    ///
    /// # Errors
    /// [`IngestError::Option`] for an address that is none.
    pub fn new(options: &RegistryOptions) -> Result<Self, IngestError> {
        let wrong = |value: &str, expected: &str| IngestError::Option {
            key: "schema_registry.url".to_owned(),
            value: value.to_owned(),
            expected: expected.to_owned(),
        };
        let expected = "an address such as http://localhost:8081";
        let url: Url = options.url.parse().map_err(|_| wrong(&options.url, expected))?;
        if !matches!(url.scheme(), "http" | "https") || url.cannot_be_a_base() {
            return Err(wrong(&options.url, expected));
        }
        if !url.username().is_empty() || url.password().is_some() {
            // What stands there may be a secret.
            let expected = "an address without user and password, which are settings of their own";
            return Err(wrong(url.host_str().unwrap_or_default(), expected));
        }
        let client = Client::builder().timeout(ANSWER).user_agent(concat!("smelt/", env!("CARGO_PKG_VERSION"))).build();
        let client = client.map_err(|_| IngestError::Registry {
            url: url.to_string(),
            reason: "no HTTP client can be made here (TLS roots?)".to_owned(),
        })?;
        let (known, absent) = (Mutex::default(), Mutex::default());
        Ok(Self { client, url, options: options.clone(), known, absent })
    }

    /// The error of a registry that was asked in vain.
    pub fn error(&self, reason: String) -> IngestError {
        IngestError::Registry { url: self.url.to_string(), reason }
    }

    /// Those of some ids that have to be asked for. Ids are positive numbers of 32 bits: others are none, and a registry
    /// answers to them as if it were not there.
    pub fn unknown<'a>(&self, ids: impl IntoIterator<Item = &'a u32>) -> Vec<u32> {
        let (known, absent) = (lock(&self.known), lock(&self.absent));
        let is_absent = |id: &u32| absent.get(id).is_some_and(|since| since.elapsed() < ABSENT_FOR);
        let is_id = |id: &u32| i32::try_from(*id).is_ok();
        ids.into_iter().filter(|id| is_id(id) && !known.contains_key(*id) && !is_absent(id)).copied().collect()
    }

    /// What is known of some ids; those that were never asked for are absent.
    pub fn framing<'a>(&self, format: KafkaFormat, ids: impl IntoIterator<Item = &'a u32>) -> Framing {
        let known = lock(&self.known);
        let schemas = ids.into_iter().map(|id| (*id, known.get(id).cloned().unwrap_or(Known::Absent))).collect();
        Framing { format, schemas: Arc::new(schemas) }
    }

    /// Waits until all of these ids were asked for.
    ///
    /// # Errors
    /// The registry refuses, or is away for longer than `patience`; `cancel` fires meanwhile.
    pub async fn learn(
        &self,
        ids: &BTreeSet<u32>,
        patience: Duration,
        cancel: &CancellationToken,
    ) -> Result<(), IngestError> {
        let (begun, mut missing_since) = (Instant::now(), None);
        let (mut open, mut pause) = (self.unknown(ids), Duration::from_millis(20));
        while !open.is_empty() {
            match self.ask(&open).await {
                Ok(missing) => {
                    open = missing;
                    if missing_since.get_or_insert_with(Instant::now).elapsed() >= NEWS_WITHIN {
                        self.believe_absent(&open);
                        return Ok(());
                    }
                }
                Err(Failure::Away(reason)) if begun.elapsed() < patience => {
                    tracing::debug!("schema registry {}: {reason}; waiting", self.url);
                }
                Err(Failure::Away(reason) | Failure::Refused(reason)) => return Err(self.error(reason)),
                Err(Failure::NotFound) => return Err(self.error("it does not know what was asked for".to_owned())),
            }
            if open.is_empty() {
                break;
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = cancel.cancelled() => return Err(self.error("it was not waited for any longer".to_owned())),
            }
            pause = (pause * 2).min(Duration::from_millis(500));
        }
        Ok(())
    }

    /// Asks for these ids, and keeps the answers. Returns those that the registry does not know (yet).
    ///
    /// # Errors
    /// The first [`Failure`]; the answers before it are kept.
    pub async fn ask(&self, ids: &[u32]) -> Result<Vec<u32>, Failure> {
        let mut missing = Vec::new();
        for some in ids.chunks(AT_ONCE) {
            let answers = join_all(some.iter().map(|id| self.look_up(*id))).await;
            for (id, answer) in some.iter().zip(answers) {
                match answer {
                    Ok(known) => drop(lock(&self.known).insert(*id, known)),
                    Err(Failure::NotFound) => missing.push(*id),
                    Err(failure) => return Err(failure),
                }
            }
        }
        Ok(missing)
    }

    /// Believes that the registry does not know these ids; after a while they are asked for again.
    pub fn believe_absent(&self, ids: &[u32]) {
        let mut absent = lock(&self.absent);
        absent.retain(|_, since| since.elapsed() < ABSENT_FOR);
        absent.extend(ids.iter().map(|id| (*id, Instant::now())));
    }

    async fn look_up(&self, id: u32) -> Result<Known, Failure> {
        let answer: Answer = self.get(&["schemas", "ids", &id.to_string()]).await?;
        match answer.kind.as_deref() {
            None | Some("AVRO") => {}
            Some("JSON") => return Ok(Known::Json),
            Some(other) => return Ok(Known::Other(other.to_owned())),
        }
        let references = match self.referred(answer.references.unwrap_or_default()).await {
            Ok(references) => references,
            Err(Failure::NotFound) => {
                return Ok(Known::Unreadable("it refers to a schema that is not there".to_owned()));
            }
            Err(failure) => return Err(failure),
        };
        Ok(match AvroSchema::parse(&answer.schema, &references) {
            Ok(schema) => Known::Avro(Arc::new(schema)),
            Err(error) => Known::Unreadable(error.to_string()),
        })
    }

    /// The schemas that a schema refers to, each after those that it refers to itself.
    async fn referred(&self, references: Vec<Reference>) -> Result<Vec<String>, Failure> {
        let (mut seen, mut ordered) = (BTreeSet::new(), Vec::new());
        // What is to be asked for, and what was and comes behind its own references.
        let mut open: Vec<Result<Reference, String>> = references.into_iter().rev().map(Ok).collect();
        while let Some(next) = open.pop() {
            let reference = match next {
                Ok(reference) => reference,
                Err(text) => {
                    ordered.push(text);
                    continue;
                }
            };
            let version = reference.version.to_string();
            if !seen.insert((reference.subject.clone(), reference.version)) || seen.len() > MOST_REFERENCES {
                continue;
            }
            let answer: Answer = self.get(&["subjects", &reference.subject, "versions", &version]).await?;
            open.push(Err(answer.schema));
            open.extend(answer.references.unwrap_or_default().into_iter().rev().map(Ok));
        }
        Ok(ordered)
    }

    async fn get<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, Failure> {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let mut request =
            self.client.get(url).header("accept", "application/vnd.schemaregistry.v1+json, application/json");
        if let Some(user) = &self.options.user {
            request = request.basic_auth(user, self.options.password.as_ref());
        }
        let answer = request.send().await.map_err(away)?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(away)?;
        if status.is_success() {
            let read = serde_json::from_slice(&body);
            return read.map_err(|error| Failure::Away(format!("its answer is no schema: {error}")));
        }
        let code = serde_json::from_slice(&body).ok().map(|refusal: Refusal| refusal.error_code);
        Err(match status {
            StatusCode::NOT_FOUND if code.is_some_and(|code| NOT_FOUND.contains(&code)) => Failure::NotFound,
            StatusCode::NOT_FOUND => Failure::Refused("it answers 404 Not Found: there is no registry".to_owned()),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Failure::Refused(format!("it refuses (user, password): {status}"))
            }
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
                Failure::Away(format!("it answers {status}"))
            }
            _ if status.is_client_error() => Failure::Refused(format!("it answers {status}")),
            _ => Failure::Away(format!("it answers {status}")),
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What went wrong, in the words of its first cause, which hold no address.
fn away(error: reqwest::Error) -> Failure {
    if error.is_timeout() {
        return Failure::Away(format!("no answer within {ANSWER:?}"));
    }
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    Failure::Away(cause.to_string())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;

    use super::*;

    /// A registry that answers each request by its path, with a status and a body, and keeps the requests' heads.
    fn server(answer: fn(&str) -> (u16, &'static str)) -> (Registry, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}/api/", listener.local_addr().expect("an address"));
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = Arc::clone(&heads);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let lines = BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
                let head: Vec<String> = lines.collect();
                let path = head.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
                let (status, body) = answer(path);
                let length = body.len();
                let text =
                    format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
                lock(&seen).push(head.join("\n"));
                let _ = stream.write_all(text.as_bytes());
            }
        });
        let (user, password) = (Some("me".to_owned()), Some("hunter2".to_owned()));
        (Registry::new(&RegistryOptions { url, user, password }).expect("an address"), heads)
    }

    const RECORD: &str = r#"{"schema":"{\"type\":\"record\",\"name\":\"r\",\"fields\":[]}"}"#;

    fn answers(path: &str) -> (u16, &'static str) {
        match path.rsplit('/').next().unwrap_or_default() {
            "1" => (200, RECORD),
            "2" => (200, r#"{"schema":"{}","schemaType":"JSON"}"#),
            "3" => (200, r#"{"schema":"syntax","schemaType":"PROTOBUF"}"#),
            "4" => (200, r#"{"schema":"\"string\""}"#),
            "5" => (404, r#"{"error_code":40403,"message":"Schema 5 not found"}"#),
            "6" => (404, r#"{"error_code":404,"message":"HTTP 404 Not Found"}"#),
            "7" => (401, ""),
            "8" => (503, "busy"),
            "9" => (200, "<html>"),
            _ => (404, ""),
        }
    }

    #[tokio::test]
    async fn each_answer_means_something() {
        let (registry, heads) = server(answers);
        assert_eq!(registry.ask(&[1, 2, 3, 4, 5]).await, Ok(vec![5]));
        let schemas = registry.framing(KafkaFormat::Avro, &[1, 2, 3, 4, 5]).schemas;
        assert!(matches!(schemas[&1], Known::Avro(_)) && schemas[&2] == Known::Json && schemas[&5] == Known::Absent);
        assert_eq!(schemas[&3], Known::Other("PROTOBUF".to_owned()));
        assert_eq!(schemas[&4], Known::Unreadable("it is the schema of a value, not of a record".to_owned()));
        let head = lock(&heads)[0].clone();
        assert!(head.contains("/api/schemas/ids/") && head.contains("authorization: Basic bWU6aHVudGVyMg=="), "{head}");

        let refused = |reason: &str| Err(Failure::Refused(reason.to_owned()));
        assert_eq!(registry.ask(&[6]).await, refused("it answers 404 Not Found: there is no registry"));
        assert_eq!(registry.ask(&[7]).await, refused("it refuses (user, password): 401 Unauthorized"));
        assert_eq!(registry.ask(&[8]).await, Err(Failure::Away("it answers 503 Service Unavailable".to_owned())));
        assert!(matches!(registry.ask(&[9]).await, Err(Failure::Away(reason)) if reason.contains("no schema")));
    }

    #[tokio::test]
    async fn what_is_known_is_not_asked_for_again() {
        let (registry, heads) = server(answers);
        let ids = BTreeSet::from([1, 2, 5, 3_000_000_000]);
        let (patience, never) = (Duration::from_secs(60), CancellationToken::new());
        registry.learn(&ids, patience, &never).await.expect("it answers");
        assert!(registry.unknown(&ids).is_empty());
        let asked = lock(&heads).len();
        registry.learn(&ids, patience, &never).await.expect("nothing is asked");
        assert_eq!(lock(&heads).len(), asked);
        let all = lock(&heads).join("\n");
        assert!(
            all.matches("/ids/1 ").count() == 1 && all.matches("/ids/5 ").count() > 1 && !all.contains("3000000000")
        );

        let error = registry.learn(&BTreeSet::from([8]), Duration::ZERO, &never).await.expect_err("it is busy");
        assert!(error.to_string().ends_with("/api/: it answers 503 Service Unavailable"), "{error}");
    }

    #[tokio::test]
    async fn references_come_before_those_who_refer_to_them() {
        let (registry, _) = server(|path| match path {
            "/api/schemas/ids/1" => (
                200,
                r#"{"schema":"{\"type\":\"record\",\"name\":\"r\",\"fields\":[{\"name\":\"a\",\"type\":\"A\"},{\"name\":\"b\",\"type\":\"B\"}]}","references":[{"name":"A","subject":"a/x","version":2},{"name":"B","subject":"b","version":1}]}"#,
            ),
            "/api/subjects/a%2Fx/versions/2" => (
                200,
                r#"{"schema":"{\"type\":\"record\",\"name\":\"A\",\"fields\":[{\"name\":\"b\",\"type\":\"B\"}]}","references":[{"name":"B","subject":"b","version":1}]}"#,
            ),
            "/api/subjects/b/versions/1" => (200, r#"{"schema":"{\"type\":\"fixed\",\"name\":\"B\",\"size\":1}"}"#),
            _ => (404, r#"{"error_code":40401}"#),
        });
        assert_eq!(registry.ask(&[1]).await, Ok(Vec::new()));
        let schemas = registry.framing(KafkaFormat::Avro, &[1]).schemas;
        let Known::Avro(schema) = &schemas[&1] else { panic!("{schemas:?}") };
        let mut text = Vec::new();
        schema.write_json(b"xy", &mut text, 100).expect("two bytes");
        assert_eq!(text, br#"{"a":{"b":{"bytes":"x"}},"b":{"bytes":"y"}}"#);
    }

    #[test]
    fn an_address_is_http_and_holds_no_secret() {
        let new = |url: &str| {
            let options = RegistryOptions { url: url.to_owned(), ..RegistryOptions::default() };
            Registry::new(&options).map(|registry| registry.url.to_string()).map_err(|error| error.to_string())
        };
        assert_eq!(new("http://h:8081/apis/ccompat/v7").as_deref(), Ok("http://h:8081/apis/ccompat/v7"));
        for url in ["", "localhost:8081", "ftp://h"] {
            assert!(new(url).expect_err(url).contains("such as http://localhost:8081"));
        }
        let error = new("https://me:hunter2@h").expect_err("a secret");
        assert!(error.contains("settings of their own") && !error.contains("hunter2"), "{error}");
        let options = RegistryOptions { password: Some("hunter2".to_owned()), ..RegistryOptions::default() };
        assert!(!format!("{options:?}").contains("hunter2"));
    }
}
