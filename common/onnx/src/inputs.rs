//! The inputs of the graph: one for each column of the table that means something to the model.

use std::collections::BTreeMap;

use columns::ColumnKind;
use error::{Error, Result};
use features::encode::{Feature, FeatureSource};

use super::graph::{Element, Graph, Tensor};

/// The input of each column, and what the column held in training.
#[derive(Debug)]
pub(super) struct Inputs(BTreeMap<String, (ColumnKind, Tensor)>);

/// The columns behind all features, with what they held in training; those that held nothing have no meaning and are no inputs.
fn sources(features: &[Feature]) -> impl Iterator<Item = (&str, ColumnKind)> {
    features.iter().flat_map(sources_of).filter(|(_, kind)| *kind != ColumnKind::Null)
}

fn sources_of(feature: &Feature) -> Vec<(&str, ColumnKind)> {
    match &feature.source {
        FeatureSource::Column(column) => vec![(column, feature.source_kind)],
        FeatureSource::Expression { inputs, .. } => inputs.iter().map(|(name, kind)| (name.as_str(), *kind)).collect(),
    }
}

/// The names of the inputs; one may come several times.
pub(super) fn names(features: &[Feature]) -> impl Iterator<Item = &str> {
    sources(features).map(|(name, _)| name)
}

impl Inputs {
    /// Declares the inputs of `features`, in the order of the matrix.
    ///
    /// # Errors
    /// [`Error::Model`] where a column cannot be an input.
    pub(super) fn declare(graph: &mut Graph, features: &[Feature]) -> Result<Self> {
        let mut inputs = BTreeMap::new();
        for (name, kind) in sources(features) {
            let known = inputs.get(name).map(|(known, _)| *known);
            if known.is_some_and(|known| known == kind) {
                continue;
            }
            if name.is_empty() || known.is_some() {
                let why = if name.is_empty() { "has no name" } else { "stands in the model with two types" };
                return Err(Error::Model(format!("a column cannot be exported to ONNX: \"{name}\" {why}")));
            }
            let (element, doc) = described(kind);
            let tensor = graph.input(name, element, doc);
            inputs.insert(name.to_owned(), (kind, tensor));
        }
        if inputs.is_empty() {
            return Err(Error::Model("a model without an input column cannot be exported to ONNX".to_owned()));
        }
        Ok(Self(inputs))
    }

    /// The input of a column; none where it held nothing in training.
    pub(super) fn get(&self, column: &str) -> Option<(ColumnKind, &Tensor)> {
        self.0.get(column).map(|(kind, tensor)| (*kind, tensor))
    }
}

/// What an input of a column of this kind takes.
fn described(kind: ColumnKind) -> (Element, &'static str) {
    match kind {
        ColumnKind::Text => (Element::Text, "text; missing is the empty text"),
        ColumnKind::Boolean => (Element::Double, "1 is true, 0 is false, NaN is missing"),
        ColumnKind::Date => (Element::Integer, "microseconds since 1970-01-01 UTC; missing is -2^63"),
        ColumnKind::Time => (Element::Integer, "microseconds since midnight; missing is -2^63"),
        ColumnKind::Duration => (Element::Integer, "microseconds; missing is -2^63"),
        _ => (Element::Double, "number; NaN is missing"),
    }
}
