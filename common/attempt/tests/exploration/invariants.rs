//! What must hold over every step and at every end.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

use registry::Pointer;
use storage::sha256_hex;
use telemetry::Outcome;

use crate::world::{Id, Names, World};

/// What an actor is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An attempt of the run with this folder.
    Attempt { folder: String },
    /// Somebody who promotes a model.
    Promotion,
}

/// What must hold:
/// 1. a pointer names only a complete run that passed its gate, whose files are there with the hashes that its result gives;
/// 2. a pointer never goes back in time, except by a promotion;
/// 3. a complete run never changes;
/// 4. what a result names is there and has its hash;
/// 5. the attempts of a run end with one result;
/// 6. after whatever happened, one more attempt ends well, its pointers stand and nothing is left over.
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
}

impl Invariants {
    pub(crate) fn new(kinds: Vec<Kind>) -> Self {
        Self { kinds, known: RefCell::default() }
    }

    /// What is wrong with a step of `attempt`, if anything is.
    pub(crate) fn of_step(&self, names: &Names, attempt: usize, before: &World, after: &World) -> Option<String> {
        changed(before, after).into_iter().find_map(|key| {
            let name = names.keys.value(key);
            if name.ends_with("latest.json") {
                return self.of_pointer(names, attempt, (before.get(key), after.get(key)), after);
            }
            let (folder, file) = name.rsplit_once('/')?;
            if let Some(complete) = self.complete(names, before, folder)
                && (file == "result.json" || complete.files.contains_key(file))
                && after.get(key) != before.get(key)
            {
                return Some(format!("{name} of a complete run changed"));
            }
            if file == "result.json"
                && let Some(complete) = self.complete(names, after, folder)
            {
                return self.of_files(names, after, folder, &complete);
            }
            None
        })
    }

    /// What is wrong at an end, if anything is. Attempts from `last` on were the retries that end everything.
    pub(crate) fn of_end(
        &self,
        names: &Names,
        world: &World,
        ended: &[Option<&Result<String, String>>],
        last: usize,
    ) -> Option<String> {
        let mut results: HashMap<&str, &str> = HashMap::new();
        for (index, (kind, result)) in self.kinds.iter().zip(ended).enumerate() {
            if index >= last
                && let Some(Err(error)) = result
            {
                return Some(format!("the last attempt failed: {error}"));
            }
            let (Kind::Attempt { folder }, Some(Ok(result))) = (kind, result) else { continue };
            let first = results.entry(folder).or_insert(result);
            if first != result {
                return Some(format!("two attempts of {folder} ended with {first} and {result}"));
            }
        }
        results.keys().find_map(|folder| self.of_run(names, world, folder))
    }

    /// What is wrong with a run that is over.
    fn of_run(&self, names: &Names, world: &World, folder: &str) -> Option<String> {
        let Some(complete) = self.complete(names, world, folder) else {
            return Some(format!("{folder} is over and not complete"));
        };
        let mut keys = world.objects().iter().map(|(key, _)| names.keys.value(*key));
        if let Some(left) = keys.find(|key| key.starts_with(&format!("{folder}/_checkpoint/"))) {
            return Some(format!("{left} is left of a run that is over"));
        }
        for pointer in ["m/latest.json", "m/v1/latest.json"] {
            let standing = pointer_at(names, world, pointer)?;
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
            })
        };
        self.known.borrow_mut().entry(content).or_insert_with(read).clone()
    }
}

/// The keys whose content differs.
fn changed(before: &World, after: &World) -> Vec<Id> {
    let keys = before.objects().iter().chain(after.objects()).map(|(key, _)| *key);
    let mut keys: Vec<Id> = keys.filter(|key| before.get(*key) != after.get(*key)).collect();
    keys.dedup();
    keys
}

fn find(names: &Names, world: &World, key: &str) -> Option<Id> {
    world.objects().iter().find(|(known, _)| names.keys.value(*known) == key).map(|(_, content)| *content)
}

fn pointer_at(names: &Names, world: &World, key: &str) -> Option<Pointer> {
    find(names, world, key).map(|content| read_pointer(names, content))
}

fn read_pointer(names: &Names, content: Id) -> Pointer {
    Pointer::from_json(names.contents.value(content), "a pointer").unwrap()
}
