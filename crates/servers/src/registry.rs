//! A schema registry: Apicurio, which answers as Confluent's does.

use std::process::Command;

use tempfile::TempDir;

use crate::port::Port;
use crate::process::Process;
use crate::{http, install, kafka};

/// A registry that keeps its schemas in memory.
#[derive(Debug)]
pub struct Registry {
    port: Port,
    // Before the folder, so that it ends before its folder goes.
    _process: Process,
    _folder: TempDir,
}

impl Registry {
    /// Starts a registry and waits until it answers; `None` where it is not installed.
    pub fn start() -> Option<Self> {
        let installed = install::installed("registry")?;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = Port::reserve();
        let mut java = Command::new("java");
        java.args(kafka::JAVA).arg("-Xmx256m").arg("-jar").arg(installed.join("registry.jar"));
        java.current_dir(folder.path());
        java.env("QUARKUS_HTTP_HOST", "127.0.0.1").env("QUARKUS_HTTP_PORT", port.number().to_string());
        let mut process = Process::start("registry", &java, &folder.path().join("log"));
        process.ready(|| http::is_well(&format!("{}/subjects", url(&port))));
        Some(Self { port, _process: process, _folder: folder })
    }

    /// What Confluent's clients take as the registry's address.
    pub fn url(&self) -> String {
        url(&self.port)
    }

    /// Registers a schema under a subject, and gives the answer, `{"id":1}`. `request` is the body
    /// that Confluent's API takes: `{"schema": "…", "schemaType": "AVRO", "references": […]}`.
    ///
    /// # Panics
    /// When the registry refuses it.
    #[track_caller]
    pub fn register(&self, subject: &str, request: &str) -> String {
        let url = format!("{}/subjects/{subject}/versions", self.url());
        let mut request = http::request("POST", &url, request.to_owned());
        let kind = "application/vnd.schemaregistry.v1+json".parse().expect("a header");
        request.headers_mut().insert("content-type", kind);
        match http::send(request) {
            Some((200, body)) => body,
            other => panic!("registry: {subject} was not registered: {other:?}"),
        }
    }
}

fn url(port: &Port) -> String {
    format!("http://{}/apis/ccompat/v7", port.address())
}
