//! Whole columns of a dataset, as training needs them.

use std::ops::Range;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use polars::prelude::{DataType, Series};
use tokio::runtime::Handle;

use super::csv::{CsvFormat, CsvReader, MalformedRow};
use super::parquet::RowGroup;
use super::{DataObject, Dataset, Format};
use crate::columns::cells::{infer_kind, typed_column};
use crate::columns::csv_hints;
use crate::columns::{ColumnKind, ColumnSchema, ColumnSource, MemoryColumns, TableSchema};
use crate::{Error, Result};

/// Parquet data up to this size is read once and kept as it is, compressed; columns are decoded from it one by one. Of
/// larger data each column's bytes are read when it is asked for.
pub const KEPT_BYTES: u64 = 256 << 20;

/// Row groups read at once.
const CONCURRENT_FETCHES: usize = 4;

/// A dataset whose columns can be read whole.
#[derive(Debug)]
pub struct LoadableTable {
    dataset: Dataset,
    content: Content,
    schema: TableSchema,
    rows: usize,
}

/// What is in memory of a table.
#[derive(Debug)]
enum Content {
    /// Typed columns: CSV is read once, since its types show only when all of it was seen.
    Columns(Vec<Series>),
    /// Every row group, compressed.
    RowGroups(Vec<RowGroup>),
    /// Nothing but the footers.
    Footers,
}

impl LoadableTable {
    /// Opens a dataset for loading. Types of CSV columns are inferred from all cells, unless `types` (the schema of the
    /// training rows, when the test rows are opened) says what they must be, or `keep_text` names the column.
    ///
    /// # Errors
    /// As [`Dataset::open`]; [`Error::Data`] where a row of CSV is malformed or a cell does not fit `types`.
    pub async fn open(dataset: Dataset, keep_text: &[String], types: Option<&TableSchema>) -> Result<Self> {
        if !dataset.is_csv() {
            let bytes: u64 = dataset.objects.iter().map(|object| object.meta.size).sum();
            if bytes > KEPT_BYTES {
                return Ok(Self::of_footers(dataset));
            }
            let groups = fetch_all(&dataset).await?;
            return Ok(Self { content: Content::RowGroups(groups), ..Self::of_footers(dataset) });
        }
        let cells = read_all_cells(&dataset).await?;
        let rows = cells.first().map_or(0, |column| column.len());
        let mut in_memory = Vec::with_capacity(cells.len());
        for column in cells {
            in_memory.push(typed(&column, keep_text, types, &dataset.location)?);
        }
        let schema = TableSchema::new(in_memory.iter().map(column_schema).collect(), &dataset.location)?;
        Ok(Self { dataset, content: Content::Columns(in_memory), schema, rows })
    }

    /// A Parquet dataset of which nothing is kept in memory but the footers.
    #[must_use]
    pub fn of_footers(dataset: Dataset) -> Self {
        let rows = dataset.row_count().unwrap_or_default() as usize;
        let schema = dataset.schema.clone();
        Self { dataset, content: Content::Footers, schema, rows }
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
        let pieces: Vec<Vec<Series>> = match &self.content {
            Content::Columns(columns) => {
                return names.iter().map(|name| self.typed_column(columns, name)).collect();
            }
            Content::RowGroups(groups) => {
                let groups = groups.iter().cloned();
                let decoded = futures::stream::iter(groups).map(|group| decode(group, names));
                decoded.buffered(threads).try_collect().await?
            }
            Content::Footers => {
                let groups = row_groups(&self.dataset);
                let fetched = futures::stream::iter(groups).map(|place| async move {
                    let group = fetch(&self.dataset, place, names).await?;
                    decode(group, names).await
                });
                fetched.buffered(threads + 1).try_collect().await?
            }
        };
        let mut columns = Vec::with_capacity(names.len());
        for (index, name) in names.iter().enumerate() {
            let chunks = pieces.iter().map(|piece| &piece[index]);
            columns.push(concatenated(name, chunks, self.schema.require(name, &self.dataset.location)?)?);
        }
        Ok(columns)
    }

    /// The table in runs of rows, in order: its row groups, or all of it at once where it came as CSV.
    #[must_use]
    pub fn pieces(&self) -> Vec<Piece> {
        if let Content::Columns(_) = self.content {
            return vec![Piece { places: 0..self.rows, object: 0, row_group: 0, kept: 0 }];
        }
        let mut first = 0;
        let of_group = |(kept, (object, row_group)): (usize, (usize, usize))| {
            let rows =
                self.dataset.objects[object].parquet.as_ref().map_or(0, |file| file.row_groups()[row_group].rows);
            let places = first..first + rows;
            first += rows;
            Piece { places, object, row_group, kept }
        };
        row_groups(&self.dataset).into_iter().enumerate().map(of_group).collect()
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
    pub async fn piece(&self, piece: &Piece, names: &[String]) -> Result<PieceColumns> {
        let content = match &self.content {
            Content::Columns(columns) => {
                let columns = names.iter().map(|name| self.typed_column(columns, name)).collect::<Result<_>>()?;
                PieceContent::Columns(MemoryColumns::new(self.rows, columns))
            }
            Content::RowGroups(groups) => PieceContent::RowGroup(groups[piece.kept].clone()),
            Content::Footers => {
                PieceContent::RowGroup(fetch(&self.dataset, (piece.object, piece.row_group), names).await?)
            }
        };
        let mut types = Vec::with_capacity(names.len());
        for name in names {
            types.push((name.clone(), common_type(self.schema.require(name, &self.dataset.location)?)));
        }
        Ok(PieceColumns { content, types })
    }

    fn typed_column(&self, columns: &[Series], name: &str) -> Result<Series> {
        let found = columns.iter().find(|column| column.name().as_str() == name);
        found.cloned().ok_or_else(|| Error::Data(format!("{}: column \"{name}\" is missing", self.dataset.location)))
    }
}

/// A run of rows of a table, see [`LoadableTable::pieces`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The places of its rows in the table.
    pub places: Range<usize>,
    object: usize,
    row_group: usize,
    /// The place among the row groups that are kept in memory.
    kept: usize,
}

/// Columns of a run of rows, in the types that they have in the whole table.
#[derive(Debug, Clone)]
pub struct PieceColumns {
    content: PieceContent,
    types: Vec<(String, DataType)>,
}

#[derive(Debug, Clone)]
enum PieceContent {
    Columns(MemoryColumns),
    RowGroup(RowGroup),
}

impl PieceColumns {
    /// The same, of which only `rows` (counted within the piece) will be decoded.
    #[must_use]
    pub fn narrowed(&self, rows: Range<usize>) -> Self {
        let content = match &self.content {
            PieceContent::Columns(columns) => PieceContent::Columns(columns.narrowed(rows)),
            PieceContent::RowGroup(group) => PieceContent::RowGroup(group.narrowed(rows)),
        };
        Self { content, types: self.types.clone() }
    }

    /// The same columns, decoded, so that they can be gone through more than once.
    ///
    /// # Errors
    /// As [`ColumnSource::column`].
    pub fn decoded(&self) -> Result<MemoryColumns> {
        let columns = self.types.iter().map(|(name, _)| self.column(name)).collect::<Result<_>>()?;
        Ok(MemoryColumns::new(self.rows(), columns))
    }
}

impl ColumnSource for PieceColumns {
    fn rows(&self) -> usize {
        match &self.content {
            PieceContent::Columns(columns) => columns.rows(),
            PieceContent::RowGroup(group) => group.rows(),
        }
    }

    fn column(&self, name: &str) -> Result<Series> {
        let column = match &self.content {
            PieceContent::Columns(columns) => columns.column(name),
            PieceContent::RowGroup(group) => group.column(name),
        }?;
        match self.types.iter().find(|(known, _)| known == name) {
            Some((_, dtype)) if column.dtype() != dtype => {
                column.cast(dtype).map_err(|error| Error::Data(format!("column \"{name}\": {error}")))
            }
            _ => Ok(column),
        }
    }
}

/// Object and row group of every row group, in order.
fn row_groups(dataset: &Dataset) -> Vec<(usize, usize)> {
    let of_object = |(index, object): (usize, &DataObject)| {
        let count = object.parquet.as_ref().map_or(0, |file| file.row_groups().len());
        (0..count).map(move |group| (index, group))
    };
    dataset.objects.iter().enumerate().flat_map(of_object).collect()
}

async fn fetch(dataset: &Dataset, (object, group): (usize, usize), names: &[String]) -> Result<RowGroup> {
    let object = &dataset.objects[object];
    let Some(file) = &object.parquet else { return Err(Error::Defect(format!("{} is not Parquet", object.meta.key))) };
    file.fetch(dataset.store.as_ref(), &object.meta, group, names).await
}

/// Every column that can be read, of every row group.
async fn fetch_all(dataset: &Dataset) -> Result<Vec<RowGroup>> {
    let readable = dataset.schema.columns().iter().filter(|column| column.kind != ColumnKind::Unsupported);
    let names: Vec<String> = readable.map(|column| column.name.clone()).collect();
    let fetched = futures::stream::iter(row_groups(dataset)).map(|place| fetch(dataset, place, &names));
    fetched.buffered(CONCURRENT_FETCHES).try_collect().await
}

async fn decode(group: RowGroup, names: &[String]) -> Result<Vec<Series>> {
    let names = names.to_vec();
    let decode = move || names.iter().map(|name| group.column(name)).collect::<Result<Vec<_>>>();
    tokio::task::spawn_blocking(decode).await.map_err(|error| Error::Defect(error.to_string()))?
}

fn column_schema(column: &Series) -> ColumnSchema {
    let kind = if column.null_count() == column.len() { ColumnKind::Null } else { ColumnKind::of(column.dtype()) };
    ColumnSchema { name: column.name().to_string(), kind, dtype: column.dtype().clone() }
}

/// The pieces as one column. Pieces differ in type where an object has only nulls, or integers where others have floats.
fn concatenated<'a>(name: &str, pieces: impl Iterator<Item = &'a Series>, schema: &ColumnSchema) -> Result<Series> {
    let mut whole = Series::new_empty(name.into(), &common_type(schema));
    for piece in pieces {
        let failed = |error: polars::prelude::PolarsError| Error::Data(format!("column \"{name}\": {error}"));
        let piece =
            if piece.dtype() == whole.dtype() { piece.clone() } else { piece.cast(whole.dtype()).map_err(failed)? };
        whole.append(&piece).map_err(failed)?;
    }
    // Places are looked up one by one later, which takes long in many pieces.
    Ok(whole.rechunk())
}

fn common_type(schema: &ColumnSchema) -> DataType {
    match (schema.kind, &schema.dtype) {
        (ColumnKind::Text, _) => DataType::String,
        (ColumnKind::Float, _) => DataType::Float64,
        (ColumnKind::Integer, DataType::UInt64) => DataType::UInt64,
        (ColumnKind::Integer, _) => DataType::Int64,
        (_, dtype) => dtype.clone(),
    }
}

async fn read_all_cells(dataset: &Dataset) -> Result<Vec<Series>> {
    let names: Vec<String> = dataset.schema.columns().iter().map(|column| column.name.clone()).collect();
    let mut columns: Vec<Series> = names.iter().map(|name| super::csv::empty_column(name)).collect();
    for (index, object) in dataset.objects.iter().enumerate() {
        let (store, meta, format) = (Arc::clone(&dataset.store), object.meta.clone(), (object.format, dataset.csv));
        let (object_name, names, runtime) = (dataset.object_name(index), names.clone(), Handle::current());
        let read = move || read_object_cells(store, meta, format, &object_name, &names, runtime);
        let pieces = tokio::task::spawn_blocking(read).await.map_err(|error| Error::Defect(error.to_string()))??;
        for piece in pieces {
            for (column, cells) in columns.iter_mut().zip(piece) {
                column.append(&cells).map_err(|error| Error::Defect(error.to_string()))?;
            }
        }
    }
    Ok(columns)
}

fn read_object_cells(
    store: Arc<dyn crate::storage::Store>,
    meta: crate::storage::ObjectMeta,
    format: (Format, CsvFormat),
    object_name: &str,
    names: &[String],
    runtime: Handle,
) -> Result<Vec<Vec<Series>>> {
    let mut reader = CsvReader::open(store, meta, format, object_name, runtime)?;
    let mut pieces = Vec::new();
    while let Some(batch) = reader.next_batch(names, 1 << 17)? {
        if let Some(MalformedRow { row, problem }) = batch.first_problem {
            return Err(Error::Data(format!("{object_name}: data row {row} {problem}")));
        }
        pieces.push(names.iter().map(|name| batch.columns.column(name)).collect::<Result<_>>()?);
    }
    Ok(pieces)
}

/// One CSV column with the type that its cells, or the training rows, give it.
fn typed(column: &Series, keep_text: &[String], types: Option<&TableSchema>, location: &str) -> Result<Series> {
    let cells = column.str().map_err(|error| Error::Defect(error.to_string()))?;
    let name = column.name().as_str();
    if keep_text.iter().any(|kept| kept == name) {
        return Ok(column.clone());
    }
    let Some(required) = types.and_then(|schema| schema.get(name)) else {
        let kind = infer_kind(cells);
        if kind == ColumnKind::Text
            && let Some(doubt) = csv_hints::doubt(cells)
        {
            tracing::warn!(column = name, "{location}: column \"{name}\" {doubt}");
        }
        return Ok(typed_column(cells, kind));
    };
    let kind = match (required.kind, infer_kind(cells)) {
        (ColumnKind::Integer, ColumnKind::Float) => ColumnKind::Float,
        (required, _) => required,
    };
    let column = typed_column(cells, kind);
    if column.null_count() == cells.null_count() {
        return Ok(column);
    }
    let is_misfit = |(cell, value): &(Option<&str>, bool)| cell.is_some() && *value;
    let nulls = column.is_null();
    let mut cells_and_nulls = cells.iter().zip(nulls.iter().map(|null| null.unwrap_or(true)));
    let misfit = cells_and_nulls.position(|pair| is_misfit(&pair)).unwrap_or_default();
    Err(Error::Data(format!(
        "{location}: column \"{name}\", data row {}: \"{}\" does not fit the training rows, which have {} there",
        misfit + 1,
        cells.get(misfit).unwrap_or_default(),
        required.kind.describe()
    )))
}
