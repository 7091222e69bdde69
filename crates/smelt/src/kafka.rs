//! `[kafka]`: properties of the client by librdkafka's names, some of which are secrets.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use toml::{Table, Value};

/// Properties of the Kafka client. In TOML `"sasl.username"` and `sasl.username` are the same.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
pub struct KafkaProperties(pub BTreeMap<String, String>);

/// Whether the value of a property is nobody's business.
pub fn is_secret(key: &str) -> bool {
    ["password", "secret", "pem", "private.key", "oauthbearer.config"].iter().any(|word| key.contains(word))
}

impl fmt::Debug for KafkaProperties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.0.iter().map(|(key, value)| (key, if is_secret(key) { "[secret]" } else { value }));
        f.debug_map().entries(entries).finish()
    }
}

impl<'de> Deserialize<'de> for KafkaProperties {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut properties = BTreeMap::new();
        flatten(&Table::deserialize(deserializer)?, "", &mut properties).map_err(D::Error::custom)?;
        Ok(Self(properties))
    }
}

fn flatten(table: &Table, prefix: &str, into: &mut BTreeMap<String, String>) -> Result<(), String> {
    for (key, value) in table {
        let key = format!("{prefix}{key}");
        let text = match value {
            Value::Table(inner) => {
                flatten(inner, &format!("{key}."), into)?;
                continue;
            }
            Value::String(text) => text.clone(),
            Value::Integer(number) => number.to_string(),
            Value::Float(number) => number.to_string(),
            Value::Boolean(is_true) => is_true.to_string(),
            Value::Datetime(_) | Value::Array(_) => return Err(format!("kafka.{key}: expected a text or a number")),
        };
        into.insert(key, text);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_in_names_need_no_quotes_and_the_last_wins() {
        let text = "bootstrap.servers = \"h:1\"\n\"client.id\" = \"me\"\nfetch.wait.max.ms = 5\n\"bootstrap.servers\" = \"h:2\"";
        let properties: KafkaProperties = toml::from_str(text).expect("properties");
        let shown: Vec<String> = properties.0.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(shown, ["bootstrap.servers=h:2", "client.id=me", "fetch.wait.max.ms=5"]);
    }

    #[test]
    fn secrets_are_not_shown() {
        let keys = ["sasl.password", "ssl.key.password", "ssl.key.pem", "sasl.oauthbearer.client.secret"];
        let properties = KafkaProperties(keys.iter().map(|key| ((*key).to_owned(), "hunter2".to_owned())).collect());
        assert!(!format!("{properties:?}").contains("hunter2"));
    }
}
