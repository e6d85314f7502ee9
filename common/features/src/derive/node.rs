//! The tree of an expression: small, ours, and independent of the SQL parser's.

use super::calendar::{DatePart, DateUnit};

/// One expression. Nesting is bounded when it is parsed, so walking it recursively is safe.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    /// A column, by its place in the expression's list of columns.
    Column(usize),
    Literal(Literal),
    Negate(Box<Node>),
    Not(Box<Node>),
    /// `first op a op b …`, applied from left to right. Long sums are one node, not a deep tree.
    Chain {
        first: Box<Node>,
        rest: Vec<(Operator, Node)>,
    },
    IsNull {
        operand: Box<Node>,
        negated: bool,
    },
    Between {
        operand: Box<Node>,
        low: Box<Node>,
        high: Box<Node>,
        negated: bool,
    },
    In {
        operand: Box<Node>,
        list: Vec<Node>,
        negated: bool,
    },
    Case(Case),
    Call(Function, Vec<Node>),
    Part(DatePart, Box<Node>),
    /// Complete units from the first date to the second.
    DateDifference(DateUnit, Box<Node>, Box<Node>),
}

/// `CASE [operand] WHEN … THEN … ELSE … END`; with an operand, a branch is taken where the operand equals its condition.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Case {
    pub(super) operand: Option<Box<Node>>,
    pub(super) branches: Vec<(Node, Node)>,
    pub(super) otherwise: Option<Box<Node>>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Literal {
    Number(f64),
    Boolean(bool),
    Text(String),
    /// Days since 1970-01-01.
    Date(f64),
    Null,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Arithmetic(Arithmetic),
    Compare(Comparison),
    And,
    Or,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
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
pub(super) enum Function {
    Coalesce,
    NullIf,
    Least,
    Greatest,
    Power,
    Unary(Unary),
}

/// Functions of one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unary {
    Abs,
    Ln,
    Exp,
    Sqrt,
    Floor,
    Ceil,
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
