//! Where data files lie: `col=value/part-<time>-<writer>-<n>.parquet`, change data below `_change_data/`.

use object_store::path::Path;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Kind, Partition};
use crate::meta::TableMeta;

/// The folder name of a null, as Hive has it.
const NULL_FOLDER: &str = "__HIVE_DEFAULT_PARTITION__";
/// What stands as it is in a folder's name; all else is escaped, so that every store and every engine takes it.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// Names of the files of one writer. They sort by time, then by writer, then as they were begun.
#[derive(Debug)]
pub(crate) struct Names {
    time_ms: i64,
    writer: String,
    next: u32,
}

impl Names {
    pub fn new(time_ms: i64) -> Self {
        let mut writer = uuid::Uuid::new_v4().simple().to_string();
        writer.truncate(16);
        Self { time_ms, writer, next: 0 }
    }

    /// The next file of a partition, relative to the table.
    pub fn next(&mut self, meta: &TableMeta, partition: &Partition) -> String {
        let (kind, values) = partition;
        let (folder, word) = match kind {
            Kind::Data => ("", "part"),
            Kind::Change(_) => ("_change_data/", "cdc"),
        };
        let partitions: String = meta
            .partition_columns
            .iter()
            .zip(values)
            .map(|(column, value)| {
                let value = value.as_deref().map(|text| utf8_percent_encode(text, ESCAPED).to_string());
                let column = utf8_percent_encode(column, ESCAPED);
                format!("{column}={}/", value.as_deref().unwrap_or(NULL_FOLDER))
            })
            .collect();
        let number = self.next;
        self.next += 1;
        format!("{folder}{partitions}{word}-{:013}-{}-{number:05}.zstd.parquet", self.time_ms.max(0), self.writer)
    }
}

/// The time in the name of a file that Smelt wrote.
pub(crate) fn named_at(path: &str) -> Option<i64> {
    let name = path.rsplit('/').next()?;
    name.strip_prefix("part-")?.get(..13)?.parse().ok()
}

/// The path in the lake of a file of a table.
pub(crate) fn in_lake(root: &Path, file: &str) -> Path {
    // The parts are as they are in storage already: nothing may be escaped again.
    Path::parse(format!("{root}/{file}")).unwrap_or_else(|_| Path::from(format!("{root}/{file}")))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    #[test]
    fn paths_are_safe_and_sort_by_time() {
        let schema =
            Arc::new(Schema::new(vec![Field::new("p", DataType::Utf8, true), Field::new("q", DataType::Date32, true)]));
        let columns = vec!["p".to_string(), "q".to_string()];
        let meta = TableMeta::new("gold.t".parse().expect("a name"), "id".into(), schema, columns, (1, 2));
        let values = vec![Some("a/b c%é".to_string()), None];
        let path = Names::new(1_700_000_000_000).next(&meta, &(Kind::Data, values.clone()));
        assert!(path.starts_with("p=a%2Fb%20c%25%C3%A9/q=__HIVE_DEFAULT_PARTITION__/part-1700000000000-"), "{path}");
        assert_eq!(named_at(&path), Some(1_700_000_000_000));
        let later = Names::new(1_700_000_000_001).next(&meta, &(Kind::Data, values.clone()));
        assert!(path < later);
        let change = Names::new(1).next(&meta, &(Kind::Change(1), values));
        assert!(change.starts_with("_change_data/p="), "{change}");
        let full = in_lake(&Path::from("gold/t"), &path);
        assert_eq!(full.as_ref(), format!("gold/t/{path}"));
    }
}
