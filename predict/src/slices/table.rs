//! What a run tells of the values of a column, for its report and its manifest.

use features::quality::LEAST_ROWS_OF_A_NAMED_LEVEL;
use serde::Serialize;

use super::tally::{SliceSums, SliceTally};

/// The predicted rows by the values of a column.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SliceTable {
    /// The values that enough rows have to be named, those of most rows first.
    pub values: Vec<NamedSlice>,
    /// All others together, where there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rare: Option<RareSlices>,
}

/// The rows of one value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NamedSlice {
    /// The value.
    pub value: String,
    /// What its rows are like.
    #[serde(flatten)]
    pub figures: SliceFigures,
}

/// The rows of values that too few rows have to be named.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RareSlices {
    /// How many values.
    pub values: usize,
    /// What their rows are like.
    #[serde(flatten)]
    pub figures: SliceFigures,
}

/// What some rows are like.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SliceFigures {
    /// How many.
    pub rows: u64,
    /// Their share of all predicted rows.
    pub share: f64,
    /// Their mean prediction.
    pub mean_prediction: Option<f64>,
    /// The mean absolute error that the model expects of them, where it has intervals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_mae: Option<f64>,
}

impl SliceTable {
    /// Of what was counted, if it can be told; `expected` gives the mean absolute error to be expected of rows by the sum of their scales
    /// and their number.
    #[must_use]
    pub fn of(tally: &SliceTally, expected: impl Fn(f64, u64) -> Option<f64>) -> Option<Self> {
        let SliceTally::Values(values) = tally else { return None };
        let all: u64 = values.values().map(|sums| sums.rows).sum();
        let figures = |sums: &SliceSums| {
            let rows = sums.rows as f64;
            SliceFigures {
                rows: sums.rows,
                share: rows / all as f64,
                mean_prediction: Some(sums.predictions.value() / rows).filter(|mean| mean.is_finite()),
                expected_mae: expected(sums.scales.value(), sums.rows).filter(|error| error.is_finite()),
            }
        };
        let mut table = Self { values: Vec::new(), rare: None };
        let (mut rare, mut rare_values) = (SliceSums::default(), 0);
        for (value, sums) in values.iter().filter(|(_, sums)| sums.rows > 0) {
            if sums.rows >= LEAST_ROWS_OF_A_NAMED_LEVEL {
                table.values.push(NamedSlice { value: value.clone(), figures: figures(sums) });
            } else {
                rare.add(sums);
                rare_values += 1;
            }
        }
        // Stable, and the values came in the order of their texts.
        table.values.sort_by_key(|slice| std::cmp::Reverse(slice.figures.rows));
        table.rare = (rare_values > 0).then(|| RareSlices { values: rare_values, figures: figures(&rare) });
        Some(table)
    }
}

#[cfg(test)]
mod tests {
    use evaluation::ExactSum;

    use super::*;

    fn sums(rows: u64, prediction: f64) -> SliceSums {
        let mut sum = ExactSum::default();
        (0..rows).for_each(|_| sum.push(prediction));
        SliceSums { rows, predictions: sum, scales: ExactSum::default() }
    }

    #[test]
    fn values_that_few_rows_have_are_not_named() {
        let values = [("a", 10, 1.0), ("b", 30, 2.0), ("c", 9, 4.0), ("d", 1, 14.0), ("e", 0, 0.0), ("f", 10, 3.0)];
        let tally = SliceTally::Values(values.map(|(value, rows, mean)| (value.to_owned(), sums(rows, mean))).into());
        let table = SliceTable::of(&tally, |_, rows| (rows == 30).then_some(0.5)).unwrap();
        let named: Vec<_> = table.values.iter().map(|slice| (slice.value.as_str(), slice.figures.rows)).collect();
        assert_eq!(named, [("b", 30), ("a", 10), ("f", 10)]);
        let rare = table.rare.unwrap();
        assert_eq!((rare.values, rare.figures.rows, rare.figures.mean_prediction), (2, 10, Some(5.0)));
        let first = &table.values[0].figures;
        assert_eq!((first.share, first.mean_prediction, first.expected_mae), (0.5, Some(2.0), Some(0.5)));
        assert_eq!(SliceTable::of(&SliceTally::NotTold, |_, _| None), None);
        let none = SliceTable::of(&SliceTally::default(), |_, _| None).unwrap();
        assert_eq!(none, SliceTable { values: Vec::new(), rare: None });
    }
}
