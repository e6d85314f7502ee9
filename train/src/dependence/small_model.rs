//! The small model of the estimate: few trees on a sample, the same whichever rows it is validated on.

use std::collections::HashSet;

use error::Result;
use evaluation::split::{CrossFolds, RowKeys, Side};
use features::encode::Kind;
use xgboost::{
    Batch, Booster, Column, DMatrix, Feature as MatrixFeature, FeatureKind, Params, PredictionKind, QuantileOptions,
};

use super::Subject;
use super::draw::Draw;
use crate::encodings::{EncodedColumn, Encoding, EncodingScheme, FittingRows, Source, encode};
use crate::fit::{CELLS_OF_A_THREAD, Lanes, columns};

/// How a small model learns: rounds and XGBoost's parameters.
pub(super) struct Learning {
    rounds: u32,
    params: [(&'static str, &'static str); 4],
    /// Minimum number of rows of a leaf, and minimum share of all.
    rows_of_a_leaf: f64,
    share_of_a_leaf: f64,
    /// Whether categories that do little more than number the rows are no columns.
    is_without_identifiers: bool,
}

/// Trees are deep, so that few of them tell the rows of one entity from those of others, as the many of a real model do.
pub(super) const OF_GROUPS: Learning = Learning {
    rounds: 20,
    params: [("objective", "reg:squarederror"), ("eta", "0.35"), ("max_depth", "10"), ("lambda", "1")],
    rows_of_a_leaf: 1.0,
    share_of_a_leaf: 0.0,
    is_without_identifiers: false,
};
/// All rows that are newer than a model's training fall into its last leaf of a date. It has so many rows that the noise of a few of
/// them, which is the same for all validation rows, does not look like a relation that changes. A category that numbers the rows is the mean of all
/// that is older, which tells nothing but the time, and nothing at all of rows to come.
pub(super) const OF_TIMES: Learning = Learning {
    rounds: 30,
    params: [("objective", "reg:squarederror"), ("eta", "0.2"), ("max_depth", "6"), ("lambda", "1")],
    rows_of_a_leaf: 20.0,
    share_of_a_leaf: 0.03,
    is_without_identifiers: true,
};
/// Categories with more levels are means of the target.
const MOST_NATIVE_LEVELS: usize = 32;
/// Bins of all columns together, at most, and the fewest and the most of each column: of 1,500 columns by 256 each the histograms of a few small
/// trees took more than twice the memory that the run was planned with.
const MOST_BINS: usize = 32_768;
const BINS: (usize, usize) = (16, 256);

/// What a small model is made of.
pub(super) struct SmallModel<'a> {
    pub(super) subject: &'a Subject<'a>,
    /// The training rows of the sample.
    pub(super) rows: &'a [usize],
    /// Seed of these splits.
    pub(super) seed: u64,
    /// How it learns.
    pub(super) learning: &'a Learning,
    /// A column that has lost its relation to the rows.
    pub(super) shuffled: Option<&'a Shuffled<'a>>,
}

/// The training rows that a model learns from and those that it predicts.
struct Model {
    train: Vec<usize>,
    validation: Vec<usize>,
    folds: CrossFolds,
}

/// A column whose values are dealt to the rows of the sample at random.
pub(super) struct Shuffled<'a> {
    /// The column.
    pub(super) column: &'a str,
    /// For each training row the one whose value it has; itself outside of the sample.
    pub(super) rows: Vec<usize>,
}

/// What two small models predicted for the same rows.
#[derive(Debug)]
pub(super) struct BothWays {
    pub(super) targets: Vec<f64>,
    /// By a model that has learnt from random rows.
    pub(super) at_random: Vec<f64>,
    /// By one that has learnt from none of these rows, nor from what they depend on.
    pub(super) apart: Vec<f64>,
    pub(super) weights: Option<Vec<f32>>,
    /// Groups of the rows, where these are apart.
    pub(super) clusters: Option<Vec<u64>>,
}

impl BothWays {
    /// Adds the rows of another split.
    pub(super) fn append(&mut self, mut more: Self) {
        self.targets.append(&mut more.targets);
        self.at_random.append(&mut more.at_random);
        self.apart.append(&mut more.apart);
        if let (Some(weights), Some(mut more)) = (&mut self.weights, more.weights) {
            weights.append(&mut more);
        }
        if let (Some(clusters), Some(mut more)) = (&mut self.clusters, more.clusters) {
            clusters.append(&mut more);
        }
    }
}

impl SmallModel<'_> {
    /// Predicts the rows of the sample that are held out both ways. `keys` and `sides` have one for each row of the sample. None where
    /// a side is empty.
    pub(super) fn both_ways(&self, keys: &RowKeys, sides: &[Side]) -> Result<Option<BothWays>> {
        let on = |side: Side| (0..self.rows.len()).filter(|&place| sides[place] == side).collect::<Vec<_>>();
        let (training, held_out) = (on(Side::Training), on(Side::HeldOut));
        if training.is_empty() || held_out.is_empty() {
            return Ok(None);
        }
        let rows = &self.subject.data.train;
        let of = |places: &[usize]| places.iter().map(|&place| self.rows[place]).collect::<Vec<_>>();
        let folds = CrossFolds::of_keys(&keys.picked(&training), self.seed);
        let mut models = vec![Model { train: of(&training), validation: of(&held_out), folds }];
        // Each half is predicted by a model that has learnt from the other one, and from so many fewer of the training rows.
        let is_first = |place: usize| self.is_drawn(Draw::Half, place, 0.5);
        let share = 1.0 - held_out.len() as f64 / 2.0 / training.len() as f64;
        let mut halves = Vec::new();
        for half in [true, false] {
            let (indices, known): (Vec<usize>, Vec<usize>) =
                (0..held_out.len()).partition(|&index| is_first(held_out[index]) == half);
            let kept = training.iter().copied().filter(|&place| self.is_drawn(Draw::Kept, place, share));
            let train: Vec<usize> = kept.chain(known.into_iter().map(|index| held_out[index])).collect();
            if train.is_empty() || indices.is_empty() {
                return Ok(None);
            }
            let ids = of(&train).into_iter().map(|row| CrossFolds::of_id(&rows.ids[row], self.seed));
            let folds = CrossFolds::of_folds(ids.collect());
            let of_half: Vec<usize> = indices.iter().map(|&index| held_out[index]).collect();
            models.push(Model { train: of(&train), validation: of(&of_half), folds });
            halves.push(indices);
        }
        let lanes = Lanes::new(self.subject.threads, models.len());
        let mut predicted = lanes.each(&mut models, |model| self.predicted(model, lanes.threads))?.into_iter();
        let apart = predicted.next().unwrap_or_default();
        let mut at_random = vec![0.0; held_out.len()];
        for (index, value) in
            halves.into_iter().zip(predicted).flat_map(|(half, of_half)| half.into_iter().zip(of_half))
        {
            at_random[index] = value;
        }
        let validation_rows = of(&held_out);
        Ok(Some(BothWays {
            targets: validation_rows.iter().map(|&row| rows.target[row]).collect(),
            at_random,
            apart,
            weights: rows.weights.as_ref().map(|weights| validation_rows.iter().map(|&row| weights[row]).collect()),
            clusters: keys.groups.as_ref().map(|groups| held_out.iter().map(|&place| groups[place]).collect()),
        }))
    }

    fn is_drawn(&self, draw: Draw, place: usize, share: f64) -> bool {
        draw.is_drawn(&self.subject.data.train.ids[self.rows[place]], self.seed, share)
    }

    /// What a model predicts that is trained by so many threads.
    fn predicted(&self, model: &Model, threads: usize) -> Result<Vec<f64>> {
        let Model { train, validation: validation_rows, folds } = model;
        let Subject { data, features, scale, .. } = *self.subject;
        // Threads that wait for one another over so few cells take longer than one.
        let threads = if train.len() * features.features.len() < CELLS_OF_A_THREAD { 1 } else { threads };
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
            let is_of = |shuffled: &&Shuffled<'_>| feature.input_columns().any(|(name, _)| name == shuffled.column);
            let shuffled = self.shuffled.filter(is_of);
            let value_of = |row: usize| shuffled.map_or(row, |shuffled| shuffled.rows[row]);
            let pick = |of: &[usize]| of.iter().map(|&row| cells[value_of(row)]).collect::<Vec<f32>>();
            encode(&Source { index, feature, encoding }, &fitting, &pick(train), &pick(validation_rows))
        };
        let is_left_out = |index: usize, cells: &[f32]| {
            let numbers_rows = || {
                let known: HashSet<u32> = train.iter().map(|&row| cells[row].to_bits()).collect();
                EncodingScheme::tells_rows_apart(known.len(), train.len())
            };
            self.learning.is_without_identifiers && features.features[index].levels().is_some() && numbers_rows()
        };
        let all = columns(&features.train).into_iter().enumerate();
        let encoded: Vec<EncodedColumn> =
            all.filter(|(index, cells)| !is_left_out(*index, cells)).flat_map(of_column).collect();
        if encoded.is_empty() {
            let mean = target.iter().sum::<f64>() / target.len().max(1) as f64;
            return Ok(vec![mean; validation_rows.len()]);
        }
        let named = |(place, column): (usize, &EncodedColumn)| {
            let kind = &features.features[column.source].kind;
            let is_category = column.encoded.is_none() && matches!(kind, Kind::Category { .. });
            let kind = if is_category { FeatureKind::Category } else { FeatureKind::Number };
            MatrixFeature { name: place.to_string(), kind }
        };
        let names: Vec<MatrixFeature> = encoded.iter().enumerate().map(named).collect();
        let Learning { rounds, params, rows_of_a_leaf, share_of_a_leaf, .. } = self.learning;
        // A leaf's size is the sum of its rows' weights.
        let mean = weights
            .as_ref()
            .map_or(1.0, |weights| weights.iter().copied().map(f64::from).sum::<f64>() / weights.len().max(1) as f64);
        let of_a_leaf = (rows_of_a_leaf.max(share_of_a_leaf * train.len() as f64) * mean).to_string();
        let bins = bins_of_each(encoded.len()).to_string();
        let of_rows = [("min_child_weight", of_a_leaf.as_str()), ("max_bin", bins.as_str())];
        let params = Params::parse(params.iter().copied().chain(of_rows))?;
        let matrix = |of: &[usize], cells: Vec<&[f32]>, reference: Option<&DMatrix>| {
            let labels: Vec<f32> = of.iter().map(|&row| scale.label(rows, row)).collect();
            let weights = picked(of);
            let columns = cells.into_iter().map(Column::from).collect();
            let batch = Batch { columns, labels: Some(&labels), weights: weights.as_deref() };
            let options = QuantileOptions { max_bin: params.max_bin(), threads, reference };
            DMatrix::quantile(&names, &batch, &options)
        };
        let training = matrix(train, encoded.iter().map(|column| column.fitting.as_slice()).collect(), None)?;
        let validation = encoded.iter().map(|column| column.validation.as_slice()).collect();
        let validation = matrix(validation_rows, validation, Some(&training))?;
        let seed = self.subject.config.seed;
        let mut booster = Booster::new(&params.for_booster(threads, seed), &[&training, &validation])?;
        for round in 0..*rounds {
            booster.update(round, &training)?;
        }
        let margins = booster.predict_matrix(&validation, PredictionKind::Margin, 0..*rounds)?;
        Ok(margins.into_iter().map(|margin| f64::from(scale.margin(margin))).collect())
    }
}

/// Bins of each of so many columns.
fn bins_of_each(columns: usize) -> usize {
    (MOST_BINS / columns.max(1)).clamp(BINS.0, BINS.1)
}
