//! Step 2: the model, verified byte by byte and by its golden rows.

use std::sync::{Arc, Mutex};

use columns::ColumnKind;
use error::{Error, Result};
use features::encode::{Encoder, Feature};
use features::quality::{FeatureTally, Statistics};
use machine::Limits;
use machine::threads::side_by_side;
use registry::load::check_fits_xgboost;
use registry::{LoadedModel, Metadata, ModelRun, ModelStore, Selector, load_scale, load_selected};
use scoring::{CheckedModel, Ensemble, ExplainScratch, Explainer, InstructionSet, QuantizedBlock, Reason, Scorer};
use xgboost::{Batch, Booster, Column, DMatrix, PredictionKind};

use crate::interval::{self, IntervalModel};
use crate::settings::{Instructions, Settings};
use crate::sources::Sources;

/// What a model is loaded for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// What its trees are compiled for; none: the fastest that the machine has.
    pub instructions: Option<InstructionSet>,
    /// Whether predictions are explained too.
    pub reasons: bool,
    /// The level of the intervals that are asked for.
    pub interval: Option<f64>,
    /// What the container may use.
    pub memory_bytes: u64,
    /// Threads of the run.
    pub threads: usize,
}

impl Wanted {
    /// What the settings ask for.
    #[must_use]
    pub fn by(settings: &Settings, limits: &Limits) -> Self {
        Self {
            instructions: settings.instructions.map(Instructions::set),
            reasons: settings.reasons > 0,
            interval: settings.interval,
            memory_bytes: limits.memory_bytes.value,
            threads: limits.threads.value,
        }
    }
}

/// The scale model, where intervals are asked for.
async fn load_interval(
    models: &ModelStore,
    run: &ModelRun,
    metadata: &Metadata,
    wanted: &Wanted,
) -> Result<Option<IntervalModel>> {
    let Some(level) = wanted.interval else { return Ok(None) };
    let location = models.location_of(&models.key(&run.path()));
    interval::check_level(metadata, &location, level)?;
    let scale = load_scale(models, run, metadata).await?.unwrap_or_default();
    let asked = interval::Asked { level, instructions: wanted.instructions };
    IntervalModel::load(&scale, metadata, &location, asked).map(Some)
}

/// The names, each once, in the order in which they come first.
#[must_use]
pub fn once_each(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    names.into_iter().filter(|name| seen.insert(name.clone())).collect()
}

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
    /// What makes intervals, where they are asked for.
    pub interval: Option<IntervalModel>,
    /// Bytes of its file.
    pub bytes: u64,
    /// What its metadata takes in memory, about.
    pub metadata_memory: u64,
    /// R² on its held-out rows, with which it was published.
    pub r2: Option<f64>,
    statistics: Vec<Arc<Statistics>>,
}

impl Model {
    /// Loads the model of the run that `selector` was resolved to.
    ///
    /// # Errors
    /// [`Error::Model`] where it is missing, rejected, damaged or predicts its golden rows otherwise here than where it
    /// was trained, or where its predictions cannot be explained or have no intervals, and shall be or have.
    pub async fn load(models: &ModelStore, selector: &Selector, run: ModelRun, wanted: &Wanted) -> Result<Self> {
        let LoadedModel { run, metadata, model, metadata_memory, r2, .. } =
            load_selected(models, selector, run).await?;
        let location = models.location_of(&models.key(&run.path()));
        let interval = load_interval(models, &run, &metadata, wanted).await?;
        let load = || Engine::load(&model, &metadata, &location, wanted);
        let (engine, encoder) = side_by_side(wanted.threads, load, || metadata.encoder());
        let (engine, encoder) = (engine?, encoder?);
        let statistics = metadata.statistics.iter().cloned().map(Arc::new).collect();
        let bytes = model.len() as u64;
        Ok(Self { run, metadata, encoder, engine, interval, bytes, metadata_memory, r2, statistics })
    }

    /// Input columns that scoring reads, and those to `carry` over, each once.
    #[must_use]
    pub fn input_columns(&self, carry: &[String]) -> Vec<String> {
        let mut names = vec![self.metadata.id.clone()];
        names.extend(self.encoder.input_columns());
        names.extend_from_slice(carry);
        once_each(names)
    }

    /// Columns by whose values it was judged slice by slice.
    pub fn slice_columns(&self) -> impl Iterator<Item = String> {
        self.metadata.slices.iter().map(|slice| slice.column.clone())
    }

    /// Its features, in the order of the matrix.
    pub fn features(&self) -> impl Iterator<Item = &Feature> {
        self.metadata.features.iter()
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
    /// What explains them, where that is asked for.
    pub explainer: Option<Explainer>,
    blocks: Mutex<Vec<QuantizedBlock>>,
    scratches: Mutex<Vec<ExplainScratch>>,
}

impl Compiled {
    /// Compiles the trees, and what explains them where that is wanted; the inner error says why only XGBoost can score the model.
    fn compile(
        checked: &CheckedModel<'_>,
        golden: &[&[f32]],
        metadata: &Metadata,
        location: &str,
        wanted: &Wanted,
    ) -> Result<std::result::Result<Self, String>> {
        let trees = match checked.ensemble() {
            Ok(trees) => trees,
            Err(problem) if wanted.reasons => return Err(inexplicable(location, &problem.to_string())),
            Err(problem) => return Ok(Err(problem.to_string())),
        };
        let instructions = wanted.instructions.unwrap_or_else(InstructionSet::best);
        let scorer = match Scorer::compile_by(wanted.threads, trees, instructions) {
            Ok(scorer) if scorer.n_features() == golden.len() => scorer,
            Ok(_) => return Err(Error::Model(format!("{location}/model.ubj does not fit its metadata; train again"))),
            Err(problem) => return Ok(Err(problem.to_string())),
        };
        let explainer = match wanted.reasons.then(|| explainer(trees, &scorer, metadata, wanted)).transpose()? {
            None => None,
            Some(Ok(explainer)) => Some(explainer),
            Some(Err(problem)) => return Ok(Err(problem)),
        };
        let mut predictions = vec![0.0; metadata.golden.rows.len()];
        scorer.predict(golden, &mut predictions);
        check_golden_rows(&predictions, metadata, location)?;
        tracing::debug!(instructions = ?scorer.instruction_set(), "trees compiled");
        if let Some(explainer) = &explainer {
            let (instructions, points) = (scorer.instruction_set(), explainer.points());
            tracing::info!(?instructions, points, "reasons by {} KiB of tables", explainer.table_bytes() / 1024);
        }
        Ok(Ok(Self { scorer, explainer, blocks: Mutex::default(), scratches: Mutex::default() }))
    }

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

    /// The `count` largest contributions to each of the first `n_rows` rows of a block.
    #[must_use]
    pub fn explain(&self, block: &QuantizedBlock, n_rows: usize, count: usize) -> Vec<Reason> {
        let mut reasons = vec![Reason::NONE; n_rows * count];
        if let Some(explainer) = &self.explainer {
            let free = self.scratches.lock().map(|mut scratches| scratches.pop()).unwrap_or_default();
            let mut scratch = free.unwrap_or_else(|| explainer.new_scratch());
            explainer.explain(&self.scorer, block, n_rows, &mut scratch, &mut reasons);
            if let Ok(mut scratches) = self.scratches.lock() {
                scratches.push(scratch);
            }
        }
        reasons
    }
}

impl Engine {
    /// Checks the model's bytes, compiles them and has what will score score the golden rows. XGBoost reads the model only where the
    /// compiler does not cover it: of a large one that takes as long as compiling, and a third more memory.
    fn load(model: &[u8], metadata: &Metadata, location: &str, wanted: &Wanted) -> Result<Self> {
        let checked = CheckedModel::check_by(wanted.threads, model)
            .map_err(|problem| Error::Model(format!("{location}/model.ubj: {problem}; train again")))?;
        xgboost::check_version()?;
        let columns = metadata.golden.columns();
        let golden: Vec<&[f32]> = columns.iter().map(Vec::as_slice).collect();
        let reason = match Compiled::compile(&checked, &golden, metadata, location, wanted)? {
            Ok(compiled) => return Ok(Self::Compiled(Box::new(compiled))),
            Err(reason) => reason,
        };
        tracing::warn!("{reason}: scoring with XGBoost itself, which takes several times as long");
        if wanted.reasons {
            tracing::warn!("reasons come from XGBoost too, which takes about a hundred times as long");
        }
        check_fits_xgboost(&format!("{location}/model.ubj"), model.len() as u64, wanted.memory_bytes)?;
        Self::load_booster(&checked, &golden, metadata, location).map(Self::Xgboost)
    }

    /// The model in XGBoost, which scores the golden rows as it did when it was trained.
    fn load_booster(
        checked: &CheckedModel<'_>,
        golden: &[&[f32]],
        metadata: &Metadata,
        location: &str,
    ) -> Result<Booster> {
        let mut booster = Booster::load(checked)
            .map_err(|error| Error::Model(format!("{location}/model.ubj cannot be loaded: {error}")))?;
        // Batches are scored side by side, each on one thread.
        booster.set_threads(1)?;
        let golden: Vec<Column<'_>> = golden.iter().map(|column| Column::from(*column)).collect();
        let by_xgboost = booster
            .predict_columns(&golden, 0..0)
            .map_err(|error| Error::Model(format!("{location}: the golden rows cannot be scored: {error}")))?;
        check_golden_rows(&by_xgboost, metadata, location)?;
        Ok(booster)
    }

    /// What computes predictions and reasons.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Compiled(compiled) => format!("{:?}", compiled.scorer.instruction_set()).to_lowercase(),
            Self::Xgboost(_) => "xgboost".to_owned(),
        }
    }

    /// The bytes that explaining takes on so many threads.
    #[must_use]
    pub fn explaining_bytes(&self, threads: usize) -> u64 {
        match self {
            Self::Compiled(compiled) => compiled
                .explainer
                .as_ref()
                .map_or(0, |explainer| (explainer.table_bytes() + threads * explainer.scratch_bytes()) as u64),
            Self::Xgboost(_) => 0,
        }
    }
}

/// The tables that explain trees; the inner error says why only XGBoost can.
fn explainer(
    trees: &Ensemble,
    scorer: &Scorer,
    metadata: &Metadata,
    wanted: &Wanted,
) -> Result<std::result::Result<Explainer, String>> {
    let sources = Sources::of(metadata.features.iter());
    let [tables, scratch] = Explainer::bytes_needed(trees, scorer, sources.names.len());
    if tables + scratch > wanted.memory_bytes / 2 {
        return Err(Error::Resources(format!(
            "reasons of this model take up to {} MiB of memory, but there are {} MiB for all: give the task twice as much as \
             that, or leave out --reasons (REASONS)",
            (tables + scratch) >> 20,
            wanted.memory_bytes >> 20
        )));
    }
    Ok(Explainer::new(trees, scorer, &sources.of_feature).map_err(|problem| problem.to_string()))
}

fn inexplicable(location: &str, why: &str) -> Error {
    Error::Model(format!(
        "{location}/model.ubj: its predictions cannot be explained ({why}): train a model of the booster gbtree with one output, \
         or leave out --reasons (REASONS)"
    ))
}

/// The `count` largest contributions to each row by XGBoost itself.
///
/// # Errors
/// [`Error::Model`] where XGBoost refuses.
pub fn explain_by_xgboost(
    booster: &Booster,
    matrix: &[Column<'_>],
    features: &[xgboost::Feature],
    sources: &Sources,
    count: usize,
) -> Result<Vec<Reason>> {
    if matrix.first().is_none_or(|column| column.values.is_empty()) {
        return Ok(Vec::new());
    }
    let batch = Batch { columns: matrix.to_vec(), ..Batch::default() };
    let matrix = DMatrix::plain(features, &batch, 1)?;
    let contributions = booster.predict_matrix(&matrix, PredictionKind::Contributions, 0..0)?;
    let mut reasons = Vec::new();
    for row in contributions.chunks(sources.of_feature.len() + 1) {
        let mut by_source: Vec<Reason> =
            (0..sources.names.len() as u32).map(|source| Reason { source, contribution: 0.0 }).collect();
        for (source, contribution) in sources.of_feature.iter().zip(row) {
            by_source[*source as usize].contribution += contribution;
        }
        by_source.sort_by(|one, other| other.contribution.abs().total_cmp(&one.contribution.abs()));
        by_source.resize(count, Reason::NONE);
        reasons.append(&mut by_source);
    }
    Ok(reasons)
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
