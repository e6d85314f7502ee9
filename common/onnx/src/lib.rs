//! A model as one ONNX file, which takes the columns of a table and gives predictions.
//!
//! The graph has an input for each column, shaped rows × 1: numbers and booleans are 64-bit floats, texts are strings, dates, times and
//! durations are microseconds as 64-bit integers. It encodes them as `features` does, with ONNX's own operators (`graph`), and gives
//! the matrix to a `TreeEnsembleRegressor`. What ONNX has no operator for is refused by the feature's name; nothing is left out.
//!
//! The protobuf is written by a page of our own code (`protobuf`): a generated one would be compiled by everybody for one command.
//!
//! It must not know stores, nor how a file is written. Begin reading at [`export`].
#![forbid(unsafe_code)]

mod calendar;
mod encode;
mod expression;
mod graph;
mod inputs;
mod protobuf;
mod trees;

use error::{Error, Result};
use features::encode::Feature;
use scoring::{Ensemble, Link};

use graph::{Element, Graph, Tensor};
use inputs::Inputs;

/// The name of the graph's output, unless a column has it: then with `_` behind it.
pub const OUTPUT: &str = "prediction";
/// What stands for a missing date, time or duration: what numpy's NaT is as an integer.
pub const MISSING_INSTANT: i64 = i64::MIN;

/// What is exported.
#[derive(Debug, Clone, Copy)]
pub struct Model<'a> {
    /// The features in matrix order, of a model whose levels have canonical texts.
    pub features: &'a [Feature],
    /// The trees.
    pub ensemble: &'a Ensemble,
    /// What predictions are held inside.
    pub clip: Option<(f64, f64)>,
    /// What else the file says of the model, as names and texts.
    pub properties: &'a [(&'a str, String)],
}

/// The bytes of the file.
///
/// # Errors
/// [`Error::Model`] names each feature that ONNX cannot say, and why.
pub fn export(model: &Model<'_>) -> Result<Vec<u8>> {
    let link = model.ensemble.link().ok_or_else(|| {
        let objective = model.ensemble.objective();
        Error::Model(format!(
            "the objective {objective} cannot be exported to ONNX: how its margins become predictions is not known"
        ))
    })?;
    let names: Vec<&str> = inputs::names(model.features).collect();
    let mut graph = Graph::new(&names);
    let inputs = Inputs::declare(&mut graph, model.features)?;
    let mut columns = Vec::new();
    let mut refused = Vec::new();
    for feature in model.features {
        match encode::encode(&mut graph, &inputs, feature) {
            Ok(column) => columns.push(column),
            Err(why) => refused.push(format!("\"{}\" {why}", feature.name)),
        }
    }
    if !refused.is_empty() {
        let features = refused.join("; ");
        return Err(Error::Model(format!(
            "ONNX cannot say all of this model's features: {features}. Export it for MLflow instead (--mlflow), load it with \
             engagement_ml, or train without them"
        )));
    }
    let margin = trees::margin(&mut graph, columns, model.ensemble)?;
    let prediction = prediction(&mut graph, margin, link, model.clip);
    Ok(graph.into_model(&prediction, model.properties))
}

/// The prediction as a 64-bit float, inside `clip`.
fn prediction(graph: &mut Graph, margin: Tensor, link: Link, clip: Option<(f64, f64)>) -> Tensor {
    let narrow = match link {
        Link::Identity => margin,
        Link::Logistic => graph.op("Sigmoid", &[&margin]),
        Link::Exponential => graph.op("Exp", &[&margin]),
    };
    let wide = graph.cast(&narrow, Element::Double);
    let Some((low, high)) = clip else { return wide };
    let (low, high) = (graph.number(low), graph.number(high));
    let raised = graph.op("Max", &[&wide, &low]);
    graph.op("Min", &[&raised, &high])
}
