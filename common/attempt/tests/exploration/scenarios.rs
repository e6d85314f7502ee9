//! What is explored: a store with a published model, and attempts at new runs of it.

use std::sync::Arc;

use attempt::pointer::{promote_model, publish, publish_model};
use attempt::{Commit, Earlier, Layout, Plan, RunFile, RunFolder};
use bytes::Bytes;
use error::{Error, Result};
use registry::{ModelRun, ModelStore, Pointer};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use storage::sha256_hex;
use telemetry::{GATE, Outcome, Summary};

use crate::attempts::Start;
use crate::invariants::{Invariants, Kind, MIN_R2};
use crate::store::AskingStore;

/// The two ways in which programs use the crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// As `train` does: the plan goes with the scratch space, and there are two pointers.
    Train,
    /// As `predict` does: the plan stays, and there is one pointer.
    Predict,
}

impl Use {
    fn layout(self) -> Layout {
        let was_complete = |outcome: &Outcome| outcome.gate_passed().is_some();
        match self {
            Self::Train => Layout { plan: "_checkpoint/plan.json", scratch: "_checkpoint", was_complete },
            Self::Predict => Layout { plan: "plan.json", scratch: "_checkpoint", was_complete },
        }
    }
}

const VERSION: &str = "1.0.0";
/// Before every time that the explorer's clock tells.
const BEGAN: &str = "2025-12-31T00:00:00.000Z";

/// A scenario: what is in the store, who works on it at once, who comes afterwards, and how much goes wrong.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) objects: Vec<(String, Bytes)>,
    /// The programs, and how many attempts run each.
    pub(crate) programs: Vec<(Start, usize)>,
    /// The attempts from here on run one after the other, without faults, once no other goes on: the retries that end everything.
    pub(crate) concurrent: usize,
    pub(crate) faults: u8,
    pub(crate) invariants: Invariants,
}

/// What an attempt comes to. Two attempts at one run come to different models, as when a search is cut by the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    /// A model that passes the gate.
    Passes,
    /// A model that does not.
    Rejected,
    /// A model that passes the gate, for other settings.
    Otherwise,
    /// Nothing: the data is wrong.
    Fails,
}

impl Work {
    /// What the attempt was asked for.
    fn settings(self) -> Value {
        json!({MIN_R2: if self == Self::Otherwise { 0.5 } else { 0.75 }})
    }
}

/// An actor of a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Actor {
    Attempt(&'static str, Work),
    Promotes(&'static str),
}

pub(crate) fn all() -> Vec<Scenario> {
    use Actor::{Attempt, Promotes};
    use Use::{Predict, Train};
    use Work::{Fails, Otherwise, Passes, Rejected};
    let (passes, rejected, fails) = (Attempt("r1", Passes), Attempt("r1", Rejected), Attempt("r1", Fails));
    vec![
        scenario("three attempts of a run of predict", Predict, 1, &[(passes, 3)]),
        scenario("three attempts of a run of train", Train, 0, &[(passes, 3)]),
        scenario("two attempts of a run of train, more that goes wrong", Train, 3, &[(passes, 2)]),
        scenario("attempts that come to different verdicts", Train, 0, &[(passes, 1), (rejected, 1), (fails, 1)]),
        scenario("attempts with different settings", Predict, 1, &[(passes, 1), (Attempt("r1", Otherwise), 1)]),
        scenario("a run and another one", Predict, 1, &[(passes, 2), (Attempt("r2", Passes), 1)]),
        scenario("a run of train and another one", Train, 1, &[(passes, 1), (Attempt("r2", Passes), 1)]),
        scenario("two attempts while an older model is promoted", Train, 0, &[(passes, 2), (Promotes("r0"), 1)]),
        scenario("an attempt while an older model is promoted", Train, 2, &[(passes, 1), (Promotes("r0"), 1)]),
    ]
}

fn scenario(name: &'static str, of: Use, faults: u8, actors: &[(Actor, usize)]) -> Scenario {
    let mut runs: Vec<&'static str> = actors.iter().filter_map(|(actor, _)| actor.run()).collect();
    runs.dedup();
    let is_asked_otherwise = actors.iter().any(|(actor, _)| matches!(actor, Actor::Attempt(_, Work::Otherwise)));
    // The last one comes when the run is decided, and needs no data for its result.
    let last_works = [Some(Work::Passes), is_asked_otherwise.then_some(Work::Otherwise), Some(Work::Fails)];
    let last_of = |run| last_works.into_iter().flatten().map(move |work| (Actor::Attempt(run, work), 1));
    let last: Vec<(Actor, usize)> = runs.into_iter().flat_map(last_of).collect();
    let all = actors.iter().chain(&last);
    Scenario {
        name,
        objects: published("r0", of),
        programs: all.clone().map(|(actor, times)| (actor.start(of), *times)).collect(),
        concurrent: actors.iter().map(|(_, times)| times).sum(),
        faults,
        invariants: Invariants::new(all.flat_map(|(actor, times)| vec![actor.kind(); *times]).collect()),
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

    fn start(self, of: Use) -> Start {
        match self {
            Self::Attempt(run, work) => Box::new(move |store| {
                Box::pin(
                    async move { attempt(store, model_run(run), work, of).await.map_err(|error| error.to_string()) },
                )
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
async fn attempt(store: AskingStore, run: ModelRun, work: Work, of: Use) -> Result<String> {
    let models = ModelStore::new(Arc::new(store.clone()), "m");
    let folder = RunFolder::new(models.shared_store(), models.key(&run.path()), run.run_id.clone(), of.layout());
    let concluded = async {
        let outcome = decided(&folder, &store, work).await?;
        match of {
            Use::Train => folder.conclude(publish_model(&models, &run, &outcome)).await?,
            Use::Predict => {
                let time = outcome.completed_at().unwrap_or_default();
                let pointer = Pointer::to(&run, Some(0.9), outcome.text("model_sha256"), None, time);
                folder.conclude(async { publish(models.store(), "m/latest.json", pointer).await.map(drop) }).await?;
            }
        }
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
    let settings = work.settings();
    let earlier = match folder.earlier::<Body>(&settings, VERSION).await? {
        Earlier::Decided { outcome, .. } => return Ok(outcome),
        earlier => earlier,
    };
    folder.own();
    let plan = match earlier {
        Earlier::UnderWay(plan) => plan,
        _ => {
            let (started_at, program_version) = (BEGAN.to_owned(), VERSION.to_owned());
            let body = Body { rows: 3 };
            folder.begin(Plan { format_version: 1, program_version, started_at, settings, body }).await?
        }
    };
    let verdict = match work {
        Work::Fails => return Err(Error::Data("a row is wrong".to_owned())),
        Work::Passes | Work::Otherwise => "passed",
        Work::Rejected => "failed",
    };
    assert_eq!(plan.body.rows, 3);
    let completed_at = store.now().await;
    folder.commit(commit(folder, verdict, &work.settings(), &completed_at)?).await
}

/// A commit whose model no other attempt comes to.
fn commit(folder: &RunFolder, verdict: &str, settings: &Value, completed_at: &str) -> Result<Commit> {
    let model = format!("the model of {completed_at}");
    let mut summary = Summary::new(folder.run_id());
    summary.set("model_sha256", sha256_hex(model.as_bytes())).set(GATE, verdict).set("r2", 0.9);
    summary.set(MIN_R2, settings[MIN_R2].clone());
    let rejection = (verdict == "failed").then(|| Error::Gate("too bad".to_owned()));
    Commit::new(summary, rejection.as_ref(), vec![RunFile::new("model.ubj", model)], completed_at)
}

async fn promote(store: AskingStore, run: ModelRun) -> Result<String> {
    let models = ModelStore::new(Arc::new(store.clone()), "m");
    // As `train models promote` does: what is promoted was loaded before.
    models.store().get(&models.run_key(&run, "result.json")).await?;
    let now = store.now().await;
    promote_model(&models, &run, &Pointer::to(&run, Some(0.9), "", None, &now)).await?;
    Ok("promoted".to_owned())
}

/// A store with a complete run that the pointers name.
fn published(run: &'static str, of: Use) -> Vec<(String, Bytes)> {
    let run = model_run(run);
    let folder =
        RunFolder::new(Arc::new(AskingStore::default()), format!("m/{}", run.path()), run.run_id.clone(), of.layout());
    let commit = commit(&folder, "passed", &Work::Passes.settings(), BEGAN).unwrap();
    let pointer = serde_json::to_vec_pretty(&Pointer::to(&run, Some(0.9), "", None, BEGAN)).unwrap();
    let mut objects: Vec<(String, Bytes)> =
        commit.files().iter().map(|file| (folder.key(&file.name), file.content.clone())).collect();
    objects.push((folder.key("result.json"), format!("{}\n", commit.outcome().json()).into()));
    objects.push(("m/latest.json".to_owned(), pointer.clone().into()));
    if of == Use::Train {
        objects.push(("m/v1/latest.json".to_owned(), pointer.into()));
    }
    objects
}
