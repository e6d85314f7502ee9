//! Ways to turn category columns into numbers, and the matrices that they give.

use std::borrow::Cow;

use evaluation::split::CrossFolds;
use features::encode::target::{LevelValues, Places, TargetRows, Visible, cross_fitted, ordinal_values, target_means};
use features::encode::{Feature, Kind};
use features::quality::{FeatureTally, Statistics};
use features::spec::{ColumnEncoding, Spec};
use ndarray::{Array2, ShapeBuilder};

use crate::features::Features;
use crate::fit::columns;
use crate::read::Rows;

/// Where there are more levels than this, XGBoost's own splits on categories become slow and often fit noise: other ways are
/// tried for such a category, each beside XGBoost's own for the others.
pub(crate) const MOST_NATIVE_LEVELS: usize = 64;
/// Where a level has fewer rows than this on average, most levels to be scored are unseen: only a mean, which is close to
/// that of all rows for a rare level, makes seen and unseen ones alike.
const LEAST_ROWS_PER_LEVEL: usize = 3;

/// What the name of an encoding gets that has only the foremost features, before how many they are.
const FOREMOST: &str = ", foremost ";

/// The columns of the matrix that one category gives: one or more of three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Encoding {
    /// The level itself, split on by XGBoost.
    native: bool,
    /// The place of the level in the order of levels.
    ordinal: bool,
    /// The mean of the target, cross-fitted.
    target: bool,
}

impl Encoding {
    /// XGBoost's own splits.
    pub const NATIVE: Self = Self { native: true, ordinal: false, target: false };
    /// The place in the order of levels.
    pub const ORDINAL: Self = Self { native: false, ordinal: true, target: false };
    /// The mean of the target.
    pub const TARGET: Self = Self { native: false, ordinal: false, target: true };
    /// No column: a derived feature that the search may take and has not taken.
    pub const LEFT_OUT: Self = Self { native: false, ordinal: false, target: false };

    /// How many columns it gives.
    #[must_use]
    pub fn width(self) -> usize {
        usize::from(self.native) + usize::from(self.ordinal) + usize::from(self.target)
    }

    /// Bins of its columns where the category has so many levels and a column of numbers at most `most` bins. A level has a mean for each fold.
    #[must_use]
    pub fn bins(self, levels: f64, most: f64) -> f64 {
        let native = if self.native { levels } else { 0.0 };
        let ordinal = if self.ordinal { levels.min(most) } else { 0.0 };
        let target = if self.target { (levels * f64::from(CrossFolds::FOLDS)).min(most) } else { 0.0 };
        native + ordinal + target
    }

    const fn and(self, other: Self) -> Self {
        Self {
            native: self.native || other.native,
            ordinal: self.ordinal || other.ordinal,
            target: self.target || other.target,
        }
    }
}

/// The encoding of a category that the spec leaves open, by how many levels it has.
type OpenEncoding = Box<dyn Fn(usize) -> Encoding>;

/// An encoding for every feature of a table; `None` for those that are no categories, unless they are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct EncodingScheme {
    /// What it is called in logs and `metrics.json`.
    pub name: Cow<'static, str>,
    /// One for each feature.
    pub encodings: Vec<Option<Encoding>>,
}

impl EncodingScheme {
    /// XGBoost's own splits wherever the spec leaves it open.
    #[must_use]
    pub fn native(features: &[Feature], spec: &Spec) -> Self {
        Self::of("native", features, spec, |_| Encoding::NATIVE)
    }

    /// Whether the levels of a category do little more than number the rows.
    pub(crate) fn tells_rows_apart(levels: usize, rows: usize) -> bool {
        levels * LEAST_ROWS_PER_LEVEL > rows
    }

    fn of(name: &'static str, features: &[Feature], spec: &Spec, open: impl Fn(usize) -> Encoding) -> Self {
        let encoding = |feature: &Feature| match (&feature.kind, spec.encoding_of(&feature.name)) {
            (Kind::Derived, _) if is_proposed(feature, spec) => Some(Encoding::LEFT_OUT),
            (Kind::Category { .. }, _) if spec.monotone.contains_key(&feature.name) => Some(Encoding::NATIVE),
            (Kind::Category { .. }, ColumnEncoding::Native) => Some(Encoding::NATIVE),
            (Kind::Category { .. }, ColumnEncoding::Target) => Some(Encoding::TARGET),
            (Kind::Category { levels }, ColumnEncoding::Auto) => Some(open(levels.len())),
            _ => None,
        };
        Self { name: name.into(), encodings: features.iter().map(encoding).collect() }
    }

    /// Every way that is worth a trial, each once, the most promising first: time may not suffice for all. With a single one there is nothing to choose.
    #[must_use]
    pub fn candidates(features: &[Feature], spec: &Spec, rows: usize) -> Vec<Self> {
        const BOTH: Encoding = Encoding::ORDINAL.and(Encoding::TARGET);
        let split =
            |few: Encoding, many: Encoding| move |levels: usize| if levels <= MOST_NATIVE_LEVELS { few } else { many };
        let named: [(&'static str, OpenEncoding); 9] = [
            ("ordinal and target", Box::new(|_| BOTH)),
            ("native", Box::new(|_| Encoding::NATIVE)),
            ("few native, many target", Box::new(split(Encoding::NATIVE, Encoding::TARGET))),
            ("few native, many ordinal", Box::new(split(Encoding::NATIVE, Encoding::ORDINAL))),
            ("target", Box::new(|_| Encoding::TARGET)),
            ("ordinal", Box::new(|_| Encoding::ORDINAL)),
            ("few ordinal, many target", Box::new(split(Encoding::ORDINAL, Encoding::TARGET))),
            ("native, ordinal and target", Box::new(split(Encoding::NATIVE.and(BOTH), BOTH))),
            ("few native, many ordinal and target", Box::new(split(Encoding::NATIVE, BOTH))),
        ];
        let mut schemes: Vec<Self> = Vec::new();
        for (name, open) in named {
            let open = |levels: usize| {
                if Self::tells_rows_apart(levels, rows) { Encoding::TARGET } else { open(levels) }
            };
            let scheme = Self::of(name, features, spec, open);
            if scheme.categories() == 0 {
                return vec![Self { name: "no categories".into(), ..scheme }];
            }
            if !schemes.iter().any(|known| known.encodings == scheme.encodings) {
                schemes.push(scheme);
            }
        }
        schemes
    }

    /// The same with the derived features that were left out, if there are any.
    #[must_use]
    pub fn with_derived(&self) -> Option<Self> {
        let taken = |encoding: &Option<Encoding>| encoding.filter(|encoding| *encoding != Encoding::LEFT_OUT);
        let encodings: Vec<_> = self.encodings.iter().map(taken).collect();
        (encodings != self.encodings).then(|| Self { name: format!("{}, derived", self.name).into(), encodings })
    }

    /// The same with so many of the features, those that gain most, of the gains of its columns; the first of those that gain as much.
    #[must_use]
    pub fn foremost(&self, gains: &[f32], count: usize) -> Self {
        let mut of_columns = gains.iter();
        let mut by_gain: Vec<(usize, f32)> = Vec::new();
        for (place, encoding) in self.encodings.iter().enumerate() {
            let columns = of_columns.by_ref().take(encoding.map_or(1, Encoding::width));
            by_gain.push((place, columns.sum()));
        }
        by_gain.sort_by(|one, other| other.1.total_cmp(&one.1));
        let mut encodings = vec![Some(Encoding::LEFT_OUT); self.encodings.len()];
        by_gain.iter().take(count).for_each(|&(place, _)| encodings[place] = self.encodings[place]);
        let all = self.name.split(FOREMOST).next().unwrap_or_default();
        Self { name: format!("{all}{FOREMOST}{count}").into(), encodings }
    }

    /// The same with the features of another one that this one leaves out.
    #[must_use]
    pub fn with_all_of(self, other: &Self) -> Self {
        let filled = |(own, of_other): (Option<Encoding>, &Option<Encoding>)| match own {
            Some(Encoding::LEFT_OUT) => *of_other,
            _ => own,
        };
        let encodings = self.encodings.into_iter().zip(&other.encodings).map(filled).collect();
        Self { name: self.name, encodings }
    }

    /// How many features are not left out.
    #[must_use]
    pub fn features(&self) -> usize {
        self.encodings.iter().filter(|encoding| **encoding != Some(Encoding::LEFT_OUT)).count()
    }

    /// How many features are categories.
    #[must_use]
    pub fn categories(&self) -> usize {
        self.encodings.iter().flatten().filter(|encoding| **encoding != Encoding::LEFT_OUT).count()
    }

    /// Whether the matrix stays as it was learnt.
    fn changes_nothing(&self) -> bool {
        self.encodings.iter().flatten().all(|encoding| *encoding == Encoding::NATIVE)
    }

    /// For every column of the matrix whether it holds means of the target.
    #[must_use]
    pub fn are_target_means(&self) -> Vec<bool> {
        let columns = |encoding: &Option<Encoding>| {
            let of = encoding.unwrap_or(Encoding::NATIVE);
            [(of.native, false), (of.ordinal, false), (of.target, true)]
        };
        self.encodings.iter().flat_map(columns).filter(|(is_there, _)| *is_there).map(|(_, is_mean)| is_mean).collect()
    }

    /// How many columns the matrix has.
    #[must_use]
    pub fn width(&self) -> usize {
        self.encodings.iter().map(|encoding| encoding.map_or(1, Encoding::width)).sum()
    }

    /// The encoding with the columns of both.
    #[must_use]
    pub fn union(self, other: &Self) -> Self {
        let both = |(left, right): (Option<Encoding>, &Option<Encoding>)| match (left, right) {
            (Some(left), Some(right)) => Some(left.and(*right)),
            // A column of its own, whether the other one leaves it out or not.
            _ => None,
        };
        let encodings: Vec<_> = self.encodings.iter().copied().zip(&other.encodings).map(both).collect();
        let name =
            if encodings == self.encodings { self.name } else { format!("{} + {}", self.name, other.name).into() };
        Self { name, encodings }
    }

    /// For each column of this encoding its place among the columns of another one, which has them all.
    #[must_use]
    pub fn places_in(&self, all: &Self) -> Vec<usize> {
        let mut places = Vec::with_capacity(self.width());
        let mut before = 0;
        for (one, of_all) in self.encodings.iter().zip(&all.encodings) {
            let (one, of_all) = (one.unwrap_or(Encoding::NATIVE), of_all.unwrap_or(Encoding::NATIVE));
            let columns = [(of_all.native, one.native), (of_all.ordinal, one.ordinal), (of_all.target, one.target)];
            for (_, is_of_one) in columns.into_iter().filter(|(is_there, _)| *is_there) {
                if is_of_one {
                    places.push(before);
                }
                before += 1;
            }
        }
        places
    }
}

/// Whether the search has thought of a derived feature: it has those that the spec does not name.
fn is_proposed(feature: &Feature, spec: &Spec) -> bool {
    !spec.derived.iter().any(|expression| expression.name() == feature.name)
}

/// What belongs to the rows that a model is fitted to. All have the same length.
#[derive(Debug, Clone, Copy)]
pub struct FittingRows<'a> {
    /// Targets.
    pub target: &'a [f64],
    /// Weights, where rows have any.
    pub weights: Option<&'a [f32]>,
    /// The folds of the rows for cross-fitting.
    pub folds: &'a CrossFolds,
}

/// One column of an encoded matrix.
#[derive(Debug)]
pub struct EncodedColumn {
    /// The feature that it was made from.
    pub source: usize,
    /// What was put in place of levels; `None`: the column is as it was.
    pub encoded: Option<LevelValues>,
    /// What its name gets after the source's.
    suffix: &'static str,
    /// Values in the rows to fit on, cross-fitted where they are means of the target.
    pub fitting: Vec<f32>,
    /// Values in other rows, as scoring gives them.
    pub validation: Vec<f32>,
}

/// The folds of rows for means of the target.
#[must_use]
pub fn cross_folds(rows: &Rows, seed: u64) -> CrossFolds {
    if rows.keys.is_random() {
        return CrossFolds::of_folds(rows.ids.iter().map(|id| CrossFolds::of_id(id, seed)).collect());
    }
    CrossFolds::of_keys(&rows.keys, seed)
}

/// What the mean is made of that stands in a row of these folds.
#[must_use]
pub fn visible(folds: &CrossFolds) -> Visible {
    match folds.blocks {
        0 => Visible::OtherFolds { folds: folds.folds },
        blocks => Visible::Earlier { blocks, folds: folds.folds },
    }
}

/// A feature that is to be encoded.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Its place among the features.
    pub index: usize,
    /// The feature.
    pub feature: &'a Feature,
    /// How it is encoded; `None` for what is no category.
    pub encoding: Option<Encoding>,
}

/// Encodes one feature: its columns of the matrix, for the rows to fit on and for others.
#[must_use]
pub fn encode(source: &Source<'_>, rows: &FittingRows<'_>, fitting: &[f32], validation: &[f32]) -> Vec<EncodedColumn> {
    let Source { index: source, feature, encoding } = *source;
    let encoding = encoding.unwrap_or(Encoding::NATIVE);
    let levels = feature.levels().unwrap_or_default();
    let validation = &without_unseen(fitting, validation, levels.len());
    let mut encoded = Vec::new();
    if encoding.native {
        let (fitting, validation) = (fitting.to_vec(), validation.to_vec());
        encoded.push(EncodedColumn { source, encoded: None, suffix: "", fitting, validation });
    }
    let scored = |values: &LevelValues, codes: &[f32]| codes.iter().map(|&code| values.of(code)).collect();
    if encoding.ordinal {
        let values = ordinal_values(levels, fitting.iter().any(|code| code.is_nan()));
        let (fitting, validation) = (scored(&values, fitting), scored(&values, validation));
        encoded.push(EncodedColumn { source, encoded: Some(values), suffix: "_ordinal", fitting, validation });
    }
    if encoding.target {
        let means = TargetRows { codes: fitting, target: rows.target, weights: rows.weights };
        let values = target_means(&means, levels.len());
        let places = Places { visible: visible(rows.folds), reads: &rows.folds.reads, adds: rows.folds.adds() };
        let fitting = cross_fitted(&means, levels.len(), &places);
        let validation = scored(&values, validation);
        encoded.push(EncodedColumn { source, encoded: Some(values), suffix: "_target", fitting, validation });
    }
    encoded
}

/// Codes of a category of which none stands for a level that the rows to fit on do not have: levels were learnt from more
/// rows than those of an inner fold, and what has never been seen must be judged as scoring will see it.
fn without_unseen(fitting: &[f32], validation: &[f32], levels: usize) -> Vec<f32> {
    if levels == 0 {
        return validation.to_vec();
    }
    let mut seen = vec![false; levels];
    for code in fitting.iter().filter(|code| !code.is_nan()) {
        if let Some(seen) = seen.get_mut(*code as usize) {
            *seen = true;
        }
    }
    let known = |code: f32| !code.is_nan() && seen.get(code as usize).copied().unwrap_or(false);
    validation.iter().map(|&code| if known(code) { code } else { f32::NAN }).collect()
}

/// The features of a run with their categories encoded as chosen: matrices of the training and of the held-out rows, and
/// the numbers for `metadata.json`.
#[must_use]
pub fn apply(base: Features, scheme: &EncodingScheme, rows: &Rows, seed: u64) -> Features {
    if scheme.changes_nothing() {
        return base;
    }
    let folds = cross_folds(rows, seed);
    let fitting = FittingRows { target: &rows.target, weights: rows.weights.as_deref(), folds: &folds };
    let mut applied = Applied::new(base.train.nrows(), base.test.nrows(), scheme.width());
    let (train, test) = (columns(&base.train), columns(&base.test));
    for (source, feature) in base.features.iter().enumerate() {
        let encoding = scheme.encodings.get(source).copied().flatten();
        let of = Source { index: source, feature, encoding };
        for column in encode(&of, &fitting, train[source], test[source]) {
            applied.push(feature, column, &base.statistics[source], &base.tallies[source]);
        }
    }
    let features = applied.named_apart(&base.features);
    Features { hints: base.hints, ..features }
}

/// Encoded features as they are put together.
struct Applied {
    features: Features,
    suffixes: Vec<&'static str>,
}

impl Applied {
    fn new(train_rows: usize, test_rows: usize, width: usize) -> Self {
        let features = Features {
            features: Vec::with_capacity(width),
            statistics: Vec::with_capacity(width),
            train: Array2::zeros((train_rows, width).f()),
            test: Array2::zeros((test_rows, width).f()),
            tallies: Vec::with_capacity(width),
            hints: Vec::new(),
        };
        Self { features, suffixes: Vec::with_capacity(width) }
    }

    fn push(&mut self, from: &Feature, column: EncodedColumn, statistics: &Statistics, tally: &FeatureTally) {
        let into = &mut self.features;
        let place = into.features.len();
        into.train.column_mut(place).iter_mut().zip(&column.fitting).for_each(|(cell, value)| *cell = *value);
        into.test.column_mut(place).iter_mut().zip(&column.validation).for_each(|(cell, value)| *cell = *value);
        let mut feature = from.clone();
        if let (Some(LevelValues { values, default }), Kind::Category { levels }) = (column.encoded, &from.kind) {
            feature.kind = Kind::Encoded { levels: levels.clone(), values, default };
        }
        into.features.push(feature);
        into.statistics.push(statistics.clone());
        into.tallies.push(tally.clone());
        self.suffixes.push(column.suffix);
    }

    /// The first column of a category keeps its name; the others get names that no feature has.
    fn named_apart(mut self, base: &[Feature]) -> Features {
        let mut taken: Vec<String> = base.iter().map(|feature| feature.name.clone()).collect();
        let mut before: Option<String> = None;
        for (feature, suffix) in self.features.features.iter_mut().zip(self.suffixes) {
            let source = feature.name.clone();
            if before.replace(source.clone()) != Some(source) {
                continue;
            }
            let mut name = format!("{}{suffix}", feature.name);
            while taken.contains(&name) {
                name.push('_');
            }
            taken.push(name.clone());
            feature.name = name;
        }
        self.features
    }
}

#[cfg(test)]
mod tests;
