//! Step 2: the model, verified byte by byte and by its golden rows.

use std::sync::{Arc, Mutex};

use columns::ColumnKind;
use error::{Error, Result};
use features::encode::{Encoder, Feature};
use features::quality::{FeatureTally, Statistics};
use registry::{LoadedModel, Metadata, ModelRun, ModelStore, Selector, load_selected};
use scoring::{CheckedModel, Ensemble, InstructionSet, QuantizedBlock, Scorer};
use xgboost::{Booster, Column};

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
    pub engine: Engine,
    /// Bytes of its file.
    pub bytes: u64,
    /// What its metadata takes in memory, about.
    pub metadata_memory: u64,
    statistics: Vec<Arc<Statistics>>,
}

impl Model {
    /// Loads the model of the run that `selector` was resolved to; its trees are compiled for `instructions`, or for the fastest that the machine has.
    ///
    /// # Errors
    /// [`Error::Model`] where it is missing, rejected, damaged or predicts its golden rows otherwise here than where it
    /// was trained.
    pub async fn load(
        models: &ModelStore,
        selector: &Selector,
        run: ModelRun,
        instructions: Option<InstructionSet>,
    ) -> Result<Self> {
        let LoadedModel { run, metadata, model, metadata_memory, .. } = load_selected(models, selector, run).await?;
        let location = models.location_of(&models.key(&run.path()));
        let instructions = instructions.unwrap_or_else(InstructionSet::best);
        let engine = Engine::load(&model, &metadata, &location, instructions)?;
        let encoder = metadata.encoder()?;
        let statistics = metadata.statistics.iter().cloned().map(Arc::new).collect();
        Ok(Self { run, metadata, encoder, engine, bytes: model.len() as u64, metadata_memory, statistics })
    }

    /// Input columns that scoring reads, and those to `carry` over, each once.
    #[must_use]
    pub fn input_columns(&self, carry: &[String]) -> Vec<String> {
        let mut names = vec![self.metadata.id.clone()];
        names.extend(self.encoder.input_columns());
        names.extend_from_slice(carry);
        let mut seen = std::collections::HashSet::new();
        names.retain(|name| seen.insert(name.clone()));
        names
    }

    /// What a column held in training, where a feature is made from it.
    #[must_use]
    pub fn learnt_kind(&self, column: &str) -> Option<ColumnKind> {
        let features = self.metadata.features.iter();
        features.flat_map(Feature::input_columns).find(|(name, _)| *name == column).map(|(_, kind)| kind)
    }

    /// Tallies with nothing counted yet, one per feature.
    #[must_use]
    pub fn new_tallies(&self) -> Vec<FeatureTally> {
        self.statistics.iter().map(|statistics| FeatureTally::new(Some(Arc::clone(statistics)))).collect()
    }
}

/// What turns encoded rows into predictions, the same bits either way.
#[derive(Debug)]
pub enum Engine {
    /// The compiled trees.
    Compiled(Box<Compiled>),
    /// XGBoost itself, for models that the compiler does not cover.
    Xgboost(Booster),
}

/// Compiled trees, and blocks of memory that batches take turns with.
#[derive(Debug)]
pub struct Compiled {
    /// The trees.
    pub scorer: Scorer,
    blocks: Mutex<Vec<QuantizedBlock>>,
}

impl Compiled {
    /// A block for at least `rows` rows, used before where there is one.
    #[must_use]
    pub fn take_block(&self, rows: usize) -> QuantizedBlock {
        let free = self.blocks.lock().map(|mut blocks| blocks.pop()).unwrap_or_default();
        free.filter(|block| block.rows() >= rows).unwrap_or_else(|| self.scorer.new_block(rows))
    }

    /// Gives a block back.
    pub fn return_block(&self, block: QuantizedBlock) {
        if let Ok(mut blocks) = self.blocks.lock() {
            blocks.push(block);
        }
    }
}

impl Engine {
    /// Checks the model's bytes, compiles them and has every engine that could be used score the golden rows.
    fn load(model: &[u8], metadata: &Metadata, location: &str, instructions: InstructionSet) -> Result<Self> {
        let checked = CheckedModel::check(model)
            .map_err(|problem| Error::Model(format!("{location}/model.ubj: {problem}; train again")))?;
        xgboost::check_version()?;
        let mut booster = Booster::load(&checked)
            .map_err(|error| Error::Model(format!("{location}/model.ubj cannot be loaded: {error}")))?;
        // Batches are scored side by side, each on one thread.
        booster.set_threads(1)?;
        let columns = metadata.golden.columns();
        let slices: Vec<&[f32]> = columns.iter().map(Vec::as_slice).collect();
        let golden: Vec<Column<'_>> = slices.iter().map(|column| Column::from(*column)).collect();
        let by_xgboost = booster
            .predict_columns(&golden, 0..0)
            .map_err(|error| Error::Model(format!("{location}: the golden rows cannot be scored: {error}")))?;
        check_golden_rows(&by_xgboost, metadata, location)?;
        let compile = |trees: Ensemble| Scorer::compile_for(&trees, instructions).map_err(|error| error.to_string());
        let scorer = match checked.into_ensemble().map_err(|error| error.to_string()).and_then(compile) {
            Ok(scorer) if scorer.n_features() == slices.len() => scorer,
            Ok(_) => return Err(Error::Model(format!("{location}/model.ubj does not fit its metadata; train again"))),
            Err(reason) => {
                tracing::warn!("{reason}: scoring with XGBoost itself, which takes several times as long");
                return Ok(Self::Xgboost(booster));
            }
        };
        let mut by_us = vec![0.0; metadata.golden.rows.len()];
        scorer.predict(&slices, &mut by_us);
        check_golden_rows(&by_us, metadata, location)?;
        tracing::debug!(instructions = ?scorer.instruction_set(), "trees compiled");
        Ok(Self::Compiled(Box::new(Compiled { scorer, blocks: Mutex::default() })))
    }
}

fn check_golden_rows(predictions: &[f32], metadata: &Metadata, location: &str) -> Result<()> {
    let differs = |(here, there): (&f32, &f32)| here.to_bits() != there.to_bits();
    let Some(row) = predictions.iter().zip(&metadata.golden.predictions).position(differs) else { return Ok(()) };
    Err(Error::Model(format!(
        "{location}: golden row {row} is predicted as {} here and was {} when the model was trained: this machine or \
         library computes otherwise, so nothing is scored with it",
        predictions[row], metadata.golden.predictions[row]
    )))
}
