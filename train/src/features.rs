//! Step 2: features are learnt from the training rows and both sets of rows are encoded with them.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use common::features::encode::values::as_levels;
use common::features::encode::{BadRows, Encoder, Feature, Kind, learn_category, learn_number};
use common::features::plan::{PlannedFeature, Source, plan};
use common::features::quality::{FeatureTally, Statistics, data_quality_score};
use common::features::spec::Spec;
use common::table::{ColumnSource, MemoryColumns};
use common::{Error, Result};
use futures::{StreamExt, TryStreamExt};
use ndarray::{Array2, ShapeBuilder};

use crate::read::{Rows, TrainingData};

/// The matrices of a run and how their columns came about.
#[derive(Debug)]
pub struct Features {
    /// The features, in matrix order.
    pub features: Vec<Feature>,
    /// Their statistics over the training rows.
    pub statistics: Vec<Statistics>,
    /// Training rows × features, columns contiguous, NaN where missing.
    pub train: Array2<f32>,
    /// Held-out rows × features.
    pub test: Array2<f32>,
    /// What the cells of all rows were like.
    pub tallies: Vec<FeatureTally>,
}

impl Features {
    /// The share of rows that count times what their cells are like; derived features repeat cells of others.
    #[must_use]
    pub fn quality_score(&self, data: &TrainingData) -> f64 {
        let accepted = data.rows_read() - data.dropped.total();
        // A date that is also counted from `as_of` is one column with two features.
        let mut seen = HashSet::new();
        let of_columns = self.features.iter().zip(&self.tallies);
        let of_columns =
            of_columns.filter(|(feature, _)| feature.source_column().is_some_and(|column| seen.insert(column)));
        data_quality_score(accepted, data.rows_read(), of_columns.map(|(_, tally)| tally), false)
    }
}

/// One encoded feature of both sets of rows.
struct EncodedFeature {
    feature: Feature,
    statistics: Statistics,
    train: Vec<f32>,
    test: Vec<f32>,
    tally: FeatureTally,
}

/// Plans, learns and encodes every feature; `threads` of them at once, one column in memory for each.
///
/// # Errors
/// [`Error::Setting`] where the spec does not fit the columns, [`Error::Data`] where a column cannot be used.
pub async fn learn_and_encode(data: &Arc<TrainingData>, spec: &Spec, threads: usize) -> Result<Features> {
    let location = &data.tables[data.train.table].dataset().location;
    let planned = plan(spec, &data.id, &data.target, data.schema(), location)?;
    let encoded: Vec<EncodedFeature> = futures::stream::iter(planned)
        .map(|feature| encode_feature(Arc::clone(data), feature, spec.clone(), threads))
        .buffered(threads)
        .try_collect()
        .await?;
    Ok(assemble(encoded, data.train.len(), data.test.len()))
}

fn assemble(encoded: Vec<EncodedFeature>, train_rows: usize, test_rows: usize) -> Features {
    let mut train = Array2::zeros((train_rows, encoded.len()).f());
    let mut test = Array2::zeros((test_rows, encoded.len()).f());
    let mut features = Features {
        features: Vec::with_capacity(encoded.len()),
        statistics: Vec::with_capacity(encoded.len()),
        train: Array2::zeros((0, 0)),
        test: Array2::zeros((0, 0)),
        tallies: Vec::with_capacity(encoded.len()),
    };
    for (index, column) in encoded.into_iter().enumerate() {
        train.column_mut(index).iter_mut().zip(column.train).for_each(|(cell, value)| *cell = value);
        test.column_mut(index).iter_mut().zip(column.test).for_each(|(cell, value)| *cell = value);
        features.features.push(column.feature);
        features.statistics.push(column.statistics);
        features.tallies.push(column.tally);
    }
    Features { train, test, ..features }
}

async fn encode_feature(
    data: Arc<TrainingData>,
    planned: PlannedFeature,
    spec: Spec,
    threads: usize,
) -> Result<EncodedFeature> {
    let names: Vec<String> = match &planned.source {
        Source::Column(name) => vec![name.clone()],
        Source::Expression(_, inputs) => inputs.keys().cloned().collect(),
    };
    let mut tables = Vec::with_capacity(data.tables.len());
    for table in &data.tables {
        tables.push(MemoryColumns::new(table.rows(), table.columns(&names, threads).await?));
    }
    let work = move || learn_one(&planned, &spec, &tables, &data.train, &data.test);
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::Defect(error.to_string()))?
}

fn learn_one(
    planned: &PlannedFeature,
    spec: &Spec,
    tables: &[MemoryColumns],
    train: &Rows,
    test: &Rows,
) -> Result<EncodedFeature> {
    let mut feature = unlearnt(planned);
    let mut category_statistics = None;
    if planned.is_category {
        let levels = category_levels(planned, &tables[train.table])?;
        let learnt =
            learn_category(train.places.iter().map(|&place| levels[place as usize].as_deref()), spec.max_levels);
        feature.kind = Kind::Category { levels: learnt.levels };
        category_statistics = Some(learnt.statistics);
    }
    let encoder = Encoder::bind(std::slice::from_ref(&feature), &spec.ranges)?;
    let mut tally = FeatureTally::new(None);
    let mut by_table = Vec::with_capacity(tables.len());
    for table in tables {
        let mut values = Vec::new();
        encoder.encode(0, table, &mut values, &mut tally, &mut BadRows::none(table.rows()))?;
        by_table.push(values);
    }
    let gather =
        |rows: &Rows| -> Vec<f32> { rows.places.iter().map(|&place| by_table[rows.table][place as usize]).collect() };
    let (train, test) = (gather(train), gather(test));
    let statistics = category_statistics.unwrap_or_else(|| learn_number(&train));
    Ok(EncodedFeature { feature, statistics, train, test, tally })
}

fn unlearnt(planned: &PlannedFeature) -> Feature {
    let (column, sql, inputs) = match &planned.source {
        Source::Column(name) => (Some(name.clone()).filter(|name| *name != planned.name), None, BTreeMap::new()),
        Source::Expression(expression, inputs) => (None, Some(expression.sql().to_owned()), inputs.clone()),
    };
    let kind = match (&planned.source, planned.source_kind) {
        (Source::Expression(..), _) => Kind::Derived,
        (Source::Column(_), common::table::ColumnKind::Date) => Kind::Date { as_of: planned.as_of },
        (Source::Column(_), _) => Kind::Number,
    };
    Feature { name: planned.name.clone(), kind, column, sql, source_kind: planned.source_kind, inputs }
}

/// The category of every row of a table, as text.
fn category_levels(planned: &PlannedFeature, table: &MemoryColumns) -> Result<Vec<Option<String>>> {
    match &planned.source {
        Source::Column(name) => {
            let column = table.column(name)?;
            let levels = as_levels(&column)?;
            Ok(levels.iter().map(|level| level.map(str::to_owned)).collect())
        }
        Source::Expression(expression, inputs) => common::features::encode::evaluate_text(expression, inputs, table),
    }
}
