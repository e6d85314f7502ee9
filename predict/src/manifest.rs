//! The manifest of a run: what it did, summed up over its parts.

use error::{Error, Result};
use features::quality::{DRIFT_WARNING, FeatureTally, data_quality_score};
use registry::pointer::FORMAT_VERSION;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::load::Model;
use crate::plan::PredictPlan;
use crate::predictions::{PredictionSummary, PredictionTally};
use crate::read::PART_ROWS;
use crate::slices::{RunSlices, SliceTable, SliceTally};
use crate::write::{FinishedParts, PartFile, RejectCounts, RejectSources, UnreadableColumn};

/// More rows than a share has: the sums of so many shards do not overflow.
const MOST_ROWS: u64 = 1 << 48;

/// The sums over all parts.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Input rows.
    pub rows_read: u64,
    /// Rejected rows by reason.
    pub reasons: RejectCounts,
    /// Rejected rows by object.
    #[serde(default)]
    pub reject_sources: RejectSources,
    /// What the cells of each feature were like.
    pub tallies: Vec<FeatureTally>,
    /// What the predictions are like; none where there are none.
    pub predicted: Option<PredictionTally>,
    /// The sums of the scales of predicted rows, of each part in their order; none without intervals.
    pub scale_sums: Vec<f64>,
    /// Rows with reasons.
    #[serde(default)]
    pub rows_explained: u64,
    /// Cells that do not parse as their feature's type, by column.
    pub unreadable: Vec<UnreadableColumn>,
    /// The predictions of the parts, in order.
    pub parts: Vec<PartFile>,
    /// The rejected rows of the parts, in order.
    pub rejected_parts: Vec<PartFile>,
    /// The rows by the values of the model's slices.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slices: Vec<SliceTally>,
}

/// One feature's quality and drift.
#[derive(Debug, Clone, Serialize)]
pub struct FeatureReport {
    /// Its name.
    pub name: String,
    /// Share of cells without a value.
    pub missing: f64,
    /// Share of cells whose number is not finite as the model has it.
    pub infinite: f64,
    /// Share of cells with a level that training did not keep.
    pub unseen: f64,
    /// Share of cells outside of the spec's range.
    pub out_of_range: f64,
    /// Population stability index against the training rows.
    pub psi: f64,
}

impl FeatureReport {
    /// Whether it moved enough to matter.
    #[must_use]
    pub fn has_drifted(&self) -> bool {
        self.psi > DRIFT_WARNING
    }
}

impl Totals {
    /// Adds up the parts.
    #[must_use]
    pub fn of(parts: FinishedParts, new_tallies: Vec<FeatureTally>) -> Self {
        let FinishedParts { mut records, reject_sources, slices } = parts;
        records.sort_by_key(|part| part.index);
        let mut totals = Self { tallies: new_tallies, reject_sources, slices, ..Self::default() };
        for part in records {
            totals.add(Self {
                rows_read: part.rows_read,
                reasons: part.reasons,
                reject_sources: part.reject_sources,
                tallies: part.tallies,
                predicted: part.predicted,
                scale_sums: part.scale_sum.into_iter().collect(),
                rows_explained: part.rows_explained,
                unreadable: part.unreadable,
                parts: part.predictions.into_iter().collect(),
                rejected_parts: part.rejected.into_iter().collect(),
                slices: part.slices,
            });
        }
        totals
    }

    /// Adds those of later parts. All of them are counts or exact sums, or kept part by part, so it does not matter how parts are grouped.
    pub fn add(&mut self, later: Self) {
        self.rows_read += later.rows_read;
        self.reasons.add(&later.reasons);
        self.reject_sources.add(later.reject_sources);
        self.scale_sums.extend(later.scale_sums);
        self.rows_explained += later.rows_explained;
        UnreadableColumn::add_all(&mut self.unreadable, &later.unreadable);
        SliceTally::add_all(&mut self.slices, later.slices);
        for (tally, more) in self.tallies.iter_mut().zip(&later.tallies) {
            tally.add(more);
        }
        if let Some(more) = later.predicted {
            match &mut self.predicted {
                Some(predicted) => predicted.add(more),
                None => self.predicted = Some(more),
            }
        }
        self.parts.extend(later.parts);
        self.rejected_parts.extend(later.rejected_parts);
    }

    /// Whether the counts fit each other.
    #[must_use]
    pub fn adds_up(&self) -> bool {
        let rows = |files: &[PartFile]| files.iter().try_fold(0_u64, |sum, file| sum.checked_add(file.rows));
        let rejected = self.reasons.checked_total();
        self.rows_read <= MOST_ROWS
            && self.reject_sources.add_up_to(&self.reasons)
            && rejected == rows(&self.rejected_parts)
            && rejected.and_then(|rejected| self.rows_read.checked_sub(rejected)) == rows(&self.parts)
            && self.tallies.iter().all(|tally| tally.fits(self.rows_read))
            && (self.scale_sums.is_empty() || self.scale_sums.len() == self.parts.len())
            && self.scale_sums.iter().all(|sum| sum.is_finite())
            && rows(&self.parts).is_some_and(|rows| self.rows_explained <= rows)
            && self.slices.iter().all(|slice| rows(&self.parts).is_some_and(|rows| slice.fits(rows)))
            && match &self.predicted {
                Some(predicted) => Some(predicted.tally.rows) == rows(&self.parts) && predicted.is_of(self.parts.len()),
                None => self.parts.is_empty(),
            }
    }

    /// Rows with a prediction.
    #[must_use]
    pub fn rows_predicted(&self) -> u64 {
        self.rows_read - self.reasons.total()
    }

    /// The mean absolute error that the model expects of these rows; none without intervals.
    #[must_use]
    pub fn expected_mae(&self, model: &Model) -> Option<f64> {
        let interval = model.interval.as_ref().filter(|_| !self.scale_sums.is_empty())?;
        interval.expected_mae(self.scale_sums.iter().sum(), self.rows_predicted())
    }

    /// Share of good rows and cells.
    #[must_use]
    pub fn data_quality_score(&self, model: &Model) -> f64 {
        let features = model.metadata.features.iter().zip(&self.tallies);
        data_quality_score(self.rows_predicted(), self.rows_read, features, true)
    }

    /// The rows by the values of the columns that were read for it, a table for each of which they can be told.
    #[must_use]
    pub fn slices(&self, model: &Model) -> Vec<Option<SliceTable>> {
        let expected = |scales: f64, rows: u64| model.interval.as_ref()?.expected_mae(scales, rows);
        self.slices.iter().map(|tally| SliceTable::of(tally, expected)).collect()
    }

    /// What the predictions are like.
    #[must_use]
    pub fn prediction_summary(&self, model: &Model) -> PredictionSummary {
        let target = model.metadata.target_statistics.as_ref();
        self.predicted.as_ref().map(|predicted| predicted.summary(target)).unwrap_or_default()
    }

    /// Quality and drift of each feature.
    #[must_use]
    pub fn features(&self, model: &Model) -> Vec<FeatureReport> {
        let share = |count: u64, rows: u64| if rows == 0 { 0.0 } else { count as f64 / rows as f64 };
        let metadata = &model.metadata;
        let triples = metadata.features.iter().zip(&metadata.statistics).zip(&self.tallies);
        let report = |((feature, statistics), tally): ((&features::encode::Feature, _), &FeatureTally)| FeatureReport {
            name: feature.name.clone(),
            missing: share(tally.missing, tally.rows),
            infinite: share(tally.infinite, tally.rows),
            unseen: share(tally.unseen, tally.rows),
            out_of_range: share(tally.out_of_range, tally.rows),
            psi: tally.drift(statistics),
        };
        triples.map(report).collect()
    }
}

/// The feature that moved most since training.
#[must_use]
pub fn most_drifted(features: &[FeatureReport]) -> Option<(&str, f64)> {
    let most = features.iter().max_by(|left, right| left.psi.total_cmp(&right.psi))?;
    Some((most.name.as_str(), most.psi))
}

/// Names every feature that moved enough to matter.
pub fn warn_of_drift(features: &[FeatureReport]) {
    for feature in features.iter().filter(|feature| feature.has_drifted()) {
        tracing::warn!(
            feature = feature.name,
            psi = feature.psi,
            "\"{}\" has drifted since training: population stability index {:.3}, above {DRIFT_WARNING}",
            feature.name,
            feature.psi
        );
    }
}

/// `manifest.json`: the same bytes for the same run, whichever attempt writes it.
///
/// # Errors
/// [`Error::Defect`] where it cannot be written as JSON.
pub fn manifest(
    plan: &PredictPlan,
    (model, slices): (&Model, &RunSlices),
    totals: &Totals,
    features: &[FeatureReport],
) -> Result<Vec<u8>> {
    let mut manifest = json!({
        "format_version": FORMAT_VERSION,
        "run_id": plan.body.run_id,
        "started_at": plan.started_at,
        "model": {
            "name": model.metadata.model_name,
            "version": model.run.version,
            "run_id": model.run.run_id,
            "sha256": model.metadata.model_sha256,
        },
        "settings": plan.settings,
        "input": plan.body.input,
        "part_rows": PART_ROWS,
        "rows_read": totals.rows_read,
        "rows_predicted": totals.rows_predicted(),
        "rows_rejected": totals.reasons.total(),
        "rejected_by_reason": totals.reasons,
        "parts": totals.parts,
        "rejected_parts": totals.rejected_parts,
        "predictions": totals.prediction_summary(model),
        "features": features,
        "data_quality_score": totals.data_quality_score(model),
        "max_drift": most_drifted(features).map(|(_, psi)| psi),
    });
    if let Some(expected) = totals.expected_mae(model) {
        manifest["expected_mae"] = expected.into();
    }
    for (slice, table) in slices.read.iter().zip(totals.slices(model)) {
        if let Some(table) = table {
            manifest["slices"][slice.column.as_str()] = json!(table);
        }
    }
    serde_json::to_vec_pretty(&manifest).map_err(|error| Error::Defect(format!("manifest.json: {error}")))
}
