//! The store as the explorer sees it: which key holds which content. Keys and contents are numbers, so that states are small.

use std::collections::HashMap;
use std::hash::Hash;

use bytes::Bytes;

/// The number of a key or a content.
pub(crate) type Id = u32;

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

    pub(crate) fn value(&self, number: Id) -> &T {
        &self.values[number as usize]
    }
}

/// The names of all keys and contents of one exploration.
#[derive(Debug, Default)]
pub(crate) struct Names {
    pub(crate) keys: Numbered<String>,
    pub(crate) contents: Numbered<Bytes>,
}

/// The objects of the store by key, and a clock that moves whenever it is read.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct World {
    objects: Vec<(Id, Id)>,
    pub(crate) clock: u32,
}

impl World {
    pub(crate) fn get(&self, key: Id) -> Option<Id> {
        let place = self.objects.binary_search_by_key(&key, |(key, _)| *key).ok()?;
        Some(self.objects[place].1)
    }

    pub(crate) fn put(&mut self, key: Id, content: Id) {
        match self.objects.binary_search_by_key(&key, |(key, _)| *key) {
            Ok(place) => self.objects[place].1 = content,
            Err(place) => self.objects.insert(place, (key, content)),
        }
    }

    pub(crate) fn delete(&mut self, key: Id) {
        if let Ok(place) = self.objects.binary_search_by_key(&key, |(key, _)| *key) {
            self.objects.remove(place);
        }
    }

    pub(crate) fn objects(&self) -> &[(Id, Id)] {
        &self.objects
    }
}
