//! Step 5: whether the model may be published.

use std::sync::Arc;

pub use common::evaluation::Verdict;
use common::evaluation::{Evidence, Gate, Interval, Previous, SliceColumn, r2_interval, scores_by_slice};
use common::features::encode::values::as_levels;
use common::features::encode::{BadRows, Encoder};
use common::features::quality::FeatureTally;
use common::registry::{LoadedModel, ModelStore, Selector, load_run, resolve};
use common::table::MemoryColumns;
use common::xgboost::Booster;
use common::{Error, Result};
use ndarray::{Array2, ShapeBuilder};

use crate::evaluate::{self, Evaluation};
use crate::external::Reader;
use crate::read::TrainingData;
use crate::settings::Settings;

/// Probability that the interval of R² states.
const INTERVAL_LEVEL: f64 = 0.95;
/// The name of the slice of rows that have no value in the column.
const MISSING_SLICE: &str = "(missing)";

/// What was judged and how.
#[derive(Debug)]
pub struct Judgement {
    /// Every check with its figures.
    pub verdict: Verdict,
    /// How sure R² is.
    pub interval: Option<Interval>,
    /// R² per slice of each `--slice` column.
    pub slices: Vec<SliceColumn>,
}

/// The gate that the settings describe.
#[must_use]
pub fn gate(settings: &Settings) -> Gate {
    Gate {
        min_r2: settings.min_r2,
        max_r2_drop: settings.max_r2_drop,
        min_slice_r2: settings.min_slice_r2,
        min_test_rows: settings.min_test_rows.0,
    }
}

/// Refuses held-out rows on which no verdict can rest, before anything is trained.
///
/// # Errors
/// [`Error::Data`] where there are too few of them or their target is constant, [`Error::Data`] for an unknown slice.
pub fn check_test_rows(settings: &Settings, data: &TrainingData) -> Result<()> {
    let rows = data.test.len();
    let needed = settings.min_test_rows.0.max(2);
    if rows < needed {
        return Err(Error::Data(format!(
            "{rows} held-out rows are too few to judge a model on: at least {needed} are needed (--min-test-rows); \
             give more rows, a larger --test-fraction (TEST_FRACTION) or --test-data (TEST_DATA)"
        )));
    }
    let first = data.test.target[0];
    if data.test.target.iter().all(|&target| target.to_bits() == first.to_bits()) {
        return Err(Error::Data(format!(
            "the target \"{}\" is {first} in every held-out row: no R² can be computed on it",
            data.target
        )));
    }
    let table = &data.tables[data.test.table];
    for column in &settings.slice {
        table.schema().require(column, &table.dataset().location)?;
    }
    Ok(())
}

/// Judges the model by its held-out rows, by their slices and by the current model, as far as the settings ask.
///
/// # Errors
/// [`Error::Data`] where no verdict is possible, [`Error::Model`] where the current model cannot be loaded.
pub async fn judge(
    settings: &Settings,
    models: &ModelStore,
    data: &Arc<TrainingData>,
    evaluation: &Evaluation,
    reader: Option<&Reader<'_>>,
    threads: usize,
) -> Result<Judgement> {
    let weights = data.test.weights.as_deref();
    let interval =
        r2_interval(&data.test.target, &evaluation.predictions, weights, INTERVAL_LEVEL, u64::from(settings.seed));
    let interval = interval.map_err(|error| Error::Data(format!("held-out rows: {error}")))?;
    let slices = slices(settings, data, evaluation, threads).await?;
    let previous = match settings.max_r2_drop {
        Some(_) => previous(settings, models, data, reader, threads).await?,
        None => None,
    };
    let evidence = Evidence { scores: &evaluation.scores, interval, previous: previous.as_ref(), slices: &slices };
    let verdict = gate(settings).judge(&evidence);
    Ok(Judgement { verdict, interval, slices })
}

async fn slices(
    settings: &Settings,
    data: &TrainingData,
    evaluation: &Evaluation,
    threads: usize,
) -> Result<Vec<SliceColumn>> {
    let table = &data.tables[data.test.table];
    let mut slices = Vec::with_capacity(settings.slice.len());
    for column in &settings.slice {
        let values = table.columns(std::slice::from_ref(column), threads).await?;
        let levels = as_levels(&values[0])?;
        let of_row = |&place: &u32| levels.get(place as usize).unwrap_or(MISSING_SLICE);
        let values: Vec<&str> = data.test.places.iter().map(of_row).collect();
        let weights = data.test.weights.as_deref();
        let scored = scores_by_slice(&data.test.target, &evaluation.predictions, weights, &values)
            .map_err(|error| Error::Defect(error.to_string()))?;
        slices.push(SliceColumn { column: column.clone(), slices: scored });
    }
    Ok(slices)
}

/// The current `latest` on the same held-out rows; none where nothing was published yet.
async fn previous(
    settings: &Settings,
    models: &ModelStore,
    data: &Arc<TrainingData>,
    reader: Option<&Reader<'_>>,
    threads: usize,
) -> Result<Option<Previous>> {
    let Some(run) = resolve(models, &Selector::Latest).await? else { return Ok(None) };
    let model = load_run(models, run).await?;
    let encoder = Encoder::bind(&model.metadata.features, &model.metadata.spec.ranges)?;
    let table = &data.tables[data.test.table];
    encoder.check_schema(table.schema(), false, &table.dataset().location).map_err(|error| {
        Error::Data(format!("--max-r2-drop compares with the current model {}: {error}", model.run))
    })?;
    if let Some(reader) = reader {
        let (booster, metadata) = (Booster::load(&model.model)?, &model.metadata);
        let predictions = tokio::task::block_in_place(|| {
            reader.predict(&booster, &metadata.features, &metadata.spec, metadata.clip)
        })?;
        let scores = gate(settings).measure(&data.test.target, &predictions, data.test.weights.as_deref())?;
        return Ok(Some(Previous { model: model.run.to_string(), r2: scores.r2 }));
    }
    let names = encoder.input_columns();
    let columns = MemoryColumns::new(table.rows(), table.columns(&names, threads).await?);
    let name = model.run.to_string();
    let (gate, data) = (gate(settings), Arc::clone(data));
    let score = move || {
        let predictions = predict_test_rows(&model, &encoder, &columns, &data)?;
        gate.measure(&data.test.target, &predictions, data.test.weights.as_deref())
    };
    let scores = tokio::task::spawn_blocking(score).await.map_err(|error| Error::Defect(error.to_string()))??;
    Ok(Some(Previous { model: name, r2: scores.r2 }))
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
    let booster = Booster::load(&model.model)?;
    evaluate::predict(&booster, &matrix, model.metadata.clip)
}

/// One line that says why nothing was published.
#[must_use]
pub fn rejection(verdict: &Verdict, location: &str) -> String {
    format!("the gate did not pass, nothing was published: {}; see {location}/report.html", verdict.text())
}
