//! The levels of a category. Few of them lie in a cache and are looked up one by one; of 100,000 hardly any does, so they are looked up
//! many at a time: reads that wait for nothing but memory wait together.

use polars::prelude::PlHashMap;
use xxhash_rust::xxh3::xxh3_64;

/// Texts that are looked up together.
pub(super) const LOOKED_UP_TOGETHER: usize = 32;

/// Up to so many texts lie in a cache.
const FEW: usize = 1 << 12;

/// Where each level stands among the levels of a category, of one that comes twice the last, and the number that stands for it.
#[derive(Debug)]
pub(super) enum LevelTable {
    /// At most [`FEW`].
    Few(PlHashMap<String, (u32, f32)>),
    /// More, and their numbers by place.
    Many(LargeTable, Vec<f32>),
}

impl LevelTable {
    /// `numbers` has one for each level.
    pub(super) fn of(levels: &[String], numbers: Vec<f32>) -> Self {
        if levels.len() > FEW {
            return Self::Many(LargeTable::of(levels), numbers);
        }
        Self::Few(levels.iter().cloned().zip((0..).zip(numbers)).collect())
    }
}

/// A table of texts by open addressing, half full at most.
#[derive(Debug)]
pub(super) struct LargeTable {
    /// The upper half of a text's hash, and its place plus one; 0 is free.
    slots: Vec<(u32, u32)>,
    /// Where each text stands in `text`.
    ends: Vec<u32>,
    text: String,
}

impl LargeTable {
    fn of(levels: &[String]) -> Self {
        let mut table =
            Self { slots: vec![(0, 0); (2 * levels.len()).next_power_of_two()], ends: Vec::new(), text: String::new() };
        for (place, level) in levels.iter().enumerate() {
            table.text.push_str(level);
            table.ends.push(table.text.len() as u32);
            let hash = xxh3_64(level.as_bytes());
            let slot = table.slot_of(hash, level);
            table.slots[slot] = (tag(hash), place as u32 + 1);
        }
        table
    }

    /// The place of a text among the levels.
    pub(super) fn find_one(&self, text: &str) -> Option<u32> {
        self.place(xxh3_64(text.as_bytes()), text)
    }

    /// The place of each text among the levels, as many as `texts` are.
    pub(super) fn find(&self, texts: &[Option<&str>], places: &mut [Option<u32>; LOOKED_UP_TOGETHER]) {
        let mut hashes = [0; LOOKED_UP_TOGETHER];
        for (hash, text) in hashes.iter_mut().zip(texts) {
            *hash = text.map_or(0, |text| xxh3_64(text.as_bytes()));
        }
        let mut likely = [0; LOOKED_UP_TOGETHER];
        for (place, hash) in likely.iter_mut().zip(&hashes) {
            *place = self.slots[self.first_slot(*hash)].1;
        }
        let ends = likely.map(|place| self.ends.get(place.saturating_sub(1) as usize).copied().unwrap_or_default());
        let last_bytes = ends.map(|end| self.text.as_bytes().get((end as usize).saturating_sub(1)).copied());
        std::hint::black_box(last_bytes);
        for ((place, text), hash) in places.iter_mut().zip(texts).zip(hashes) {
            *place = text.and_then(|text| self.place(hash, text));
        }
    }

    fn place(&self, hash: u64, text: &str) -> Option<u32> {
        self.slots[self.slot_of(hash, text)].1.checked_sub(1)
    }

    /// The slot that the text has, or that is free for it.
    fn slot_of(&self, hash: u64, text: &str) -> usize {
        let mut slot = self.first_slot(hash);
        loop {
            let (tagged, place) = self.slots[slot];
            if place == 0 || (tagged == tag(hash) && self.level(place - 1) == Some(text.as_bytes())) {
                return slot;
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
    }

    fn first_slot(&self, hash: u64) -> usize {
        hash as usize & (self.slots.len() - 1)
    }

    fn level(&self, place: u32) -> Option<&[u8]> {
        let place = place as usize;
        let start = if place == 0 { 0 } else { self.ends[place - 1] };
        self.text.as_bytes().get(start as usize..*self.ends.get(place)? as usize)
    }
}

fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn every_level_is_found_and_nothing_else() {
        for count in [1, 2, 3, 100, 5_000] {
            let levels: Vec<String> = (0..count).map(|number| format!("l{}", number * number % 4_001)).collect();
            let table = LargeTable::of(&levels);
            let known: HashMap<&str, u32> =
                levels.iter().enumerate().map(|(place, level)| (level.as_str(), place as u32)).collect();
            let texts: Vec<String> =
                (0..5_000).map(|number| if number == 7 { String::new() } else { format!("l{number}") }).collect();
            for texts in texts.chunks(29) {
                let texts: Vec<Option<&str>> =
                    texts.iter().enumerate().map(|(row, text)| (row % 5 != 3).then_some(text.as_str())).collect();
                let mut places = [Some(9); LOOKED_UP_TOGETHER];
                table.find(&texts, &mut places);
                for (text, place) in texts.iter().zip(places) {
                    assert_eq!(place, text.and_then(|text| known.get(text).copied()), "{text:?} of {count}");
                    assert_eq!(place, text.and_then(|text| table.find_one(text)));
                }
            }
        }
    }
}
