//! TLS: an authority made for the test, and what it signed.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair, KeyUsagePurpose,
};

/// PEM files of an authority, of the brokers and of a client.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// The authority's certificate: `ssl.ca.location`.
    pub ca: PathBuf,
    /// A client's certificate: `ssl.certificate.location`.
    pub client: PathBuf,
    /// The client's key: `ssl.key.location`.
    pub client_key: PathBuf,
    /// The brokers' key and certificate, in one file as Java wants it.
    broker: PathBuf,
}

impl Certificates {
    pub(crate) fn new(folder: &Path, hosts: &[String]) -> Self {
        let mut params = named("Smelt's test authority", &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let ca = CertifiedIssuer::self_signed(params, key()).expect("it can be signed");
        let signed = |params: CertificateParams| {
            let key = key();
            let certificate = params.signed_by(&key, &ca).expect("it can be signed");
            (certificate.pem(), key.serialize_pem())
        };
        let (broker, broker_key) = signed(named("broker", hosts));
        let (client, client_key) = signed(named("client", &[]));
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            std::fs::write(&path, text).expect("the folder is writable");
            path
        };
        Self {
            ca: write("ca.pem", ca.pem()),
            broker: write("broker.pem", broker_key + &broker),
            client: write("client.pem", client),
            client_key: write("client.key", client_key),
        }
    }

    pub(crate) fn of_listener(&self, prefix: &str) -> Vec<(String, String)> {
        vec![
            (format!("{prefix}.ssl.keystore.type"), "PEM".to_owned()),
            (format!("{prefix}.ssl.keystore.location"), self.broker.display().to_string()),
            (format!("{prefix}.ssl.truststore.type"), "PEM".to_owned()),
            (format!("{prefix}.ssl.truststore.location"), self.ca.display().to_string()),
            (format!("{prefix}.ssl.client.auth"), "requested".to_owned()),
        ]
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("the system gives random numbers")
}

fn named(name: &str, hosts: &[String]) -> CertificateParams {
    let mut params = CertificateParams::new(hosts).expect("hosts are names or addresses");
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}
