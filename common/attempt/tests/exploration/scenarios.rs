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
use crate::invariants::{INCOMPLETE, Invariants, Kind, MIN_R2, RECORDS};
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

/// How many shards a run has that is shared.
const SHARDS: u32 = 2;
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
    /// An attempt at one of the two shards of a run.
    Shard(&'static str, Work, u32),
    Promotes(&'static str),
}

/// The scenarios of every run of the tests, which take less than a minute, or with `EXPLORE=all` those that take minutes, too.
pub(crate) fn all() -> Vec<Scenario> {
    use Actor::{Attempt, Promotes, Shard};
    use Use::{Predict, Train};
    use Work::{Fails, Otherwise, Passes, Rejected};
    let (first, second) = (Shard("r1", Passes, 0), Shard("r1", Passes, 1));
    let (passes, rejected, fails) = (Attempt("r1", Passes), Attempt("r1", Rejected), Attempt("r1", Fails));
    let twice_at_once = [(first, 2), (second, 1)];
    let more = all_are_asked_for()
        .then(|| scenario("two shards, one of them twice at once, from the start", Predict, 0, &twice_at_once));
    let mut all = vec![
        scenario("three attempts of a run of predict", Predict, 1, &[(passes, 3)]),
        scenario("three attempts of a run of train", Train, 0, &[(passes, 3)]),
        scenario("two attempts of a run of train, more that goes wrong", Train, 3, &[(passes, 2)]),
        scenario("attempts that come to different verdicts", Train, 0, &[(passes, 1), (rejected, 1), (fails, 1)]),
        scenario("attempts with different settings", Predict, 1, &[(passes, 1), (Attempt("r1", Otherwise), 1)]),
        scenario("a run and another one", Predict, 1, &[(passes, 2), (Attempt("r2", Passes), 1)]),
        scenario("a run of train and another one", Train, 1, &[(passes, 1), (Attempt("r2", Passes), 1)]),
        scenario("two attempts while an older model is promoted", Train, 0, &[(passes, 2), (Promotes("r0"), 1)]),
        scenario("an attempt while an older model is promoted", Train, 2, &[(passes, 1), (Promotes("r0"), 1)]),
        scenario("two shards of a run", Predict, 2, &[(first, 1), (second, 1)]),
        begun("two shards that have begun, one of them twice at once", Predict, 0, &twice_at_once),
        scenario("two shards, one of which fails", Predict, 1, &[(first, 1), (Shard("r1", Fails, 1), 1)]),
        scenario("two shards with different settings", Predict, 1, &[(first, 1), (Shard("r1", Otherwise, 1), 1)]),
    ];
    all.extend(more);
    all
}

/// Whether the scenarios that take minutes are explored, too.
pub(crate) fn all_are_asked_for() -> bool {
    std::env::var("EXPLORE").is_ok_and(|which| which == "all")
}

/// A scenario whose run `r1` has its plan already, so that there are fewer states: who writes it first is seen in the others.
fn begun(name: &'static str, of: Use, faults: u8, actors: &[(Actor, usize)]) -> Scenario {
    let mut scenario = scenario(name, of, faults, actors);
    let folder = folder_of(Arc::new(AskingStore::default()), &model_run("r1"), of);
    let plan = serde_json::to_vec_pretty(&plan(Work::Passes.settings())).unwrap();
    scenario.objects.push((folder.key(of.layout().plan), plan.into()));
    scenario
}

fn scenario(name: &'static str, of: Use, faults: u8, actors: &[(Actor, usize)]) -> Scenario {
    let mut runs: Vec<&'static str> = actors.iter().filter_map(|(actor, _)| actor.run()).collect();
    runs.dedup();
    let is_asked_otherwise = actors
        .iter()
        .any(|(actor, _)| matches!(actor, Actor::Attempt(_, Work::Otherwise) | Actor::Shard(_, Work::Otherwise, _)));
    let is_shared = actors.iter().any(|(actor, _)| matches!(actor, Actor::Shard(..)));
    // The last one comes when the run is decided, and needs no data for its result.
    let last_works = [Some(Work::Passes), is_asked_otherwise.then_some(Work::Otherwise), Some(Work::Fails)];
    let last_of = |run| -> Vec<(Actor, usize)> {
        last_works
            .into_iter()
            .flatten()
            .flat_map(|work| match is_shared {
                false => vec![(Actor::Attempt(run, work), 1)],
                // Whoever asks again of a decided run is answered alike.
                true if work == Work::Fails => vec![(Actor::Shard(run, work, 0), 1)],
                true => (0..SHARDS).map(|shard| (Actor::Shard(run, work, shard), 1)).collect(),
            })
            .collect()
    };
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
            Self::Attempt(run, _) | Self::Shard(run, ..) => Some(run),
            Self::Promotes(_) => None,
        }
    }

    fn kind(self) -> Kind {
        match self {
            Self::Attempt(run, _) => Kind::Attempt { folder: format!("m/v1/{run}"), shard: None },
            Self::Shard(run, _, shard) => Kind::Attempt { folder: format!("m/v1/{run}"), shard: Some(shard) },
            Self::Promotes(_) => Kind::Promotion,
        }
    }

    fn start(self, of: Use) -> Start {
        let start = move |run: &'static str, task: Task| -> Start {
            Box::new(move |store| {
                Box::pin(
                    async move { attempt(store, model_run(run), task, of).await.map_err(|error| error.to_string()) },
                )
            })
        };
        match self {
            Self::Attempt(run, work) => start(run, Task { work, shard: None }),
            Self::Shard(run, work, shard) => start(run, Task { work, shard: Some(shard) }),
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

/// What an attempt does.
#[derive(Debug, Clone, Copy)]
struct Task {
    work: Work,
    /// Which share of the run, where it is shared.
    shard: Option<u32>,
}

/// The life of a run as `train` and `predict` have it.
async fn attempt(store: AskingStore, run: ModelRun, task: Task, of: Use) -> Result<String> {
    let models = ModelStore::new(Arc::new(store.clone()), "m");
    let folder = RunFolder::new(models.shared_store(), models.key(&run.path()), run.run_id.clone(), of.layout());
    let concluded = async {
        let Some(outcome) = decided(&folder, &store, task).await? else { return Ok(None) };
        match of {
            Use::Train => folder.conclude(publish_model(&models, &run, &outcome)).await?,
            Use::Predict => {
                let time = outcome.completed_at().unwrap_or_default();
                let pointer = Pointer::to(&run, Some(0.9), outcome.text("model_sha256"), None, time);
                folder.conclude(async { publish(models.store(), "m/latest.json", pointer).await.map(drop) }).await?;
            }
        }
        Ok(Some(outcome))
    };
    match concluded.await {
        Ok(outcome) => Ok(outcome.map_or_else(|| INCOMPLETE.to_owned(), |outcome| outcome.json().to_owned())),
        Err(error) => {
            folder.record_failure(&Summary::new(&run.run_id).failed(&error), &error).await;
            Err(error)
        }
    }
}

/// The result of the run; none where another shard has not ended yet.
async fn decided(folder: &RunFolder, store: &AskingStore, Task { work, shard }: Task) -> Result<Option<Outcome>> {
    let settings = work.settings();
    let earlier = match folder.earlier::<Body>(&settings, VERSION).await? {
        Earlier::Decided { outcome, .. } => return Ok(Some(outcome)),
        earlier => earlier,
    };
    folder.own();
    let plan = match earlier {
        Earlier::UnderWay(plan) => plan,
        _ => folder.begin(plan(settings)).await?,
    };
    let verdict = match work {
        Work::Fails => return Err(Error::Data("a row is wrong".to_owned())),
        Work::Passes | Work::Otherwise => "passed",
        Work::Rejected => "failed",
    };
    assert_eq!(plan.body.rows, 3);
    let records = match shard {
        None => None,
        Some(shard) => match records(folder, store, shard).await? {
            None => return Ok(None),
            records => records,
        },
    };
    let completed_at = store.now().await;
    folder.commit(commit(folder, verdict, &work.settings(), &completed_at, records)?).await.map(Some)
}

fn plan(settings: Value) -> Plan<Body> {
    let (started_at, program_version) = (BEGAN.to_owned(), VERSION.to_owned());
    Plan { format_version: 1, program_version, started_at, settings, body: Body { rows: 3 } }
}

fn folder_of(store: Arc<AskingStore>, run: &ModelRun, of: Use) -> RunFolder {
    RunFolder::new(store, format!("m/{}", run.path()), run.run_id.clone(), of.layout())
}

/// The records of all shards, once this one has put its own; none where another one has not. Two attempts at a shard come to
/// different records, as those of `predict` do, which say how long they took.
async fn records(folder: &RunFolder, store: &AskingStore, shard: u32) -> Result<Option<Vec<String>>> {
    if folder.shard_record(shard).await?.is_none() {
        let record = format!("shard {shard} at {}", store.now().await);
        folder.record_shard(shard, record.into()).await?;
    }
    let this: machine::Shard = format!("{shard}/{SHARDS}").parse().map_err(|_| Error::Defect("a shard".to_owned()))?;
    if !folder.missing_shards(this).await?.is_empty() {
        return Ok(None);
    }
    let mut records = Vec::new();
    for shard in 0..SHARDS {
        let record = folder.shard_record(shard).await?.unwrap_or_default();
        records.push(String::from_utf8_lossy(&record).into_owned());
    }
    Ok(Some(records))
}

/// A commit whose model no other attempt comes to.
fn commit(
    folder: &RunFolder,
    verdict: &str,
    settings: &Value,
    completed_at: &str,
    records: Option<Vec<String>>,
) -> Result<Commit> {
    let model = format!("the model of {completed_at}");
    let mut summary = Summary::new(folder.run_id());
    summary.set("model_sha256", sha256_hex(model.as_bytes())).set(GATE, verdict).set("r2", 0.9);
    summary.set(MIN_R2, settings[MIN_R2].clone());
    if let Some(records) = records {
        summary.set(RECORDS, records);
    }
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
    let folder = folder_of(Arc::new(AskingStore::default()), &run, of);
    let commit = commit(&folder, "passed", &Work::Passes.settings(), BEGAN, None).unwrap();
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
