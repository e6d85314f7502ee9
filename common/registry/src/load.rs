//! Loading a published model: resolve, refuse what is not fit, verify every byte before XGBoost sees one.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::future::join;
use serde::Deserialize;

use super::layout::{ModelRun, ModelStore, Selector};
use super::metadata::Metadata;
use super::pointer::Pointer;
use error::{Error, Result};
use machine::tasks::blocking;
use storage::StoreError;
use storage::sha256_hex;

/// More bytes than a run's result has, which has 8 KiB at most.
pub const MOST_RESULT_BYTES: u64 = 64 << 10;
/// More bytes than the metadata of a model has that any machine could use: 10,000 levels of each of 1,000 columns.
pub const MOST_METADATA_BYTES: u64 = 1 << 30;
/// What metadata takes in memory for each of its bytes, and for each value in it besides: 2 million levels of 39 bytes, with their shares,
/// took 467 MiB.
const METADATA_BYTE: u64 = 3;
const METADATA_VALUE: u64 = 80;
/// What a model takes in memory, as a multiple of its bytes, while it is read and compiled: 1.2 to 2.8 measured.
pub const MODEL_FACTOR: u64 = 4;
/// The same where XGBoost holds it besides: up to 5.2 measured, of models that train writes.
pub const XGBOOST_FACTOR: u64 = 12;

/// The model of how wide intervals are, in a run's folder.
pub const SCALE: &str = "scale.ubj";

/// A model whose bytes are what its run published.
#[derive(Debug, Clone)]
pub struct LoadedModel {
    /// Which run it is.
    pub run: ModelRun,
    /// Its `metadata.json`.
    pub metadata: Metadata,
    /// Its `model.ubj`, verified against the metadata's SHA-256.
    pub model: Bytes,
    /// The R² it was published with.
    pub r2: Option<f64>,
    /// SHA-256 of its `metadata.json`.
    pub metadata_sha256: String,
    /// What its metadata takes in memory, about.
    pub metadata_memory: u64,
}

/// What is needed of a run's `result.json`.
#[derive(Debug, Deserialize)]
struct RunResult {
    #[serde(default)]
    gate: Option<String>,
    #[serde(default)]
    r2: Option<f64>,
    #[serde(default)]
    metadata_sha256: Option<String>,
    /// SHA-256 of each file of the run, by name; none in results of old releases.
    #[serde(default)]
    files: BTreeMap<String, String>,
    #[serde(default)]
    error_message: Option<String>,
}

/// Finds which run a selector means. `Ok(None)` where nothing was ever published under that name.
///
/// # Errors
/// [`Error::Model`] where a pointer is damaged; storage errors as they are.
pub async fn resolve(models: &ModelStore, selector: &Selector) -> Result<Option<ModelRun>> {
    let key = match selector {
        Selector::Run(run) => return Ok(Some(run.clone())),
        Selector::Latest => models.latest_key(),
        Selector::Label(version) => models.label_key(version),
    };
    match Pointer::read(models, &key).await? {
        Some((pointer, _)) => ModelRun::from_path(&pointer.path).map(Some),
        None => Ok(None),
    }
}

/// The error of a selector that means no run yet.
#[must_use]
pub fn unpublished(models: &ModelStore, selector: &Selector) -> Error {
    Error::Model(format!(
        "{}: no model is published as \"{selector}\": train one, or see `train models list`",
        models.location_of(models.name())
    ))
}

/// Resolves and loads a model.
///
/// # Errors
/// [`Error::Model`] where there is none, its gate did not pass or its bytes are not what was published.
pub async fn load(models: &ModelStore, selector: &Selector) -> Result<LoadedModel> {
    let run = resolve(models, selector).await?.ok_or_else(|| unpublished(models, selector))?;
    load_selected(models, selector, run).await
}

/// Loads the model of the run that `selector` was [resolved](resolve) to.
///
/// # Errors
/// As [`load`].
pub async fn load_selected(models: &ModelStore, selector: &Selector, run: ModelRun) -> Result<LoadedModel> {
    let loaded = load_run(models, run).await?;
    check_pointer(models, selector, &loaded).await?;
    Ok(loaded)
}

/// Refuses a model that is not the one that its pointer was moved with, by the SHA-256 of its file and of its metadata.
async fn check_pointer(models: &ModelStore, selector: &Selector, loaded: &LoadedModel) -> Result<()> {
    let run = &loaded.run;
    let key = match selector {
        Selector::Run(_) => return Ok(()),
        Selector::Latest => models.latest_key(),
        Selector::Label(version) => models.label_key(version),
    };
    // It may have moved meanwhile, and names another run then.
    let pointer = Pointer::read(models, &key).await?.map(|(pointer, _)| pointer);
    // Pointers of old releases do not have the second.
    let is_same = |pointer: &Pointer| {
        let metadata = pointer.metadata_sha256.as_ref();
        pointer.sha256 == loaded.metadata.model_sha256
            && metadata.is_none_or(|sha256| *sha256 == loaded.metadata_sha256)
    };
    if pointer.is_none_or(|pointer| pointer.path != run.path() || is_same(&pointer)) {
        return Ok(());
    }
    Err(Error::Model(format!(
        "{} names another model than {} holds (their SHA-256 differ): promote another model or train again",
        models.location_of(&key),
        models.location_of(&models.key(&run.path()))
    )))
}

/// Loads just this run's model.
///
/// # Errors
/// As [`load`].
async fn load_run(models: &ModelStore, run: ModelRun) -> Result<LoadedModel> {
    let result = read_result(models, &run).await?;
    let model_key = models.run_key(&run, "model.ubj");
    // Side by side: parsing a hundred thousand levels takes as long as reading and hashing the trees that ask for them.
    let (described, model) = join(describe(models, &run, result), read_hashed(models, &model_key)).await;
    let Described { metadata, metadata_sha256, metadata_memory, r2, model_sha256 } = described?;
    let (model, sha256) = model?;
    if sha256 != metadata.model_sha256 || model_sha256 != metadata.model_sha256 {
        return Err(altered(&models.location_of(&model_key)));
    }
    Ok(LoadedModel { run, metadata, model, r2, metadata_sha256, metadata_memory })
}

/// The bytes of a model, and their SHA-256.
async fn read_hashed(models: &ModelStore, key: &str) -> Result<(Bytes, String)> {
    let model = get(models, key, u64::MAX, MODEL_FACTOR).await?;
    let hashed = model.clone();
    let sha256 = blocking(move || sha256_hex(&hashed)).await?;
    Ok((model, sha256))
}

/// The bytes of a model's `scale.ubj`, verified against the metadata's SHA-256; none where it has no intervals.
///
/// # Errors
/// [`Error::Model`] where it is missing or not what was published; storage errors as they are.
pub async fn load_scale(models: &ModelStore, run: &ModelRun, metadata: &Metadata) -> Result<Option<Bytes>> {
    let Some(intervals) = &metadata.intervals else { return Ok(None) };
    let key = models.run_key(run, SCALE);
    let scale = get(models, &key, u64::MAX, MODEL_FACTOR).await?;
    if sha256_hex(&scale) == intervals.scale_sha256 { Ok(Some(scale)) } else { Err(altered(&models.location_of(&key))) }
}

/// What a published run says of its model.
#[derive(Debug, Clone)]
pub struct Described {
    /// Its `metadata.json`, verified against the result's SHA-256.
    pub metadata: Metadata,
    /// SHA-256 of its `metadata.json`.
    pub metadata_sha256: String,
    /// What its metadata takes in memory, about.
    pub metadata_memory: u64,
    /// The R² it was published with.
    pub r2: Option<f64>,
    /// SHA-256 of its `model.ubj`, as its result has it.
    pub model_sha256: String,
}

/// Reads what a run says of its model, without the model.
///
/// # Errors
/// As [`load`].
pub async fn describe_run(models: &ModelStore, run: &ModelRun) -> Result<Described> {
    describe(models, run, read_result(models, run).await?).await
}

/// What a run of the given result says of its model.
async fn describe(models: &ModelStore, run: &ModelRun, result: RunResult) -> Result<Described> {
    let key = models.run_key(run, "metadata.json");
    let bytes = get(models, &key, MOST_METADATA_BYTES, METADATA_BYTE).await?;
    let values = bytes.iter().filter(|byte| matches!(byte, b',' | b'[' | b'{')).count() as u64;
    let metadata_memory = METADATA_BYTE * bytes.len() as u64 + METADATA_VALUE * values;
    if metadata_memory > models.memory_bytes() {
        return Err(too_large(&models.location_of(&key), metadata_memory, models.memory_bytes()));
    }
    let location = models.location_of(&key);
    let published = result.files.get("metadata.json").or(result.metadata_sha256.as_ref()).cloned();
    let verify_and_parse = move || {
        let metadata_sha256 = sha256_hex(&bytes);
        if published.is_some_and(|published| published != metadata_sha256) {
            return Err(altered(&location));
        }
        Ok((Metadata::from_json(&bytes, &location)?, metadata_sha256))
    };
    let (metadata, metadata_sha256) = blocking(verify_and_parse).await??;
    let model_sha256 = result.files.get("model.ubj").unwrap_or(&metadata.model_sha256).clone();
    Ok(Described { metadata, metadata_sha256, metadata_memory, r2: result.r2, model_sha256 })
}

/// A run without a result is not complete; one whose gate failed is for people to look at, not for scoring.
async fn read_result(models: &ModelStore, run: &ModelRun) -> Result<RunResult> {
    let key = models.run_key(run, "result.json");
    let location = models.location_of(&key);
    let bytes = match models.store().get_at_most(&key, MOST_RESULT_BYTES).await {
        Ok((bytes, _)) => bytes,
        Err(StoreError::TooLarge(_)) => {
            return Err(Error::Model(format!("{location} is damaged: it is larger than a result can be")));
        }
        Err(StoreError::NotFound(_)) => {
            return Err(Error::Model(format!("there is no complete model {run}: {location} does not exist")));
        }
        Err(error) => return Err(error.into()),
    };
    let result: RunResult =
        serde_json::from_slice(&bytes).map_err(|error| Error::Model(format!("{location} is damaged: {error}")))?;
    match result.gate.as_deref() {
        Some("passed") => Ok(result),
        Some(_) => Err(Error::Model(format!(
            "model {run} was rejected by its gate and is never used to predict ({location}): name another one, or train again"
        ))),
        None => Err(Error::Model(format!(
            "there is no complete model {run}: its training failed ({})",
            result.error_message.unwrap_or_default()
        ))),
    }
}

/// A file of at most so many bytes, which takes `factor` times as much memory and must fit into what the process may use.
async fn get(models: &ModelStore, key: &str, most_bytes: u64, factor: u64) -> Result<Bytes> {
    let room = models.memory_bytes() / factor;
    match models.store().get_at_most(key, most_bytes.min(room)).await {
        Ok((bytes, _)) => Ok(bytes),
        Err(StoreError::TooLarge(_)) if room < most_bytes => {
            Err(too_large(&models.location_of(key), (room + 1).saturating_mul(factor), models.memory_bytes()))
        }
        Err(StoreError::TooLarge(text)) => Err(Error::Model(text)),
        Err(StoreError::NotFound(_)) => Err(Error::Model(format!(
            "{} is missing from its model: promote another model or train again",
            models.location_of(key)
        ))),
        Err(error) => Err(error.into()),
    }
}

/// That XGBoost can hold a model of so many bytes in the memory that there is.
///
/// # Errors
/// [`Error::Resources`] that says how much it takes.
pub fn check_fits_xgboost(location: &str, model_bytes: u64, memory_bytes: u64) -> Result<()> {
    let memory = model_bytes.saturating_mul(XGBOOST_FACTOR);
    if memory > memory_bytes { Err(too_large(location, memory, memory_bytes)) } else { Ok(()) }
}

fn too_large(location: &str, memory: u64, memory_bytes: u64) -> Error {
    Error::Resources(format!(
        "{location} takes at least {} MiB of memory, but there are {} MiB in all: give the task more memory, or train with fewer levels \
         (max_levels) or rounds",
        memory.div_ceil(1 << 20),
        memory_bytes >> 20
    ))
}

fn altered(location: &str) -> Error {
    Error::Model(format!(
        "{location} is not what was published (its SHA-256 differs): promote another model or train again"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_that_xgboost_cannot_hold_says_what_it_takes() {
        assert!(check_fits_xgboost("m/model.ubj", 10 << 20, 120 << 20).is_ok());
        let error = check_fits_xgboost("m/model.ubj", 10 << 20, 119 << 20).unwrap_err();
        assert_eq!(error.exit_code(), 8);
        let text = error.to_string();
        assert!(text.contains("m/model.ubj takes at least 120 MiB of memory, but there are 119 MiB"), "{text}");
    }
}
