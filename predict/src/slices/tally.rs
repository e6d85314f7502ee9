//! What the predictions are like for each value of a column, added up so that it does not matter how parts were grouped.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use evaluation::ExactSum;
use polars::prelude::PlHashMap;
use serde::{Deserialize, Serialize};

use super::{BatchValues, Room};

/// The predicted rows that share a value.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SliceSums {
    /// How many.
    pub rows: u64,
    /// Their predictions, each part's added up in the order of its rows.
    pub predictions: ExactSum,
    /// The scales of their intervals in the same way.
    #[serde(default, skip_serializing_if = "ExactSum::is_zero")]
    pub scales: ExactSum,
}

impl SliceSums {
    /// Adds further rows.
    pub fn add(&mut self, more: &Self) {
        self.rows += more.rows;
        self.predictions.add(&more.predictions);
        self.scales.add(&more.scales);
    }
}

/// The rows of parts by the values of a column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SliceTally {
    /// By value; those that only rejected rows have stand among them.
    Values(BTreeMap<String, SliceSums>),
    /// There are more than there is room for, or some that cannot be read or have no text.
    NotTold,
}

impl Default for SliceTally {
    fn default() -> Self {
        Self::Values(BTreeMap::new())
    }
}

impl SliceTally {
    /// Adds those of other parts: sets of values and exact sums, so their order does not matter, nor how they were grouped.
    pub fn add(&mut self, more: Self) {
        let (Self::Values(values), Self::Values(more)) = (&mut *self, more) else {
            *self = Self::NotTold;
            return;
        };
        for (value, more) in more {
            match values.entry(value) {
                Entry::Vacant(place) => {
                    place.insert(more);
                }
                Entry::Occupied(mut place) => place.get_mut().add(&more),
            }
        }
        if !has_room(values.keys()) {
            *self = Self::NotTold;
        }
    }

    /// Adds those of other parts, column by column.
    pub fn add_all(all: &mut [Self], more: Vec<Self>) {
        all.iter_mut().zip(more).for_each(|(tally, more)| tally.add(more));
    }

    /// Whether it can be of so many predicted rows: it is read from a file, which may be damaged.
    #[must_use]
    pub fn fits(&self, rows: u64) -> bool {
        let Self::Values(values) = self else { return true };
        let mut counts = values.values().map(|sums| sums.rows);
        counts.try_fold(0_u64, u64::checked_add) == Some(rows)
            && has_room(values.keys())
            && values.values().all(|sums| sums.predictions.is_sound() && sums.scales.is_sound())
    }
}

fn has_room<'a>(values: impl ExactSizeIterator<Item = &'a String>) -> bool {
    let count = values.len();
    Room::OF_A_RUN.holds(count, values.map(String::len).sum())
}

/// The rows of a part, as batches come in.
#[derive(Debug)]
pub struct OpenSlice {
    codes: PlHashMap<String, u32>,
    sums: Vec<OpenSums>,
    text_bytes: usize,
    is_told: bool,
}

/// Added up row by row in their order: the same sums whatever the batches were.
#[derive(Debug, Clone, Copy, Default)]
struct OpenSums {
    rows: u64,
    predictions: f64,
    scales: f64,
}

impl OpenSlice {
    /// Nothing taken in yet.
    #[must_use]
    pub fn new() -> Self {
        Self { codes: PlHashMap::default(), sums: Vec::new(), text_bytes: 0, is_told: true }
    }

    /// Takes in the rows of a batch that are `kept`; `scales` are those of their intervals, where there are any.
    pub fn add(
        &mut self,
        batch: Option<&BatchValues>,
        predictions: &[f64],
        scales: Option<&[f32]>,
        kept: impl Fn(usize) -> bool,
    ) {
        let values = batch.filter(|_| self.is_told);
        let codes = values.map(|batch| batch.values.iter().map(|value| self.code(value)).collect::<Option<Vec<u32>>>());
        let (Some(batch), Some(Some(codes))) = (values, codes) else {
            self.is_told = false;
            return;
        };
        for (row, code) in batch.of_row.iter().enumerate().filter(|(row, _)| kept(*row)) {
            let sums = &mut self.sums[codes[*code as usize] as usize];
            sums.rows += 1;
            sums.predictions += predictions[row];
            sums.scales += scales.map_or(0.0, |scales| f64::from(scales[row]));
        }
    }

    fn code(&mut self, value: &str) -> Option<u32> {
        if let Some(code) = self.codes.get(value) {
            return Some(*code);
        }
        self.text_bytes += value.len();
        if !Room::OF_A_RUN.holds(self.sums.len() + 1, self.text_bytes) {
            return None;
        }
        let code = self.sums.len() as u32;
        self.codes.insert(value.to_owned(), code);
        self.sums.push(OpenSums::default());
        Some(code)
    }

    /// What the part came to.
    #[must_use]
    pub fn finish(self) -> SliceTally {
        if !self.is_told {
            return SliceTally::NotTold;
        }
        let of_code = |code: u32| {
            let open = self.sums[code as usize];
            let mut sums = SliceSums { rows: open.rows, ..SliceSums::default() };
            sums.predictions.push(open.predictions);
            sums.scales.push(open.scales);
            sums
        };
        SliceTally::Values(self.codes.into_iter().map(|(value, code)| (value, of_code(code))).collect())
    }
}

impl Default for OpenSlice {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(values: &[&str]) -> BatchValues {
        let mut different: Vec<String> = Vec::new();
        let mut place = |value: &str| {
            different.iter().position(|there| there == value).unwrap_or_else(|| {
                different.push(value.to_owned());
                different.len() - 1
            }) as u32
        };
        let of_row = values.iter().map(|value| place(value)).collect();
        BatchValues { values: different, of_row }
    }

    fn part(rows: &[(&str, f64)], batch_rows: usize) -> SliceTally {
        let mut open = OpenSlice::new();
        for rows in rows.chunks(batch_rows) {
            let (values, predictions): (Vec<&str>, Vec<f64>) = rows.iter().copied().unzip();
            let scales: Vec<f32> = predictions.iter().map(|prediction| *prediction as f32 / 3.0).collect();
            // Every seventh row is rejected.
            open.add(Some(&batch(&values)), &predictions, Some(&scales), |row| {
                (predictions[row] * 10.0) as i64 % 7 != 0
            });
        }
        open.finish()
    }

    /// The same bits for every number of rows in a batch and every grouping of parts: figures of this size make plain sums differ.
    #[test]
    fn groups_of_rows_and_parts_do_not_matter() {
        let rows: Vec<(&str, f64)> =
            (0..3_000).map(|row| (["a", "b", "c"][row % 3], 0.1 + 1e6 * ((row * 7919) % 1000) as f64 / 7.0)).collect();
        let whole: Vec<SliceTally> = rows.chunks(100).map(|rows| part(rows, 100)).collect();
        let small: Vec<SliceTally> = rows.chunks(100).map(|rows| part(rows, 7)).collect();
        assert_eq!(whole, small);
        let total = |groups: &[&[SliceTally]]| {
            let mut all = SliceTally::default();
            for group in groups {
                let mut sum = SliceTally::default();
                group.iter().rev().for_each(|part| sum.add(part.clone()));
                all.add(sum);
            }
            let SliceTally::Values(values) = all else { panic!("few values") };
            let bits =
                |sums: &SliceSums| (sums.rows, sums.predictions.value().to_bits(), sums.scales.value().to_bits());
            values.iter().map(|(value, sums)| (value.clone(), bits(sums))).collect::<Vec<_>>()
        };
        let one = total(&[&whole]);
        assert_eq!(one, total(&[&whole[..1], &whole[1..17], &whole[17..]]));
        assert_eq!(one, total(&[&whole[20..], &whole[..20]]));
        let kept = rows.iter().filter(|(_, prediction)| (prediction * 10.0) as i64 % 7 != 0).count() as u64;
        assert_eq!(one.iter().map(|(_, (rows, ..))| rows).sum::<u64>(), kept);
        assert!(kept < 3_000 && one.len() == 3);
    }

    #[test]
    fn too_many_values_are_found_wherever_parts_end() {
        let names: Vec<String> = (0..1_001).map(|value| format!("v{value}")).collect();
        let rows: Vec<(&str, f64)> = names.iter().map(|name| (name.as_str(), 0.1)).collect();
        assert_eq!((part(&rows, 2_000), part(&rows, 13)), (SliceTally::NotTold, SliceTally::NotTold));
        let (mut few, rest) = (part(&rows[..600], 100), part(&rows[600..], 100));
        assert!(matches!((&few, &rest), (SliceTally::Values(_), SliceTally::Values(_))));
        few.add(rest);
        assert_eq!(few, SliceTally::NotTold);
        assert!(matches!(part(&rows[..1_000], 100), SliceTally::Values(_)));
        few.add(part(&rows[..10], 10));
        assert_eq!(few, SliceTally::NotTold, "and it stays so");
        let mut open = OpenSlice::new();
        open.add(None, &[0.1], None, |_| true);
        open.add(Some(&batch(&["a"])), &[0.1], None, |_| true);
        assert_eq!(open.finish(), SliceTally::NotTold);
    }

    #[test]
    fn damaged_tallies_do_not_fit() {
        let sound = part(&[("a", 0.1), ("b", 0.2)], 2);
        assert!(sound.fits(2) && !sound.fits(3) && SliceTally::default().fits(0));
        let json = serde_json::to_string(&sound).unwrap();
        assert_eq!(serde_json::from_str::<SliceTally>(&json).unwrap(), sound);
        let damaged = |from: &str, to: &str| serde_json::from_str::<SliceTally>(&json.replace(from, to)).unwrap();
        assert!(!damaged("\"rows\":1", "\"rows\":18446744073709551615").fits(2));
        assert!(!damaged("\"rows\":1", "\"rows\":2").fits(2));
    }
}
