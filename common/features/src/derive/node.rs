//! The tree of an expression: small, ours, and independent of the SQL parser's. Whoever says an expression in another language walks it
//! ([`Expression::root`](super::Expression::root)).

use super::calendar::{DatePart, DateUnit};

/// One expression. Nesting is bounded when it is parsed, so walking it recursively is safe.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// A column, by its place in the expression's list of columns.
    Column(usize),
    /// A constant.
    Literal(Literal),
    /// `-operand`.
    Negate(Box<Node>),
    /// `NOT operand`.
    Not(Box<Node>),
    /// `first op a op b …`, applied from left to right. Long sums are one node, not a deep tree.
    Chain {
        /// The leftmost operand.
        first: Box<Node>,
        /// What is applied to it, in this order.
        rest: Vec<(Operator, Node)>,
    },
    /// `operand IS NULL`.
    IsNull {
        /// What may be missing.
        operand: Box<Node>,
        /// `IS NOT NULL` instead.
        negated: bool,
    },
    /// `operand BETWEEN low AND high`.
    Between {
        /// What is compared.
        operand: Box<Node>,
        /// The least value.
        low: Box<Node>,
        /// The greatest value.
        high: Box<Node>,
        /// `NOT BETWEEN` instead.
        negated: bool,
    },
    /// `operand IN (list)`.
    In {
        /// What is compared.
        operand: Box<Node>,
        /// What it may equal.
        list: Vec<Node>,
        /// `NOT IN` instead.
        negated: bool,
    },
    /// `CASE`.
    Case(Case),
    /// A function of values of one type.
    Call(Function, Vec<Node>),
    /// A part of a date.
    Part(DatePart, Box<Node>),
    /// Complete units from the first date to the second.
    DateDifference(DateUnit, Box<Node>, Box<Node>),
}

/// `CASE [operand] WHEN … THEN … ELSE … END`; with an operand, a branch is taken where the operand equals its condition.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// What the conditions are compared with, where they are no conditions themselves.
    pub operand: Option<Box<Node>>,
    /// Conditions and results.
    pub branches: Vec<(Node, Node)>,
    /// The result where no branch is taken; NULL where there is none.
    pub otherwise: Option<Box<Node>>,
}

/// A constant.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// A number.
    Number(f64),
    /// TRUE or FALSE.
    Boolean(bool),
    /// Text.
    Text(String),
    /// Days since 1970-01-01.
    Date(f64),
    /// Missing, of whatever type is wanted.
    Null,
}

/// An operator between two operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `+ - * /`; also the difference of two dates.
    Arithmetic(Arithmetic),
    /// A comparison of two values of one type.
    Compare(Comparison),
    /// SQL's AND.
    And,
    /// SQL's OR.
    Or,
}

/// Arithmetic of two 64-bit floats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arithmetic {
    /// `+`.
    Add,
    /// `-`.
    Subtract,
    /// `*`.
    Multiply,
    /// `/`.
    Divide,
}

impl Arithmetic {
    pub(super) fn sign(self) -> char {
        match self {
            Self::Add => '+',
            Self::Subtract => '-',
            Self::Multiply => '*',
            Self::Divide => '/',
        }
    }
}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `=`.
    Equal,
    /// `<>`.
    NotEqual,
    /// `<`.
    Less,
    /// `<=`.
    LessOrEqual,
    /// `>`.
    Greater,
    /// `>=`.
    GreaterOrEqual,
}

impl Comparison {
    pub(super) fn holds(self, ordering: std::cmp::Ordering) -> bool {
        match self {
            Self::Equal => ordering.is_eq(),
            Self::NotEqual => ordering.is_ne(),
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
        }
    }
}

/// Functions of values that are all of one type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// `COALESCE`.
    Coalesce,
    /// `NULLIF`.
    NullIf,
    /// `LEAST`: missing where any argument is.
    Least,
    /// `GREATEST`: missing where any argument is.
    Greatest,
    /// `POWER`.
    Power,
    /// A function of one number.
    Unary(Unary),
}

/// Functions of one number.
/// A function of one number; a result that is not finite is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unary {
    /// `ABS`.
    Abs,
    /// `LN`.
    Ln,
    /// `EXP`.
    Exp,
    /// `SQRT`.
    Sqrt,
    /// `FLOOR`.
    Floor,
    /// `CEIL`.
    Ceil,
    /// `ROUND`: halves go away from zero.
    Round,
}

impl Unary {
    pub(super) fn apply(self, value: f64) -> f64 {
        match self {
            Self::Abs => value.abs(),
            Self::Ln => value.ln(),
            Self::Exp => value.exp(),
            Self::Sqrt => value.sqrt(),
            Self::Floor => value.floor(),
            Self::Ceil => value.ceil(),
            Self::Round => value.round(),
        }
    }
}
