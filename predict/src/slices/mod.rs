//! Rows by the values of columns: those that the model was judged by, slice by slice, in the report of a run, and those that
//! `predict evaluate` tells errors by.

mod table;
mod tally;
mod values;

use columns::ColumnKind;
use columns::TableSchema;
use error::{Error, Result};
use registry::SlicedColumn;

pub use table::{NamedSlice, RareSlices, SliceFigures, SliceTable};
pub use tally::{OpenSlice, SliceSums, SliceTally};
pub use values::{BatchValues, Room};

use crate::read::BatchColumns;

/// The slices of a run: the columns that its model was judged by, as far as the input has them. A column that is lacking is no reason to fail.
#[derive(Debug, Clone, Default)]
pub struct RunSlices {
    /// The columns that are read, each once.
    pub read: Vec<SlicedColumn>,
    /// Those that the input does not have, or has in a type whose values have no text.
    pub lacking: Vec<String>,
}

impl RunSlices {
    /// Those of a model, in an input of such columns.
    #[must_use]
    pub fn of(of_model: &[SlicedColumn], schema: &TableSchema) -> Self {
        let mut slices = Self::default();
        for slice in of_model {
            let is_there = schema.get(&slice.column).is_some_and(|column| column.kind != ColumnKind::Unsupported);
            if is_there && !slices.read.contains(slice) {
                slices.read.push(slice.clone());
            } else if !is_there && !slices.lacking.contains(&slice.column) {
                slices.lacking.push(slice.column.clone());
            }
        }
        slices
    }

    /// The names of the columns that are read.
    pub fn columns(&self) -> impl Iterator<Item = String> {
        self.read.iter().map(|slice| slice.column.clone())
    }

    /// The rows of a batch by the values of each column; none of a column that has too many, or some that cannot be read or have no text.
    /// Which of these it is depends on where batches end, so nothing tells them apart but the log.
    ///
    /// # Errors
    /// Those of reading that are not about the values.
    pub fn of_batch(&self, columns: &BatchColumns) -> Result<Vec<Option<BatchValues>>> {
        let of_slice = |slice: &SlicedColumn| match BatchValues::of(columns, &slice.column, slice.kind, Room::OF_A_RUN)
        {
            // Predictions do not depend on it.
            Err(Error::Data(why)) => {
                tracing::debug!("rows are not told apart by a slice of the model: {why}");
                Ok(None)
            }
            values => values,
        };
        self.read.iter().map(of_slice).collect()
    }

    /// Says in the log what the report will not tell.
    pub fn log(&self) {
        for column in &self.lacking {
            tracing::info!(
                "the report does not tell the predictions by \"{column}\", a slice of the model: the input has no such column, or one whose \
                 values have no text"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use columns::ColumnSchema;
    use polars::prelude::DataType;

    use super::*;

    #[test]
    fn what_the_input_lacks_is_left_out() {
        let slice = |column: &str| SlicedColumn { column: column.to_owned(), kind: ColumnKind::Text };
        let list = DataType::List(Box::new(DataType::Int64));
        let columns = [("plan", DataType::String), ("tags", list), ("visits", DataType::Int32)];
        let columns = columns.map(|(name, dtype)| ColumnSchema::new(name, dtype)).to_vec();
        let schema = TableSchema::new(columns, "customers").unwrap();
        let of_model = ["tags", "visits", "town", "plan", "visits", "town"].map(slice);
        let slices = RunSlices::of(&of_model, &schema);
        assert_eq!(
            (slices.read, slices.lacking),
            (vec![slice("visits"), slice("plan")], vec!["tags".to_owned(), "town".to_owned()])
        );
    }
}
