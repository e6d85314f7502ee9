//! What each column of the table was like: for people, for `metadata.json`, and to see where `DataQualityScore` comes from.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::{FeatureTally, Statistics};
use crate::encode::{Feature, Kind};
use columns::ColumnKind;

/// Levels named in a profile; all of them stand in the feature.
const TOP_LEVELS: usize = 10;
/// A level of fewer training rows is not named: it may be somebody's, as every value of an identifier is.
pub const LEAST_ROWS_OF_A_NAMED_LEVEL: u64 = 10;

/// What a column is to the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A column of the table that is a feature.
    Feature,
    /// A feature that an expression computes.
    Derived,
    /// What is predicted.
    Target,
}

/// One column of the table, or one derived feature.
///
/// `rows`, `missing`, `infinite` and `out_of_range` count the cells of every row that was read, those left out included,
/// as `DataQualityScore` does; everything after them is of the training rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnProfile {
    /// Its name.
    pub column: String,
    /// What it is to the model.
    pub role: Role,
    /// What it holds.
    #[serde(rename = "type")]
    pub kind: ColumnKind,
    /// Whether its values are categories, whatever their type.
    pub category: bool,
    /// Cells.
    pub rows: u64,
    /// Null cells.
    pub missing: u64,
    /// Values that are not finite as a 32-bit float.
    pub infinite: u64,
    /// Values outside the range that the spec gives.
    pub out_of_range: u64,
    /// Different values, see [`Statistics::distinct`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distinct: Option<u64>,
    /// Smallest value, of numbers; dates are days since 1970-01-01.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f32>,
    /// Largest value, of numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f32>,
    /// Mean, of numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean: Option<f64>,
    /// Standard deviation, of numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub std: Option<f64>,
    /// Values at 5, 25, 50, 75 and 95 % of the rows, of numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quantiles: Vec<f32>,
    /// The most frequent levels and their shares of the rows, of a category; none that have fewer rows than
    /// [`LEAST_ROWS_OF_A_NAMED_LEVEL`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub top: Vec<(String, f64)>,
}

impl ColumnProfile {
    /// Share of cells that are present, finite and inside the column's range.
    #[must_use]
    pub fn good_share(&self) -> f64 {
        let faulty = self.missing + self.infinite + self.out_of_range;
        if self.rows == 0 { 1.0 } else { 1.0 - faulty as f64 / self.rows as f64 }
    }

    fn of(column: &str, role: Role, kind: ColumnKind, statistics: &Statistics, tally: &FeatureTally) -> Self {
        Self {
            column: column.to_owned(),
            role,
            kind,
            category: false,
            rows: tally.rows,
            missing: tally.missing,
            infinite: tally.infinite,
            out_of_range: tally.out_of_range,
            distinct: statistics.distinct,
            min: statistics.min,
            max: statistics.max,
            mean: statistics.mean,
            std: statistics.std,
            quantiles: statistics.quantiles.clone(),
            top: Vec::new(),
        }
    }

    /// The profile of the target.
    #[must_use]
    pub fn of_target(column: &str, kind: ColumnKind, statistics: &Statistics, tally: &FeatureTally) -> Self {
        Self::of(column, Role::Target, kind, statistics, tally)
    }
}

/// The profile of every column and derived feature behind the features, each once, in matrix order. The three lists
/// belong together, place by place.
#[must_use]
pub fn profile(features: &[Feature], statistics: &[Statistics], tallies: &[FeatureTally]) -> Vec<ColumnProfile> {
    let mut seen = HashSet::new();
    let all = features.iter().zip(statistics.iter().zip(tallies));
    // A date that is also counted from `as_of`, or a category with several encodings, is one column.
    let first = all.filter(|(feature, _)| seen.insert(&feature.source));
    first.map(|(feature, (statistics, tally))| of_feature(feature, statistics, tally)).collect()
}

fn of_feature(feature: &Feature, statistics: &Statistics, tally: &FeatureTally) -> ColumnProfile {
    let (name, role) = match feature.source_column() {
        Some(column) => (column, Role::Feature),
        None => (feature.name.as_str(), Role::Derived),
    };
    let mut profile = ColumnProfile::of(name, role, feature.source_kind, statistics, tally);
    if let Kind::Category { levels } | Kind::Encoded { levels, .. } = &feature.kind {
        profile.category = true;
        let shares = levels.iter().cloned().zip(statistics.shares.iter().copied());
        let is_named = |share: f64| (share * statistics.rows as f64).round() >= LEAST_ROWS_OF_A_NAMED_LEVEL as f64;
        profile.top = shares.take(TOP_LEVELS).filter(|(_, share)| is_named(*share)).collect();
    }
    profile
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::FeatureSource;
    use crate::spec::Range;

    fn feature(name: &str, kind: Kind, column: Option<&str>) -> Feature {
        let source = FeatureSource::Column(column.unwrap_or(name).to_owned());
        Feature { name: name.to_owned(), kind, source, source_kind: ColumnKind::Float }
    }

    #[test]
    fn a_column_with_two_encodings_is_profiled_once_with_its_most_frequent_levels() {
        let names: Vec<String> = (0..20).map(|level| format!("level {level}")).collect();
        let category = Kind::Category { levels: names.clone() };
        let encoded = Kind::Encoded { levels: names.clone(), values: vec![0.0; 20], default: 0.0 };
        let features = [feature("town", category, None), feature("town_target", encoded, Some("town"))];
        let statistics = Statistics::of_levels(210, 0, 0, &(1..=20).rev().collect::<Vec<_>>());
        let tally = FeatureTally::new(None);
        let profiles = profile(&features, &[statistics.clone(), statistics], &[tally.clone(), tally]);
        assert_eq!(profiles.len(), 1);
        assert_eq!((profiles[0].column.as_str(), profiles[0].top.len(), profiles[0].distinct), ("town", 10, Some(20)));
        assert_eq!(profiles[0].top[0], ("level 0".to_owned(), 20.0 / 210.0));
    }

    #[test]
    fn levels_of_few_rows_are_not_named() {
        let names: Vec<String> = ["common", "at the limit", "rare"].map(str::to_owned).into();
        let statistics = Statistics::of_levels(500, 3, 0, &[478, 10, 9]);
        let features = [feature("town", Kind::Category { levels: names }, None)];
        let profiles = profile(&features, &[statistics], &[FeatureTally::new(None)]);
        let named: Vec<&str> = profiles[0].top.iter().map(|(level, _)| level.as_str()).collect();
        assert_eq!(named, ["common", "at the limit"]);
    }

    #[test]
    fn the_good_share_is_the_tallys() {
        let values = [5.0, f64::NAN, f64::INFINITY, 11.0, 7.0];
        let narrow = values.map(crate::encode::values::as_f32);
        let mut tally = FeatureTally::new(None);
        tally.count_numbers(&values, &narrow, &Range { min: Some(0.0), max: Some(10.0) });
        let features = [feature("x", Kind::Number, None)];
        let profiles = profile(&features, &[Statistics::of_numbers(&narrow)], std::slice::from_ref(&tally));
        assert_eq!(profiles[0].good_share(), tally.good_share(false));
        assert_eq!((profiles[0].min, profiles[0].max, profiles[0].distinct), (Some(5.0), Some(11.0), Some(3)));
        let json = serde_json::to_value(&profiles[0]).unwrap();
        assert_eq!(
            (&json["role"], &json["type"], &json["out_of_range"]),
            (&"feature".into(), &"float".into(), &1.into())
        );
        assert_eq!(serde_json::from_value::<ColumnProfile>(json).unwrap(), profiles[0]);
    }
}
