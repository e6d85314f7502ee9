//! Texts that are long and stand in memory once for many rows: a dictionary of a few kilobytes may hold one of fifty megabytes for
//! millions of rows. What is computed of such a text is computed once for each place in memory, not for each row.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// Shorter ones are compared and hashed as fast as they would be found by their place.
const LONG_BYTES: usize = 1 << 12;

/// What was computed of long texts, by where they are. Of a run of rows, as long as their texts stay where they are.
#[derive(Debug)]
pub struct LongTexts<'a, T> {
    known: HashMap<(usize, usize), (&'a str, T)>,
}

impl<T> Default for LongTexts<'_, T> {
    fn default() -> Self {
        Self { known: HashMap::new() }
    }
}

/// Whether a text is one of these.
#[must_use]
#[inline]
pub fn is_long(text: &str) -> bool {
    text.len() >= LONG_BYTES
}

impl<'a, T> LongTexts<'a, T> {
    /// What was computed of a long text, to be changed; it begins as `first` gives it.
    pub fn of(&mut self, text: &'a str, first: impl FnOnce(&str) -> T) -> &mut T {
        match self.known.entry((text.as_ptr().addr(), text.len())) {
            Entry::Occupied(known) => &mut known.into_mut().1,
            Entry::Vacant(place) => &mut place.insert((text, first(text))).1,
        }
    }

    /// Each of them, and what was computed of it.
    pub fn into_each(self) -> impl Iterator<Item = (&'a str, T)> {
        self.known.into_values()
    }
}

impl<'a, T: Copy> LongTexts<'a, T> {
    /// What `compute` gives of a text, which is asked once for all rows that have a long one in common.
    pub fn once(&mut self, text: &'a str, compute: impl FnOnce(&str) -> T) -> T {
        if is_long(text) { *self.of(text, compute) } else { compute(text) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_computed_once_for_each_place() {
        let long = "x".repeat(LONG_BYTES);
        let other = long.clone();
        let mut texts = LongTexts::default();
        let mut asked = 0;
        for text in [&long, &other, &long, &other] {
            let length = texts.once(text, |text| {
                asked += 1;
                text.len()
            });
            assert_eq!(length, LONG_BYTES);
        }
        assert_eq!(asked, 2, "equal texts at two places");
        for short in ["a", "a"] {
            texts.once(short, |text| {
                asked += 1;
                text.len()
            });
        }
        assert_eq!((asked, texts.into_each().count()), (4, 2));
    }
}
