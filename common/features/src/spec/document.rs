//! From TOML text to [`Spec`], with errors that name line and key.

use std::ops::Range;

use toml::de::DeTable;

use super::Spec;
use error::Error;

/// The keys of a spec.
const KEYS: &[&str] = &[
    "id",
    "target",
    "exclude",
    "categorical",
    "weight",
    "max_levels",
    "clip",
    "as_of",
    "derived",
    "ranges",
    "validation",
    "monotone",
    "model",
    "encoding",
];

/// What is wrong with a document, and in which line.
pub(super) struct DocumentError {
    line: Option<usize>,
    problem: String,
}

impl DocumentError {
    fn new(text: &str, position: Option<usize>, problem: &str) -> Self {
        let line = position.and_then(|position| text.get(..position)).map(|before| before.matches('\n').count() + 1);
        Self { line, problem: one_line(problem) }
    }

    /// The error of the spec at `location`.
    pub(super) fn at(self, location: &str) -> Error {
        let line = self.line.map_or(String::new(), |line| format!(", line {line}"));
        Error::Setting(format!("{location}{line}: {}", self.problem))
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Reads a spec, one key at a time.
pub(super) fn read(text: &str) -> Result<Spec, DocumentError> {
    let failed = |error: &toml::de::Error| (error.span().map(|span| span.start), error.message().to_owned());
    let document = DeTable::parse(text).map_err(|error| {
        let (position, message) = failed(&error);
        DocumentError::new(text, position, &format!("not valid TOML: {message}"))
    })?;
    let document = document.get_ref();
    forbid_unknown(text, document)?;
    toml::from_str(text).map_err(|error: toml::de::Error| {
        let (position, message) = failed(&error);
        let key = error.span().and_then(|span| key_at(document, &span));
        DocumentError::new(text, position, &describe(key.as_deref(), &message))
    })
}

/// `key: message`, in words for people who know TOML but not Rust. The error of an expression names its feature already.
fn describe(key: Option<&str>, message: &str) -> String {
    let names =
        [("expected i64", "expected an integer"), ("expected f64", "expected a number"), ("a sequence", "a list")];
    let message = names.iter().fold(message.to_owned(), |message, (rust, plain)| message.replace(rust, plain));
    match key {
        Some(key) if !message.starts_with("derived feature") => format!("{key}: {message}"),
        _ => message,
    }
}

fn forbid_unknown(text: &str, document: &DeTable<'_>) -> Result<(), DocumentError> {
    let unknown = document.keys().find(|key| !KEYS.contains(&key.get_ref().as_ref()));
    let Some(key) = unknown else { return Ok(()) };
    let name = key.get_ref();
    let advice = nearest(name)
        .map_or_else(|| format!("the keys are {}", KEYS.join(", ")), |known| format!("did you mean `{known}`?"));
    Err(DocumentError::new(text, Some(key.span().start), &format!("there is no key `{name}`; {advice}")))
}

/// The key that a misspelt one stands for, if any is close.
fn nearest(name: &str) -> Option<&'static str> {
    let distance = |known: &str| strsim::damerau_levenshtein(known, &name.to_lowercase().replace('-', "_"));
    let (known, distance) = KEYS.iter().map(|known| (*known, distance(known))).min_by_key(|(_, distance)| *distance)?;
    (distance <= known.len() / 3 + 1 && distance < known.len()).then_some(known)
}

/// The path of the innermost key that `span` lies in, such as `ranges.age.min`. The span of a table is that of its header
/// alone, so what lies under it is looked at first.
fn key_at(table: &DeTable<'_>, span: &Range<usize>) -> Option<String> {
    table.iter().find_map(|(key, value)| {
        let name = key.get_ref();
        if let Some(rest) = value.get_ref().as_table().and_then(|inner| key_at(inner, span)) {
            return Some(format!("{name}.{rest}"));
        }
        let holds = key.span().start <= span.start && span.end <= value.span().end.max(key.span().end);
        holds.then(|| name.to_string())
    })
}
