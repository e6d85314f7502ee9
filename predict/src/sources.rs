//! The sources that contributions are added up in.

use std::collections::HashMap;

use features::encode::{Feature, FeatureSource};

/// What the features of a model are made from: a source column, or a derived feature; several columns of the matrix may share one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    /// Their names, in the order of the matrix.
    pub names: Vec<String>,
    /// For each feature the number of its source.
    pub of_feature: Vec<u32>,
}

impl Sources {
    /// Those of the features of a matrix. Features of one expression are called as the first of them is.
    #[must_use]
    pub fn of<'a>(features: impl Iterator<Item = &'a Feature>) -> Self {
        let mut sources = Self { names: Vec::new(), of_feature: Vec::new() };
        let mut known: HashMap<&FeatureSource, u32> = HashMap::new();
        for feature in features {
            let source = *known.entry(&feature.source).or_insert_with(|| {
                sources.names.push(feature.source_column().unwrap_or(&feature.name).to_owned());
                sources.names.len() as u32 - 1
            });
            sources.of_feature.push(source);
        }
        sources
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use columns::ColumnKind;
    use features::encode::Kind;

    use super::*;

    fn feature(name: &str, column: Option<&str>, sql: Option<&str>) -> Feature {
        let source = match sql {
            Some(sql) => FeatureSource::Expression { sql: sql.to_owned(), inputs: BTreeMap::new() },
            None => FeatureSource::Column(column.unwrap_or(name).to_owned()),
        };
        Feature { name: name.to_owned(), kind: Kind::Number, source, source_kind: ColumnKind::Float }
    }

    #[test]
    fn columns_of_the_matrix_share_a_source() {
        let features = [
            feature("city", None, None),
            feature("age", None, None),
            feature("city_mean", Some("city"), None),
            feature("rate", None, Some("a / b")),
            feature("rate_mean", None, Some("a / b")),
            feature("a / b", None, None),
        ];
        let sources = Sources::of(features.iter());
        assert_eq!(sources.names, ["city", "age", "rate", "a / b"]);
        assert_eq!(sources.of_feature, [0, 1, 0, 2, 2, 3]);
    }
}
