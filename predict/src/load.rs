//! Step 1: the model, verified byte by byte and by its golden rows.

use std::sync::Arc;

use common::features::encode::Encoder;
use common::features::quality::{FeatureTally, Statistics};
use common::registry::{LoadedModel, Metadata, ModelRun, ModelStore, load_run};
use common::xgboost::{Booster, Column};
use common::{Error, Result};

/// A model that is fit to score.
#[derive(Debug)]
pub struct Model {
    /// Which run trained it.
    pub run: ModelRun,
    /// What it is.
    pub metadata: Metadata,
    /// Its features, ready to encode.
    pub encoder: Encoder,
    /// Its trees.
    pub booster: Booster,
    statistics: Vec<Arc<Statistics>>,
}

impl Model {
    /// Loads the model of a run.
    ///
    /// # Errors
    /// [`Error::Model`] where it is missing, rejected, damaged or predicts its golden rows otherwise here than where it
    /// was trained.
    pub async fn load(models: &ModelStore, run: ModelRun) -> Result<Self> {
        let LoadedModel { run, metadata, model, .. } = load_run(models, run).await?;
        let location = models.location_of(&models.key(&run.path()));
        common::xgboost::check_version()?;
        let mut booster = Booster::load(&model)
            .map_err(|error| Error::Model(format!("{location}/model.ubj cannot be loaded: {error}")))?;
        // Batches are scored side by side, each on one thread.
        booster.set_threads(1)?;
        check_golden_rows(&booster, &metadata, &location)?;
        let encoder = Encoder::bind(&metadata.features, &metadata.spec.ranges)?;
        let statistics = metadata.statistics.iter().cloned().map(Arc::new).collect();
        Ok(Self { run, metadata, encoder, booster, statistics })
    }

    /// Tallies with nothing counted yet, one per feature.
    #[must_use]
    pub fn new_tallies(&self) -> Vec<FeatureTally> {
        self.statistics.iter().map(|statistics| FeatureTally::new(Some(Arc::clone(statistics)))).collect()
    }
}

fn check_golden_rows(booster: &Booster, metadata: &Metadata, location: &str) -> Result<()> {
    let columns = metadata.golden.columns();
    let columns: Vec<Column<'_>> = columns.iter().map(|column| Column::from(column.as_slice())).collect();
    let predictions = booster
        .predict_columns(&columns, 0..0)
        .map_err(|error| Error::Model(format!("{location}: the golden rows cannot be scored: {error}")))?;
    let differs = |(here, there): (&f32, &f32)| here.to_bits() != there.to_bits();
    let Some(row) = predictions.iter().zip(&metadata.golden.predictions).position(differs) else { return Ok(()) };
    Err(Error::Model(format!(
        "{location}: golden row {row} is predicted as {} here and was {} when the model was trained: this machine or \
         library computes otherwise, so nothing is scored with it",
        predictions[row], metadata.golden.predictions[row]
    )))
}
