//! Seeded tables and labels.

use super::xgb::Table;

/// SplitMix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
#[derive(Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// In `0.0..1.0`.
    pub(crate) fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 24) as f32
    }

    pub(crate) fn chance(&mut self, probability: f32) -> bool {
        self.unit() < probability
    }

    /// About normal.
    pub(crate) fn normal(&mut self) -> f32 {
        (0..6).map(|_| self.unit()).sum::<f32>() * 1.414 - 4.243
    }
}

/// A table of `n_numeric` numbers of different distributions and one category for each of `levels`.
pub(crate) fn table(random: &mut Random, n_rows: usize, n_numeric: usize, levels: &[usize], missing: f32) -> Table {
    let mut columns = Vec::new();
    for column in 0..n_numeric {
        let share_missing = if column % 3 == 0 { missing } else { 0.0 };
        let value = |random: &mut Random| match column % 4 {
            0 => random.normal(),
            1 => random.normal().exp() * 100.0,
            2 => random.below(20) as f32,
            _ => random.unit() * 1e-3 - 5e-4,
        };
        columns.push(values(random, n_rows, share_missing, value));
    }
    for n_levels in levels {
        // Few levels are frequent, many rare.
        let value = |random: &mut Random| ((random.unit() * random.unit()) * *n_levels as f32).floor();
        columns.push(values(random, n_rows, missing, value));
    }
    let categorical = (0..columns.len()).map(|column| column >= n_numeric).collect();
    Table { columns, categorical }
}

fn values(random: &mut Random, n: usize, missing: f32, mut value: impl FnMut(&mut Random) -> f32) -> Vec<f32> {
    let mut one = || {
        if random.chance(missing) { f32::NAN } else { value(random) }
    };
    (0..n).map(|_| one()).collect()
}

/// A target that depends on all columns, in `0.0..1.0`: smoothly on numbers, by level on categories.
pub(crate) fn labels(random: &mut Random, table: &Table) -> Vec<f32> {
    let weights: Vec<f32> = table.columns.iter().map(|_| random.normal()).collect();
    let mut label = |row: usize| {
        let mut sum = 0.0;
        for ((column, weight), is_category) in table.columns.iter().zip(&weights).zip(&table.categorical) {
            let value = column[row];
            sum += match (value.is_nan(), is_category) {
                (true, _) => 0.5,
                (false, true) => 0.2 * weight * (value * 37.0).sin(),
                (false, false) => weight * value.signum() * value.abs().ln_1p(),
            };
        }
        1.0 / (1.0 + (-0.2 * sum - random.normal()).exp())
    };
    (0..table.n_rows()).map(&mut label).collect()
}
