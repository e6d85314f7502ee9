//! One column of the matrix in ONNX's operators, as `features::encode` computes it.

use columns::ColumnKind;
use features::derive::{Expression, ValueType};
use features::encode::{Feature, FeatureSource, Kind, value_type};

use super::MISSING_INSTANT;
use super::calendar::MICROSECONDS_PER_DAY;
use super::expression::{Translator, Truth, Vector, finite};
use super::graph::{Attribute, Element, Graph, Tensor};
use super::inputs::Inputs;

/// Whole numbers up to here have a 64-bit float each.
const MOST_WHOLE: f64 = 9_007_199_254_740_992.0;

/// A column of the matrix.
#[derive(Debug)]
pub(super) enum MatrixColumn {
    /// 32-bit floats, NaN where missing.
    Number(Tensor),
    /// Values to be found among levels; trees ask whether they are in sets of these.
    Category(Levels),
}

/// A column of values and the levels that they are found among.
#[derive(Debug)]
pub(super) enum Levels {
    /// Texts.
    Texts {
        /// The column.
        column: Tensor,
        /// The levels, by their place.
        levels: Vec<String>,
    },
    /// Whole numbers.
    Whole {
        /// The column of 64-bit floats.
        column: Tensor,
        /// The levels, by their place.
        levels: Vec<i64>,
    },
}

impl Levels {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Texts { levels, .. } => levels.len(),
            Self::Whole { levels, .. } => levels.len(),
        }
    }

    /// The 32-bit float that stands for each value.
    fn floats(&self, graph: &mut Graph, values: &[f32], default: f32) -> Tensor {
        let values = [Attribute::floats("values_floats", values), Attribute::float("default_float", default)];
        self.look_up(graph, &values, |graph| graph.float(default))
    }

    /// The integer that stands for each value.
    pub(super) fn integers(&self, graph: &mut Graph, values: &[i64], default: i64) -> Tensor {
        let values = [Attribute::integers("values_int64s", values), Attribute::integer("default_int64", default)];
        self.look_up(graph, &values, |graph| graph.integer(default))
    }

    fn look_up(&self, graph: &mut Graph, values: &[Attribute], default: impl Fn(&mut Graph) -> Tensor) -> Tensor {
        match self {
            Self::Texts { column, levels } => {
                let keys = Attribute::texts("keys_strings", levels.iter().map(String::as_str));
                graph.ml("LabelEncoder", column, &with(keys, values))
            }
            Self::Whole { column, levels } => {
                let (whole, is_integer) = whole_numbers(graph, column);
                let keys = Attribute::integers("keys_int64s", levels);
                let found = graph.ml("LabelEncoder", &whole, &with(keys, values));
                let default = default(graph);
                graph.choose(&is_integer, &found, &default)
            }
        }
    }
}

fn with(keys: Attribute, values: &[Attribute]) -> Vec<Attribute> {
    std::iter::once(keys).chain(values.iter().cloned()).collect()
}

/// The integers of a column of 64-bit floats, and where there are some.
fn whole_numbers(graph: &mut Graph, column: &Tensor) -> (Tensor, Tensor) {
    let floor = graph.op("Floor", &[column]);
    let has_no_fraction = graph.op("Equal", &[&floor, column]);
    let size = graph.op("Abs", &[column]);
    let most = graph.number(MOST_WHOLE);
    let fits = graph.op("LessOrEqual", &[&size, &most]);
    let is_integer = graph.op("And", &[&has_no_fraction, &fits]);
    let zero = graph.number(0.0);
    let plain = graph.choose(&is_integer, column, &zero);
    (graph.cast(&plain, Element::Integer), is_integer)
}

/// Adds what computes the feature to the graph.
///
/// # Errors
/// What of the feature ONNX cannot say, as the rest of a sentence.
pub(super) fn encode(graph: &mut Graph, inputs: &Inputs, feature: &Feature) -> Result<MatrixColumn, String> {
    match &feature.source {
        FeatureSource::Column(column) => of_column(graph, inputs, feature, column),
        FeatureSource::Expression { sql, .. } => {
            let expression = Expression::parse(&feature.name, sql, None).map_err(|error| error.to_string())?;
            let columns: Vec<Vector> = expression.columns().iter().map(|name| vector(graph, inputs, name)).collect();
            let value = Translator { graph, columns: &columns }.translate(expression.root())?;
            of_expression(graph, feature, value)
        }
    }
}

fn of_column(graph: &mut Graph, inputs: &Inputs, feature: &Feature, column: &str) -> Result<MatrixColumn, String> {
    let Some((kind, input)) = inputs.get(column) else {
        return Ok(match &feature.kind {
            Kind::Encoded { default, .. } => MatrixColumn::Number(constant(graph, *default)?),
            _ => MatrixColumn::Number(constant(graph, f32::NAN)?),
        });
    };
    let input = input.clone();
    match &feature.kind {
        Kind::Category { levels } => Ok(MatrixColumn::Category(found_among(kind, input, levels)?)),
        Kind::Encoded { levels, values, default } => {
            let levels = found_among(kind, input, levels)?;
            Ok(MatrixColumn::Number(levels.floats(graph, values, *default)))
        }
        Kind::Number | Kind::Derived | Kind::Date { .. } => {
            let numbers = if kind.is_temporal() { days(graph, &input) } else { input };
            Ok(MatrixColumn::Number(narrow(graph, &numbers, as_of(feature))))
        }
    }
}

fn as_of(feature: &Feature) -> Option<f64> {
    match feature.kind {
        Kind::Date { as_of } => as_of,
        _ => None,
    }
}

fn of_expression(graph: &mut Graph, feature: &Feature, value: Vector) -> Result<MatrixColumn, String> {
    let levels = match &feature.kind {
        Kind::Category { levels } | Kind::Encoded { levels, .. } => levels,
        _ => {
            let numbers = value.into_numbers(graph)?;
            let numbers = graph.repeated(&numbers).ok_or("reads no column")?;
            return Ok(MatrixColumn::Number(narrow(graph, &numbers, as_of(feature))));
        }
    };
    let texts = value.into_texts(graph)?;
    let column = graph.repeated(&texts).ok_or("reads no column")?;
    let levels = found_among(ColumnKind::Text, column, levels)?;
    Ok(match &feature.kind {
        Kind::Encoded { values, default, .. } => MatrixColumn::Number(levels.floats(graph, values, *default)),
        _ => MatrixColumn::Category(levels),
    })
}

/// A column of one number.
fn constant(graph: &mut Graph, value: f32) -> Result<Tensor, String> {
    let value = graph.float(value);
    graph.repeated(&value).ok_or_else(|| "is constant".to_owned())
}

/// A column as the category that was learnt.
fn found_among(kind: ColumnKind, column: Tensor, levels: &[String]) -> Result<Levels, String> {
    let levels = match kind {
        ColumnKind::Text if levels.iter().any(String::is_empty) => {
            return Err("has the empty text as a level, which stands for what is missing in ONNX".to_owned());
        }
        ColumnKind::Text => return Ok(Levels::Texts { column, levels: levels.to_vec() }),
        ColumnKind::Boolean => levels.iter().map(|level| boolean_level(level)).collect::<Option<_>>(),
        ColumnKind::Integer | ColumnKind::Float => levels.iter().map(|level| whole_level(level)).collect(),
        _ => return Err(format!("is a category of {}, whose texts ONNX cannot make", kind.describe())),
    };
    let levels = levels
        .ok_or("is a category of numbers with fractions or of more than 53 bits, whose texts ONNX cannot make")?;
    Ok(Levels::Whole { column, levels })
}

fn boolean_level(level: &str) -> Option<i64> {
    match level {
        "true" => Some(1),
        "false" => Some(0),
        _ => None,
    }
}

fn whole_level(level: &str) -> Option<i64> {
    let number: i64 = level.parse().ok()?;
    (number.to_string() == level && number.unsigned_abs() as f64 <= MOST_WHOLE).then_some(number)
}

/// Days of a column of microseconds, NaN where missing.
fn days(graph: &mut Graph, microseconds: &Tensor) -> Tensor {
    let missing = graph.integer(MISSING_INSTANT);
    let is_missing = graph.op("Equal", &[microseconds, &missing]);
    let wide = graph.cast(microseconds, Element::Double);
    let day = graph.number(MICROSECONDS_PER_DAY as f64);
    let days = graph.op("Div", &[&wide, &day]);
    let nothing = graph.number(f64::NAN);
    graph.choose(&is_missing, &nothing, &days)
}

/// What the trees see: 32-bit floats, and what is not finite as one is missing.
fn narrow(graph: &mut Graph, numbers: &Tensor, as_of: Option<f64>) -> Tensor {
    let numbers = match as_of {
        Some(as_of) => {
            let as_of = graph.number(as_of);
            graph.op("Sub", &[&as_of, numbers])
        }
        None => numbers.clone(),
    };
    let narrow = graph.cast(&numbers, Element::Float);
    let is_infinite = graph.op("IsInf", &[&narrow]);
    let nothing = graph.float(f32::NAN);
    graph.choose(&is_infinite, &nothing, &narrow)
}

/// A column as an operand of expressions; one that held nothing in training is missing, whatever it holds.
fn vector(graph: &mut Graph, inputs: &Inputs, name: &str) -> Vector {
    let Some((kind, input)) = inputs.get(name) else { return Vector::Number(graph.number(f64::NAN)) };
    let input = input.clone();
    match value_type(kind) {
        ValueType::Text => Vector::Text(input),
        ValueType::Date => Vector::Date(days(graph, &input)),
        ValueType::Boolean => Vector::Boolean(Truth::of_numbers(graph, &input)),
        ValueType::Number => Vector::Number(finite(graph, &input)),
    }
}
