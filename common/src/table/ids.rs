//! The column that identifies a row, as text.

use polars::prelude::{DataType, Series, StringChunked};

use super::ColumnKind;
use crate::{Error, Result};

/// The ids of some rows as text, null where the id is: numbers as decimals, dates as ISO 8601, text as it is.
///
/// # Errors
/// [`Error::Data`] where the column has a type that cannot be an id.
pub fn ids_as_text(column: &Series) -> Result<StringChunked> {
    let text = match ColumnKind::of(column.dtype()) {
        ColumnKind::Unsupported => None,
        _ => column.cast(&DataType::String).ok().and_then(|text| text.str().cloned().ok()),
    };
    text.ok_or_else(|| {
        Error::Data(format!(
            "column \"{}\" ({}) cannot be an id: name a column of text, whole numbers or dates with --id (ID_COLUMN)",
            column.name(),
            column.dtype()
        ))
    })
}

#[cfg(test)]
mod tests {
    use polars::prelude::NamedFrom;

    use super::*;

    #[test]
    fn numbers_are_decimals_and_text_stays() {
        let numbers = ids_as_text(&Series::new("id".into(), [Some(7_i64), None])).unwrap();
        assert_eq!(numbers.iter().collect::<Vec<_>>(), [Some("7"), None]);
        let text = ids_as_text(&Series::new("id".into(), ["00123"])).unwrap();
        assert_eq!(text.get(0), Some("00123"));
    }
}
