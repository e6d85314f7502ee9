//! Several models of the same rows as one: their trees one after the other, leaves scaled so that the new model's margin is
//! the weighted mean of the models' margins. The outcome is a plain `model.ubj` like any other.

use super::ensemble::EnsembleError;
use super::object::{Loaded, Object, damaged};
use super::ubj::{self, TypedArray, Value, Writer};

/// XGBoost's mark of a pruned node where the number of its feature would stand.
const NO_FEATURE: i32 = i32::MAX;
/// Its mark of a leaf where the number of its left child would stand.
pub(super) const NO_CHILD: i32 = -1;

/// One of the models to average.
#[derive(Debug, Clone, Copy)]
pub struct ModelPart<'a> {
    /// Its `model.ubj`, as XGBoost writes it.
    pub model: &'a [u8],
    /// Its share of the mean. Where shares add up to another number than 1, the mean lies so many times as far from the base score.
    pub weight: f32,
    /// For each of its features the place of that feature in the mean model.
    pub columns: &'a [usize],
}

/// Averages models of one objective and one base score. `features` are the names of the mean model's features and XGBoost's letters for
/// their types (`q`, `c`), among them those of every model.
///
/// # Errors
/// [`EnsembleError::Damaged`] where a model is not one that XGBoost wrote, [`EnsembleError::Unsupported`] where models do
/// not go together.
pub fn average_models(parts: &[ModelPart<'_>], features: &[(&str, &str)]) -> Result<Vec<u8>, EnsembleError> {
    let documents: Vec<Value<'_>> =
        parts.iter().map(|part| ubj::parse(part.model).map_err(EnsembleError::Damaged)).collect::<Loaded<_>>()?;
    let learners = documents
        .iter()
        .zip(parts)
        .map(|(document, part)| Learner::of(document, part))
        .collect::<Loaded<Vec<Learner<'_, '_>>>>()?;
    let Some(first) = learners.first() else { return unfit("there are none") };
    if learners.iter().any(|learner| learner.objective != first.objective || learner.base_score != first.base_score) {
        return unfit("their objectives or base scores differ");
    }
    if !learners.iter().all(|learner| learner.has_features_among(features)) {
        return unfit("their features differ");
    }
    let mean = MeanModel { features, learners };
    let mut writer = Writer::default();
    mean.write(&documents[0], &mut writer)?;
    Ok(writer.into_bytes())
}

fn unfit<T>(why: &str) -> Loaded<T> {
    Err(EnsembleError::Unsupported(format!("models cannot be averaged: {why}")))
}

/// What a mean model takes from one model.
struct Learner<'v, 'a> {
    part: &'v ModelPart<'v>,
    objective: &'a str,
    base_score: &'a str,
    names: Vec<&'a str>,
    types: Vec<&'a str>,
    trees: &'v [Value<'a>],
    groups: &'v [Value<'a>],
    rounds: Vec<i64>,
}

impl<'v, 'a> Learner<'v, 'a> {
    fn of(document: &'v Value<'a>, part: &'v ModelPart<'v>) -> Loaded<Self> {
        let learner = Object::new("model".into(), document)?.object("learner")?;
        let forest = learner.object("gradient_booster")?.object("model")?;
        let of = Self {
            part,
            objective: learner.object("objective")?.text("name")?,
            base_score: learner.object("learner_model_param")?.text("base_score")?,
            names: learner.texts("feature_names")?,
            types: learner.texts("feature_types")?,
            trees: forest.array("trees")?,
            groups: forest.array("tree_info")?,
            rounds: forest.integers("iteration_indptr")?,
        };
        let columns = part.columns.len();
        if of.names.len() != columns || of.types.len() != columns || of.groups.len() != of.trees.len() {
            return unfit("they have other features than they should");
        }
        Ok(of)
    }

    /// Whether its features stand at their places among those of the mean model.
    fn has_features_among(&self, features: &[(&str, &str)]) -> bool {
        let own = self.names.iter().zip(&self.types);
        self.part.columns.iter().zip(own).all(|(place, (name, kind))| features.get(*place) == Some(&(*name, *kind)))
    }
}

struct MeanModel<'v, 'a> {
    features: &'v [(&'v str, &'v str)],
    learners: Vec<Learner<'v, 'a>>,
}

impl MeanModel<'_, '_> {
    /// The first model with other features and trees.
    fn write(&self, document: &Value<'_>, writer: &mut Writer) -> Loaded<()> {
        replacing(document, writer, &mut |name, value, writer| match name {
            "learner" => self.learner(value, writer).map(|()| true),
            _ => Ok(false),
        })
    }

    fn learner(&self, learner: &Value<'_>, writer: &mut Writer) -> Loaded<()> {
        replacing(learner, writer, &mut |name, value, writer| {
            match name {
                "feature_names" => writer.texts(self.features.iter().map(|(name, _)| *name)),
                "feature_types" => writer.texts(self.features.iter().map(|(_, kind)| *kind)),
                "learner_model_param" => self.with_count("num_feature", self.features.len(), value, writer)?,
                "gradient_booster" => self.booster(value, writer)?,
                _ => return Ok(false),
            }
            Ok(true)
        })
    }

    /// An object in which one number, which XGBoost writes as text, is another.
    fn with_count(&self, name: &str, count: usize, object: &Value<'_>, writer: &mut Writer) -> Loaded<()> {
        replacing(object, writer, &mut |member, _, writer| {
            if member == name {
                writer.value(&Value::Text(&count.to_string()));
            }
            Ok(member == name)
        })
    }

    fn booster(&self, booster: &Value<'_>, writer: &mut Writer) -> Loaded<()> {
        replacing(booster, writer, &mut |name, value, writer| match name {
            "model" => self.forest(value, writer).map(|()| true),
            _ => Ok(false),
        })
    }

    fn forest(&self, forest: &Value<'_>, writer: &mut Writer) -> Loaded<()> {
        let count = self.learners.iter().map(|learner| learner.trees.len()).sum();
        replacing(forest, writer, &mut |name, value, writer| {
            match name {
                "gbtree_model_param" => self.with_count("num_trees", count, value, writer)?,
                "iteration_indptr" => writer.integers(&self.rounds()),
                "tree_info" => writer.array(self.learners.iter().flat_map(|learner| learner.groups)),
                "trees" => self.trees(writer)?,
                _ => return Ok(false),
            }
            Ok(true)
        })
    }

    /// Where the trees of each round begin, over all models, and where the last ones end.
    fn rounds(&self) -> Vec<i64> {
        let mut rounds = vec![0];
        for learner in &self.learners {
            let trees_before = rounds.last().copied().unwrap_or(0);
            rounds.extend(learner.rounds.iter().skip(1).map(|end| trees_before + end));
        }
        rounds
    }

    fn trees(&self, writer: &mut Writer) -> Loaded<()> {
        let trees = self.learners.iter().flat_map(|learner| learner.trees.iter().map(|tree| (learner.part, tree)));
        writer.open(b'[');
        for (id, (part, tree)) in trees.enumerate() {
            self.tree(id, part, tree, writer)?;
        }
        writer.close(b']');
        Ok(())
    }

    fn tree(&self, id: usize, part: &ModelPart<'_>, tree: &Value<'_>, writer: &mut Writer) -> Loaded<()> {
        let fields = Object::new(format!("trees[{id}]"), tree)?;
        let left: Vec<i32> = typed(&fields, "left_children", TypedArray::integers)?.collect();
        replacing(tree, writer, &mut |name, value, writer| {
            match name {
                "id" => writer.value(&Value::Integer(id as i64)),
                "tree_param" => self.with_count("num_feature", self.features.len(), value, writer)?,
                "split_indices" => {
                    let places = typed(&fields, name, TypedArray::integers)?.map(|feature| place(part, feature));
                    writer.typed_integers(&places.collect::<Loaded<Vec<i32>>>()?);
                }
                "split_conditions" => {
                    let conditions = typed(&fields, name, TypedArray::floats)?.zip(&left);
                    let scaled =
                        conditions.map(|(value, left)| if *left == NO_CHILD { part.weight * value } else { value });
                    writer.typed_floats(&scaled.collect::<Vec<f32>>());
                }
                "base_weights" => {
                    let scaled = typed(&fields, name, TypedArray::floats)?.map(|weight| part.weight * weight);
                    writer.typed_floats(&scaled.collect::<Vec<f32>>());
                }
                _ => return Ok(false),
            }
            Ok(true)
        })
    }
}

/// The place in the mean model of a feature of a part.
fn place(part: &ModelPart<'_>, feature: i32) -> Loaded<i32> {
    if feature == NO_FEATURE {
        return Ok(feature);
    }
    let place = usize::try_from(feature).ok().and_then(|feature| part.columns.get(feature));
    match place.and_then(|place| i32::try_from(*place).ok()) {
        Some(place) => Ok(place),
        None => damaged(format!("a split on feature {feature} of {}", part.columns.len())),
    }
}

pub(super) fn typed<'v, 'a: 'v, T>(
    fields: &Object<'v, 'a>,
    name: &str,
    read: impl Fn(TypedArray<'a>) -> Option<T>,
) -> Loaded<T> {
    let array = match fields.get(name)? {
        Value::Typed(array) => read(*array),
        _ => None,
    };
    match array {
        Some(values) => Ok(values),
        None => fields.wrong(name, "is not an array of its type"),
    }
}

/// Writes an object as it is, but for the members that `replace` writes: it says whether it did.
pub(super) fn replacing(
    object: &Value<'_>,
    writer: &mut Writer,
    replace: &mut dyn FnMut(&str, &Value<'_>, &mut Writer) -> Loaded<bool>,
) -> Loaded<()> {
    let Value::Object(members) = object else { return damaged("something that should be an object is none") };
    writer.open(b'{');
    for (name, value) in members {
        writer.name(name);
        if !replace(name, value, writer)? {
            writer.value(value);
        }
    }
    writer.close(b'}');
    Ok(())
}
