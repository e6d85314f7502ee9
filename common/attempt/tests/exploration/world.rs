//! The store as the explorer sees it: which key holds which content. Keys and contents are numbers, so that states are small.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

use bytes::Bytes;

/// The number of a key or a content.
pub(crate) type Id = u16;

/// More keys than any scenario has.
const MOST_KEYS: usize = 16;

/// Values that are known by a number.
#[derive(Debug)]
pub(crate) struct Numbered<T> {
    values: Vec<T>,
    numbers: HashMap<T, Id>,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self { values: Vec::new(), numbers: HashMap::new() }
    }
}

impl<T: Clone + Eq + Hash> Numbered<T> {
    pub(crate) fn number(&mut self, value: &T) -> Id {
        if let Some(number) = self.numbers.get(value) {
            return *number;
        }
        let number = Id::try_from(self.values.len()).unwrap();
        self.values.push(value.clone());
        self.numbers.insert(value.clone(), number);
        number
    }

    /// The number of a value that has one.
    pub(crate) fn known<Q: Eq + Hash + ?Sized>(&self, value: &Q) -> Option<Id>
    where
        T: Borrow<Q>,
    {
        self.numbers.get(value).copied()
    }

    pub(crate) fn value(&self, number: Id) -> &T {
        &self.values[number as usize]
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (Id, &T)> {
        (0..).zip(&self.values)
    }
}

/// The names of all keys and contents of one exploration.
#[derive(Debug, Default)]
pub(crate) struct Names {
    pub(crate) keys: Numbered<String>,
    pub(crate) contents: Numbered<Bytes>,
}

/// The content of each key, and a clock that moves whenever it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct World {
    /// By key: the content's number and one, or zero where there is no object.
    contents: [Id; MOST_KEYS],
    pub(crate) clock: u16,
}

impl World {
    pub(crate) fn get(&self, key: Id) -> Option<Id> {
        self.contents[key as usize].checked_sub(1)
    }

    pub(crate) fn put(&mut self, key: Id, content: Id) {
        self.contents[key as usize] = content + 1;
    }

    pub(crate) fn delete(&mut self, key: Id) {
        self.contents[key as usize] = 0;
    }

    /// The keys whose content differs from that in another world.
    pub(crate) fn differences(&self, other: &Self) -> impl Iterator<Item = Id> {
        (0..)
            .zip(self.contents.iter().zip(other.contents))
            .filter(|(_, (one, other))| **one != *other)
            .map(|(key, _)| key)
    }

    /// Everything that the world is, for a hash.
    pub(crate) fn words(&self) -> impl Iterator<Item = u16> {
        self.contents.into_iter().chain([self.clock])
    }
}
