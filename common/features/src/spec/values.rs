//! The values that a spec's keys take, in TOML and in JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::derive::{Expression, parse_timestamp};

/// What a valid value of a column is, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize)]
pub struct Range {
    /// Least valid value; `None`: no bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Greatest valid value; `None`: no bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
}

impl Range {
    /// Whether a value is valid. NaN, which is missing, is not.
    #[must_use]
    pub fn contains(&self, value: f64) -> bool {
        !value.is_nan() && self.min.is_none_or(|min| value >= min) && self.max.is_none_or(|max| value <= max)
    }
}

impl<'de> Deserialize<'de> for Range {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Bounds {
            min: Option<f64>,
            max: Option<f64>,
        }
        let Bounds { min, max } = Bounds::deserialize(deserializer)?;
        if [min, max].into_iter().flatten().any(|bound| !bound.is_finite()) {
            return Err(de::Error::custom("min and max must be finite: leave out the one that has no bound"));
        }
        match (min, max) {
            (None, None) => Err(de::Error::custom("a range needs min, max or both")),
            (Some(min), Some(max)) if min > max => Err(de::Error::custom(format!("min = {min} is above max = {max}"))),
            _ => Ok(Self { min, max }),
        }
    }
}

/// The direction in which the prediction may move when a feature grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Monotone {
    /// Never up: -1.
    Decreasing,
    /// Any way: 0.
    Free,
    /// Never down: 1.
    Increasing,
}

impl Monotone {
    /// The number that XGBoost's `monotone_constraints` takes.
    #[must_use]
    pub fn sign(self) -> i8 {
        match self {
            Self::Decreasing => -1,
            Self::Free => 0,
            Self::Increasing => 1,
        }
    }
}

impl Serialize for Monotone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i8(self.sign())
    }
}

impl<'de> Deserialize<'de> for Monotone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match i64::deserialize(deserializer)? {
            -1 => Ok(Self::Decreasing),
            0 => Ok(Self::Free),
            1 => Ok(Self::Increasing),
            other => Err(de::Error::custom(format!("{other} is no direction: it must be -1, 0 or 1"))),
        }
    }
}

/// How a category column becomes a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnEncoding {
    /// Whatever inner validation shows to be better.
    #[default]
    Auto,
    /// XGBoost's own splits on categories.
    Native,
    /// The mean of the target, learnt across folds.
    Target,
}

/// A day or an instant that dates are counted relative to.
#[derive(Debug, Clone, PartialEq)]
pub struct AsOf {
    text: String,
    days: f64,
}

impl AsOf {
    /// Reads `yyyy-mm-dd` or `yyyy-mm-dd hh:mm:ss`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        parse_timestamp(text).map(|days| Self { text: text.to_owned(), days })
    }

    /// Days since 1970-01-01 (UTC).
    #[must_use]
    pub fn days(&self) -> f64 {
        self.days
    }
}

impl fmt::Display for AsOf {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl Serialize for AsOf {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for AsOf {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(untagged, expecting = "a date such as \"2026-01-31\" or \"2026-01-31 12:00:00\"")]
        enum Written {
            Text(String),
            Toml(toml::value::Datetime),
        }
        let text = match Written::deserialize(deserializer)? {
            Written::Text(text) => text,
            Written::Toml(date) => date.to_string(),
        };
        Self::parse(&text).ok_or_else(|| {
            de::Error::custom(format!("`{text}` is not a date: write \"yyyy-mm-dd\" or \"yyyy-mm-dd hh:mm:ss\""))
        })
    }
}

/// A count of at least 1.
pub(super) fn positive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    let count = i64::deserialize(deserializer)?;
    match usize::try_from(count) {
        Ok(count) if count >= 1 => Ok(count),
        _ => Err(de::Error::custom(format!("{count} must be at least 1"))),
    }
}

/// `[derived]`: a table from names to expressions whose order is kept.
pub(super) mod derived {
    use super::{
        Deserialize, DeserializeSeed, Deserializer, Expression, MapAccess, SerializeMap, Serializer, Visitor, de, fmt,
    };

    pub(in crate::spec) fn serialize<S: Serializer>(derived: &[Expression], serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(derived.len()))?;
        for expression in derived {
            map.serialize_entry(expression.name(), expression)?;
        }
        map.end()
    }

    pub(in crate::spec) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Expression>, D::Error> {
        deserializer.deserialize_map(Derived)
    }

    struct Derived;

    impl<'de> Visitor<'de> for Derived {
        type Value = Vec<Expression>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a table with one SQL expression per feature")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut derived: Vec<Expression> = Vec::new();
            while let Some(name) = map.next_key::<String>()? {
                let expression = map.next_value_seed(Named(&name))?;
                if name.is_empty() || derived.iter().any(|known| known.name() == name) {
                    return Err(de::Error::custom(format!("derived feature `{name}` needs a name of its own")));
                }
                derived.push(expression);
            }
            Ok(derived)
        }
    }

    /// Parses within the value, so that an error has the value's place in the file.
    struct Named<'n>(&'n str);

    impl<'de> DeserializeSeed<'de> for Named<'_> {
        type Value = Expression;

        fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Expression, D::Error> {
            let sql = String::deserialize(deserializer)?;
            Expression::parse(self.0, &sql, None).map_err(de::Error::custom)
        }
    }
}

/// `[model]`: numbers, booleans and text, as the text that XGBoost parses back to the same value.
pub(super) mod parameters {
    use super::{BTreeMap, Deserialize, Deserializer, Serialize, Serializer, Visitor, de, fmt};

    pub(in crate::spec) fn serialize<S: Serializer>(
        parameters: &BTreeMap<String, String>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        parameters.serialize(serializer)
    }

    pub(in crate::spec) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<String, String>, D::Error> {
        let parameters = BTreeMap::<String, Parameter>::deserialize(deserializer)?;
        Ok(parameters.into_iter().map(|(name, Parameter(text))| (name, text)).collect())
    }

    struct Parameter(String);

    impl<'de> Deserialize<'de> for Parameter {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_any(ParameterVisitor).map(Parameter)
        }
    }

    struct ParameterVisitor;

    impl Visitor<'_> for ParameterVisitor {
        type Value = String;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a number, a boolean or a text (write a list as a text, such as \"[[0,1],[2,3]]\")")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
            Ok(text.to_owned())
        }

        fn visit_bool<E: de::Error>(self, value: bool) -> Result<String, E> {
            Ok(value.to_string())
        }

        fn visit_i64<E: de::Error>(self, value: i64) -> Result<String, E> {
            Ok(value.to_string())
        }

        fn visit_u64<E: de::Error>(self, value: u64) -> Result<String, E> {
            Ok(value.to_string())
        }

        fn visit_f64<E: de::Error>(self, value: f64) -> Result<String, E> {
            if !value.is_finite() {
                return Err(E::custom(format!("{value} is no value of a parameter: it must be finite")));
            }
            Ok(shortest(value))
        }
    }

    /// The shortest text that parses back to the same float; a whole number is written as one, since XGBoost's integers
    /// (`max_depth = 6.0`) take no point.
    fn shortest(value: f64) -> String {
        let magnitude = value.abs();
        if magnitude == 0.0 || (1e-5..1e15).contains(&magnitude) { format!("{value}") } else { format!("{value:e}") }
    }
}
