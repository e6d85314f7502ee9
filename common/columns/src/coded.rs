//! A column by what its rows have in common: the different values, and for each row which of them it has.

use polars::prelude::Series;

/// Rows of one column, of which many share a value.
#[derive(Debug, Clone)]
pub struct CodedRows {
    values: Series,
    codes: Vec<u32>,
}

impl CodedRows {
    /// `codes` has for each row the place of its value in `values`, or the number of values where the row has none. None where a
    /// code says something else.
    #[must_use]
    pub fn new(values: Series, codes: Vec<u32>) -> Option<Self> {
        let most = u32::try_from(values.len()).ok()?;
        // No branch for each code, so that vector instructions serve.
        let largest = codes.iter().fold(0, |largest, code| largest.max(*code));
        (largest <= most).then_some(Self { values, codes })
    }

    /// The values that rows may have. Some may be those of no row.
    pub fn values(&self) -> &Series {
        &self.values
    }

    /// For each row the place of its value, or the number of values where it has none.
    #[must_use]
    pub fn codes(&self) -> &[u32] {
        &self.codes
    }

    /// How many rows have each value, and last how many have none.
    #[must_use]
    pub fn counts(&self) -> Vec<u64> {
        /// Tables that take turns: counting one value time and again would wait for the last addition.
        const TABLES: usize = 4;
        /// Of more values the same one rarely comes twice in a row, and the tables would not stay in a cache.
        const FEW: usize = 1 << 12;
        let places = self.values.len() + 1;
        if places > FEW {
            let mut counts = vec![0; places];
            self.codes.iter().for_each(|code| counts[*code as usize] += 1);
            return counts;
        }
        let mut counts = vec![0_u64; places * TABLES];
        let rows = self.codes.chunks_exact(TABLES);
        for code in rows.remainder() {
            counts[*code as usize] += 1;
        }
        for codes in rows {
            for (table, code) in codes.iter().enumerate() {
                counts[table * places + *code as usize] += 1;
            }
        }
        let (sums, others) = counts.split_at_mut(places);
        for other in others.chunks_exact(places) {
            sums.iter_mut().zip(other).for_each(|(sum, more)| *sum += more);
        }
        counts.truncate(places);
        counts
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::NamedFrom;

    use super::*;

    #[test]
    fn values_are_counted_and_codes_stay_among_them() {
        let values = Series::new("x".into(), ["a", "b", "c"]);
        let rows = CodedRows::new(values.clone(), vec![0, 3, 2, 2, 2, 0, 3, 2, 2]).unwrap();
        assert_eq!(rows.counts(), [2, 0, 5, 2]);
        assert_eq!(CodedRows::new(values.clone(), Vec::new()).unwrap().counts(), [0; 4]);
        assert!(CodedRows::new(values, vec![0, 4]).is_none());
        let many: Vec<i64> = (0..5_000).collect();
        let rows = CodedRows::new(Series::new("x".into(), many), vec![4_999, 5_000, 7, 4_999]).unwrap();
        let counts = rows.counts();
        assert_eq!((counts.len(), counts[7], counts[4_999], counts[5_000]), (5_001, 1, 2, 1));
    }
}
