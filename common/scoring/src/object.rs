//! Objects of a `model.ubj`, read member by member: what is missing or of another kind is named by its path.

use super::ensemble::EnsembleError;
use super::ubj::Value;

pub(super) type Loaded<T> = Result<T, EnsembleError>;

pub(super) fn damaged<T>(what: impl Into<String>) -> Loaded<T> {
    Err(EnsembleError::Damaged(what.into()))
}

pub(super) fn foreign<T>(what: impl Into<String>) -> Loaded<T> {
    Err(EnsembleError::Foreign(what.into()))
}

/// The members of one object, and its path for messages.
pub(super) struct Object<'v, 'a> {
    path: String,
    members: &'v [(&'a str, Value<'a>)],
}

impl<'v, 'a> Object<'v, 'a> {
    pub(super) fn new(path: String, value: &'v Value<'a>) -> Loaded<Self> {
        let Value::Object(members) = value else {
            return damaged(format!("{path} is not an object"));
        };
        let mut names: Vec<_> = members.iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => damaged(format!("{path} has two members {:?}", pair[0])),
            None => Ok(Self { path, members }),
        }
    }

    pub(super) fn members(&self) -> &'v [(&'a str, Value<'a>)] {
        self.members
    }

    pub(super) fn wrong<T>(&self, name: &str, what: &str) -> Loaded<T> {
        damaged(format!("{}.{name} {what}", self.path))
    }

    pub(super) fn find(&self, name: &str) -> Option<&'v Value<'a>> {
        self.members.iter().find_map(|(member, value)| (*member == name).then_some(value))
    }

    pub(super) fn get(&self, name: &str) -> Loaded<&'v Value<'a>> {
        match self.find(name) {
            Some(value) => Ok(value),
            None => self.wrong(name, "is missing"),
        }
    }

    pub(super) fn object(&self, name: &str) -> Loaded<Self> {
        Self::new(format!("{}.{name}", self.path), self.get(name)?)
    }

    pub(super) fn array(&self, name: &str) -> Loaded<&'v [Value<'a>]> {
        match self.get(name)? {
            Value::Array(values) => Ok(values),
            _ => self.wrong(name, "is not an array"),
        }
    }

    pub(super) fn text(&self, name: &str) -> Loaded<&'a str> {
        match self.get(name)? {
            Value::Text(text) => Ok(text),
            _ => self.wrong(name, "is not a string"),
        }
    }

    /// A number that XGBoost writes as a string of digits.
    pub(super) fn count(&self, name: &str) -> Loaded<usize> {
        let text = self.text(name)?;
        let digits = (1..=9).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(count) if digits => Ok(count),
            _ => self.wrong(name, "is not a number"),
        }
    }

    /// A number that XGBoost writes as a string of digits, and left out in earlier versions.
    pub(super) fn count_or(&self, name: &str, default: usize) -> Loaded<usize> {
        match self.find(name) {
            Some(_) => self.count(name),
            None => Ok(default),
        }
    }

    /// A list of integers of a model's size, such as `tree_info`.
    pub(super) fn integers(&self, name: &str) -> Loaded<Vec<i64>> {
        let integer = |value: &Value<'_>| match value {
            Value::Integer(integer) => Ok(*integer),
            _ => self.wrong(name, "holds something else than integers"),
        };
        self.array(name)?.iter().map(integer).collect()
    }

    pub(super) fn texts(&self, name: &str) -> Loaded<Vec<&'a str>> {
        let text = |value: &Value<'a>| match value {
            Value::Text(text) => Ok(*text),
            _ => self.wrong(name, "holds something else than strings"),
        };
        match self.find(name) {
            Some(_) => self.array(name)?.iter().map(text).collect(),
            None => Ok(Vec::new()),
        }
    }
}
