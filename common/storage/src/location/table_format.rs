//! Table formats whose log decides which files count: Delta, Hudi and Iceberg. Files that their log has removed still lie
//! there, and would be read as rows.

use std::collections::BTreeMap;
use std::path::Path;

use futures::future::join_all;

use super::super::Store;
use super::super::s3::{S3Options, S3Store};
use super::Location;
use error::text::without_control_characters;
use error::{Error, Result};

const DELTA_LOG: &str = "_delta_log";
const HUDI_FOLDER: &str = ".hoodie";
/// Hudi leaves it in every folder of a partition.
const HUDI_PARTITION: &str = ".hoodie_partition_metadata";
const ICEBERG_FOLDER: &str = "metadata";
/// Where Iceberg puts data files, unless it is told otherwise.
const ICEBERG_DATA: &str = "data";
const ICEBERG_HINT: &str = "version-hint.text";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TableFormat {
    Delta,
    Hudi,
    Iceberg,
}

impl TableFormat {
    fn name(self) -> &'static str {
        match self {
            Self::Delta => "a Delta table",
            Self::Hudi => "a Hudi table",
            Self::Iceberg => "an Iceberg table",
        }
    }

    fn log(self) -> &'static str {
        match self {
            Self::Delta => DELTA_LOG,
            Self::Hudi => HUDI_FOLDER,
            Self::Iceberg => ICEBERG_FOLDER,
        }
    }

    fn refused(self, location: &Location, table: &str) -> Error {
        let (name, log, location) = (self.name(), self.log(), location.to_string());
        let what = match location == table {
            true => format!("{location} is {name}"),
            false => format!("{location}: {table} is {name}"),
        };
        Error::Data(format!(
            "{}: its log ({log}/) says which files count, so they are not read as they lie; export a snapshot of the table \
             as Parquet to a folder of its own, and name that folder",
            without_control_characters(&what)
        ))
    }
}

/// Refuses a folder that is a table with a log or has one below it. `keys` are all objects of the folder, hidden ones too.
pub(super) fn refuse_listed<'key>(keys: impl Iterator<Item = &'key str>, location: &Location) -> Result<()> {
    match listed(keys) {
        None => Ok(()),
        Some((format, root)) if root.is_empty() => Err(format.refused(location, &location.to_string())),
        Some((format, root)) => Err(format.refused(location, &format!("{location}/{root}"))),
    }
}

/// The first table among the keys of a folder, and the path of its root.
fn listed<'key>(keys: impl Iterator<Item = &'key str>) -> Option<(TableFormat, String)> {
    let mut metadata: BTreeMap<&str, IcebergSigns> = BTreeMap::new();
    for key in keys {
        let (folders, name) = key.rsplit_once('/').unwrap_or(("", key));
        if name.is_empty() {
            continue;
        }
        for (format, log) in [(TableFormat::Delta, DELTA_LOG), (TableFormat::Hudi, HUDI_FOLDER)] {
            if let Some(root) = above(folders, log) {
                return Some((format, root));
            }
        }
        if name == HUDI_PARTITION {
            return Some((TableFormat::Hudi, folders.to_owned()));
        }
        if folders == ICEBERG_FOLDER || folders.ends_with("/metadata") {
            metadata.entry(folders).or_default().add(name);
        }
    }
    let (folder, _) = metadata.into_iter().find(|(_, signs)| signs.are_enough())?;
    Some((TableFormat::Iceberg, above(folder, ICEBERG_FOLDER).unwrap_or_default()))
}

/// What stands before a folder of a path.
fn above(folders: &str, wanted: &str) -> Option<String> {
    let segments: Vec<&str> = folders.split('/').collect();
    let place = segments.iter().position(|segment| *segment == wanted)?;
    Some(segments[..place].join("/"))
}

/// What in a folder `metadata` shows that it is Iceberg's, and not somebody's folder of that name.
#[derive(Debug, Default)]
struct IcebergSigns {
    has_metadata: bool,
    has_versioned_metadata: bool,
    has_manifest: bool,
}

impl IcebergSigns {
    fn add(&mut self, name: &str) {
        let metadata = name.strip_suffix(".metadata.json").or_else(|| name.strip_suffix(".metadata.json.gz"));
        self.has_metadata |= metadata.is_some();
        self.has_versioned_metadata |= metadata.is_some_and(is_iceberg_version);
        self.has_manifest |= name == ICEBERG_HINT || name.ends_with(".avro");
    }

    fn are_enough(&self) -> bool {
        self.has_versioned_metadata || (self.has_metadata && self.has_manifest)
    }
}

/// `v3` and `00003-<uuid>`, with `.gz` behind them or not.
fn is_iceberg_version(name: &str) -> bool {
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let name = name.strip_suffix(".gz").unwrap_or(name);
    let is_numbered = |(number, id): (&str, &str)| number.len() >= 5 && is_digits(number) && !id.is_empty();
    name.strip_prefix('v').is_some_and(is_digits) || name.split_once('-').is_some_and(is_numbered)
}

/// Refuses a folder that lies inside of such a table. Of S3 a few objects are asked for, and only where the location looks
/// like a part of a table: below it are folders such as `data` or `region=north`.
pub(super) async fn refuse_above(location: &Location, options: &S3Options) -> Result<()> {
    let found = match location {
        Location::Local(path) => above_path(path),
        Location::S3 { bucket, prefix } => above_prefix(bucket, prefix, options).await,
    };
    match found {
        None => Ok(()),
        Some((format, table)) => Err(format.refused(location, &table)),
    }
}

fn above_path(path: &Path) -> Option<(TableFormat, String)> {
    let path = std::fs::canonicalize(path).ok()?;
    path.ancestors().skip(1).find_map(|root| {
        let below = path.strip_prefix(root).ok()?;
        let segments: Vec<String> = below.iter().map(|segment| segment.to_string_lossy().into_owned()).collect();
        // What a table hides from itself, such as an export, is no part of it.
        if segments.iter().any(|segment| segment.starts_with(['_', '.'])) {
            return None;
        }
        let is_iceberg = || {
            let mut signs = IcebergSigns::default();
            if segments.first().is_some_and(|first| first == ICEBERG_DATA) {
                names_in(&root.join(ICEBERG_FOLDER)).iter().for_each(|name| signs.add(name));
            }
            signs.are_enough()
        };
        let format = if !names_in(&root.join(DELTA_LOG)).is_empty() {
            TableFormat::Delta
        } else if !names_in(&root.join(HUDI_FOLDER)).is_empty() {
            TableFormat::Hudi
        } else if is_iceberg() {
            TableFormat::Iceberg
        } else {
            return None;
        };
        Some((format, root.display().to_string()))
    })
}

/// Names in a folder; none where it is no folder or may not be read.
fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// What a table of each format has nearly always: the first commit or a checkpoint after it; an Iceberg table in a catalog
/// has no object that could be asked for by name.
const ASKED_FOR: [(TableFormat, &str); 4] = [
    (TableFormat::Delta, "_delta_log/_last_checkpoint"),
    (TableFormat::Delta, "_delta_log/00000000000000000000.json"),
    (TableFormat::Hudi, ".hoodie/hoodie.properties"),
    (TableFormat::Iceberg, "metadata/version-hint.text"),
];

async fn above_prefix(bucket: &str, prefix: &str, options: &S3Options) -> Option<(TableFormat, String)> {
    let root = table_root(prefix)?;
    let store = S3Store::connect(bucket, root, options).await.ok()?;
    // Who may read a folder may not be allowed to ask for what lies beside it: then nothing is known.
    let answers = join_all(ASKED_FOR.iter().map(|(_, key)| store.head(key))).await;
    let is_there = |answer: &Result<Option<super::ObjectMeta>, _>| matches!(answer, Ok(Some(_)));
    let (format, _) = ASKED_FOR[answers.iter().position(is_there)?];
    Some((format, store.root().trim_end_matches('/').to_owned()))
}

/// The root of the table that a prefix would be a part of: what comes before `data` and `key=value` at its end.
fn table_root(prefix: &str) -> Option<&str> {
    let mut root = prefix;
    loop {
        let (before, last) = root.rsplit_once('/').unwrap_or(("", root));
        if !last.contains('=') && last != ICEBERG_DATA {
            return (root != prefix).then_some(root);
        }
        root = before;
        if root.is_empty() {
            return Some(root);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(keys: &[&str]) -> Option<(TableFormat, String)> {
        listed(keys.iter().copied())
    }

    #[test]
    fn a_table_is_known_by_its_log() {
        let table = |format, root: &str| Some((format, root.to_owned()));
        let delta = ["a.parquet", "_delta_log/00000000000000000000.json"];
        assert_eq!(found(&delta), table(TableFormat::Delta, ""));
        assert_eq!(found(&["x/a.parquet", "x/y/_delta_log/0.json"]), table(TableFormat::Delta, "x/y"));
        assert_eq!(found(&["t/.hoodie/hoodie.properties"]), table(TableFormat::Hudi, "t"));
        assert_eq!(found(&["y=1/.hoodie_partition_metadata"]), table(TableFormat::Hudi, "y=1"));
        for metadata in
            ["v1.metadata.json", "00000-1f.metadata.json", "123456-a.gz.metadata.json", "v2.metadata.json.gz"]
        {
            let keys = ["data/a.parquet", &format!("metadata/{metadata}")];
            assert_eq!(found(&keys), table(TableFormat::Iceberg, ""), "{metadata}");
        }
        let named = ["db/t/metadata/now.metadata.json", "db/t/metadata/snap-1.avro"];
        assert_eq!(found(&named), table(TableFormat::Iceberg, "db/t"));
    }

    #[test]
    fn what_is_only_called_like_a_log_is_none() {
        for keys in [
            vec!["metadata/a.csv", "metadata/b.csv"],
            vec!["metadata/a.csv", "metadata/a.csv.metadata.json"],
            vec!["metadata/2024-01.metadata.json", "metadata/table.json"],
            vec!["metadata/part.avro", "a.parquet"],
            vec!["other/v1.metadata.json"],
            vec!["v1.metadata.json"],
            vec!["_delta_log_$folder$", ".hoodie_$folder$", "a.parquet"],
            vec!["_delta_log/", ".hoodie/", "a.parquet"],
            vec!["_delta_log", "a/.hoodie"],
        ] {
            assert_eq!(found(&keys), None, "{keys:?}");
        }
    }

    #[test]
    fn the_root_of_a_table_is_above_its_partitions() {
        assert_eq!(table_root("lake/t/data"), Some("lake/t"));
        assert_eq!(table_root("lake/t/y=1/m=2"), Some("lake/t"));
        assert_eq!(table_root("lake/t/data/y=1"), Some("lake/t"));
        assert_eq!(table_root("y=1"), Some(""));
        assert_eq!(table_root("lake/t"), None);
        assert_eq!(table_root(""), None);
    }

    #[tokio::test]
    async fn a_part_of_a_table_on_disk_is_known_by_what_lies_above() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        };
        write("delta/_delta_log/00000000000000000000.json");
        write("delta/y=1/m=2/a.csv");
        write("delta/_export/a.csv");
        write("ice/metadata/v1.metadata.json");
        write("ice/data/y=1/a.csv");
        write("ice/elsewhere/a.csv");
        let opened = |name: &str| {
            let location = Location::Local(folder.path().join(name));
            async move { location.open_data_with(&S3Options::default()).await.map(|data| data.objects.len()) }
        };
        for (name, format) in [
            ("delta", "a Delta table"),
            ("delta/y=1", "a Delta table"),
            ("delta/y=1/m=2", "a Delta table"),
            ("ice/data", "an Iceberg table"),
            ("ice/data/y=1", "an Iceberg table"),
        ] {
            let error = opened(name).await.unwrap_err();
            assert_eq!(error.exit_code(), 4);
            assert!(error.to_string().contains(format) && error.to_string().contains("export a snapshot"), "{error}");
        }
        for name in ["delta/_export", "delta/y=1/m=2/a.csv", "ice/elsewhere"] {
            assert_eq!(opened(name).await.unwrap(), 1, "{name}");
        }
    }
}
