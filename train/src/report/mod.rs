//! What a run writes down about its model: metadata for programs, metrics for both, and a page for people.
//!
//! The page is made after the gate has judged and before anything is published, so that a model that was rejected has the
//! same page as one that was not. Names and values of the data are hostile here: they reach HTML only through
//! `page::Html`, which escapes them, and never reach a chart.

mod charts;
mod drift;
mod errors;
mod importance;
mod metadata;
mod metrics;
mod page;
mod validation;

use error::Result;
use machine::Limits;
use machine::threads::on_own_thread;
use registry::{Metadata, ModelStore};

pub use self::drift::{Drift, FeatureDrift};
pub use self::importance::{FeatureImportance, Importance};
pub use self::metadata::{ModelParts, metadata};
pub use self::metrics::metrics;
use crate::config::TrainConfig;
use crate::dependence::Estimate;
use crate::evaluate::Evaluation;
use crate::fit::Fitted;
use crate::gate::Judgement;
use crate::plan::TrainPlan;
use crate::read::TrainingData;

/// What is found out for people alone, after the gate has judged.
#[derive(Debug)]
pub struct Findings {
    /// What the model looks at.
    pub importance: Importance,
    /// How far the training rows have moved since the current latest model; none where there is no such model.
    pub drift: Option<Drift>,
}

/// All that there is to tell of a run.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// What was asked for.
    pub config: &'a TrainConfig,
    /// What the run may use.
    pub limits: &'a Limits,
    /// The same as the plan has it.
    pub plan: &'a TrainPlan,
    /// What the model is.
    pub metadata: &'a Metadata,
    /// The rows.
    pub data: &'a TrainingData,
    /// How it was fitted.
    pub fitted: &'a Fitted,
    /// Predictions and scores of the held-out rows.
    pub evaluation: &'a Evaluation,
    /// The verdict.
    pub judgement: &'a Judgement,
    /// `DataQualityScore`.
    pub quality: f64,
    /// What speaks against the data.
    pub warnings: &'a [String],
    /// Importance and drift.
    pub findings: &'a Findings,
    /// Whether R² on random rows flatters.
    pub estimate: Option<&'a Estimate>,
}

/// Explains the model on held-out rows and compares its training rows with the current latest model's.
///
/// # Errors
/// Storage errors as they are; [`error::Error::Defect`] where XGBoost cannot explain its model.
pub async fn findings(models: &ModelStore, metadata: &Metadata, parts: &ModelParts<'_>) -> Result<Findings> {
    let explain = || importance::explain(parts);
    let importance = tokio::task::block_in_place(|| on_own_thread(explain))?;
    let drift = drift::against_latest(models, metadata).await?;
    Ok(Findings { importance, drift })
}

/// `report.html`: one file, without a script, a font or a picture from elsewhere.
///
/// # Errors
/// [`error::Error::Defect`] where a chart cannot be drawn.
pub fn html(subject: &Subject<'_>) -> Result<String> {
    page::page(subject)
}
