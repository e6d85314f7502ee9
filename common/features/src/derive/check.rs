//! The type of an expression, given the types of its columns.

use super::ValueType;
use super::error::Problem;
use super::node::{Case, Function, Literal, Node, Operator};

/// The type of a node; `None` is that of NULL, which goes with every type.
type Inferred = Option<ValueType>;

/// The type of `node` over columns of these types (by the places of [`Node::Column`]).
pub(super) fn type_of(node: &Node, columns: &[ValueType]) -> Result<Inferred, Problem> {
    let checker = Checker { columns };
    checker.infer(node)
}

struct Checker<'a> {
    columns: &'a [ValueType],
}

impl Checker<'_> {
    fn infer(&self, node: &Node) -> Result<Inferred, Problem> {
        match node {
            Node::Column(place) => Ok(self.columns.get(*place).copied()),
            Node::Literal(literal) => Ok(literal_type(literal)),
            Node::Negate(operand) => self.only(operand, ValueType::Number, "the sign -"),
            Node::Not(operand) => self.only(operand, ValueType::Boolean, "NOT"),
            Node::Chain { first, rest } => self.chain(first, rest),
            Node::IsNull { operand, .. } => {
                self.infer(operand)?;
                Ok(Some(ValueType::Boolean))
            }
            Node::Between { operand, low, high, .. } => {
                self.all_comparable([operand, low, high].map(|boxed| &**boxed), "BETWEEN")
            }
            Node::In { operand, list, .. } => self.all_comparable(std::iter::once(&**operand).chain(list), "IN"),
            Node::Case(case) => self.case(case),
            Node::Call(function, arguments) => self.call(*function, arguments),
            Node::Part(_, date) => {
                self.only(date, ValueType::Date, "a date part")?;
                Ok(Some(ValueType::Number))
            }
            Node::DateDifference(_, earlier, later) => {
                self.only(earlier, ValueType::Date, "DATE_DIFF")?;
                self.only(later, ValueType::Date, "DATE_DIFF")?;
                Ok(Some(ValueType::Number))
            }
        }
    }

    /// `what` takes an operand of one type, and gives that type.
    fn only(&self, operand: &Node, wanted: ValueType, what: &str) -> Result<Inferred, Problem> {
        require(self.infer(operand)?, wanted, what)
    }

    fn chain(&self, first: &Node, rest: &[(Operator, Node)]) -> Result<Inferred, Problem> {
        let mut left = self.infer(first)?;
        for (operator, right) in rest {
            left = binary(*operator, left, self.infer(right)?)?;
        }
        Ok(left)
    }

    fn all_comparable<'n>(
        &self,
        operands: impl IntoIterator<Item = &'n Node>,
        what: &str,
    ) -> Result<Inferred, Problem> {
        self.common(operands, what)?;
        Ok(Some(ValueType::Boolean))
    }

    /// The one type that all of `operands` have.
    fn common<'n>(&self, operands: impl IntoIterator<Item = &'n Node>, what: &str) -> Result<Inferred, Problem> {
        let mut common = None;
        for operand in operands {
            common = unify(common, self.infer(operand)?, what)?;
        }
        Ok(common)
    }

    fn case(&self, case: &Case) -> Result<Inferred, Problem> {
        let conditions = case.branches.iter().map(|(condition, _)| condition);
        match &case.operand {
            Some(operand) => {
                self.common(std::iter::once(&**operand).chain(conditions), "CASE")?;
            }
            None => {
                for condition in conditions {
                    self.only(condition, ValueType::Boolean, "WHEN")?;
                }
            }
        }
        let results = case.branches.iter().map(|(_, result)| result);
        self.common(results.chain(case.otherwise.as_deref()), "the results of CASE")
    }

    fn call(&self, function: Function, arguments: &[Node]) -> Result<Inferred, Problem> {
        match function {
            Function::Coalesce => self.common(arguments, "COALESCE"),
            Function::Least => self.common(arguments, "LEAST"),
            Function::Greatest => self.common(arguments, "GREATEST"),
            Function::NullIf => {
                self.common(arguments, "NULLIF")?;
                arguments.first().map_or(Ok(None), |first| self.infer(first))
            }
            Function::Power | Function::Unary(_) => {
                let name = if function == Function::Power { "POWER" } else { "a function of numbers" };
                for argument in arguments {
                    self.only(argument, ValueType::Number, name)?;
                }
                Ok(Some(ValueType::Number))
            }
        }
    }
}

fn literal_type(literal: &Literal) -> Inferred {
    match literal {
        Literal::Number(_) => Some(ValueType::Number),
        Literal::Boolean(_) => Some(ValueType::Boolean),
        Literal::Text(_) => Some(ValueType::Text),
        Literal::Date(_) => Some(ValueType::Date),
        Literal::Null => None,
    }
}

fn binary(operator: Operator, left: Inferred, right: Inferred) -> Result<Inferred, Problem> {
    match operator {
        Operator::Arithmetic(arithmetic) => {
            let sign = arithmetic.sign();
            if sign == '-' && left == Some(ValueType::Date) {
                require(right, ValueType::Date, "date - date")?;
                return Ok(Some(ValueType::Number));
            }
            require(left, ValueType::Number, &format!("`{sign}`"))?;
            require(right, ValueType::Number, &format!("`{sign}`"))
        }
        Operator::Compare(_) => {
            unify(left, right, "a comparison")?;
            Ok(Some(ValueType::Boolean))
        }
        Operator::And | Operator::Or => {
            require(left, ValueType::Boolean, "AND or OR")?;
            require(right, ValueType::Boolean, "AND or OR")
        }
    }
}

fn require(found: Inferred, wanted: ValueType, what: &str) -> Result<Inferred, Problem> {
    match found {
        Some(found) if found != wanted => {
            Err(Problem::Type(format!("{what} takes a {wanted}, not a {found}{}", hint(wanted, found))))
        }
        _ => Ok(Some(wanted)),
    }
}

fn unify(left: Inferred, right: Inferred, what: &str) -> Result<Inferred, Problem> {
    match (left, right) {
        (Some(left), Some(right)) if left != right => Err(Problem::Type(format!(
            "{what} needs values of one type, not a {left} and a {right}{}",
            hint(left, right)
        ))),
        _ => Ok(left.or(right)),
    }
}

/// How to bring two types together, where there is a way.
fn hint(one: ValueType, other: ValueType) -> &'static str {
    let either = |kind: ValueType| one == kind || other == kind;
    if either(ValueType::Boolean) && either(ValueType::Number) {
        return "; a boolean is a condition by itself (`flag`, `NOT flag`) and a number by CASE WHEN flag THEN 1 ELSE 0 END";
    }
    if either(ValueType::Date) && either(ValueType::Text) {
        return "; write a date as DATE 'yyyy-mm-dd' or TIMESTAMP 'yyyy-mm-dd hh:mm:ss'";
    }
    if either(ValueType::Date) && either(ValueType::Number) {
        return "; the difference of two dates is a number of days";
    }
    ""
}
