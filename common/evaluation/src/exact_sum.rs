//! Sums that come out the same in whatever order and groups their numbers are added.

use serde::{Deserialize, Serialize};

/// More terms than the expansion of any sum of 64-bit floats has: each of them begins below the last bit of the next one.
const MOST_TERMS: usize = 64;

/// A sum of finite numbers without rounding, as a few floats that do not overlap (Shewchuk 1997, "Adaptive precision floating-point
/// arithmetic", as Python's `math.fsum`). Its [value](ExactSum::value) is the float nearest to the exact sum, so parts of the rows may be
/// added up in any grouping.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ExactSum {
    /// From the smallest to the largest.
    terms: Vec<f64>,
}

impl ExactSum {
    /// Takes in a number.
    pub fn push(&mut self, number: f64) {
        let (mut carried, mut kept) = (number, 0);
        for place in 0..self.terms.len() {
            let (sum, lost) = two_sum(carried, self.terms[place]);
            if lost != 0.0 {
                self.terms[kept] = lost;
                kept += 1;
            }
            carried = sum;
        }
        self.terms.truncate(kept);
        if carried != 0.0 {
            self.terms.push(carried);
        }
    }

    /// Adds another sum.
    pub fn add(&mut self, more: &Self) {
        more.terms.iter().for_each(|term| self.push(*term));
    }

    /// The float nearest to the sum; of two that are as near, the one whose last bit is 0.
    #[must_use]
    pub fn value(&self) -> f64 {
        let mut smaller = self.terms.iter().rev().copied();
        let Some(mut value) = smaller.next() else { return 0.0 };
        let mut lost = 0.0;
        for term in smaller.by_ref() {
            (value, lost) = two_sum(value, term);
            if lost != 0.0 {
                break;
            }
        }
        // What was lost is half a unit in the last place where doubling it changes the value by just that: what lies below it decides.
        let beyond = smaller.next().unwrap_or_default();
        if (lost < 0.0 && beyond < 0.0) || (lost > 0.0 && beyond > 0.0) {
            let (twice, further) = (lost * 2.0, value + lost * 2.0);
            if further - value == twice {
                value = further;
            }
        }
        value
    }

    /// Whether nothing but 0 was taken in.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether its terms can be those of a sum: they are read from files, which may be damaged.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.terms.len() <= MOST_TERMS && self.terms.iter().all(|term| term.is_finite())
    }
}

/// The rounded sum of two numbers, and what rounding lost of it (Knuth 1969).
fn two_sum(one: f64, other: f64) -> (f64, f64) {
    let sum = one + other;
    let of_other = sum - one;
    let of_one = sum - of_other;
    (sum, (one - of_one) + (other - of_other))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(numbers: &[f64]) -> ExactSum {
        let mut sum = ExactSum::default();
        numbers.iter().for_each(|number| sum.push(*number));
        sum
    }

    #[test]
    fn nothing_is_lost() {
        assert_eq!(of(&[1e100, 1.0, -1e100, 1e-100]).value(), 1.0);
        assert_eq!(of(&[0.1; 10]).value(), 1.0);
        assert_eq!((of(&[]).value(), of(&[3.5, -3.5]).value()), (0.0, 0.0));
        assert!(of(&[3.5, -3.5]).is_zero() && !of(&[0.5]).is_zero());
        // Half a unit in the last place, and a little more or less: Python's math.fsum gives these.
        let half = f64::EPSILON / 2.0;
        assert_eq!(of(&[1.0, half]).value(), 1.0);
        assert_eq!(of(&[1.0, half, 1e-30]).value(), 1.0 + f64::EPSILON);
        assert_eq!(of(&[1.0 + f64::EPSILON, half, -1e-30]).value(), 1.0 + f64::EPSILON);
        assert_eq!(of(&[1.0 + f64::EPSILON, half]).value(), 1.0 + 2.0 * f64::EPSILON);
    }

    #[test]
    fn damaged_terms_are_no_sum() {
        assert!(of(&[1e300, 1e-300]).is_sound());
        assert!(!ExactSum { terms: vec![f64::NAN] }.is_sound());
        assert!(!ExactSum { terms: vec![1.0; 65] }.is_sound());
    }

    proptest! {
        /// In whole numbers of 128 bits the sum is known exactly.
        #[test]
        fn order_and_groups_do_not_matter(
            rows in proptest::collection::vec((-(1_i64 << 52)..(1_i64 << 52), 0_u32..50), 0..60), seed in any::<u64>(),
        ) {
            let exact: i128 = rows.iter().map(|(digits, exponent)| i128::from(*digits) << exponent).sum();
            let mut numbers: Vec<f64> =
                rows.iter().map(|(digits, exponent)| *digits as f64 * 2.0_f64.powi(*exponent as i32)).collect();
            prop_assert_eq!(of(&numbers).value(), exact as f64);
            // In another order, in groups that are added up.
            let mut state = seed | 1;
            let mut random = |below: usize| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) as usize % below
            };
            for place in (1..numbers.len()).rev() {
                numbers.swap(place, random(place + 1));
            }
            let mut groups = vec![ExactSum::default(); 3];
            numbers.iter().for_each(|number| groups[random(3)].push(*number));
            let mut all = ExactSum::default();
            groups.iter().rev().for_each(|group| all.add(group));
            prop_assert_eq!(all.value(), exact as f64);
            let json = serde_json::to_string(&all).unwrap();
            prop_assert_eq!(serde_json::from_str::<ExactSum>(&json).unwrap(), all);
        }
    }
}
