//! SASL and TLS against a real broker: who is let in, what the others are told, and that no secret is.

use servers::{Kafka, KafkaOptions, Listener, Mechanism, PASSWORD, USER};

use crate::topic::{Feed, broker, events};

/// A stream that is read as [`USER`] with `password`.
fn sasl(feed: Feed, listener: Listener, mechanism: Mechanism, password: &str) -> Feed {
    feed.with("security.protocol", listener.name())
        .with("sasl.mechanism", mechanism.name())
        .with("sasl.username", USER)
        .with("sasl.password", password)
}

#[test]
fn those_who_show_the_right_password_or_certificate_read() {
    let Some(kafka) = broker() else { return };
    kafka.create_topic("secured", 1, &[]);
    kafka.send("secured", events(0..5));
    let certificates = kafka.certificates();
    let feed = |listener| Feed::new(kafka.bootstrap_servers_of(listener), "topic = \"secured\"");
    let tls = |feed: Feed| feed.with("ssl.ca.location", &certificates.ca.display().to_string());
    let plain = [Mechanism::Plain, Mechanism::ScramSha256, Mechanism::ScramSha512];
    let mut feeds: Vec<Feed> = plain
        .into_iter()
        .map(|mechanism| sasl(feed(Listener::SaslPlaintext), Listener::SaslPlaintext, mechanism, PASSWORD))
        .collect();
    feeds.push(tls(sasl(feed(Listener::SaslSsl), Listener::SaslSsl, Mechanism::ScramSha512, PASSWORD)));
    let ssl = tls(feed(Listener::Ssl)).with("security.protocol", "ssl");
    let ssl = ssl.with("ssl.certificate.location", &certificates.client.display().to_string());
    feeds.push(ssl.with("ssl.key.location", &certificates.client_key.display().to_string()));
    for feed in feeds {
        let ran = feed.run(&["ingest", "--stream", "events", "-vv"]).fine().says(&["5 delivered = 5 stored"]);
        assert!(!ran.stderr.contains(PASSWORD), "{}", ran.stderr);
        let (behind, said) = feed.behind();
        assert_eq!(behind, Some(0), "{said}");
    }
}

#[test]
fn the_others_are_told_why_not_and_no_secret() {
    let Some(kafka) = broker() else { return };
    let feed = |listener| Feed::new(kafka.bootstrap_servers_of(listener), "topic = \"refused\"");
    let wrong = "hunter2-wrong";
    let password = |mechanism| sasl(feed(Listener::SaslPlaintext), Listener::SaslPlaintext, mechanism, wrong);
    // Nothing that the system trusts has signed the broker's certificate.
    let certificate = feed(Listener::Ssl).with("security.protocol", "ssl");
    for (feed, reason) in [
        (password(Mechanism::Plain), "Authentication failed"),
        (password(Mechanism::ScramSha256), "Authentication failed"),
        (password(Mechanism::ScramSha512), "Authentication failed"),
        (certificate, "broker certificate could not be verified"),
    ] {
        for mode in ["--once", "--follow"] {
            let ran = feed.run(&["ingest", "--stream", "events", mode, "-vv"]).exit(1);
            assert!(!ran.stderr.contains(wrong), "{}", ran.stderr);
            ran.says(&["failed: kafka refuses: ", reason]);
        }
    }
    let typo = feed(Listener::SaslPlaintext).with("sasl.pasword", wrong);
    let ran = typo.once().exit(1).says(&["property sasl.pasword"]);
    assert!(!ran.stderr.contains(wrong), "{}", ran.stderr);
}

#[test]
fn a_certificate_of_another_host_is_refused() {
    let options = KafkaOptions { hosts: vec!["kafka.example".to_owned()], ..KafkaOptions::secured() };
    let Some(kafka) = Kafka::start(options) else { return };
    kafka.create_topic("elsewhere", 1, &[]);
    kafka.send("elsewhere", events(0..5));
    let feed = Feed::new(kafka.bootstrap_servers_of(Listener::Ssl), "topic = \"elsewhere\"")
        .with("security.protocol", "ssl")
        .with("ssl.ca.location", &kafka.certificates().ca.display().to_string());
    for mode in ["--once", "--follow"] {
        let ran = feed.run(&["ingest", "--stream", "events", mode]).exit(1);
        ran.says(&["failed: kafka refuses: ", "broker certificate could not be verified"]);
    }
    // The authority is the right one: only the name was wrong.
    let feed = feed.with("ssl.endpoint.identification.algorithm", "none");
    feed.once().fine().says(&["5 delivered = 5 stored"]);
}
