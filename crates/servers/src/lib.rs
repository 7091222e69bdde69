//! Real servers for tests: Kafka brokers, MinIO and a schema registry, each with a data folder of its own.
//!
//! `tests/servers/setup.sh` installs them (`./ci test` calls it). They listen on loopback, on ports that are theirs until
//! they are dropped, and end with the test, also when it panics or is killed. A server that is not installed gives `None`
//! and a line `skipped: …`, which `./ci` counts:
//!
//! ```no_run
//! use servers::{Kafka, KafkaOptions, Message};
//!
//! let Some(kafka) = Kafka::start(KafkaOptions::default()) else { return };
//! kafka.create_topic("sales", 3, &[]);
//! kafka.send("sales", (0..1000).map(|id| Message::new(format!("{id}")).key(format!("k{id}"))));
//! kafka.kill(1);
//! kafka.restart(1);
//! ```
//!
//! All calls block, and may be made in and outside of a tokio runtime. What goes wrong with a server panics: it is a
//! test's fault or a broken machine. The crate knows nothing of Smelt.

mod http;
mod install;
mod kafka;
mod minio;
mod port;
mod process;
pub mod proxy;
mod registry;
mod wait;

pub use kafka::{Certificates, Kafka, KafkaOptions, Listener, Mechanism, Message, PASSWORD, Place, USER};
pub use minio::{Keys, Minio};
pub use registry::Registry;
