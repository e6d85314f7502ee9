//! `metadata.json`: all that scoring needs besides the trees, and all that anyone needs to rebuild it in Python.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use columns::ColumnKind;
use error::{Error, Result};
use evaluation::ErrorQuantiles;
use features::encode::{Encoder, Feature, LevelTexts};
use features::golden::GoldenRows;
use features::quality::{ColumnProfile, Statistics};
use features::spec::Spec;

/// The layout of `metadata.json` that this program writes. In version 2 a category's levels are
/// [canonical texts](columns::text), and times of day and durations are no dates.
pub const FORMAT_VERSION: u32 = 2;
/// The oldest layout that it still reads.
const OLDEST_FORMAT_VERSION: u32 = 1;

/// What a model is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// Layout of this file; a program refuses one that it does not know.
    pub format_version: u32,
    /// Name of the models that this is one of.
    pub model_name: String,
    /// Label it was trained under.
    pub model_version: String,
    /// Run that trained it.
    pub run_id: String,
    /// When, RFC 3339 in UTC.
    pub created_at: String,
    /// The features in matrix order.
    pub features: Vec<Feature>,
    /// Column that identifies a row.
    pub id: String,
    /// What the id column held in training.
    pub id_type: ColumnKind,
    /// Column that is predicted.
    pub target: String,
    /// The feature spec, as given.
    pub spec: Spec,
    /// XGBoost's parameters, as used.
    pub params: BTreeMap<String, String>,
    /// Boosting rounds of the model.
    pub rounds: u32,
    /// Seed of everything random.
    pub seed: u64,
    /// Bounds that predictions are held inside, where the spec says `clip = true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip: Option<(f64, f64)>,
    /// Statistics of the features over the training rows, in matrix order.
    pub statistics: Vec<Statistics>,
    /// Statistics of the target over the training rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_statistics: Option<Statistics>,
    /// What each column was like, derived features and the target too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub profile: Vec<ColumnProfile>,
    /// The columns by whose values the model was judged slice by slice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slices: Vec<SlicedColumn>,
    /// What was trained on.
    pub data: DataFingerprint,
    /// SHA-256 of `model.ubj`.
    pub model_sha256: String,
    /// The XGBoost that trained it.
    pub xgboost_version: String,
    /// The program that trained it.
    pub program_version: String,
    /// Rows that every load scores again.
    pub golden: GoldenRows,
    /// How wide intervals are, where the model has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intervals: Option<Intervals>,
}

/// A column by whose values a model was judged slice by slice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlicedColumn {
    /// The column.
    pub column: String,
    /// What it held in training, which decides how cells of CSV are read.
    #[serde(rename = "type")]
    pub kind: ColumnKind,
}

/// What intervals are made of: half the width of one is the quantile of its level times what `scale.ubj` gives for the row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Intervals {
    /// SHA-256 of `scale.ubj`.
    pub scale_sha256: String,
    /// The columns of `scale.ubj`: places in the matrix of the model. Behind them stands one more, the output of the model before it is
    /// clipped.
    pub columns: Vec<usize>,
    /// Rows that calibrated.
    pub rows: usize,
    /// Levels and quantiles.
    #[serde(flatten)]
    pub errors: ErrorQuantiles,
    /// The mean absolute error that is to be expected where `scale.ubj` gives 1.
    pub mean_error: f64,
    /// What `scale.ubj` gives for the golden rows.
    pub golden: Vec<f32>,
}

impl Intervals {
    /// Whether training can have written it, for a model of so many columns and golden rows.
    fn is_sound(&self, width: usize, golden: usize) -> bool {
        self.errors.is_sound()
            && self.columns.is_sorted_by(|one, other| one < other)
            && self.columns.last().is_none_or(|last| *last < width)
            && self.golden.len() == golden
            && self.golden.iter().all(|scale| scale.is_finite() && *scale > 0.0)
            && self.mean_error.is_finite()
            && self.mean_error >= 0.0
    }
}

/// What identifies the data of a training run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFingerprint {
    /// Where the training rows lay.
    pub train_data: String,
    /// Where the held-out rows lay, if they were given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_data: Option<String>,
    /// SHA-256 over the names, sizes and versions of all objects.
    pub objects_sha256: String,
    /// How many objects.
    pub objects: usize,
    /// Rows trained on.
    pub rows_train: u64,
    /// Rows held out.
    pub rows_test: u64,
}

/// The one field that is read before anything else is believed.
#[derive(Deserialize)]
struct FormatVersion {
    format_version: u32,
}

impl Metadata {
    /// Reads `metadata.json`. `location` is where it lies, for messages.
    ///
    /// # Errors
    /// [`Error::Model`] where the format is unknown or the content damaged.
    pub fn from_json(bytes: &[u8], location: &str) -> Result<Self> {
        let damaged =
            |what: &str| Error::Model(format!("{location} is damaged: {what}; promote another model or train again"));
        check_format_version(bytes, location, OLDEST_FORMAT_VERSION..=FORMAT_VERSION, damaged)?;
        let metadata: Self = serde_json::from_slice(bytes).map_err(|error| damaged(&error.to_string()))?;
        metadata.contradiction().map_or(Ok(metadata), |what| Err(damaged(what)))
    }

    /// What no training can have written, though it is JSON of the right form.
    fn contradiction(&self) -> Option<&'static str> {
        let (width, golden) = (self.features.len(), &self.golden);
        if width != self.statistics.len() {
            return Some("features and statistics differ in number");
        }
        if !self.statistics.iter().chain(&self.target_statistics).all(Statistics::is_sound) {
            return Some("its statistics contradict themselves");
        }
        if golden.rows.iter().any(|row| row.len() != width) || golden.rows.len() != golden.predictions.len() {
            return Some("its golden rows do not fit its features");
        }
        if self.clip.is_some_and(|(low, high)| low > high) {
            return Some("the lower bound of clip is above the upper one");
        }
        if self.intervals.as_ref().is_some_and(|intervals| !intervals.is_sound(width, golden.rows.len())) {
            return Some("its intervals contradict themselves or its features");
        }
        None
    }

    /// Which texts the levels of its categories have.
    #[must_use]
    pub fn level_texts(&self) -> LevelTexts {
        if self.format_version == 1 { LevelTexts::Release1 } else { LevelTexts::Canonical }
    }

    /// What a column held in training that rows are told apart by; none where the model neither was judged by it nor has a feature of it.
    #[must_use]
    pub fn kind_of_slice(&self, column: &str) -> Option<ColumnKind> {
        let of_slices = self.slices.iter().map(|slice| (slice.column.as_str(), slice.kind));
        let of_features = self.features.iter().flat_map(Feature::input_columns);
        of_slices.chain(of_features).find(|(name, _)| *name == column).map(|(_, kind)| kind)
    }

    /// The features, ready to encode rows as the model was trained on them.
    ///
    /// # Errors
    /// As [`Encoder::bind`].
    pub fn encoder(&self) -> Result<Encoder> {
        Ok(Encoder::bind(&self.features, &self.spec.ranges)?.with_level_texts(self.level_texts()))
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// [`Error::Defect`] where it cannot be written as JSON.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        serde_json::to_vec_pretty(self).map_err(|error| Error::Defect(format!("metadata.json: {error}")))
    }
}

/// Refuses a file of a layout that is none of the `known` ones.
///
/// # Errors
/// [`Error::Model`] that says to use a newer program; what `damaged` makes of a file that does not tell its version.
pub fn check_format_version(
    bytes: &[u8],
    location: &str,
    known: RangeInclusive<u32>,
    damaged: impl Fn(&str) -> Error,
) -> Result<()> {
    let found: FormatVersion = serde_json::from_slice(bytes).map_err(|error| damaged(&error.to_string()))?;
    if known.contains(&found.format_version) {
        return Ok(());
    }
    Err(Error::Model(format!(
        "{location} has format_version {}, but this program knows {}: use the program that wrote it, or a newer one",
        found.format_version,
        known.end()
    )))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// One number `x`, seen as 1, 2 and missing.
    fn sound() -> Value {
        json!({
            "format_version": 1, "model_name": "engagement", "model_version": "v1", "run_id": "m",
            "created_at": "2026-01-01T00:00:00Z", "features": [{"name": "x", "kind": "number", "type": "float"}],
            "id": "id", "id_type": "text", "target": "score", "spec": {}, "params": {}, "rounds": 1, "seed": 42,
            "clip": [0.0, 1.0],
            "statistics": [{"rows": 3, "missing": 0.25, "edges": [1.0, 2.0], "shares": [0.25, 0.25, 0.25, 0.25]}],
            "data": {"train_data": "a", "objects_sha256": "00", "objects": 1, "rows_train": 3, "rows_test": 1},
            "model_sha256": "00", "xgboost_version": "3.4.1", "program_version": "1.0.0",
            "golden": {"rows": [[0.5], [null]], "predictions": [0.5, 0.25]},
            "intervals": {
                "scale_sha256": "00", "columns": [0], "rows": 20, "levels": [0.5, 0.9], "quantiles": [0.1, 0.5], "mean_error": 0.2,
                "golden": [1.0, 0.5],
            },
        })
    }

    fn read(document: &Value) -> Result<Metadata> {
        Metadata::from_json(document.to_string().as_bytes(), "metadata.json")
    }

    #[test]
    fn what_contradicts_itself_is_damaged() {
        assert!(read(&sound()).is_ok(), "{:?}", read(&sound()));
        for (place, wrong) in [
            // A prediction cannot be held inside them: `clamp` would panic.
            ("/clip", json!([1.0, 0.0])),
            ("/statistics", json!([])),
            ("/statistics/0/edges", json!([2.0, 1.0])),
            ("/statistics/0/shares", json!([0.5, 0.5])),
            ("/golden/rows", json!([[0.5], [0.5, 0.5]])),
            ("/golden/predictions", json!([0.5])),
            ("/intervals/columns", json!([1])),
            ("/intervals/quantiles", json!([0.5, 0.1])),
            ("/intervals/levels", json!([0.5, 0.95, 0.99])),
            ("/intervals/golden", json!([1.0, 0.0])),
            ("/intervals/golden", json!([1.0])),
            ("/intervals/mean_error", json!(-1.0)),
        ] {
            let mut document = sound();
            *document.pointer_mut(place).unwrap() = wrong;
            let error = read(&document).unwrap_err();
            assert_eq!(error.exit_code(), 6, "{place}");
            assert!(error.to_string().starts_with("metadata.json is damaged: "), "{error}");
        }
    }
}
