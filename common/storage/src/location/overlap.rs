//! Whether what a run writes would be read as data, by it or by the next one.

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use super::Location;
use error::{Error, Result};

/// A setting that names a location.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The setting as messages name it, such as `--input (INPUT_DATA)`.
    pub setting: &'a str,
    /// What it is set to.
    pub location: &'a Location,
}

/// Refuses to write below a location that is read as data. `folders` are those below `written` that are written to: data
/// must not lie in `written` or be one of them either.
///
/// Local paths are compared as they are given and with links resolved, as far as they exist. A file holds nothing else, and
/// what `_` or `.` hides is not read as data.
///
/// # Errors
/// [`Error::Setting`] that names both settings.
pub fn refuse_overlap(written: Place<'_>, folders: &[&str], data: Place<'_>) -> Result<()> {
    let is_read = |place: &Location| place.is_read_as_data_of(data.location);
    if is_read(written.location) {
        return Err(Error::Setting(format!(
            "{} {} lies in {} {}: what is written there would be read as data; name a folder outside of it, or one whose name \
             begins with _",
            written.setting, written.location, data.setting, data.location
        )));
    }
    match folders.iter().map(|folder| written.location.below(folder)).find(is_read) {
        None => Ok(()),
        Some(folder) => Err(Error::Setting(format!(
            "{} {} is where this run writes, since {} is {}: what is written to {folder} would be read as data; name another \
             folder for one of them",
            data.setting, data.location, written.setting, written.location
        ))),
    }
}

impl Location {
    /// A folder below this location.
    fn below(&self, folder: &str) -> Self {
        match self {
            Self::S3 { bucket, prefix } if prefix.is_empty() => {
                Self::S3 { bucket: bucket.clone(), prefix: folder.to_owned() }
            }
            Self::S3 { bucket, prefix } => Self::S3 { bucket: bucket.clone(), prefix: format!("{prefix}/{folder}") },
            Self::Local(path) => Self::Local(path.join(folder)),
        }
    }

    /// Whether what lies below this location is among the data of another one.
    fn is_read_as_data_of(&self, data: &Self) -> bool {
        match (self, data) {
            (Self::S3 { bucket, prefix }, Self::S3 { bucket: data_bucket, prefix: data_prefix }) => {
                bucket == data_bucket && is_visible_below(prefix.split('/'), segments_of(data_prefix))
            }
            (Self::Local(path), Self::Local(data)) => {
                let given = is_visible_path_below(&without_dots(path), &without_dots(data));
                !data.is_file() && (given || is_visible_path_below(&resolved(path), &resolved(data)))
            }
            _ => false,
        }
    }
}

/// The segments of an S3 prefix; none of the whole bucket.
fn segments_of(prefix: &str) -> impl Iterator<Item = &str> {
    prefix.split('/').filter(|_| !prefix.is_empty())
}

fn is_visible_path_below(path: &Path, folder: &Path) -> bool {
    is_visible_below(path.components().map(Component::as_os_str), folder.components().map(Component::as_os_str))
}

/// Whether a path is a folder or lies below it, and none of the segments in between hides it.
fn is_visible_below<Segment: AsRef<OsStr> + PartialEq>(
    mut path: impl Iterator<Item = Segment>,
    mut folder: impl Iterator<Item = Segment>,
) -> bool {
    let is_hidden = |segment: &Segment| matches!(segment.as_ref().as_encoded_bytes().first(), Some(b'_' | b'.'));
    folder.all(|segment| path.next() == Some(segment)) && !path.any(|segment| is_hidden(&segment))
}

/// The path with `..` taken off together with the folder before it.
fn without_dots(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}

/// The path with links resolved as far as it exists.
fn resolved(path: &Path) -> PathBuf {
    let mut known = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                known.pop();
            }
            other => known.push(other),
        }
        if let Ok(real) = std::fs::canonicalize(&known) {
            known = real;
        }
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(output: &str, input: &str) -> Option<String> {
        let parse = |text: &str| Location::parse(text).unwrap();
        let written = Place { setting: "--output (OUTPUT)", location: &parse(output) };
        let data = Place { setting: "--input (INPUT_DATA)", location: &parse(input) };
        refuse_overlap(written, &["predictions", "runs"], data).err().map(|error| {
            assert_eq!(error.exit_code(), 2);
            error.to_string()
        })
    }

    #[test]
    fn output_does_not_lie_in_the_input() {
        for (output, input) in [
            ("s3://bucket/in", "s3://bucket/in"),
            ("s3://bucket/in/out", "s3://bucket/in"),
            ("s3://bucket/in/a/b", "s3://bucket/in/"),
            ("s3://bucket/out", "s3://bucket"),
            ("s3://bucket", "s3://bucket"),
            ("/none/in", "/none/in"),
            ("/none/in/out", "/none/in/"),
            ("/none/x/../in/out", "/none/in"),
            ("file:///none/in/out", "/none/./in"),
            ("in/out", "in"),
            ("in", "."),
        ] {
            let message = refused(output, input).unwrap_or_else(|| panic!("{output} in {input}"));
            assert!(message.contains("--output (OUTPUT)") && message.contains("--input (INPUT_DATA)"), "{message}");
            assert!(message.contains("begins with _"), "{message}");
        }
    }

    #[test]
    fn places_beside_each_other_are_two_places() {
        for (output, input) in [
            ("s3://bucket/in-out", "s3://bucket/in"),
            ("s3://other/in/out", "s3://bucket/in"),
            ("s3://bucket/out", "s3://bucket/in"),
            ("s3://bucket/in/_out", "s3://bucket/in"),
            ("s3://bucket/in/a/.out/b", "s3://bucket/in"),
            ("s3://bucket/_out/b", "s3://bucket"),
            ("s3://bucket", "s3://bucket/in"),
            ("/none/in2", "/none/in"),
            ("/none/in/_out", "/none/in"),
            ("/none", "/none/in"),
            ("s3://none/in/out", "/none/in"),
            ("/none/out", "/none/out/other"),
            ("/none/out", "/none/out/predictions/run_id=7"),
        ] {
            assert_eq!(refused(output, input), None, "{output} in {input}");
        }
    }

    #[test]
    fn input_is_not_where_the_output_writes() {
        for (output, input) in [("/none/out", "/none/out/predictions"), ("s3://bucket/out", "s3://bucket/out/runs")] {
            let message = refused(output, input).unwrap();
            assert!(message.contains("is where this run writes"), "{message}");
        }
        assert!(refused("s3://bucket", "s3://bucket/predictions").is_some());
    }

    #[test]
    fn links_are_followed_and_a_file_holds_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        std::fs::create_dir_all(path("data/_kept")).unwrap();
        std::fs::write(path("data/part.csv"), "x").unwrap();
        std::os::unix::fs::symlink(path("data"), path("link")).unwrap();
        std::os::unix::fs::symlink(path("data/_kept"), path("data/out")).unwrap();
        assert!(refused(&path("link/out2"), &path("data")).is_some());
        assert!(refused(&path("data/out2"), &path("link")).is_some());
        assert!(refused(&path("link/new/../out2"), &path("data")).is_some());
        assert!(refused(&path("data/out"), &path("data")).is_some(), "what the link shows is read");
        assert_eq!(refused(&path("link/_kept"), &path("data")), None);
        assert_eq!(refused(&path("data/part.csv/out"), &path("data/part.csv")), None);
        assert_eq!(refused(&path("data"), &path("data/part.csv")), None);
    }
}
