//! Inner validation: rows taken from the training rows, by their ids, to judge what is learnt from the others.

use error::Result;
use features::encode::{Feature, Kind};
use xgboost::{DMatrix, Feature as MatrixFeature, FeatureKind, Params};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::lanes::Lanes;
use super::{FitContext, MatrixData, build_matrix, columns, sign};
use crate::encodings::{EncodedColumn, Encoding, EncodingScheme, FittingRows, Source, encode, folds};
use crate::features::Features;
use crate::read::Rows;

/// Keeps the inner split apart from the outer one, which uses the seed itself.
const INNER_SEED_OFFSET: u64 = 0x5eed_0001;
/// The same for the choice of a sample.
const SAMPLE_SEED_OFFSET: u64 = 0x5eed_0003;
/// Number of folds that rows are dealt to; a fold validates one row in this many.
const FOLDS: u64 = 5;
/// At or below this many rows, 5-fold cross-validation is used; with more rows, fewer folds tell as much.
const ROWS_FOR_ALL_FOLDS: usize = 5_000;
/// At or below this many rows, three folds are used; with more rows, one.
const ROWS_FOR_THREE_FOLDS: usize = 20_000;

/// Some of the training rows, each in one part.
#[derive(Debug)]
pub(super) struct Sample {
    rows: Vec<usize>,
    part: Vec<u8>,
    folds: u8,
}

impl Sample {
    /// All rows, or about `most` of them, the same ones for the same ids and seed.
    #[must_use]
    pub(super) fn draw(rows: &Rows, most: usize, seed: u64) -> Self {
        let share = most as f64 / rows.len().max(1) as f64;
        let chosen = |id: &String| share >= 1.0 || uniform(id, seed.wrapping_add(SAMPLE_SEED_OFFSET)) < share;
        let places: Vec<usize> = (0..rows.len()).filter(|&row| chosen(&rows.ids[row])).collect();
        let part = |&row: &usize| (uniform(&rows.ids[row], seed.wrapping_add(INNER_SEED_OFFSET)) * FOLDS as f64) as u8;
        let part = places.iter().map(part).collect();
        let folds = match places.len() {
            rows if rows <= ROWS_FOR_ALL_FOLDS => FOLDS as u8,
            rows if rows <= ROWS_FOR_THREE_FOLDS => 3,
            _ => 1,
        };
        Self { rows: places, part, folds }
    }

    /// Rows in it.
    #[must_use]
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The same rows with as many folds, at least one and at most all.
    #[must_use]
    pub(super) fn with_folds(self, folds: u8) -> Self {
        Self { folds: folds.clamp(1, FOLDS as u8), ..self }
    }

    /// Cells that a round of every fold goes through in this encoding, roughly.
    #[must_use]
    pub(super) fn cells_per_round(&self, scheme: &EncodingScheme) -> f64 {
        let training = self.rows.len() as f64 * (1.0 - 1.0 / FOLDS as f64);
        f64::from(self.folds) * cells_of_round(training as usize, scheme.width())
    }

    /// The folds in which there are rows to learn from and rows to judge on, each with how many rows it learns from.
    pub(super) fn folds(&self) -> Vec<(u8, usize)> {
        let mut validation = [0_usize; FOLDS as usize];
        for &part in &self.part {
            if let Some(rows) = validation.get_mut(usize::from(part)) {
                *rows += 1;
            }
        }
        let of = |(fold, rows): (u8, usize)| (rows > 0 && rows < self.len()).then_some((fold, self.len() - rows));
        (0..self.folds).zip(validation).filter_map(of).collect()
    }

    /// Targets and weights of the rows that judge, fold by fold.
    #[must_use]
    pub(super) fn truth(&self, rows: &Rows) -> Truth {
        let mut truth = Truth::default();
        for (fold, _) in self.folds() {
            for (&row, _) in self.rows.iter().zip(&self.part).filter(|(_, part)| **part == fold) {
                truth.targets.push(rows.target[row] as f32);
                truth.weights.push(rows.weights.as_ref().map_or(1.0, |weights| weights[row]));
            }
        }
        truth
    }

    /// The rows to learn from and the rows to judge on, of a fold.
    fn split(&self, fold: u8) -> (Vec<usize>, Vec<usize>) {
        let (mut training, mut validation) = (Vec::new(), Vec::new());
        for (&row, &part) in self.rows.iter().zip(&self.part) {
            if part == fold { validation.push(row) } else { training.push(row) }
        }
        (training, validation)
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
}

impl Fold {
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
        let lanes = Lanes::new(self.context.threads, splits.len());
        let context = &FitContext { threads: lanes.threads, ..*self.context };
        let maker = FoldMaker { context, ..*self };
        lanes.each(&mut splits, |(training, validation)| {
            context.shutdown.check(context.run_id)?;
            let encoded = maker.encode(training, validation);
            maker.fold(&encoded, training, validation)
        })
    }

    fn encode(&self, training: &[usize], validation: &[usize]) -> Vec<EncodedColumn> {
        let Self { context, base, rows, scheme, .. } = *self;
        let target: Vec<f64> = training.iter().map(|&row| rows.target[row]).collect();
        let weights = picked(rows.weights.as_deref(), training);
        let all_folds = folds(&rows.ids, u64::from(context.config.seed));
        let folds: Vec<u8> = training.iter().map(|&row| all_folds[row]).collect();
        let fitting = FittingRows { target: &target, weights: weights.as_deref(), folds: &folds };
        let of = |(index, column): (usize, &[f32])| {
            let (left, right): (Vec<f32>, Vec<f32>) = (pick(column, training), pick(column, validation));
            let source = Source { index, feature: &base.features[index], encoding: scheme.encodings[index] };
            encode(&source, &fitting, &left, &right)
        };
        columns(&base.train).into_iter().enumerate().flat_map(of).collect()
    }

    fn fold(&self, encoded: &[EncodedColumn], training: &[usize], validation: &[usize]) -> Result<Fold> {
        let Self { context, base, rows, params, .. } = *self;
        let feature = |(place, column): (usize, &EncodedColumn)| {
            let is_category =
                column.encoded.is_none() && matches!(base.features[column.source].kind, Kind::Category { .. });
            let kind = if is_category { FeatureKind::Category } else { FeatureKind::Number };
            MatrixFeature { name: place.to_string(), kind }
        };
        let features: Vec<MatrixFeature> = encoded.iter().enumerate().map(feature).collect();
        let matrix = |places: &[usize], columns: Vec<&[f32]>, reference: Option<&DMatrix>| {
            let labels: Vec<f32> = places.iter().map(|&row| context.scale.label(rows, row)).collect();
            let weights = picked(rows.weights.as_deref(), places);
            let data =
                MatrixData { features: &features, columns: &columns, labels: &labels, weights: weights.as_deref() };
            build_matrix(context, params, &data, reference)
        };
        let of_training = encoded.iter().map(|column| column.fitting.as_slice()).collect();
        let of_validation = encoded.iter().map(|column| column.validation.as_slice()).collect();
        let training = matrix(training, of_training, None)?;
        let validation = matrix(validation, of_validation, Some(&training))?;
        Ok(Fold { training, validation })
    }
}

/// Cells that a round goes through, with what a round costs however few there are.
pub(super) fn cells_of_round(rows: usize, width: usize) -> f64 {
    const LEAST: f64 = 30_000.0;
    (rows * width) as f64 + LEAST
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

fn pick(column: &[f32], places: &[usize]) -> Vec<f32> {
    places.iter().map(|&row| column[row]).collect()
}

fn picked(column: Option<&[f32]>, places: &[usize]) -> Option<Vec<f32>> {
    column.map(|column| pick(column, places))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(count: usize) -> Rows {
        let ids = (0..count).map(|id| id.to_string()).collect();
        Rows { ids, places: (0..count as u32).collect(), target: vec![0.0; count], ..Rows::default() }
    }

    #[test]
    fn every_row_of_a_small_table_judges_once() {
        let sample = Sample::draw(&rows(1_000), 10_000, 42);
        let mut judges: Vec<usize> = (0..sample.folds).flat_map(|fold| sample.split(fold).1).collect();
        judges.sort_unstable();
        assert_eq!(judges, (0..1_000).collect::<Vec<_>>());
        let (training, validation) = sample.split(0);
        assert!(training.iter().all(|row| !validation.contains(row)));
        let sizes = sample.folds();
        assert_eq!(sizes.iter().map(|(_, training)| 1_000 - training).sum::<usize>(), 1_000);
        assert_eq!(sizes[0], (0, training.len()));
    }

    #[test]
    fn the_truth_is_that_of_the_judges_fold_by_fold() {
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
    fn a_fold_without_judges_is_none() {
        let mut sample = Sample::draw(&rows(40), 40, 42);
        sample.part.fill(2);
        assert!(sample.folds().is_empty(), "no row to learn from");
        sample.part[0] = 4;
        assert_eq!(sample.folds(), [(2, 1), (4, 39)]);
    }

    #[test]
    fn a_sample_has_about_the_size_asked_for_and_is_the_same_each_time() {
        let rows = rows(50_000);
        let sample = Sample::draw(&rows, 10_000, 42);
        assert!((9_500..10_500).contains(&sample.len()), "{}", sample.len());
        assert_eq!(sample.rows, Sample::draw(&rows, 10_000, 42).rows);
        assert_eq!(sample.folds, 3);
        assert_eq!(Sample::draw(&rows, 50_000, 42).len(), 50_000);
    }
}
