//! A model as MLflow's folder: `mlflow.pyfunc.load_model`, `mlflow models predict` and `spark_udf` take it, registries keep it.
//!
//! `data/` holds the files of the run as they were published, `code/` the Python module that checks them, rebuilds the matrix and
//! predicts: the same bits as `predict`. Loading needs numpy, pandas and XGBoost, nothing of this program.

use std::collections::BTreeMap;

use columns::ColumnKind;
use error::{Error, Result};
use features::encode::{Feature, FeatureSource, Kind};
use features::quality::ColumnProfile;
use machine::now_rfc3339;
use registry::LoadedModel;
use registry::metadata::Metadata;
use serde_json::{Value, json};

use super::{Published, module};

/// Rows of the example.
const EXAMPLE_ROWS: usize = 5;
const MICROSECONDS_PER_DAY: f64 = 86_400e6;

/// The folder's files, by their names relative to it.
///
/// # Errors
/// [`Error::Model`] names the columns that MLflow has no type for.
pub(super) fn files(model: &LoadedModel, published: &Published) -> Result<Vec<(String, Vec<u8>)>> {
    let metadata = &model.metadata;
    let inputs = inputs(&metadata.features);
    let signature = signature(metadata, &inputs)?;
    let example = example(metadata, &inputs);
    let serving = json!({ "dataframe_split": example });
    let requirements = requirements(metadata);
    let mut files = vec![
        ("MLmodel".to_owned(), mlmodel(model, &signature).into_bytes()),
        ("requirements.txt".to_owned(), requirements.join("\n").into_bytes()),
        ("conda.yaml".to_owned(), conda(&requirements).into_bytes()),
        ("python_env.yaml".to_owned(), PYTHON_ENVIRONMENT.as_bytes().to_vec()),
        ("input_example.json".to_owned(), example.to_string().into_bytes()),
        ("serving_input_example.json".to_owned(), serving.to_string().into_bytes()),
        ("data/result.json".to_owned(), published.result.to_vec()),
        ("data/metadata.json".to_owned(), published.metadata.to_vec()),
        ("data/model.ubj".to_owned(), model.model.to_vec()),
    ];
    let code =
        module::FILES.iter().map(|(name, text)| (format!("code/engagement_ml/{name}"), text.as_bytes().to_vec()));
    files.extend(code);
    files.extend(published.scale.iter().map(|scale| ("data/scale.ubj".to_owned(), scale.to_vec())));
    Ok(files)
}

/// A column that a table must have.
struct Input<'a> {
    name: &'a str,
    kind: ColumnKind,
    /// The levels of the first feature that takes it as a category.
    levels: Option<&'a [String]>,
}

/// The columns behind the features, each once, in the order of the matrix. What held nothing in training has no meaning, and is none.
fn inputs(features: &[Feature]) -> Vec<Input<'_>> {
    let mut inputs: Vec<Input<'_>> = Vec::new();
    for feature in features {
        let sources: Vec<(&str, ColumnKind)> = match &feature.source {
            FeatureSource::Column(column) => vec![(column, feature.source_kind)],
            FeatureSource::Expression { inputs, .. } => {
                inputs.iter().map(|(name, kind)| (name.as_str(), *kind)).collect()
            }
        };
        for (name, kind) in sources {
            let known = inputs.iter().position(|input| input.name == name);
            let place = match known {
                Some(place) => place,
                None if kind == ColumnKind::Null => continue,
                None => {
                    inputs.push(Input { name, kind, levels: None });
                    inputs.len() - 1
                }
            };
            if let (FeatureSource::Column(_), Kind::Category { levels } | Kind::Encoded { levels, .. }) =
                (&feature.source, &feature.kind)
            {
                inputs[place].levels.get_or_insert(levels);
            }
        }
    }
    inputs
}

/// MLflow's signature: what the columns are, and that a 64-bit float comes out.
fn signature(metadata: &Metadata, inputs: &[Input<'_>]) -> Result<(Value, Value)> {
    let profiles = profiles(metadata);
    let unfit = |input: &&Input<'_>| mlflow_type(input, &profiles).is_none();
    let refused: Vec<String> =
        inputs.iter().filter(unfit).map(|input| format!("\"{}\" ({})", input.name, input.kind.describe())).collect();
    if !refused.is_empty() {
        return Err(Error::Model(format!(
            "MLflow's signatures have no type for the column {}: load the model with engagement_ml, or train without it",
            refused.join(", ")
        )));
    }
    let column =
        |input: &Input<'_>| json!({ "type": mlflow_type(input, &profiles), "name": input.name, "required": true });
    let columns: Vec<Value> = inputs.iter().map(column).collect();
    Ok((Value::Array(columns), json!([{ "type": "double", "required": true }])))
}

fn profiles(metadata: &Metadata) -> BTreeMap<&str, &ColumnProfile> {
    metadata.profile.iter().map(|profile| (profile.column.as_str(), profile)).collect()
}

/// Whole numbers that were missing somewhere in training are floats, as pandas has them.
fn mlflow_type(input: &Input<'_>, profiles: &BTreeMap<&str, &ColumnProfile>) -> Option<&'static str> {
    let had_missing = || profiles.get(input.name).is_some_and(|profile| profile.missing > 0);
    match input.kind {
        ColumnKind::Integer if had_missing() => Some("double"),
        ColumnKind::Integer => Some("long"),
        ColumnKind::Float => Some("double"),
        ColumnKind::Boolean => Some("boolean"),
        ColumnKind::Text => Some("string"),
        ColumnKind::Date => Some("datetime"),
        ColumnKind::Time | ColumnKind::Duration | ColumnKind::Null | ColumnKind::Unsupported => None,
    }
}

/// Made-up rows, drawn from the statistics of the training rows: no value but a frequent category's was anybody's.
fn example(metadata: &Metadata, inputs: &[Input<'_>]) -> Value {
    let profiles = profiles(metadata);
    let names: Vec<&str> = inputs.iter().map(|input| input.name).collect();
    let cell = |row: usize, input: &Input<'_>| example_cell(row, input, profiles.get(input.name).copied());
    let rows: Vec<Vec<Value>> =
        (0..EXAMPLE_ROWS).map(|row| inputs.iter().map(|input| cell(row, input)).collect()).collect();
    json!({ "columns": names, "data": rows })
}

fn example_cell(row: usize, input: &Input<'_>, profile: Option<&ColumnProfile>) -> Value {
    let top = profile.map(|profile| profile.top.as_slice()).unwrap_or_default();
    let level = (!top.is_empty()).then(|| top[row % top.len()].0.as_str());
    let quantiles = profile.map(|profile| profile.quantiles.as_slice()).unwrap_or_default();
    let number = (!quantiles.is_empty()).then(|| f64::from(quantiles[row % quantiles.len()]));
    let is_category = input.levels.is_some();
    match input.kind {
        ColumnKind::Text => json!(level),
        ColumnKind::Boolean => json!(row.is_multiple_of(2)),
        ColumnKind::Integer if is_category => {
            json!(level.and_then(|level| level.parse::<i64>().ok()).unwrap_or(row as i64))
        }
        ColumnKind::Float if is_category => {
            json!(level.and_then(|level| level.parse::<f64>().ok()).unwrap_or(row as f64))
        }
        ColumnKind::Integer => json!(number.unwrap_or(row as f64).round() as i64),
        ColumnKind::Date => json!(timestamp(number.unwrap_or(row as f64))),
        _ => json!(number.unwrap_or(row as f64)),
    }
}

/// An instant in ISO 8601, to the second.
fn timestamp(days: f64) -> Option<String> {
    let microseconds = (days * MICROSECONDS_PER_DAY) as i64;
    chrono::DateTime::from_timestamp_micros(microseconds).map(|instant| instant.format("%Y-%m-%dT%H:%M:%S").to_string())
}

/// What loading needs: an older XGBoost than the model's is refused by the module.
fn requirements(metadata: &Metadata) -> [String; 4] {
    [
        "mlflow".to_owned(),
        "numpy".to_owned(),
        "pandas>=2".to_owned(),
        format!("xgboost-cpu>={}", metadata.xgboost_version),
    ]
}

const PYTHON_ENVIRONMENT: &str = "\
python: '3.12'
build_dependencies:
- pip
dependencies:
- -r requirements.txt
";

fn conda(requirements: &[String]) -> String {
    let packages: String = requirements.iter().map(|requirement| format!("  - {requirement}\n")).collect();
    format!("channels:\n- conda-forge\ndependencies:\n- python=3.12\n- pip\n- pip:\n{packages}name: engagement_ml\n")
}

/// The file that MLflow reads first, YAML; texts are quoted as JSON has them, which YAML reads.
fn mlmodel(model: &LoadedModel, (inputs, outputs): &(Value, Value)) -> String {
    let metadata = &model.metadata;
    let quoted = |text: &str| Value::from(text).to_string();
    format!(
        "\
flavors:
  python_function:
    code: code
    data: data
    env:
      conda: conda.yaml
      virtualenv: python_env.yaml
    loader_module: engagement_ml.mlflow
    python_version: 3.12.0
metadata:
  engagement_ml: {}
  model_name: {}
  model_run_id: {}
  model_sha256: {}
  model_version: {}
  r2: {}
  target: {}
saved_input_example_info:
  artifact_path: input_example.json
  pandas_orient: split
  serving_input_path: serving_input_example.json
  type: dataframe
signature:
  inputs: {}
  outputs: {}
  params: null
utc_time_created: {}
",
        quoted(env!("CARGO_PKG_VERSION")),
        quoted(&metadata.model_name),
        quoted(&metadata.run_id),
        quoted(&metadata.model_sha256),
        quoted(&metadata.model_version),
        json!(model.r2),
        quoted(&metadata.target),
        quoted(&inputs.to_string()),
        quoted(&outputs.to_string()),
        quoted(&now_rfc3339()),
    )
}
