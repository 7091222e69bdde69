//! Buckets.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use object_store::aws::AmazonS3Builder;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
};
use object_store::path::Path;
use object_store::{ClientOptions, MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload, PutResult, UploadPart};
use url::Url;

use super::shared_keys::SharedKeys;
use crate::error::StoreError;

/// The bucket that an `s3://` address names. Its keys, region and endpoint come from the options, else from the usual
/// `AWS_*` variables; where these give no keys, from the shared credentials file, which is read again when it changes.
///
/// # Errors
/// [`StoreError::BadUrl`] when an option is not known or contradicts others.
pub fn open_bucket(url: &Url, options: &BTreeMap<String, String>) -> crate::error::Result<Arc<dyn ObjectStore>> {
    let bad = |message: String| StoreError::BadUrl { url: url.to_string(), message };
    let mut builder = AmazonS3Builder::from_env().with_http_connector(WholeAnswers::default());
    builder = builder.with_bucket_name(url.host_str().unwrap_or_default());
    for (name, value) in options.iter().filter(|(name, _)| !names_a_profile(name)) {
        let key = name.to_ascii_lowercase().parse().map_err(|_| bad(format!("unknown storage option {name}")))?;
        builder = builder.with_config(key, value);
    }
    let variable = |name: &str| options.get(name).cloned().or_else(|| std::env::var(name).ok());
    if let Some(keys) = SharedKeys::find(variable) {
        builder = builder.with_credentials(Arc::new(keys));
    }
    Ok(Arc::new(builder.build().map_err(|e| bad(e.to_string()))?))
}

/// A body up to this size is read before its answer is given on; rows of a larger one have gone on by the time it is cut off.
const WHOLE_BYTES: u64 = 16 << 20;

/// Connections whose answers come whole or fail.
///
/// The client repeats requests that fail, but not those whose answer is cut off within its body (of an object, a listing, an
/// error): as a failure of the request, these are repeated too.
#[derive(Debug, Default)]
struct WholeAnswers(ReqwestConnector);

impl HttpConnector for WholeAnswers {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(WholeBodies(self.0.connect(options)?)))
    }
}

#[derive(Debug)]
struct WholeBodies(HttpClient);

#[async_trait]
impl HttpService for WholeBodies {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (head, body) = self.0.execute(request).await?.into_parts();
        let length = head.headers.get("content-length").and_then(|value| value.to_str().ok()?.parse().ok());
        // A body of unknown length is a listing or what an operation says of itself.
        if length.unwrap_or(0) > WHOLE_BYTES {
            return Ok(HttpResponse::from_parts(head, body));
        }
        let body = body.bytes().await.map_err(|error| HttpError::new(HttpErrorKind::Interrupted, error))?;
        Ok(HttpResponse::from_parts(head, body.into()))
    }
}

/// Options that are [`SharedKeys`]' own.
fn names_a_profile(option: &str) -> bool {
    matches!(option, "AWS_PROFILE" | "AWS_SHARED_CREDENTIALS_FILE")
}

/// An upload whose end may be told twice.
///
/// The client repeats what it got no answer to. A server that did it the first time no longer knows the upload, so the
/// repetition fails with "not found" although the object is there: the object itself says whether it is done. Only for
/// paths that are written once, as those of data files are.
#[derive(Debug)]
pub(super) struct CertainUpload {
    upload: Box<dyn MultipartUpload>,
    store: Arc<dyn ObjectStore>,
    location: Path,
    bytes: u64,
}

impl CertainUpload {
    pub fn new(upload: Box<dyn MultipartUpload>, store: Arc<dyn ObjectStore>, location: Path) -> Self {
        Self { upload, store, location, bytes: 0 }
    }
}

#[async_trait]
impl MultipartUpload for CertainUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.bytes += data.content_length() as u64;
        self.upload.put_part(data)
    }

    async fn complete(&mut self) -> object_store::Result<PutResult> {
        let error = match self.upload.complete().await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        match self.store.head(&self.location).await {
            Ok(object) if object.size == self.bytes => Ok(PutResult { e_tag: object.e_tag, version: object.version }),
            _ => Err(error),
        }
    }

    async fn abort(&mut self) -> object_store::Result<()> {
        self.upload.abort().await
    }
}
