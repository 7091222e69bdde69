//! How clients reach a broker, and who they are.

use super::Certificates;

/// The user that the SASL listeners know, by each mechanism.
pub const USER: &str = "smelt";

/// The user's password.
pub const PASSWORD: &str = "smelt-secret";

/// A kind of listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// Neither encrypted nor authenticated; each cluster has it.
    Plaintext,
    /// Not encrypted; [`USER`] and [`PASSWORD`] by any [`Mechanism`].
    SaslPlaintext,
    /// TLS; a client may show a certificate.
    Ssl,
    /// TLS, and [`USER`] and [`PASSWORD`] by any [`Mechanism`].
    SaslSsl,
}

/// How a password is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// As it is.
    Plain,
    /// SCRAM with SHA-256.
    ScramSha256,
    /// SCRAM with SHA-512.
    ScramSha512,
}

impl Mechanism {
    /// Its name, as `sasl.mechanism` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

impl Listener {
    pub(crate) const ALL: [Self; 4] = [Self::Plaintext, Self::SaslPlaintext, Self::Ssl, Self::SaslSsl];

    /// Its name, as `security.protocol` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::Ssl => "SSL",
            Self::SaslSsl => "SASL_SSL",
        }
    }

    /// What a broker needs to know of the listener.
    pub(crate) fn settings(self, certificates: &Certificates) -> Vec<(String, String)> {
        let prefix = format!("listener.name.{}", self.name().to_lowercase());
        let mut settings = Vec::new();
        if matches!(self, Self::SaslPlaintext | Self::SaslSsl) {
            settings.extend(sasl(&prefix));
        }
        if matches!(self, Self::Ssl | Self::SaslSsl) {
            settings.extend(certificates.of_listener(&prefix));
        }
        settings
    }
}

fn sasl(prefix: &str) -> Vec<(String, String)> {
    let plain = "org.apache.kafka.common.security.plain.PlainLoginModule";
    let scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;".to_owned();
    let mechanisms = [Mechanism::Plain, Mechanism::ScramSha256, Mechanism::ScramSha512].map(Mechanism::name);
    vec![
        (format!("{prefix}.sasl.enabled.mechanisms"), mechanisms.join(",")),
        (format!("{prefix}.plain.sasl.jaas.config"), format!("{plain} required user_{USER}=\"{PASSWORD}\";")),
        (format!("{prefix}.scram-sha-256.sasl.jaas.config"), scram.clone()),
        (format!("{prefix}.scram-sha-512.sasl.jaas.config"), scram),
    ]
}

/// What formats a broker's folder with the user in it; PLAIN needs none.
pub(crate) fn scram_users() -> Vec<String> {
    let user = |m: Mechanism| ["--add-scram".to_owned(), format!("{}=[name={USER},password={PASSWORD}]", m.name())];
    [Mechanism::ScramSha256, Mechanism::ScramSha512].into_iter().flat_map(user).collect()
}
