//! Trying parameters on a tiny matrix, so that what XGBoost refuses ends as a wrong setting, before any data is read.

use super::booster::Booster;
use super::columns::{Batch, Column};
use super::dmatrix::{DMatrix, QuantileOptions};
use super::error::XgboostError;
use super::log::record;
use super::params::{ParamError, Params};
use super::source::{Feature, FeatureKind};

/// Rows of the trial: enough that every way of sampling finds some.
const ROWS: u8 = 32;

/// Trains two rounds with these parameters on made-up rows of these features, in a few milliseconds.
///
/// # Errors
/// [`ParamError`]: what [`Params::check`] finds, what XGBoost refuses, and parameters that XGBoost reports as unused,
/// such as `huber_slope` for an objective that has none.
pub fn dry_run(params: &Params, features: &[Feature]) -> Result<(), ParamError> {
    params.check(features)?;
    let (outcome, messages) = record(|| train(params, features));
    outcome.map_err(|error| ParamError::Refused(reason(error)))?;
    messages.iter().find_map(|message| unused(message)).map_or(Ok(()), |names| {
        let objective = params.objective();
        Err(ParamError::Contradiction(format!("XGBoost does not use {names} with objective {objective:?}: remove it")))
    })
}

/// The training and the evaluation.
fn train(params: &Params, features: &[Feature]) -> Result<(), XgboostError> {
    let rows = Rows::for_features(features);
    let matrix = rows.matrix(params, features)?;
    let mut given = params.for_booster(1, 0);
    given.push(("validate_parameters".to_owned(), "true".to_owned()));
    let mut booster = Booster::new(&given, &[&matrix])?;
    for round in 0..2 {
        booster.update(round, &matrix)?;
    }
    booster.evaluate(1, &[(&matrix, "trial")]).map(drop)
}

/// Made-up columns and labels.
struct Rows {
    columns: Vec<Vec<f32>>,
    labels: Vec<f32>,
}

impl Rows {
    /// Values and codes that differ from column to column; labels inside (0, 1), where every objective is defined.
    fn for_features(features: &[Feature]) -> Self {
        let labels = (0..ROWS).map(|row| (f32::from(row) + 0.5) / f32::from(ROWS)).collect();
        let columns = features.iter().zip((1..=7).cycle()).map(|(feature, step)| column(feature.kind, step)).collect();
        Self { columns, labels }
    }

    /// The matrix that the tree method wants.
    fn matrix(&self, params: &Params, features: &[Feature]) -> Result<DMatrix, XgboostError> {
        let columns = self.columns.iter().map(|values| Column::from(values.as_slice())).collect();
        let batch = Batch { columns, labels: Some(&self.labels), weights: None };
        if !params.wants_quantile_matrix() {
            return DMatrix::plain(features, &batch, 1);
        }
        let options = QuantileOptions { max_bin: params.max_bin(), threads: 1, reference: None };
        DMatrix::quantile(features, &batch, &options)
    }
}

/// One column.
fn column(kind: FeatureKind, step: u8) -> Vec<f32> {
    let modulus = match kind {
        FeatureKind::Number => ROWS + 1,
        FeatureKind::Category => 3,
    };
    (0..ROWS).map(|row| f32::from(row.wrapping_mul(step) % modulus)).collect()
}

/// XGBoost's words without ours around them.
fn reason(error: XgboostError) -> String {
    match error {
        XgboostError::Library { message, .. } => message,
        other => other.to_string(),
    }
}

/// The names in `Parameters: { "a", "b" } are not used.`
fn unused(message: &str) -> Option<&str> {
    let names = message.strip_prefix("Parameters: {")?.strip_suffix("} are not used.")?;
    Some(names.trim())
}
