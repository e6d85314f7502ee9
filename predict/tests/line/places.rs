//! A local folder or a bucket, so that one test serves both.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;
use storage::{Location, S3Options};
use testkit::program::Invocation;
use testkit::s3::{ADMIN, S3Server};

use super::{Workshop, programs, sha256, text};

/// Files by their path below a location.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// Where models and predictions lie.
pub(crate) struct Place {
    pub(crate) workshop: Workshop,
    bucket: Option<(Arc<S3Server>, String)>,
}

impl Place {
    pub(crate) fn local() -> Self {
        Self { workshop: Workshop::new(), bucket: None }
    }

    pub(crate) fn bucket(name: &str) -> Self {
        let server = S3Server::shared();
        server.create_bucket(name);
        Self { workshop: Workshop::new(), bucket: Some((server, name.to_owned())) }
    }

    /// Where `name` lies, as settings say it.
    pub(crate) fn location(&self, name: &str) -> String {
        match &self.bucket {
            Some((_, bucket)) => format!("s3://{bucket}/{name}"),
            None => self.workshop.text(name),
        }
    }

    /// Only what the contract says is needed for another server than AWS.
    fn environment(&self) -> Vec<(String, String)> {
        let Some((server, _)) = &self.bucket else { return Vec::new() };
        let pairs = [
            ("AWS_ENDPOINT_URL_S3", server.endpoint()),
            ("AWS_ACCESS_KEY_ID", ADMIN.id.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", ADMIN.secret.to_owned()),
        ];
        pairs.map(|(name, value)| (name.to_owned(), value)).into()
    }

    /// `train` on `train/` here, into `models/` here.
    pub(crate) fn train(&self) -> Invocation {
        let (data, models) = (self.location("train"), self.location("models"));
        let call = programs().train().envs(&self.environment()).env("TRAIN_DATA", data).env("MODELS", models);
        let call = call.env("ID_COLUMN", "customer_id").env("TARGET_COLUMN", "score").env("MODEL_VERSION", "v1");
        call.env("ROUNDS", "40").env("THREADS", "1")
    }

    /// `predict` on `customers/` here, with `models/`, into `output/`.
    pub(crate) fn predict(&self) -> Invocation {
        let (data, models, output) = (self.location("customers"), self.location("models"), self.location("output"));
        let call = programs().predict().envs(&self.environment()).env("INPUT_DATA", data).env("MODELS", models);
        call.env("OUTPUT", output).env("THREADS", "1")
    }

    /// `train models …`
    pub(crate) fn models_command(&self, arguments: &[&str]) -> Invocation {
        let call = programs().train().envs(&self.environment()).arg("models").args(arguments);
        call.args(["--models", &self.location("models")])
    }

    pub(crate) fn write(&self, name: &str, content: Vec<u8>) {
        let location = Location::parse(&self.location("")).unwrap();
        let options = self.options();
        wait_for(async move {
            location.open_with(&options).await.unwrap().put(name, content.into()).await.unwrap();
        });
    }

    /// Every file below `name`.
    pub(crate) fn files(&self, name: &str) -> Files {
        let location = Location::parse(&self.location(name)).unwrap();
        let options = self.options();
        wait_for(async move {
            let store = location.open_with(&options).await.unwrap();
            let mut files = Files::new();
            for object in store.list("").await.unwrap() {
                let (bytes, _) = store.get(&object.key).await.unwrap();
                files.insert(object.key, bytes.to_vec());
            }
            files
        })
    }

    /// Removes every file below `name`.
    pub(crate) fn remove(&self, name: &str) {
        let location = Location::parse(&self.location(name)).unwrap();
        let options = self.options();
        wait_for(async move {
            let store = location.open_with(&options).await.unwrap();
            for object in store.list("").await.unwrap() {
                store.delete(&object.key).await.unwrap();
            }
        });
    }

    fn options(&self) -> S3Options {
        let Some((server, _)) = &self.bucket else { return S3Options::default() };
        S3Options {
            endpoint_url: Some(server.endpoint()),
            region: Some("us-east-1".to_owned()),
            access_key: Some((ADMIN.id.to_owned(), ADMIN.secret.to_owned())),
            ca_bundle: None,
        }
    }
}

fn wait_for<Answer>(future: impl Future<Output = Answer>) -> Answer {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

pub(crate) fn json(files: &Files, name: &str) -> Value {
    let bytes = files.get(name).unwrap_or_else(|| panic!("{name} is not among {:?}", files.keys()));
    serde_json::from_slice(bytes).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Every pointer names a complete folder whose model is the one that was published.
#[track_caller]
pub(crate) fn assert_models_are_whole(files: &Files) {
    for name in files.keys().filter(|name| name.ends_with("latest.json")) {
        let pointer = json(files, name);
        let folder = format!("engagement/{}", text(&pointer, "path"));
        for file in ["metadata.json", "metrics.json", "report.html", "result.json"] {
            assert!(files.contains_key(&format!("{folder}/{file}")), "{name} names {folder}, which lacks {file}");
        }
        assert_eq!(sha256(&files[&format!("{folder}/model.ubj")]), text(&pointer, "sha256"), "{name}");
        assert_eq!(json(files, &format!("{folder}/result.json"))["gate"], "passed", "{name}");
    }
}

/// Every manifest's parts stand, and the pointer names a run with a manifest.
#[track_caller]
pub(crate) fn assert_predictions_are_whole(files: &Files) {
    for name in files.keys().filter(|name| name.ends_with("/manifest.json")) {
        let manifest = json(files, name);
        let folder = format!("predictions/run_id={}/", text(&manifest, "run_id"));
        let mut expected = BTreeSet::new();
        for part in manifest["parts"].as_array().unwrap() {
            let path = text(part, "path");
            assert_eq!(sha256(&files[path]), text(part, "sha256"), "{path}");
            expected.insert(path.to_owned());
        }
        let found: BTreeSet<String> = files.keys().filter(|file| file.starts_with(&folder)).cloned().collect();
        assert_eq!(found, expected, "nothing but parts lies under a table's location");
    }
    if files.contains_key("latest.json") {
        let run_id = text(&json(files, "latest.json"), "run_id").to_owned();
        assert!(files.contains_key(&format!("runs/{run_id}/manifest.json")), "the pointer names {run_id}");
    }
}
