//! Buckets.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::client::{HttpError, HttpErrorKind};
use object_store::path::Path;
use object_store::{
    GetOptions, GetResult, GetResultPayload, MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload, PutResult,
    UploadPart,
};
use url::Url;

use super::shared_keys::SharedKeys;
use crate::error::{Result, StoreError};

/// The bucket that an `s3://` address names. Its keys, region and endpoint come from the options, else from the usual
/// `AWS_*` variables; where these give no keys, from the shared credentials file, which is read again when it changes.
///
/// # Errors
/// [`StoreError::BadUrl`] when an option is not known or contradicts others.
pub fn open_bucket(url: &Url, options: &BTreeMap<String, String>) -> Result<Arc<dyn ObjectStore>> {
    let bad = |message: String| StoreError::BadUrl { url: url.to_string(), message };
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(url.host_str().unwrap_or_default());
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

/// A body up to this size is read before it is given on, so that one that was cut off can be asked for again; rows of a
/// larger one have gone on by then.
const WHOLE_BYTES: u64 = 16 << 20;

/// How often a body is asked for, and the first pause between.
const BODY_ATTEMPTS: u32 = 5;
const BODY_PAUSE: Duration = Duration::from_millis(50);

/// An object, or a range of it. The client repeats requests that fail, but not those whose answer is cut off within its
/// body: these are repeated here.
///
/// # Errors
/// Those of the store; of a body when it was cut off each time.
pub(super) async fn get_whole(
    store: &dyn ObjectStore,
    location: &Path,
    options: GetOptions,
) -> object_store::Result<GetResult> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        match whole(store, location, options.clone()).await {
            Err(error) if attempt < BODY_ATTEMPTS && is_cut_off(&error) => {
                tracing::debug!(%location, %error, "the answer was cut off; asking again");
            }
            done => return done,
        }
        tokio::time::sleep(BODY_PAUSE * 2_u32.pow(attempt - 1)).await;
    }
}

async fn whole(store: &dyn ObjectStore, location: &Path, options: GetOptions) -> object_store::Result<GetResult> {
    let is_head = options.head;
    let answer = store.get_opts(location, options).await?;
    if is_head || answer.range.end - answer.range.start > WHOLE_BYTES {
        return Ok(answer);
    }
    let (meta, range, attributes) = (answer.meta.clone(), answer.range.clone(), answer.attributes.clone());
    let body = answer.bytes().await?;
    let payload = GetResultPayload::Stream(futures::stream::once(async { Ok(body) }).boxed());
    Ok(GetResult { payload, meta, range, attributes })
}

/// Whether an answer had begun to come: also one that says that there is no such object has a body.
fn is_cut_off(error: &object_store::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<HttpError>() {
            return !matches!(error.kind(), HttpErrorKind::Connect | HttpErrorKind::Timeout);
        }
        cause = error.source();
    }
    false
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
