//! The columns of a Parquet object: what its footer says besides its row groups. Objects that one writer wrote share theirs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use polars_buffer::Buffer;
use polars_parquet::parquet::metadata::{ColumnDescriptor, Descriptor};

use super::damage::guard;
use super::types::{ParquetColumn, columns_of};
use columns::{ColumnSchema, TableSchema};
use error::{Error, Result};

/// Different sets of columns that are remembered, so that objects of one writer share theirs.
const SCHEMAS_KEPT: usize = 64;
/// What a column of such a set takes in memory.
const SCHEMA_COLUMN_BYTES: u64 = 1024;

/// The columns of objects that the same writer wrote.
#[derive(Debug)]
pub(super) struct FileSchema {
    /// The top-level columns, in order.
    pub(super) columns: Vec<ParquetColumn>,
    /// The place of each, by name.
    pub(super) places: HashMap<String, usize>,
    /// The columns of bytes that they are made of, of which row groups have a chunk each.
    pub(super) leaves: Vec<Leaf>,
    /// What is kept of the top-level columns, by name.
    roots: HashMap<String, Root>,
    /// How many leaves are kept.
    pub(super) kept: usize,
    /// The columns as a table has them.
    pub(super) table: Arc<TableSchema>,
}

#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) descriptor: Descriptor,
    /// Its names from the top-level column down, for messages.
    pub(super) path: String,
    /// Whether it belongs to a column that is read.
    pub(super) is_needed: bool,
    /// Its place among the leaves that are kept.
    pub(super) kept: Option<usize>,
}

impl Leaf {
    pub(super) fn repeats(&self) -> bool {
        self.descriptor.max_rep_level > 0
    }
}

/// Of which leaves a top-level column is.
#[derive(Debug, Clone, Copy)]
enum Root {
    One(usize),
    Several,
}

impl FileSchema {
    fn of(head: &[u8], needed: Option<&[String]>, name: &str) -> Result<Self> {
        let (columns, leaves) = guard(name, "its footer", || {
            let head = Buffer::from(head.to_vec());
            let metadata =
                polars_parquet::parquet::read::deserialize_metadata(head).map_err(|error| error.to_string())?;
            Ok((columns_of(&metadata), metadata.schema().columns().to_vec()))
        })?;
        let column = |column: &ParquetColumn| ColumnSchema::new(&column.field.name, column.dtype.clone());
        let table = Arc::new(TableSchema::new(columns.iter().map(column).collect(), name)?);
        let places = columns.iter().enumerate().map(|(place, column)| (column.field.name.to_string(), place)).collect();
        let mut roots: HashMap<String, Root> = HashMap::new();
        for (place, leaf) in leaves.iter().enumerate() {
            let one_more = |root: &mut Root| *root = Root::Several;
            roots.entry(root_of(leaf).to_owned()).and_modify(one_more).or_insert(Root::One(place));
        }
        let mut kept = 0;
        let leaf = |leaf: ColumnDescriptor| {
            let root = root_of(&leaf);
            let is_needed = needed.is_none_or(|needed| needed.iter().any(|name| name == root));
            let is_kept = is_needed && matches!(roots.get(root), Some(Root::One(_)));
            let place = kept;
            kept += usize::from(is_kept);
            let path = leaf.path_in_schema.join(".");
            Leaf { path, descriptor: leaf.descriptor, is_needed, kept: is_kept.then_some(place) }
        };
        let leaves = leaves.into_iter().map(leaf).collect();
        Ok(Self { columns, places, leaves, roots, kept, table })
    }

    /// How the values of a column are read.
    pub(super) fn column(&self, column: &str, object: &str) -> Result<&ParquetColumn> {
        let place = self.places.get(column);
        place.map(|&place| &self.columns[place]).ok_or_else(|| missing(object, column))
    }

    /// The only leaf of a column that is not nested.
    pub(super) fn leaf(&self, column: &str, object: &str) -> Result<usize> {
        match self.roots.get(column) {
            Some(Root::One(leaf)) => Ok(*leaf),
            Some(Root::Several) => {
                Err(Error::Data(format!("{object}: column \"{column}\" is nested and cannot be read: exclude it")))
            }
            None => Err(missing(object, column)),
        }
    }
}

fn root_of(leaf: &ColumnDescriptor) -> &str {
    leaf.path_in_schema.first().map_or("", |name| name.as_str())
}

/// The sets of columns of the objects of a location, each once.
#[derive(Debug, Default)]
pub(super) struct Schemas {
    /// By the bytes of the footer that they were read from.
    known: Mutex<HashMap<Vec<u8>, Arc<FileSchema>>>,
}

impl Schemas {
    /// The columns of a footer without row groups, and the bytes that they take where they are not known from another object.
    pub(super) fn of(&self, head: Vec<u8>, needed: Option<&[String]>, name: &str) -> Result<(Arc<FileSchema>, u64)> {
        if let Some(known) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&head) {
            return Ok((Arc::clone(known), 0));
        }
        let schema = Arc::new(FileSchema::of(&head, needed, name)?);
        let bytes = schema.leaves.len() as u64 * SCHEMA_COLUMN_BYTES;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() < SCHEMAS_KEPT {
            known.insert(head, Arc::clone(&schema));
        }
        Ok((schema, bytes))
    }
}

pub(super) fn missing(object: &str, column: &str) -> Error {
    Error::Data(format!("{object}: column \"{column}\" is missing"))
}
