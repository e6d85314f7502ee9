//! What is explored: a store with a published model, and attempts at new runs of it.

use std::sync::Arc;

use attempt::pointer::{promote_model, publish_model};
use attempt::{Commit, Earlier, Layout, Plan, RunFile, RunFolder};
use bytes::Bytes;
use error::{Error, Result};
use registry::{ModelRun, ModelStore, Pointer};
use serde::{Deserialize, Serialize};
use serde_json::json;
use storage::sha256_hex;
use telemetry::{GATE, Outcome, Summary};

use crate::attempts::Start;
use crate::invariants::{Invariants, Kind};
use crate::store::AskingStore;

const LAYOUT: Layout = Layout {
    plan: "_checkpoint/plan.json",
    scratch: "_checkpoint",
    was_complete: |outcome| outcome.gate_passed().is_some(),
};
const VERSION: &str = "1.0.0";

/// A scenario: what is in the store, who works on it at once, who comes afterwards, and how much goes wrong.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) objects: Vec<(String, Bytes)>,
    pub(crate) attempts: Vec<Start>,
    /// How many of the attempts there are before the last ones.
    pub(crate) concurrent: usize,
    /// Run one after the other, without faults, once no other attempt goes on: the retries that end everything.
    pub(crate) last: Vec<Start>,
    pub(crate) crashes: u8,
    pub(crate) faults: u8,
    pub(crate) invariants: Invariants,
}

/// What an attempt comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    /// A model that passes the gate. Two attempts at one run may come to different ones: a search is cut by the clock.
    Passes(&'static str),
    /// A model that does not.
    Rejected(&'static str),
    /// Nothing: the data is wrong.
    Fails,
}

/// An actor of a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Actor {
    Attempt(&'static str, Work),
    Promotes(&'static str),
}

pub(crate) fn all() -> Vec<Scenario> {
    use Actor::{Attempt, Promotes};
    use Work::{Fails, Passes, Rejected};
    vec![
        scenario(
            "three attempts of a run",
            (2, 1),
            &[Attempt("r1", Passes("a")), Attempt("r1", Passes("b")), Attempt("r1", Passes("c"))],
        ),
        scenario(
            "attempts that come to different verdicts",
            (2, 1),
            &[Attempt("r1", Passes("a")), Attempt("r1", Rejected("b")), Attempt("r1", Fails)],
        ),
        scenario(
            "a run and another one",
            (2, 1),
            &[Attempt("r1", Passes("a")), Attempt("r1", Passes("b")), Attempt("r2", Passes("c"))],
        ),
        scenario(
            "a run while an older model is promoted",
            (2, 1),
            &[Attempt("r1", Passes("a")), Attempt("r1", Passes("b")), Promotes("r0")],
        ),
        scenario(
            "two attempts, much that goes wrong",
            (2, 3),
            &[Attempt("r1", Passes("a")), Attempt("r1", Passes("b"))],
        ),
    ]
}

fn scenario(name: &'static str, (crashes, faults): (u8, u8), actors: &[Actor]) -> Scenario {
    let mut runs: Vec<&'static str> = actors.iter().filter_map(|actor| actor.run()).collect();
    runs.dedup();
    // Comes after all others, so it never decides what an attempt before it has decided.
    let last: Vec<Actor> = runs.iter().map(|run| Actor::Attempt(run, Work::Passes("last"))).collect();
    let kinds = actors.iter().chain(&last).map(|actor| actor.kind()).collect();
    Scenario {
        name,
        objects: published("r0"),
        attempts: actors.iter().map(|actor| actor.start()).collect(),
        concurrent: actors.len(),
        last: last.iter().map(|actor| actor.start()).collect(),
        crashes,
        faults,
        invariants: Invariants::new(kinds),
    }
}

impl Actor {
    fn run(self) -> Option<&'static str> {
        match self {
            Self::Attempt(run, _) => Some(run),
            Self::Promotes(_) => None,
        }
    }

    fn kind(self) -> Kind {
        match self {
            Self::Attempt(run, _) => Kind::Attempt { folder: format!("m/v1/{run}") },
            Self::Promotes(_) => Kind::Promotion,
        }
    }

    fn start(self) -> Start {
        match self {
            Self::Attempt(run, work) => Box::new(move |store| {
                Box::pin(async move { attempt(store, model_run(run), work).await.map_err(|error| error.to_string()) })
            }),
            Self::Promotes(run) => Box::new(move |store| {
                Box::pin(async move { promote(store, model_run(run)).await.map_err(|error| error.to_string()) })
            }),
        }
    }
}

fn model_run(run: &str) -> ModelRun {
    ModelRun { version: "v1".parse().unwrap(), run_id: run.parse().unwrap() }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Body {
    rows: u32,
}

/// The life of a run as `train` and `predict` have it.
async fn attempt(store: AskingStore, run: ModelRun, work: Work) -> Result<String> {
    let models = ModelStore::new(Arc::new(store.clone()), "m");
    let folder = RunFolder::new(models.shared_store(), models.key(&run.path()), run.run_id.clone(), LAYOUT);
    let concluded = async {
        let outcome = decided(&folder, &store, work).await?;
        folder.conclude(publish_model(&models, &run, &outcome)).await?;
        Ok(outcome)
    };
    match concluded.await {
        Ok(outcome) => Ok(outcome.json().to_owned()),
        Err(error) => {
            folder.record_failure(&Summary::new(&run.run_id).failed(&error), &error).await;
            Err(error)
        }
    }
}

async fn decided(folder: &RunFolder, store: &AskingStore, work: Work) -> Result<Outcome> {
    let settings = json!({"min_r2": 0.75});
    let earlier = match folder.earlier::<Body>(&settings, VERSION).await? {
        Earlier::Decided { outcome, .. } => return Ok(outcome),
        earlier => earlier,
    };
    folder.own();
    let plan = match earlier {
        Earlier::UnderWay(plan) => plan,
        _ => {
            let started_at = store.now().await;
            let program_version = VERSION.to_owned();
            folder
                .begin(Plan { format_version: 1, program_version, started_at, settings, body: Body { rows: 3 } })
                .await?
        }
    };
    let (content, verdict) = match work {
        Work::Fails => return Err(Error::Data("a row is wrong".to_owned())),
        Work::Passes(content) => (content, "passed"),
        Work::Rejected(content) => (content, "failed"),
    };
    folder.put(&folder.scratch("trial"), Bytes::from_static(content.as_bytes())).await?;
    let completed_at = store.now().await;
    folder.commit(commit(folder, content, verdict, (&plan.started_at, &completed_at))?).await
}

fn commit(
    folder: &RunFolder,
    content: &str,
    verdict: &str,
    (started_at, completed_at): (&str, &str),
) -> Result<Commit> {
    let (model, metadata) = (format!("model {content}"), format!("metadata {content}, begun {started_at}"));
    let mut summary = Summary::new(folder.run_id());
    summary.set("model_sha256", sha256_hex(model.as_bytes())).set("metadata_sha256", sha256_hex(metadata.as_bytes()));
    summary.set(GATE, verdict).set("r2", 0.9);
    let rejection = (verdict == "failed").then(|| Error::Gate("too bad".to_owned()));
    let files = vec![RunFile::new("model.ubj", model), RunFile::new("metadata.json", metadata)];
    Commit::new(summary, rejection.as_ref(), files, completed_at)
}

async fn promote(store: AskingStore, run: ModelRun) -> Result<String> {
    let models = ModelStore::new(Arc::new(store.clone()), "m");
    let now = store.now().await;
    promote_model(&models, &run, &Pointer::to(&run, Some(0.9), "", None, &now)).await?;
    Ok("promoted".to_owned())
}

/// A store with a complete run that both pointers name.
fn published(run: &'static str) -> Vec<(String, Bytes)> {
    let run = model_run(run);
    let folder =
        RunFolder::new(Arc::new(AskingStore::default()), format!("m/{}", run.path()), run.run_id.clone(), LAYOUT);
    let began = "2025-12-31T00:00:00.000Z";
    let commit = commit(&folder, "old", "passed", (began, began)).unwrap();
    let pointer = serde_json::to_vec_pretty(&Pointer::to(&run, Some(0.9), "", None, began)).unwrap();
    let mut objects: Vec<(String, Bytes)> =
        commit.files().iter().map(|file| (folder.key(&file.name), file.content.clone())).collect();
    objects.push((folder.key("result.json"), format!("{}\n", commit.outcome().json()).into()));
    objects.push(("m/latest.json".to_owned(), pointer.clone().into()));
    objects.push(("m/v1/latest.json".to_owned(), pointer.into()));
    objects
}
