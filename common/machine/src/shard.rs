//! Which of several tasks that do one job together this one is.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// More tasks than Step Functions' Distributed Map runs at once.
const MOST_SHARDS: u32 = 10_000;

/// One of so many tasks, `0/4` to `3/4`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    index: u32,
    count: u32,
}

/// A text that names no shard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is I/N, the first of them 0/N and the last one N-1/N, with N from 1 to {MOST_SHARDS}, such as 0/4")]
pub struct InvalidShard;

impl Shard {
    /// Its number, from 0 on.
    #[must_use]
    pub fn index(self) -> u32 {
        self.index
    }

    /// How many there are.
    #[must_use]
    pub fn count(self) -> u32 {
        self.count
    }

    /// Another one of them; none where there are not as many.
    #[must_use]
    pub fn other(self, index: u32) -> Option<Self> {
        (index < self.count).then_some(Self { index, ..self })
    }

    /// Its share of so many things in a row: those of all shards follow one another, and differ by one thing at most.
    #[must_use]
    pub fn share_of(self, things: u64) -> Range<u64> {
        let before = |shards: u32| {
            let share = u128::from(things) * u128::from(shards) / u128::from(self.count.max(1));
            u64::try_from(share).unwrap_or(u64::MAX)
        };
        before(self.index)..before(self.index + 1)
    }
}

impl FromStr for Shard {
    type Err = InvalidShard;

    fn from_str(text: &str) -> Result<Self, InvalidShard> {
        let number = |text: &str| {
            let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            is_number.then(|| text.parse::<u32>().ok()).flatten()
        };
        let (index, count) = text.split_once('/').ok_or(InvalidShard)?;
        let (index, count) = number(index).zip(number(count)).ok_or(InvalidShard)?;
        let is_one = index < count && count <= MOST_SHARDS;
        is_one.then_some(Self { index, count }).ok_or(InvalidShard)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.index, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_told_as_they_are_written() {
        for text in ["0/1", "3/4", "9999/10000"] {
            assert_eq!(text.parse::<Shard>().unwrap().to_string(), text);
        }
        for text in ["", "/", "1", "1/1", "4/4", "0/0", "-1/4", "+1/4", "0/10001", "0/4/4", "a/4", "1/99999999999"] {
            assert_eq!(text.parse::<Shard>(), Err(InvalidShard), "{text}");
        }
    }

    #[test]
    fn shares_follow_one_another_and_are_of_about_one_size() {
        for things in [0, 1, 3, 4, 1_000_003, u64::MAX] {
            for count in [1, 2, 4, 16] {
                let mut next = 0;
                for index in 0..count {
                    let share = Shard { index, count }.share_of(things);
                    assert_eq!(share.start, next);
                    assert!((share.end - share.start).abs_diff(things / u64::from(count)) <= 1);
                    next = share.end;
                }
                assert_eq!(next, things);
            }
        }
    }
}
