//! Step 5: whether the model may be published.

use std::collections::BTreeMap;
use std::sync::Arc;

use columns::MemoryColumns;
use columns::text::canonical_text;
use error::text::without_control_characters;
use error::{Error, Result};
pub use evaluation::Verdict;
use evaluation::{Coverage, Evidence, Interval, MISSING_SLICE, Previous, SliceColumn, r2_interval, scores_by_slice};
use features::encode::{BadRows, Encoder};
use features::quality::FeatureTally;
use machine::threads::on_own_thread;
use ndarray::{Array2, ShapeBuilder};
use registry::load::check_fits_xgboost;
use registry::{LoadedModel, ModelRun, ModelStore, Selector, load_selected, resolve};
use scoring::CheckedModel;
use xgboost::Booster;

use crate::config::TrainConfig;
use crate::evaluate::{self, Evaluation};
use crate::out_of_core::{ModelForm, Reader};
use crate::read::{TrainingData, in_words};

/// Probability that the interval of R² states.
const INTERVAL_LEVEL: f64 = 0.95;
/// Most columns that a rejection names.
const NAMED_MOST: usize = 10;

/// What was judged and how.
#[derive(Debug)]
pub struct Judgement {
    /// Every check with its figures.
    pub verdict: Verdict,
    /// How sure R² is.
    pub interval: Option<Interval>,
    /// R² per slice of each `--slice` column.
    pub slices: Vec<SliceColumn>,
    /// For each of these columns how often intervals hold, by its values; empty where the model has no intervals.
    pub slice_coverage: Vec<BTreeMap<String, Coverage>>,
}

/// Refuses held-out rows on which no verdict can rest, before anything is trained.
///
/// # Errors
/// [`Error::Data`] where there are too few of them or their target is constant, [`Error::Data`] for an unknown slice.
pub fn check_test_rows(config: &TrainConfig, data: &TrainingData) -> Result<()> {
    let rows = data.test.len();
    let needed = config.gate.min_test_rows.max(2);
    if rows < needed {
        let left_out = match data.dropped_in_words() {
            words if words.is_empty() => words,
            words => format!("; of the {} rows read, {words}", data.rows_read()),
        };
        let by = match in_words(config) {
            by if by.is_empty() || config.test_data.is_some() => String::new(),
            by => format!("; rows are split {by}, which leaves {} rows out", data.split.neither),
        };
        return Err(Error::Data(format!(
            "{rows} held-out rows are too few to judge a model on: at least {needed} are needed (--min-test-rows){left_out}{by}; \
             give more rows, a larger --test-fraction (TEST_FRACTION) or --test-data (TEST_DATA)"
        )));
    }
    let counts = |place: &usize| data.test.weights.as_ref().is_none_or(|weights| weights[*place] > 0.0);
    let counting: Vec<f64> = (0..rows).filter(counts).map(|place| data.test.target[place]).collect();
    let Some(first) = counting.first() else {
        return Err(Error::Data(format!("all {rows} held-out rows have the weight 0: no R² can be computed on them")));
    };
    if counting.iter().all(|target| target == first) {
        return Err(Error::Data(format!(
            "the target \"{}\" is {first} in every held-out row: no R² can be computed on it",
            data.target
        )));
    }
    let table = &data.tables[data.test.table];
    for column in &config.slices {
        table.schema().require(column, &table.dataset().location)?;
    }
    Ok(())
}

/// What a model is judged with, besides its own predictions.
#[derive(Debug, Clone, Copy)]
pub struct Judge<'a> {
    /// What the run is asked to do.
    pub config: &'a TrainConfig,
    /// Where the current model lies.
    pub models: &'a ModelStore,
    /// The rows.
    pub data: &'a Arc<TrainingData>,
    /// What reads the held-out rows, where they are not in memory.
    pub reader: Option<&'a Reader<'a>>,
    /// Threads to read and encode with.
    pub threads: usize,
}

impl Judge<'_> {
    /// Judges the model by its held-out rows, by their slices and by the current model, as far as the settings ask.
    ///
    /// # Errors
    /// [`Error::Data`] where no verdict is possible; storage errors as they are.
    pub async fn judge(&self, evaluation: &Evaluation) -> Result<Judgement> {
        let (gate, test) = (&self.config.gate, &self.data.test);
        let (weights, seed) = (test.weights.as_deref(), u64::from(self.config.seed));
        let interval = r2_interval(&test.target, &evaluation.predictions, weights, INTERVAL_LEVEL, seed);
        let interval = interval.map_err(|error| Error::Data(format!("held-out rows: {error}")))?;
        let (slices, slice_coverage) = self.slices(evaluation).await?;
        let previous = match gate.max_r2_drop {
            Some(_) => self.current().await?,
            None => None,
        };
        let evidence = Evidence { scores: &evaluation.scores, interval, previous: previous.as_ref(), slices: &slices };
        let verdict = gate.judge(&evidence);
        Ok(Judgement { verdict, interval, slices, slice_coverage })
    }

    async fn slices(&self, evaluation: &Evaluation) -> Result<(Vec<SliceColumn>, Vec<BTreeMap<String, Coverage>>)> {
        let test = &self.data.test;
        let table = &self.data.tables[test.table];
        let (mut slices, mut coverage) = (Vec::with_capacity(self.config.slices.len()), Vec::new());
        for column in &self.config.slices {
            let values = table.columns(std::slice::from_ref(column), self.threads).await?;
            let levels = canonical_text(&values[0])?;
            let of_row = |&place: &u32| levels.get(place as usize).unwrap_or(MISSING_SLICE);
            let values: Vec<&str> = test.places.iter().map(of_row).collect();
            let weights = test.weights.as_deref();
            let scored = scores_by_slice(&test.target, &evaluation.predictions, weights, &values)
                .map_err(|error| Error::Defect(error.to_string()))?;
            slices.push(SliceColumn { column: column.clone(), slices: scored });
            coverage.extend(evaluation.intervals.as_ref().map(|intervals| intervals.by_value(&values, test)));
        }
        Ok((slices, coverage))
    }

    /// The current `latest` on the same held-out rows; none where nothing was published yet. One that is damaged, or that
    /// these rows do not fit, is named with the reason: it must not keep a model from being published that can be scored.
    async fn current(&self) -> Result<Option<Previous>> {
        let (model, r2) = match resolve(self.models, &Selector::Latest).await {
            Ok(None) => return Ok(None),
            Ok(Some(run)) => (run.to_string(), self.r2_of(run).await),
            Err(error) => (Selector::Latest.to_string(), Err(error)),
        };
        let r2 = match r2 {
            Ok(r2) => Ok(r2),
            // What a retry could mend is no property of the model.
            Err(error @ (Error::Storage(_) | Error::Access(_) | Error::Resources(_) | Error::Stopped(_))) => {
                return Err(error);
            }
            Err(error) => {
                tracing::warn!(
                    "--max-r2-drop (MAX_R2_DROP) is not checked, the current model {model} cannot be scored: {error}"
                );
                Err(error.to_string())
            }
        };
        Ok(Some(Previous { model, r2 }))
    }

    /// R² of a published model on the held-out rows.
    async fn r2_of(&self, run: ModelRun) -> Result<f64> {
        let Self { config, data, .. } = *self;
        let model = load_selected(self.models, &Selector::Latest, run).await?;
        let location = self.models.location_of(&self.models.run_key(&model.run, "model.ubj"));
        check_fits_xgboost(&location, model.model.len() as u64, self.models.memory_bytes())?;
        if model.metadata.target != data.target {
            return Err(Error::Model(format!("it predicts \"{}\", not \"{}\"", model.metadata.target, data.target)));
        }
        let encoder = model.metadata.encoder()?;
        let table = &data.tables[data.test.table];
        encoder.check_schema(table.schema(), false, &table.dataset().location)?;
        if let Some(reader) = self.reader {
            let metadata = &model.metadata;
            let form = ModelForm { features: &metadata.features, spec: &metadata.spec, clip: metadata.clip };
            let predict = || reader.predict(&load_booster(&model.model)?, &form);
            let predictions = tokio::task::block_in_place(|| on_own_thread(predict))?;
            return Ok(config.gate.measure(&data.test.target, &predictions, data.test.weights.as_deref())?.r2);
        }
        let names = encoder.input_columns();
        let columns = MemoryColumns::new(table.rows(), table.columns(&names, self.threads).await?);
        let (gate, data) = (config.gate.clone(), Arc::clone(data));
        let score = move || {
            let predictions = predict_test_rows(&model, &encoder, &columns, &data)?;
            gate.measure(&data.test.target, &predictions, data.test.weights.as_deref())
        };
        let scores = machine::tasks::blocking(|| on_own_thread(score)).await??;
        Ok(scores.r2)
    }
}

fn predict_test_rows(
    model: &LoadedModel,
    encoder: &Encoder,
    columns: &MemoryColumns,
    data: &TrainingData,
) -> Result<Vec<f64>> {
    let mut matrix = Array2::zeros((data.test.len(), encoder.len()).f());
    let mut values = Vec::new();
    for index in 0..encoder.len() {
        let (mut tally, mut bad) = (FeatureTally::new(None), BadRows::default());
        encoder.encode(index, columns, &mut values, &mut tally, &mut bad)?;
        let cells = matrix.column_mut(index).into_iter().zip(&data.test.places);
        cells.for_each(|(cell, &place)| *cell = values[place as usize]);
    }
    let booster = load_booster(&model.model)?;
    evaluate::predict(&booster, &matrix, model.metadata.clip)
}

/// The booster of a published model.
fn load_booster(model: &[u8]) -> Result<Booster> {
    let checked = CheckedModel::check(model).map_err(|problem| Error::Model(format!("its model.ubj: {problem}")))?;
    Ok(Booster::load(&checked)?)
}

/// One line that says why nothing was published. `misread` are columns that look like numbers or dates and were read as text,
/// which may be why.
#[must_use]
pub fn rejection(verdict: &Verdict, location: &str, misread: &[&str]) -> String {
    let named = misread.iter().take(NAMED_MOST).map(|column| format!("\"{}\"", without_control_characters(column)));
    let mut names: Vec<String> = named.collect();
    if misread.len() > names.len() {
        names.push("…".to_owned());
    }
    let names = names.join(", ");
    let misread = match misread.len() {
        0 => String::new(),
        1 => format!("; 1 column that looks like numbers or dates was read as text: {names}"),
        count => format!("; {count} columns that look like numbers or dates were read as text: {names}"),
    };
    format!("the gate did not pass, nothing was published: {}; see {location}/report.html{misread}", verdict.text())
}
