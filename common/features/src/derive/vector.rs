//! The values of a node over a block of rows, and what can be done with them element by element.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::error::Problem;
use super::node::{Arithmetic, Comparison};

/// Values of a block. `'f` lives as long as the block's columns, `'a` as long as batch and expression.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Vector<'f, 'a> {
    Number(Cow<'f, [f64]>),
    Boolean(Cow<'f, [Option<bool>]>),
    Text(Vec<Option<&'a str>>),
    Date(Cow<'f, [f64]>),
    /// Missing in every row, of whatever type is wanted.
    Null,
}

/// Two vectors of one type.
enum Pair<'f, 'a> {
    Float(Cow<'f, [f64]>, Cow<'f, [f64]>, Rewrap<'f, 'a>),
    Boolean(Cow<'f, [Option<bool>]>, Cow<'f, [Option<bool>]>),
    Text(Vec<Option<&'a str>>, Vec<Option<&'a str>>),
    Null,
}

/// Number or date, whichever the pair was made of.
type Rewrap<'f, 'a> = fn(Cow<'f, [f64]>) -> Vector<'f, 'a>;

impl<'f, 'a> Vector<'f, 'a> {
    pub(super) fn into_numbers(self, rows: usize) -> Result<Cow<'f, [f64]>, Problem> {
        match self {
            Self::Number(values) => Ok(values),
            Self::Null => Ok(Cow::Owned(vec![f64::NAN; rows])),
            _ => Err(unchecked()),
        }
    }

    pub(super) fn into_dates(self, rows: usize) -> Result<Cow<'f, [f64]>, Problem> {
        match self {
            Self::Date(values) => Ok(values),
            Self::Null => Ok(Cow::Owned(vec![f64::NAN; rows])),
            _ => Err(unchecked()),
        }
    }

    pub(super) fn into_booleans(self, rows: usize) -> Result<Cow<'f, [Option<bool>]>, Problem> {
        match self {
            Self::Boolean(values) => Ok(values),
            Self::Null => Ok(Cow::Owned(vec![None; rows])),
            _ => Err(unchecked()),
        }
    }

    /// Which rows are missing.
    pub(super) fn missing(&self, rows: usize) -> Vec<bool> {
        match self {
            Self::Number(values) | Self::Date(values) => values.iter().map(|value| value.is_nan()).collect(),
            Self::Boolean(values) => values.iter().map(Option::is_none).collect(),
            Self::Text(values) => values.iter().map(Option::is_none).collect(),
            Self::Null => vec![true; rows],
        }
    }

    fn pair(self, other: Self, rows: usize) -> Result<Pair<'f, 'a>, Problem> {
        Ok(match (self, other) {
            (Self::Null, Self::Null) => Pair::Null,
            (Self::Number(left), right) => Pair::Float(left, right.into_numbers(rows)?, Self::Number),
            (left, Self::Number(right)) => Pair::Float(left.into_numbers(rows)?, right, Self::Number),
            (Self::Date(left), right) => Pair::Float(left, right.into_dates(rows)?, Self::Date),
            (left, Self::Date(right)) => Pair::Float(left.into_dates(rows)?, right, Self::Date),
            (Self::Boolean(left), right) => Pair::Boolean(left, right.into_booleans(rows)?),
            (left, Self::Boolean(right)) => Pair::Boolean(left.into_booleans(rows)?, right),
            (Self::Text(left), Self::Text(right)) => Pair::Text(left, right),
            (Self::Text(left), Self::Null) => Pair::Text(left, vec![None; rows]),
            (Self::Null, Self::Text(right)) => Pair::Text(vec![None; rows], right),
        })
    }

    /// `self comparison other`; missing where either is.
    pub(super) fn compare(
        self,
        comparison: Comparison,
        other: Self,
        rows: usize,
    ) -> Result<Vec<Option<bool>>, Problem> {
        Ok(match self.pair(other, rows)? {
            Pair::Null => vec![None; rows],
            Pair::Float(left, right, _) => {
                zip(&left, &right, |left, right| left.partial_cmp(&right).map(|order| comparison.holds(order)))
            }
            Pair::Boolean(left, right) => zip(&left, &right, |left, right| compare_present(comparison, left, right)),
            Pair::Text(left, right) => zip(&left, &right, |left, right| compare_present(comparison, left, right)),
        })
    }

    /// Row by row `self` where `mask` is true, `other` where it is false, missing where it is missing.
    pub(super) fn choose(self, mask: &[Option<bool>], other: Self) -> Result<Self, Problem> {
        Ok(match self.pair(other, mask.len())? {
            Pair::Null => Self::Null,
            Pair::Float(yes, no, rewrap) => rewrap(Cow::Owned(pick(mask, &yes, &no, f64::NAN))),
            Pair::Boolean(yes, no) => Self::Boolean(Cow::Owned(pick(mask, &yes, &no, None))),
            Pair::Text(yes, no) => Self::Text(pick(mask, &yes, &no, None)),
        })
    }
}

/// The types were checked before anything was evaluated, so this says that the check and the evaluation disagree.
fn unchecked() -> Problem {
    Problem::Type("operands are of types that do not go together".to_owned())
}

fn compare_present<T: Ord>(comparison: Comparison, left: Option<T>, right: Option<T>) -> Option<bool> {
    let order: Ordering = left?.cmp(&right?);
    Some(comparison.holds(order))
}

fn zip<T: Copy, R>(left: &[T], right: &[T], combine: impl Fn(T, T) -> R) -> Vec<R> {
    left.iter().zip(right).map(|(left, right)| combine(*left, *right)).collect()
}

fn pick<T: Copy>(mask: &[Option<bool>], yes: &[T], no: &[T], missing: T) -> Vec<T> {
    let choices = mask.iter().zip(yes.iter().zip(no));
    choices
        .map(|(choice, (yes, no))| match choice {
            Some(true) => *yes,
            Some(false) => *no,
            None => missing,
        })
        .collect()
}

/// What is not finite is missing.
pub(super) fn finite(value: f64) -> f64 {
    if value.is_finite() { value } else { f64::NAN }
}

/// Applies `function` to every number; a result that is not finite is missing.
pub(super) fn map_numbers(numbers: Cow<'_, [f64]>, function: impl Fn(f64) -> f64) -> Cow<'static, [f64]> {
    let mut values = numbers.into_owned();
    for value in &mut values {
        *value = finite(function(*value));
    }
    Cow::Owned(values)
}

/// Applies `function` to every pair of numbers; a result that is not finite is missing.
pub(super) fn zip_numbers(
    left: Cow<'_, [f64]>,
    right: &[f64],
    function: impl Fn(f64, f64) -> f64,
) -> Cow<'static, [f64]> {
    let mut values = left.into_owned();
    for (value, right) in values.iter_mut().zip(right) {
        *value = finite(function(*value, *right));
    }
    Cow::Owned(values)
}

/// `left operator right`, in 64-bit floats.
pub(super) fn arithmetic(operator: Arithmetic, left: Cow<'_, [f64]>, right: &[f64]) -> Cow<'static, [f64]> {
    match operator {
        Arithmetic::Add => zip_numbers(left, right, |left, right| left + right),
        Arithmetic::Subtract => zip_numbers(left, right, |left, right| left - right),
        Arithmetic::Multiply => zip_numbers(left, right, |left, right| left * right),
        Arithmetic::Divide => zip_numbers(left, right, |left, right| left / right),
    }
}

/// SQL's AND: false wins over missing.
pub(super) fn and(left: Option<bool>, right: Option<bool>) -> Option<bool> {
    match (left, right) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

/// SQL's OR: true wins over missing.
pub(super) fn or(left: Option<bool>, right: Option<bool>) -> Option<bool> {
    match (left, right) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (Some(false), Some(false)) => Some(false),
        _ => None,
    }
}
