//! MinIO: a real S3, with conditional writes.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use futures::TryStreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder, AwsAuthorizer, AwsCredential};
use object_store::client::HttpRequest;
use object_store::{ObjectStore, ObjectStoreExt};
use tempfile::TempDir;

use crate::port::Port;
use crate::process::Process;
use crate::{http, install};

const REGION: &str = "us-east-1";

/// What signs requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// The access key.
    pub id: String,
    /// The secret key.
    pub secret: String,
    /// The session token of temporary keys.
    pub token: Option<String>,
}

impl Keys {
    /// Keys that do not end.
    pub fn new(id: &str, secret: &str) -> Self {
        Self { id: id.to_owned(), secret: secret.to_owned(), token: None }
    }

    /// The keys as `AWS_*` variables.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        let mut env = vec![("AWS_ACCESS_KEY_ID", self.id.clone()), ("AWS_SECRET_ACCESS_KEY", self.secret.clone())];
        env.extend(self.token.clone().map(|token| ("AWS_SESSION_TOKEN", token)));
        env
    }
}

/// A MinIO server.
#[derive(Debug)]
pub struct Minio {
    program: PathBuf,
    port: Port,
    // Before the folder, so that it ends before its folder goes.
    running: Mutex<Running>,
    folder: TempDir,
}

#[derive(Debug)]
struct Running {
    root: Keys,
    process: Option<Process>,
}

impl Minio {
    /// Starts a server and waits until it answers; `None` where it is not installed.
    pub fn start() -> Option<Self> {
        let program = install::installed("minio")?.join("minio");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let running = Mutex::new(Running { root: Keys::new("smelt", "smelt-secret"), process: None });
        let minio = Self { program, port: Port::reserve(), running, folder };
        minio.restart();
        Some(minio)
    }

    /// `http://127.0.0.1:<port>`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.port.address())
    }

    /// `127.0.0.1:<port>`, for a proxy.
    pub fn address(&self) -> String {
        self.port.address()
    }

    /// The folder of its data: of each bucket a folder, in which an object is a folder of its name.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The keys of the server's owner.
    pub fn keys(&self) -> Keys {
        self.lock().root.clone()
    }

    /// The `AWS_*` variables of a client.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        let mut env = self.keys().env();
        env.extend([
            ("AWS_ENDPOINT_URL", self.endpoint()),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_REGION", REGION.to_owned()),
        ]);
        env
    }

    /// Makes a bucket.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn create_bucket(&self, name: &str) {
        let (status, body) =
            self.signed(http::request("PUT", &format!("{}/{name}", self.endpoint()), String::new()), "s3");
        assert_eq!(status, 200, "bucket {name}: {body}");
    }

    /// A bucket as a store.
    pub fn bucket(&self, name: &str) -> AmazonS3 {
        self.bucket_at(&self.endpoint(), name)
    }

    /// A bucket as a store, through a proxy.
    pub fn bucket_at(&self, endpoint: &str, name: &str) -> AmazonS3 {
        let keys = self.keys();
        AmazonS3Builder::new()
            .with_endpoint(endpoint)
            .with_allow_http(true)
            .with_region(REGION)
            .with_bucket_name(name)
            .with_access_key_id(keys.id)
            .with_secret_access_key(keys.secret)
            .build()
            .expect("all that it needs is given")
    }

    /// The paths of all objects of a bucket.
    ///
    /// # Panics
    /// When the server refuses to say.
    #[track_caller]
    pub fn objects(&self, bucket: &str) -> BTreeSet<String> {
        let listed = self.bucket(bucket).list(None).map_ok(|object| object.location.to_string()).try_collect();
        wait(listed).unwrap_or_else(|e| panic!("bucket {bucket}: {e}"))
    }

    /// The bytes of an object.
    ///
    /// # Panics
    /// When it is not there.
    #[track_caller]
    pub fn get(&self, bucket: &str, path: &str) -> Vec<u8> {
        let (store, at) = (self.bucket(bucket), path.into());
        let got = wait(async { store.get(&at).await?.bytes().await });
        got.unwrap_or_else(|e| panic!("bucket {bucket}: {path}: {e}")).to_vec()
    }

    /// Puts an object into a bucket.
    ///
    /// # Panics
    /// When the server refuses it.
    #[track_caller]
    pub fn put(&self, bucket: &str, path: &str, bytes: Vec<u8>) {
        let (store, at) = (self.bucket(bucket), path.into());
        wait(store.put(&at, bytes.into())).unwrap_or_else(|e| panic!("bucket {bucket}: {path}: {e}"));
    }

    /// Keys that end by themselves, as `AssumeRole` gives them: after `seconds`, at least 900.
    ///
    /// # Panics
    /// When they are refused.
    #[track_caller]
    pub fn temporary_keys(&self, seconds: u32) -> Keys {
        let form = format!("Action=AssumeRole&Version=2011-06-15&DurationSeconds={seconds}");
        let mut request = http::request("POST", &format!("{}/", self.endpoint()), form);
        let kind = "application/x-www-form-urlencoded".parse().expect("a header");
        request.headers_mut().insert("content-type", kind);
        let (status, body) = self.signed(request, "sts");
        assert_eq!(status, 200, "AssumeRole: {body}");
        let text = |tag: &str| {
            let (_, rest) = body.split_once(&format!("<{tag}>")).unwrap_or_else(|| panic!("no {tag} in {body}"));
            rest.split_once("</").map(|(text, _)| text.to_owned()).expect("a tag has an end")
        };
        Keys { id: text("AccessKeyId"), secret: text("SecretAccessKey"), token: Some(text("SessionToken")) }
    }

    #[track_caller]
    fn signed(&self, request: HttpRequest, service: &str) -> (u16, String) {
        send_signed(request, service, self.keys()).expect("minio is running")
    }

    /// SIGTERM, and waits.
    pub fn stop(&self) {
        if let Some(process) = self.lock().process.take() {
            process.stop();
        }
    }

    /// SIGKILL.
    pub fn kill(&self) {
        self.lock().process = None;
    }

    /// SIGSTOP: connections stay open and nothing answers, until [`Minio::thaw`].
    pub fn freeze(&self) {
        self.lock().process.as_ref().expect("it is running").signal("STOP");
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.lock().process.as_ref().expect("it is running").signal("CONT");
    }

    /// Starts it again on the same port and data, and waits until it answers.
    pub fn restart(&self) {
        let mut running = self.lock();
        running.process = None;
        let mut minio = Command::new(&self.program);
        minio.args(["server", "--quiet", "--address", &self.port.address()]).arg(self.data());
        // Its settings come from nowhere else, and it asks nobody for updates.
        minio.env_clear().env("HOME", self.folder.path()).env("MINIO_UPDATE", "off").env("MINIO_BROWSER", "off");
        minio.env("MINIO_ROOT_USER", &running.root.id).env("MINIO_ROOT_PASSWORD", &running.root.secret);
        let mut process = Process::start("minio", &minio, &self.folder.path().join("log"));
        // Its own health checks are answered before it takes requests.
        let list = || http::request("GET", &format!("{}/", self.endpoint()), String::new());
        process.ready(|| send_signed(list(), "s3", running.root.clone()).filter(|(status, _)| *status == 200));
        running.process = Some(process);
    }

    /// Starts it again with other keys for its owner: those from before are refused from now on, and so are the temporary
    /// ones that they made.
    pub fn restart_with(&self, root: Keys) {
        self.lock().root = root;
        self.restart();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wait<T>(task: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(task)
}

fn send_signed(mut request: HttpRequest, service: &str, keys: Keys) -> Option<(u16, String)> {
    let credential = AwsCredential { key_id: keys.id, secret_key: keys.secret, token: keys.token };
    AwsAuthorizer::new(&credential, service, REGION).authorize(&mut request, None);
    http::send(request)
}
