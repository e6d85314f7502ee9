//! Parts in the output: written whole, recorded one by one, so that a run that continues keeps what it has.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use error::{Error, Result};
use features::quality::{FeatureTally, Statistics};
use machine::RunId;
use machine::tasks::Processors;
use polars::prelude::{ChunkFull, DataFrame, IntoColumn, PlSmallStr, StringChunked};
use serde::{Deserialize, Serialize};
use storage::sha256_hex;
use storage::{Store, StoreError};
use table::write::{ConstantColumn, to_csv, to_parquet_with};

use super::assemble::FinishedPart;
use super::reject_sources::RejectSources;
use super::rejected::{RejectCounts, RejectedRows};
use super::unreadable::UnreadableColumn;
use crate::predictions::PredictionTally;
use crate::settings::OutputFormat;
use crate::slices::SliceTally;

/// More rows than a part has: the sums of so many parts do not overflow.
const MOST_ROWS: u64 = u32::MAX as u64;

/// More bytes than the record of a part has, of thousands of features.
const MOST_RECORD_BYTES: u64 = 64 << 20;

/// A written file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartFile {
    /// Its path, relative to the output.
    pub path: String,
    /// Rows in it.
    pub rows: u64,
    /// Bytes of it.
    pub bytes: u64,
    /// Its SHA-256.
    pub sha256: String,
}

/// What became of one part's input rows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PartRecord {
    /// Its number.
    pub index: u64,
    /// Input rows.
    pub rows_read: u64,
    /// The predictions; none where every row was rejected.
    pub predictions: Option<PartFile>,
    /// The rejected rows; none where there are none.
    pub rejected: Option<PartFile>,
    /// Rejected rows by reason.
    pub reasons: RejectCounts,
    /// Rejected rows by object.
    #[serde(default)]
    pub reject_sources: RejectSources,
    /// What the cells of each feature were like.
    pub tallies: Vec<FeatureTally>,
    /// What the predictions are like; none where every row was rejected.
    #[serde(default)]
    pub predicted: Option<PredictionTally>,
    /// The sum of the scales of the predicted rows, where there are intervals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_sum: Option<f64>,
    /// Rows with reasons.
    #[serde(default)]
    pub rows_explained: u64,
    /// Cells that do not parse as their feature's type; none in records of older releases.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<UnreadableColumn>,
    /// Its rows by the values of the model's slices.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slices: Vec<SliceTally>,
}

/// The records of some parts. What would take much memory part by part is added up as they come.
#[derive(Debug, Clone, Default)]
pub struct FinishedParts {
    /// The records, without their slices and the objects of rejected rows.
    pub records: Vec<PartRecord>,
    /// The rejected rows of all of them by object.
    pub reject_sources: RejectSources,
    /// The rows of all of them by the values of the model's slices.
    pub slices: Vec<SliceTally>,
}

impl FinishedParts {
    /// None yet, of a run with so many slices.
    #[must_use]
    pub fn none(slices: usize) -> Self {
        Self { slices: vec![SliceTally::default(); slices], ..Self::default() }
    }

    /// Takes in a part.
    pub fn push(&mut self, mut record: PartRecord) {
        SliceTally::add_all(&mut self.slices, std::mem::take(&mut record.slices));
        self.reject_sources.add(std::mem::take(&mut record.reject_sources));
        self.records.push(record);
    }
}

impl PartRecord {
    /// Whether its counts fit each other: a record is read from a file, and a damaged one must not become a wrong total.
    fn adds_up(&self) -> bool {
        let rows = |file: &Option<PartFile>| file.as_ref().map_or(0, |file| file.rows);
        let rejected = self.reasons.checked_total();
        self.rows_read <= MOST_ROWS
            && self.slices.iter().all(|slice| slice.fits(rows(&self.predictions)))
            && rejected == Some(rows(&self.rejected))
            && self.reject_sources.add_up_to(&self.reasons)
            && rejected.and_then(|rejected| self.rows_read.checked_sub(rejected)) == Some(rows(&self.predictions))
            && self.tallies.iter().all(|tally| tally.fits(self.rows_read))
            && self.scale_sum.is_none_or(f64::is_finite)
            && self.rows_explained <= rows(&self.predictions)
            && self
                .predicted
                .as_ref()
                .is_none_or(|predicted| predicted.is_of(1) && predicted.tally.fits(self.rows_read))
            && self.predicted.as_ref().map_or(0, |predicted| predicted.tally.rows) == rows(&self.predictions)
    }
}

/// Writes the parts of one run.
#[derive(Debug, Clone)]
pub struct PartWriter {
    /// The output.
    pub store: Arc<dyn Store>,
    /// The run.
    pub run_id: RunId,
    /// How predictions are written.
    pub format: OutputFormat,
    /// Label of the model.
    pub model_version: String,
    /// What the target was like in training.
    pub target: Option<Arc<Statistics>>,
    /// How many columns the rows are told apart by.
    pub slices: usize,
    /// What encoding shares with scoring.
    pub processors: Processors,
}

impl PartWriter {
    /// Encodes and uploads a part, then records it.
    ///
    /// # Errors
    /// Storage errors as they are.
    pub async fn write(&self, part: FinishedPart) -> Result<PartRecord> {
        let index = part.index;
        let (rows_read, reasons, tallies, unreadable) = (part.rows_read, part.reasons, part.tallies, part.unreadable);
        let (scale_sum, slices, reject_sources) = (part.scale_sum, part.slices, part.reject_sources);
        let (version, format, target) = (self.model_version.clone(), self.format, self.target.clone());
        let encode = move || encode(part.predicted, part.rejected, &version, format, target);
        let encoded = self.processors.run(encode).await??;
        let EncodedPart { predicted, rows_explained, predictions, rejected } = encoded;
        let predictions = self.put(self.predictions_path(index), predictions).await?;
        let rejected = self.put(self.rejected_path(index), rejected).await?;
        let record = PartRecord {
            index,
            rows_read,
            predictions,
            rejected,
            reasons,
            reject_sources,
            tallies,
            predicted,
            scale_sum,
            rows_explained,
            unreadable,
            slices,
        };
        let json = serde_json::to_vec(&record).map_err(|error| Error::Defect(error.to_string()))?;
        self.store.put(&record_key(&self.run_id, index), json.into()).await?;
        Ok(record)
    }

    async fn put(&self, path: String, file: Option<(Bytes, u64)>) -> Result<Option<PartFile>> {
        let Some((bytes, rows)) = file else { return Ok(None) };
        let file = PartFile { rows, bytes: bytes.len() as u64, sha256: sha256_hex(&bytes), path };
        self.store.put(&file.path, bytes).await?;
        Ok(Some(file))
    }

    /// The parts, among these, that an earlier attempt of this run finished, that still stand and that are to be `kept`.
    ///
    /// # Errors
    /// Storage errors as they are.
    pub async fn finished_parts(
        &self,
        parts: &Range<u64>,
        kept: impl Fn(&PartRecord) -> bool,
    ) -> Result<FinishedParts> {
        let mut finished = FinishedParts::none(self.slices);
        for object in self.store.list(&records_prefix(&self.run_id)).await? {
            if number_in(&object.key, ".json").is_none_or(|index| !parts.contains(&index)) {
                continue;
            }
            let bytes = match storage::get_json(self.store.as_ref(), &object.key, MOST_RECORD_BYTES).await {
                Ok((bytes, _)) => bytes,
                Err(StoreError::TooLarge(_) | StoreError::Full(_)) => continue,
                // Another attempt of this run has ended since the records were listed, and has removed them.
                Err(StoreError::NotFound(_)) => continue,
                Err(error) => return Err(error.into()),
            };
            let Ok(record) = serde_json::from_slice::<PartRecord>(&bytes) else { continue };
            if object.key == record_key(&self.run_id, record.index)
                && record.adds_up()
                && record.slices.len() == self.slices
                && kept(&record)
                && self.stands(record.predictions.as_ref(), &self.predictions_path(record.index)).await?
                && self.stands(record.rejected.as_ref(), &self.rejected_path(record.index)).await?
            {
                finished.push(record);
            }
        }
        finished.records.sort_by_key(|record| record.index);
        Ok(finished)
    }

    /// Whether a file is where its part lies, and what its record says. A record is believed in nothing that can be looked up.
    async fn stands(&self, file: Option<&PartFile>, path: &str) -> Result<bool> {
        let Some(file) = file else { return Ok(true) };
        if file.path != path {
            return Ok(false);
        }
        match storage::get_within_memory(self.store.as_ref(), path, file.bytes).await {
            Ok((bytes, _)) => Ok(bytes.len() as u64 == file.bytes && sha256_hex(&bytes) == file.sha256),
            Err(StoreError::NotFound(_) | StoreError::TooLarge(_) | StoreError::Full(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The part whose predictions or rejected rows lie at `path`; none where no part's do.
    #[must_use]
    pub fn part_at(&self, path: &str) -> Option<u64> {
        let of = |ending: &str, path_of: &dyn Fn(u64) -> String| {
            number_in(path, ending).filter(|index| path_of(*index) == path)
        };
        of(&format!(".{}", self.format.extension()), &|index| self.predictions_path(index))
            .or_else(|| of(".parquet", &|index| self.rejected_path(index)))
    }

    fn predictions_path(&self, index: u64) -> String {
        format!("predictions/run_id={}/part-{index:05}.{}", self.run_id, self.format.extension())
    }

    fn rejected_path(&self, index: u64) -> String {
        format!("rejected/run_id={}/part-{index:05}.parquet", self.run_id)
    }
}

/// The number of the part that a file is of.
fn number_in(path: &str, ending: &str) -> Option<u64> {
    path.rsplit_once("/part-")?.1.strip_suffix(ending)?.parse().ok()
}

fn records_prefix(run_id: &RunId) -> String {
    format!("runs/{run_id}/_parts")
}

fn record_key(run_id: &RunId, index: u64) -> String {
    format!("{}/part-{index:05}.json", records_prefix(run_id))
}

struct EncodedPart {
    predicted: Option<PredictionTally>,
    rows_explained: u64,
    predictions: Option<(Bytes, u64)>,
    rejected: Option<(Bytes, u64)>,
}

fn encode(
    mut predicted: DataFrame,
    rejected: RejectedRows,
    version: &str,
    format: OutputFormat,
    target: Option<Arc<Statistics>>,
) -> Result<EncodedPart> {
    let rows = predicted.height();
    predicted.rechunk_mut_par();
    let tally = (rows > 0).then(|| tally(&predicted, target)).transpose()?;
    let predictions = if rows == 0 {
        None
    } else {
        let names = predicted.get_column_names();
        let before = names.iter().skip(2).take_while(|name| columns::is_output_column(name)).count();
        let (place, name) = (2 + before, PlSmallStr::from_static("model_version"));
        let bytes = match format {
            OutputFormat::Parquet => {
                to_parquet_with(&mut predicted, Some(ConstantColumn { place, name, value: version.into() }))?
            }
            OutputFormat::Csv => {
                let versions = StringChunked::full(name, version, rows).into_column();
                predicted.insert_column(place, versions).map_err(|error| Error::Defect(error.to_string()))?;
                to_csv(&predicted)?
            }
        };
        Some((bytes, rows as u64))
    };
    let rows_explained = rows_explained(&predicted);
    drop(predicted);
    Ok(EncodedPart { predicted: tally, rows_explained, predictions, rejected: rejected.into_parquet()? })
}

fn tally(predicted: &DataFrame, target: Option<Arc<Statistics>>) -> Result<PredictionTally> {
    let mut tally = PredictionTally::new(target);
    let defect = |error: polars::prelude::PolarsError| Error::Defect(error.to_string());
    let predictions = predicted.column("prediction").and_then(|column| column.f64()).map_err(defect)?;
    tally.count(predictions.cont_slice().map_err(defect)?);
    Ok(tally)
}

/// Rows that have a reason: every one that was to be explained has a first.
fn rows_explained(predicted: &DataFrame) -> u64 {
    predicted.column("reason_1").map_or(0, |reasons| (reasons.len() - reasons.null_count()) as u64)
}

#[cfg(test)]
mod tests {
    use super::super::rejected::Reason;
    use super::*;
    use crate::slices::SliceSums;

    fn record(predicted: u64, rejected: u64) -> PartRecord {
        let file = |rows: u64| PartFile { path: "a".to_owned(), rows, bytes: 1, sha256: "00".to_owned() };
        let mut tally = FeatureTally::new(None);
        (0..predicted + rejected).for_each(|_| tally.count_level(true, None));
        PartRecord {
            index: 0,
            rows_read: predicted + rejected,
            predictions: (predicted > 0).then(|| file(predicted)),
            rejected: (rejected > 0).then(|| file(rejected)),
            reasons: RejectCounts { bad_value: rejected, ..RejectCounts::default() },
            reject_sources: {
                let mut sources = RejectSources::default();
                sources.count(0, "a.csv", std::iter::repeat_n(Reason::BadValue, rejected as usize));
                sources
            },
            tallies: vec![tally],
            predicted: (predicted > 0).then(|| {
                let mut tally = PredictionTally::new(None);
                tally.count(&vec![0.5; predicted as usize]);
                tally
            }),
            scale_sum: None,
            rows_explained: 0,
            unreadable: Vec::new(),
            slices: vec![SliceTally::NotTold, of_one_value(predicted)],
        }
    }

    fn of_one_value(rows: u64) -> SliceTally {
        SliceTally::Values([("a".to_owned(), SliceSums { rows, ..SliceSums::default() })].into())
    }

    #[test]
    fn records_whose_counts_do_not_fit_are_no_parts() {
        assert!(record(3, 1).adds_up() && record(0, 2).adds_up() && record(2, 0).adds_up());
        let changed = |change: fn(&mut PartRecord)| {
            let mut record = record(3, 1);
            change(&mut record);
            record.adds_up()
        };
        assert!(!changed(|record| record.rows_read = 0));
        assert!(!changed(|record| record.rows_read = u64::MAX));
        assert!(!changed(|record| record.reasons.null_id = u64::MAX));
        assert!(!changed(|record| record.reasons.null_id = 1));
        assert!(!changed(|record| record.rejected = None));
        assert!(!changed(|record| record.reject_sources = RejectSources::default()));
        assert!(!changed(|record| record.predictions = None));
        assert!(!changed(|record| record.predicted = None));
        assert!(!changed(|record| record.predicted.as_mut().unwrap().sums = vec![f64::NAN]));
        assert!(!changed(|record| record.slices[1] = of_one_value(4)));
        assert!(!changed(|record| record.tallies[0].missing = u64::MAX));
        assert!(!changed(|record| record.tallies[0].rows = 5));
        assert!(!changed(|record| record.tallies[0].bins = vec![4, 1]));
    }
}
