//! How the shards of a run find each other: by two small kinds of objects in its scratch space.
//!
//! Shard 0 starts the tracker and puts a *call* that says where it listens, with the number of the attempt and a token of the process.
//! Each other shard that is ready answers with the token of that call and one of its own. When all have answered, the call is put again
//! with their tokens, and whoever finds its own there joins. So a shard that is started again never meets an attempt that is under way,
//! whose tracker would take its coming for the failure of another, and what a process left that was killed bothers nobody: the
//! call is put again and again while it is open, so that an old one is told from one that somebody stands by.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use attempt::RunFolder;
use error::{Error, Result};
use machine::{RunId, Shard, Shutdown};
use registry::pointer::FORMAT_VERSION;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use telemetry::Outcome;
use tokio::time::sleep;
use xgboost::collective::{Membership, Tracker};

use super::peers::PATIENCE;
use crate::plan::PROGRAM_VERSION;

/// The call of shard 0, in the scratch space.
const CALL: &str = "collective.json";
/// How long shards wait for those that have not started yet.
const TO_START: Duration = Duration::from_secs(600);
/// How often a shard looks whether the others are there.
const GLANCE: Duration = Duration::from_millis(400);
/// How long a port may be taken: connections of an attempt before hold it for a while.
const TO_FREE_PORT: Duration = Duration::from_secs(20);

/// `_checkpoint/collective.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Call {
    format_version: u32,
    /// Attempts of the run that have called.
    attempt: u64,
    /// Of the process that calls.
    token: String,
    /// Goes up while the call is open.
    beat: u64,
    /// Where the tracker listens.
    host: String,
    port: u16,
    /// What the run is, for shards that are asked something else.
    shards: u32,
    program_version: String,
    settings: Value,
    objects_sha256: String,
    /// The tokens of the shards that may join, once all are there.
    joining: Option<BTreeMap<u32, String>>,
}

/// `_checkpoint/shard-<i>.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    /// The token of the call.
    call: String,
    /// Of the process that answers.
    token: String,
}

/// What a shard needs to know of its run to meet the others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Meeting<'a> {
    pub(super) folder: &'a RunFolder,
    pub(super) run_id: &'a RunId,
    pub(super) shutdown: &'a Shutdown,
    /// This shard, of all that there are.
    pub(super) shard: Shard,
    /// How many of them have something to do: the first ones.
    pub(super) members: u32,
    pub(super) settings: &'a Value,
    pub(super) objects_sha256: &'a str,
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Met {
    /// All are there; shard 0 has the tracker.
    All { membership: Membership, tracker: Option<Tracker> },
    /// The run was decided meanwhile.
    Decided(Outcome),
}

impl Meeting<'_> {
    /// Meets the other shards. Shard 0 listens on this address of the task and this port.
    ///
    /// # Errors
    /// [`Error::Setting`] where address or port cannot be listened on, or shard 0 is asked something else; [`Error::Data`] where it reads
    /// something else; [`Error::Storage`] where shards do not come; storage errors as they are.
    pub(super) async fn meet(&self, host: Option<&str>, port: u16) -> Result<Met> {
        let token = RunId::generate().to_string();
        match self.shard.index() {
            0 => self.call(token, host, port).await,
            _ => self.answer(token).await,
        }
    }

    async fn call(&self, token: String, host: Option<&str>, port: u16) -> Result<Met> {
        let host = own_address(host)?;
        let tracker = self.tracker(&host, port).await?;
        let before = self.standing().await?.map_or(0, |call| call.attempt);
        let mut call = Call {
            format_version: FORMAT_VERSION,
            attempt: before + 1,
            token,
            beat: 0,
            host,
            port: tracker.port(),
            shards: self.shard.count(),
            program_version: PROGRAM_VERSION.to_owned(),
            settings: self.settings.clone(),
            objects_sha256: self.objects_sha256.to_owned(),
            joining: None,
        };
        tracing::info!(
            attempt = call.attempt,
            "shard 0 of {} waits for the others at {}:{}",
            self.members,
            call.host,
            call.port
        );
        let started = Instant::now();
        let mut answers = BTreeMap::new();
        loop {
            self.put(CALL, &call).await?;
            for index in 1..self.members {
                if !answers.contains_key(&index)
                    && let Some(answer) =
                        self.get::<Answer>(&answer_of(index)).await?.filter(|one| one.call == call.token)
                {
                    answers.insert(index, answer.token);
                }
            }
            let missing: Vec<String> =
                (1..self.members).filter(|index| !answers.contains_key(index)).map(|index| index.to_string()).collect();
            if missing.is_empty() {
                break;
            }
            if started.elapsed() > TO_START {
                return Err(Error::Storage(format!(
                    "shards {} of {} did not come within {} minutes: start all shards with the same run id",
                    missing.join(", "),
                    self.shard.count(),
                    TO_START.as_secs() / 60
                )));
            }
            self.pause().await?;
            call.beat += 1;
        }
        call.joining = Some(answers);
        self.put(CALL, &call).await?;
        Ok(Met::All { membership: self.membership(&call), tracker: Some(tracker) })
    }

    async fn answer(&self, token: String) -> Result<Met> {
        let started = Instant::now();
        let (mut known, mut answered) = (None, None);
        tracing::info!("shard {} of {} waits for shard 0", self.shard.index(), self.members);
        loop {
            if let Some(call) = self.standing().await? {
                let is_new = known.as_ref() != Some(&(call.token.clone(), call.beat));
                let is_first_found = known.is_none();
                known = Some((call.token.clone(), call.beat));
                let is_ours = match self.refuse_other_run(&call) {
                    Ok(()) => true,
                    // The first that is found may be what a killed process left.
                    Err(_) if is_first_found || !is_new => false,
                    Err(error) => return Err(error),
                };
                if is_ours && answered.as_ref() != Some(&call.token) {
                    let answer = Answer { call: call.token.clone(), token: token.clone() };
                    self.put(&answer_of(self.shard.index()), &answer).await?;
                    answered = Some(call.token.clone());
                }
                if call.joining.as_ref().and_then(|joining| joining.get(&self.shard.index())) == Some(&token) {
                    return Ok(Met::All { membership: self.membership(&call), tracker: None });
                }
            }
            if let Some(outcome) = self.folder.complete().await? {
                return Ok(Met::Decided(outcome));
            }
            if started.elapsed() > TO_START {
                return Err(Error::Storage(format!(
                    "the shards did not come together within {} minutes ({}): start all of them with the same run id",
                    TO_START.as_secs() / 60,
                    self.folder.location_of(&self.folder.scratch(CALL))
                )));
            }
            self.pause().await?;
        }
    }

    /// The tracker, as soon as its port is free.
    async fn tracker(&self, host: &str, port: u16) -> Result<Tracker> {
        let started = Instant::now();
        loop {
            let error = match Tracker::start(host, port, self.members, PATIENCE + TO_START) {
                Ok(tracker) => return Ok(tracker),
                Err(error) => error.to_string(),
            };
            if !error.contains("in use") || started.elapsed() > TO_FREE_PORT {
                return Err(Error::Setting(format!(
                    "--collective-host (COLLECTIVE_HOST) {host} and --collective-port (COLLECTIVE_PORT) {port}: {error}: give an \
                     address of this machine and a port that no other program listens on (0: any)"
                )));
            }
            self.pause().await?;
        }
    }

    fn membership(&self, call: &Call) -> Membership {
        Membership {
            host: call.host.clone(),
            port: call.port,
            rank: self.shard.index(),
            members: self.members,
            patience: PATIENCE,
        }
    }

    /// Shards that are asked different things must not learn together.
    fn refuse_other_run(&self, call: &Call) -> Result<()> {
        let location = self.folder.location_of(&self.folder.scratch(CALL));
        if call.shards != self.shard.count() {
            return Err(Error::Setting(format!(
                "--shard (SHARD) is {} here, and shard 0 is one of {} ({location}): give every task of the run the same N",
                self.shard, call.shards
            )));
        }
        if call.program_version != PROGRAM_VERSION {
            return Err(Error::Setting(format!(
                "shard 0 is version {} of this program, which is {PROGRAM_VERSION} here ({location}): run the same version everywhere",
                call.program_version
            )));
        }
        attempt::refuse_other_settings(&call.settings, self.settings, &location)?;
        if call.objects_sha256 != self.objects_sha256 {
            return Err(Error::Data(format!(
                "shard 0 reads other objects than this shard ({location}): the input changed meanwhile; start all shards again"
            )));
        }
        Ok(())
    }

    async fn standing(&self) -> Result<Option<Call>> {
        self.get(CALL).await
    }

    /// What cannot be read is of another version, or not there yet.
    async fn get<T: for<'de> Deserialize<'de>>(&self, name: &str) -> Result<Option<T>> {
        let bytes = self.folder.get_json(&self.folder.scratch(name)).await?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    async fn put(&self, name: &str, content: &impl Serialize) -> Result<()> {
        let json = serde_json::to_vec_pretty(content).map_err(|error| Error::Defect(format!("{name}: {error}")))?;
        self.folder.put(&self.folder.scratch(name), json.into()).await
    }

    async fn pause(&self) -> Result<()> {
        sleep(GLANCE).await;
        self.shutdown.check(self.run_id)
    }
}

fn answer_of(index: u32) -> String {
    format!("shard-{index}.json")
}

/// The address that the other tasks reach this one at.
fn own_address(host: Option<&str>) -> Result<String> {
    let of_task = machine::ecs::task().ok().flatten().and_then(|task| task.address.clone());
    of_task.or_else(|| host.map(str::to_owned)).ok_or_else(|| {
        Error::Setting(
            "--collective-host (COLLECTIVE_HOST) is not set, and this is no task of ECS that knows its address: give the address of \
             this machine that the other shards reach shard 0 at"
                .to_owned(),
        )
    })
}
