//! Step 1: the rows to train on and the rows held out, with their targets.

mod dropped;
mod roles;
mod split;
mod values;

use std::sync::Arc;

use columns::text_hints::Writing;
use columns::{ColumnKind, ColumnSchema, ColumnSource, MemoryColumns, TableSchema};
use error::{Error, Result};
use evaluation::split::{RowKey, RowKeys, Sides};
use machine::Limits;
use machine::memory::Reservation;
use polars::prelude::PlHashSet;
use sha2::{Digest, Sha256};
use storage::ObjectMeta;
use table::parquet::FooterRoom;
use table::{CsvTyping, Dataset, LoadableTable};

pub use self::dropped::Dropped;
pub(crate) use self::dropped::nothing_left;
use self::dropped::{Named, reasons};
pub(crate) use self::roles::{RoleRow, RoleValues, Roles, instants};
pub use self::split::{SplitOutcome, warnings as split_warnings};
pub(crate) use self::split::{dealt, gap, hold_out, in_words};
use crate::config::TrainConfig;

/// The tables of a run and which of their rows train and which judge.
#[derive(Debug)]
pub struct TrainingData {
    /// One table, or two where the held-out rows were given apart.
    pub tables: Vec<Arc<LoadableTable>>,
    /// Rows to fit on.
    pub train: Rows,
    /// Rows held out.
    pub test: Rows,
    /// Rows that neither trains nor judges, and why.
    pub dropped: Dropped,
    /// Name of the id column.
    pub id: String,
    /// What it holds.
    pub id_type: ColumnKind,
    /// Name of the target column.
    pub target: String,
    /// SHA-256 over names, sizes and versions of all objects.
    pub objects_sha256: String,
    /// How rows were split.
    pub split: SplitOutcome,
}

/// Some rows of one table.
#[derive(Debug, Default, Clone)]
pub struct Rows {
    /// Which of the tables.
    pub table: usize,
    /// Their places in it, ascending.
    pub places: Vec<u32>,
    /// Their ids as text; none where rows are read in batches, which leaves no room for them.
    pub ids: Vec<String>,
    /// Their targets, finite.
    pub target: Vec<f64>,
    /// Their weights, where the spec names a weight column.
    pub weights: Option<Vec<f32>>,
    /// Their instants and groups, as far as validation keeps them apart.
    pub keys: RowKeys,
}

impl TrainingData {
    /// Rows of all tables, dropped ones included.
    #[must_use]
    pub fn rows_read(&self) -> u64 {
        self.tables.iter().map(|table| table.rows() as u64).sum()
    }

    /// Where the training rows lie, for messages.
    #[must_use]
    pub fn location(&self) -> &str {
        &self.tables[self.train.table].dataset().location
    }

    /// The columns of the training rows.
    #[must_use]
    pub fn schema(&self) -> &TableSchema {
        self.tables[self.train.table].schema()
    }

    /// Why rows were left out, each reason with its rows; empty where none was.
    #[must_use]
    pub fn dropped_in_words(&self) -> String {
        reasons(&self.dropped, &Named { id: &self.id, target: &self.target, weight: None }, 0)
    }

    /// Refuses training rows of which none has a weight.
    ///
    /// # Errors
    /// [`Error::Data`].
    pub fn check_weights(&self) -> Result<()> {
        let weights = self.train.weights.as_deref().unwrap_or(&[1.0]);
        if weights.iter().all(|weight| *weight == 0.0) {
            return Err(Error::Data(format!(
                "{}: every row to train on has the weight 0: nothing can be learnt from them",
                self.location()
            )));
        }
        Ok(())
    }

    /// Tells how many rows there are.
    pub fn log_rows(&self) {
        // Tests look into the split by this line.
        tracing::trace!(training = ?self.train.places, held_out = ?self.test.places, "outer split");
        let (rows_train, rows_test, neither) = (self.train.len(), self.test.len(), self.split.neither);
        match neither {
            0 => tracing::info!(rows_train, rows_test, "rows read"),
            _ => tracing::info!(rows_train, rows_test, neither, "rows read"),
        }
    }

    /// What seems wrong with the rows as they were read, each in a sentence.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings: Vec<String> = self.tables.iter().flat_map(|table| table.warnings().to_vec()).collect();
        let dropped = self.dropped.total();
        if dropped > 0 {
            let (read, reasons) = (self.rows_read(), self.dropped_in_words());
            warnings.push(format!("{dropped} of {read} rows are left out: {reasons}"));
        }
        warnings
    }

    /// Whether a column of the training rows stands in the names of folders, and not in the files.
    #[must_use]
    pub fn is_of_folders(&self, column: &str) -> bool {
        self.tables[self.train.table].dataset().partitions.unstored(column).is_some()
    }

    /// How the texts of the training rows were written.
    #[must_use]
    pub fn writing(&self) -> Writing {
        writing_of(self.tables[self.train.table].dataset())
    }
}

/// How the texts of a table were written.
fn writing_of(dataset: &Dataset) -> Writing {
    if dataset.is_csv() { Writing::csv(dataset.csv.cells) } else { Writing::typed() }
}

/// The opened locations of a run: what footers and listings tell.
#[derive(Debug)]
pub struct Opened {
    /// The training rows.
    pub train: Dataset,
    /// The held-out rows, where they lie apart.
    pub test: Option<Dataset>,
}

/// Opens the data. No row is read. `room` is the memory for footers where so many bytes of others are held.
///
/// # Errors
/// [`Error::Data`] where a column is not there or can serve as nothing; as [`Dataset::open`].
pub async fn open(config: &TrainConfig, room: impl Fn(u64) -> FooterRoom) -> Result<Opened> {
    let train = Dataset::open_within(&config.train_data, None, config.csv, room(0)).await?;
    let test = match &config.test_data {
        Some(location) => Some(Dataset::open_within(location, None, config.csv, room(train.held_bytes())).await?),
        None => None,
    };
    let roles = Roles::of(config);
    for (role, name) in roles.named().chain(config.slices.iter().map(|name| ("slice", name))) {
        std::iter::once(&train).chain(&test).try_for_each(|dataset| check_role(dataset, role, name))?;
    }
    Ok(Opened { train, test })
}

/// Refuses a column that can serve as nothing.
fn check_role(dataset: &Dataset, role: &str, name: &str) -> Result<()> {
    let setting = match role {
        "id" => "--id (ID_COLUMN) or the feature spec",
        "target" => "--target (TARGET_COLUMN) or the feature spec",
        "time" => "--time (TIME_COLUMN) or the feature spec",
        "group" => "--group (GROUP_COLUMN) or the feature spec",
        "slice" => "--slice (SLICE)",
        _ => "the feature spec",
    };
    let column = dataset.schema.require_for(setting, name, &dataset.location)?;
    if column.kind == ColumnKind::Unsupported {
        return Err(Error::Data(format!(
            "{}: the {role} \"{name}\" has a type that cannot be one ({}): name another column, or write it as text or numbers",
            dataset.location,
            column.type_text()
        )));
    }
    Ok(())
}

/// Reads ids, targets and weights, drops rows that cannot be used and splits the rest.
///
/// # Errors
/// [`Error::Data`] where columns or rows are unusable; storage errors as they are.
pub async fn read(config: &TrainConfig, limits: &Limits, opened: Opened) -> Result<TrainingData> {
    let roles = Roles::of(config);
    let text = [config.id.clone()];
    let typing = CsvTyping { text: &text, categories: &config.spec.categorical, types: None };
    let train_table = load(opened.train, &typing).await?;
    let mut tables = vec![Arc::new(train_table)];
    if let Some(mut dataset) = opened.test {
        dataset.untype_empty_columns(|column| is_of_other_type(column, tables[0].schema()));
        let test_table = load(dataset, &CsvTyping { types: Some(tables[0].schema()), ..typing }).await?;
        check_same_columns(&tables[0], &test_table, config)?;
        tables.push(Arc::new(test_table));
    }
    let threads = limits.threads.value;
    let mut dropped = Dropped::default();
    let time_kind = time_kind(&tables[0], &roles);
    let keys =
        RowKeys { gap: gap(config, time_kind)?, ..RowKeys::of_split(roles.time.is_some(), roles.group.is_some()) };
    let usable = usable_rows(&tables, 0, &roles, keys.clone(), threads, &mut dropped).await?;
    if usable.is_empty() {
        return Err(nothing_left(&tables[0], &dropped, config, 0));
    }
    let usable_count = usable.len();
    let (train, test, sides) = match tables.len() {
        1 => split::split(usable, config),
        _ => {
            let test = usable_rows(&tables, 1, &roles, keys, threads, &mut dropped).await?;
            (usable, test, Sides { of_rows: Vec::new(), cut_off: None })
        }
    };
    if train.is_empty() {
        return Err(nothing_left(&tables[0], &dropped, config, test.len()));
    }
    let of_split = train.len() + if tables.len() == 1 { test.len() } else { 0 };
    let split = SplitOutcome { time_kind, cut_off: sides.cut_off, neither: (usable_count - of_split) as u64 };
    let id_type = tables[0].schema().require(&config.id, &config.train_data.to_string())?.kind;
    let objects_sha256 = fingerprint_of(&tables);
    let (id, target) = (config.id.clone(), config.target.clone());
    Ok(TrainingData { tables, train, test, dropped, id, id_type, target, objects_sha256, split })
}

/// What the time column holds.
pub(crate) fn time_kind(table: &LoadableTable, roles: &Roles) -> Option<ColumnKind> {
    roles.time.as_ref().and_then(|name| table.schema().get(name)).map(|column| column.kind)
}

/// SHA-256 over names, sizes and versions of all objects.
pub(crate) fn fingerprint_of(tables: &[Arc<LoadableTable>]) -> String {
    fingerprint(tables.iter().flat_map(|table| table.dataset().listed_objects()))
}

async fn load(dataset: Dataset, typing: &CsvTyping<'_>) -> Result<LoadableTable> {
    let table = LoadableTable::open(dataset, typing).await?;
    check_rows(&table)?;
    Ok(table)
}

/// Whether a held-out column has another type than the training rows have there.
pub(crate) fn is_of_other_type(column: &ColumnSchema, train: &TableSchema) -> bool {
    train.get(&column.name).is_some_and(|learnt| !learnt.kind.accepts(column.kind))
}

/// There is something to train on, and every row has a place that 32 bits can tell.
pub(crate) fn check_rows(table: &LoadableTable) -> Result<()> {
    let location = &table.dataset().location;
    if table.rows() == 0 {
        return Err(Error::Data(format!("{location} has columns but no rows: there is nothing to train on")));
    }
    if u32::try_from(table.rows()).is_err() {
        return Err(Error::Data(format!(
            "{location} has {} rows; more than 4,294,967,295 cannot be trained on",
            table.rows()
        )));
    }
    Ok(())
}

/// The held-out rows need every column that a feature could be made from, of a kind that fits.
pub(crate) fn check_same_columns(train: &LoadableTable, test: &LoadableTable, config: &TrainConfig) -> Result<()> {
    let (id, target, spec) = (config.id.as_str(), config.target.as_str(), &config.spec);
    let location = &test.dataset().location;
    // Ids have a text, whatever their type.
    let is_feature = |name: &str| {
        !spec.exclude.iter().any(|excluded| excluded == name) && !train.schema().is_constant_partition(name)
    };
    let is_needed = |name: &str| name == target || (name != id && is_feature(name));
    test.schema().require(id, location)?;
    for column in train.schema().columns().iter().filter(|column| is_needed(&column.name)) {
        let given = test.schema().require(&column.name, location)?;
        if !column.kind.accepts(given.kind) {
            return Err(Error::Data(format!(
                "{location}: column \"{}\" has {}, but the training rows have {} there",
                column.name,
                given.kind.describe(),
                column.kind.describe()
            )));
        }
    }
    Ok(())
}

/// Bytes of an id that the memory plan counts with.
const USUAL_ID: u64 = 40;

/// The usable rows of a table; `keys` says what is to be kept of them for validation.
// A table, what is read of it, and what is counted on the way: nothing of it belongs together.
async fn usable_rows(
    tables: &[Arc<LoadableTable>],
    index: usize,
    roles: &Roles,
    keys: RowKeys,
    threads: usize,
    dropped: &mut Dropped,
) -> Result<Rows> {
    let table = &tables[index];
    let names = roles.required(table)?;
    let columns = MemoryColumns::new(table.rows(), table.columns(&names, threads).await?);
    let values = RoleValues::read(roles, table.dataset(), writing_of(table.dataset()), |name| columns.column(name))?;
    // Each row keeps its id, which a dictionary holds once.
    let mut memory = Reservation::new(&format!("{}: column \"{}\"", table.dataset().location, roles.id));
    memory.resize(values.ids_beyond(USUAL_ID))?;
    // Rows that are given to judge need no time.
    let needs_time = roles.time.is_some() && index == 0;
    Ok(keep_usable(Rows::of_table(index, roles.weight.is_some(), keys), &values, needs_time, dropped))
}

fn keep_usable(mut rows: Rows, values: &RoleValues, needs_time: bool, dropped: &mut Dropped) -> Rows {
    let mut seen: PlHashSet<&str> = PlHashSet::default();
    seen.reserve(values.len());
    for place in 0..values.len() {
        let Some(row) = values.get(place) else {
            dropped.null_id += 1;
            continue;
        };
        if row.passes(dropped, needs_time, || seen.insert(row.id)) {
            rows.push(place, Some(row.id.to_owned()), row.target, row.weight as f32, row.key);
        }
    }
    rows
}

impl Rows {
    /// No rows of a table yet; `keys` says what is kept of them for validation.
    pub(crate) fn of_table(table: usize, is_weighted: bool, keys: RowKeys) -> Self {
        Self { table, weights: is_weighted.then(Vec::new), keys, ..Self::default() }
    }

    /// No rows yet of the same table.
    pub(crate) fn emptied(&self) -> Self {
        Self::of_table(self.table, self.weights.is_some(), self.keys.emptied())
    }

    /// Adds a row; all of them have an id, or none has.
    pub(crate) fn push(&mut self, place: usize, id: Option<String>, target: f64, weight: f32, key: RowKey) {
        self.places.push(place as u32);
        self.ids.extend(id);
        self.target.push(target);
        if let Some(weights) = &mut self.weights {
            weights.push(weight);
        }
        self.keys.push(key);
    }

    /// How many rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether a row has a weight: one of weight 0 teaches and judges nothing.
    #[must_use]
    pub fn has_weight(&self, row: usize) -> bool {
        self.weights.as_ref().is_none_or(|weights| weights[row] > 0.0)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

/// SHA-256 over names, sizes and versions of objects.
pub fn fingerprint<'a>(objects: impl Iterator<Item = &'a ObjectMeta>) -> String {
    let mut digest = Sha256::new();
    for object in objects {
        digest.update(format!("{}\0{}\0{}\n", object.key, object.size, object.version.0));
    }
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(ids: &[Option<String>], target: &[f64], weights: Option<&[f64]>, dropped: &mut Dropped) -> Rows {
        let values = RoleValues::of_columns(ids, target, weights);
        keep_usable(Rows::of_table(0, weights.is_some(), RowKeys::default()), &values, false, dropped)
    }

    #[test]
    fn rows_without_a_usable_target_or_id_are_dropped_and_counted() {
        let ids: Vec<Option<String>> = [Some("a"), None, Some("a"), Some("b"), Some("c")]
            .into_iter()
            .map(|id: Option<&str>| id.map(str::to_owned))
            .collect();
        let mut dropped = Dropped::default();
        let target = [1.0, 2.0, 3.0, f64::NAN, 5.0];
        let rows = kept(&ids, &target, None, &mut dropped);
        assert_eq!(rows.ids, ["a", "c"]);
        assert_eq!(dropped, Dropped { bad_target: 1, null_id: 1, duplicate_id: 1, ..Dropped::default() });
    }

    #[test]
    fn a_row_that_cannot_be_used_does_not_take_its_id() {
        let ids: Vec<Option<String>> =
            ["a", "a", "a", "b", "b"].into_iter().map(Some).map(|id: Option<&str>| id.map(str::to_owned)).collect();
        let target = [f64::NAN, 2.0, 3.0, 4.0, 5.0];
        let weights = [1.0, 1.0, 1.0, -1.0, 1.0];
        let mut dropped = Dropped::default();
        let rows = kept(&ids, &target, Some(&weights), &mut dropped);
        assert_eq!((rows.places, rows.target), (vec![1, 4], vec![2.0, 5.0]));
        assert_eq!((dropped.bad_target, dropped.duplicate_id, dropped.bad_weight), (1, 1, 1));
    }

    #[test]
    fn every_reason_to_leave_a_row_out_is_counted_and_shown() {
        let ids: Vec<Option<String>> = (0..7).map(|id: u8| Some(id.to_string())).collect();
        let target = [1e39, f64::INFINITY, -2e39, 1.0, 1.0, 1.0, 1.0];
        let weights = [1.0, 1.0, 1.0, f64::NAN, -3.5, 1e39, 2.0];
        let mut dropped = Dropped::default();
        let rows = kept(&ids, &target, Some(&weights), &mut dropped);
        assert_eq!((rows.places, rows.weights), (vec![6], Some(vec![2.0])));
        assert_eq!((dropped.bad_target, dropped.beyond_floats, dropped.bad_weight), (3, Some((2, 1e39)), 3));
        let roles = Named { id: "k", target: "y", weight: Some("w") };
        assert_eq!(
            reasons(&dropped, &roles, 1),
            "1 has no target \"y\", or one that is not finite, 2 have a target \"y\" beyond 32-bit floats, which XGBoost \
             computes with, such as 1e39 (divide the target by a power of ten), 3 have a weight \"w\" that is missing, negative or \
             not finite, 1 is held out (--test-fraction, TEST_FRACTION)"
        );
        let negative = Dropped { bad_weight: 5, bad_weight_example: Some(-1.0), ..Dropped::default() };
        let expected = "5 have a weight \"w\" that is missing, negative or not finite, such as -1.0";
        assert_eq!(reasons(&negative, &roles, 0), expected);
    }
}
