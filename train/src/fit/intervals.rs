//! Calibration of intervals, on rows that the model's fold models had not learnt from: the inner validation rows of the search, or of a
//! cross-validation that was asked for.
//!
//! A small model learns how large the error of a row is to be expected (`scale.ubj`: XGBoost with the gamma deviance, whose output is a
//! mean absolute error relative to that of all rows), from a few columns of the matrix and the prediction. Each error is divided by what
//! such a model says that has not learnt from it, and quantiles of these are kept. All of them are brought to what the model of all rows will
//! come to: errors of the rows that chose it are too small (optimism), those of models of fewer rows too large (`learning_curve`). Held-out
//! rows have no part in any of it.

use evaluation::ErrorQuantiles;
use evaluation::split::error_folds;
use features::clip::final_prediction;
use features::encode::Kind;
use xgboost::{
    Batch, Booster, Column, DMatrix, Feature as MatrixFeature, FeatureKind, Params, PredictionKind, QuantileOptions,
};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use error::{Error, Result};

use super::budget::Stage;
use super::calibration::{Calibration, OutOfFold};
use super::choice::Choice;
use super::folds::Sample;
use super::gains::{self, foremost};
use super::learning_curve::{FoldBoosters, errors_on_all_rows};
use super::trial::Limits;
use super::trials::Trials;
use super::{FitContext, columns};
use crate::encodings::{Encoding, EncodingScheme, FittingRows, Source, cross_folds, encode};
use crate::features::Features;
use crate::read::Rows;

/// Keeps the rows that the scale model learns from apart from every other use of hashes.
const SCALE_SEED_OFFSET: u64 = 0x5eed_0009;
/// Cells that the scale model's columns are chosen on, and its rows at most.
const SCALE_CELLS: usize = 4_000_000;
const MOST_SCALE_ROWS: usize = 60_000;
/// Columns of the model's matrix that the scale model looks at: each costs time in every row that is scored.
const MOST_COLUMNS: usize = 12;
/// Rounds of the model that these columns are chosen by.
const CHOOSING_ROUNDS: u32 = 20;
/// Rounds of the scale model at most.
const SCALE_ROUNDS: u32 = 60;
/// Folds in which each error is normalised by a scale model that has not learnt from it.
const SCALE_FOLDS: u8 = 4;
/// The scale model: few bins and shallow trees of many rows, since errors say little one by one.
const SCALE_PARAMS: [(&str, &str); 7] = [
    ("objective", "reg:gamma"),
    ("base_score", "1"),
    ("eta", "0.12"),
    ("max_depth", "4"),
    ("min_child_weight", "30"),
    ("lambda", "10"),
    ("max_bin", "32"),
];
/// Errors are counted as at least and at most so many times the mean one where the scale model learns from them.
const LEARNT_ERRORS: (f64, f64) = (1e-3, 20.0);

/// Predicts training rows in `folds` folds by models that are learnt as the model will be; none where there are no rows to predict.
/// What the trials came to, and what was decided by them, is noted in the choice.
///
/// # Errors
/// [`Error::Stopped`] when the run was asked to stop; what XGBoost refuses; storage errors as they are.
pub(super) fn cross_validated(
    context: &FitContext<'_>,
    base: &Features,
    rows: &Rows,
    choice: &mut Choice,
    folds: u8,
) -> Result<Option<OutOfFold>> {
    let Some(member) = choice.members.first() else { return Ok(None) };
    let all = Sample::in_folds(rows, u64::from(context.config.seed), folds);
    let mut trials = Trials::new(context, base, rows).after(choice.trials.clone());
    let limits = Limits::all_of(member.rounds);
    let mut margins = Vec::new();
    for (fold, _) in all.folds() {
        // One fold after the other: side by side their matrices would take as many times the memory.
        let alone = all.only(fold);
        let mut matrices = trials.matrices(&alone, member.scheme.clone(), &member.params);
        margins.extend(trials.run(Stage::Intervals, &mut matrices, &member.params, &limits)?.margins);
    }
    let objective = member.params.objective();
    let known = if margins.is_empty() { None } else { OutOfFold::of_margins(&all, &[(&margins, 1.0)], objective, 0.0) };
    let boosters = FoldBoosters {
        sample: &all,
        scheme: &member.scheme,
        params: &member.params,
        rounds: member.rounds,
        margins: &margins,
        side_by_side: false,
    };
    let known = match known {
        Some(known) => Some(known.with_errors_on_all_rows(errors_on_all_rows(&mut trials, &boosters)?)),
        None => None,
    };
    trials.finish();
    let Trials { reports, decisions, .. } = trials;
    choice.trials = reports;
    choice.decisions.extend(decisions);
    Ok(known)
}

/// Calibrates intervals of a model whose matrix has the columns of `scheme`; none where no row has a weight.
///
/// # Errors
/// [`Error::Defect`] where a row that calibrates is held out; [`Error::Stopped`]; what XGBoost refuses.
pub(super) fn calibrate(
    context: &FitContext<'_>,
    base: &Features,
    rows: &Rows,
    scheme: &EncodingScheme,
    known: &OutOfFold,
) -> Result<Option<Calibration>> {
    let errors = Errors::of(context, rows, known);
    refuse_held_out(rows, &errors.rows, context.held_out)?;
    let places = || errors.rows.iter().map(|&row| rows.places[row]).collect::<Vec<u32>>();
    // Tests look at the rows by this line.
    tracing::trace!(calibrating = ?places(), "rows that calibrate intervals");
    if errors.rows.is_empty() {
        return Ok(None);
    }
    let matrix = Matrix { context, base, rows, scheme, errors: &errors };
    let sample = matrix.sample();
    let chosen = matrix.choose_columns(&sample)?;
    let scaled = matrix.scale(&sample, &chosen)?;
    let normalised: Vec<f64> =
        errors.errors.iter().zip(&scaled.scales).map(|(error, scale)| error / f64::from(*scale)).collect();
    // Choosing p numbers by the errors of n rows makes the mean square of these smaller by about 2p / n than that of other rows (Mallows,
    // "Some Comments on Cp", 1973).
    let optimism = (1.0 + 2.0 * known.chosen / errors.rows.len() as f64).sqrt();
    // And a model of more rows errs less.
    let factor = optimism * known.on_all_rows;
    let weight = |place: usize| errors.weights.as_ref().map_or(1.0, |weights| f64::from(weights[place]));
    let sum =
        |values: &dyn Fn(usize) -> f64| (0..errors.rows.len()).map(|place| weight(place) * values(place)).sum::<f64>();
    let mean_error = sum(&|place| errors.errors[place]) / sum(&|place| f64::from(scaled.scales[place]));
    let calibration = Calibration {
        scale: scaled.model,
        columns: chosen,
        rows: errors.rows.len(),
        errors: ErrorQuantiles::of(&normalised, errors.weights.as_deref()).times(factor),
        mean_error: mean_error * factor,
    };
    if !(calibration.errors.is_sound() && calibration.mean_error.is_finite()) {
        tracing::warn!("errors of validation rows are beyond what a float can hold: the model has no intervals");
        return Ok(None);
    }
    let (rows, columns, rounds) = (calibration.rows, calibration.columns.len(), scaled.rounds);
    tracing::info!(
        rows,
        columns,
        rounds,
        "intervals are calibrated on {rows} rows that were predicted by other models"
    );
    Ok(Some(calibration))
}

/// That no row calibrates which is held out is what makes the coverage of the report true.
fn refuse_held_out(rows: &Rows, calibrating: &[usize], held_out: &Rows) -> Result<()> {
    let is_held_out = |row: &&usize| held_out.places.binary_search(&rows.places[**row]).is_ok();
    match calibrating.iter().find(is_held_out).filter(|_| rows.table == held_out.table) {
        None => Ok(()),
        Some(row) => Err(Error::Defect(format!("row {} is held out and calibrates intervals", rows.places[*row]))),
    }
}

/// The errors of rows that have a weight.
struct Errors {
    /// Places among the training rows.
    rows: Vec<usize>,
    outputs: Vec<f32>,
    /// Absolute errors of final predictions.
    errors: Vec<f64>,
    weights: Option<Vec<f32>>,
    /// Their mean.
    mean: f64,
}

impl Errors {
    fn of(context: &FitContext<'_>, rows: &Rows, known: &OutOfFold) -> Self {
        let kept = || known.rows.iter().zip(&known.outputs).filter(|(row, _)| rows.has_weight(**row));
        let error = |(row, output): (&usize, &f32)| (rows.target[*row] - final_prediction(*output, context.clip)).abs();
        let errors: Vec<f64> = kept().map(error).collect();
        let weights = rows.weights.as_ref().map(|all| kept().map(|(row, _)| all[*row]).collect::<Vec<f32>>());
        let weight = |place: usize| weights.as_ref().map_or(1.0, |weights| f64::from(weights[place]));
        let sum = errors.iter().enumerate().map(|(place, error)| weight(place) * error).sum::<f64>();
        let mean = sum / (0..errors.len()).map(weight).sum::<f64>();
        Self {
            rows: kept().map(|(row, _)| *row).collect(),
            outputs: kept().map(|(_, output)| *output).collect(),
            errors,
            mean,
            weights,
        }
    }

    /// What the scale model learns of a row: its error relative to the mean one.
    fn label(&self, place: usize) -> f32 {
        let relative = if self.mean > 0.0 { self.errors[place] / self.mean } else { 1.0 };
        relative.clamp(LEARNT_ERRORS.0, LEARNT_ERRORS.1) as f32
    }
}

/// The matrix of the rows whose errors are known.
struct Matrix<'a> {
    context: &'a FitContext<'a>,
    base: &'a Features,
    rows: &'a Rows,
    scheme: &'a EncodingScheme,
    errors: &'a Errors,
}

/// A column of the matrix for the rows whose errors are known.
struct MatrixColumn {
    kind: FeatureKind,
    cells: Vec<f32>,
}

/// A scale model, and what it and its like say of each row.
struct Scaled {
    model: Vec<u8>,
    scales: Vec<f32>,
    rounds: u32,
}

impl Matrix<'_> {
    /// The places of the rows that the scale model learns from.
    fn sample(&self) -> Vec<usize> {
        let most = (SCALE_CELLS / self.scheme.width().max(1)).min(MOST_SCALE_ROWS);
        let share = most as f64 / self.errors.rows.len() as f64;
        let seed = u64::from(self.context.config.seed).wrapping_add(SCALE_SEED_OFFSET);
        let is_chosen = |place: &usize| {
            let id = &self.rows.ids[self.errors.rows[*place]];
            share >= 1.0 || (xxh3_64_with_seed(id.as_bytes(), seed) as f64 / 2_f64.powi(64)) < share
        };
        (0..self.errors.rows.len()).filter(is_chosen).collect()
    }

    /// Columns of the matrix by their places in it, those that are wanted, and behind them the predictions. Means of the target are what
    /// they are for training rows: each without the row itself.
    fn columns(&self, wanted: impl Fn(usize) -> bool) -> Vec<MatrixColumn> {
        let Self { context, base, rows, scheme, errors } = self;
        let folds = cross_folds(rows, u64::from(context.config.seed));
        let fitting = FittingRows { target: &rows.target, weights: rows.weights.as_deref(), folds: &folds };
        let pick = |column: &[f32]| errors.rows.iter().map(|&row| column[row]).collect::<Vec<f32>>();
        let (mut found, mut place) = (Vec::new(), 0);
        for (index, column) in columns(&base.train).into_iter().enumerate() {
            let (feature, encoding) = (&base.features[index], scheme.encodings[index]);
            let width = encoding.map_or(1, Encoding::width);
            let of_feature = place..place + width;
            place += width;
            if !of_feature.clone().any(&wanted) {
                continue;
            }
            if encoding.is_none_or(|encoding| encoding == Encoding::NATIVE) {
                let is_category = matches!(feature.kind, Kind::Category { .. });
                let kind = if is_category { FeatureKind::Category } else { FeatureKind::Number };
                found.push(MatrixColumn { kind, cells: pick(column) });
                continue;
            }
            let encoded = encode(&Source { index, feature, encoding }, &fitting, column, &[]);
            for (_, column) in of_feature.zip(encoded).filter(|(place, _)| wanted(*place)) {
                let kind = if column.encoded.is_none() { FeatureKind::Category } else { FeatureKind::Number };
                found.push(MatrixColumn { kind, cells: pick(&column.fitting) });
            }
        }
        found.push(MatrixColumn { kind: FeatureKind::Number, cells: errors.outputs.clone() });
        found
    }

    /// The columns that a first model gains most by.
    fn choose_columns(&self, sample: &[usize]) -> Result<Vec<usize>> {
        let width = self.scheme.width();
        if width <= MOST_COLUMNS {
            return Ok((0..width).collect());
        }
        let columns = self.columns(|_| true);
        let matrix = self.matrix(&columns, sample, None)?;
        let mut booster = self.booster(&[&matrix])?;
        self.boost(&mut booster, &matrix, 0..CHOOSING_ROUNDS)?;
        let gains = gains::of_columns(&mut booster, columns.len())?;
        let mut chosen = foremost(&gains, 0..width, 0.0, MOST_COLUMNS);
        chosen.sort_unstable();
        Ok(chosen)
    }

    /// The scale model of these columns. What stands for a row of the sample comes from a model that has not learnt from it.
    fn scale(&self, sample: &[usize], chosen: &[usize]) -> Result<Scaled> {
        let columns = self.columns(|place| chosen.binary_search(&place).is_ok());
        let ids: Vec<&str> = sample.iter().map(|&place| self.rows.ids[self.errors.rows[place]].as_str()).collect();
        let of_rows: Vec<usize> = sample.iter().map(|&place| self.errors.rows[place]).collect();
        let seed = u64::from(self.context.config.seed);
        let fold_of = error_folds(&ids, &self.rows.keys.picked(&of_rows), seed, SCALE_FOLDS);
        let mut runs = Vec::new();
        for fold in 0..SCALE_FOLDS {
            let of = |held_out: bool| {
                let is_of = |(place, of): (&usize, &u8)| ((*of == fold) == held_out).then_some(*place);
                sample.iter().zip(&fold_of).filter_map(is_of).collect::<Vec<usize>>()
            };
            let (training, held_out) = (of(false), of(true));
            if training.is_empty() || held_out.is_empty() {
                continue;
            }
            let training = self.matrix(&columns, &training, None)?;
            let validation = self.matrix(&columns, &held_out, Some(&training))?;
            let booster = self.booster(&[&training, &validation])?;
            runs.push((booster, training, validation, held_out));
        }
        let mut curve = vec![0.0; SCALE_ROUNDS as usize];
        for (booster, training, validation, held_out) in &mut runs {
            for round in 0..SCALE_ROUNDS {
                self.boost(booster, training, round..round + 1)?;
                let deviance = booster.evaluate(round, &[(&*validation, "validation")])?.pop();
                curve[round as usize] += held_out.len() as f64 * deviance.map_or(f64::NAN, |one| one.value);
            }
        }
        let best = curve.iter().enumerate().min_by(|one, other| one.1.total_cmp(other.1));
        let rounds = best.map_or(1, |(round, _)| round as u32 + 1);
        let all = self.matrix(&columns, sample, None)?;
        let mut booster = self.booster(&[&all])?;
        self.boost(&mut booster, &all, 0..rounds)?;
        let cells: Vec<Column<'_>> = columns.iter().map(|column| Column::from(column.cells.as_slice())).collect();
        let mut scales = booster.predict_columns(&cells, 0..0)?;
        for (booster, _, validation, held_out) in &runs {
            let of_fold = booster.predict_matrix(validation, PredictionKind::Value, 0..rounds)?;
            held_out.iter().zip(of_fold).for_each(|(&place, scale)| scales[place] = scale);
        }
        Ok(Scaled { model: booster.save()?, scales, rounds })
    }

    fn booster(&self, matrices: &[&DMatrix]) -> Result<Booster> {
        let params = Params::parse(SCALE_PARAMS)?.for_booster(self.context.threads, self.context.config.seed);
        Ok(Booster::new(&params, matrices)?)
    }

    fn boost(&self, booster: &mut Booster, matrix: &DMatrix, rounds: std::ops::Range<u32>) -> Result<()> {
        for round in rounds {
            self.context.shutdown.check(self.context.run_id)?;
            booster.update(round, matrix)?;
        }
        Ok(())
    }

    /// XGBoost's matrix of these columns for some of the rows.
    fn matrix(&self, columns: &[MatrixColumn], of: &[usize], reference: Option<&DMatrix>) -> Result<DMatrix> {
        let named =
            |(place, column): (usize, &MatrixColumn)| MatrixFeature { name: place.to_string(), kind: column.kind };
        let features: Vec<MatrixFeature> = columns.iter().enumerate().map(named).collect();
        let cells: Vec<Vec<f32>> =
            columns.iter().map(|column| of.iter().map(|&place| column.cells[place]).collect()).collect();
        let labels: Vec<f32> = of.iter().map(|&place| self.errors.label(place)).collect();
        let weights = self.errors.weights.as_ref().map(|all| {
            // Their mean is 1, since the least weight of a leaf is in rows.
            let mean = of.iter().map(|&place| f64::from(all[place])).sum::<f64>() / of.len() as f64;
            of.iter().map(|&place| (f64::from(all[place]) / mean) as f32).collect::<Vec<f32>>()
        });
        let columns = cells.iter().map(|cells| Column::from(cells.as_slice())).collect();
        let batch = Batch { columns, labels: Some(&labels), weights: weights.as_deref() };
        let max_bin = Params::parse(SCALE_PARAMS)?.max_bin();
        let options = QuantileOptions { max_bin, threads: self.context.threads, reference };
        Ok(DMatrix::quantile(&features, &batch, &options)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_out_row_never_calibrates() {
        let rows = |table: usize, places: &[u32]| Rows { table, places: places.to_vec(), ..Rows::default() };
        let train = rows(0, &[1, 4, 6]);
        assert!(refuse_held_out(&train, &[0, 2], &rows(0, &[2, 4, 7])).is_ok());
        assert_eq!(refuse_held_out(&train, &[0, 1], &rows(0, &[2, 4, 7])).unwrap_err().exit_code(), 70);
        assert!(refuse_held_out(&train, &[0, 1], &rows(1, &[2, 4, 7])).is_ok());
    }
}
