//! From SQL text to [`Node`]: the documented subset, and an error that says what to do for everything else.

mod functions;

use sqlparser::ast::{
    BinaryOperator, CaseWhen, CeilFloorKind, DataType, Expr, InTarget, TimezoneInfo, TypedString, UnaryOperator, Value,
};
use sqlparser::dialect::Dialect;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, Tokenizer, Whitespace};

use super::calendar::{DatePart, parse_date, parse_timestamp};
use super::error::Problem;
use super::node::{Arithmetic, Case, Comparison, Function, Literal, Node, Operator, Unary};

/// An expression's text may have so many bytes. Together with [`MAX_TOKENS`] and [`MAX_DEPTH`] this bounds the stack that
/// parsing, checking, evaluating and dropping an expression need.
const MAX_BYTES: usize = 64 * 1024;
const MAX_TOKENS: usize = 4096;
const MAX_DEPTH: usize = 64;

/// What the subset has, for the errors that name what it lacks.
const SUBSET: &str = "supported are columns, literals, + - * /, comparisons, AND OR NOT, IS NULL, BETWEEN, IN, CASE, COALESCE, \
NULLIF, LEAST, GREATEST, ABS, LN, EXP, SQRT, POWER, FLOOR, CEIL, ROUND, date differences and date parts";

/// SQL as ANSI has it, with names of letters of any script. Only what all engines agree on.
#[derive(Debug)]
struct SubsetDialect;

impl Dialect for SubsetDialect {
    fn is_delimited_identifier_start(&self, character: char) -> bool {
        character == '"'
    }

    fn is_identifier_start(&self, character: char) -> bool {
        character.is_alphabetic() || character == '_'
    }

    fn is_identifier_part(&self, character: char) -> bool {
        character.is_alphanumeric() || character == '_'
    }

    fn allow_extract_custom(&self) -> bool {
        true
    }
}

/// A parsed expression and the columns that it names, each once, in the order of their first use.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Parsed {
    pub(super) root: Node,
    pub(super) columns: Vec<String>,
}

/// Parses one expression of the subset.
pub(super) fn parse(sql: &str) -> Result<Parsed, Problem> {
    let expression = parse_sql(sql)?;
    let mut converter = Converter { columns: Vec::new(), depth: 0 };
    let root = converter.convert(expression)?;
    Ok(Parsed { root, columns: converter.columns })
}

fn parse_sql(sql: &str) -> Result<Expr, Problem> {
    if sql.len() > MAX_BYTES {
        return Err(Problem::TooLarge(format!("has {} bytes; the most is {MAX_BYTES}", sql.len())));
    }
    let tokens = Tokenizer::new(&SubsetDialect, sql).tokenize().map_err(|error| syntax(error.to_string()))?;
    let meaningful = tokens.iter().filter(|token| !matches!(token, Token::Whitespace(_))).count();
    if meaningful > MAX_TOKENS {
        return Err(Problem::TooLarge(format!("has {meaningful} words and signs; the most is {MAX_TOKENS}")));
    }
    if tokens.iter().any(is_comment) {
        return Err(Problem::unsupported("comments are not supported"));
    }
    let mut parser = Parser::new(&SubsetDialect).with_tokens(tokens);
    let expression = parser.parse_expr().map_err(parser_problem)?;
    match parser.next_token().token {
        Token::EOF => Ok(expression),
        rest => Err(syntax(format!("`{rest}` does not belong after a complete expression"))),
    }
}

fn is_comment(token: &Token) -> bool {
    let Token::Whitespace(space) = token else {
        return false;
    };
    matches!(space, Whitespace::SingleLineComment { .. } | Whitespace::MultiLineComment(_))
}

fn syntax(detail: String) -> Problem {
    Problem::Syntax(detail)
}

fn parser_problem(error: ParserError) -> Problem {
    match error {
        ParserError::RecursionLimitExceeded => too_deep(),
        ParserError::ParserError(detail) | ParserError::TokenizerError(detail) => {
            let detail = detail.split_whitespace().collect::<Vec<_>>().join(" ");
            syntax(detail.replace("found: EOF", "found the end"))
        }
    }
}

fn too_deep() -> Problem {
    Problem::TooLarge("is nested too deeply; the most is about 40 levels of parentheses".to_owned())
}

pub(super) struct Converter {
    columns: Vec<String>,
    depth: usize,
}

impl Converter {
    pub(super) fn convert(&mut self, expression: Expr) -> Result<Node, Problem> {
        if self.depth >= MAX_DEPTH {
            return Err(too_deep());
        }
        self.depth += 1;
        let node = self.convert_here(expression);
        self.depth -= 1;
        node
    }

    fn convert_here(&mut self, expression: Expr) -> Result<Node, Problem> {
        match expression {
            Expr::Identifier(name) => Ok(self.column(name.value)),
            Expr::Value(value) => literal(value.value).map(Node::Literal),
            Expr::TypedString(typed) => date_literal(typed).map(Node::Literal),
            Expr::Nested(inner) => self.convert(*inner),
            Expr::UnaryOp { op, expr } => self.unary(op, *expr),
            binary @ Expr::BinaryOp { .. } => self.chain(binary),
            Expr::IsNull(operand) => self.is_null(*operand, false),
            Expr::IsNotNull(operand) => self.is_null(*operand, true),
            Expr::Between { expr, negated, low, high } => {
                let [operand, low, high] = [self.boxed(*expr)?, self.boxed(*low)?, self.boxed(*high)?];
                Ok(Node::Between { operand, low, high, negated })
            }
            Expr::In { expr, target, negated, .. } => self.in_list(*expr, target, negated),
            Expr::Case { operand, conditions, else_result, .. } => {
                self.case(operand.map(|boxed| *boxed), conditions, else_result.map(|boxed| *boxed))
            }
            Expr::Floor { expr, field } => self.rounding(Unary::Floor, *expr, &field),
            Expr::Ceil { expr, field } => self.rounding(Unary::Ceil, *expr, &field),
            Expr::Extract { field, expr, .. } => {
                let name = field.to_string();
                let part = DatePart::named(&name.to_uppercase()).ok_or_else(|| functions::unknown_part(&name))?;
                Ok(Node::Part(part, self.boxed(*expr)?))
            }
            Expr::Function(function) => functions::convert(self, function),
            other => Err(Problem::Unsupported(unsupported(&other))),
        }
    }

    pub(super) fn boxed(&mut self, expression: Expr) -> Result<Box<Node>, Problem> {
        self.convert(expression).map(Box::new)
    }

    fn column(&mut self, name: String) -> Node {
        let known = self.columns.iter().position(|column| *column == name);
        Node::Column(known.unwrap_or_else(|| {
            self.columns.push(name);
            self.columns.len() - 1
        }))
    }

    fn unary(&mut self, operator: UnaryOperator, operand: Expr) -> Result<Node, Problem> {
        match operator {
            UnaryOperator::Plus => Err(Problem::unsupported("a leading `+` is not supported: leave it out")),
            UnaryOperator::Minus => Ok(Node::Negate(self.boxed(operand)?)),
            UnaryOperator::Not => Ok(Node::Not(self.boxed(operand)?)),
            other => Err(unsupported_operator(&other.to_string())),
        }
    }

    /// Walks down the left spine in a loop: `a + b + c + …` nests to the left as deep as it is long.
    fn chain(&mut self, expression: Expr) -> Result<Node, Problem> {
        let mut links = Vec::new();
        let mut leftmost = expression;
        while let Expr::BinaryOp { left, op, right } = leftmost {
            links.push((operator(&op)?, *right));
            leftmost = *left;
        }
        let first = self.boxed(leftmost)?;
        let rest = links.into_iter().rev().map(|(operator, right)| Ok((operator, self.convert(right)?)));
        Ok(Node::Chain { first, rest: rest.collect::<Result<_, Problem>>()? })
    }

    fn is_null(&mut self, operand: Expr, negated: bool) -> Result<Node, Problem> {
        Ok(Node::IsNull { operand: self.boxed(operand)?, negated })
    }

    fn in_list(&mut self, operand: Expr, target: InTarget, negated: bool) -> Result<Node, Problem> {
        let InTarget::List(list) = target else {
            return Err(Problem::unsupported("IN takes a list of values, not a subquery or a table"));
        };
        if list.is_empty() {
            return Err(syntax("IN needs at least one value".to_owned()));
        }
        let operand = self.boxed(operand)?;
        let list = list.into_iter().map(|item| self.convert(item)).collect::<Result<_, _>>()?;
        Ok(Node::In { operand, list, negated })
    }

    fn case(
        &mut self,
        operand: Option<Expr>,
        conditions: Vec<CaseWhen>,
        otherwise: Option<Expr>,
    ) -> Result<Node, Problem> {
        let operand = operand.map(|operand| self.boxed(operand)).transpose()?;
        let branches =
            conditions.into_iter().map(|when| Ok((self.convert(when.condition)?, self.convert(when.result)?)));
        let branches = branches.collect::<Result<_, Problem>>()?;
        let otherwise = otherwise.map(|otherwise| self.boxed(otherwise)).transpose()?;
        Ok(Node::Case(Case { operand, branches, otherwise }))
    }

    fn rounding(&mut self, function: Unary, operand: Expr, field: &CeilFloorKind) -> Result<Node, Problem> {
        if !matches!(field, CeilFloorKind::DateTimeField(sqlparser::ast::DateTimeField::NoDateTime)) {
            return Err(Problem::unsupported("FLOOR and CEIL take one number and nothing else"));
        }
        Ok(Node::Call(Function::Unary(function), vec![self.convert(operand)?]))
    }
}

fn operator(operator: &BinaryOperator) -> Result<Operator, Problem> {
    Ok(match operator {
        BinaryOperator::Plus => Operator::Arithmetic(Arithmetic::Add),
        BinaryOperator::Minus => Operator::Arithmetic(Arithmetic::Subtract),
        BinaryOperator::Multiply => Operator::Arithmetic(Arithmetic::Multiply),
        BinaryOperator::Divide => Operator::Arithmetic(Arithmetic::Divide),
        BinaryOperator::Eq => Operator::Compare(Comparison::Equal),
        BinaryOperator::NotEq => Operator::Compare(Comparison::NotEqual),
        BinaryOperator::Lt => Operator::Compare(Comparison::Less),
        BinaryOperator::LtEq => Operator::Compare(Comparison::LessOrEqual),
        BinaryOperator::Gt => Operator::Compare(Comparison::Greater),
        BinaryOperator::GtEq => Operator::Compare(Comparison::GreaterOrEqual),
        BinaryOperator::And => Operator::And,
        BinaryOperator::Or => Operator::Or,
        other => return Err(unsupported_operator(&other.to_string())),
    })
}

fn unsupported_operator(operator: &str) -> Problem {
    Problem::Unsupported(format!("the operator `{operator}` is not supported; {SUBSET}"))
}

fn literal(value: Value) -> Result<Literal, Problem> {
    match value {
        Value::Number(digits, false) => number(&digits),
        Value::SingleQuotedString(text) => Ok(Literal::Text(text)),
        Value::Boolean(boolean) => Ok(Literal::Boolean(boolean)),
        Value::Null => Ok(Literal::Null),
        other => Err(Problem::Unsupported(format!(
            "the literal {other} is not supported: literals are numbers, 'text', TRUE, FALSE, NULL, DATE '…' and TIMESTAMP '…'"
        ))),
    }
}

fn number(digits: &str) -> Result<Literal, Problem> {
    let value = digits.parse::<f64>().ok().filter(|value| value.is_finite());
    value.map(Literal::Number).ok_or_else(|| syntax(format!("`{digits}` is not a 64-bit float")))
}

fn date_literal(typed: TypedString) -> Result<Literal, Problem> {
    let text = typed.value.into_string().unwrap_or_default();
    let (days, form) = match typed.data_type {
        DataType::Date => (parse_date(&text), "DATE 'yyyy-mm-dd'"),
        DataType::Timestamp(None, TimezoneInfo::None) => (parse_timestamp(&text), "TIMESTAMP 'yyyy-mm-dd hh:mm:ss'"),
        other => {
            return Err(Problem::Unsupported(format!("a literal of type {other} is not supported; {SUBSET}")));
        }
    };
    days.map(Literal::Date).ok_or_else(|| syntax(format!("'{text}' is not a date: write {form}")))
}

/// What an expression outside the subset is called, and what to use instead.
fn unsupported(expression: &Expr) -> String {
    let what = match expression {
        Expr::Subquery(_) | Expr::Exists { .. } => {
            return "subqueries are not supported: a derived feature is computed row by row".to_owned();
        }
        Expr::Cast { .. } | Expr::Convert { .. } => {
            return "CAST is not supported: numbers are 64-bit floats as they are, and a boolean becomes one by CASE WHEN".to_owned();
        }
        Expr::CompoundIdentifier(_) | Expr::CompoundFieldAccess { .. } => {
            return "names with a dot are not supported: write a column by its plain name, in double quotes if it has a dot".to_owned();
        }
        Expr::Interval(_) => {
            return "INTERVAL is not supported: the difference of two dates is a number of days".to_owned();
        }
        Expr::Like { .. } | Expr::ILike { .. } | Expr::SimilarTo { .. } | Expr::RLike { .. } => "LIKE",
        Expr::IsTrue(_) | Expr::IsFalse(_) | Expr::IsNotTrue(_) | Expr::IsNotFalse(_) => "IS TRUE or IS FALSE",
        Expr::IsDistinctFrom(..) | Expr::IsNotDistinctFrom(..) => "IS DISTINCT FROM",
        Expr::Substring { .. } | Expr::Trim { .. } | Expr::Position { .. } | Expr::Overlay { .. } => {
            "a function of text"
        }
        Expr::AtTimeZone { .. } => "AT TIME ZONE",
        Expr::Tuple(_) => "a list of values outside IN",
        _ => "this form of expression",
    };
    format!("{what} is not supported; {SUBSET}")
}
