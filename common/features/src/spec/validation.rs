//! `[validation]`: which columns say that rows depend on one another.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

use columns::ColumnKind;

/// Microseconds, in which instants of dates and timestamps are counted.
const MICROSECONDS: &[(&str, f64)] =
    &[("w", 7.0 * 86_400e6), ("d", 86_400e6), ("h", 3_600e6), ("min", 60e6), ("s", 1e6)];

/// What validation keeps apart.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Validation {
    /// Column whose newest rows judge; it stays a feature.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// Column whose values are never on two sides; it is no feature.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// How far in time rows that are trained on lie before those that judge, at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap: Option<Gap>,
}

impl Validation {
    /// Whether rows are validated at random.
    #[must_use]
    pub fn is_random(&self) -> bool {
        *self == Self::default()
    }

    /// The same with what the settings name, which wins.
    #[must_use]
    pub fn with(self, settings: Self) -> Self {
        Self { time: settings.time.or(self.time), group: settings.group.or(self.group), gap: settings.gap.or(self.gap) }
    }
}

/// A span of time, such as `30d`, `12h` or, in the units of a numeric time column, `3`.
#[derive(Debug, Clone, PartialEq)]
pub struct Gap {
    text: String,
    number: f64,
    /// Microseconds of the unit; none for a bare number.
    unit: Option<f64>,
}

impl Gap {
    /// Reads a gap.
    ///
    /// # Errors
    /// What is wrong with the text, and how a gap is written.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let digits = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let wrong = || {
            format!(
                "{text:?} is no gap: write a number and w, d, h, min or s, such as 30d or 12h, or a bare number in the units of a \
                 numeric time column"
            )
        };
        let number: f64 = number.trim().parse().map_err(|_| wrong())?;
        let known = MICROSECONDS.iter().find(|(name, _)| *name == unit).map(|(_, microseconds)| *microseconds);
        if !number.is_finite() || number < 0.0 || (known.is_none() && !unit.is_empty()) {
            return Err(wrong());
        }
        Ok(Self { text: text.to_owned(), number, unit: known })
    }

    /// The gap in the units that instants of a column of this kind are counted in: microseconds for dates and timestamps.
    ///
    /// # Errors
    /// What is wrong with the unit, where the column has another one.
    pub fn in_units_of(&self, kind: ColumnKind) -> Result<f64, String> {
        match (kind.is_temporal(), self.unit) {
            _ if self.number == 0.0 => Ok(0.0),
            (true, Some(microseconds)) => Ok(self.number * microseconds),
            (false, None) => Ok(self.number),
            (true, None) => {
                Err(format!("the gap {self} has no unit, but the time column has dates: write {self}d or {self}h"))
            }
            (false, Some(_)) => Err(format!(
                "the gap {self} has a unit, but the time column has numbers: write a bare number in its units"
            )),
        }
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl Serialize for Gap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Gap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(untagged, expecting = "a gap such as \"30d\" or 3")]
        enum Written {
            Text(String),
            Integer(i64),
            Float(f64),
        }
        let text = match Written::deserialize(deserializer)? {
            Written::Text(text) => text,
            Written::Integer(number) => number.to_string(),
            Written::Float(number) => number.to_string(),
        };
        Self::parse(&text).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_has_the_unit_of_its_column() {
        let of = |text: &str, kind| Gap::parse(text).and_then(|gap| gap.in_units_of(kind));
        assert_eq!(of("30d", ColumnKind::Date), Ok(30.0 * 86_400e6));
        assert_eq!(of("12h", ColumnKind::Date), Ok(43_200e6));
        assert_eq!([of("1w", ColumnKind::Date), of("90 min", ColumnKind::Date)], [Ok(604_800e6), Ok(5_400e6)]);
        assert_eq!([of("2.5", ColumnKind::Float), of("3", ColumnKind::Integer)], [Ok(2.5), Ok(3.0)]);
        assert_eq!([of("0", ColumnKind::Date), of("0d", ColumnKind::Integer)], [Ok(0.0), Ok(0.0)]);
        assert!(of("30", ColumnKind::Date).unwrap_err().contains("write 30d or 30h"));
        assert!(of("30d", ColumnKind::Integer).unwrap_err().contains("bare number"));
        for wrong in ["", "d", "-1d", "inf", "3 months", "1m", "nan", "1e400"] {
            assert!(Gap::parse(wrong).unwrap_err().contains("is no gap"), "{wrong}");
        }
    }
}
