//! From the bytes of a `model.ubj` to a checked [`Ensemble`].
//!
//! The layout is that of XGBoost 3.4's `Learner::SaveModel`, `GBTreeModel::SaveModel` and `RegTree::SaveModel`.

use super::ensemble::{Ensemble, EnsembleError, FeatureType};
use super::load_tree;
use super::object::{Loaded, Object, damaged, foreign};
use super::objective::Link;
use super::ubj::{self, Value};

/// More features than any table has; bounds what is allocated per feature.
const MAX_FEATURES: usize = 1 << 20;
/// What XGBoost starts from when it has fitted nothing (`ObjFunction::DefaultBaseScore`).
const DEFAULT_BASE_MARGIN: f32 = 0.5;

/// The learner's parameters.
struct Parameters {
    n_features: usize,
    n_outputs: usize,
    base_scores: Vec<f32>,
    boost_from_average: bool,
}

impl Ensemble {
    /// Reads the `model.ubj` of XGBoost 3.4.1 (or an earlier 3.x), checking everything that XGBoost's loader and
    /// predictor rely on: sizes, node and feature indices, that nodes form trees, categories, groups.
    ///
    /// # Errors
    /// [`EnsembleError`], which says whether XGBoost may be given the bytes.
    pub fn from_ubj(bytes: &[u8]) -> Result<Self, EnsembleError> {
        ensemble(bytes, 1)
    }
}

/// The model, read by up to so many threads.
pub(super) fn ensemble(bytes: &[u8], threads: usize) -> Loaded<Ensemble> {
    let document = ubj::parse(bytes).map_err(EnsembleError::Damaged)?;
    ensemble_of(&Object::new("model".into(), &document)?, threads)
}

/// Checks the model of a snapshot; its `Config` has to be an object.
pub(super) fn snapshot(bytes: &[u8]) -> Loaded<()> {
    let document = ubj::parse(bytes).map_err(EnsembleError::Damaged)?;
    let snapshot = Object::new("snapshot".into(), &document)?;
    snapshot.object("Config")?;
    ensemble_of(&snapshot.object("Model")?, 1).map(drop)
}

fn ensemble_of(model: &Object<'_, '_>, threads: usize) -> Loaded<Ensemble> {
    check_version(model)?;
    let learner = model.object("learner")?;
    check_attributes(&learner)?;
    let parameters = parameters(&learner.object("learner_model_param")?)?;
    let feature_types = feature_types(&learner, parameters.n_features)?;
    let objective = learner.object("objective")?.text("name")?;
    let forest = forest(&learner.object("gradient_booster")?)?;
    let groups = groups(&forest, parameters.n_outputs)?;
    let trees = load_tree::trees(forest.array("trees")?, parameters.n_features, threads)?;
    if trees.len() != groups {
        return damaged(format!("{} trees, but {groups} entries in tree_info", trees.len()));
    }
    if dart_weights(&forest, trees.len())? {
        return Err(EnsembleError::Unsupported("its trees have weights of their own (dart)".into()));
    }
    let [base_score] = parameters.base_scores[..] else {
        return Err(EnsembleError::Unsupported(format!("it has {} outputs", parameters.n_outputs)));
    };
    let link = Link::of_objective(objective);
    // XGBoost applies the link only once something is fitted or the user gave the score (`InitModelUserParam`).
    let base_margin = match trees.is_empty() && parameters.boost_from_average {
        true => DEFAULT_BASE_MARGIN,
        false => link.map_or(base_score, |link| link.margin(base_score)),
    };
    Ok(Ensemble {
        n_features: parameters.n_features,
        objective: objective.into(),
        link,
        base_score,
        base_margin,
        feature_types,
        trees,
    })
}

fn check_version(model: &Object<'_, '_>) -> Loaded<()> {
    match model.integers("version")?[..] {
        [1..=3, _, _] => Ok(()),
        [major, _, _] if major > 3 => foreign(format!("it was written by XGBoost {major}")),
        _ => model.wrong("version", "is not a version"),
    }
}

fn check_attributes(learner: &Object<'_, '_>) -> Loaded<()> {
    let attributes = learner.object("attributes")?;
    match attributes.members().iter().find(|(_, value)| !matches!(value, Value::Text(_))) {
        Some((name, _)) => attributes.wrong(name, "is not a string"),
        None => Ok(()),
    }
}

fn parameters(fields: &Object<'_, '_>) -> Loaded<Parameters> {
    let n_features = fields.count("num_feature")?;
    if !(1..=MAX_FEATURES).contains(&n_features) {
        return fields.wrong("num_feature", "is out of range");
    }
    let n_outputs = fields.count_or("num_target", 1)?.max(fields.count("num_class")?).max(1);
    let text = fields.text("base_score")?;
    let Some(base_scores) = base_scores(text) else {
        return fields.wrong("base_score", "is not a list of finite numbers");
    };
    if base_scores.len() != n_outputs {
        return fields.wrong("base_score", "does not have one value per output");
    }
    Ok(Parameters {
        n_features,
        n_outputs,
        base_scores,
        boost_from_average: fields.count_or("boost_from_average", 1)? != 0,
    })
}

/// `[5E-1]`, or `5E-1` as before XGBoost 3.1.
pub(super) fn base_scores(text: &str) -> Option<Vec<f32>> {
    let list = match text.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?,
        None => text,
    };
    let number = |item: &str| {
        let plain = item.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
        let value = item.parse::<f32>().ok()?;
        (plain && value.is_finite()).then_some(value)
    };
    list.split(',').map(number).collect()
}

fn feature_types(learner: &Object<'_, '_>, n_features: usize) -> Loaded<Vec<FeatureType>> {
    for name in ["feature_names", "feature_types"] {
        let count = learner.texts(name)?.len();
        if count != 0 && count != n_features {
            return learner.wrong(name, "does not have one entry per feature");
        }
    }
    let kind = |name: &str| match name {
        "c" => Ok(FeatureType::Categorical),
        "q" | "float" | "int" | "i" => Ok(FeatureType::Numeric),
        _ => learner.wrong("feature_types", "holds an unknown type"),
    };
    learner.texts("feature_types")?.into_iter().map(kind).collect()
}

/// The model inside the booster. (XGBoost 3.4 writes dart as `gbtree` with `weight_drop`; before, it was another layout.)
fn forest<'v, 'a>(booster: &Object<'v, 'a>) -> Loaded<Object<'v, 'a>> {
    let name = booster.text("name")?;
    if name != "gbtree" || booster.find("weight_drop").is_some() {
        return foreign(format!("its booster is {name:?}"));
    }
    let forest = booster.object("model")?;
    if let Some(value) = forest.find("cats") {
        check_no_dictionary(&Object::new("cats".into(), value)?)?;
    }
    Ok(forest)
}

/// Columns that carry their own dictionary (pandas, Arrow) would be recoded by XGBoost.
fn check_no_dictionary(dictionary: &Object<'_, '_>) -> Loaded<()> {
    if !dictionary.array("enc")?.is_empty() {
        return foreign("it carries a dictionary of its categories");
    }
    for name in ["feature_segments", "sorted_idx"] {
        match dictionary.get(name)? {
            Value::Typed(array) if array.is_empty() && array.integers().is_some() => {}
            _ => return dictionary.wrong(name, "is not empty"),
        }
    }
    Ok(())
}

/// Checks the trees' counts and groups; returns the number of trees.
fn groups(forest: &Object<'_, '_>, n_outputs: usize) -> Loaded<usize> {
    let parameters = forest.object("gbtree_model_param")?;
    let n_trees = parameters.count("num_trees")?;
    if parameters.count("num_parallel_tree")? == 0 {
        return parameters.wrong("num_parallel_tree", "is zero");
    }
    let groups = forest.integers("tree_info")?;
    let in_range = |group: &i64| usize::try_from(*group).is_ok_and(|group| group < n_outputs);
    if groups.len() != n_trees || !groups.iter().all(in_range) {
        return forest.wrong("tree_info", "does not name one output per tree");
    }
    let rounds = forest.integers("iteration_indptr")?;
    let ends_right = rounds.first() == Some(&0) && rounds.last().copied() == i64::try_from(n_trees).ok();
    if !ends_right || !rounds.is_sorted() {
        return forest.wrong("iteration_indptr", "does not count the trees");
    }
    Ok(n_trees)
}

/// Whether trees are weighted (dropout); one weight per tree at most.
fn dart_weights(fields: &Object<'_, '_>, n_trees: usize) -> Loaded<bool> {
    if fields.find("weight_drop").is_none() {
        return Ok(false);
    }
    let weights = fields.array("weight_drop")?;
    let numbers = weights.iter().all(|weight| matches!(weight, Value::Float(_)));
    // XGBoost reads a weight for every tree as soon as there is one.
    if !numbers || !(weights.is_empty() || weights.len() == n_trees) {
        return fields.wrong("weight_drop", "does not have one weight per tree");
    }
    Ok(!weights.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_scores_in_both_notations() {
        assert_eq!(base_scores("[5E-1]"), Some(vec![0.5]));
        assert_eq!(base_scores("5E-1"), Some(vec![0.5]));
        assert_eq!(base_scores("[1E0,-2.5E0]"), Some(vec![1.0, -2.5]));
        for wrong in ["", "[]", "[1", "nan", "[inf]", "[1e99]", "[1,]", "1]", "infinity"] {
            assert_eq!(base_scores(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn not_a_model() {
        for bytes in [&b""[..], b"{}", b"Z", b"[]", b"PAR1", b"{L\0\0\0\0\0\0\0\x01a"] {
            assert!(matches!(Ensemble::from_ubj(bytes), Err(EnsembleError::Damaged(_))));
        }
    }
}
