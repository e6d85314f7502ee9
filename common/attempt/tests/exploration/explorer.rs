//! The walk through all states.

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use storage::Condition;

use crate::attempts::{Attempt, Next, Place};
use crate::invariants::Invariants;
use crate::scenarios::Scenario;
use crate::store::{Answer, Question, content_of};
use crate::world::{Names, World};

/// What was walked through.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Explored {
    pub(crate) states: usize,
    pub(crate) steps: usize,
    /// States in which no attempt goes on.
    pub(crate) ends: usize,
    /// Sequences of answers that attempts were run with.
    pub(crate) programs: usize,
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
    /// The attempt is killed with its question unasked.
    Killed,
}

/// One step: which attempt, and what happened to its question.
type Step = (u8, Fate);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    world: World,
    /// The place of each attempt; none where it was killed.
    places: Vec<Option<Place>>,
    crashes: u8,
    faults: u8,
}

/// Walks through every state of a scenario.
///
/// # Panics
/// Where an invariant is broken, with the steps that led there.
pub(crate) fn explore(scenario: Scenario) -> Explored {
    let mut walk = Walk::of(scenario);
    let mut explored = Explored::default();
    let mut front = 0;
    while front < walk.reached.len() {
        let (state, _) = walk.reached[front].clone();
        let steps = walk.steps(&state);
        let is_end = steps.is_empty();
        for step in steps {
            explored.steps += 1;
            walk.take(front, &state, step);
        }
        if is_end {
            explored.ends += 1;
            walk.check_end(front, &state);
        }
        front += 1;
    }
    explored.states = walk.reached.len();
    explored.programs = walk.attempts.iter().map(Attempt::places).sum();
    explored
}

struct Walk {
    attempts: Vec<Attempt>,
    names: Names,
    invariants: Invariants,
    crashes: u8,
    faults: u8,
    /// Every state, with the state and step that first led to it.
    reached: Vec<(State, Option<(usize, Step)>)>,
    seen: HashSet<u64>,
    /// The first attempt that only begins when no other goes on: it stands for the last retry.
    last: usize,
}

impl Walk {
    fn of(scenario: Scenario) -> Self {
        let mut names = Names::default();
        let mut world = World::default();
        for (key, content) in scenario.objects {
            let (key, content) = (names.keys.number(&key), names.contents.number(&content));
            world.put(key, content);
        }
        let attempts: Vec<Attempt> = scenario.attempts.into_iter().chain(scenario.last).map(Attempt::new).collect();
        let places = vec![Some(Attempt::BEGIN); attempts.len()];
        let state = State { world, places, crashes: 0, faults: 0 };
        let mut walk = Self {
            last: scenario.concurrent,
            attempts,
            names,
            invariants: scenario.invariants,
            crashes: scenario.crashes,
            faults: scenario.faults,
            reached: Vec::new(),
            seen: HashSet::new(),
        };
        walk.reach(state, None);
        walk
    }

    /// Every step that may come next.
    fn steps(&self, state: &State) -> Vec<Step> {
        let question = |index: usize| {
            let place = state.places[index]?;
            match self.attempts[index].next(place) {
                Next::Asks(question) => Some(question),
                Next::Ended(_) => None,
            }
        };
        let concurrent: Vec<(usize, &Question)> =
            (0..self.last).filter_map(|index| Some((index, question(index)?))).collect();
        if concurrent.is_empty() {
            // One after the other, without faults: what is left to do must end well.
            let next = (self.last..self.attempts.len()).find(|&index| question(index).is_some());
            return next.map(|index| (index as u8, Fate::Answered)).into_iter().collect();
        }
        let mut steps = Vec::new();
        for (index, question) in concurrent {
            let index_of_step = index as u8;
            steps.push((index_of_step, Fate::Answered));
            let has_begun = state.places[index] != Some(Attempt::BEGIN);
            if state.crashes < self.crashes && has_begun {
                steps.push((index_of_step, Fate::Killed));
            }
            if state.faults < self.faults {
                steps.extend(fates_of(question).iter().map(|&fate| (index_of_step, fate)));
            }
        }
        steps
    }

    fn take(&mut self, from: usize, state: &State, step: Step) {
        let (attempt, fate) = (step.0 as usize, step.1);
        let mut next = state.clone();
        if fate == Fate::Killed {
            next.crashes += 1;
            next.places[attempt] = None;
            self.reach(next, Some((from, step)));
            return;
        }
        if fate != Fate::Answered {
            next.faults += 1;
        }
        let place = state.places[attempt].unwrap();
        let Next::Asks(question) = self.attempts[attempt].next(place).clone() else { unreachable!() };
        let answer = self.answer(&mut next.world, &question, fate);
        let mut place = self.attempts[attempt].after(place, &answer);
        // Reading a clock is no step of its own.
        while let Next::Asks(Question::Clock) = self.attempts[attempt].next(place) {
            next.world.clock += 1;
            place = self.attempts[attempt].after(place, &Answer::Time(next.world.clock));
        }
        next.places[attempt] = Some(place);
        let violation = self.invariants.of_step(&self.names, attempt, &state.world, &next.world);
        if let Some(violation) = violation {
            self.fail(from, Some(step), &violation);
        }
        self.reach(next, Some((from, step)));
    }

    fn reach(&mut self, state: State, by: Option<(usize, Step)>) {
        let mut hasher = DefaultHasher::new();
        state.hash(&mut hasher);
        if self.seen.insert(hasher.finish()) {
            self.reached.push((state, by));
        }
    }

    /// Does to the world what a question asks for, unless its fate is another.
    fn answer(&mut self, world: &mut World, question: &Question, fate: Fate) -> Answer {
        if fate == Fate::Failed {
            return Answer::Unavailable;
        }
        if fate == Fate::Refused {
            return Answer::Conflict;
        }
        let answer = match question {
            Question::Get(key) => match world.get(self.names.keys.number(key)) {
                Some(content) => Answer::Found(self.names.contents.value(content).clone()),
                None => Answer::NotFound,
            },
            Question::Put(key, content) => self.put(world, key, content),
            Question::PutIf(key, content, condition) => {
                let standing = world.get(self.names.keys.number(key));
                let standing = standing.map(|content| self.names.contents.value(content));
                let holds = match condition {
                    Condition::Absent => standing.is_none(),
                    Condition::Unchanged(version) => standing == Some(&content_of(version)),
                };
                if holds { self.put(world, key, content) } else { Answer::Conflict }
            }
            Question::List(prefix) => {
                let folder = format!("{prefix}/");
                let keys = world.objects().iter().map(|(key, _)| self.names.keys.value(*key));
                let mut keys: Vec<String> = keys.filter(|key| key.starts_with(&folder)).cloned().collect();
                keys.sort();
                Answer::Keys(keys)
            }
            Question::Delete(key) => {
                world.delete(self.names.keys.number(key));
                Answer::Done
            }
            Question::Clock => unreachable!("a clock is read at once"),
        };
        match fate {
            Fate::Lost => Answer::Unavailable,
            Fate::LostThenRefused => Answer::Conflict,
            _ => answer,
        }
    }

    fn put(&mut self, world: &mut World, key: &String, content: &bytes::Bytes) -> Answer {
        let (key, content) = (self.names.keys.number(key), self.names.contents.number(content));
        world.put(key, content);
        Answer::Done
    }

    fn check_end(&self, at: usize, state: &State) {
        let ended: Vec<Option<&Result<String, String>>> = state
            .places
            .iter()
            .enumerate()
            .map(|(index, place)| match self.attempts[index].next((*place)?) {
                Next::Ended(result) => Some(result),
                Next::Asks(_) => None,
            })
            .collect();
        if let Some(violation) = self.invariants.of_end(&self.names, &state.world, &ended, self.last) {
            self.fail(at, None, &violation);
        }
    }

    /// Ends the exploration with the steps that lead from the start to a state, and one more.
    fn fail(&self, mut at: usize, step: Option<Step>, violation: &str) -> ! {
        let mut steps: Vec<String> = step.iter().map(|step| self.describe(at, *step)).collect();
        while let Some((before, step)) = self.reached[at].1 {
            steps.push(self.describe(before, step));
            at = before;
        }
        steps.reverse();
        panic!("{violation}, after\n{}", steps.join("\n"));
    }

    fn describe(&self, from: usize, (attempt, fate): Step) -> String {
        let place = self.reached[from].0.places[attempt as usize].unwrap();
        let asked = match self.attempts[attempt as usize].next(place) {
            Next::Asks(Question::Get(key)) => format!("reads {key}"),
            Next::Asks(Question::Put(key, _)) => format!("writes {key}"),
            Next::Asks(Question::PutIf(key, _, Condition::Absent)) => format!("writes {key} if absent"),
            Next::Asks(Question::PutIf(key, ..)) => format!("writes {key} if unchanged"),
            Next::Asks(Question::List(prefix)) => format!("lists {prefix}"),
            Next::Asks(Question::Delete(key)) => format!("deletes {key}"),
            other => format!("{other:?}"),
        };
        format!("  attempt {attempt} {asked}: {fate:?}")
    }
}

/// What may go wrong with a question besides a crash.
fn fates_of(question: &Question) -> &'static [Fate] {
    match question {
        Question::Get(_) | Question::List(_) => &[Fate::Failed],
        Question::Put(..) | Question::Delete(_) => &[Fate::Failed, Fate::Lost],
        Question::PutIf(..) => &[Fate::Failed, Fate::Lost, Fate::Refused, Fate::LostThenRefused],
        Question::Clock => &[],
    }
}
