//! The history of reconciliation: what commits to Bronze said of themselves, kept when the logs that say it are cleaned up.
//!
//! `quality.commits` and `quality.reconciliation` read the logs; this moves what is older into `_smelt/quality/loads`, in
//! a commit that says up to which version, so that each commit counts once wherever it is read from.

use schema::{Contract, loads_schema, loads_table};
use session::{load_input, load_rows};
use store::{Commit, Consumed, Lake, Operation, Table, TableSpec, WriterOptions};

use crate::Result;

/// Takes over what the logs of these streams say and the table does not have yet. To be called before logs are cleaned
/// up. Gives how many rows were added.
///
/// # Errors
/// When storage fails, or another run did the same at the same time: then it is done.
pub async fn keep(lake: &Lake, contracts: impl IntoIterator<Item = &Contract>) -> Result<u64> {
    let mut kept: Option<Table> = lake.open_table(&loads_table()).await?;
    let mut rows = 0;
    for contract in contracts {
        let Some(table) = lake.open_table(&contract.table()).await? else { continue };
        let input = load_input(&table);
        let (head, from) = (table.snapshot().version(), kept.as_ref().and_then(|kept| kept.snapshot().txn(&input)));
        if from.is_some_and(|from| from >= head) {
            continue;
        }
        let batch = load_rows(&contract.name, &table.history_after(from.unwrap_or(-1)).await?)?;
        if batch.num_rows() == 0 {
            // Compactions and the like: not worth a commit.
            continue;
        }
        let into = match &kept {
            Some(kept) => kept.clone(),
            None => lake.create_table(&loads_table(), &spec()).await?,
        };
        rows += batch.num_rows() as u64;
        let mut writer = into.writer(WriterOptions::default());
        writer.write(batch).await?;
        let mut commit = Commit::new(into.snapshot(), Operation::Append);
        commit.inputs.push(Consumed { input, from, to: head });
        commit.stage(writer.finish().await?);
        into.commit(commit).await?;
        kept = Some(into);
    }
    Ok(rows)
}

fn spec() -> TableSpec {
    let description = "What commits to Bronze said of themselves, beyond what the logs keep".to_owned();
    TableSpec { description: Some(description), ..TableSpec::new(loads_schema()) }
}
