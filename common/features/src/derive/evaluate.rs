//! Evaluates a tree over the columns of a batch, block by block.

use std::borrow::Cow;

use super::calendar::days_between;
use super::error::Problem;
use super::node::{Arithmetic, Case, Comparison, Function, Literal, Node, Operator};
use super::values::{Derived, ValueType, Values};
use super::vector::{Vector, and, arithmetic, finite, map_numbers, or, zip_numbers};

/// Rows evaluated at a time: the intermediate results of a block stay in the processor's cache.
pub(super) const BLOCK_ROWS: usize = 2048;

/// Evaluates `root`, whose columns were checked to be of type and have `rows` rows, and which is of type `result`.
pub(super) fn evaluate<'a>(
    root: &'a Node,
    columns: &[Values<'a>],
    rows: usize,
    result: Option<ValueType>,
) -> Result<Derived<'a>, Problem> {
    let mut derived = match result {
        Some(ValueType::Text) => Derived::Text(Vec::with_capacity(rows)),
        _ => Derived::Number(Vec::with_capacity(rows)),
    };
    for start in (0..rows).step_by(BLOCK_ROWS) {
        let block = Block { columns, start, rows: BLOCK_ROWS.min(rows - start) };
        append(&mut derived, block.evaluate(root)?, block.rows);
    }
    Ok(derived)
}

fn append<'a>(derived: &mut Derived<'a>, vector: Vector<'_, 'a>, rows: usize) {
    match derived {
        Derived::Text(texts) => match vector {
            Vector::Text(values) => texts.extend(values),
            _ => texts.extend(std::iter::repeat_n(None, rows)),
        },
        Derived::Number(numbers) => match vector {
            Vector::Number(values) | Vector::Date(values) => numbers.extend(values.iter().copied()),
            Vector::Boolean(values) => {
                numbers.extend(values.iter().map(|value| value.map_or(f64::NAN, f64::from)));
            }
            Vector::Text(_) | Vector::Null => numbers.extend(std::iter::repeat_n(f64::NAN, rows)),
        },
    }
}

/// A range of rows of a batch.
struct Block<'f, 'a> {
    columns: &'f [Values<'a>],
    start: usize,
    rows: usize,
}

impl<'f, 'a> Block<'f, 'a> {
    fn evaluate(&self, node: &'a Node) -> Result<Vector<'f, 'a>, Problem> {
        match node {
            Node::Column(place) => Ok(self.columns.get(*place).map_or(Vector::Null, |values| self.slice(values))),
            Node::Literal(literal) => Ok(self.repeat(literal)),
            Node::Negate(operand) => Ok(Vector::Number(map_numbers(self.numbers(operand)?, |value| -value))),
            Node::Not(operand) => Ok(booleans(self.booleans(operand)?.iter().map(|value| value.map(|value| !value)))),
            Node::Chain { first, rest } => self.chain(first, rest),
            Node::IsNull { operand, negated } => {
                let missing = self.evaluate(operand)?.missing(self.rows);
                Ok(booleans(missing.into_iter().map(|missing| Some(missing != *negated))))
            }
            Node::Between { operand, low, high, negated } => self.between(operand, low, high, *negated),
            Node::In { operand, list, negated } => self.in_list(operand, list, *negated),
            Node::Case(case) => self.case(case),
            Node::Call(function, arguments) => self.call(*function, arguments),
            Node::Part(part, date) => Ok(Vector::Number(map_numbers(self.dates(date)?, |days| part.of(days)))),
            Node::DateDifference(unit, earlier, later) => {
                let [earlier, later] = [self.dates(earlier)?, self.dates(later)?];
                Ok(Vector::Number(zip_numbers(earlier, &later, |earlier, later| unit.between(earlier, later))))
            }
        }
    }

    fn numbers(&self, node: &'a Node) -> Result<Cow<'f, [f64]>, Problem> {
        self.evaluate(node)?.into_numbers(self.rows)
    }

    fn dates(&self, node: &'a Node) -> Result<Cow<'f, [f64]>, Problem> {
        self.evaluate(node)?.into_dates(self.rows)
    }

    fn booleans(&self, node: &'a Node) -> Result<Cow<'f, [Option<bool>]>, Problem> {
        self.evaluate(node)?.into_booleans(self.rows)
    }

    fn slice(&self, values: &'f Values<'a>) -> Vector<'f, 'a> {
        let range = self.start..self.start + self.rows;
        match values {
            Values::Number(values) => Vector::Number(without_infinite(&values[range])),
            Values::Date(values) => Vector::Date(without_infinite(&values[range])),
            Values::Boolean(values) => Vector::Boolean(Cow::Borrowed(&values[range])),
            Values::Text(column) => {
                let column = *column;
                Vector::Text(range.map(|row| column.get(row)).collect())
            }
        }
    }

    fn repeat(&self, literal: &'a Literal) -> Vector<'f, 'a> {
        match literal {
            Literal::Number(value) => Vector::Number(Cow::Owned(vec![*value; self.rows])),
            Literal::Date(days) => Vector::Date(Cow::Owned(vec![*days; self.rows])),
            Literal::Boolean(value) => Vector::Boolean(Cow::Owned(vec![Some(*value); self.rows])),
            Literal::Text(text) => Vector::Text(vec![Some(text); self.rows]),
            Literal::Null => Vector::Null,
        }
    }

    fn chain(&self, first: &'a Node, rest: &'a [(Operator, Node)]) -> Result<Vector<'f, 'a>, Problem> {
        let mut left = self.evaluate(first)?;
        for (operator, right) in rest {
            left = self.binary(*operator, left, self.evaluate(right)?)?;
        }
        Ok(left)
    }

    fn binary(
        &self,
        operator: Operator,
        left: Vector<'f, 'a>,
        right: Vector<'f, 'a>,
    ) -> Result<Vector<'f, 'a>, Problem> {
        match operator {
            Operator::Arithmetic(Arithmetic::Subtract) if matches!(left, Vector::Date(_)) => {
                let [later, earlier] = [left.into_dates(self.rows)?, right.into_dates(self.rows)?];
                Ok(Vector::Number(zip_numbers(later, &earlier, days_between)))
            }
            Operator::Arithmetic(operator) => {
                let [left, right] = [left.into_numbers(self.rows)?, right.into_numbers(self.rows)?];
                Ok(Vector::Number(arithmetic(operator, left, &right)))
            }
            Operator::Compare(comparison) => Ok(booleans(left.compare(comparison, right, self.rows)?)),
            Operator::And => self.logical(left, right, and),
            Operator::Or => self.logical(left, right, or),
        }
    }

    fn logical(
        &self,
        left: Vector<'f, 'a>,
        right: Vector<'f, 'a>,
        combine: fn(Option<bool>, Option<bool>) -> Option<bool>,
    ) -> Result<Vector<'f, 'a>, Problem> {
        let [left, right] = [left.into_booleans(self.rows)?, right.into_booleans(self.rows)?];
        Ok(booleans(left.iter().zip(right.iter()).map(|(left, right)| combine(*left, *right))))
    }

    /// `low <= operand AND operand <= high`.
    fn between(
        &self,
        operand: &'a Node,
        low: &'a Node,
        high: &'a Node,
        negated: bool,
    ) -> Result<Vector<'f, 'a>, Problem> {
        let operand = self.evaluate(operand)?;
        let above = operand.clone().compare(Comparison::GreaterOrEqual, self.evaluate(low)?, self.rows)?;
        let below = operand.compare(Comparison::LessOrEqual, self.evaluate(high)?, self.rows)?;
        Ok(booleans(above.into_iter().zip(below).map(|(above, below)| negate_if(negated, and(above, below)))))
    }

    /// `operand = a OR operand = b OR …`.
    fn in_list(&self, operand: &'a Node, list: &'a [Node], negated: bool) -> Result<Vector<'f, 'a>, Problem> {
        let operand = self.evaluate(operand)?;
        let mut found = vec![Some(false); self.rows];
        for item in list {
            let equal = operand.clone().compare(Comparison::Equal, self.evaluate(item)?, self.rows)?;
            for (found, equal) in found.iter_mut().zip(equal) {
                *found = or(*found, equal);
            }
        }
        Ok(booleans(found.into_iter().map(|found| negate_if(negated, found))))
    }

    /// All branches are computed for all rows, which no value can make fail; then the first that applies is taken.
    fn case(&self, case: &'a Case) -> Result<Vector<'f, 'a>, Problem> {
        let operand = case.operand.as_deref().map(|operand| self.evaluate(operand)).transpose()?;
        let mut result = case.otherwise.as_deref().map_or(Ok(Vector::Null), |otherwise| self.evaluate(otherwise))?;
        for (condition, value) in case.branches.iter().rev() {
            let condition = self.evaluate(condition)?;
            let holds = match &operand {
                Some(operand) => Cow::Owned(operand.clone().compare(Comparison::Equal, condition, self.rows)?),
                None => condition.into_booleans(self.rows)?,
            };
            let taken: Vec<_> = holds.iter().map(|holds| Some(*holds == Some(true))).collect();
            result = self.evaluate(value)?.choose(&taken, result)?;
        }
        Ok(result)
    }

    fn call(&self, function: Function, arguments: &'a [Node]) -> Result<Vector<'f, 'a>, Problem> {
        match (function, arguments) {
            (Function::Unary(unary), [operand]) => {
                Ok(Vector::Number(map_numbers(self.numbers(operand)?, |value| unary.apply(value))))
            }
            (Function::Power, [base, exponent]) => {
                let [base, exponent] = [self.numbers(base)?, self.numbers(exponent)?];
                Ok(Vector::Number(zip_numbers(base, &exponent, power)))
            }
            (Function::NullIf, [value, unwanted]) => self.null_if(value, unwanted),
            (Function::Least, _) => {
                self.fold(arguments, |left, right| self.extreme(Comparison::LessOrEqual, left, right))
            }
            (Function::Greatest, _) => {
                self.fold(arguments, |left, right| self.extreme(Comparison::GreaterOrEqual, left, right))
            }
            _ => self.fold(arguments, |left, right| self.coalesce(left, right)),
        }
    }

    fn fold(
        &self,
        arguments: &'a [Node],
        combine: impl Fn(Vector<'f, 'a>, Vector<'f, 'a>) -> Result<Vector<'f, 'a>, Problem>,
    ) -> Result<Vector<'f, 'a>, Problem> {
        let Some((first, rest)) = arguments.split_first() else {
            return Ok(Vector::Null);
        };
        rest.iter().try_fold(self.evaluate(first)?, |left, right| combine(left, self.evaluate(right)?))
    }

    fn null_if(&self, value: &'a Node, unwanted: &'a Node) -> Result<Vector<'f, 'a>, Problem> {
        let value = self.evaluate(value)?;
        let equal = value.clone().compare(Comparison::Equal, self.evaluate(unwanted)?, self.rows)?;
        let keep: Vec<_> = equal.into_iter().map(|equal| Some(equal != Some(true))).collect();
        value.choose(&keep, Vector::Null)
    }

    fn coalesce(&self, left: Vector<'f, 'a>, right: Vector<'f, 'a>) -> Result<Vector<'f, 'a>, Problem> {
        let present: Vec<_> = left.missing(self.rows).into_iter().map(|missing| Some(!missing)).collect();
        left.choose(&present, right)
    }

    /// The lesser or the greater of two; missing where either is.
    fn extreme(
        &self,
        wanted: Comparison,
        left: Vector<'f, 'a>,
        right: Vector<'f, 'a>,
    ) -> Result<Vector<'f, 'a>, Problem> {
        let take_left = left.clone().compare(wanted, right.clone(), self.rows)?;
        left.choose(&take_left, right)
    }
}

fn booleans<'f, 'a>(values: impl IntoIterator<Item = Option<bool>>) -> Vector<'f, 'a> {
    Vector::Boolean(Cow::Owned(values.into_iter().collect()))
}

fn negate_if(negated: bool, value: Option<bool>) -> Option<bool> {
    value.map(|value| value != negated)
}

fn without_infinite(values: &[f64]) -> Cow<'_, [f64]> {
    if values.iter().any(|value| value.is_infinite()) {
        return Cow::Owned(values.iter().map(|value| finite(*value)).collect());
    }
    Cow::Borrowed(values)
}

/// Missing where either is missing, also in `POWER(NULL, 0)` and `POWER(1, NULL)`, which IEEE 754 calls 1.
fn power(base: f64, exponent: f64) -> f64 {
    if base.is_nan() || exponent.is_nan() { f64::NAN } else { base.powf(exponent) }
}
