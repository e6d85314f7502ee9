//! The small model of the estimate: few trees on a sample, the same whichever rows judge it.

use error::{Error, Result};
use evaluation::split::{CrossFolds, RowKeys, Side};
use features::encode::Kind;
use xgboost::{
    Batch, Booster, Column, DMatrix, Feature as MatrixFeature, FeatureKind, Params, PredictionKind, QuantileOptions,
};

use super::Subject;
use crate::encodings::{EncodedColumn, Encoding, FittingRows, Source, encode};
use crate::fit::columns;

/// Rounds and parameters of the model.
const ROUNDS: u32 = 40;
const PARAMS: [(&str, &str); 6] = [
    ("objective", "reg:squarederror"),
    ("eta", "0.15"),
    ("max_depth", "6"),
    ("min_child_weight", "3"),
    ("lambda", "2"),
    ("max_bin", "128"),
];
/// Categories with more levels are means of the target.
const MOST_NATIVE_LEVELS: usize = 32;

/// What a small model is made of.
pub(super) struct SmallModel<'a> {
    pub(super) subject: &'a Subject<'a>,
    /// The training rows of the sample.
    pub(super) rows: &'a [usize],
    pub(super) seed: u64,
}

/// What a small model predicted for the rows that judged it.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) targets: Vec<f64>,
    pub(super) predictions: Vec<f64>,
    pub(super) weights: Option<Vec<f32>>,
    /// Groups of the rows, where these are apart.
    pub(super) clusters: Option<Vec<u64>>,
}

impl SmallModel<'_> {
    /// Trains on the rows of the sample that `sides` says and predicts those that are held out. `keys` and `sides` have one for each
    /// row of the sample. None where a side is empty.
    pub(super) fn way(&self, keys: &RowKeys, sides: &[Side]) -> Result<Option<Way>> {
        let on = |side: Side| (0..self.rows.len()).filter(|&place| sides[place] == side).collect::<Vec<_>>();
        let (training, judging) = (on(Side::Training), on(Side::HeldOut));
        if training.is_empty() || judging.is_empty() {
            return Ok(None);
        }
        let rows = &self.subject.data.train;
        let of = |places: &[usize]| places.iter().map(|&place| self.rows[place]).collect::<Vec<_>>();
        let (train, judge) = (of(&training), of(&judging));
        let folds = if keys.is_random() {
            CrossFolds::of_folds(train.iter().map(|&row| CrossFolds::of_id(&rows.ids[row], self.seed)).collect())
        } else {
            CrossFolds::of_keys(&keys.picked(&training), self.seed)
        };
        let predictions = self
            .predicted(&train, &judge, &folds)
            .map_err(|error| Error::Defect(format!("the estimate of R² on other rows: {error}")))?;
        let picked = |weights: &Vec<f32>| judge.iter().map(|&row| weights[row]).collect();
        Ok(Some(Way {
            targets: judge.iter().map(|&row| rows.target[row]).collect(),
            predictions,
            weights: rows.weights.as_ref().map(picked),
            clusters: keys.groups.as_ref().map(|groups| judging.iter().map(|&place| groups[place]).collect()),
        }))
    }

    fn predicted(&self, train: &[usize], judge: &[usize], folds: &CrossFolds) -> Result<Vec<f64>> {
        let Subject { data, features, scale, threads, .. } = *self.subject;
        let rows = &data.train;
        let target: Vec<f64> = train.iter().map(|&row| rows.target[row]).collect();
        let picked =
            |of: &[usize]| rows.weights.as_ref().map(|all| of.iter().map(|&row| all[row]).collect::<Vec<f32>>());
        let weights = picked(train);
        let fitting = FittingRows { target: &target, weights: weights.as_deref(), folds };
        let of_column = |(index, cells): (usize, &[f32])| {
            let feature = &features.features[index];
            let encoding = feature
                .levels()
                .map(|levels| if levels.len() > MOST_NATIVE_LEVELS { Encoding::TARGET } else { Encoding::NATIVE });
            let pick = |of: &[usize]| of.iter().map(|&row| cells[row]).collect::<Vec<f32>>();
            encode(&Source { index, feature, encoding }, &fitting, &pick(train), &pick(judge))
        };
        let encoded: Vec<EncodedColumn> =
            columns(&features.train).into_iter().enumerate().flat_map(of_column).collect();
        let named = |(place, column): (usize, &EncodedColumn)| {
            let kind = &features.features[column.source].kind;
            let is_category = column.encoded.is_none() && matches!(kind, Kind::Category { .. });
            let kind = if is_category { FeatureKind::Category } else { FeatureKind::Number };
            MatrixFeature { name: place.to_string(), kind }
        };
        let names: Vec<MatrixFeature> = encoded.iter().enumerate().map(named).collect();
        let params = Params::parse(PARAMS)?;
        let matrix = |of: &[usize], cells: Vec<&[f32]>, reference: Option<&DMatrix>| {
            let labels: Vec<f32> = of.iter().map(|&row| scale.label(rows, row)).collect();
            let weights = picked(of);
            let columns = cells.into_iter().map(Column::from).collect();
            let batch = Batch { columns, labels: Some(&labels), weights: weights.as_deref() };
            let options = QuantileOptions { max_bin: params.max_bin(), threads, reference };
            DMatrix::quantile(&names, &batch, &options)
        };
        let training = matrix(train, encoded.iter().map(|column| column.fitting.as_slice()).collect(), None)?;
        let judging = encoded.iter().map(|column| column.validation.as_slice()).collect();
        let judging = matrix(judge, judging, Some(&training))?;
        let seed = self.subject.config.seed;
        let mut booster = Booster::new(&params.for_booster(threads, seed), &[&training, &judging])?;
        for round in 0..ROUNDS {
            booster.update(round, &training)?;
        }
        let margins = booster.predict_matrix(&judging, PredictionKind::Margin, 0..ROUNDS)?;
        Ok(margins.into_iter().map(|margin| f64::from(scale.margin(margin))).collect())
    }
}
