//! The whole line, end to end: the real binaries on real files and a real S3 server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)]

mod bad_input;
mod bad_models;
mod bombs;
mod cliffs;
mod crash;
mod csv;
mod csv_records;
mod damaged;
mod disk;
mod docs;
mod evaluate;
mod faults;
mod footers;
mod gate;
mod history;
mod hosts;
mod interrupt;
mod intervals;
mod kills;
mod leaks;
mod learning;
mod locations;
mod models;
mod odd_s3;
mod partitions;
mod places;
mod python;
mod race;
mod reasons;
mod release_1;
mod repeat;
mod s3;
mod sample;
mod settings;
mod shapes;
mod shards;
mod slices;
mod surroundings;
mod text_columns;
mod types;
mod writers;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::Value;
use tempfile::TempDir;
use testkit::program::{Ended, Invocation, Programs};
use testkit::tables;

/// Rows of the tables that most tests train on.
const ROWS: usize = 1_500;

fn programs() -> Programs {
    Programs::beside(env!("CARGO_BIN_EXE_predict"))
}

fn repository() -> PathBuf {
    testkit::project()
}

fn sample(part: &str) -> String {
    repository().join("samples/credit-card").join(part).display().to_string()
}

/// A folder of a test: data to train on, customers to score, and where the programs write.
struct Workshop {
    folder: TempDir,
}

impl Workshop {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Writes a file below the folder.
    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// With `train/part.parquet` and `customers/part.parquet` of the usual table.
    fn with_data() -> Self {
        let workshop = Self::new();
        tables::write_parquet(&tables::customers(ROWS, 1, 7), &workshop.path("train/part.parquet"));
        let customers = tables::without(&tables::customers(400, 100_000, 8), "score");
        tables::write_parquet(&customers, &workshop.path("customers/part.parquet"));
        workshop
    }

    /// With the usual model published besides.
    fn with_model() -> Self {
        let workshop = Self::with_data();
        copy_folder(&usual_model().path("models"), &workshop.path("models"));
        workshop
    }

    /// `train` on the usual table, few rounds, one thread.
    fn train(&self) -> Invocation {
        self.train_on("train")
    }

    /// What a test gives as a flag wins over the variables here.
    fn train_on(&self, data: &str) -> Invocation {
        let call = programs().train().folder(self.folder.path()).env("TRAIN_DATA", data).env("MODELS", "models");
        let call = call.env("ID_COLUMN", "customer_id").env("TARGET_COLUMN", "score").env("MODEL_VERSION", "v1");
        call.env("ROUNDS", "30").env("THREADS", "1")
    }

    fn predict(&self) -> Invocation {
        self.predict_on("customers")
    }

    fn predict_on(&self, data: &str) -> Invocation {
        let call = programs().predict().folder(self.folder.path()).env("INPUT_DATA", data);
        call.env("MODELS", "models").env("OUTPUT", "output").env("THREADS", "1")
    }

    fn models_command(&self, arguments: &[&str]) -> Ended {
        let call = programs().train().folder(self.folder.path()).arg("models").args(arguments);
        call.args(["--models", "models"]).run()
    }

    fn json(&self, name: &str) -> Value {
        let bytes = std::fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The folder of the only model, relative to the workshop.
    fn model_folder(&self) -> String {
        let latest = self.json("models/engagement/latest.json");
        format!("models/engagement/{}", latest["path"].as_str().unwrap())
    }

    /// Every file below a folder, sorted; none where there is no folder.
    fn files(&self, below: &str) -> Vec<String> {
        let root = self.path(below);
        let mut files = files_below(&root);
        files.iter_mut().for_each(|file| *file = file[root.display().to_string().len() + 1..].to_owned());
        files
    }

    /// The same without the page of all runs, which every run may write.
    fn files_of_runs(&self, below: &str) -> Vec<String> {
        let is_page = |file: &String| file.ends_with("/index.html") || file.ends_with("/history.json");
        self.files(below).into_iter().filter(|file| !is_page(file)).collect()
    }

    /// No pointer, no manifest: nothing that a reader takes for a result.
    #[track_caller]
    fn assert_nothing_published(&self) {
        let all = [self.files("models"), self.files("output")].concat();
        let published = |file: &&String| file.ends_with("latest.json") || file.ends_with("manifest.json");
        assert_eq!(all.iter().find(published), None, "{all:?}");
    }

    /// No manifest and no pointer in the output.
    #[track_caller]
    fn assert_no_predictions(&self) {
        let files = self.files("output");
        let published = |file: &&String| file.ends_with("latest.json") || file.ends_with("manifest.json");
        assert_eq!(files.iter().find(published), None, "{files:?}");
    }
}

/// The usual table's model, trained once.
fn usual_model() -> &'static Workshop {
    static MODEL: OnceLock<Workshop> = OnceLock::new();
    MODEL.get_or_init(|| {
        let workshop = Workshop::with_data();
        workshop.train().run().succeeded();
        workshop
    })
}

fn files_below(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut files = Vec::new();
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path.display().to_string()) }
    }
    files.sort();
    files
}

fn copy_folder(from: &Path, to: &Path) {
    for file in files_below(from) {
        let target = to.join(Path::new(&file).strip_prefix(from).unwrap());
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(&file, target).unwrap();
    }
}

fn sha256(bytes: &[u8]) -> String {
    storage::sha256_hex(bytes)
}

fn text<'value>(value: &'value Value, name: &str) -> &'value str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} is no text in {value}"))
}
