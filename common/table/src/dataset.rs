//! An opened location of data: which objects it has, their columns and their rows.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use polars::prelude::DataType;
use tokio::sync::Semaphore;

use super::csv::{self, CsvFormat};
use super::file_kind;
use super::parquet::{FooterRoom, Opening, ParquetFile};
use super::partitions::{PartitionColumn, PartitionValues, Partitions};
use columns::{CellFormat, ColumnKind, ColumnSchema, TableSchema};
use error::{Error, Result};
use machine::memory::{Reservation, pool};
use machine::tasks::joined;
use storage::{Location, ObjectMeta, Store, open_data};

/// Footers and headers read at once when a location is opened.
const CONCURRENT_OPENS: usize = 16;

/// Objects that one task opens, one after the other: a task for each would cost as much as a small footer.
const OPENED_TOGETHER: usize = 4;
/// Of fewer objects each is opened by a task of its own.
const MANY_OBJECTS: usize = 512;

/// Headers of CSV read at once. Each takes a thread that may block, and on a local folder waits for another one; the runtime
/// has at least twice as many. With as many headers as threads none of them got on.
const CONCURRENT_HEADERS: usize = 8;

/// How an object is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Apache Parquet.
    Parquet,
    /// Comma-separated text with a header row.
    Csv,
    /// The same, gzip-compressed.
    CsvGz,
}

/// One object of a dataset.
#[derive(Debug)]
pub struct DataObject {
    /// Key, size and version in the dataset's store.
    pub meta: ObjectMeta,
    /// How it is written.
    pub format: Format,
    /// Footer and row groups, for Parquet.
    pub parquet: Option<ParquetFile>,
    /// Its values of the columns that stand in the names of folders.
    pub partitions: PartitionValues,
}

/// A location of data, opened: objects in the order of their keys, all of the same columns.
#[derive(Debug)]
pub struct Dataset {
    /// Where it lies, for messages.
    pub location: String,
    /// The store that holds the objects.
    pub store: Arc<dyn Store>,
    /// The objects, sorted by key.
    pub objects: Vec<DataObject>,
    /// Objects that were left out because nothing is in them.
    pub empty_objects: Vec<ObjectMeta>,
    /// The objects' columns, with the types that hold the values of all, and after them those that stand in the names of
    /// folders. Every column of CSV is text.
    pub schema: Arc<TableSchema>,
    /// The columns that stand in the names of folders.
    pub partitions: Partitions,
    /// How its objects are written where they are CSV.
    pub csv: CsvFormat,
    /// Bytes of memory that footers take, and small objects that came with them; of CSV its columns, where they are many.
    held_bytes: u64,
    /// The most bytes of footers that were read at once.
    read_bytes: u64,
}

impl Dataset {
    /// Lists the objects, reads every footer (or CSV header) and checks that the columns agree.
    ///
    /// # Errors
    /// [`Error::Access`] where the place does not exist or is not open to us, [`Error::Data`] where it is empty, an
    /// object is unreadable or the columns differ between objects, [`Error::Storage`] where storage fails.
    pub async fn open(location: &Location, csv: CsvFormat) -> Result<Self> {
        Self::open_for(location, None, csv).await
    }

    /// The same, where only the columns `needed` will be read.
    ///
    /// # Errors
    /// As [`Dataset::open`].
    pub async fn open_for(location: &Location, needed: Option<&[String]>, csv: CsvFormat) -> Result<Self> {
        Self::open_within(location, needed, csv, FooterRoom::ANY).await
    }

    /// The same, where footers may take so much memory.
    ///
    /// # Errors
    /// As [`Dataset::open`]; [`Error::Resources`] where they take more.
    pub async fn open_within(
        location: &Location,
        needed: Option<&[String]>,
        csv: CsvFormat,
        room: FooterRoom,
    ) -> Result<Self> {
        if room != FooterRoom::ANY {
            // Headers of CSV are counted as they are read; once all is opened a plan says what is left.
            pool().set_room(room.bytes, room.limit);
        }
        let data = open_data(location).await?;
        let (store, is_folder) = (data.store, data.is_folder);
        let shared = Arc::new(Shared {
            store: Arc::clone(&store),
            csv,
            headers: Semaphore::new(CONCURRENT_HEADERS),
            parquet: Opening::new(needed, room),
        });
        let together = if data.objects.len() > MANY_OBJECTS { OPENED_TOGETHER } else { 1 };
        let mut opened = futures::stream::iter(data.objects.chunks(together).map(<[ObjectMeta]>::to_vec))
            .map(|metas| open_apart(Arc::clone(&shared), metas))
            .buffered(CONCURRENT_OPENS);
        let mut objects: Vec<DataObject> = Vec::with_capacity(data.objects.len());
        let (mut merged, mut of_columns): (Option<TableSchema>, _) = (None, None);
        let (mut first, mut last) = (String::new(), Arc::default());
        let mut empty_objects = Vec::new();
        while let Some(opened) = opened.try_next().await? {
            for opened in opened {
                let (object, schema) = match opened {
                    Opened::Columns(object, schema, memory) => {
                        of_columns = of_columns.or(memory);
                        (object, schema)
                    }
                    Opened::Empty(meta) => {
                        tracing::warn!("{} is empty and is left out", object_name(store.as_ref(), &meta.key));
                        empty_objects.push(meta);
                        continue;
                    }
                };
                match &mut merged {
                    None => {
                        first = object_name(store.as_ref(), &object.meta.key);
                        merged = Some(TableSchema::clone(&schema));
                    }
                    // Objects of one writer share their columns.
                    Some(_) if Arc::ptr_eq(&last, &schema) => {}
                    Some(merged) => {
                        merged.merge(&schema, &first, &object_name(store.as_ref(), &object.meta.key))?;
                    }
                }
                last = schema;
                objects.push(*object);
            }
        }
        drop(opened);
        if let Some(empty) = empty_objects.first().filter(|_| objects.is_empty()) {
            let name = object_name(store.as_ref(), &empty.key);
            return Err(Error::Data(format!("{name} is empty, and there is no other data: write it again")));
        }
        let (location, schema) = (location.to_string(), Arc::new(merged.unwrap_or_default()));
        // Of the objects that are kept, so that each has the values of its own folders.
        let keys = objects.iter().filter(|_| is_folder).map(|object| object.meta.key.as_str());
        let partitions = Partitions::of_keys(&keys.collect::<Vec<_>>(), &location)?;
        let columns_bytes = of_columns.as_ref().map_or(0, Reservation::bytes);
        let (held_bytes, read_bytes) = (shared.parquet.held_bytes() + columns_bytes, shared.parquet.read_bytes());
        let mut dataset =
            Self { location, store, objects, empty_objects, schema, partitions, csv, held_bytes, read_bytes };
        dataset.refuse_mixed_formats()?;
        dataset.add_partition_columns();
        Ok(dataset)
    }

    /// Bytes of memory that the footers of its objects take, and small objects that came with them.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        self.held_bytes
    }

    /// Row groups of all objects.
    #[must_use]
    pub fn row_groups(&self) -> u64 {
        self.objects
            .iter()
            .filter_map(|object| object.parquet.as_ref())
            .map(|file| file.row_groups().len() as u64)
            .sum()
    }

    /// The most bytes of footers that were in memory, besides, while it was opened.
    #[must_use]
    pub fn read_bytes(&self) -> u64 {
        self.read_bytes
    }

    /// Adds the columns that stand in the names of folders.
    fn add_partition_columns(&mut self) {
        let Self { partitions, schema, .. } = self;
        let schema = Arc::make_mut(schema);
        partitions.mark_stored(|name| schema.get(name).is_some());
        for column in partitions.columns().iter().filter(|column| !column.is_stored && column.is_constant) {
            schema.mark_constant_partition(&column.name);
        }
        self.set_partition_columns();
        let of_folders: Vec<String> = self.partitions.columns().iter().map(PartitionColumn::describe).collect();
        if !of_folders.is_empty() {
            tracing::info!("{}: columns out of the names of folders: {}", self.location, of_folders.join(", "));
        }
    }

    fn set_partition_columns(&mut self) {
        let is_csv = self.is_csv();
        let schema = Arc::make_mut(&mut self.schema);
        for column in self.partitions.columns().iter().filter(|column| !column.is_stored) {
            schema.set(match is_csv {
                true => ColumnSchema::new(&column.name, DataType::String),
                false => column.schema(),
            });
        }
        for (index, object) in self.objects.iter_mut().enumerate() {
            object.partitions = self.partitions.of_object(index);
            if let Some(file) = &mut object.parquet {
                file.set_partitions(object.partitions.clone());
                file.set_types(&self.schema);
            }
        }
    }

    /// Gives columns that stand in the names of folders the kinds that were learnt from other rows, where they fit: see
    /// [`Partitions::adopt_kinds`].
    pub fn adopt_partition_kinds(&mut self, learnt: impl Fn(&str) -> Option<ColumnKind>) {
        self.partitions.adopt_kinds(learnt);
        self.set_partition_columns();
    }

    /// Takes the type from columns that have a value in no row, as far as it `is_unfit`: their rows come out as missing.
    pub fn untype_empty_columns(&mut self, is_unfit: impl Fn(&ColumnSchema) -> bool) {
        let mut schema = (*self.schema).clone();
        if schema.untype_empty_columns(is_unfit) {
            self.schema = Arc::new(schema);
            let files = self.objects.iter_mut().filter_map(|object| object.parquet.as_mut());
            files.for_each(|file| file.set_types(&self.schema));
        }
    }

    /// How the values of a column are written where the objects are CSV: the setting is not about the names of folders.
    #[must_use]
    pub fn cell_format(&self, column: &str) -> CellFormat {
        self.partitions.unstored(column).map_or(self.csv.cells, |_| CellFormat::default())
    }

    /// How many columns the objects themselves have.
    #[must_use]
    pub fn stored_columns(&self) -> usize {
        let of_folders = self.partitions.columns().iter().filter(|column| !column.is_stored).count();
        self.schema.columns().len() - of_folders
    }

    /// Whether the objects are CSV, so that every column is text that stands for typed values.
    #[must_use]
    pub fn is_csv(&self) -> bool {
        self.objects.first().is_some_and(|object| object.format != Format::Parquet)
    }

    /// Rows of all objects; `None` for CSV, which has to be read to know.
    #[must_use]
    pub fn row_count(&self) -> Option<u64> {
        self.objects.iter().map(|object| object.parquet.as_ref().map(ParquetFile::rows)).sum()
    }

    /// Rows of all objects: exact for Parquet, for CSV about as many as the lengths of the first lines suggest.
    ///
    /// # Errors
    /// Storage errors as they are.
    pub async fn estimated_rows(&self) -> Result<u64> {
        if let Some(rows) = self.row_count() {
            return Ok(rows);
        }
        let Some(first) = self.objects.first() else { return Ok(0) };
        let looked_at = first.meta.size.min(csv::LINES_GUESS);
        let bytes = self.store.get_range(&first.meta, 0..looked_at).await?;
        let all_bytes: u64 = self.objects.iter().map(|object| object.meta.size).sum();
        let lines = csv::count_lines(&bytes, first.format);
        Ok((lines as f64 * all_bytes as f64 / looked_at.max(1) as f64).ceil() as u64)
    }

    /// Every object that the location lists, those without anything in them too, in the order of their keys.
    #[must_use]
    pub fn listed_objects(&self) -> Vec<&ObjectMeta> {
        let mut listed: Vec<&ObjectMeta> = self.objects.iter().map(|object| &object.meta).collect();
        if !self.empty_objects.is_empty() {
            listed.extend(&self.empty_objects);
            listed.sort_by(|one, other| one.key.cmp(&other.key));
        }
        listed
    }

    /// An object's full name, for messages.
    #[must_use]
    pub fn object_name(&self, object: usize) -> String {
        let key = self.objects.get(object).map_or("", |object| object.meta.key.as_str());
        object_name(self.store.as_ref(), key)
    }

    fn refuse_mixed_formats(&self) -> Result<()> {
        let is_parquet = |object: &DataObject| object.format == Format::Parquet;
        let parquet = self.objects.iter().position(is_parquet);
        let csv = self.objects.iter().position(|object| !is_parquet(object));
        match (parquet, csv) {
            (Some(parquet), Some(csv)) => Err(Error::Data(format!(
                "{} has both Parquet ({}) and CSV ({}): give a location with one of them",
                self.location, self.objects[parquet].meta.key, self.objects[csv].meta.key
            ))),
            _ => Ok(()),
        }
    }
}

fn object_name(store: &dyn Store, key: &str) -> String {
    format!("{}/{key}", store.root().trim_end_matches('/'))
}

/// What the objects of a location share while they are opened.
#[derive(Debug)]
struct Shared {
    store: Arc<dyn Store>,
    csv: CsvFormat,
    headers: Semaphore,
    parquet: Opening,
}

/// What opening an object came to.
enum Opened {
    /// It has these columns.
    Columns(Box<DataObject>, Arc<TableSchema>, Option<Reservation>),
    /// There is nothing in it, or nothing but an empty compressed file.
    Empty(ObjectMeta),
}

/// In a task of its own: parsing a footer takes longer than reading it.
async fn open_apart(shared: Arc<Shared>, metas: Vec<ObjectMeta>) -> Result<Vec<Opened>> {
    let open = async move {
        let mut opened = Vec::with_capacity(metas.len());
        for meta in metas {
            opened.push(open_object(&shared, meta).await?);
        }
        Ok(opened)
    };
    joined(tokio::spawn(open).await)?
}

async fn open_object(shared: &Shared, meta: ObjectMeta) -> Result<Opened> {
    let store = &shared.store;
    let name = object_name(store.as_ref(), &meta.key);
    if meta.size == 0 {
        return Ok(Opened::Empty(meta));
    }
    let format = match format_by_extension(&meta.key) {
        Some(format) => format,
        None if file_kind::is_no_data(&meta.key) => {
            return Err(Error::Data(format!(
                "{name} is no data by its name: remove it, or give a location that holds only data"
            )));
        }
        None => format_by_content(store.as_ref(), &meta).await?,
    };
    if format == Format::Parquet {
        let (file, schema) = ParquetFile::open(store.as_ref(), &meta, &name, &shared.parquet).await?;
        let object = DataObject { meta, format, parquet: Some(file), partitions: PartitionValues::default() };
        return Ok(Opened::Columns(Box::new(object), schema, None));
    }
    // Never closed: without a permit the header would be read all the same.
    let _permit = shared.headers.acquire().await;
    match csv::read_header(Arc::clone(store), &meta, (format, shared.csv), &name).await? {
        Some((schema, memory)) => {
            let object = DataObject { meta, format, parquet: None, partitions: PartitionValues::default() };
            Ok(Opened::Columns(Box::new(object), Arc::new(schema), memory))
        }
        None => Ok(Opened::Empty(meta)),
    }
}

fn format_by_extension(key: &str) -> Option<Format> {
    let key = key.to_ascii_lowercase();
    let by_ending = [(".parquet", Format::Parquet), (".csv", Format::Csv), (".csv.gz", Format::CsvGz)];
    by_ending.into_iter().find(|(ending, _)| key.ends_with(ending)).map(|(_, format)| format)
}

/// `PAR1` is Parquet, as Athena's UNLOAD writes it without an extension; the gzip magic is compressed CSV; else CSV.
async fn format_by_content(store: &dyn Store, meta: &ObjectMeta) -> Result<Format> {
    let magic = store.get_range(meta, 0..meta.size.min(4)).await?;
    Ok(match magic.as_ref() {
        b"PAR1" => Format::Parquet,
        [0x1f, 0x8b, ..] => Format::CsvGz,
        _ => Format::Csv,
    })
}
