//! Attempts as programs that are known by the answers they were given: each sequence of answers is run once.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::store::{Answer, AskingStore, Question};

/// The place of an attempt: the answers that it has been given so far.
pub(crate) type Place = u32;

/// What an attempt does next at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    Asks(Question),
    /// It ended with this result, or with an error.
    Ended(Result<String, String>),
}

/// An attempt that can be started any number of times.
pub(crate) type Start = Box<dyn Fn(AskingStore) -> Pin<Box<dyn Future<Output = Result<String, String>>>>>;

struct Node {
    /// The place before, and the answer that led here.
    before: Option<(Place, Answer)>,
    next: Next,
    /// The places after, by what the answer is known by.
    after: Vec<(u32, Place)>,
}

/// All places of one program.
pub(crate) struct Program {
    start: Start,
    nodes: Vec<Node>,
}

impl Program {
    /// Before its first answer.
    pub(crate) const BEGIN: Place = 0;

    pub(crate) fn new(start: Start) -> Self {
        let mut program = Self { start, nodes: Vec::new() };
        let next = program.run(&[]);
        program.nodes.push(Node { before: None, next, after: Vec::new() });
        program
    }

    pub(crate) fn next(&self, place: Place) -> &Next {
        &self.nodes[place as usize].next
    }

    pub(crate) fn places(&self) -> usize {
        self.nodes.len()
    }

    /// The place after an answer that is known by `short`, if an attempt has been there before.
    pub(crate) fn known(&self, place: Place, short: u32) -> Option<Place> {
        self.nodes[place as usize].after.iter().find(|(answer, _)| *answer == short).map(|(_, after)| *after)
    }

    /// Runs the program to the place after an answer.
    pub(crate) fn go(&mut self, place: Place, short: u32, answer: &Answer) -> Place {
        let mut answers = self.answers(place);
        answers.push(answer.clone());
        let next = self.run(&answers);
        let after = Place::try_from(self.nodes.len()).unwrap();
        self.nodes.push(Node { before: Some((place, answer.clone())), next, after: Vec::new() });
        self.nodes[place as usize].after.push((short, after));
        after
    }

    fn answers(&self, mut place: Place) -> Vec<Answer> {
        let mut answers = Vec::new();
        while let Some((before, answer)) = &self.nodes[place as usize].before {
            answers.push(answer.clone());
            place = *before;
        }
        answers.reverse();
        answers
    }

    /// Runs the program from its start with these answers.
    fn run(&self, answers: &[Answer]) -> Next {
        let store = AskingStore::default();
        store.port.lock().unwrap().answers.extend(answers.iter().cloned());
        let mut running = (self.start)(store.clone());
        match running.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(ended) => Next::Ended(ended),
            Poll::Pending => {
                let mut port = store.port.lock().unwrap();
                assert!(port.answers.is_empty(), "an attempt waits for something else than the store");
                Next::Asks(port.question.take().expect("an attempt waits for the store"))
            }
        }
    }
}
