//! Whole columns of a dataset, as training needs them.

use std::ops::Range;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use polars::prelude::{DataType, Series};
use tokio::runtime::Handle;

use super::csv::{CsvFormat, CsvReader, MalformedRow};
use super::parquet::{ParquetFile, ROW_GROUP_BYTES, RowGroupSize, RowRun};
use super::partitions::PartitionValues;
use super::{Dataset, Format};
use columns::cells::{infer_category_kind, infer_kind, is_missing_marker, typed_column};
use columns::{CellFormat, ColumnKind, ColumnSchema, ColumnSource, MemoryColumns, TableSchema};
use error::{Error, Result};
use machine::memory::Reservation;
use machine::tasks::blocking;

/// Parquet data up to this size is read once and kept as it is, compressed; columns are decoded from it one by one. Of
/// larger data each column's bytes are read when it is asked for.
pub const KEPT_BYTES: u64 = 256 << 20;

/// Runs of row groups read at once.
const CONCURRENT_FETCHES: usize = 4;

/// Row groups that follow one another are read and decoded together up to so many rows.
pub const RUN_ROWS: usize = 1 << 16;
/// And up to so many bytes.
pub const RUN_BYTES: u64 = 16 << 20;

/// A dataset whose columns can be read whole.
#[derive(Debug)]
pub struct LoadableTable {
    dataset: Dataset,
    content: Content,
    schema: Arc<TableSchema>,
    rows: usize,
    /// What seems wrong with the data as it was read.
    warnings: Vec<String>,
    /// Columns of CSV that became numbers though cells of them have leading zeros.
    zero_padded: Vec<String>,
    /// What the columns of CSV take.
    memory: Reservation,
}

/// Which types CSV columns have.
#[derive(Debug, Clone, Copy, Default)]
pub struct CsvTyping<'a> {
    /// Columns that stay text, such as ids.
    pub text: &'a [String],
    /// Columns of categories, which have another type than text only where that renumbers none of them.
    pub categories: &'a [String],
    /// The schema of the training rows where the held-out rows are opened, which says what columns must be. Without it
    /// types are inferred from all cells.
    pub types: Option<&'a TableSchema>,
}

/// What is in memory of a table.
#[derive(Debug)]
enum Content {
    /// Typed columns: CSV is read once, since its types show only when all of it was seen.
    Columns(Vec<Series>),
    /// Every row group, compressed, in the runs of [`runs`].
    Runs(Vec<RowRun>),
    /// Nothing but the footers.
    Footers,
}

impl LoadableTable {
    /// Opens a dataset for loading. Types of CSV columns are what `typing` says; columns that stand in the names of folders
    /// have the types of [`Partitions`](super::partitions::Partitions), or those of the training rows.
    ///
    /// # Errors
    /// As [`Dataset::open`]; [`Error::Data`] where a row of CSV is malformed or a cell does not fit the training rows.
    pub async fn open(mut dataset: Dataset, typing: &CsvTyping<'_>) -> Result<Self> {
        if let Some(types) = typing.types {
            dataset.adopt_partition_kinds(|name| types.get(name).map(|column| column.kind));
        }
        if !dataset.is_csv() {
            let bytes: u64 = dataset.objects.iter().map(|object| object.meta.size).sum();
            if bytes > KEPT_BYTES {
                return Ok(Self::of_footers(dataset));
            }
            let runs = fetch_all(&dataset).await?;
            return Ok(Self { content: Content::Runs(runs), ..Self::of_footers(dataset) });
        }
        let mut memory = Reservation::new(&format!("{}: CSV", dataset.location));
        let (cells, reading) = read_all_cells(&dataset, &mut memory).await?;
        let hint = dataset.schema.header_hint().map(|hint| format!("{}: {hint}", dataset.location));
        let warnings = hint.into_iter().chain(reading).collect();
        let rows = cells.first().map_or(0, |column| column.len());
        let (mut in_memory, mut zero_padded) = (Vec::with_capacity(cells.len()), Vec::new());
        for column in cells {
            let name = column.name().as_str();
            let is_learnt = typing.types.is_some_and(|types| types.get(name).is_some());
            let partition = dataset.partitions.unstored(name).filter(|_| !is_learnt);
            in_memory.push(match partition {
                Some(partition) if !typing.text.iter().any(|kept| kept == name) => {
                    typed_partition(&column, partition.kind)?
                }
                _ => {
                    let typed = typed(&column, typing, dataset.cell_format(name), &dataset.location)?;
                    zero_padded.extend(loses_leading_zeros(&column, &typed).then(|| name.to_owned()));
                    typed
                }
            });
        }
        let mut schema = TableSchema::new(in_memory.iter().map(column_schema).collect(), &dataset.location)?;
        let is_constant = |name: &&str| dataset.schema.is_constant_partition(name);
        let names = dataset.schema.columns().iter().map(|column| column.name.as_str());
        names.filter(is_constant).for_each(|name| schema.mark_constant_partition(name));
        let schema = Arc::new(schema);
        memory.resize(in_memory.iter().map(bytes_of).sum())?;
        Ok(Self { dataset, content: Content::Columns(in_memory), schema, rows, warnings, zero_padded, memory })
    }

    /// A Parquet dataset of which nothing is kept in memory but the footers.
    #[must_use]
    pub fn of_footers(dataset: Dataset) -> Self {
        let rows = dataset.row_count().unwrap_or_default() as usize;
        let schema = Arc::clone(&dataset.schema);
        let (warnings, zero_padded) = (Vec::new(), Vec::new());
        let memory = Reservation::new(&dataset.location);
        Self { dataset, content: Content::Footers, schema, rows, warnings, zero_padded, memory }
    }

    /// What seems wrong with the data as it was read: the header, and cells that may hold rows.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Bytes of the columns that are in memory, of CSV.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.memory.bytes()
    }

    /// Whether a column of CSV became numbers though cells of it have leading zeros, as codes do.
    #[must_use]
    pub fn is_zero_padded(&self, column: &str) -> bool {
        self.zero_padded.iter().any(|padded| padded == column)
    }

    /// Rows of the table.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Its columns with their types; those of CSV as inferred.
    #[must_use]
    pub fn schema(&self) -> &TableSchema {
        &self.schema
    }

    /// The objects behind it.
    #[must_use]
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// The named columns, whole, in this order.
    ///
    /// # Errors
    /// [`Error::Data`] where a column is missing or damaged; storage errors as they are.
    pub async fn columns(&self, names: &[String], threads: usize) -> Result<Vec<Series>> {
        let chunks: Vec<Vec<Series>> = match &self.content {
            Content::Columns(columns) => {
                return names.iter().map(|name| self.typed_column(columns, name)).collect();
            }
            Content::Runs(runs) => {
                let decoded = futures::stream::iter(runs.iter().cloned()).map(|run| decode(run, names));
                decoded.buffered(threads).try_collect().await?
            }
            Content::Footers => {
                let fetched = futures::stream::iter(runs(&self.dataset)).map(|run| async move {
                    let run = run.fetch(&self.dataset, names).await?;
                    decode(run, names).await
                });
                fetched.buffered(threads + 1).try_collect().await?
            }
        };
        let mut columns = Vec::with_capacity(names.len());
        for (index, name) in names.iter().enumerate() {
            let of_column = chunks.iter().map(|chunk| &chunk[index]);
            columns.push(concatenated(name, of_column, &self.schema.require(name, &self.dataset.location)?.dtype)?);
        }
        Ok(columns)
    }

    /// The table in runs of rows, in order: its row groups, small ones several at once, or all of it where it came as CSV.
    #[must_use]
    pub fn row_ranges(&self) -> Vec<RowRange> {
        if let Content::Columns(_) = self.content {
            return vec![RowRange { places: 0..self.rows, run: Run::default(), kept: 0 }];
        }
        let mut first = 0;
        let of_run = |(kept, run): (usize, Run)| {
            let places = first..first + run.rows;
            first += run.rows;
            RowRange { places, run, kept }
        };
        runs(&self.dataset).into_iter().enumerate().map(of_run).collect()
    }

    /// The places of each row group of a range of rows.
    #[must_use]
    pub fn row_groups_of(&self, range: &RowRange) -> Vec<Range<usize>> {
        if let Content::Columns(_) = self.content {
            return vec![range.places.clone()];
        }
        let sizes =
            range.run.spans.iter().flat_map(|(object, groups)| sizes_of(&self.dataset, *object, groups.clone()));
        let mut first = range.places.start;
        let places = |size: &RowGroupSize| {
            first += size.rows;
            first - size.rows..first
        };
        sizes.map(places).collect()
    }

    /// Whether reading a column twice means to fetch it twice.
    #[must_use]
    pub fn is_read_from_storage(&self) -> bool {
        matches!(self.content, Content::Footers)
    }

    /// The named columns of a run of rows, to be decoded when they are asked for.
    ///
    /// # Errors
    /// As [`LoadableTable::columns`].
    pub async fn range_columns(&self, range: &RowRange, names: &[String]) -> Result<RangeColumns> {
        let content = match &self.content {
            Content::Columns(columns) => {
                let columns = names.iter().map(|name| self.typed_column(columns, name)).collect::<Result<_>>()?;
                RangeContent::Columns(MemoryColumns::new(self.rows, columns))
            }
            Content::Runs(runs) => RangeContent::Run(runs[range.kept].clone()),
            Content::Footers => RangeContent::Run(range.run.fetch(&self.dataset, names).await?),
        };
        Ok(RangeColumns { content, names: names.to_vec() })
    }

    fn typed_column(&self, columns: &[Series], name: &str) -> Result<Series> {
        let found = columns.iter().find(|column| column.name().as_str() == name);
        found.cloned().ok_or_else(|| Error::Data(format!("{}: column \"{name}\" is missing", self.dataset.location)))
    }
}

/// A run of rows of a table, see [`LoadableTable::row_ranges`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowRange {
    /// The places of its rows in the table.
    pub places: Range<usize>,
    run: Run,
    /// The place among the runs that are kept in memory.
    kept: usize,
}

/// Columns of a run of rows.
#[derive(Debug, Clone)]
pub struct RangeColumns {
    content: RangeContent,
    names: Vec<String>,
}

#[derive(Debug, Clone)]
enum RangeContent {
    Columns(MemoryColumns),
    Run(RowRun),
}

impl RangeColumns {
    /// The same, of which only `rows` (counted within the range) will be decoded.
    #[must_use]
    pub fn narrowed(&self, rows: Range<usize>) -> Self {
        let content = match &self.content {
            RangeContent::Columns(columns) => RangeContent::Columns(columns.narrowed(rows)),
            RangeContent::Run(run) => RangeContent::Run(run.narrowed(rows)),
        };
        Self { content, names: self.names.clone() }
    }

    /// The same columns, decoded, so that they can be gone through more than once.
    ///
    /// # Errors
    /// As [`ColumnSource::column`].
    pub fn decoded(&self) -> Result<MemoryColumns> {
        let columns = self.names.iter().map(|name| self.column(name)).collect::<Result<_>>()?;
        Ok(MemoryColumns::new(self.rows(), columns))
    }
}

impl ColumnSource for RangeColumns {
    fn rows(&self) -> usize {
        match &self.content {
            RangeContent::Columns(columns) => columns.rows(),
            RangeContent::Run(run) => run.rows(),
        }
    }

    fn column(&self, name: &str) -> Result<Series> {
        match &self.content {
            RangeContent::Columns(columns) => columns.column(name),
            RangeContent::Run(run) => run.column(name),
        }
    }
}

/// Row groups that follow one another and are read at once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Run {
    /// Objects, and which of their row groups.
    spans: Vec<(usize, Range<usize>)>,
    rows: usize,
    bytes: u64,
}

impl Run {
    async fn fetch(&self, dataset: &Dataset, names: &[String]) -> Result<RowRun> {
        let fetch = |(object, groups): (usize, Range<usize>)| async move {
            let object = &dataset.objects[object];
            let no_parquet = || Error::Defect(format!("{} is not Parquet", object.meta.key));
            let file = object.parquet.as_ref().ok_or_else(no_parquet)?;
            file.fetch_groups(dataset.store.as_ref(), &object.meta, groups, names).await
        };
        let spans = futures::stream::iter(self.spans.clone()).map(fetch);
        let fetched: Vec<_> = spans.buffered(CONCURRENT_FETCHES).try_collect().await?;
        Ok(RowRun::new(fetched.into_iter().flatten().collect()))
    }
}

fn sizes_of(dataset: &Dataset, object: usize, groups: Range<usize>) -> &[RowGroupSize] {
    let file = dataset.objects.get(object).and_then(|object| object.parquet.as_ref());
    file.and_then(|file| file.row_groups().get(groups)).unwrap_or_default()
}

/// All row groups of a dataset in runs, in order: a large one by itself, small ones together.
fn runs(dataset: &Dataset) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (object, file) in dataset.objects.iter().enumerate() {
        for (group, size) in file.parquet.iter().flat_map(ParquetFile::row_groups).enumerate() {
            let bytes = size.fetched_bytes + ROW_GROUP_BYTES;
            match runs.last_mut() {
                Some(run) if run.rows + size.rows <= RUN_ROWS && run.bytes + bytes <= RUN_BYTES => {
                    match run.spans.last_mut() {
                        Some((last, groups)) if *last == object => {
                            run.bytes += sizes_of(dataset, object, group - 1..group)
                                .first()
                                .map_or(0, |before| before.gap_before(size));
                            groups.end = group + 1;
                        }
                        _ => run.spans.push((object, group..group + 1)),
                    }
                    run.rows += size.rows;
                    run.bytes += bytes;
                }
                _ => runs.push(Run { spans: vec![(object, group..group + 1)], rows: size.rows, bytes }),
            }
        }
    }
    runs
}

/// Rows and bytes of what is read at once of a dataset, at most.
#[must_use]
pub fn largest_run(dataset: &Dataset) -> (u64, u64) {
    let larger = |(rows, bytes): (u64, u64), run: &Run| (rows.max(run.rows as u64), bytes.max(run.bytes));
    runs(dataset).iter().fold((0, 0), larger)
}

/// Every column that can be read, of every row group.
async fn fetch_all(dataset: &Dataset) -> Result<Vec<RowRun>> {
    let readable = dataset.schema.columns().iter().filter(|column| column.kind != ColumnKind::Unsupported);
    let names: Vec<String> = readable.map(|column| column.name.clone()).collect();
    let names = &names;
    let fetched = futures::stream::iter(runs(dataset)).map(|run| async move { run.fetch(dataset, names).await });
    fetched.buffered(CONCURRENT_FETCHES).try_collect().await
}

async fn decode(run: RowRun, names: &[String]) -> Result<Vec<Series>> {
    let names = names.to_vec();
    let decode = move || names.iter().map(|name| run.column(name)).collect::<Result<Vec<_>>>();
    blocking(decode).await?
}

fn column_schema(column: &Series) -> ColumnSchema {
    let dtype = if column.null_count() == column.len() { DataType::Null } else { column.dtype().clone() };
    ColumnSchema::new(column.name(), dtype)
}

/// The chunks as one column.
fn concatenated<'a>(name: &str, chunks: impl Iterator<Item = &'a Series>, dtype: &DataType) -> Result<Series> {
    let mut whole = Series::new_empty(name.into(), dtype);
    for chunk in chunks {
        whole.append(chunk).map_err(|error| Error::Defect(format!("column \"{name}\": {error}")))?;
    }
    // Places are looked up one by one later, which takes long in many chunks.
    Ok(whole.rechunk())
}

/// All cells of CSV, column by column, and what seems wrong with them.
async fn read_all_cells(dataset: &Dataset, memory: &mut Reservation) -> Result<(Vec<Series>, Vec<String>)> {
    let mut warnings = Vec::new();
    let names: Vec<String> = dataset.schema.columns().iter().map(|column| column.name.clone()).collect();
    let mut columns: Vec<Series> = names.iter().map(|name| super::csv::empty_column(name)).collect();
    for (index, object) in dataset.objects.iter().enumerate() {
        let (store, meta, format) = (Arc::clone(&dataset.store), object.meta.clone(), (object.format, dataset.csv));
        let (object_name, names, runtime) = (dataset.object_name(index), names.clone(), Handle::current());
        let partitions = object.partitions.clone();
        let mut of_object = Reservation::new(&object_name);
        let read = move || {
            let read =
                read_object_cells((store, meta, format), &object_name, &names, &partitions, (runtime, &mut of_object))?;
            Ok::<_, Error>((read, of_object))
        };
        let ((chunks, said), mut read) = blocking(read).await??;
        let bytes = read.bytes();
        read.resize(0)?;
        memory.grow(bytes)?;
        warnings.extend(said);
        for chunk in chunks {
            for (column, cells) in columns.iter_mut().zip(chunk) {
                column.append(&cells).map_err(|error| Error::Defect(error.to_string()))?;
            }
        }
    }
    Ok((columns, warnings))
}

/// Most rows of a batch of CSV, and bytes of their text: of a wide table more, so that a column is in few chunks.
const BATCH_ROWS: usize = 1 << 17;
const BATCH_BYTES: u64 = 16 << 20;
const BATCH_COLUMN_BYTES: u64 = 16 << 10;
/// What a column of a batch takes besides its values.
const CHUNK_BYTES: u64 = 512;

fn read_object_cells(
    (store, meta, format): (Arc<dyn storage::Store>, storage::ObjectMeta, (Format, CsvFormat)),
    object_name: &str,
    names: &[String],
    partitions: &PartitionValues,
    (runtime, memory): (Handle, &mut Reservation),
) -> Result<(Vec<Vec<Series>>, Vec<String>)> {
    let batch_bytes = (names.len() as u64 * BATCH_COLUMN_BYTES).clamp(BATCH_BYTES, 4 * BATCH_BYTES);
    let reader = CsvReader::open(store, meta, format, object_name, runtime)?;
    let mut reader = reader.with_batch_bytes(batch_bytes);
    let mut as_read = Reservation::new(object_name);
    as_read.resize(batch_bytes - BATCH_BYTES)?;
    let stored = partitions.stored_among(names);
    let mut chunks = Vec::new();
    while let Some(batch) = reader.next_batch(&stored, BATCH_ROWS)? {
        // Long records are in memory twice while columns are made of them.
        memory.grow(batch.memory.as_ref().map_or(0, Reservation::bytes))?;
        let long = memory.bytes();
        if let Some(MalformedRow { row, problem }) = batch.first_problem {
            return Err(Error::Data(format!("{object_name}: data row {row} {problem}")));
        }
        let columns = partitions.complete(batch.columns, names, &[], object_name)?;
        let chunk = names.iter().map(|name| columns.column(name)).collect::<Result<Vec<_>>>()?;
        // How many rows follow nobody knows: each batch is counted as it comes.
        memory.resize(long - batch.memory.as_ref().map_or(0, Reservation::bytes))?;
        memory.grow(chunk.iter().map(|column| bytes_of(column) + CHUNK_BYTES).sum())?;
        chunks.push(chunk);
    }
    Ok((chunks, reader.take_warnings()))
}

/// What a column takes, with what the allocator adds.
fn bytes_of(column: &Series) -> u64 {
    columns::memory_bytes(column) / 8 * 9
}

/// Whether text became numbers though some of it has leading zeros.
fn loses_leading_zeros(cells: &Series, typed: &Series) -> bool {
    let is_padded = |cell: &str| {
        let digits = cell.trim();
        digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    let is_number = matches!(ColumnKind::of(typed.dtype()), ColumnKind::Integer | ColumnKind::Float);
    is_number && cells.str().is_ok_and(|cells| cells.iter().flatten().any(is_padded))
}

/// A column out of the names of folders, beside those of CSV: what its type is was decided by all its values.
fn typed_partition(column: &Series, kind: ColumnKind) -> Result<Series> {
    let cells = column.str().map_err(|error| Error::Defect(error.to_string()))?;
    Ok(typed_column(cells, kind, CellFormat::default()))
}

/// One CSV column with the type that its cells, or the training rows, give it.
fn typed(column: &Series, typing: &CsvTyping<'_>, format: CellFormat, location: &str) -> Result<Series> {
    let cells = column.str().map_err(|error| Error::Defect(error.to_string()))?;
    let name = column.name().as_str();
    let is_among = |names: &[String]| names.iter().any(|known| known == name);
    if is_among(typing.text) {
        return Ok(column.clone());
    }
    let Some(required) = typing.types.and_then(|schema| schema.get(name)) else {
        let kind =
            if is_among(typing.categories) { infer_category_kind(cells, format) } else { infer_kind(cells, format) };
        return Ok(typed_column(cells, kind, format));
    };
    let kind = match (required.kind, infer_kind(cells, format)) {
        (ColumnKind::Integer, ColumnKind::Float) => ColumnKind::Float,
        (required, _) => required,
    };
    let column = typed_column(cells, kind, format);
    let nulls = column.is_null();
    let cells_and_nulls = cells.iter().zip(nulls.iter().map(|null| null.unwrap_or(true)));
    let is_misfit =
        |(cell, is_null): (Option<&str>, bool)| is_null && cell.is_some_and(|cell| !is_missing_marker(cell));
    let Some(misfit) = cells_and_nulls.into_iter().position(is_misfit).filter(|_| kind != ColumnKind::Null) else {
        return Ok(column);
    };
    Err(Error::Data(format!(
        "{location}: column \"{name}\", data row {}: \"{}\" does not fit the training rows, which have {} there",
        misfit + 1,
        cells.get(misfit).unwrap_or_default(),
        required.kind.describe()
    )))
}

#[cfg(test)]
mod tests {
    use polars::prelude::NamedFrom;

    use super::*;

    #[test]
    fn numbers_that_had_leading_zeros_are_told() {
        let loses = |cells: &[&str], decimal: u8| {
            let cells = Series::new("plz".into(), cells);
            let typed = typed(&cells, &CsvTyping::default(), CellFormat { decimal }, "t").unwrap();
            loses_leading_zeros(&cells, &typed)
        };
        assert!(loses(&["00007", "12345"], b'.') && loses(&["07", "1.5"], b'.'));
        assert!(!loses(&["0", "0.5", "-0.07", "10"], b'.') && !loses(&["0,5", "7"], b','));
        assert!(!loses(&["007", "A12"], b'.'), "it stays text");
    }
}
