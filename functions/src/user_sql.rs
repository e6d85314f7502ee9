//! SELECTs that users write: rendered, parsed, and made fit to stand inside of another statement.
//!
//! A SELECT is one statement by the parser's word, all of its tokens are ones that Trino reads alike, and comments are blanked out. So what
//! is left in it cannot close the parentheses that it is put into. Every error names the file, the line and the column.

mod dialect;
mod render;

use sqlparser::ast::{SetExpr, Statement};
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer, Whitespace};

use crate::failure::{Failure, Result};
use dialect::Trino;
use render::Rendered;

/// Most bytes of a SELECT: Athena takes 262,144 for the whole statement.
const MOST_BYTES: usize = 200_000;
/// Lines that stand before the SELECT in [`UserSelect::as_table`].
const LINES_BEFORE: u64 = 1;

/// A SELECT that was checked.
#[derive(Debug, Clone)]
pub struct UserSelect {
    file: String,
    rendered: Rendered,
    text: String,
}

/// A value for a placeholder: `{{name}}`.
pub type Value<'value> = (&'static str, &'value str);

impl UserSelect {
    /// Renders and checks the SELECT of `file`. The values were checked before: letters, digits, `.`, `_` and `-`.
    ///
    /// # Errors
    /// `BadSettings` with file, line and column.
    pub fn read(file: &str, template: &str, values: &[Value<'_>]) -> Result<Self> {
        if template.len() > MOST_BYTES {
            let bytes = template.len();
            return Err(Failure::settings(format!("{file} has {bytes} bytes; the most is {MOST_BYTES}")));
        }
        let rendered = Rendered::of(template, values).map_err(|(place, problem)| at(file, place, &problem))?;
        let fail = |location: Location, problem: &str| at(file, rendered.place(location), problem);
        let tokens = Tokenizer::new(&Trino, &rendered.text).with_unescape(false).tokenize_with_location();
        let tokens = tokens.map_err(|error| fail(error.location, &error.message))?;
        let text = blank_comments(&rendered.text, &tokens);
        let meant: Vec<&TokenWithSpan> = tokens.iter().filter(|token| is_meant(&token.token)).collect();
        if let Some(foreign) = meant.iter().find(|token| !is_of_trino(&token.token)) {
            return Err(fail(
                foreign.span.start,
                &format!("Athena does not read {} as it is written here", foreign.token),
            ));
        }
        let Some(first) = meant.first() else {
            return Err(Failure::settings(format!("{file} is empty: write one SELECT")));
        };
        let is_start = |token: &Token| {
            matches!(token, Token::Word(word) if word.quote_style.is_none()
                && ["SELECT", "WITH"].iter().any(|start| word.value.eq_ignore_ascii_case(start)))
        };
        let begins_at = first.span.start;
        if !is_start(&first.token) {
            return Err(fail(begins_at, "the statement must begin with SELECT or WITH"));
        }
        let end = meant.iter().position(|token| token.token == Token::SemiColon);
        if let Some(next) = end.and_then(|end| meant.get(end + 1)) {
            return Err(fail(next.span.start, "a second statement begins here: one SELECT is allowed"));
        }
        let text = match end.map(|end| meant[end].span.start) {
            Some(semicolon) => blank(&text, semicolon, Location::new(semicolon.line, semicolon.column + 1)),
            None => text,
        };
        let parsed = Parser::new(&Trino).with_tokens_with_locations(tokens).parse_statements();
        let statements = parsed.map_err(|error| {
            let (location, problem) = parser_problem(&error, begins_at);
            fail(location, &problem)
        })?;
        match statements.as_slice() {
            [Statement::Query(query)] if is_read_only(&query.body) => {}
            _ => return Err(fail(begins_at, "this is no SELECT that only reads")),
        }
        let text = text.trim_end().to_owned();
        Ok(Self { file: file.to_owned(), rendered, text })
    }

    /// The SELECT as a table that another statement reads from: `(…) AS t`, on lines of its own.
    #[must_use]
    pub fn as_table(&self) -> String {
        format!("(\n{}\n) AS t", self.text)
    }

    /// The rendered text, for a hash over it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Which file it is from.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// What Athena said of a statement `SELECT … FROM` [`UserSelect::as_table`], with the places in the user's file.
    #[must_use]
    pub fn explain(&self, said: &str) -> String {
        let Some((before, line, column, after)) = place_in(said) else { return format!("{}: {said}", self.file) };
        let location = Location::new(line.saturating_sub(LINES_BEFORE).max(1), column);
        let (line, column) = self.rendered.place(location);
        let rest = format!("{before}{}", after.trim_start_matches([':', ' ']));
        format!("{}, line {line}, column {column}: {rest}", self.file)
    }
}

fn at(file: &str, (line, column): (u64, u64), problem: &str) -> Failure {
    Failure::settings(format!("{file}, line {line}, column {column}: {problem}"))
}

/// Whether a token is neither blank nor comment nor the end.
fn is_meant(token: &Token) -> bool {
    !matches!(token, Token::Whitespace(_) | Token::EOF)
}

/// Whether Trino reads the token alike. Other notations of texts are where two readers differ about where one ends.
fn is_of_trino(token: &Token) -> bool {
    match token {
        Token::Word(word) => matches!(word.quote_style, None | Some('"')),
        Token::SingleQuotedString(_) | Token::HexStringLiteral(_) | Token::Number(..) => true,
        Token::DoubleQuotedString(_)
        | Token::TripleSingleQuotedString(_)
        | Token::TripleDoubleQuotedString(_)
        | Token::DollarQuotedString(_)
        | Token::SingleQuotedByteStringLiteral(_)
        | Token::DoubleQuotedByteStringLiteral(_)
        | Token::TripleSingleQuotedByteStringLiteral(_)
        | Token::TripleDoubleQuotedByteStringLiteral(_)
        | Token::SingleQuotedRawStringLiteral(_)
        | Token::DoubleQuotedRawStringLiteral(_)
        | Token::TripleSingleQuotedRawStringLiteral(_)
        | Token::TripleDoubleQuotedRawStringLiteral(_)
        | Token::NationalStringLiteral(_)
        | Token::QuoteDelimitedStringLiteral(_)
        | Token::NationalQuoteDelimitedStringLiteral(_)
        | Token::EscapedStringLiteral(_)
        | Token::UnicodeStringLiteral(_)
        | Token::Backslash
        | Token::Placeholder(_)
        | Token::Char(_) => false,
        _ => true,
    }
}

/// The text with every comment replaced by blanks, line by line, so that places stay what they are.
fn blank_comments(text: &str, tokens: &[TokenWithSpan]) -> String {
    let is_comment = |token: &&TokenWithSpan| {
        matches!(token.token, Token::Whitespace(Whitespace::SingleLineComment { .. } | Whitespace::MultiLineComment(_)))
    };
    tokens
        .iter()
        .filter(is_comment)
        .fold(text.to_owned(), |text, comment| blank(&text, comment.span.start, comment.span.end))
}

/// The text with what lies from `start` up to `end` replaced by blanks; line breaks stay.
fn blank(text: &str, start: Location, end: Location) -> String {
    let (mut line, mut column) = (1, 1);
    let mut blanked = String::with_capacity(text.len());
    for character in text.chars() {
        let here = (line, column);
        let is_inside = here >= (start.line, start.column) && here < (end.line, end.column);
        blanked.push(if is_inside && character != '\n' { ' ' } else { character });
        (line, column) = if character == '\n' { (line + 1, 1) } else { (line, column + 1) };
    }
    blanked
}

fn is_read_only(body: &SetExpr) -> bool {
    match body {
        SetExpr::Select(select) => select.into.is_none(),
        SetExpr::Query(query) => is_read_only(&query.body),
        SetExpr::SetOperation { left, right, .. } => is_read_only(left) && is_read_only(right),
        SetExpr::Values(_) | SetExpr::Table(_) => true,
        _ => false,
    }
}

/// Where and what; the parser tells the place in words at the end of its message.
fn parser_problem(error: &ParserError, first: Location) -> (Location, String) {
    let text = match error {
        ParserError::ParserError(text) | ParserError::TokenizerError(text) => text.clone(),
        ParserError::RecursionLimitExceeded => "it is nested too deeply".to_owned(),
    };
    let found = text.rsplit_once(" at Line: ").and_then(|(problem, place)| {
        let (line, column) = place.split_once(", Column: ")?;
        Some((Location::new(line.trim().parse().ok()?, column.trim().parse().ok()?), problem.to_owned()))
    });
    found.unwrap_or((first, text))
}

/// `line 3:14` in what Athena says: what is before it, the line, the column, and what is after.
fn place_in(said: &str) -> Option<(&str, u64, u64, &str)> {
    let (before, rest) = said.split_once("line ")?;
    let (line, rest) = rest.split_once(':')?;
    let digits = rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len());
    Some((before, line.parse().ok()?, rest[..digits].parse().ok()?, &rest[digits..]))
}

#[cfg(test)]
mod tests;
