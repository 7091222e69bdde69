//! One mapping from what went wrong to the exit code.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | fine |
//! | 1 | failed |
//! | 2 | wrong usage or configuration |
//! | 3 | a quality gate failed |
//! | 4 | input not there yet |

use std::fmt;
use std::process::ExitCode;

/// The exit code of a run that found its input incomplete.
pub const NOT_THERE_YET: u8 = 4;
/// A quality gate or a check failed.
pub const FAILED_CHECK: u8 = 3;

/// Wrong usage or configuration: exit code 2.
#[derive(Debug)]
pub struct Usage(pub String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// The exit code that `error` stands for: that of the first cause that has one, else 1.
pub fn code(error: &anyhow::Error) -> ExitCode {
    let code = error
        .chain()
        .find_map(|cause| {
            if cause.is::<Usage>() || cause.is::<schema::SchemaError>() {
                return Some(2);
            }
            if let Some(error) = cause.downcast_ref::<ingest::IngestError>()
                && error.is_usage()
            {
                return Some(2);
            }
            if let Some(error) = cause.downcast_ref::<produce::ProduceError>() {
                return error.is_usage().then_some(2);
            }
            let is_setting = matches!(cause.downcast_ref(), Some(sim::SimError::Config { .. }))
                || matches!(cause.downcast_ref(), Some(store::StoreError::BadUrl { .. }));
            if is_setting {
                return Some(2);
            }
            if let Some(error) = cause.downcast_ref::<query::QueryError>() {
                return error.is_usage().then_some(2);
            }
            if let Some(error) = cause.downcast_ref::<refine::RefineError>() {
                return match error.kind() {
                    refine::ErrorKind::Config => Some(2),
                    refine::ErrorKind::Gate => Some(FAILED_CHECK),
                    refine::ErrorKind::Failed => None,
                };
            }
            None
        })
        .unwrap_or(1);
    ExitCode::from(code)
}
