//! Step 6: the run's folder is written whole, then the pointers move, as one transaction: until the last write the
//! store's readers see the model before this one.

use bytes::Bytes;
use error::{Error, Result};
use registry::{ModelRun, ModelStore, Pointer};
use serde::{Deserialize, Serialize};
use storage::{Condition, StoreError};
use telemetry::Outcome;

use crate::gate::{self, Verdict};
use crate::plan_memory::Reading;
use crate::run::Run;

/// Writers of a run's result that one write may lose to.
const ATTEMPTS: usize = 32;

/// A run's folder in the model store.
#[derive(Debug, Clone)]
pub struct RunFolder {
    models: ModelStore,
    run: ModelRun,
}

/// What a run was asked to do with which input; a repeated run id must be asked the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainPlan {
    /// Layout of this file.
    pub format_version: u32,
    /// Every setting that bears on the result.
    pub settings: serde_json::Value,
    /// SHA-256 over names, sizes and versions of the input's objects.
    pub objects_sha256: String,
    /// Threads that XGBoost sums with: another number would give other last bits.
    pub threads: usize,
    /// How rows are read: another way, or another sample, would give another model. A retry with more memory keeps it.
    #[serde(default)]
    pub reading: Reading,
}

/// Everything that a run's folder holds besides the result.
#[derive(Debug)]
pub struct ModelFiles {
    /// `model.ubj`
    pub model: Vec<u8>,
    /// `metadata.json`
    pub metadata: Vec<u8>,
    /// `metrics.json`
    pub metrics: Vec<u8>,
    /// `report.html`
    pub report: String,
}

impl RunFolder {
    /// The folder of `run`.
    #[must_use]
    pub fn new(models: ModelStore, run: ModelRun) -> Self {
        Self { models, run }
    }

    /// The store's models.
    #[must_use]
    pub fn models(&self) -> &ModelStore {
        &self.models
    }

    /// The run.
    #[must_use]
    pub fn run(&self) -> &ModelRun {
        &self.run
    }

    /// Where the folder lies.
    #[must_use]
    pub fn location(&self) -> String {
        self.models.location_of(&self.models.key(&self.run.path()))
    }

    /// The result of this run id, if it ran to its end before: it passed the gate or was rejected by it.
    ///
    /// # Errors
    /// Storage errors as they are.
    pub async fn finished(&self) -> Result<Option<Outcome>> {
        let Some(bytes) = self.get("result.json").await? else { return Ok(None) };
        let outcome = Outcome::from_json(&bytes)?;
        Ok(outcome.get("gate").is_some_and(serde_json::Value::is_string).then_some(outcome))
    }

    /// The plan that this run id began with, if it began before and its plan can be read.
    ///
    /// # Errors
    /// Storage errors as they are.
    pub async fn plan(&self) -> Result<Option<TrainPlan>> {
        let Some(bytes) = self.get("_checkpoint/plan.json").await? else { return Ok(None) };
        let plan = serde_json::from_slice(&bytes);
        if let Err(error) = &plan {
            tracing::warn!("{}/_checkpoint/plan.json is damaged, the run starts over: {error}", self.location());
        }
        Ok(plan.ok())
    }

    /// Writes down the plan, before any work is done on it.
    ///
    /// # Errors
    /// Storage errors as they are.
    pub async fn begin(&self, plan: &TrainPlan) -> Result<()> {
        self.put_json("_checkpoint/plan.json", plan).await
    }

    /// Writes the files of the model. Nothing points to them yet.
    ///
    /// # Errors
    /// Storage errors as they are.
    pub async fn write_files(&self, files: &ModelFiles) -> Result<()> {
        self.put("model.ubj", Bytes::copy_from_slice(&files.model)).await?;
        self.put("metadata.json", Bytes::copy_from_slice(&files.metadata)).await?;
        self.put("metrics.json", Bytes::copy_from_slice(&files.metrics)).await?;
        self.put("report.html", Bytes::copy_from_slice(files.report.as_bytes())).await
    }

    /// Writes the result: with it the folder is complete.
    ///
    /// # Errors
    /// Storage errors as they are.
    pub async fn write_result(&self, outcome: &Outcome) -> Result<()> {
        self.put("result.json", Bytes::from(format!("{}\n", outcome.json()))).await
    }

    /// Writes the result of a failed attempt, unless another attempt of the same run has completed it meanwhile.
    ///
    /// # Errors
    /// Storage errors as they are.
    pub async fn write_failure(&self, outcome: &Outcome) -> Result<()> {
        let key = self.models.run_key(&self.run, "result.json");
        let (store, content) = (self.models.store(), Bytes::from(format!("{}\n", outcome.json())));
        for _ in 0..ATTEMPTS {
            let condition = match store.head(&key).await? {
                Some(current) => Condition::Unchanged(current.version),
                None => Condition::Absent,
            };
            if self.finished().await?.is_some() {
                return Ok(());
            }
            match store.put_if(&key, content.clone(), &condition).await {
                Ok(_) => return Ok(()),
                Err(StoreError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Storage(format!("{} is written by others all the time", self.models.location_of(&key))))
    }

    /// Moves the label's pointer, then `latest`, to this run.
    ///
    /// # Errors
    /// Storage errors as they are.
    pub async fn move_pointers(&self, pointer: &Pointer) -> Result<()> {
        pointer.publish(&self.models, &self.models.label_key(&self.run.version)).await?;
        pointer.publish(&self.models, &self.models.latest_key()).await
    }

    /// Whether the run is still under way: its pointers may not have moved.
    ///
    /// # Errors
    /// Storage errors as they are.
    pub async fn is_under_way(&self) -> Result<bool> {
        let key = self.models.run_key(&self.run, "_checkpoint/plan.json");
        Ok(self.models.store().head(&key).await?.is_some())
    }

    /// Removes what was kept for a resume. The run is over.
    ///
    /// # Errors
    /// Storage errors as they are.
    pub async fn end(&self) -> Result<()> {
        let prefix = self.models.run_key(&self.run, "_checkpoint");
        let mut objects = self.models.store().list(&prefix).await?;
        // The plan last: while it stands, a repeated run id knows that there is something to finish.
        objects.sort_by_key(|object| object.key.ends_with("/plan.json"));
        for object in objects {
            self.models.store().delete(&object.key).await?;
        }
        Ok(())
    }

    /// The bytes of a file of the folder, if it is there.
    ///
    /// # Errors
    /// Storage errors as they are.
    pub async fn get(&self, file: &str) -> Result<Option<Bytes>> {
        match self.models.store().get(&self.models.run_key(&self.run, file)).await {
            Ok((bytes, _)) => Ok(Some(bytes)),
            Err(StoreError::NotFound(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes a file of the folder, whole.
    ///
    /// # Errors
    /// Storage errors as they are.
    pub async fn put(&self, file: &str, content: Bytes) -> Result<()> {
        self.models.store().put(&self.models.run_key(&self.run, file), content).await?;
        Ok(())
    }

    /// Writes a file of the folder that must not be there yet.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where it is.
    pub async fn put_first(&self, file: &str, content: Bytes) -> Result<(), StoreError> {
        let key = self.models.run_key(&self.run, file);
        self.models.store().put_if(&key, content, &Condition::Absent).await.map(drop)
    }

    async fn put_json(&self, file: &str, content: &impl Serialize) -> Result<()> {
        let json = serde_json::to_vec_pretty(content).map_err(|error| Error::Defect(format!("{file}: {error}")))?;
        self.put(file, json.into()).await
    }
}

/// The gate's word, and what follows from it. The result that is written here stands, whatever becomes of the pointers.
///
/// # Errors
/// Storage errors as they are.
pub async fn conclude(run: &Run, verdict: &Verdict) -> Result<Outcome> {
    let folder = &run.folder;
    if !verdict.passed {
        run.summary().set("gate", "failed");
        let outcome = run.summary().failed(&Error::Gate(gate::rejection(verdict, &folder.location())));
        folder.write_result(&outcome).await?;
        folder.end().await?;
        return Ok(outcome);
    }
    run.summary().set("gate", "passed");
    let outcome = run.summary().succeeded();
    folder.write_result(&outcome).await?;
    tracing::info!("the gate passed; publishing {}", folder.run());
    publish_pointers(folder, &outcome).await?;
    Ok(outcome)
}

/// Moves the pointers to a run whose result is `outcome`. The run is over.
///
/// # Errors
/// Storage errors as they are.
pub async fn publish_pointers(folder: &RunFolder, outcome: &Outcome) -> Result<()> {
    let text = |name: &str| outcome.get(name).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    let r2 = outcome.get("r2").and_then(serde_json::Value::as_f64);
    let pointer = Pointer::to(folder.run(), r2, &text("model_sha256"), Some(&text("metadata_sha256")));
    folder.move_pointers(&pointer).await?;
    folder.end().await
}
