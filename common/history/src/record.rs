//! What `history.json` holds.

use std::collections::BTreeMap;

use error::{Error, Result};
use serde::{Deserialize, Serialize};
use storage::Version;

/// The layout of `history.json`.
pub(crate) const FORMAT_VERSION: u32 = 1;
/// Runs that are kept one by one: two years of weekly ones. Older ones are kept as sums of their months.
pub const MOST_RUNS: usize = 104;

/// Whose runs a page shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Training runs of a model store.
    #[default]
    Models,
    /// Runs of `predict` in an output.
    Predictions,
}

impl Kind {
    /// The command that writes the page again.
    #[must_use]
    pub fn command(self) -> &'static str {
        match self {
            Self::Models => "train models history",
            Self::Predictions => "predict history",
        }
    }
}

/// All runs of a folder.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// Layout of this file.
    pub format_version: u32,
    /// Whose runs they are.
    pub kind: Kind,
    /// The folder of the run that `latest.json` names.
    pub latest: Option<String>,
    /// The folder of the run that each label's pointer names.
    pub labels: BTreeMap<String, Label>,
    /// The newest runs, newest first.
    pub runs: Vec<Run>,
    /// The sums of the older ones, newest month first.
    pub months: Vec<Month>,
    /// What came of the predictions of models of this store, by the runs that predicted.
    pub evaluated: BTreeMap<String, Evaluated>,
}

/// Where a label's pointer stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// The folder that it names.
    pub path: String,
    /// The version of the pointer that was read.
    pub version: Version,
}

/// A value of R² and what it lies within, in 95 of 100 samples of such rows.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct R2 {
    /// The value.
    pub value: f64,
    /// Lower end.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
}

/// What came of a run's predictions.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Evaluated {
    /// The folder of the model that predicted, in its store.
    pub model: String,
    /// When it was last compared, RFC 3339 in UTC.
    pub at: String,
    /// R² as it came out; none where it is not defined.
    pub r2: Option<R2>,
    /// R² of the model when it was trained.
    pub r2_when_trained: Option<f64>,
    /// Mean of prediction less actual value.
    pub bias: Option<f64>,
    /// The level of the intervals, where there are any.
    pub interval: Option<f64>,
    /// Share of the actual values that lay within them.
    pub coverage: Option<f64>,
    /// Predictions that were compared.
    pub rows: u64,
    /// Predictions in all.
    pub rows_predicted: u64,
    /// The version of the file that was read.
    pub version: Option<Version>,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Run {
    /// Its folder, relative to the page.
    pub path: String,
    /// Its id.
    pub run_id: String,
    /// The folder of the model that predicted, in its store; none for a training run.
    pub model: Option<String>,
    /// When it was complete, or began where it failed, RFC 3339 in UTC; empty where nothing tells.
    pub at: String,
    /// How it ended.
    pub exit_code: u64,
    /// `passed` or `failed`, where there is a gate.
    pub gate: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
    /// R² on held-out rows.
    pub r2_when_trained: Option<R2>,
    /// What came of its predictions.
    pub evaluated: Option<Evaluated>,
    /// Rows that were trained on, or read to be scored.
    pub rows: Option<u64>,
    /// Rows that were held out, or rejected.
    pub other_rows: Option<u64>,
    /// Population stability index of the feature that moved most, and its name.
    pub max_drift: Option<f64>,
    /// The feature that moved most.
    pub max_drift_feature: Option<String>,
    /// Share of good rows and cells.
    pub data_quality_score: Option<f64>,
    /// Mean of the predictions.
    pub mean_prediction: Option<f64>,
    /// Mean absolute error that the model expects.
    pub expected_mae: Option<f64>,
    /// Seconds that its last attempt took.
    pub seconds: Option<f64>,
    /// What they cost at list price.
    pub dollars: Option<f64>,
    /// Whether its folder has a report.
    pub has_report: bool,
    /// Whether its files are still there.
    pub is_there: bool,
    /// The version of its result that was read.
    pub result_version: Option<Version>,
    /// The version of what came of its predictions.
    pub actuals_version: Option<Version>,
}

impl Run {
    /// R² as it came out; none where nothing is known yet.
    pub(crate) fn realized(&self) -> Option<R2> {
        self.evaluated.as_ref().and_then(|evaluated| evaluated.r2)
    }
}

/// The runs of a month.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Month {
    /// Such as `2026-11`; empty where no time is known.
    pub month: String,
    /// Their folders: a run is counted once.
    pub runs: Vec<String>,
    /// Those that ended well.
    pub succeeded: u64,
    /// Rows.
    pub rows: u64,
    /// Rows held out, or rejected.
    pub other_rows: u64,
    /// Seconds.
    pub seconds: f64,
    /// Dollars at list price.
    pub dollars: f64,
    /// R² when trained.
    pub r2_when_trained: Spread,
    /// R² as it came out.
    pub realized: Spread,
    /// Drift of the feature that moved most.
    pub max_drift: Spread,
}

/// What values that are no longer known one by one were like.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Spread {
    /// How many.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// The least.
    pub least: Option<f64>,
    /// The greatest.
    pub most: Option<f64>,
}

impl Spread {
    /// Takes in a value.
    pub fn add(&mut self, value: Option<f64>) {
        let Some(value) = value.filter(|value| value.is_finite()) else { return };
        self.count += 1;
        self.sum += value;
        self.least = Some(self.least.map_or(value, |least| least.min(value)));
        self.most = Some(self.most.map_or(value, |most| most.max(value)));
    }

    /// Their mean.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }
}

/// Why a `history.json` cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// It is of a newer program, with this layout.
    Newer(u64),
    /// It is none of ours.
    Damaged(String),
}

impl History {
    pub(crate) fn from_json(bytes: &[u8], kind: Kind) -> Result<Self, Unreadable> {
        let damaged = |error: serde_json::Error| Unreadable::Damaged(error.to_string());
        let value: serde_json::Value = serde_json::from_slice(bytes).map_err(damaged)?;
        let format = value.get("format_version").and_then(serde_json::Value::as_u64);
        if let Some(newer) = format.filter(|format| *format > u64::from(FORMAT_VERSION)) {
            return Err(Unreadable::Newer(newer));
        }
        let history: Self = serde_json::from_value(value).map_err(damaged)?;
        if history.format_version != FORMAT_VERSION || history.kind != kind {
            return Err(Unreadable::Damaged("it is not that of such a page".to_owned()));
        }
        Ok(history)
    }

    pub(crate) fn to_json(&self) -> Result<Vec<u8>> {
        serde_json::to_vec_pretty(self).map_err(|error| Error::Defect(format!("history.json: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_read_as_it_was_written_and_no_other() {
        let history = History { format_version: FORMAT_VERSION, kind: Kind::Predictions, ..History::default() };
        let json = history.to_json().unwrap();
        assert_eq!(History::from_json(&json, Kind::Predictions), Ok(history));
        assert!(matches!(History::from_json(&json, Kind::Models), Err(Unreadable::Damaged(_))));
        assert!(matches!(History::from_json(b"[]", Kind::Models), Err(Unreadable::Damaged(_))));
        assert_eq!(History::from_json(br#"{"format_version": 2}"#, Kind::Models), Err(Unreadable::Newer(2)));
    }
}
