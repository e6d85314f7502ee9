//! The column that identifies a row, as text.

use polars::prelude::{Series, StringChunked};

use super::ColumnKind;
use super::cells::as_text;
use crate::{Error, Result};

/// The ids of some rows as text, null where the id is: numbers as decimals, dates as ISO 8601, text as it is.
///
/// # Errors
/// [`Error::Data`] where the column has a type that cannot be an id.
pub fn ids_as_text(column: &Series) -> Result<StringChunked> {
    let unfit = || {
        Error::Data(format!(
            "column \"{}\" ({}) cannot be an id: name a column of text, whole numbers or dates with --id (ID_COLUMN)",
            column.name(),
            column.dtype()
        ))
    };
    if ColumnKind::of(column.dtype()) == ColumnKind::Unsupported {
        return Err(unfit());
    }
    as_text(column)?.str().cloned().map_err(|_| unfit())
}

#[cfg(test)]
mod tests {
    use polars::prelude::{DataType, NamedFrom};

    use super::*;

    #[test]
    fn numbers_are_decimals_and_text_stays() {
        let numbers = ids_as_text(&Series::new("id".into(), [Some(7_i64), None])).unwrap();
        assert_eq!(numbers.iter().collect::<Vec<_>>(), [Some("7"), None]);
        let text = ids_as_text(&Series::new("id".into(), ["00123"])).unwrap();
        assert_eq!(text.get(0), Some("00123"));
    }

    /// Found by damaging Parquet: polars panics on such a date.
    #[test]
    fn a_date_outside_of_the_calendar_is_wrong_data() {
        let days = Series::new("day".into(), [0, i32::MAX]).cast(&DataType::Date).unwrap();
        let error = ids_as_text(&days).unwrap_err();
        assert_eq!(error.exit_code(), 4);
        assert!(error.to_string().contains("\"day\"") && error.to_string().contains("calendar"), "{error}");
    }
}
