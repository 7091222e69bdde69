//! Readers of Parquet files that keep page indexes, for scans with filters.
//!
//! DataFusion 55 keeps the footers of files, but asks for them without their page indexes; a scan with a filter then reads and
//! parses those of each file anew, which was a fifth of a query over a year of small files.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::common::Result;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::ParquetFileReaderFactory;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::ObjectStore;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::Result as ParquetResult;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};

/// Readers over a store, with the runtime's cache of what files say of themselves.
#[derive(Debug)]
pub(super) struct Readers {
    cached: CachedParquetFileReaderFactory,
    /// Whether page indexes are wanted too.
    with_index: bool,
}

impl Readers {
    /// Readers of files in `store`; `with_index` where there are filters, which pages are skipped by.
    pub(super) fn new(store: Arc<dyn ObjectStore>, runtime: &RuntimeEnv, with_index: bool) -> Self {
        let cache = runtime.cache_manager.get_file_metadata_cache();
        Self { cached: CachedParquetFileReaderFactory::new(store, cache), with_index }
    }
}

impl ParquetFileReaderFactory for Readers {
    fn create_reader(
        &self,
        partition: usize,
        file: PartitionedFile,
        size_hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let reader = self.cached.create_reader(partition, file, size_hint, metrics)?;
        Ok(if self.with_index { Box::new(WithIndex(reader)) } else { reader })
    }
}

/// A reader that knows the page indexes of its file from the start.
struct WithIndex(Box<dyn AsyncFileReader + Send>);

impl AsyncFileReader for WithIndex {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        self.0.get_bytes(range)
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, ParquetResult<Vec<Bytes>>> {
        self.0.get_byte_ranges(ranges)
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        async move {
            let options = options.cloned().unwrap_or_default().with_page_index_policy(PageIndexPolicy::Optional);
            self.0.get_metadata(Some(&options)).await
        }
        .boxed()
    }
}
