//! The walk through all states, up to orders of steps that cannot be told apart.
//!
//! What does not change the store (a read, or a conditional write that is refused) can be told from the same step later only if its
//! key has changed meanwhile. So an attempt goes on from write to write, and just before another attempt changes a key it may have
//! gone on as far as to a question about that key, or not. Every order of single steps is equivalent to one of these.
//!
//! A killed attempt is one that is never given another answer. So no step stands for a crash: at every state any of the attempts may
//! be dead, which is why retries are tried from every content of the store that is ever reached.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use storage::Condition;
use xxhash_rust::xxh3::xxh3_128;

use crate::attempts::{Next, Place, Program};
use crate::invariants::{Invariants, is_refusal};
use crate::scenarios::Scenario;
use crate::store::{Answer, Question, content_of};
use crate::world::{Id, Names, World};

/// More attempts than any scenario has.
const MOST_ATTEMPTS: usize = 7;

/// What was walked through.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Explored {
    pub(crate) states: usize,
    pub(crate) steps: usize,
    /// Contents of the store from which retries were tried.
    pub(crate) worlds: usize,
    /// Sequences of answers that programs were run with.
    pub(crate) sequences: usize,
}

/// What the store and the machines do to one question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is answered.
    Answered,
    /// It takes no effect, and the answer is that the store is unavailable.
    Failed,
    /// It takes effect, and the answer is lost.
    Lost,
    /// A conditional write is refused although its condition holds.
    Refused,
    /// A conditional write takes effect, and is refused when the client sends it again.
    LostThenRefused,
}

/// The number of a state, in the order in which states are reached.
type At = u32;

/// An attempt that was given an answer.
#[derive(Debug, Clone, Copy)]
struct Told {
    attempt: usize,
    place: Place,
    fate: Fate,
}

/// A state that may come next, and the answers on the way there.
struct Successor {
    state: State,
    told: Vec<Told>,
}

/// The store, the place of each attempt, and what went wrong so far.
#[derive(Debug, Clone, Copy)]
struct State {
    world: World,
    places: [Place; MOST_ATTEMPTS],
    faults: u8,
}

impl State {
    /// So long that no two states are taken for one by chance.
    fn hash(&self) -> u128 {
        const BYTES: usize = 64;
        const { assert!(size_of::<World>() + size_of::<[Place; MOST_ATTEMPTS]>() < BYTES) };
        let mut bytes = [0; BYTES];
        let words = self.world.words().flat_map(u16::to_le_bytes);
        let places = self.places.into_iter().flat_map(u32::to_le_bytes);
        let all = words.chain(places).chain([self.faults]);
        bytes.iter_mut().zip(all).for_each(|(byte, value)| *byte = value);
        xxh3_128(&bytes)
    }
}

/// States are known by hashes, which need no further one.
#[derive(Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("hashes are hashed whole")
    }

    fn write_u128(&mut self, hash: u128) {
        self.0 = hash as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Walks through every state of a scenario.
///
/// # Panics
/// Where an invariant is broken, with the steps that led there.
pub(crate) fn explore(scenario: Scenario) -> Explored {
    let mut walk = Walk::of(scenario);
    let mut explored = Explored::default();
    while let Some((at, state)) = walk.front.pop_front() {
        let mut successors = Vec::new();
        if let Err(Broken { told, violation }) = walk.successors(&state, &mut successors) {
            walk.fail(at, &told, &violation);
        }
        for Successor { state, told } in successors {
            explored.steps += told.len();
            walk.reach(state, at);
        }
        walk.check_ends(at, &state);
    }
    explored.worlds = walk.retried.len();
    explored.states = walk.reached.len();
    explored.sequences = walk.programs.iter().map(Program::places).sum();
    explored
}

struct Walk {
    programs: Vec<Program>,
    /// Which program each attempt runs. Those that run the same stand side by side, and are not told apart.
    runs: Vec<usize>,
    names: Names,
    invariants: Invariants,
    faults: u8,
    /// The state that each state was first reached from, and its hash; states themselves are kept only until they are walked through.
    reached: Vec<(At, u128)>,
    front: VecDeque<(At, State)>,
    seen: HashSet<u128, BuildHasherDefault<AsItIs>>,
    /// The first attempt that is a retry, and begins only when all others have ended or are dead.
    last: usize,
    /// What the retries came to, one after the other and without faults, by the content of the store that they found.
    retried: HashMap<World, Vec<String>>,
    first: State,
}

impl Walk {
    fn of(scenario: Scenario) -> Self {
        let mut names = Names::default();
        let mut world = World::default();
        for (key, content) in scenario.objects {
            let (key, content) = (names.keys.number(&key), names.contents.number(&content));
            world.put(key, content);
        }
        let counted = scenario.programs.iter().enumerate();
        let runs: Vec<usize> = counted.flat_map(|(program, (_, times))| vec![program; *times]).collect();
        let programs = scenario.programs.into_iter().map(|(start, _)| Program::new(start)).collect();
        assert!(runs.len() <= MOST_ATTEMPTS);
        let first = State { world, places: [Program::BEGIN; MOST_ATTEMPTS], faults: 0 };
        let mut walk = Self {
            programs,
            runs,
            names,
            invariants: scenario.invariants,
            faults: scenario.faults,
            reached: Vec::new(),
            front: VecDeque::new(),
            seen: HashSet::default(),
            last: scenario.concurrent,
            retried: HashMap::new(),
            first,
        };
        walk.reach(first, 0);
        walk
    }

    /// What an attempt asks at a place, if it goes on.
    fn question(&self, attempt: usize, place: Place) -> Option<&Question> {
        match self.programs[self.runs[attempt]].next(place) {
            Next::Asks(question) => Some(question),
            Next::Ended(_) => None,
        }
    }

    /// Every state that may come next.
    fn successors(&mut self, state: &State, successors: &mut Vec<Successor>) -> Result<(), Broken> {
        for attempt in 0..self.last {
            let is_like_before = attempt > 0
                && self.runs[attempt] == self.runs[attempt - 1]
                && state.places[attempt] == state.places[attempt - 1];
            if !is_like_before {
                self.successors_by(attempt, state, successors)?;
            }
        }
        Ok(())
    }

    /// Where an attempt goes from here to its next write, and every fault on the way.
    fn successors_by(&mut self, attempt: usize, state: &State, successors: &mut Vec<Successor>) -> Result<(), Broken> {
        let (mut at, mut told) = (*state, Vec::new());
        while let Some(question) = self.question(attempt, at.places[attempt]) {
            let place = at.places[attempt];
            let fates = if state.faults < self.faults { fates_of(question) } else { &[] };
            for &fate in fates.iter().chain(&[Fate::Answered]) {
                let step = Told { attempt, place, fate };
                let mut next = self.after(&at, step);
                if fate != Fate::Answered {
                    next.faults += 1;
                }
                let told: Vec<Told> = told.iter().copied().chain([step]).collect();
                if next.world == at.world {
                    if fate != Fate::Answered {
                        successors.push(Successor { state: next, told });
                    } else {
                        at = next;
                    }
                    continue;
                }
                if let Some(violation) = self.invariants.of_step(&self.names, attempt, &at.world, &next.world) {
                    return Err(Broken { told, violation });
                }
                self.with_reads_before(attempt, &at.world, Successor { state: next, told }, successors);
                if fate == Fate::Answered {
                    return Ok(());
                }
            }
            told.push(Told { attempt, place, fate: Fate::Answered });
        }
        if at.places != state.places {
            successors.push(Successor { state: at, told });
        }
        Ok(())
    }

    /// A step that changes a key, with each choice of the other attempts that have asked about that key just before.
    fn with_reads_before(&mut self, by: usize, world: &World, step: Successor, successors: &mut Vec<Successor>) {
        let changed: Vec<Id> = world.differences(&step.state.world).collect();
        let mut choices = vec![step];
        for other in (0..self.last).filter(|&other| other != by) {
            let reads = self.reads_of(other, &choices[0].state, world, &changed);
            for index in 0..choices.len() {
                for (place, told) in &reads {
                    let mut state = choices[index].state;
                    state.places[other] = *place;
                    let told = told.iter().chain(&choices[index].told).copied().collect();
                    choices.push(Successor { state, told });
                }
            }
        }
        successors.append(&mut choices);
    }

    /// The places to which an attempt may have gone on without a change of the store, the last question being about `keys`.
    fn reads_of(&mut self, attempt: usize, state: &State, world: &World, keys: &[Id]) -> Vec<(Place, Vec<Told>)> {
        let mut at = State { world: *world, ..*state };
        let (mut told, mut places) = (Vec::new(), Vec::new());
        while let Some(question) = self.question(attempt, at.places[attempt]) {
            let is_about = keys.iter().any(|&key| concerns(question, self.names.keys.value(key)));
            let step = Told { attempt, place: at.places[attempt], fate: Fate::Answered };
            let next = self.after(&at, step);
            if next.world != at.world {
                break;
            }
            at = next;
            told.push(step);
            if is_about {
                places.push((at.places[attempt], told.clone()));
            }
        }
        places
    }

    fn reach(&mut self, mut state: State, from: At) {
        self.sort(&mut state);
        let hash = state.hash();
        if self.seen.insert(hash) {
            self.front.push_back((At::try_from(self.reached.len()).unwrap(), state));
            self.reached.push((from, hash));
        }
    }

    /// Puts attempts that run the same program in the order of their places.
    fn sort(&self, state: &mut State) {
        let mut begin = 0;
        for group in self.runs.chunk_by(|one, other| one == other) {
            state.places[begin..begin + group.len()].sort_unstable();
            begin += group.len();
        }
    }

    /// The state after an answer.
    fn after(&mut self, state: &State, Told { attempt, place, fate }: Told) -> State {
        let mut next = *state;
        let Next::Asks(question) = self.programs[self.runs[attempt]].next(place) else { unreachable!() };
        let short = answer(&mut self.names, &mut next.world, question, fate);
        let mut place = self.go(attempt, place, short);
        // Reading a clock is no step of its own.
        while let Next::Asks(Question::Clock) = self.programs[self.runs[attempt]].next(place) {
            next.world.clock += 1;
            place = self.go(attempt, place, Short::Time(next.world.clock));
        }
        next.places[attempt] = place;
        next
    }

    fn go(&mut self, attempt: usize, place: Place, short: Short) -> Place {
        let program = &mut self.programs[self.runs[attempt]];
        match program.known(place, short.code()) {
            Some(after) => after,
            None => program.go(place, short.code(), &short.answer(&self.names)),
        }
    }

    /// Retries end well from here, and what attempts have come to is what the retries come to.
    fn check_ends(&mut self, at: At, state: &State) {
        if !self.retried.contains_key(&state.world) {
            match self.retry(state) {
                Ok(retried) => self.retried.insert(state.world, retried),
                Err(Broken { told, violation }) => self.fail(at, &told, &violation),
            };
        }
        let ended =
            (0..self.last).filter_map(|attempt| match self.programs[self.runs[attempt]].next(state.places[attempt]) {
                Next::Ended(Ok(result)) => Some((attempt, result.as_str())),
                _ => None,
            });
        if let Some(violation) = self.invariants.of_shards(&ended.collect::<Vec<_>>()) {
            self.fail(at, &[], &violation);
        }
        for attempt in 0..self.last {
            let Next::Ended(Ok(result)) = self.programs[self.runs[attempt]].next(state.places[attempt]) else {
                continue;
            };
            let retried = &self.retried[&state.world];
            if let Some(violation) = self.invariants.of_results(attempt, result, retried, self.last) {
                self.fail(at, &[], &violation);
            }
        }
    }

    /// The results of the retries, one after the other and without faults.
    fn retry(&mut self, state: &State) -> Result<Vec<String>, Broken> {
        let (mut state, mut told, mut results) = (*state, Vec::new(), Vec::new());
        for attempt in self.last..self.runs.len() {
            while self.question(attempt, state.places[attempt]).is_some() {
                let step = Told { attempt, place: state.places[attempt], fate: Fate::Answered };
                let next = self.after(&state, step);
                told.push(step);
                if let Some(violation) = self.invariants.of_step(&self.names, attempt, &state.world, &next.world) {
                    return Err(Broken { told, violation });
                }
                state = next;
            }
            match self.programs[self.runs[attempt]].next(state.places[attempt]) {
                Next::Ended(Ok(result)) => results.push(result.clone()),
                Next::Ended(Err(refusal)) if is_refusal(refusal) => results.push(refusal.clone()),
                other => return Err(Broken { told, violation: format!("a retry ended with {other:?}") }),
            }
        }
        match self.invariants.of_end(&self.names, &state.world, self.last) {
            Some(violation) => Err(Broken { told, violation: format!("{violation}, after a retry") }),
            None => Ok(results),
        }
    }

    /// Ends the exploration with the answers that lead from the start to a state, and some more.
    fn fail(&mut self, at: At, more: &[Told], violation: &str) -> ! {
        let mut hashes = Vec::new();
        let mut at = at;
        while at != 0 {
            let (from, hash) = self.reached[at as usize];
            hashes.push(hash);
            at = from;
        }
        let (mut state, mut lines) = (self.first, Vec::new());
        for hash in hashes.into_iter().rev() {
            let mut successors = Vec::new();
            let _ = self.successors(&state, &mut successors);
            let found = successors.into_iter().find_map(|Successor { state: mut next, told }| {
                self.sort(&mut next);
                (next.hash() == hash).then_some((next, told))
            });
            let (next, told) = found.expect("a state that was reached from here");
            lines.extend(told.iter().map(|told| self.describe(told)));
            lines.push("  (those that run the same program are named anew)".to_owned());
            state = next;
        }
        lines.extend(more.iter().map(|told| self.describe(told)));
        lines.dedup();
        panic!("{violation}, after\n{}", lines.join("\n"));
    }

    fn describe(&self, told: &Told) -> String {
        let asked = match self.question(told.attempt, told.place) {
            Some(Question::Get(key)) => format!("reads {key}"),
            Some(Question::Put(key, _)) => format!("writes {key}"),
            Some(Question::PutIf(key, _, Condition::Absent)) => format!("writes {key} if absent"),
            Some(Question::PutIf(key, ..)) => format!("writes {key} if unchanged"),
            Some(Question::List(prefix)) => format!("lists {prefix}"),
            Some(Question::Delete(key)) => format!("deletes {key}"),
            other => format!("{other:?}"),
        };
        format!("  attempt {} {asked}: {:?}", told.attempt, told.fate)
    }
}

/// An invariant that does not hold, and the answers that led to it.
struct Broken {
    told: Vec<Told>,
    violation: String,
}

/// Whether the answer to a question depends on a key, or changes it.
fn concerns(question: &Question, key: &str) -> bool {
    match question {
        Question::Get(asked) | Question::Put(asked, _) | Question::PutIf(asked, ..) | Question::Delete(asked) => {
            asked == key
        }
        Question::List(prefix) => key.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.starts_with('/')),
        Question::Clock => false,
    }
}

/// What may go wrong with a question besides a crash. Where nothing is written, no answer is like a crash, but that the attempt
/// may yet write down its failure: it is tried where a condition decides.
fn fates_of(question: &Question) -> &'static [Fate] {
    match question {
        Question::Put(..) | Question::Delete(_) => &[Fate::Lost],
        Question::PutIf(..) => &[Fate::Failed, Fate::Lost, Fate::Refused, Fate::LostThenRefused],
        Question::Get(_) | Question::List(_) | Question::Clock => &[],
    }
}

/// An answer in numbers.
#[derive(Debug, Clone, Copy)]
enum Short {
    Found(Id),
    NotFound,
    Done,
    Conflict,
    /// The keys of a listing, a bit for each.
    Keys(u16),
    Time(u16),
    Unavailable,
}

impl Short {
    fn code(self) -> u32 {
        match self {
            Self::NotFound => 0,
            Self::Done => 1,
            Self::Conflict => 2,
            Self::Unavailable => 3,
            Self::Found(content) => 1 << 16 | u32::from(content),
            Self::Keys(keys) => 2 << 16 | u32::from(keys),
            Self::Time(time) => 3 << 16 | u32::from(time),
        }
    }

    fn answer(self, names: &Names) -> Answer {
        match self {
            Self::Found(content) => Answer::Found(names.contents.value(content).clone()),
            Self::NotFound => Answer::NotFound,
            Self::Done => Answer::Done,
            Self::Conflict => Answer::Conflict,
            Self::Unavailable => Answer::Unavailable,
            Self::Time(time) => Answer::Time(time),
            Self::Keys(keys) => {
                let listed = names.keys.all().filter(|(key, _)| keys >> key & 1 == 1);
                let mut listed: Vec<String> = listed.map(|(_, key)| key.clone()).collect();
                listed.sort();
                Answer::Keys(listed)
            }
        }
    }
}

/// Does to the world what a question asks for, unless its fate is another.
fn answer(names: &mut Names, world: &mut World, question: &Question, fate: Fate) -> Short {
    match fate {
        Fate::Failed => return Short::Unavailable,
        Fate::Refused => return Short::Conflict,
        _ => {}
    }
    let answer = match question {
        Question::Get(key) => world.get(names.keys.number(key)).map_or(Short::NotFound, Short::Found),
        Question::Put(key, content) => {
            world.put(names.keys.number(key), names.contents.number(content));
            Short::Done
        }
        Question::PutIf(key, content, condition) => {
            let key = names.keys.number(key);
            let holds = match condition {
                Condition::Absent => world.get(key).is_none(),
                Condition::Unchanged(version) => world.get(key) == Some(names.contents.number(&content_of(version))),
            };
            if holds {
                world.put(key, names.contents.number(content));
            }
            if holds { Short::Done } else { Short::Conflict }
        }
        Question::List(prefix) => {
            let folder = format!("{prefix}/");
            let listed = names.keys.all().filter(|(key, name)| world.get(*key).is_some() && name.starts_with(&folder));
            Short::Keys(listed.fold(0, |keys, (key, _)| keys | 1 << key))
        }
        Question::Delete(key) => {
            world.delete(names.keys.number(key));
            Short::Done
        }
        Question::Clock => unreachable!("a clock is read at once"),
    };
    match fate {
        Fate::Lost => Short::Unavailable,
        Fate::LostThenRefused => Short::Conflict,
        _ => answer,
    }
}
