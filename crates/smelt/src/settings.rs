//! Configuration: `smelt.toml`, then `SMELT_*` variables, then `--set`, each over the one before; unknown keys are errors.
//!
//! Every setting has a default, so that the file may be absent. A component is handed only its own part.

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use ingest::RegistryOptions;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::day::Zone;
use crate::exit::Usage;
use crate::kafka::{KafkaProperties, is_secret};
use crate::units::{ByteSize, Span};

/// All settings, with the names that `smelt.toml` uses.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where the tables are: a path (relative to the project folder), `file://` or `s3://bucket/prefix`.
    pub lake: String,
    /// The folder or URL that the `files.path` of contracts is relative to.
    pub landing: String,
    /// The zone whose days `--day today` and `--day yesterday` mean.
    pub time_zone: Zone,
    /// Memory, cores and time.
    pub limits: Limits,
    /// How events become commits.
    pub ingest: Ingest,
    /// How often `--follow` looks for new upstream versions.
    pub refine: Refine,
    /// How tables are kept.
    pub store: Store,
    /// When upkeep is behind.
    pub maintain: Maintain,
    /// Who is told when a gate or a check fails.
    pub alerts: Alerts,
    /// Properties of the Kafka client, by librdkafka's names; without `bootstrap.servers` no topic is read.
    pub kafka: KafkaProperties,
    /// Who knows the schemas of messages that stand behind an id.
    pub schema_registry: SchemaRegistry,
}

/// `[limits]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Memory of queries and refreshes together; past it they spill to disk.
    pub memory: ByteSize,
    /// Cores to use; 0 is all of them.
    pub threads: usize,
    /// After this a query of `smelt sql` or `smelt query` is stopped; `0s` is never.
    pub query_time: Span,
    /// Where spilled data goes; empty is the system's temporary folder.
    pub spill: String,
}

/// `[ingest]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ingest {
    /// A commit is made at the latest after so many rows,
    pub flush_rows: usize,
    /// so many bytes of input,
    pub flush_bytes: ByteSize,
    /// or so much time, whichever is first.
    pub flush_interval: Span,
    /// With `--follow`, a landing file is taken when it looked the same twice, this far apart.
    pub settle: Span,
    /// Without `--follow`, how long a Kafka broker or the schema registry may be away or silent before streams give up.
    pub patience: Span,
}

/// `[refine]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Refine {
    /// How often `--follow` asks for new versions.
    pub poll: Span,
}

/// `[store]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// Sync files and folders of a local lake to the disk before a commit counts. Off, a power loss may lose commits.
    pub sync: bool,
}

/// `[maintain]`: how much of a table `smelt maintain` may leave before people are told, and how long it waits for readers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Maintain {
    /// Live files.
    pub most_files: usize,
    /// Files that were removed and are not vacuumed.
    pub most_tombstones: usize,
    /// A table that has not read another's commit for so long is given up: what it needs is kept no longer, and it can only
    /// be rebuilt.
    pub most_lag: Span,
}

/// `[alerts]`. Secrets are named here, never given: their values come from the environment.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Alerts {
    /// The variable that holds the URL of a Slack incoming webhook; empty is none.
    pub slack_url_env: String,
    /// The variable that holds the integration key of PagerDuty's Events API v2; empty is none.
    pub pagerduty_key_env: String,
    /// Where PagerDuty's events go.
    pub pagerduty_url: String,
    /// The longest that sending may hold up the end of a run; what is not sent by then the next run sends.
    pub wait: Span,
}

/// `[schema_registry]`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SchemaRegistry {
    /// The address of a schema registry that answers as Confluent's does; empty is none.
    pub url: String,
    /// The user, where it wants one.
    pub user: String,
    /// The user's password.
    pub password: Hidden,
}

/// A text that is shown nowhere.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hidden(String);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "\"\"" } else { "[secret]" })
    }
}

impl SchemaRegistry {
    /// The registry, if one is configured.
    pub fn options(&self) -> Option<RegistryOptions> {
        let given = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        let (user, password) = (given(&self.user), given(&self.password.0));
        Some(RegistryOptions { url: given(&self.url)?, user, password })
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            lake: "lake".into(),
            landing: ".".into(),
            time_zone: Zone(chrono_tz::Tz::UTC),
            limits: Limits::default(),
            ingest: Ingest::default(),
            refine: Refine::default(),
            store: Store::default(),
            maintain: Maintain::default(),
            alerts: Alerts::default(),
            kafka: KafkaProperties::default(),
            schema_registry: SchemaRegistry::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            memory: ByteSize(1 << 30),
            threads: 0,
            query_time: Span(std::time::Duration::from_secs(300)),
            spill: String::new(),
        }
    }
}

impl Default for Ingest {
    fn default() -> Self {
        Ingest {
            flush_rows: 2_000_000,
            flush_bytes: ByteSize(512 << 20),
            flush_interval: Span(std::time::Duration::from_secs(1)),
            settle: Span(std::time::Duration::from_secs(2)),
            patience: Span(std::time::Duration::from_secs(300)),
        }
    }
}

impl Default for Refine {
    fn default() -> Self {
        Refine { poll: Span(std::time::Duration::from_millis(200)) }
    }
}

impl Default for Store {
    fn default() -> Self {
        Store { sync: true }
    }
}

impl Default for Maintain {
    /// Far more than a table has whose upkeep runs daily, and less than makes opening it slow.
    fn default() -> Self {
        let month = std::time::Duration::from_secs(30 * 24 * 3600);
        Maintain { most_files: 20_000, most_tombstones: 100_000, most_lag: Span(month) }
    }
}

impl Default for Alerts {
    fn default() -> Self {
        Alerts {
            slack_url_env: String::new(),
            pagerduty_key_env: String::new(),
            pagerduty_url: "https://events.pagerduty.com/v2/enqueue".into(),
            wait: Span(std::time::Duration::from_secs(10)),
        }
    }
}

impl Limits {
    /// The cores to use: `threads`, or all that the machine has.
    pub fn cores(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        }
    }
}

impl Settings {
    /// Reads `smelt.toml` of `folder` if it is there, then the variables, then the `key=value` pairs of `--set`.
    ///
    /// # Errors
    /// [`Usage`] that names the file and line, the variable or the key, and what was expected.
    pub fn load(
        folder: &Path,
        variables: impl IntoIterator<Item = (String, String)>,
        set: &[String],
    ) -> Result<Settings> {
        let path = folder.join("smelt.toml");
        let mut table = match std::fs::read_to_string(&path) {
            Ok(text) => {
                // Parsed alone first, so that an error has its line.
                let wrong = |error| Usage(format!("{}: {}", path.display(), shown(&error, &text)));
                toml::from_str::<Settings>(&text).map_err(wrong)?;
                text.parse::<Table>().map_err(wrong)?
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Table::new(),
            Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
        };
        let variables: Vec<(String, String)> = variables.into_iter().collect();
        let secrets = secrets(&table, &variables, set)?;
        for (name, value) in variables.iter().filter(|(name, _)| !secrets.contains(name)) {
            let Some(rest) = name.strip_prefix("SMELT_") else { continue };
            apply(&mut table, &key_of_variable(rest).ok_or_else(|| unknown("variable", name))?, value)
                .map_err(|error| Usage(format!("variable {name}: {error}")))?;
        }
        for pair in set {
            let (key, value) =
                pair.split_once('=').ok_or_else(|| Usage(format!("--set {pair}: expected key=value")))?;
            if !known_keys().iter().any(|known| known == key) && !key.starts_with("kafka.") {
                return Err(unknown("--set", key).into());
            }
            apply(&mut table, key, value).map_err(|error| Usage(format!("--set {key}: {error}")))?;
        }
        Settings::deserialize(table).map_err(|error| Usage(error.to_string()).into())
    }
}

/// What is wrong with the file; the line itself only where no secret stands in it.
fn shown(error: &toml::de::Error, text: &str) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let number = before.lines().count().max(1);
    match text.lines().nth(number - 1) {
        Some(line) if is_secret(line) => format!("line {number}: {}", error.message()),
        _ => error.to_string(),
    }
}

/// The names of the variables that hold secrets, which are no settings although they may begin like one.
fn secrets(table: &Table, variables: &[(String, String)], set: &[String]) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for key in ["slack_url_env", "pagerduty_key_env"] {
        let (dotted, variable) = (format!("alerts.{key}"), format!("SMELT_ALERTS_{}", key.to_uppercase()));
        let in_file = table.get("alerts").and_then(|alerts| alerts.get(key)).and_then(Value::as_str);
        let in_variable = variables.iter().find(|(name, _)| *name == variable).map(|(_, value)| value.as_str());
        let mut pairs = set.iter().rev().filter_map(|pair| pair.split_once('='));
        let in_flag = pairs.find(|(name, _)| *name == dotted).map(|(_, value)| value);
        let Some(name) = in_flag.or(in_variable).or(in_file).filter(|name| !name.is_empty()) else { continue };
        if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            // What stands there may be the secret itself.
            let message =
                format!("{dotted}: expected the name of a variable that holds the secret, such as SMELT_SLACK_URL");
            return Err(Usage(message).into());
        }
        names.push(name.to_owned());
    }
    Ok(names)
}

/// The dotted names of all settings but those of `[kafka]`, which are the client's own.
fn known_keys() -> Vec<String> {
    let mut keys = Vec::new();
    if let Ok(table) = Table::try_from(Settings::default()) {
        for (key, value) in &table {
            match value {
                Value::Table(part) => keys.extend(part.keys().map(|inner| format!("{key}.{inner}"))),
                _ => keys.push(key.clone()),
            }
        }
    }
    keys
}

/// `LIMITS_MEMORY` is `limits.memory`; `KAFKA_BOOTSTRAP_SERVERS` is `kafka.bootstrap.servers`.
fn key_of_variable(rest: &str) -> Option<String> {
    if let Some(property) = rest.strip_prefix("KAFKA_") {
        return Some(format!("kafka.{}", property.to_lowercase().replace('_', ".")));
    }
    known_keys().into_iter().find(|key| key.to_uppercase().replace('.', "_") == rest)
}

fn unknown(what: &str, name: &str) -> Usage {
    let wanted = name.strip_prefix("SMELT_").unwrap_or(name).to_lowercase().replace('_', ".");
    let near = known_keys().into_iter().min_by_key(|key| strsim::levenshtein(&key.replace('_', "."), &wanted));
    Usage(format!("{what} {name}: no such setting; did you mean {}?", near.unwrap_or_default()))
}

/// Puts `value` at the dotted `key`, with the type that the setting has.
fn apply(table: &mut Table, key: &str, value: &str) -> Result<()> {
    let (part, name) = match key.split_once('.') {
        Some((part, name)) => (Some(part), name),
        None => (None, key),
    };
    let defaults = Table::try_from(Settings::default())?;
    let default = match part {
        Some(part) => defaults.get(part).and_then(|inner| inner.get(name)),
        None => defaults.get(name),
    };
    let value = match default {
        Some(Value::Integer(_)) => {
            Value::Integer(value.parse().map_err(|_| anyhow!("{value:?} is not a whole number"))?)
        }
        Some(Value::Boolean(_)) => {
            Value::Boolean(value.parse().map_err(|_| anyhow!("{value:?} is not true or false"))?)
        }
        _ => Value::String(value.to_owned()),
    };
    let target = match part {
        Some(part) => match table.entry(part).or_insert_with(|| Value::Table(Table::new())) {
            Value::Table(inner) => inner,
            _ => bail!("{part} is not a table"),
        },
        None => table,
    };
    target.insert(name.to_owned(), value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(file: &str, variables: &[(&str, &str)], set: &[&str]) -> Result<Settings, String> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        if !file.is_empty() {
            std::fs::write(folder.path().join("smelt.toml"), file).expect("the file is written");
        }
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let set: Vec<String> = set.iter().map(|pair| (*pair).to_owned()).collect();
        Settings::load(folder.path(), variables, &set).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn flags_win_over_variables_and_variables_over_the_file() {
        let file = "lake = \"a\"\n[limits]\nmemory = \"1MiB\"\nthreads = 3\n";
        let settings = load(file, &[("SMELT_LAKE", "b"), ("SMELT_LIMITS_MEMORY", "2MiB")], &["lake=c"]).expect("valid");
        assert_eq!(
            (settings.lake.as_str(), settings.limits.memory, settings.limits.threads),
            ("c", ByteSize(2 << 20), 3)
        );
    }

    #[test]
    fn kafka_properties_pass_through_by_their_own_names() {
        let settings = load(
            "[kafka]\n\"group.id\" = \"g\"\n",
            &[("SMELT_KAFKA_BOOTSTRAP_SERVERS", "h:1")],
            &["kafka.client.id=me"],
        );
        let kafka = settings.expect("valid").kafka.0;
        assert_eq!(kafka.get("bootstrap.servers").map(String::as_str), Some("h:1"));
        assert_eq!(kafka.get("client.id").map(String::as_str), Some("me"));
    }

    #[test]
    fn secrets_are_named_and_their_variables_are_no_settings() {
        let file = "[alerts]\nslack_url_env = \"SMELT_SLACK_URL\"\n";
        let variables = [("SMELT_SLACK_URL", "https://hooks/s3cret"), ("SMELT_ALERTS_WAIT", "2s")];
        let settings = load(file, &variables, &[]).expect("valid");
        assert_eq!(
            (settings.alerts.slack_url_env.as_str(), settings.alerts.wait.to_string()),
            ("SMELT_SLACK_URL", "2s".into())
        );
        let error = load("", &variables[..1], &[]).expect_err("nobody names it");
        assert!(error.contains("SMELT_SLACK_URL") && !error.contains("s3cret"), "{error}");
        let error = load("[alerts]\nslack_url_env = \"https://hooks/s3cret\"\n", &[], &[]).expect_err("no name");
        assert!(error.contains("name of a variable") && !error.contains("s3cret"), "{error}");
    }

    #[test]
    fn the_password_of_the_registry_comes_from_the_environment_and_is_shown_nowhere() {
        let variables = [("SMELT_SCHEMA_REGISTRY_USER", "me"), ("SMELT_SCHEMA_REGISTRY_PASSWORD", "hunter2")];
        assert!(
            load("", &variables, &[]).expect("valid").schema_registry.options().is_none(),
            "no address, no registry"
        );
        let settings = load("[schema_registry]\nurl = \"http://h:8081\"\n", &variables, &[]).expect("valid");
        let registry = settings.schema_registry.options().expect("configured");
        assert_eq!((registry.user.as_deref(), registry.password.as_deref()), (Some("me"), Some("hunter2")));
        assert!(!format!("{settings:?} {registry:?}").contains("hunter2"));
        let error = load("[schema_registry]\npassword = hunter2\n", &[], &[]).expect_err("no text");
        assert!(error.contains("line 2") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn a_line_with_a_secret_is_not_shown() {
        let error = load("[kafka]\nsasl.password = \"hunter2\n", &[], &[]).expect_err("no end of the text");
        assert!(error.contains("line 2") && !error.contains("hunter2"), "{error}");
        let error = load("[kafka]\nclient.id = \"me\n", &[], &[]).expect_err("no end of the text");
        assert!(error.contains("client.id"), "{error}");
    }

    #[test]
    fn what_is_unknown_or_wrong_is_named_with_what_was_expected() {
        let error = load("[limits]\nmemroy = \"1MiB\"\n", &[], &[]).expect_err("unknown key");
        assert!(error.contains("line 2") && error.contains("memroy") && error.contains("`memory`"), "{error}");
        let error = load("", &[("SMELT_LAEK", "x")], &[]).expect_err("unknown variable");
        assert!(error.contains("SMELT_LAEK") && error.contains("did you mean lake?"), "{error}");
        let error = load("", &[], &["limits.threads=many"]).expect_err("not a number");
        assert!(error.contains("limits.threads") && error.contains("whole number"), "{error}");
        let error = load("", &[], &["time_zone=Berlin"]).expect_err("not a zone");
        assert!(error.contains("Europe/Berlin"), "{error}");
        let error = load("", &[], &["limits.memory=lots"]).expect_err("not a size");
        assert!(error.contains("256MiB"), "{error}");
    }
}
