//! Inner validation: training rows that validate what is learnt from others. Which, `evaluation::split` decides.

use error::Result;
use evaluation::split::{self, InnerFolds};
use features::encode::{Feature, Kind};
use xgboost::{DMatrix, Feature as MatrixFeature, FeatureKind, Params};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::lanes::Lanes;
use super::{FitContext, MatrixData, build_matrix, columns, sign};
use crate::encodings::{EncodedColumn, Encoding, EncodingScheme, FittingRows, Source, cross_folds, encode};
use crate::features::Features;
use crate::read::Rows;

/// Keeps the choice of a sample apart from every other use of the ids' hashes.
const SAMPLE_SEED_OFFSET: u64 = 0x5eed_0003;
/// Keeps the rows that thinned folds learn from apart from every other use of hashes.
const THINNED_SEED_OFFSET: u64 = 0x5eed_000a;
/// Share of the training rows that thinned folds learn from, as that of a fold in all rows.
const THINNED_SHARE: f64 = 0.8;
/// At or below this many rows, 5-fold cross-validation is used; with more rows, fewer folds tell as much.
const ROWS_FOR_ALL_FOLDS: usize = 5_000;
/// At or below this many rows, three folds are used; with more rows, one.
pub(crate) const ROWS_FOR_THREE_FOLDS: usize = 20_000;
/// Cells of the rows to judge on from which their metrics are computed here ([`super::evaluator`]). Below, XGBoost is as quick, since the trees
/// of a round have to be taken out of the booster: searches on 839 × 8 took a tenth longer without this bound.
const CELLS_OF_OUR_EVALUATION: usize = 20_000;

/// Some of the training rows and their folds.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    rows: Vec<usize>,
    inner: InnerFolds,
    /// Which rows may be learnt from, where these are not all.
    kept: Option<Vec<bool>>,
}

impl Sample {
    /// All rows, or about `most` of them, the same ones for the same ids and seed.
    #[must_use]
    pub(super) fn draw(rows: &Rows, most: usize, seed: u64) -> Self {
        let share = most as f64 / rows.len().max(1) as f64;
        let chosen = |id: &String| share >= 1.0 || uniform(id, seed.wrapping_add(SAMPLE_SEED_OFFSET)) < share;
        let places: Vec<usize> = (0..rows.len()).filter(|&row| chosen(&rows.ids[row])).collect();
        let folds = match places.len() {
            rows if rows <= ROWS_FOR_ALL_FOLDS => split::FOLDS,
            rows if rows <= ROWS_FOR_THREE_FOLDS => 3,
            _ => 1,
        };
        let ids: Vec<&str> = places.iter().map(|&row| rows.ids[row].as_str()).collect();
        let inner = InnerFolds::new(&ids, &rows.keys.picked(&places), seed, folds);
        Self { rows: places, inner, kept: None }
    }

    /// All rows, each of them validated on in one of so many folds, or in none where time has a part.
    #[must_use]
    pub(super) fn in_folds(rows: &Rows, seed: u64, folds: u8) -> Self {
        let ids: Vec<&str> = rows.ids.iter().map(String::as_str).collect();
        Self { rows: (0..rows.len()).collect(), inner: InnerFolds::dealt_to(&ids, &rows.keys, seed, folds), kept: None }
    }

    /// The same rows, of whose folds only one is used.
    #[must_use]
    pub(super) fn only(&self, fold: u8) -> Self {
        Self { rows: self.rows.clone(), inner: self.inner.clone().only(fold), kept: self.kept.clone() }
    }

    /// The same rows, of whose folds only the first so many are used that have any.
    #[must_use]
    pub(super) fn first_folds(&self, count: usize) -> Self {
        let until = self.folds().iter().take(count).map(|(fold, _)| fold + 1).max().unwrap_or(1);
        Self { rows: self.rows.clone(), inner: self.inner.clone().first(until), kept: self.kept.clone() }
    }

    /// The same folds with the same validation rows, but only four fifths of the training rows: by a hash of the group, where whole groups
    /// are held out, else of the id.
    #[must_use]
    pub(super) fn thinned(&self, rows: &Rows, seed: u64) -> Self {
        let seed = seed.wrapping_add(THINNED_SEED_OFFSET);
        let share = |row: usize| match &rows.keys.groups {
            Some(groups) => xxh3_64_with_seed(&groups[row].to_le_bytes(), seed) as f64 / 2_f64.powi(64),
            None => uniform(&rows.ids[row], seed),
        };
        let kept = self.rows.iter().map(|&row| share(row) < THINNED_SHARE).collect();
        Self { rows: self.rows.clone(), inner: self.inner.clone(), kept: Some(kept) }
    }

    /// The places of its rows among all.
    #[must_use]
    pub(super) fn places(&self) -> &[usize] {
        &self.rows
    }

    /// Rows in it.
    #[must_use]
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The same rows with as many folds, at least one and at most all.
    #[must_use]
    pub(super) fn with_folds(self, folds: u8) -> Self {
        Self { inner: self.inner.with_folds(folds), ..self }
    }

    /// The folds in which there are training and validation rows, each with how many training rows it has.
    pub(super) fn folds(&self) -> Vec<(u8, usize)> {
        if self.kept.is_none() {
            return self.inner.folds();
        }
        let of_fold = |(fold, _)| (fold, self.split(fold).0.len());
        self.inner.folds().into_iter().map(of_fold).filter(|(_, training)| *training > 0).collect()
    }

    /// Targets and weights of the validation rows, fold by fold.
    #[must_use]
    pub(super) fn truth(&self, rows: &Rows) -> Truth {
        let mut truth = Truth::default();
        for (fold, _) in self.folds() {
            for row in self.split(fold).1 {
                truth.targets.push(rows.target[row] as f32);
                truth.weights.push(rows.weights.as_ref().map_or(1.0, |weights| weights[row]));
            }
        }
        truth
    }

    /// The validation rows of all folds, fold by fold.
    #[must_use]
    pub(super) fn validation_rows(&self) -> Vec<usize> {
        self.folds().iter().flat_map(|(fold, _)| self.split(*fold).1).collect()
    }

    /// The training and the validation rows of a fold.
    pub(super) fn split(&self, fold: u8) -> (Vec<usize>, Vec<usize>) {
        let (mut training, validation) = self.inner.split(fold);
        if let Some(kept) = &self.kept {
            training.retain(|&place| kept[place]);
        }
        let of_rows = |places: Vec<usize>| places.into_iter().map(|place| self.rows[place]).collect();
        (of_rows(training), of_rows(validation))
    }
}

fn uniform(id: &str, seed: u64) -> f64 {
    xxh3_64_with_seed(id.as_bytes(), seed) as f64 / 2_f64.powi(64)
}

/// The two matrices of one fold.
#[derive(Debug)]
pub(super) struct Fold {
    /// Rows to learn from.
    pub(super) training: DMatrix,
    /// Rows to judge on.
    pub(super) validation: DMatrix,
    /// The same as they were before they were put into bins, where they are many.
    pub(super) validation_rows: Option<ValidationRows>,
    /// Columns of both.
    width: usize,
}

/// The rows of a fold to judge on, as XGBoost is given them.
#[derive(Debug)]
pub(super) struct ValidationRows {
    /// The columns of the matrix.
    pub(super) columns: Vec<Vec<f32>>,
    pub(super) labels: Vec<f32>,
    pub(super) weights: Option<Vec<f32>>,
}

impl Fold {
    pub(super) fn of_matrices(training: DMatrix, validation: DMatrix, validation_rows: Option<ValidationRows>) -> Self {
        let width = training.features().len();
        Self { training, validation, validation_rows, width }
    }

    /// Cells to learn from.
    pub(super) fn cells(&self) -> usize {
        self.training.rows() * self.width
    }

    /// Columns of the matrices.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// How many rows judge.
    pub(super) fn judges(&self) -> usize {
        self.validation.rows()
    }
}

/// Makes the matrices of the folds of a sample in one encoding.
#[derive(Clone, Copy)]
pub(super) struct FoldMaker<'a> {
    pub(super) context: &'a FitContext<'a>,
    pub(super) base: &'a Features,
    pub(super) rows: &'a Rows,
    pub(super) scheme: &'a EncodingScheme,
    /// The parameters that decide the bins.
    pub(super) params: &'a Params,
}

impl FoldMaker<'_> {
    /// Encodes a sample and makes the matrices of its folds. What is learnt from targets is learnt in each fold from its
    /// training rows alone.
    ///
    /// # Errors
    /// [`error::Error::Stopped`] when the run was asked to stop; what XGBoost refuses.
    pub(super) fn make(&self, sample: &Sample) -> Result<Vec<Fold>> {
        let mut splits: Vec<_> = sample.folds().into_iter().map(|(fold, _)| sample.split(fold)).collect();
        for (training, validation) in &splits {
            // Tests look into every fold by this line.
            let places = |of: &[usize]| of.iter().map(|&row| self.rows.places[row]).collect::<Vec<u32>>();
            tracing::trace!(training = ?places(training), validation = ?places(validation), "inner fold");
        }
        let lanes = Lanes::new(self.context.threads, splits.len());
        let context = &FitContext { threads: lanes.threads, ..*self.context };
        let maker = FoldMaker { context, ..*self };
        lanes.each(&mut splits, |(training, validation)| {
            context.shutdown.check(context.run_id)?;
            let seed = u64::from(context.config.seed);
            let encoded = encode_fold(maker.base, maker.rows, maker.scheme, seed, (training, validation));
            maker.fold(encoded, training, validation)
        })
    }

    fn fold(&self, encoded: Vec<EncodedColumn>, training: &[usize], validation: &[usize]) -> Result<Fold> {
        let Self { context, base, rows, params, .. } = *self;
        let feature = |(place, column): (usize, &EncodedColumn)| {
            let is_category =
                column.encoded.is_none() && matches!(base.features[column.source].kind, Kind::Category { .. });
            let kind = if is_category { FeatureKind::Category } else { FeatureKind::Number };
            MatrixFeature { name: place.to_string(), kind }
        };
        let features: Vec<MatrixFeature> = encoded.iter().enumerate().map(feature).collect();
        let labels =
            |places: &[usize]| -> Vec<f32> { places.iter().map(|&row| context.scale.label(rows, row)).collect() };
        let matrix = |columns: &[&[f32]], labels: &[f32], weights: Option<&[f32]>, reference: Option<&DMatrix>| {
            let data = MatrixData { features: &features, columns, labels, weights };
            build_matrix(context, params, &data, reference)
        };
        let columns: Vec<&[f32]> = encoded.iter().map(|column| column.fitting.as_slice()).collect();
        let weights = picked(rows.weights.as_deref(), training);
        let training = matrix(&columns, &labels(training), weights.as_deref(), None)?;
        let validation_rows = ValidationRows {
            columns: encoded.into_iter().map(|column| column.validation).collect(),
            labels: labels(validation),
            weights: picked(rows.weights.as_deref(), validation),
        };
        let columns: Vec<&[f32]> = validation_rows.columns.iter().map(Vec::as_slice).collect();
        let validation =
            matrix(&columns, &validation_rows.labels, validation_rows.weights.as_deref(), Some(&training))?;
        let are_many = validation.rows() * features.len() >= CELLS_OF_OUR_EVALUATION;
        Ok(Fold::of_matrices(training, validation, are_many.then_some(validation_rows)))
    }
}

/// Targets and weights of rows that judge.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Truth {
    pub(super) targets: Vec<f32>,
    pub(super) weights: Vec<f32>,
}

/// For every column of a matrix the sign of its monotone constraint.
pub(super) fn signs(context: &FitContext<'_>, base: &Features, scheme: &EncodingScheme) -> Vec<i8> {
    let of = |(feature, encoding): (&Feature, &Option<Encoding>)| {
        // A category that has a constraint is never encoded.
        let sign = sign(&context.config.spec, feature);
        std::iter::repeat_n(sign, encoding.map_or(1, Encoding::width))
    };
    base.features.iter().zip(&scheme.encodings).flat_map(of).collect()
}

/// The columns of a fold, given its training and its validation rows.
fn encode_fold(
    base: &Features,
    rows: &Rows,
    scheme: &EncodingScheme,
    seed: u64,
    (training, validation): (&[usize], &[usize]),
) -> Vec<EncodedColumn> {
    let target: Vec<f64> = training.iter().map(|&row| rows.target[row]).collect();
    let weights = picked(rows.weights.as_deref(), training);
    let folds = cross_folds(rows, seed).picked(training);
    let fitting = FittingRows { target: &target, weights: weights.as_deref(), folds: &folds };
    let is_wanted = |(index, _): &(usize, &[f32])| scheme.encodings[*index].is_none_or(|encoding| encoding.width() > 0);
    let of = |(index, column): (usize, &[f32])| {
        let (left, right): (Vec<f32>, Vec<f32>) = (pick(column, training), pick(column, validation));
        let source = Source { index, feature: &base.features[index], encoding: scheme.encodings[index] };
        encode(&source, &fitting, &left, &right)
    };
    columns(&base.train).into_iter().enumerate().filter(is_wanted).flat_map(of).collect()
}

fn pick(column: &[f32], places: &[usize]) -> Vec<f32> {
    places.iter().map(|&row| column[row]).collect()
}

fn picked(column: Option<&[f32]>, places: &[usize]) -> Option<Vec<f32>> {
    column.map(|column| pick(column, places))
}

#[cfg(test)]
mod tests {
    use evaluation::split::RowKeys;
    use features::quality::{FeatureTally, Statistics};
    use ndarray::{Array2, ShapeBuilder};

    use super::*;
    use crate::encodings::visible;

    fn rows(count: usize) -> Rows {
        let ids = (0..count).map(|id| id.to_string()).collect();
        Rows { ids, places: (0..count as u32).collect(), target: vec![0.0; count], ..Rows::default() }
    }

    #[test]
    fn every_row_of_a_small_table_judges_once() {
        let sample = Sample::draw(&rows(1_000), 10_000, 42);
        let mut judges: Vec<usize> = sample.folds().iter().flat_map(|(fold, _)| sample.split(*fold).1).collect();
        judges.sort_unstable();
        assert_eq!(judges, (0..1_000).collect::<Vec<_>>());
        let (training, validation) = sample.split(0);
        assert!(training.iter().all(|row| !validation.contains(row)));
        let sizes = sample.folds();
        assert_eq!(sizes.iter().map(|(_, training)| 1_000 - training).sum::<usize>(), 1_000);
        assert_eq!(sizes[0], (0, training.len()));
    }

    #[test]
    fn the_first_folds_have_the_rows_that_they_had_among_all() {
        let mut rows = rows(4_000);
        for (by_time, by_group) in [(false, false), (true, false), (false, true), (true, true)] {
            rows.keys.instants = by_time.then(|| (0..4_000).map(f64::from).collect());
            rows.keys.groups = by_group.then(|| (0..4_000).map(|row| row % 900).collect());
            let sample = Sample::draw(&rows, 4_000, 42);
            let all = sample.folds();
            assert!(all.len() > 2, "{by_time} {by_group} {all:?}");
            for count in 1..=all.len() {
                let first = sample.first_folds(count);
                assert_eq!(first.folds(), all[..count], "{by_time} {by_group}");
                assert!(first.folds().iter().all(|(fold, _)| first.split(*fold) == sample.split(*fold)));
            }
        }
    }

    #[test]
    fn the_truth_is_that_of_the_validation_rows_fold_by_fold() {
        let mut rows = rows(300);
        rows.target = (0..300).map(f64::from).collect();
        rows.weights = Some((0..300).map(|row| row as f32 / 2.0).collect());
        let sample = Sample::draw(&rows, 300, 7);
        let truth = sample.truth(&rows);
        let judges: Vec<usize> = sample.folds().iter().flat_map(|(fold, _)| sample.split(*fold).1).collect();
        assert_eq!(truth.targets, judges.iter().map(|&row| row as f32).collect::<Vec<_>>());
        assert_eq!(truth.weights, judges.iter().map(|&row| row as f32 / 2.0).collect::<Vec<_>>());
    }

    #[test]
    fn thinned_folds_validate_on_the_same_rows_and_learn_from_four_fifths() {
        let mut rows = rows(4_000);
        for grouped in [false, true] {
            rows.keys.groups = grouped.then(|| (0..4_000).map(|row| row / 4).collect());
            let sample = Sample::draw(&rows, 4_000, 42);
            let thinned = sample.thinned(&rows, 42);
            assert_eq!(sample.folds().len(), thinned.folds().len());
            for (fold, count) in sample.folds() {
                let ((training, validation), (left, same)) = (sample.split(fold), thinned.split(fold));
                assert_eq!((training.len(), validation), (count, same));
                assert!(left.iter().all(|row| training.binary_search(row).is_ok()));
                assert!(thinned.folds().contains(&(fold, left.len())));
                let share = left.len() as f64 / training.len() as f64;
                assert!((0.77..0.83).contains(&share), "{share}");
                let mates = left.iter().filter(|&&row| left.binary_search(&(row ^ 1)).is_ok()).count();
                assert_eq!(mates == left.len(), grouped);
            }
            let one = thinned.only(1);
            assert_eq!((one.folds().len(), one.split(1)), (1, thinned.split(1)));
        }
    }

    /// A table of one category whose target says which row a mean was made of, with instants that tie and groups of different
    /// sizes.
    fn dependent(seed: u64) -> (Features, Rows) {
        let count = 60 + (seed % 140) as usize;
        let draw = |row: usize, salt: u64| xxh3_64_with_seed(&(row as u64).to_le_bytes(), seed.wrapping_mul(31) + salt);
        let instants = (0..count).map(|row| (draw(row, 1) % 25) as f64).collect();
        let groups =
            (0..count).map(|row| ((draw(row, 2) % 900) as f64).sqrt() as u64).map(|text| draw(text as usize, 3));
        let keys = RowKeys {
            instants: (seed % 3 != 1).then_some(instants),
            groups: (!seed.is_multiple_of(3)).then(|| groups.collect()),
            gap: (seed % 4) as f64,
        };
        let mut rows = Rows { keys, ..rows(count) };
        rows.target = (0..count).map(|row| (draw(row, 4) % 1_000) as f64).collect();
        let mut train = Array2::zeros((count, 1).f());
        train.column_mut(0).iter_mut().enumerate().for_each(|(row, cell)| *cell = (draw(row, 5) % 4) as f32);
        let levels = ["a", "b", "c", "d"].map(str::to_owned).to_vec();
        let feature = Feature {
            name: "plan".to_owned(),
            kind: Kind::Category { levels },
            source: ::features::encode::FeatureSource::Column("plan".to_owned()),
            source_kind: ::columns::ColumnKind::Text,
        };
        let base = Features {
            features: vec![feature],
            statistics: vec![Statistics::of_levels(count as u64, 0, 0, &[1, 1, 1, 1])],
            train,
            test: Array2::zeros((1, 1).f()),
            tallies: vec![FeatureTally::new(None)],
            hints: Vec::new(),
        };
        (base, rows)
    }

    fn may_teach(keys: &RowKeys, teacher: usize, judge: usize) -> bool {
        let (teacher, judge) = (keys.get(teacher), keys.get(judge));
        let is_older = keys.instants.is_none() || judge.instant - teacher.instant > keys.gap;
        is_older && (keys.groups.is_none() || teacher.group != judge.group)
    }

    /// The same with other targets in all rows that must not teach `judge`. What means are shrunk towards is the same in every group, and
    /// stays as it is.
    fn with_forbidden_targets_changed(rows: &Rows, judge: usize, seed: u64) -> Rows {
        let mut changed = rows.clone();
        let folds = cross_folds(rows, seed);
        let is_in_prior = |row: &usize| visible(&folds).is_in_prior(folds.reads[judge], folds.adds()[*row]);
        let forbidden = (0..rows.len()).filter(|&row| !may_teach(&rows.keys, row, judge));
        let (of_prior, others): (Vec<usize>, Vec<usize>) = forbidden.partition(is_in_prior);
        let middle = (of_prior.len() as f64 - 1.0) / 2.0;
        of_prior.iter().enumerate().for_each(|(place, &row)| changed.target[row] += 1e6 * (place as f64 - middle));
        others.into_iter().for_each(|row| changed.target[row] += 1e6);
        changed
    }

    #[test]
    fn no_mean_of_the_target_saw_the_future_or_its_own_group_in_any_fold_of_200_tables() {
        let scheme = EncodingScheme { name: "target".into(), encodings: vec![Some(Encoding::TARGET)] };
        let (mut folds, mut known) = (0, 0);
        for seed in 0..200 {
            let (base, rows) = dependent(seed);
            let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            let sample = Sample::draw(&rows, rows.len(), seed);
            for (fold, _) in sample.folds() {
                folds += 1;
                let (training, validation) = sample.split(fold);
                let encoded = |rows: &Rows| {
                    let mut columns = encode_fold(&base, rows, &scheme, seed, (&training, &validation));
                    columns.pop().unwrap()
                };
                let before = encoded(&rows);
                // Whatever the validation rows came to, nothing of it shows anywhere.
                let mut changed = rows.clone();
                validation.iter().for_each(|&row| changed.target[row] += 1e6);
                let after = encoded(&changed);
                assert_eq!(
                    (bits(&before.fitting), bits(&before.validation)),
                    (bits(&after.fitting), bits(&after.validation))
                );
                for place in (0..training.len()).step_by(7) {
                    let changed = with_forbidden_targets_changed(&rows, training[place], seed);
                    let (before, after) = (before.fitting[place], encoded(&changed).fitting[place]);
                    // Sums that leave a fold out take it from the whole, which costs last bits.
                    assert!(before.is_nan() && after.is_nan() || (before - after).abs() < 2.0, "{before} {after}");
                    known += usize::from(!before.is_nan());
                }
            }
            // The same for the rows that the model itself is fitted to.
            let fitted = |rows: &Rows| {
                let Features { features, statistics, train, test, tallies, .. } = &base;
                let (features, statistics, tallies) = (features.clone(), statistics.clone(), tallies.clone());
                let base = Features {
                    features,
                    statistics,
                    train: train.clone(),
                    test: test.clone(),
                    tallies,
                    hints: Vec::new(),
                };
                crate::encodings::apply(base, &scheme, rows, seed).train.column(0).to_vec()
            };
            let before = fitted(&rows);
            for row in (0..rows.len()).step_by(11) {
                let changed = with_forbidden_targets_changed(&rows, row, seed);
                let (before, after) = (before[row], fitted(&changed)[row]);
                assert!(before.is_nan() && after.is_nan() || (before - after).abs() < 2.0, "{before} {after}");
            }
        }
        assert!(folds > 400 && known > 2_000, "{folds} folds, {known} means");
    }

    #[test]
    fn a_sample_has_about_the_size_asked_for_and_is_the_same_each_time() {
        let rows = rows(50_000);
        let sample = Sample::draw(&rows, 10_000, 42);
        assert!((9_500..10_500).contains(&sample.len()), "{}", sample.len());
        assert_eq!(sample.rows, Sample::draw(&rows, 10_000, 42).rows);
        assert_eq!(sample.folds().len(), 3);
        assert_eq!(Sample::draw(&rows, 50_000, 42).len(), 50_000);
    }
}
