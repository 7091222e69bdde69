//! `smelt quarantine show`: the records that were set aside, with their bytes.

use std::process::ExitCode;

use anyhow::Result;
use datafusion::logical_expr::{ident, lit};

use super::{known_streams, print, selected};
use crate::app::App;
use crate::cli::{Common, QuarantineShowArgs};

/// What is printed of each record, in order. `replay --file` takes these names back.
const COLUMNS: [&str; 11] = [
    "stream",
    "_source AS source",
    "_partition AS partition",
    "_offset AS \"offset\"",
    "_arrived_at AS arrived_at",
    "_ingested_at AS ingested_at",
    "_error AS reason",
    "_mended AS mended",
    "_header AS header",
    "_is_escaped AS escaped",
    "_text AS raw",
];

/// Prints the records in the order of their arrival. `raw` is the record's text; where its bytes are not UTF-8, `escaped`
/// is true, and `raw` has `\xNN` for each byte that is no text and `\\` for a backslash.
///
/// # Errors
/// An unknown stream; a lake that cannot be read.
pub async fn run(common: &Common, args: QuarantineShowArgs) -> Result<ExitCode> {
    let app = App::open(common).await?;
    known_streams(&app, &args.select.streams)?;
    let session = app.sessions()?.session().await?;
    let select = "*, TRY_CAST(_raw AS VARCHAR) IS NULL AS _is_escaped, raw_text(_raw) AS _text";
    let mut rows = selected(&session, select, &args.select).await?;
    if !args.all {
        rows = rows.filter(ident(session::MENDED_COLUMN).eq(lit(false)))?;
    }
    let order = ["stream", "_arrived_at"].into_iter().chain(session::PLACE_COLUMNS);
    rows = rows.sort(order.map(|name| ident(name).sort(true, true)).collect())?.limit(0, args.limit)?;
    print(&session, rows.select_exprs(&COLUMNS)?, &args.output).await?;
    Ok(ExitCode::SUCCESS)
}
