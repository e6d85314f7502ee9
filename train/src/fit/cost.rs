//! What boosting costs, counted from the shape of a matrix and its parameters and from nothing else: a unit of work is about a
//! nanosecond of one thread of a slow machine. What is planned and what is accounted for are the same count.
//!
//! XGBoost's `hist` goes through all cells once per level of a tree, and through all bins of all columns for every node that it
//! might split: to subtract the histogram of a sibling, and to look for the best split, from both ends where values are missing. On a
//! few thousand rows the second is most of the cost, on a hundred thousand the first. The constants were fitted to 505 measurements of
//! processor time on one thread of an AMD EPYC with its other core busy: rounds of 400 to 64,000 rows × 5 to 73 columns of eleven tables
//! (nine real ones), depth 3 to 9, 256 to 4,096 bins. They predict them to a quarter (one standard deviation); the worst is counted 2.6 times too high, another 1.9 times too low.

use features::encode::{Feature, Kind};
use xgboost::Params;

use super::folds::Sample;
use super::{columns, histograms};
use crate::encodings::{Encoding, EncodingScheme};
use crate::features::Features;

/// Of a cell, for each level of a tree.
const CELL_OF_LEVEL: f64 = 0.5;
/// Of a row to learn from, for its gradient and its prediction.
const ROW: f64 = 12.0;
/// Of a row that judges, for each level of a tree.
const VALIDATION_ROW_OF_LEVEL: f64 = 7.0;
/// Of a node that might be split, however few bins it has.
const NODE: f64 = 500.0;
/// Of a bin of a node, to make it.
const BIN_MADE: f64 = 0.5;
/// Of a bin of a node, to look whether to split there.
const BIN_SEARCHED: f64 = 7.2;
/// The search of a column in which values are missing, as many times more than that of another.
const MISSING: f64 = 2.0;
/// Of a round, however little there is to do.
const ROUND: f64 = 84_000.0;
/// Of a cell of a matrix, to make it.
const CELL_OF_MATRIX: f64 = 200.0;
/// Of a cell of a tree method that makes no bins beforehand, as many times that of one that does.
const UNBINNED: f64 = 4.0;
/// Levels of a tree whose depth is not limited.
const LEVELS: f64 = 8.0;
/// Nodes of a tree whose depth is not limited: the first, times rows per least child to the power of the second.
const NODES_BY_ROWS: (f64, f64) = (4.0, 0.63);
/// What counts as the weight of the least child besides `min_child_weight`.
const LEAST_CHILD: f64 = 0.25;
/// Rows that are looked at to tell how many values a column has.
const LOOKED_AT: usize = 8_192;

/// What is known of the columns of a table.
#[derive(Debug, Default)]
pub(super) struct Costs {
    /// How many values each feature has, about.
    values: Vec<f64>,
    /// The share of features in which values are missing.
    missing: f64,
}

impl Costs {
    /// Of the features of a table.
    pub(super) fn of(base: &Features) -> Self {
        let columns = columns(&base.train);
        let values = base.features.iter().enumerate().map(|(place, feature)| {
            let column = columns.get(place).copied().unwrap_or_default();
            values_of(feature, column) as f64
        });
        let with_gaps = columns.iter().filter(|column| column.iter().any(|value| value.is_nan())).count();
        Self { values: values.collect(), missing: with_gaps as f64 / columns.len().max(1) as f64 }
    }

    /// Bins of all columns of a matrix, of which each has at most `most`; XGBoost has one for each level of a category that it
    /// splits on itself.
    pub(super) fn bins(&self, scheme: &EncodingScheme, most: u32) -> f64 {
        let most = f64::from(most);
        let of = |(encoding, values): (&Option<Encoding>, &f64)| match encoding {
            None => values.min(most),
            Some(encoding) => encoding.bins(*values, most),
        };
        scheme.encodings.iter().zip(&self.values).map(of).sum()
    }

    /// A round of boosting on so many rows.
    pub(super) fn round(&self, rows: usize, scheme: &EncodingScheme, params: &Params) -> f64 {
        let Shape { levels, nodes, searched } = Shape::of(params, rows);
        let cells = rows as f64 * scheme.width() as f64 * if params.wants_quantile_matrix() { 1.0 } else { UNBINNED };
        let of_bin = BIN_MADE + BIN_SEARCHED * searched * (1.0 + MISSING * self.missing);
        let of_nodes = nodes * (NODE + self.bins(scheme, params.max_bin()) * of_bin);
        ROUND + ROW * rows as f64 + CELL_OF_LEVEL * cells * levels + of_nodes
    }

    /// A round of every fold of a sample, with what its validation costs.
    pub(super) fn round_of_folds(&self, sample: &Sample, scheme: &EncodingScheme, params: &Params) -> f64 {
        let of_fold = |training: usize| {
            let validation = sample.len().saturating_sub(training) as f64;
            let validated = VALIDATION_ROW_OF_LEVEL * validation * Shape::of(params, training).levels;
            validated + self.round(training, scheme, params)
        };
        sample.folds().into_iter().map(|(_, training)| of_fold(training)).sum()
    }

    /// The matrices of every fold of a sample.
    pub(super) fn matrices_of_folds(sample: &Sample, scheme: &EncodingScheme) -> f64 {
        CELL_OF_MATRIX * (sample.len() * sample.folds().len() * scheme.width()) as f64
    }

    /// Rows of which so many rounds are worth this work.
    pub(super) fn affordable_rows(&self, work: f64, rounds: f64, scheme: &EncodingScheme, params: &Params) -> usize {
        let of_round = work / rounds;
        let without = self.round(0, scheme, params);
        let many = 1_000_000;
        let with_many = self.round(many, scheme, params);
        // From some rows on, only cells and rows become more.
        let of_row = ROW + CELL_OF_LEVEL * scheme.width() as f64 * Shape::of(params, many).levels;
        let rest = with_many - of_row * many as f64;
        ((of_round - rest.max(without)) / of_row.max(1.0)).max(0.0) as usize
    }
}

/// How many values a column has, about, of which more than the finest bins do not matter.
fn values_of(feature: &Feature, column: &[f32]) -> usize {
    if let Kind::Category { levels } = &feature.kind {
        return levels.len();
    }
    let is_sample = column.len() > LOOKED_AT;
    // Places without a period: values often have one.
    let place = |nth: u64| (nth.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16) as usize % column.len();
    let looked_at: Vec<f32> =
        if is_sample { (0..LOOKED_AT as u64).map(|nth| column[place(nth)]).collect() } else { column.to_vec() };
    let mut seen: Vec<u32> = looked_at.into_iter().filter(|value| !value.is_nan()).map(f32::to_bits).collect();
    let looked_at = seen.len();
    seen.sort_unstable();
    seen.dedup();
    // Where many were seen only once, there are more than were looked at.
    let is_open = is_sample && 4 * seen.len() > looked_at;
    let most = histograms::MORE_BINS.into_iter().max().unwrap_or(histograms::DEFAULT_BINS) as usize;
    if is_open { column.len().min(most) } else { seen.len() }
}

/// What parameters say of a tree.
struct Shape {
    levels: f64,
    /// Nodes that might be split, each with a histogram.
    nodes: f64,
    /// Share of the columns that the search of a node sees.
    searched: f64,
}

impl Shape {
    fn of(params: &Params, rows: usize) -> Self {
        let number = |name: &str| params.get(name).and_then(|value| value.parse::<f64>().ok());
        let (depth, leaves) = (number("max_depth").unwrap_or(6.0), number("max_leaves").unwrap_or(0.0));
        let by_depth =
            if depth > 0.0 { depth.min(f64::from(histograms::MOST_NODES.ilog2())).exp2() } else { f64::INFINITY };
        let by_leaves = if leaves > 0.0 { 2.0 * leaves } else { f64::INFINITY };
        let most = by_depth.min(by_leaves).min(histograms::MOST_NODES as f64);
        let share = |name: &str| number(name).unwrap_or(1.0).clamp(0.0, 1.0);
        // Trees of boosting are lopsided: of few rows they have far fewer nodes than there is room for.
        let weight = number("min_child_weight").unwrap_or(1.0).max(0.0) + LEAST_CHILD;
        let by_rows = NODES_BY_ROWS.0 * (rows as f64 * share("subsample") / weight).powf(NODES_BY_ROWS.1);
        let nodes = (most * by_rows / (most + by_rows)).max(1.0);
        let levels = if depth > 0.0 { depth.min(nodes.log2() + 1.0) } else { LEVELS.min(nodes.log2() + 1.0) };
        let searched = ["colsample_bytree", "colsample_bylevel", "colsample_bynode"].map(share).into_iter().product();
        Self { levels, nodes, searched }
    }
}

#[cfg(test)]
mod tests {
    use columns::ColumnKind;
    use features::encode::FeatureSource;

    use super::*;

    fn scheme(width: usize) -> EncodingScheme {
        EncodingScheme { name: "no categories".into(), encodings: vec![None; width] }
    }

    /// Columns, bins of all of them, the share of columns with missing values, and milliseconds that a round took, as measured (see above).
    #[test]
    fn rounds_cost_about_what_was_measured() {
        let sets: [(char, &[(&str, &str)]); 7] = [
            ('a', &[("subsample", "0.8"), ("colsample_bynode", "0.5"), ("min_child_weight", "5")]),
            ('b', &[("subsample", "0.8"), ("colsample_bynode", "0.5")]),
            ('c', &[]),
            ('d', &[("subsample", "0.8"), ("colsample_bytree", "0.8")]),
            ('e', &[("subsample", "0.8"), ("colsample_bytree", "0.8"), ("min_child_weight", "5")]),
            ('f', &[("subsample", "0.7"), ("colsample_bylevel", "0.9"), ("min_child_weight", "2")]),
            ('g', &[("subsample", "0.8"), ("colsample_bynode", "0.3"), ("min_child_weight", "10")]),
        ];
        let measured = [
            (672, 8, 1_312, 0.0, "6", 'a', 0.35),
            (672, 8, 1_312, 0.0, "9", 'e', 0.64),
            (2_929, 12, 7_629, 0.0, "6", 'c', 2.77),
            (2_929, 12, 7_629, 0.0, "9", 'e', 4.68),
            (2_929, 12, 2_070, 0.0, "4", 'g', 0.24),
            (2_929, 12, 10_828, 0.0, "6", 'a', 1.95),
            (5_548, 12, 547, 0.0, "6", 'a', 0.53),
            (1_873, 73, 4_217, 0.03, "6", 'c', 2.09),
            (19_184, 29, 2_796, 0.0, "6", 'a', 2.01),
            (16_800, 40, 10_280, 0.0, "6", 'c', 9.18),
            (34_540, 9, 1_344, 0.0, "9", 'f', 7.00),
            (34_540, 9, 1_344, 0.0, "4", 'b', 1.36),
            (64_040, 5, 3_673, 0.4, "6", 'd', 4.01),
            (1_600, 72, 8_047, 0.33, "6", 'd', 6.35),
            (64_036, 72, 8_641, 0.33, "6", 'c', 27.04),
        ];
        for (rows, width, bins, missing, depth, set, milliseconds) in measured {
            let of_set = sets.iter().find(|one| one.0 == set).map(|one| one.1).unwrap();
            let mut params = Params::parse(of_set.iter().copied()).unwrap();
            params.set("max_depth", depth).unwrap();
            params.set("max_bin", "4096").unwrap();
            let costs = Costs { values: vec![f64::from(bins) / width as f64; width], missing };
            let counted = costs.round(rows, &scheme(width), &params) / 1e6;
            assert!(
                (0.5..2.0).contains(&(counted / milliseconds)),
                "{rows} × {width}, {depth}, {set}: {counted} for {milliseconds}"
            );
        }
    }

    #[test]
    fn as_many_rows_are_affordable_as_their_rounds_cost() {
        let costs = Costs { values: vec![1_000.0; 10], missing: 0.0 };
        let params = Params::parse([("max_depth", "6")]).unwrap();
        let work = 150.0 * costs.round(40_000, &scheme(10), &params);
        assert!(costs.affordable_rows(work, 150.0, &scheme(10), &params).abs_diff(40_000) < 4_000);
        assert_eq!(costs.affordable_rows(1.0, 150.0, &scheme(10), &params), 0);
    }

    #[test]
    fn a_column_of_few_values_has_few_bins() {
        let source = FeatureSource::Column("x".to_owned());
        let feature = Feature { name: "x".to_owned(), kind: Kind::Number, source, source_kind: ColumnKind::Float };
        let few: Vec<f32> = (0..50_000).map(|row| (row % 7) as f32).collect();
        let many: Vec<f32> = (0..50_000).map(|row| row as f32).collect();
        assert_eq!([values_of(&feature, &few), values_of(&feature, &many)], [7, 4_096]);
    }
}
