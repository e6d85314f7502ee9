//! Step 2: features are learnt from the training rows and both sets of rows are encoded with them.
//!
//! Every feature is read a range of rows after the other, a row group at a time, and its numbers go straight to their place in the matrix:
//! no column is ever whole in memory but there.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use columns::text_hints::{self, Level};
use columns::{ColumnKind, ColumnSource, LongTexts, MemoryColumns, is_long, memory_bytes};
use error::{Error, Result};
use features::derive::Expression;
use features::encode::values::as_levels;
use features::encode::{BadRows, Encoder, Feature, FeatureSource, Kind, LevelCounts, learn_number};
use features::plan::{PlannedFeature, Source, plan, plan_expression};
use features::quality::{FeatureTally, Statistics, data_quality_score};
use features::spec::Spec;
use futures::StreamExt;
use machine::memory::Reservation;
use machine::threads::on_threads;
use ndarray::{Array2, ShapeBuilder};
use table::{LoadableTable, RangeColumns};
use tokio::runtime::Handle;

use crate::read::{Rows, TrainingData};

/// Fewer rows than this may have different texts by chance.
const ROWS_TO_TELL_APART: u64 = 50;
/// A text column with more different values than this share of its rows numbers the rows.
const NEARLY_ALL: f64 = 0.9;
/// Bytes of levels that are counted before there is asked for room for them.
const COUNTED_AT_ONCE: u64 = 1 << 20;
/// Ranges of one column that are fetched at once.
const FETCHES_AHEAD: usize = 4;

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
    /// What seems wrong with columns, in the order of the features.
    pub hints: Vec<ColumnHint>,
}

/// What seems wrong with a column that a feature is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnHint {
    /// The column's name.
    pub column: String,
    /// The hint, to be read after its name.
    pub text: String,
    /// Whether it looks like numbers, dates or booleans and was read as text.
    pub is_misread: bool,
}

impl ColumnHint {
    /// The hint as a sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        format!("column \"{}\" {}", self.column, self.text)
    }
}

impl Features {
    /// The columns that look like numbers, dates or booleans and were read as text.
    #[must_use]
    pub fn misread_columns(&self) -> Vec<&str> {
        self.hints.iter().filter(|hint| hint.is_misread).map(|hint| hint.column.as_str()).collect()
    }

    /// Takes the kind from columns that have no value in any training row: they have no meaning later, whatever they hold then.
    /// Only for features that were learnt from all training rows.
    pub fn forget_kinds_of_empty_columns(&mut self) {
        for (feature, statistics) in self.features.iter_mut().zip(&self.statistics) {
            if statistics.missing >= 1.0 && feature.source_column().is_some() {
                feature.source_kind = ColumnKind::Null;
            }
        }
    }

    /// The same with other features of the same rows behind them.
    ///
    /// # Errors
    /// [`Error::Defect`] where they have other rows.
    pub fn followed_by(self, more: Self) -> Result<Self> {
        let behind = |first: Array2<f32>, more: Array2<f32>| {
            let shape = (first.nrows(), first.ncols() + more.ncols());
            let (mut cells, more) = (first.into_raw_vec_and_offset().0, more.into_raw_vec_and_offset().0);
            cells.reserve_exact(more.len());
            cells.extend(more);
            Array2::from_shape_vec(shape.f(), cells).map_err(|error| Error::Defect(error.to_string()))
        };
        Ok(Self {
            features: [self.features, more.features].concat(),
            statistics: [self.statistics, more.statistics].concat(),
            train: behind(self.train, more.train)?,
            test: behind(self.test, more.test)?,
            tallies: [self.tallies, more.tallies].concat(),
            hints: [self.hints, more.hints].concat(),
        })
    }

    /// The share of rows that count times what their cells are like; derived features repeat cells of others.
    #[must_use]
    pub fn quality_score(&self, data: &TrainingData) -> f64 {
        let accepted = data.rows_read() - data.dropped.total();
        data_quality_score(accepted, data.rows_read(), self.features.iter().zip(&self.tallies), false)
    }
}

/// What was learnt of one feature.
struct FittedFeature {
    feature: Feature,
    statistics: Statistics,
    tally: FeatureTally,
    hint: Option<ColumnHint>,
}

/// Plans, learns and encodes every feature, `threads` of them at once.
///
/// # Errors
/// [`Error::Setting`] where the spec does not fit the columns, [`Error::Data`] where a column cannot be used.
pub async fn learn_and_encode(data: &Arc<TrainingData>, spec: &Spec, threads: usize) -> Result<Features> {
    let location = &data.tables[data.train.table].dataset().location;
    let planned = plan(spec, &data.id, &data.target, data.schema(), location)?;
    let (data, spec, runtime) = (Arc::clone(data), spec.clone(), Handle::current());
    let work = move || encode_all(&data, &spec, &planned, threads, &runtime);
    machine::tasks::blocking(work).await?
}

/// Learns and encodes derived features that the spec does not name.
///
/// # Errors
/// As [`learn_and_encode`].
pub async fn learn_derived(
    data: &Arc<TrainingData>,
    spec: &Spec,
    derived: Vec<Expression>,
    threads: usize,
) -> Result<Features> {
    let location = &data.tables[data.train.table].dataset().location;
    let schema = data.schema();
    let planned = derived.iter().map(|expression| plan_expression(expression, schema, location));
    let planned = planned.collect::<Result<Vec<_>>>()?;
    let (data, spec, runtime) = (Arc::clone(data), spec.clone(), Handle::current());
    let work = move || encode_all(&data, &spec, &planned, threads, &runtime);
    machine::tasks::blocking(work).await?
}

/// One feature to be encoded and where its numbers go.
struct Task<'a> {
    index: usize,
    planned: &'a PlannedFeature,
    train: &'a mut [f32],
    test: &'a mut [f32],
}

fn encode_all(
    data: &TrainingData,
    spec: &Spec,
    planned: &[PlannedFeature],
    threads: usize,
    runtime: &Handle,
) -> Result<Features> {
    let (train_rows, test_rows, width) = (data.train.len(), data.test.len(), planned.len());
    let (mut train, mut test) = (vec![0.0; train_rows * width], vec![0.0; test_rows * width]);
    let outputs = columns_mut(&mut train, train_rows, width).into_iter().zip(columns_mut(&mut test, test_rows, width));
    let tasks = planned.iter().zip(outputs).enumerate();
    let tasks = Mutex::new(tasks.map(|(index, (planned, (train, test)))| Task { index, planned, train, test }));
    let work = || {
        let mut learnt = Vec::new();
        loop {
            let task = tasks.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(task) = task else { return learnt };
            let input = Input { data, names: input_names(task.planned), runtime };
            let one = learn_one(task.planned, spec, &input, task.train, task.test);
            let failed = one.is_err();
            learnt.push((task.index, one));
            if failed {
                return learnt;
            }
        }
    };
    let mut learnt = on_threads(threads.clamp(1, width), work).into_iter().flatten().collect::<Vec<_>>();
    learnt.sort_by_key(|(index, _)| *index);
    let matrix = |cells: Vec<f32>, rows: usize| {
        Array2::from_shape_vec((rows, width).f(), cells).map_err(|error| Error::Defect(error.to_string()))
    };
    let (train, test) = (matrix(train, train_rows)?, matrix(test, test_rows)?);
    let (statistics, tallies, hints) = (Vec::new(), Vec::new(), Vec::new());
    let mut features = Features { features: Vec::new(), statistics, train, test, tallies, hints };
    for (_, one) in learnt {
        let FittedFeature { feature, statistics, tally, hint } = one?;
        features.hints.extend(hint);
        features.features.push(feature);
        features.statistics.push(statistics);
        features.tallies.push(tally);
    }
    Ok(features)
}

/// The columns of a matrix that lie one behind the other.
fn columns_mut(mut cells: &mut [f32], rows: usize, width: usize) -> Vec<&mut [f32]> {
    let mut columns = Vec::with_capacity(width);
    for _ in 0..width {
        let (column, rest) = cells.split_at_mut(rows);
        columns.push(column);
        cells = rest;
    }
    columns
}

/// The columns that one feature is made from.
struct Input<'a> {
    data: &'a TrainingData,
    names: Vec<String>,
    runtime: &'a Handle,
}

impl Input<'_> {
    /// Goes through the columns of a table, a range of rows after the other.
    fn each(&self, table: usize, mut take: impl FnMut(Range<usize>, &RangeColumns) -> Result<()>) -> Result<()> {
        let table: &LoadableTable = &self.data.tables[table];
        let fetch = |range: table::RowRange| async move {
            let columns = table.range_columns(&range, &self.names).await?;
            Ok::<_, Error>((range.places, columns))
        };
        let mut fetched = futures::stream::iter(table.row_ranges()).map(fetch).buffered(FETCHES_AHEAD);
        while let Some(range) = self.runtime.block_on(fetched.next()) {
            let (places, columns) = range?;
            take(places, &columns)?;
        }
        Ok(())
    }
}

fn input_names(planned: &PlannedFeature) -> Vec<String> {
    match &planned.source {
        Source::Column(name) => vec![name.clone()],
        Source::Expression(_, inputs) => inputs.keys().cloned().collect(),
    }
}

fn learn_one(
    planned: &PlannedFeature,
    spec: &Spec,
    input: &Input<'_>,
    train: &mut [f32],
    test: &mut [f32],
) -> Result<FittedFeature> {
    let data = input.data;
    let mut feature = unlearnt(planned);
    let (mut levels, mut hint) = (None, hint_about_number(planned, data));
    if planned.is_category {
        let (counts, decoded) = count_levels(planned, input)?;
        let by_frequency = counts.by_frequency();
        hint = hint_about_category(planned, spec, &by_frequency, data);
        let learnt = counts.vocabulary(&by_frequency, spec.max_levels);
        feature.kind = Kind::Category { levels: learnt.levels };
        levels = Some((learnt.statistics, decoded));
    }
    let encoder = Encoder::bind(std::slice::from_ref(&feature), &spec.ranges)?;
    let mut encoded = Encoded { encoder, tally: FeatureTally::new(None), values: Vec::new() };
    let (statistics, decoded) = levels.map_or((None, None), |(statistics, decoded)| (Some(statistics), decoded));
    for table in 0..data.tables.len() {
        let mut outputs =
            Outputs { table, places: [(&data.train, 0), (&data.test, 0)], cells: [&mut *train, &mut *test] };
        match decoded.as_ref().filter(|_| table == data.train.table) {
            Some(ranges) => {
                ranges.iter().try_for_each(|(places, columns)| encoded.encode_range(places, columns, &mut outputs))?;
            }
            None => input.each(table, |places, columns| encoded.encode_range(&places, columns, &mut outputs))?,
        }
    }
    let statistics = statistics.unwrap_or_else(|| learn_number(train));
    Ok(FittedFeature { feature, statistics, tally: encoded.tally, hint })
}

/// Codes that became numbers, and so lost their leading zeros; and numbers of rows.
fn hint_about_number(planned: &PlannedFeature, data: &TrainingData) -> Option<ColumnHint> {
    let Source::Column(column) = &planned.source else { return None };
    if column.starts_with("Unnamed: ") || column.starts_with("__index_level_") {
        let text =
            format!("is the index that pandas writes: write the table with index=False, or exclude = [\"{column}\"]");
        return Some(ColumnHint { column: column.clone(), text, is_misread: false });
    }
    let is_number = !planned.is_category && planned.source_kind.is_number();
    (is_number && data.tables[data.train.table].is_zero_padded(column)).then(|| ColumnHint {
        column: column.clone(),
        text: format!("has leading zeros: a code? then categorical = [\"{column}\"]"),
        is_misread: false,
    })
}

/// Categories that seem to be meant as something else, and those that nearly every row has its own of. What the spec calls a
/// category is meant as one.
fn hint_about_category(
    planned: &PlannedFeature,
    spec: &Spec,
    levels: &[Level<'_>],
    data: &TrainingData,
) -> Option<ColumnHint> {
    let Source::Column(column) = &planned.source else { return None };
    let hint = |text: String, is_misread: bool| ColumnHint { column: column.clone(), text, is_misread };
    let is_meant = spec.categorical.contains(column);
    if data.is_of_folders(column) {
        let dates = "stands in folder names and is text, a category for each date, which later rows do not have: exclude it, or \
                     write the date as a column of the files";
        return (!is_meant && text_hints::are_dates(levels)).then(|| hint(dates.to_owned(), false));
    }
    if let Some(text) = text_hints::hint(levels, data.writing()).filter(|_| !is_meant) {
        return Some(hint(text, true));
    }
    let (values, rows) = (levels.len(), levels.iter().map(|(_, rows)| rows).sum::<u64>());
    let tells_rows_apart = rows >= ROWS_TO_TELL_APART && values as f64 >= NEARLY_ALL * rows as f64;
    tells_rows_apart.then(|| {
        let what = "looks like an identifier, and its values would stand in metadata.json";
        hint(format!("has {values} values in {rows} rows: nearly every row has its own; exclude it: it {what}"), false)
    })
}

/// Columns that were decoded once and are needed again.
type Decoded = Vec<(Range<usize>, MemoryColumns)>;

/// The levels of a category over the training rows; with the decoded columns where their bytes are in memory anyway.
fn count_levels(planned: &PlannedFeature, input: &Input<'_>) -> Result<(LevelCounts, Option<Decoded>)> {
    let rows = &input.data.train;
    let mut is_kept = !input.data.tables[rows.table].is_read_from_storage();
    let (mut counts, mut decoded, mut cursor) = (LevelCounts::default(), Vec::new(), 0);
    // Texts are as long as they are, and may all be different: nothing tells before they are read.
    let mut memory = Reservation::new(&format!("{}: column \"{}\"", input.data.location(), planned.name));
    let (mut kept, mut counted) = (0, 0);
    input.each(rows.table, |places, columns| {
        let columns = columns.decoded()?;
        let end = cursor + rows.places[cursor..].partition_point(|&place| (place as usize) < places.end);
        let mut of_range = rows.places[cursor..end].iter().map(|&place| place as usize - places.start);
        cursor = end;
        let mut count = |level: Option<&str>, rows: u64| {
            counts.add_rows(level, rows);
            if counts.bytes() < counted + COUNTED_AT_ONCE {
                return Ok(());
            }
            counted = counts.bytes();
            memory.resize(kept + counted)
        };
        let mut bytes = 0;
        match &planned.source {
            Source::Column(name) => {
                let column = columns.column(name)?;
                bytes = if column.dtype().is_string() { memory_bytes(&column) } else { 0 };
                let levels = as_levels(&column, planned.source_kind)?;
                let mut long = LongTexts::default();
                of_range.try_for_each(|row| match levels.get(row) {
                    Some(level) if is_long(level) => {
                        *long.of(level, |_| 0) += 1;
                        Ok(())
                    }
                    level => count(level, 1),
                })?;
                long.into_each().try_for_each(|(level, rows)| count(Some(level), rows))?;
            }
            Source::Expression(expression, inputs) => {
                let levels = features::encode::evaluate_text(expression, inputs, &columns)?;
                of_range.try_for_each(|row| count(levels[row].as_deref(), 1))?;
            }
        }
        // Columns of CSV are in memory anyway. Where there is no room the others are decoded once more.
        let bytes = if input.data.tables[rows.table].dataset().is_csv() { 0 } else { bytes };
        is_kept = is_kept && memory.resize(kept + bytes + counted).is_ok();
        if is_kept {
            kept += bytes;
            decoded.push((places, columns));
        } else {
            decoded.clear();
            kept = 0;
            memory.resize(counted)?;
        }
        Ok(())
    })?;
    Ok((counts, is_kept.then_some(decoded)))
}

/// Where the numbers of one table go: how many rows of each set are done, and the column of each set.
struct Outputs<'a> {
    table: usize,
    places: [(&'a Rows, usize); 2],
    cells: [&'a mut [f32]; 2],
}

impl Outputs<'_> {
    fn take(&mut self, places: &Range<usize>, values: &[f32]) {
        for ((rows, done), cells) in self.places.iter_mut().zip(&mut self.cells) {
            if rows.table != self.table {
                continue;
            }
            let end = *done + rows.places[*done..].partition_point(|&place| (place as usize) < places.end);
            let of_range = cells[*done..end].iter_mut().zip(&rows.places[*done..end]);
            of_range.for_each(|(cell, &place)| *cell = values[place as usize - places.start]);
            *done = end;
        }
    }
}

/// A feature that is being encoded.
struct Encoded {
    encoder: Encoder,
    tally: FeatureTally,
    values: Vec<f32>,
}

impl Encoded {
    fn encode_range(
        &mut self,
        places: &Range<usize>,
        columns: &dyn ColumnSource,
        outputs: &mut Outputs<'_>,
    ) -> Result<()> {
        self.encoder.encode(0, columns, &mut self.values, &mut self.tally, &mut BadRows::default())?;
        outputs.take(places, &self.values);
        Ok(())
    }
}

fn unlearnt(planned: &PlannedFeature) -> Feature {
    let source = match &planned.source {
        Source::Column(name) => FeatureSource::Column(name.clone()),
        Source::Expression(expression, inputs) => {
            FeatureSource::Expression { sql: expression.sql().to_owned(), inputs: inputs.clone() }
        }
    };
    let kind = match (&planned.source, planned.source_kind) {
        (Source::Expression(..), _) => Kind::Derived,
        (Source::Column(_), kind) if kind.is_temporal() => Kind::Date { as_of: planned.as_of },
        (Source::Column(_), _) => Kind::Number,
    };
    Feature { name: planned.name.clone(), kind, source, source_kind: planned.source_kind }
}
