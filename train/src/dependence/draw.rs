//! Random choices of rows, by a hash of their ids: neither the order of rows nor the memory has a part in them.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// What is chosen. Each choice has a hash of its own, so that none says anything of another: rows that were sampled because their hash
/// is low would otherwise all be of the same half.
#[derive(Debug, Clone, Copy)]
pub(super) enum Draw {
    /// The rows of the sample.
    Sample,
    /// Those of them that are asked about dates.
    Dates,
    /// The half of the validation rows that a row is of.
    Half,
    /// Training rows that make room for validation rows of the other half.
    Kept,
    /// The order in which rows get each other's dates; several of them.
    Shuffle(u64),
}

impl Draw {
    /// The hash of a row by its id.
    pub(super) fn hash(self, id: &str, seed: u64) -> u64 {
        let salt = match self {
            Self::Sample => 1,
            Self::Dates => 2,
            Self::Half => 3,
            Self::Kept => 4,
            Self::Shuffle(which) => 5 + which,
        };
        xxh3_64_with_seed(id.as_bytes(), seed.wrapping_add(salt))
    }

    /// Whether a row is among a share of all rows.
    pub(super) fn is_drawn(self, id: &str, seed: u64, share: f64) -> bool {
        is_below(self.hash(id, seed), share)
    }
}

/// Whether a hash is among a share of all hashes.
pub(super) fn is_below(hash: u64, share: f64) -> bool {
    share >= 1.0 || (hash as f64) / 2_f64.powi(64) < share
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_choice_says_anything_of_another() {
        let draws = [Draw::Sample, Draw::Dates, Draw::Half, Draw::Kept, Draw::Shuffle(0), Draw::Shuffle(1)];
        let ids: Vec<String> = (0..4_000).map(|id| format!("c-{id}")).collect();
        for (place, one) in draws.iter().enumerate() {
            let drawn: Vec<&String> = ids.iter().filter(|id| one.is_drawn(id, 9, 0.3)).collect();
            assert!((1_000..1_400).contains(&drawn.len()), "{one:?}: {}", drawn.len());
            for other in &draws[place + 1..] {
                let both = drawn.iter().filter(|id| other.is_drawn(id, 9, 0.5)).count() as f64;
                assert!((0.44..0.56).contains(&(both / drawn.len() as f64)), "{one:?} and {other:?}: {both}");
            }
        }
    }
}
