//! The parts of the prepared data: which queries write them, and what was written.

use futures::future::join_all;
use serde::{Deserialize, Serialize};
use storage::{Location, ObjectMeta, Store, Version};
use table::Dataset;
use table::csv::CsvFormat;

use super::Selects;
use super::roles::Roles;
use crate::athena::text::{literal, name, token};
use crate::context::Invocation;
use crate::failure::{Failure, Result};

/// The largest 64-bit integer: `bitwise_and` with it takes the sign away, which `abs` overflows at.
const NO_SIGN: i64 = i64::MAX;

/// The names of the parts: folders of the prepared data.
pub(super) const TRAIN: &str = "train";
pub(super) const TEST: &str = "test";
pub(super) const CUSTOMERS: &str = "customers";

/// What is to be written.
#[derive(Debug)]
pub(super) struct Wanted {
    /// Name and SELECT of each part.
    selects: Vec<(&'static str, String)>,
}

/// One part, written.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Part {
    /// Its name.
    pub(super) name: String,
    /// Its folder in the bucket, without a `/` at the end.
    pub(super) prefix: String,
    /// Rows, by the footers.
    pub(super) rows: u64,
    /// What lies in the folder.
    pub(super) objects: Vec<Object>,
}

/// An object as it was listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Object {
    key: String,
    bytes: u64,
    version: Version,
}

/// All parts, written.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) parts: Vec<Part>,
    pub(super) bytes_scanned: u64,
}

impl Wanted {
    /// The SELECTs of the parts. Where rows are validated by time or group, or no share is held out, data-prep makes no split of its
    /// own: `train` holds rows out, as it does for every other step that judges.
    pub(super) fn new(invocation: &Invocation<'_>, selects: &Selects, roles: &Roles) -> Self {
        let settings = invocation.settings;
        let training = format!("SELECT * FROM {}", selects.training.as_table());
        let customers = format!("SELECT * FROM {}", selects.customers.as_table());
        let held_out = (settings.test_fraction * 100.0).round() as u64;
        let mut parts = match held_out {
            0 => vec![(TRAIN, training)],
            _ if !roles.of_validation.is_empty() => vec![(TRAIN, training)],
            _ => {
                let hash = split_hash(&settings.split_salt, &roles.id);
                vec![
                    (TRAIN, format!("{training} WHERE {hash} >= {held_out}")),
                    (TEST, format!("{training} WHERE {hash} < {held_out}")),
                ]
            }
        };
        parts.push((CUSTOMERS, customers));
        Self { selects: parts }
    }

    /// What stands for all that is asked for: the same SQL, rendered, has the same hash.
    pub(super) fn hash(&self) -> String {
        token(&self.selects.iter().flat_map(|(name, sql)| [*name, sql.as_str()]).collect::<Vec<_>>())
    }

    /// Writes all parts at once.
    pub(super) async fn unload(&self, invocation: &Invocation<'_>) -> Result<Prepared> {
        let written = join_all(self.selects.iter().map(|(name, sql)| unload(invocation, name, sql))).await;
        let (mut parts, mut bytes_scanned) = (Vec::new(), 0);
        for part in written {
            let (part, scanned) = part?;
            bytes_scanned += scanned;
            parts.push(part);
        }
        Ok(Prepared { parts, bytes_scanned })
    }
}

/// Writes what a SELECT gives as a part, and says how many bytes were scanned.
pub(super) async fn unload(invocation: &Invocation<'_>, part: &'static str, select: &str) -> Result<(Part, u64)> {
    let run_id = &invocation.event.run_id;
    let prefix = |n: u32| format!("prepared/{run_id}/{n}/{part}");
    let sql = |n: u32| {
        let location = literal(&format!("{}/", invocation.settings.location_of(&prefix(n))));
        format!("UNLOAD ({select}) TO {location} WITH (format = 'PARQUET', compression = 'SNAPPY')")
    };
    let finished = invocation.queries.run_numbered(&format!("preparing {part}"), sql).await?;
    let prefix = prefix(finished.n);
    let objects = objects_in(invocation.bucket.as_ref(), &prefix).await?;
    let rows = rows_in(invocation, &prefix, &objects).await?;
    tracing::info!(rows, objects = objects.len(), "prepared {part}");
    Ok((Part { name: part.to_owned(), prefix, rows, objects }, finished.bytes_scanned))
}

/// The objects of a folder.
pub(super) async fn objects_in(store: &dyn Store, prefix: &str) -> Result<Vec<Object>> {
    let object = |meta: ObjectMeta| Object { key: meta.key, bytes: meta.size, version: meta.version };
    Ok(store.list(prefix).await?.into_iter().map(object).collect())
}

/// Rows by the footers; no objects are no rows.
async fn rows_in(invocation: &Invocation<'_>, prefix: &str, objects: &[Object]) -> Result<u64> {
    if objects.iter().all(|object| object.bytes == 0) {
        return Ok(0);
    }
    let location = Location::S3 { bucket: invocation.settings.bucket.clone(), prefix: prefix.to_owned() };
    let dataset = Dataset::open_for(&location, Some(&[]), CsvFormat::default()).await?;
    dataset
        .row_count()
        .ok_or_else(|| Failure::query(format!("{location} is no Parquet, though Athena wrote it; a retry may help")))
}

/// A number from 0 to 99 that depends on the id and the salt alone, so that a customer stays on one side for weeks.
fn split_hash(salt: &str, id: &str) -> String {
    let text = format!("concat({}, coalesce(cast({} AS varchar), ''))", literal(&format!("{salt}:")), name(id));
    format!("mod(bitwise_and(from_big_endian_64(xxhash64(to_utf8({text}))), {NO_SIGN}), 100)")
}
