//! The run whose predictions are compared: complete, and with the parts that its manifest names.

use attempt::RunFolder;
use error::{Error, Result};
use machine::RunId;
use registry::ModelRun;
use serde::Deserialize;
use storage::{Location, sha256_hex};
use table::Dataset;
use table::csv::CsvFormat;
use table::parquet::FooterRoom;

use crate::plan;
use crate::pointer::{LATEST, OutputPointer};
use crate::settings::EvaluateSettings;
use crate::write::PartFile;

/// A run that is complete.
#[derive(Debug)]
pub(super) struct CompleteRun {
    /// Its folder.
    pub(super) folder: RunFolder,
    /// What it did.
    pub(super) manifest: Manifest,
}

/// What is needed of a manifest.
#[derive(Debug, Deserialize)]
pub(super) struct Manifest {
    /// The model that scored.
    pub(super) model: ManifestModel,
    /// Predictions.
    pub(super) rows_predicted: u64,
    /// Where they lie.
    pub(super) parts: Vec<PartFile>,
    /// What was asked for.
    #[serde(default)]
    pub(super) settings: ManifestSettings,
}

/// What is needed of the settings of a run.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ManifestSettings {
    /// The level of its intervals.
    #[serde(default)]
    pub(super) interval: Option<f64>,
}

/// A model as a manifest names it.
#[derive(Debug, Deserialize)]
pub(super) struct ManifestModel {
    /// The name of its store.
    pub(super) name: String,
    /// Its label and the run that trained it.
    #[serde(flatten)]
    pub(super) run: NamedRun,
}

/// The label of a model and the run that trained it.
#[derive(Debug, Deserialize)]
pub(super) struct NamedRun {
    version: String,
    run_id: String,
}

impl NamedRun {
    /// The run.
    ///
    /// # Errors
    /// [`Error::Data`] where the manifest is none of ours.
    pub(super) fn model_run(&self) -> Result<ModelRun> {
        let wrong = |error: Error| Error::Data(format!("the manifest names no model: {error}"));
        ModelRun::from_path(&format!("{}/{}", self.version, self.run_id)).map_err(wrong)
    }
}

impl CompleteRun {
    /// The run that the settings name, or the newest complete one of the output.
    ///
    /// # Errors
    /// [`Error::Data`] where there is none, or it is not complete; storage errors as they are.
    pub(super) async fn find(settings: &EvaluateSettings) -> Result<Self> {
        let output = settings.output.open().await?;
        let run_id = match &settings.shared.run_id {
            Some(run_id) => run_id.clone(),
            None => {
                let latest = attempt::pointer::read::<OutputPointer>(output.as_ref(), LATEST).await?;
                let (latest, _) = latest.ok_or_else(|| {
                    let output = &settings.output;
                    Error::Data(format!("{output} has no complete run yet ({LATEST} is missing): run predict first"))
                })?;
                latest.run_id.parse::<RunId>()?
            }
        };
        let folder = plan::folder(output, &run_id);
        let outcome = folder.complete().await?.ok_or_else(|| incomplete(&folder))?;
        let manifest = folder.get_json("manifest.json").await?.ok_or_else(|| incomplete(&folder))?;
        let location = folder.location_of("manifest.json");
        let published = outcome.files().and_then(|files| files.get("manifest.json").cloned());
        if published.is_some_and(|published| published != sha256_hex(&manifest)) {
            return Err(Error::Data(format!(
                "{location} is not what was published (its SHA-256 differs): restore it, or predict again"
            )));
        }
        let manifest: Manifest = serde_json::from_slice(&manifest)
            .map_err(|error| Error::Data(format!("{location} is damaged: {error}")))?;
        let (theirs, asked) = (&manifest.model.name, &settings.store.model_name);
        if theirs != asked {
            return Err(Error::Setting(format!(
                "--model-name (MODEL_NAME) is \"{asked}\", but run {run_id} was scored by a model of the name \"{theirs}\""
            )));
        }
        Ok(Self { folder, manifest })
    }

    /// Its predictions, of which none is missing and none was added or replaced by one of another size; none where every row was
    /// rejected.
    ///
    /// # Errors
    /// [`Error::Data`] where they are not those of the manifest; as [`Dataset::open`].
    pub(super) async fn predictions(&self, output: &Location, room: FooterRoom) -> Result<Option<Dataset>> {
        if self.manifest.parts.is_empty() {
            return Ok(None);
        }
        let location = output.join(&format!("predictions/run_id={}", self.folder.run_id()));
        // Parts have a format of their own, whatever the input had.
        let dataset = Dataset::open_within(&location, None, CsvFormat::default(), room).await?;
        let mut found: Vec<(&str, u64)> =
            dataset.objects.iter().map(|object| (name_of(&object.meta.key), object.meta.size)).collect();
        let mut expected: Vec<(&str, u64)> =
            self.manifest.parts.iter().map(|part| (name_of(&part.path), part.bytes)).collect();
        found.sort_unstable();
        expected.sort_unstable();
        let missing = expected.iter().find(|part| !found.contains(part));
        let foreign = found.iter().find(|part| !expected.contains(part));
        let (what, name) = match (missing, foreign) {
            (None, None) => return Ok(Some(dataset)),
            (Some((name, _)), _) => ("is missing, or is not what the run wrote", name),
            (None, Some((name, _))) => ("is none of the run's parts", name),
        };
        Err(Error::Data(format!("{location}/{name} {what}: restore the predictions of the run, or predict again")))
    }
}

fn name_of(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or(key)
}

fn incomplete(folder: &RunFolder) -> Error {
    Error::Data(format!(
        "there is no complete run {} in {}: name one that is complete with --run-id, or run predict with that run id to its end",
        folder.run_id(),
        folder.store().root()
    ))
}
