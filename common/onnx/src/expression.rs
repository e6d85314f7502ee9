//! Derived features: the tree of an expression in ONNX's operators, with SQL's three truths, as `features::derive` evaluates it.

use features::derive::node::{Arithmetic, Case, Comparison, Function, Literal, Node, Operator, Unary};

use super::calendar;
use super::graph::{Graph, Tensor};

/// The values of a node. All tensors are columns, or constants that go with every column.
#[derive(Debug, Clone)]
pub(super) enum Vector {
    /// 64-bit floats, NaN where missing, never infinite.
    Number(Tensor),
    /// Days since 1970-01-01 as 64-bit floats, NaN where missing.
    Date(Tensor),
    /// Truth values.
    Boolean(Truth),
    /// Texts, the empty one where missing.
    Text(Tensor),
    /// Missing in every row, of whatever type is wanted.
    Null,
}

/// Where something is true and where it is false; missing where it is neither.
#[derive(Debug, Clone)]
pub(super) struct Truth {
    yes: Tensor,
    no: Tensor,
}

impl Truth {
    /// 0 is false, every other number is true, NaN is missing.
    pub(super) fn of_numbers(graph: &mut Graph, numbers: &Tensor) -> Self {
        let numbers = finite(graph, numbers);
        let zero = graph.number(0.0);
        let no = graph.op("Equal", &[&numbers, &zero]);
        let missing = graph.op("IsNaN", &[&numbers]);
        let either = graph.op("Or", &[&no, &missing]);
        Self { yes: graph.op("Not", &[&either]), no }
    }

    fn into_numbers(self, graph: &mut Graph) -> Tensor {
        let (one, zero, nothing) = (graph.number(1.0), graph.number(0.0), graph.number(f64::NAN));
        let otherwise = graph.choose(&self.no, &zero, &nothing);
        graph.choose(&self.yes, &one, &otherwise)
    }

    fn negated(self) -> Self {
        Self { yes: self.no, no: self.yes }
    }

    /// False wins over missing.
    fn and(self, graph: &mut Graph, other: &Self) -> Self {
        Self { yes: graph.op("And", &[&self.yes, &other.yes]), no: graph.op("Or", &[&self.no, &other.no]) }
    }

    /// True wins over missing.
    fn or(self, graph: &mut Graph, other: &Self) -> Self {
        Self { yes: graph.op("Or", &[&self.yes, &other.yes]), no: graph.op("And", &[&self.no, &other.no]) }
    }
}

/// What types were checked for when the model was trained, so this says that the model and this program disagree.
fn unchecked() -> String {
    "combines types that do not go together".to_owned()
}

impl Vector {
    pub(super) fn into_numbers(self, graph: &mut Graph) -> Result<Tensor, String> {
        match self {
            Self::Number(numbers) | Self::Date(numbers) => Ok(numbers),
            Self::Boolean(truth) => Ok(truth.into_numbers(graph)),
            Self::Null => Ok(graph.number(f64::NAN)),
            Self::Text(_) => Err(unchecked()),
        }
    }

    pub(super) fn into_texts(self, graph: &mut Graph) -> Result<Tensor, String> {
        match self {
            Self::Text(texts) => Ok(texts),
            Self::Null => Ok(graph.text("")),
            _ => Err(unchecked()),
        }
    }

    fn into_truth(self, graph: &mut Graph) -> Result<Truth, String> {
        match self {
            Self::Boolean(truth) => Ok(truth),
            Self::Null => {
                let nothing = graph.number(f64::NAN);
                Ok(Truth::of_numbers(graph, &nothing))
            }
            _ => Err(unchecked()),
        }
    }

    fn present(&self, graph: &mut Graph) -> Tensor {
        let missing = match self {
            Self::Number(numbers) | Self::Date(numbers) => graph.op("IsNaN", &[numbers]),
            Self::Boolean(truth) => return graph.op("Or", &[&truth.yes, &truth.no]),
            Self::Text(texts) => {
                let empty = graph.text("");
                graph.op("Equal", &[texts, &empty])
            }
            Self::Null => {
                let nothing = graph.number(f64::NAN);
                graph.op("IsNaN", &[&nothing])
            }
        };
        graph.op("Not", &[&missing])
    }
}

/// What is not finite is missing.
pub(super) fn finite(graph: &mut Graph, numbers: &Tensor) -> Tensor {
    let infinite = graph.op("IsInf", &[numbers]);
    let nothing = graph.number(f64::NAN);
    graph.choose(&infinite, &nothing, numbers)
}

/// Translates nodes over the columns of one expression.
pub(super) struct Translator<'g, 'c> {
    /// Where the operators go.
    pub(super) graph: &'g mut Graph,
    /// The columns, by the places of [`Node::Column`].
    pub(super) columns: &'c [Vector],
}

impl Translator<'_, '_> {
    /// Adds what computes `node`.
    ///
    /// # Errors
    /// What ONNX cannot say, as the rest of a sentence about the feature.
    pub(super) fn translate(&mut self, node: &Node) -> Result<Vector, String> {
        match node {
            Node::Column(place) => Ok(self.columns.get(*place).cloned().unwrap_or(Vector::Null)),
            Node::Literal(literal) => Ok(self.literal(literal)),
            Node::Negate(operand) => {
                let operand = self.numbers(operand)?;
                let negated = self.graph.op("Neg", &[&operand]);
                Ok(Vector::Number(negated))
            }
            Node::Not(operand) => Ok(Vector::Boolean(self.truth(operand)?.negated())),
            Node::Chain { first, rest } => {
                let first = self.translate(first)?;
                rest.iter().try_fold(first, |left, (operator, right)| {
                    let right = self.translate(right)?;
                    self.binary(*operator, left, right)
                })
            }
            Node::IsNull { operand, negated } => {
                let yes = self.translate(operand)?.present(self.graph);
                let no = self.graph.op("Not", &[&yes]);
                let is_present = Truth { yes, no };
                Ok(Vector::Boolean(if *negated { is_present } else { is_present.negated() }))
            }
            Node::Between { operand, low, high, negated } => {
                let (operand, low, high) = (self.translate(operand)?, self.translate(low)?, self.translate(high)?);
                let above = self.compare(Comparison::GreaterOrEqual, operand.clone(), low)?;
                let below = self.compare(Comparison::LessOrEqual, operand, high)?;
                let holds = above.and(self.graph, &below);
                Ok(Vector::Boolean(if *negated { holds.negated() } else { holds }))
            }
            Node::In { operand, list, negated } => self.is_in(operand, list, *negated),
            Node::Case(case) => self.case(case),
            Node::Call(function, arguments) => self.call(*function, arguments),
            Node::Part(part, date) => {
                let days = self.numbers(date)?;
                Ok(Vector::Number(calendar::part(self.graph, *part, &days)))
            }
            Node::DateDifference(unit, earlier, later) => {
                let (earlier, later) = (self.numbers(earlier)?, self.numbers(later)?);
                Ok(Vector::Number(calendar::difference(self.graph, *unit, &earlier, &later)))
            }
        }
    }

    fn numbers(&mut self, node: &Node) -> Result<Tensor, String> {
        self.translate(node)?.into_numbers(self.graph)
    }

    fn truth(&mut self, node: &Node) -> Result<Truth, String> {
        self.translate(node)?.into_truth(self.graph)
    }

    fn literal(&mut self, literal: &Literal) -> Vector {
        match literal {
            Literal::Number(value) => Vector::Number(self.graph.number(*value)),
            Literal::Date(days) => Vector::Date(self.graph.number(*days)),
            Literal::Boolean(value) => {
                let number = self.graph.number(f64::from(*value));
                Vector::Boolean(Truth::of_numbers(self.graph, &number))
            }
            Literal::Text(text) => Vector::Text(self.graph.text(text)),
            Literal::Null => Vector::Null,
        }
    }

    fn binary(&mut self, operator: Operator, left: Vector, right: Vector) -> Result<Vector, String> {
        match operator {
            Operator::Arithmetic(Arithmetic::Subtract) if matches!(left, Vector::Date(_)) => {
                let (later, earlier) = (left.into_numbers(self.graph)?, right.into_numbers(self.graph)?);
                Ok(Vector::Number(calendar::days_between(self.graph, &later, &earlier)))
            }
            Operator::Arithmetic(arithmetic) => {
                let (left, right) = (left.into_numbers(self.graph)?, right.into_numbers(self.graph)?);
                let name = match arithmetic {
                    Arithmetic::Add => "Add",
                    Arithmetic::Subtract => "Sub",
                    Arithmetic::Multiply => "Mul",
                    Arithmetic::Divide => "Div",
                };
                let result = self.graph.op(name, &[&left, &right]);
                Ok(Vector::Number(finite(self.graph, &result)))
            }
            Operator::Compare(comparison) => Ok(Vector::Boolean(self.compare(comparison, left, right)?)),
            Operator::And => {
                let (left, right) = (left.into_truth(self.graph)?, right.into_truth(self.graph)?);
                Ok(Vector::Boolean(left.and(self.graph, &right)))
            }
            Operator::Or => {
                let (left, right) = (left.into_truth(self.graph)?, right.into_truth(self.graph)?);
                Ok(Vector::Boolean(left.or(self.graph, &right)))
            }
        }
    }

    /// `left comparison right`; missing where either is.
    fn compare(&mut self, comparison: Comparison, left: Vector, right: Vector) -> Result<Truth, String> {
        let (is_text, graph) =
            (matches!((&left, &right), (Vector::Text(_), _) | (_, Vector::Text(_))), &mut *self.graph);
        let (left_present, right_present) = (left.present(graph), right.present(graph));
        let present = graph.op("And", &[&left_present, &right_present]);
        let (left, right) = match is_text {
            true => (left.into_texts(graph)?, right.into_texts(graph)?),
            false => (left.into_numbers(graph)?, right.into_numbers(graph)?),
        };
        let (name, negated) = match comparison {
            Comparison::Equal => ("Equal", false),
            Comparison::NotEqual => ("Equal", true),
            _ if is_text => return Err("compares texts by their order, which ONNX cannot".to_owned()),
            Comparison::Less => ("Less", false),
            Comparison::LessOrEqual => ("LessOrEqual", false),
            Comparison::Greater => ("Greater", false),
            Comparison::GreaterOrEqual => ("GreaterOrEqual", false),
        };
        let holds = graph.op(name, &[&left, &right]);
        let yes = graph.op("And", &[&holds, &present]);
        let fails = graph.op("Not", &[&holds]);
        let no = graph.op("And", &[&fails, &present]);
        let truth = Truth { yes, no };
        Ok(if negated { truth.negated() } else { truth })
    }

    /// `operand = a OR operand = b OR …`.
    fn is_in(&mut self, operand: &Node, list: &[Node], negated: bool) -> Result<Vector, String> {
        let operand = self.translate(operand)?;
        let never = self.graph.number(0.0);
        let mut found = Truth::of_numbers(self.graph, &never);
        for item in list {
            let item = self.translate(item)?;
            let equal = self.compare(Comparison::Equal, operand.clone(), item)?;
            found = found.or(self.graph, &equal);
        }
        Ok(Vector::Boolean(if negated { found.negated() } else { found }))
    }

    fn case(&mut self, case: &Case) -> Result<Vector, String> {
        let operand = case.operand.as_deref().map(|operand| self.translate(operand)).transpose()?;
        let mut result = case.otherwise.as_deref().map_or(Ok(Vector::Null), |otherwise| self.translate(otherwise))?;
        for (condition, value) in case.branches.iter().rev() {
            let condition = self.translate(condition)?;
            let holds = match &operand {
                Some(operand) => self.compare(Comparison::Equal, operand.clone(), condition)?,
                None => condition.into_truth(self.graph)?,
            };
            let value = self.translate(value)?;
            result = self.choose(&holds.yes, value, result)?;
        }
        Ok(result)
    }

    /// Row by row `yes` where the mask holds, else `no`.
    fn choose(&mut self, mask: &Tensor, yes: Vector, no: Vector) -> Result<Vector, String> {
        let graph = &mut *self.graph;
        Ok(match (yes, no) {
            (Vector::Null, Vector::Null) => Vector::Null,
            (yes @ Vector::Text(_), no) | (yes, no @ Vector::Text(_)) => {
                let (yes, no) = (yes.into_texts(graph)?, no.into_texts(graph)?);
                Vector::Text(graph.choose(mask, &yes, &no))
            }
            (yes @ Vector::Boolean(_), no) | (yes, no @ Vector::Boolean(_)) => {
                let (yes, no) = (yes.into_truth(graph)?, no.into_truth(graph)?);
                Vector::Boolean(Truth {
                    yes: choose_truth(graph, mask, &yes.yes, &no.yes),
                    no: choose_truth(graph, mask, &yes.no, &no.no),
                })
            }
            (yes, no) => {
                let is_date = matches!((&yes, &no), (Vector::Date(_), _) | (_, Vector::Date(_)));
                let (yes, no) = (yes.into_numbers(graph)?, no.into_numbers(graph)?);
                let chosen = graph.choose(mask, &yes, &no);
                if is_date { Vector::Date(chosen) } else { Vector::Number(chosen) }
            }
        })
    }

    fn call(&mut self, function: Function, arguments: &[Node]) -> Result<Vector, String> {
        let mut values = Vec::new();
        for argument in arguments {
            values.push(self.translate(argument)?);
        }
        let mut values = values.into_iter();
        let first = values.next().ok_or_else(unchecked)?;
        match function {
            Function::Unary(unary) => {
                let operand = first.into_numbers(self.graph)?;
                Ok(Vector::Number(self.unary(unary, &operand)))
            }
            Function::Power => {
                let exponent = values.next().ok_or_else(unchecked)?;
                self.power(first, exponent)
            }
            Function::NullIf => {
                let unwanted = values.next().ok_or_else(unchecked)?;
                let equal = self.compare(Comparison::Equal, first.clone(), unwanted)?;
                self.choose(&equal.yes, Vector::Null, first)
            }
            Function::Coalesce => values.try_fold(first, |left, right| {
                let present = left.present(self.graph);
                self.choose(&present, left, right)
            }),
            Function::Least => values.try_fold(first, |left, right| self.extreme(Comparison::LessOrEqual, left, right)),
            Function::Greatest => {
                values.try_fold(first, |left, right| self.extreme(Comparison::GreaterOrEqual, left, right))
            }
        }
    }

    /// The lesser or the greater of two; missing where either is.
    fn extreme(&mut self, wanted: Comparison, left: Vector, right: Vector) -> Result<Vector, String> {
        let takes_left = self.compare(wanted, left.clone(), right.clone())?;
        let otherwise = self.choose(&takes_left.no, right, Vector::Null)?;
        self.choose(&takes_left.yes, left, otherwise)
    }

    fn unary(&mut self, unary: Unary, operand: &Tensor) -> Tensor {
        let name = match unary {
            Unary::Abs => "Abs",
            Unary::Ln => "Log",
            Unary::Exp => "Exp",
            Unary::Sqrt => "Sqrt",
            Unary::Floor => "Floor",
            Unary::Ceil => "Ceil",
            Unary::Round => return self.graph.round(operand),
        };
        let result = self.graph.op(name, &[operand]);
        finite(self.graph, &result)
    }

    /// Missing where either is missing, also in `POWER(NULL, 0)` and `POWER(1, NULL)`, which IEEE 754 calls 1.
    fn power(&mut self, base: Vector, exponent: Vector) -> Result<Vector, String> {
        let (base_present, exponent_present) = (base.present(self.graph), exponent.present(self.graph));
        let (base, exponent) = (base.into_numbers(self.graph)?, exponent.into_numbers(self.graph)?);
        let present = self.graph.op("And", &[&base_present, &exponent_present]);
        let power = self.graph.op("Pow", &[&base, &exponent]);
        let nothing = self.graph.number(f64::NAN);
        let known = self.graph.choose(&present, &power, &nothing);
        Ok(Vector::Number(finite(self.graph, &known)))
    }
}

fn choose_truth(graph: &mut Graph, mask: &Tensor, yes: &Tensor, no: &Tensor) -> Tensor {
    let (taken, unmasked) = (graph.op("And", &[mask, yes]), graph.op("Not", &[mask]));
    let other = graph.op("And", &[&unmasked, no]);
    graph.op("Or", &[&taken, &other])
}
