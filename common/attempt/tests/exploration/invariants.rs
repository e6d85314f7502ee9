//! What must hold over every step and at every end.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

use registry::Pointer;
use serde_json::Value;
use storage::sha256_hex;
use telemetry::Outcome;

use crate::world::{Id, Names, World};

/// A setting, in the plan and in the result.
pub(crate) const MIN_R2: &str = "min_r2";

/// What a result of several shards was made of, their records.
pub(crate) const RECORDS: &str = "records";
/// What an attempt at a shard ends with when another shard has not ended yet.
pub(crate) const INCOMPLETE: &str = "incomplete";

/// What an actor is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An attempt of the run with this folder, at all of it or at one of its two shards.
    Attempt { folder: String, shard: Option<u32> },
    /// Somebody who promotes a model.
    Promotion,
}

/// What must hold:
/// 1. a pointer names only a complete run that passed its gate, whose files are there with the hashes that its result gives;
/// 2. a pointer never goes back in time, except by a promotion;
/// 3. a complete run never changes;
/// 4. what a result names is there and has its hash;
/// 5. the attempts of a run end with one result;
/// 6. after whatever happened, one more attempt ends well, its pointers stand and nothing is left over;
/// 7. what is asked again of a decided run is its result, without work;
/// 8. a result is of the settings that the run began with;
/// 9. an attempt moves `latest` only after its label;
/// 10. what a shard came to never changes, and a result of shards is made of what each of them came to;
/// 11. where an attempt at each shard has ended well, one of them has completed the run.
#[derive(Debug)]
pub(crate) struct Invariants {
    kinds: Vec<Kind>,
    /// What contents were found to be, by their number.
    known: RefCell<HashMap<Id, Option<Complete>>>,
}

/// The result of a complete run.
#[derive(Debug, Clone, PartialEq)]
struct Complete {
    files: BTreeMap<String, String>,
    passed: bool,
    completed_at: String,
    min_r2: Option<Value>,
    records: Vec<String>,
}

impl Kind {
    /// The folder of the run.
    fn run(&self) -> Option<&str> {
        match self {
            Self::Attempt { folder, .. } => Some(folder),
            Self::Promotion => None,
        }
    }
}

impl Invariants {
    pub(crate) fn new(kinds: Vec<Kind>) -> Self {
        Self { kinds, known: RefCell::default() }
    }

    /// What is wrong with a step of `attempt`, if anything is.
    pub(crate) fn of_step(&self, names: &Names, attempt: usize, before: &World, after: &World) -> Option<String> {
        before.differences(after).find_map(|key| {
            let name = names.keys.value(key);
            if name.ends_with("latest.json") {
                let broken = self.of_pointer(names, attempt, (before.get(key), after.get(key)), after);
                return broken.or_else(|| self.of_label(names, attempt, name, after));
            }
            let (folder, file) = name.rsplit_once('/')?;
            if folder.ends_with("/shards") && before.get(key).is_some() {
                return Some(format!("{name} changed, which is what a shard came to"));
            }
            if let Some(complete) = self.complete(names, before, folder)
                && (file == "result.json" || complete.files.contains_key(file))
                && after.get(key) != before.get(key)
            {
                return Some(format!("{name} of a complete run changed"));
            }
            if file == "result.json"
                && let Some(complete) = self.complete(names, after, folder)
            {
                let began = began_with(names, after, folder);
                if began.is_some() && began != complete.min_r2 {
                    return Some(format!("{name} is not of the settings that the run began with"));
                }
                let records = complete.records.iter().zip(0..).find(|(record, shard)| {
                    let standing = find(names, after, &format!("{folder}/shards/{shard}.json"));
                    standing.is_none_or(|content| names.contents.value(content) != record.as_bytes())
                });
                if let Some((record, _)) = records {
                    return Some(format!("{name} is made of \"{record}\", which is not what that shard came to"));
                }
                return self.of_files(names, after, folder, &complete);
            }
            None
        })
    }

    /// What is wrong with the result of an attempt that ended well, seen beside the results of the retries, which are the attempts
    /// from `last` on.
    pub(crate) fn of_results(&self, attempt: usize, result: &str, retried: &[String], last: usize) -> Option<String> {
        let mut retries = self.kinds[last..].iter().zip(retried);
        let differs = |retried: &str| retried != result && retried != INCOMPLETE && !is_refusal(retried);
        let is_of_same = |kind: &Kind| kind.run().is_some() && kind.run() == self.kinds[attempt].run();
        if result == INCOMPLETE {
            return None;
        }
        let (_, differs) = retries.find(|(kind, retried)| is_of_same(kind) && differs(retried))?;
        Some(format!("an attempt ended with {result} and its retry with {differs}"))
    }

    /// What is wrong with what attempts have ended well with, if anything is.
    pub(crate) fn of_shards(&self, ended: &[(usize, &str)]) -> Option<String> {
        let ended = ended.iter().filter_map(|(attempt, result)| match &self.kinds[*attempt] {
            Kind::Attempt { shard: Some(shard), .. } => Some((*shard, *result)),
            _ => None,
        });
        let (shards, results): (Vec<u32>, Vec<&str>) = ended.unzip();
        let is_all = [0, 1].iter().all(|shard| shards.contains(shard));
        (is_all && results.iter().all(|result| *result == INCOMPLETE))
            .then(|| "all shards have ended well, and none of them has completed the run".to_owned())
    }

    /// What is wrong after the retries, if anything is.
    pub(crate) fn of_end(&self, names: &Names, world: &World, last: usize) -> Option<String> {
        self.kinds[last..].iter().find_map(|kind| match kind {
            Kind::Attempt { folder, .. } => self.of_run(names, world, folder),
            Kind::Promotion => None,
        })
    }

    /// What is wrong with a run that is over.
    fn of_run(&self, names: &Names, world: &World, folder: &str) -> Option<String> {
        let Some(complete) = self.complete(names, world, folder) else {
            return Some(format!("{folder} is over and not complete"));
        };
        let mut keys = names.keys.all().filter(|(key, _)| world.get(*key).is_some());
        if let Some((_, left)) = keys.find(|(_, key)| key.starts_with(&format!("{folder}/_checkpoint/"))) {
            return Some(format!("{left} is left of a run that is over"));
        }
        for pointer in ["m/latest.json", "m/v1/latest.json"] {
            let Some(standing) = pointer_at(names, world, pointer) else { continue };
            if complete.passed && standing.published_at < complete.completed_at {
                return Some(format!("{pointer} names {}, which is older than {folder}", standing.path));
            }
        }
        self.of_files(names, world, folder, &complete)
    }

    fn of_pointer(
        &self,
        names: &Names,
        attempt: usize,
        (before, after): (Option<Id>, Option<Id>),
        world: &World,
    ) -> Option<String> {
        let Some(after) = after else { return Some("a pointer was removed".to_owned()) };
        let pointer = read_pointer(names, after);
        let folder = format!("m/{}", pointer.path);
        let Some(complete) = self.complete(names, world, &folder).filter(|complete| complete.passed) else {
            return Some(format!("a pointer names {folder}, which is not complete or did not pass"));
        };
        let earlier = before.map(|before| read_pointer(names, before).published_at);
        if self.kinds[attempt] != Kind::Promotion && earlier.is_some_and(|earlier| earlier > pointer.published_at) {
            return Some(format!("a pointer went back to {folder}"));
        }
        self.of_files(names, world, &folder, &complete)
    }

    /// What is wrong with `latest`, seen beside its label.
    fn of_label(&self, names: &Names, attempt: usize, moved: &str, world: &World) -> Option<String> {
        if moved != "m/latest.json" || self.kinds[attempt] == Kind::Promotion {
            return None;
        }
        let (latest, label) = (pointer_at(names, world, moved)?, pointer_at(names, world, "m/v1/latest.json")?);
        let is_ahead = latest.published_at > label.published_at;
        is_ahead.then(|| format!("latest names {}, and its label still {}", latest.path, label.path))
    }

    fn of_files(&self, names: &Names, world: &World, folder: &str, complete: &Complete) -> Option<String> {
        complete.files.iter().find_map(|(file, hash)| {
            let found = find(names, world, &format!("{folder}/{file}"));
            let is_sound = found.is_some_and(|content| sha256_hex(names.contents.value(content)) == *hash);
            (!is_sound).then(|| format!("{folder}/{file} is not what its result names"))
        })
    }

    /// The result of the run in a folder, if it is complete.
    fn complete(&self, names: &Names, world: &World, folder: &str) -> Option<Complete> {
        let content = find(names, world, &format!("{folder}/result.json"))?;
        let read = || {
            let outcome = Outcome::from_json(names.contents.value(content)).ok()?;
            Some(Complete {
                files: outcome.files()?,
                passed: outcome.gate_passed()?,
                completed_at: outcome.completed_at()?.to_owned(),
                min_r2: outcome.get(MIN_R2).cloned(),
                records: outcome
                    .get(RECORDS)
                    .and_then(|records| serde_json::from_value(records.clone()).ok())
                    .unwrap_or_default(),
            })
        };
        self.known.borrow_mut().entry(content).or_insert_with(read).clone()
    }
}

/// Whether an attempt was refused since the run began with other settings.
pub(crate) fn is_refusal(ended: &str) -> bool {
    ended.contains("began with other settings")
}

/// What the plan of a run says.
fn began_with(names: &Names, world: &World, folder: &str) -> Option<Value> {
    let plans = ["plan.json", "_checkpoint/plan.json"].map(|plan| find(names, world, &format!("{folder}/{plan}")));
    let content = plans.into_iter().flatten().next()?;
    let plan: Value = serde_json::from_slice(names.contents.value(content)).ok()?;
    plan.pointer(&format!("/settings/{MIN_R2}")).cloned()
}

fn find(names: &Names, world: &World, key: &str) -> Option<Id> {
    world.get(names.keys.known(key)?)
}

fn pointer_at(names: &Names, world: &World, key: &str) -> Option<Pointer> {
    find(names, world, key).map(|content| read_pointer(names, content))
}

fn read_pointer(names: &Names, content: Id) -> Pointer {
    Pointer::from_json(names.contents.value(content), "a pointer").unwrap()
}
