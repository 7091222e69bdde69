//! `smelt quarantine list`: how many records are set aside, by stream and reason.

use std::process::ExitCode;

use anyhow::Result;
use datafusion::functions_aggregate::expr_fn::{count, max, min};
use datafusion::logical_expr::{ident, lit};

use super::{known_streams, print, selected};
use crate::app::App;
use crate::cli::{Common, QuarantineListArgs};

/// Columns of the rows that are counted. Reasons differ in the values that they name: what is left of them here is the
/// same for records with the same fault.
const COLUMNS: &str = r"stream, _error, _arrived_at, _mended,
  CAST(_arrived_at AS DATE) AS arrived_on,
  CASE WHEN _mended THEN NULL ELSE 1 END AS is_open,
  CASE WHEN _mended THEN 1 ELSE NULL END AS is_mended,
  regexp_replace(regexp_replace(regexp_replace(regexp_replace(_error,
    '^too long: .*$', 'too long'),
    ' at byte [0-9]+$', ''),
    '\[[0-9]+\]', '[]', 'g'),
    '^([^:]*): .* does not fit ', '\1: does not fit ') AS kind";

/// Prints stream, reason, records = open + mended, and when the first and the last of them arrived; most open ones first.
///
/// # Errors
/// An unknown stream; a lake that cannot be read.
pub async fn run(common: &Common, args: QuarantineListArgs) -> Result<ExitCode> {
    let app = App::open(common).await?;
    known_streams(&app, &args.select.streams)?;
    let session = app.sessions()?.session().await?;
    let rows = selected(&session, COLUMNS, &args.select).await?;
    let mut by = vec![ident("stream")];
    if args.by_day {
        by.push(ident("arrived_on"));
    }
    by.push(ident("kind").alias("reason"));
    let measures = vec![
        count(lit(1)).alias("records"),
        count(ident("is_open")).alias("open"),
        count(ident("is_mended")).alias("mended"),
        min(ident("_arrived_at")).alias("first_arrived"),
        max(ident("_arrived_at")).alias("last_arrived"),
    ];
    let mut order = vec![ident("open").sort(false, true), ident("records").sort(false, true)];
    if args.by_day {
        order.insert(0, ident("arrived_on").sort(true, true));
    }
    order.extend([ident("stream").sort(true, true), ident("reason").sort(true, true)]);
    print(&session, rows.aggregate(by, measures)?.sort(order)?, &args.output).await?;
    Ok(ExitCode::SUCCESS)
}
