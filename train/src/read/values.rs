//! The numbers of the target and of the weights.

use columns::ColumnKind;
use columns::cells::parse_number;
use columns::text_hints::{self, Level, Writing};
use error::{Error, Result};
use features::encode::values::as_numbers;
use polars::prelude::Series;

/// The targets of all rows, NaN where there is none.
///
/// # Errors
/// [`Error::Data`] where the column holds anything but numbers.
pub(in crate::read) fn target_values(column: &Series, location: &str, writing: Writing) -> Result<Vec<f64>> {
    numbers_of(column, ("target", "only numbers can be predicted"), location, writing)
}

/// The weights of all rows, NaN where there is none.
///
/// # Errors
/// [`Error::Data`] where the column holds anything but numbers.
pub(in crate::read) fn weight_values(column: &Series, location: &str, writing: Writing) -> Result<Vec<f64>> {
    numbers_of(column, ("weight", "a weight is a number"), location, writing)
}

fn numbers_of(column: &Series, (role, rule): (&str, &str), location: &str, writing: Writing) -> Result<Vec<f64>> {
    let kind = ColumnKind::of(column.dtype());
    if !kind.is_number() && column.null_count() < column.len() {
        return Err(Error::Data(format!(
            "{location}: the {role} \"{}\" has {} ({}), but {rule}{}",
            column.name(),
            kind.describe(),
            column.dtype(),
            texts_in_words(column, writing)
        )));
    }
    as_numbers(column)
}

/// What stands in a column of text that should be numbers, for the end of a sentence: how many cells are no numbers, the first
/// of them and its row, and what to do. Nothing for columns of other types.
fn texts_in_words(column: &Series, writing: Writing) -> String {
    let Ok(cells) = column.str() else { return String::new() };
    let is_number = |cell: &str| parse_number(cell, writing.format).is_some();
    let strays =
        || cells.iter().enumerate().filter_map(|(row, cell)| Some((row, cell?))).filter(|one| !is_number(one.1));
    let filled = cells.len() - cells.null_count();
    match strays().next() {
        Some((row, cell)) => {
            let levels: Vec<Level<'_>> = strays().map(|(_, cell)| (cell, 1)).collect();
            let remedy = text_hints::remedy(&levels, writing);
            let remedy = remedy.unwrap_or_else(|| "correct them, or leave them empty".to_owned());
            let (count, row, cell) = (levels.len(), row + 1, text_hints::shown(cell));
            format!(
                ": {count} of its {filled} cells are no numbers, the first of them {cell} in data row {row}: {remedy}"
            )
        }
        None => ": all of its cells are numbers written as text: write them as numbers".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use columns::CellFormat;
    use polars::prelude::NamedFrom;

    use super::*;

    #[test]
    fn text_where_numbers_should_be_is_shown() {
        let shown = |cells: &[Option<&str>]| {
            let writing = Writing::csv(CellFormat::default());
            let error = target_values(&Series::new("y".into(), cells), "t", writing).unwrap_err();
            assert_eq!(error.exit_code(), 4);
            error.to_string()
        };
        assert_eq!(
            shown(&[Some("1.5"), None, Some("n/a"), Some("-")]),
            "t: the target \"y\" has text (str), but only numbers can be predicted: 2 of its 3 cells are no numbers, the first of \
             them \"n/a\" in data row 3: correct them, or leave them empty"
        );
        assert!(
            shown(&[Some("1.5"), Some("2")])
                .ends_with("all of its cells are numbers written as text: write them as numbers")
        );
        assert!(
            shown(&[Some("12,5"), Some("7")]).ends_with(
                "1 of its 2 cells are no numbers, the first of them \"12,5\" in data row 1: write 1234.5, or give --decimal , \
                 (DECIMAL) where the comma stands before the fraction"
            )
        );
        let weight = Series::new("w".into(), [Some("heavy")]);
        let weight = weight_values(&weight, "t", Writing::typed()).unwrap_err().to_string();
        assert!(
            weight.contains("the weight \"w\" has text (str), but a weight is a number: 1 of its 1 cells"),
            "{weight}"
        );
    }
}
