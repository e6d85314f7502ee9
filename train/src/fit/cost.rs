//! What boosting costs, counted from the shape of a matrix and its parameters and from nothing else: a unit of work is about a
//! nanosecond of one thread of a slow machine.
//!
//! XGBoost's `hist` goes through all cells once per level of a tree, and through all bins of all columns for every node that it
//! splits: to subtract the histogram of a sibling, and to look for the best split. On a few thousand rows the second is most of
//! the cost, on a hundred thousand the first. The constants were fitted to rounds of 600 to 64,000 rows × 8 to 70 columns,
//! depth 3 to 9, 256 and 1,024 bins, on one thread of an AMD EPYC, which they predict to a third.

use features::encode::{Feature, Kind};
use xgboost::Params;

use super::folds::Sample;
use super::{columns, histograms};
use crate::encodings::{Encoding, EncodingScheme};
use crate::features::Features;

/// Of a cell, for each level of a tree.
const CELL_OF_LEVEL: f64 = 0.6;
/// Of a bin of a node, to make it.
const BIN_MADE: f64 = 5.0;
/// Of a bin of a node, to look whether to split there.
const BIN_SEARCHED: f64 = 7.0;
/// Of a round, however little there is to do.
const ROUND: f64 = 150_000.0;
/// Of a cell of a tree method that makes no bins beforehand, as many times that of one that does.
const UNBINNED: f64 = 4.0;
/// Levels of a tree whose depth is not limited.
const LEVELS: f64 = 8.0;
/// Rows that are looked at to tell how many values a column has.
const LOOKED_AT: usize = 8_192;

/// What is known of the columns of a table.
#[derive(Debug, Default)]
pub(super) struct Costs {
    /// How many values each feature has, about.
    values: Vec<f64>,
}

impl Costs {
    /// Of the features of a table.
    pub(super) fn of(base: &Features) -> Self {
        let columns = columns(&base.train);
        let values = base.features.iter().enumerate().map(|(place, feature)| {
            let column = columns.get(place).copied().unwrap_or_default();
            values_of(feature, column) as f64
        });
        Self { values: values.collect() }
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
        let Shape { levels, nodes, columns, of_node } = Shape::of(params, rows);
        let cells =
            rows as f64 * scheme.width() as f64 * columns * if params.wants_quantile_matrix() { 1.0 } else { UNBINNED };
        let bins = self.bins(scheme, params.max_bin()) * columns * nodes;
        ROUND + CELL_OF_LEVEL * cells * levels + bins * (BIN_MADE + BIN_SEARCHED * of_node)
    }

    /// A round of every fold of a sample.
    pub(super) fn round_of_folds(&self, sample: &Sample, scheme: &EncodingScheme, params: &Params) -> f64 {
        sample.folds().into_iter().map(|(_, training)| self.round(training, scheme, params)).sum()
    }

    /// Rows of which so many rounds are worth this work.
    pub(super) fn affordable_rows(&self, work: f64, rounds: f64, scheme: &EncodingScheme, params: &Params) -> usize {
        let of_round = work / rounds;
        let without = self.round(0, scheme, params);
        let many = 1_000_000;
        let with_many = self.round(many, scheme, params);
        // From some rows on, only cells become more.
        let of_row = CELL_OF_LEVEL * scheme.width() as f64 * Shape::of(params, many).levels;
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
    /// Nodes with a histogram.
    nodes: f64,
    /// Share of the columns that a tree sees.
    columns: f64,
    /// Share of these that a node sees.
    of_node: f64,
}

impl Shape {
    fn of(params: &Params, rows: usize) -> Self {
        let number = |name: &str| params.get(name).and_then(|value| value.parse::<f64>().ok());
        let (depth, leaves) = (number("max_depth").unwrap_or(6.0), number("max_leaves").unwrap_or(0.0));
        let by_depth =
            if depth > 0.0 { depth.min(f64::from(histograms::MOST_NODES.ilog2())).exp2() } else { f64::INFINITY };
        let by_leaves = if leaves > 0.0 { 2.0 * leaves } else { f64::INFINITY };
        // A node of few rows is a leaf.
        let by_rows = rows as f64 / number("min_child_weight").unwrap_or(1.0).max(2.0);
        let nodes = by_depth.min(by_leaves).min(by_rows).min(histograms::MOST_NODES as f64).max(1.0);
        let levels = if depth > 0.0 { depth.min(nodes.log2() + 1.0) } else { LEVELS.min(nodes.log2() + 1.0) };
        let share = |name: &str| number(name).unwrap_or(1.0).clamp(0.0, 1.0);
        Self {
            levels,
            nodes,
            columns: share("colsample_bytree"),
            of_node: share("colsample_bylevel") * share("colsample_bynode"),
        }
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

    /// Milliseconds that a round took, as measured (see above), and what is counted.
    #[test]
    fn rounds_cost_about_what_was_measured() {
        let sampled = [("subsample", "0.8"), ("colsample_bynode", "0.5"), ("min_child_weight", "5")];
        let measured = [
            (600, 8, "6", "1024", false, 3.39),
            (2_400, 8, "6", "256", false, 2.12),
            (2_400, 8, "6", "256", true, 1.53),
            (2_400, 70, "6", "256", false, 15.29),
            (6_000, 12, "6", "1024", true, 6.33),
            (6_000, 30, "9", "256", false, 45.47),
            (6_000, 30, "4", "256", false, 2.47),
            (24_000, 30, "6", "256", true, 6.80),
            (64_000, 70, "6", "256", false, 30.09),
            (64_000, 70, "4", "256", true, 13.16),
        ];
        for (rows, width, depth, bins, is_sampled, milliseconds) in measured {
            let mut params = Params::parse([("max_depth", depth), ("max_bin", bins)]).unwrap();
            if is_sampled {
                params = Params::parse(sampled).unwrap().merged(params);
            }
            let costs = Costs { values: vec![f64::INFINITY; width] };
            let values = costs.values.iter().map(|values| values.min(rows as f64)).collect();
            let counted = Costs { values }.round(rows, &scheme(width), &params) / 1e6;
            assert!(
                (0.6..1.6).contains(&(counted / milliseconds)),
                "{rows} × {width}, {depth}, {bins}: {counted} for {milliseconds}"
            );
        }
    }

    #[test]
    fn as_many_rows_are_affordable_as_their_rounds_cost() {
        let costs = Costs { values: vec![1_000.0; 10] };
        let params = Params::parse([("max_depth", "6")]).unwrap();
        let work = 150.0 * costs.round(40_000, &scheme(10), &params);
        assert!(costs.affordable_rows(work, 150.0, &scheme(10), &params).abs_diff(40_000) < 10);
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
