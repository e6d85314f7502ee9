//! `train models export`: a published model for other tools, MLflow and whatever reads ONNX.

mod mlflow;
mod module;
mod whole;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use error::{Error, Result};
use registry::load::{MOST_METADATA_BYTES, MOST_RESULT_BYTES, load_scale};
use registry::metadata::FORMAT_VERSION;
use registry::{LoadedModel, ModelStore, Selector, load};
use scoring::Ensemble;
use storage::{Location, sha256_hex};
use telemetry::Summary;

/// Where a model is written to, in which form.
#[derive(Debug, Clone, Copy)]
pub struct Targets<'a> {
    /// A folder for MLflow.
    pub mlflow: Option<&'a Location>,
    /// A file of ONNX.
    pub onnx: Option<&'a Location>,
}

/// Writes a published model, each form whole or not at all.
///
/// # Errors
/// [`Error::Setting`] where a target is not on this machine or holds something already; [`Error::Model`] where the model cannot be loaded,
/// or names what of it a form cannot say.
pub async fn export(
    models: &ModelStore,
    selector: &Selector,
    targets: &Targets<'_>,
    summary: &mut Summary,
) -> Result<()> {
    let mlflow = targets.mlflow.map(|location| local("--mlflow", location, models)).transpose()?;
    let onnx = targets.onnx.map(|location| local("--onnx", location, models)).transpose()?;
    // Before a byte is read: nothing that is there is written over.
    mlflow.as_deref().map_or(Ok(()), |folder| whole::refuse_folder("--mlflow", folder))?;
    onnx.as_deref().map_or(Ok(()), |file| whole::refuse_file("--onnx", file))?;
    let model = load(models, selector).await?;
    summary.set("model", model.run.to_string());
    if let Some(file) = &onnx {
        let bytes = onnx_file(&model)?;
        whole::write_file("--onnx", file, &bytes)?;
        summary.set("onnx", file.display().to_string()).set("onnx_bytes", bytes.len());
    }
    if let Some(folder) = &mlflow {
        let files = mlflow::files(&model, &Published::read(models, &model).await?)?;
        whole::write_folder("--mlflow", folder, &files)?;
        summary.set("mlflow", folder.display().to_string());
    }
    Ok(())
}

/// A target's path. Inside of the model store it would be taken for one of its models.
fn local(setting: &str, location: &Location, models: &ModelStore) -> Result<PathBuf> {
    let Location::Local(path) = location else {
        return Err(Error::Setting(format!(
            "{setting} {location} is not on this machine: name a local path and copy what is there afterwards"
        )));
    };
    if path.starts_with(Path::new(models.store().root())) {
        return Err(Error::Setting(format!(
            "{setting} {location} lies in the model store {}: name a path outside of it",
            models.store().root()
        )));
    }
    Ok(path.clone())
}

/// The files of a run that say what the model is, as they were published.
struct Published {
    result: Bytes,
    metadata: Bytes,
    /// What intervals are made of, where the model has some.
    scale: Option<Bytes>,
}

impl Published {
    async fn read(models: &ModelStore, model: &LoadedModel) -> Result<Self> {
        let key = |file| models.run_key(&model.run, file);
        let (result, _) = models.store().get_at_most(&key("result.json"), MOST_RESULT_BYTES).await?;
        let (metadata, _) = storage::get_json(models.store(), &key("metadata.json"), MOST_METADATA_BYTES).await?;
        if sha256_hex(&metadata) != model.metadata_sha256 {
            let location = models.location_of(&key("metadata.json"));
            return Err(Error::Model(format!("{location} has changed while it was read: run again")));
        }
        let scale = load_scale(models, &model.run, &model.metadata).await?;
        Ok(Self { result, metadata, scale })
    }
}

fn onnx_file(model: &LoadedModel) -> Result<Vec<u8>> {
    let (run, metadata) = (&model.run, &model.metadata);
    if metadata.format_version != FORMAT_VERSION {
        return Err(Error::Model(format!(
            "model {run} is of format version {}, whose texts of levels ONNX cannot make: train again, or export it for MLflow (--mlflow)",
            metadata.format_version
        )));
    }
    let ensemble = Ensemble::from_ubj(&model.model)
        .map_err(|error| Error::Model(format!("model {run} cannot be exported to ONNX: {error}")))?;
    let properties = [
        ("model_name", metadata.model_name.clone()),
        ("model_version", metadata.model_version.clone()),
        ("run_id", metadata.run_id.clone()),
        ("created_at", metadata.created_at.clone()),
        ("id", metadata.id.clone()),
        ("target", metadata.target.clone()),
        ("model_sha256", metadata.model_sha256.clone()),
        ("metadata_sha256", model.metadata_sha256.clone()),
        ("xgboost_version", metadata.xgboost_version.clone()),
    ];
    onnx::export(&onnx::Model {
        features: &metadata.features,
        ensemble: &ensemble,
        clip: metadata.clip,
        properties: &properties,
    })
}
