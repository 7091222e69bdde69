//! Tables for people: aligned columns, numbers to the right.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::util::display::ArrayFormatter;
use unicode_width::UnicodeWidthStr;

use super::Encoder;
use super::text::{cell_options, flat_schema, flatten};
use crate::QueryError;

/// Rows that are looked at for the widths of the columns, and so held back. Later rows that are wider stick out.
const MEASURED_ROWS: usize = 2_000;

/// Between two columns.
const GAP: &str = "  ";

pub(super) struct Table<'w> {
    schema: SchemaRef,
    right: Vec<bool>,
    /// Widths, once measured.
    widths: Option<Vec<usize>>,
    held: Vec<Vec<String>>,
    writer: &'w mut (dyn Write + Send),
}

impl<'w> Table<'w> {
    pub(super) fn new(schema: SchemaRef, writer: &'w mut (dyn Write + Send)) -> Self {
        let right = schema.fields().iter().map(|field| field.data_type().is_numeric()).collect();
        Self { schema: flat_schema(&schema), right, widths: None, held: Vec::new(), writer }
    }

    /// Fixes the widths by what is held, and writes the header and that.
    fn begin(&mut self) -> Result<Vec<usize>, QueryError> {
        let names: Vec<String> = self.schema.fields().iter().map(|field| printable(field.name())).collect();
        let mut widths: Vec<usize> = names.iter().map(|name| name.width()).collect();
        for row in &self.held {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.width());
            }
        }
        let held = std::mem::take(&mut self.held);
        self.row(&names, &widths)?;
        let rule: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
        self.row(&rule, &widths)?;
        for row in &held {
            self.row(row, &widths)?;
        }
        self.widths = Some(widths.clone());
        Ok(widths)
    }

    fn row(&mut self, cells: &[String], widths: &[usize]) -> Result<(), QueryError> {
        let mut line = String::new();
        for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
            if column > 0 {
                line.push_str(GAP);
            }
            let padding = " ".repeat(width.saturating_sub(cell.width()));
            let (before, after) = if self.right[column] { (padding.as_str(), "") } else { ("", padding.as_str()) };
            line.extend([before, cell, after]);
        }
        // Nothing follows the last column, so its padding goes.
        line.truncate(line.trim_end_matches(' ').len());
        line.push('\n');
        Ok(self.writer.write_all(line.as_bytes())?)
    }
}

impl Encoder for Table<'_> {
    fn batch(&mut self, batch: &RecordBatch) -> Result<(), QueryError> {
        let rows = cells(&flatten(batch, &self.schema)?)?;
        match self.widths.clone() {
            Some(widths) => rows.iter().try_for_each(|row| self.row(row, &widths)),
            None => {
                self.held.extend(rows);
                if self.held.len() >= MEASURED_ROWS {
                    self.begin()?;
                }
                Ok(())
            }
        }
    }

    fn finish(mut self: Box<Self>) -> Result<(), QueryError> {
        if self.widths.is_none() {
            self.begin()?;
        }
        Ok(())
    }
}

/// The cells of a batch, row by row.
fn cells(batch: &RecordBatch) -> Result<Vec<Vec<String>>, QueryError> {
    let options = cell_options();
    let columns = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let row = |row: usize| columns.iter().map(|column| Ok(printable(&column.value(row).try_to_string()?))).collect();
    (0..batch.num_rows()).map(row).collect()
}

/// The text with control characters escaped, so that a cell stays on its line and cannot move the cursor.
fn printable(text: &str) -> String {
    if !text.contains(char::is_control) {
        return text.to_owned();
    }
    let escape = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escape).collect()
}
