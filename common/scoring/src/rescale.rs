//! A model in other units of the target: what it predicts, times a power of two.
//!
//! XGBoost cannot learn from targets whose spread is tiny or huge: it takes no split that gains less than 10⁻⁶, and sums of
//! squares overflow. `train` gives it targets times a power of two and brings the model back here. A power of two
//! changes no bit of a 32-bit float's digits, so the model predicts exactly what the one it was made from does, times the power.

use super::average_models::{NO_CHILD, replacing, typed};
use super::ensemble::EnsembleError;
use super::load::base_scores;
use super::object::{Loaded, Object, damaged};
use super::ubj::{self, TypedArray, Value, Writer};

/// The bytes of a `model.ubj` whose margins are those of `model` times 2 to the power of `exponent`: for objectives
/// whose prediction is the margin. Gains are scaled with them, by the square, where all of them have room in 32-bit
/// floats; else they stay as they are, since it is their proportions that are looked at.
///
/// # Errors
/// [`EnsembleError::Damaged`] where this is no model that XGBoost wrote, [`EnsembleError::Unsupported`] where a value of it
/// would be beyond 32-bit floats.
pub fn rescale(model: &[u8], exponent: i32) -> Result<Vec<u8>, EnsembleError> {
    let document = ubj::parse(model).map_err(EnsembleError::Damaged)?;
    let learner = Object::new("model".into(), &document)?.object("learner")?;
    let trees = learner.object("gradient_booster")?.object("model")?.array("trees")?;
    let rescaled = Rescaled { factor: power_of_two(exponent), gains: gain_factor(trees, exponent)? };
    let mut writer = Writer::default();
    rescaled.model(&document, &mut writer)?;
    Ok(writer.into_bytes())
}

/// 2 to a power, which no exponent of a 32-bit float's reach takes beyond a 64-bit float.
#[must_use]
pub fn power_of_two(exponent: i32) -> f64 {
    2_f64.powi(exponent)
}

struct Rescaled {
    factor: f64,
    gains: f64,
}

impl Rescaled {
    fn model(&self, document: &Value<'_>, writer: &mut Writer) -> Loaded<()> {
        replacing(document, writer, &mut |name, value, writer| match name {
            "learner" => self.learner(value, writer).map(|()| true),
            _ => Ok(false),
        })
    }

    fn learner(&self, learner: &Value<'_>, writer: &mut Writer) -> Loaded<()> {
        replacing(learner, writer, &mut |name, value, writer| {
            match name {
                "learner_model_param" => self.parameters(value, writer)?,
                "gradient_booster" => self.booster(value, writer)?,
                _ => return Ok(false),
            }
            Ok(true)
        })
    }

    fn parameters(&self, parameters: &Value<'_>, writer: &mut Writer) -> Loaded<()> {
        replacing(parameters, writer, &mut |name, value, writer| {
            let ("base_score", Value::Text(text)) = (name, value) else { return Ok(false) };
            let Some(scores) = base_scores(text) else { return damaged(format!("base_score is {text:?}")) };
            let scores = scores.into_iter().map(|score| self.scaled(score).map(|score| format!("{score:E}")));
            let scores = scores.collect::<Loaded<Vec<String>>>()?.join(",");
            writer.value(&Value::Text(&format!("[{scores}]")));
            Ok(true)
        })
    }

    fn booster(&self, booster: &Value<'_>, writer: &mut Writer) -> Loaded<()> {
        replacing(booster, writer, &mut |name, value, writer| match name {
            "model" => self.forest(value, writer).map(|()| true),
            _ => Ok(false),
        })
    }

    fn forest(&self, forest: &Value<'_>, writer: &mut Writer) -> Loaded<()> {
        replacing(forest, writer, &mut |name, value, writer| {
            let ("trees", Value::Array(trees)) = (name, value) else { return Ok(false) };
            writer.open(b'[');
            trees.iter().try_for_each(|tree| self.tree(tree, writer))?;
            writer.close(b']');
            Ok(true)
        })
    }

    fn tree(&self, tree: &Value<'_>, writer: &mut Writer) -> Loaded<()> {
        let fields = Object::new("tree".into(), tree)?;
        let left: Vec<i32> = typed(&fields, "left_children", TypedArray::integers)?.collect();
        replacing(tree, writer, &mut |name, _, writer| {
            let values = match name {
                "split_conditions" => {
                    let conditions = typed(&fields, name, TypedArray::floats)?.zip(&left);
                    conditions
                        .map(|(value, left)| if *left == NO_CHILD { self.scaled(value) } else { Ok(value) })
                        .collect::<Loaded<Vec<f32>>>()?
                }
                "base_weights" => typed(&fields, name, TypedArray::floats)?
                    .map(|weight| self.scaled(weight))
                    .collect::<Loaded<_>>()?,
                "loss_changes" => typed(&fields, name, TypedArray::floats)?
                    .map(|gain| (f64::from(gain) * self.gains) as f32)
                    .collect(),
                _ => return Ok(false),
            };
            writer.typed_floats(&values);
            Ok(true)
        })
    }

    fn scaled(&self, value: f32) -> Loaded<f32> {
        let scaled = (f64::from(value) * self.factor) as f32;
        match value.is_finite() && !scaled.is_finite() {
            true => Err(EnsembleError::Unsupported(format!("{value} times {:e} is beyond 32-bit floats", self.factor))),
            false => Ok(scaled),
        }
    }
}

/// What gains are multiplied by: the square of the power of two, or 1 where one of them would lose digits or their sum its bounds.
fn gain_factor(trees: &[Value<'_>], exponent: i32) -> Loaded<f64> {
    let (mut least, mut sum) = (f64::INFINITY, 0.0);
    for tree in trees {
        let fields = Object::new("tree".into(), tree)?;
        for gain in typed(&fields, "loss_changes", TypedArray::floats)?.map(|gain| f64::from(gain).abs()) {
            sum += gain;
            if gain > 0.0 {
                least = least.min(gain);
            }
        }
    }
    let factor = power_of_two(exponent) * power_of_two(exponent);
    let has_room = least * factor >= f64::from(f32::MIN_POSITIVE) && sum * factor <= f64::from(f32::MAX);
    Ok(if has_room { factor } else { 1.0 })
}
