//! Where a lake lies, and when what was written there is durable.

mod local;
mod s3;
mod shared_keys;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};

pub use local::LocalStore;
use s3::CertainUpload;
pub use s3::open_bucket;

/// A store that says when what was written is durable.
///
/// Objects put whole ([`ObjectStore::put_opts`]) are durable when the put returns. Objects uploaded in parts are durable
/// after [`Self::sync`], so that the files of one commit share the wait.
#[async_trait]
pub trait DurableStore: ObjectStore {
    /// Returns when these objects, and the folders that lead to them, survive a loss of power.
    ///
    /// # Errors
    /// When the store cannot promise that.
    async fn sync(&self, paths: &[Path]) -> Result<()>;

    /// The smallest part that an upload in parts may have, the last one aside.
    fn min_part_bytes(&self) -> usize {
        8 << 20
    }
}

/// A store whose answers already promise durability, as those of S3 do.
#[derive(Debug)]
pub(crate) struct Answering(pub Arc<dyn ObjectStore>);

#[async_trait]
impl DurableStore for Answering {
    async fn sync(&self, _paths: &[Path]) -> Result<()> {
        Ok(())
    }
}

impl fmt::Display for Answering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Answering {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.0.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let upload = self.0.put_multipart_opts(location, opts).await?;
        Ok(Box::new(CertainUpload::new(upload, Arc::clone(&self.0), location.clone())))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.0.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[std::ops::Range<u64>]) -> Result<Vec<bytes::Bytes>> {
        self.0.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await
    }
}
