//! Which objects the rejected rows come from, for the report of a run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::rejected::{Reason, RejectCounts};

/// Objects that are told apart, the first of the input: of more than these the others are counted together.
const MOST_SOURCES: usize = 1_000;

/// Rejected rows by the object that they come from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectSources {
    /// By the place of the object in the input.
    first: BTreeMap<u64, SourceRejects>,
    /// Those of all other objects.
    #[serde(default)]
    others: RejectCounts,
}

/// The rejected rows of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRejects {
    /// Its key.
    pub source: String,
    /// By reason.
    #[serde(flatten)]
    pub counts: RejectCounts,
}

impl RejectSources {
    /// Counts rows of an object that have a reason.
    pub(super) fn count(&mut self, object: usize, source: &str, reasons: impl Iterator<Item = Reason>) {
        let mut counts = RejectCounts::default();
        reasons.for_each(|reason| counts.count(reason));
        self.add_object(object as u64, SourceRejects { source: source.to_owned(), counts });
        self.keep_the_first();
    }

    /// Adds those of other parts. In whatever order that is done, the first objects of all stay, each with all of its rows: an object that
    /// is not among the first of some parts is not among the first of all.
    pub fn add(&mut self, more: Self) {
        more.first.into_iter().for_each(|(object, rejects)| self.add_object(object, rejects));
        self.others.add(&more.others);
        self.keep_the_first();
    }

    /// The objects with most rejected rows first, as many as `most`, and the rows of all others.
    #[must_use]
    pub fn by_rows(&self, most: usize) -> (Vec<&SourceRejects>, RejectCounts) {
        // Stable: among equals the order of the input.
        let mut sources: Vec<&SourceRejects> = self.first.values().collect();
        sources.sort_by_key(|rejects| std::cmp::Reverse(rejects.counts.total()));
        let mut others = self.others;
        sources.drain(most.min(sources.len())..).for_each(|rejects| others.add(&rejects.counts));
        (sources, others)
    }

    /// Whether these are so many rows: they are read from a file, which may be damaged.
    #[must_use]
    pub fn add_up_to(&self, counts: &RejectCounts) -> bool {
        let all = self.first.values().map(|rejects| &rejects.counts).chain([&self.others]);
        let sum = all.copied().try_fold(RejectCounts::default(), |sum, more| sum.checked_add(&more));
        self.first.len() <= MOST_SOURCES && sum.as_ref() == Some(counts)
    }

    fn add_object(&mut self, object: u64, rejects: SourceRejects) {
        match self.first.get_mut(&object) {
            Some(known) => known.counts.add(&rejects.counts),
            None => {
                self.first.insert(object, rejects);
            }
        }
    }

    fn keep_the_first(&mut self) {
        while self.first.len() > MOST_SOURCES {
            let Some((_, rejects)) = self.first.pop_last() else { return };
            self.others.add(&rejects.counts);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(object: usize, rows: usize) -> RejectSources {
        let mut sources = RejectSources::default();
        sources.count(object, &format!("part-{object}"), std::iter::repeat_n(Reason::DuplicateId, rows));
        sources
    }

    #[test]
    fn the_objects_with_most_rows_come_first() {
        let mut sources = of(3, 2);
        sources.count(1, "part-1", [Reason::NullId, Reason::BadValue].into_iter());
        sources.add(of(3, 5));
        sources.add(of(2, 1));
        let (most, others) = sources.by_rows(2);
        let named: Vec<_> = most.iter().map(|rejects| (rejects.source.as_str(), rejects.counts.total())).collect();
        assert_eq!((named, others.total()), (vec![("part-3", 7), ("part-1", 2)], 1));
        let counts = RejectCounts { null_id: 1, duplicate_id: 8, bad_value: 1 };
        assert!(sources.add_up_to(&counts) && !sources.add_up_to(&RejectCounts::default()));
        let json = serde_json::to_string(&sources).unwrap();
        assert_eq!(serde_json::from_str::<RejectSources>(&json).unwrap(), sources);
        let damaged = json.replace("\"duplicate_id\":7", "\"duplicate_id\":18446744073709551615");
        assert!(!serde_json::from_str::<RejectSources>(&damaged).unwrap().add_up_to(&counts));
    }

    /// The same whatever parts were added first.
    #[test]
    fn of_very_many_objects_the_first_are_told_apart() {
        let parts: Vec<RejectSources> = (0..3_000).map(|part| of(part / 2, 1 + part % 2)).collect();
        let mut forward = RejectSources::default();
        parts.iter().for_each(|part| forward.add(part.clone()));
        let mut groups = vec![RejectSources::default(); 7];
        parts.iter().rev().enumerate().for_each(|(place, part)| groups[place % 7].add(part.clone()));
        let mut backward = RejectSources::default();
        groups.into_iter().for_each(|group| backward.add(group));
        assert_eq!(forward, backward);
        let (most, others) = forward.by_rows(usize::MAX);
        assert_eq!((most.len(), others.total()), (1_000, 1_500));
        assert!(most.iter().all(|rejects| rejects.counts.total() == 3));
    }
}
