//! What intervals are calibrated by: rows that were predicted by models that had not learnt from them, and the scale model with quantiles of
//! errors that they come to.

use evaluation::ErrorQuantiles;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use xgboost::{Booster, Column};

use error::{Error, Result};
use scoring::Link;

use super::folds::Sample;
use super::load_own;

/// Training rows predicted by models that had not learnt from them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct OutOfFold {
    /// Their places among the training rows.
    pub(super) rows: Vec<usize>,
    /// What was predicted, before it is clipped.
    pub(super) outputs: Vec<f32>,
    /// How many numbers were chosen so that just these rows are predicted well: rounds, weights, which of several candidates.
    pub(super) chosen: f64,
    /// Errors of the model of all rows as a share of theirs.
    pub(super) on_all_rows: f64,
}

impl OutOfFold {
    /// The weighted mean of margins for the validation rows of a sample. None where it is not known how they become predictions.
    pub(super) fn of_margins(
        sample: &Sample,
        weighted: &[(&[f32], f64)],
        objective: &str,
        chosen: f64,
    ) -> Option<Self> {
        let link = Link::of_objective(objective)?;
        let rows = sample.validation_rows();
        let mut outputs = vec![0.0_f32; rows.len()];
        for (margins, weight) in weighted {
            if margins.len() != rows.len() {
                return None;
            }
            outputs.iter_mut().zip(*margins).for_each(|(sum, margin)| *sum += *weight as f32 * margin);
        }
        link.transform(&mut outputs);
        outputs.iter().all(|output| output.is_finite()).then_some(Self { rows, outputs, chosen, on_all_rows: 1.0 })
    }

    /// The same with predictions so many times as far from a centre, which is one more number that was chosen by these rows.
    pub(super) fn stretched(mut self, slope: f64, centre: f64) -> Self {
        self.outputs.iter_mut().for_each(|output| *output = (centre + slope * (f64::from(*output) - centre)) as f32);
        Self { chosen: self.chosen + 1.0, ..self }
    }

    /// The same where it is known how much less the model of all rows errs.
    pub(super) fn with_errors_on_all_rows(self, on_all_rows: f64) -> Self {
        Self { on_all_rows, ..self }
    }
}

/// What intervals are made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// The bytes of `scale.ubj`.
    #[serde(serialize_with = "as_hex", deserialize_with = "of_hex")]
    pub scale: Vec<u8>,
    /// The columns of the model's matrix that it looks at; the prediction stands behind them.
    pub columns: Vec<usize>,
    /// Rows that calibrated.
    pub rows: usize,
    /// Quantiles of normalised errors.
    #[serde(flatten)]
    pub errors: ErrorQuantiles,
    /// The mean absolute error to be expected where the scale is 1.
    pub mean_error: f64,
}

impl Calibration {
    /// The scale model, on so many threads.
    ///
    /// # Errors
    /// [`Error::Defect`] where it is not sound.
    pub fn load(&self, threads: usize) -> Result<ScaleModel<'_>> {
        let mut booster = load_own(&self.scale)?;
        booster.set_threads(threads)?;
        Ok(ScaleModel { booster, calibration: self })
    }
}

/// A scale model that can be asked.
#[derive(Debug)]
pub struct ScaleModel<'a> {
    booster: Booster,
    calibration: &'a Calibration,
}

impl<'a> ScaleModel<'a> {
    /// What it was calibrated to.
    #[must_use]
    pub fn calibration(&self) -> &'a Calibration {
        self.calibration
    }

    /// The scale of rows, given the model's matrix of them, column by column, and what the model predicts before it is clipped.
    ///
    /// # Errors
    /// [`Error::Defect`] where the columns are not those of the model.
    pub fn scales<Cells: AsRef<[f32]>>(&self, matrix: &[Cells], outputs: &[f32]) -> Result<Vec<f32>> {
        if outputs.is_empty() {
            return Ok(Vec::new());
        }
        let missing = || Error::Defect("the scale model looks at a column that the model does not have".to_owned());
        let of_matrix =
            |place: &usize| matrix.get(*place).map(|cells| Column::from(cells.as_ref())).ok_or_else(missing);
        let mut columns = self.calibration.columns.iter().map(of_matrix).collect::<Result<Vec<_>>>()?;
        columns.push(Column::from(outputs));
        Ok(self.booster.predict_columns(&columns, 0..0)?)
    }
}

fn as_hex<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    use std::fmt::Write;
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    serializer.serialize_str(&text)
}

fn of_hex<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
    let byte = |pair: &[u8; 2]| Some(digit(pair[0])? << 4 | digit(pair[1])?);
    let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
    bytes.filter(|_| rest.is_empty()).ok_or_else(|| serde::de::Error::custom("no hexadecimal digits"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_calibration_is_read_as_it_was_written() {
        let errors = ErrorQuantiles { levels: vec![0.5, 0.9], quantiles: vec![0.1 + 0.2, 1.0 / 3.0] };
        let calibration =
            Calibration { scale: vec![0, 255, 16, 7], columns: vec![0, 3], rows: 17, errors, mean_error: 1e-300 };
        let text = serde_json::to_string(&calibration).unwrap();
        assert_eq!(serde_json::from_str::<Calibration>(&text).unwrap(), calibration);
        for wrong in [text.replace("00ff1007", "00ff100"), text.replace("00ff1007", "00fg1007")] {
            assert!(serde_json::from_str::<Calibration>(&wrong).is_err());
        }
    }
}
