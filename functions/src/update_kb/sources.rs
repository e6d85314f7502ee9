//! What the documents are made from: the checks, the model's files and the groups of the results.

use registry::{Metadata, ModelRun};
use serde::Deserialize;
use serde_json::Value;
use storage::StoreError;

use super::groups::{self, Group};
use crate::context::Invocation;
use crate::create_qa_table::{History, QaReport, RunFigures, report_key};
use crate::failure::{Failure, Result};
use crate::objects;

/// Everything that the documents tell of.
#[derive(Debug)]
pub(super) struct Sources {
    pub(super) environment: String,
    /// The run's figures.
    pub(super) run: RunFigures,
    /// Its checks.
    pub(super) report: QaReport,
    /// The newest runs, oldest first.
    pub(super) history: History,
    /// The model that the customers were scored with.
    pub(super) metadata: Metadata,
    /// Its figures on held-out rows.
    pub(super) metrics: Value,
    /// Features and their shares of the gain, the strongest first.
    pub(super) importance: Vec<(String, f64)>,
    /// Groups of customers.
    pub(super) groups: Vec<Group>,
}

/// What is read of the manifest of the results.
#[derive(Deserialize)]
struct Results {
    columns: Vec<(String, String)>,
}

impl Sources {
    pub(super) async fn read(invocation: &Invocation<'_>) -> Result<Self> {
        let (store, run_id) = (invocation.bucket.as_ref(), &invocation.event.run_id);
        let needed =
            |key: &str| Failure::settings(format!("{}/{key} does not exist: the run is not complete", store.root()));
        let key = report_key(run_id);
        let report: QaReport = objects::read(store, &key).await?.ok_or_else(|| needed(&key))?;
        let key = format!("results/run_id={run_id}/_manifest.json");
        let results: Results = objects::read(store, &key).await?.ok_or_else(|| needed(&key))?;
        let known: Vec<String> = results.columns.into_iter().map(|(name, _)| name).collect();
        let run = report.figures();
        let (metadata, metrics) = read_model(invocation, &run).await?;
        let importance = importance(&metrics);
        let columns = groups::columns(invocation, &metadata, &importance, &known)?;
        let groups = groups::read(invocation, &columns).await?;
        let mut history = History::read(store).await?;
        // What came after this run is not told of, so that a repeated run tells the same.
        history.runs.retain(|known| known.checked_at <= run.checked_at);
        let environment = invocation.event.environment.clone();
        Ok(Self { environment, run, report, history, metadata, metrics, importance, groups })
    }

    /// The groups of a column.
    pub(super) fn groups_of(&self, column: &str) -> impl Iterator<Item = &Group> {
        self.groups.iter().filter(move |group| group.column == column)
    }
}

async fn read_model(invocation: &Invocation<'_>, run: &RunFigures) -> Result<(Metadata, Value)> {
    let models = invocation.settings.models.open().await?;
    let model = ModelRun::from_path(&format!("{}/{}", run.model_version, run.model_run_id))?;
    let folder = format!("{}/{}", invocation.settings.model_name, model.path());
    let read = async |file: &str| {
        let key = format!("{folder}/{file}");
        match models.get_at_most(&key, objects::MOST_BYTES).await {
            Ok((bytes, _)) => Ok(bytes),
            Err(StoreError::NotFound(_)) => {
                Err(Failure::settings(format!("{}/{key} does not exist: look at MODELS and MODEL_NAME", models.root())))
            }
            Err(error) => Err(error.into()),
        }
    };
    let metadata =
        Metadata::from_json(&read("metadata.json").await?, &format!("{}/{folder}/metadata.json", models.root()))?;
    let metrics = serde_json::from_slice(&read("metrics.json").await?);
    let damaged = |error| Failure::settings(format!("{}/{folder}/metrics.json is damaged: {error}", models.root()));
    Ok((metadata, metrics.map_err(damaged)?))
}

/// The features by their share of the gain.
fn importance(metrics: &Value) -> Vec<(String, f64)> {
    let features = metrics["importance"]["features"].as_array();
    let one = |feature: &Value| Some((feature["feature"].as_str()?.to_owned(), feature["gain"].as_f64()?));
    let mut found: Vec<(String, f64)> = features.into_iter().flatten().filter_map(one).collect();
    found.sort_by(|one, other| other.1.total_cmp(&one.1));
    found
}
