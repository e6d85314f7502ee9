//! Derived features that a search may take: differences, ratios and products of the numbers that matter most.
//!
//! A tree splits by one column at a time and takes many splits for what is a ratio of two. Two small models look for what may help: the
//! first tells which columns of numbers and dates matter most, the second which of their differences, ratios and products do beside all
//! columns. The best of those are then learnt as any derived feature is, and a trial tells whether they help.

use std::collections::HashSet;

use columns::ColumnKind;
use error::Result;
use features::derive::Expression;
use features::encode::{Feature, FeatureSource, Kind};
use features::spec::Spec;
use xgboost::{Batch, Booster, Column, DMatrix, Feature as MatrixFeature, FeatureKind, Params, QuantileOptions};

use super::candidates::leaves_learning_open;
use super::columns;
use super::folds::Sample;
use super::gains::{self, foremost};
use super::lanes::CELLS_OF_A_THREAD;
use super::scale::TargetScale;
use super::search::{chooses_encodings, constrains_columns, most_sample_rows};
use crate::config::TrainConfig;
use crate::encodings::MOST_NATIVE_LEVELS;
use crate::features::Features;
use crate::read::Rows;

/// Columns that are combined with each other.
const COMBINED: usize = 6;
/// Derived features that the search may take, at most.
pub const MOST_DERIVED: u64 = 8;
/// What a derived feature has to gain in the second model, as a share of what all columns do.
const LEAST_GAIN: f64 = 0.01;
/// Rounds and parameters of the small models.
const ROUNDS: u32 = 30;
const PARAMS: [(&str, &str); 4] =
    [("objective", "reg:squarederror"), ("eta", "0.3"), ("max_depth", "6"), ("max_bin", "256")];
/// A column of fewer values divides rows as a category does.
const FEWEST_VALUES: usize = 3;

/// How two columns are combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Minus,
    Per,
    Times,
}

impl Operation {
    const ALL: [Self; 3] = [Self::Minus, Self::Per, Self::Times];

    fn of(self, left: f32, right: f32) -> f32 {
        let (left, right) = (f64::from(left), f64::from(right));
        let value = match self {
            Self::Minus => left - right,
            Self::Per => left / right,
            Self::Times => left * right,
        } as f32;
        if value.is_finite() { value } else { f32::NAN }
    }

    fn sign(self) -> char {
        match self {
            Self::Minus => '-',
            Self::Per => '/',
            Self::Times => '*',
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Minus => "minus",
            Self::Per => "per",
            Self::Times => "times",
        }
    }

    /// Whether two columns of this kind can be combined so.
    fn fits(self, kinds: [ColumnKind; 2]) -> bool {
        match kinds {
            [ColumnKind::Date, ColumnKind::Date] => self == Self::Minus,
            [left, right] => left.is_number() && right.is_number(),
        }
    }
}

/// Two features by their places, and what is made of them.
#[derive(Debug, Clone, Copy)]
struct Combination {
    left: usize,
    right: usize,
    operation: Operation,
}

impl Combination {
    fn cells(&self, columns: &[Vec<f32>]) -> Vec<f32> {
        let pairs = columns[self.left].iter().zip(&columns[self.right]);
        pairs.map(|(left, right)| self.operation.of(*left, *right)).collect()
    }

    /// As the spec would have it, under a name that nothing else has; none where the names of the columns are longer than an expression.
    fn expression(&self, features: &[Feature], taken: &mut HashSet<String>) -> Option<Expression> {
        let (left, right) = (&features[self.left].name, &features[self.right].name);
        let mut name = format!("{left}_{}_{right}", self.operation.name());
        while !taken.insert(name.clone()) {
            name.push('_');
        }
        let quoted = |column: &str| format!("\"{}\"", column.replace('"', "\"\""));
        let sql = format!("{} {} {}", quoted(left), self.operation.sign(), quoted(right));
        Expression::parse(&name, &sql, None).ok()
    }
}

/// Whether the search may take derived features of its own: not where the user has said how to learn or has counted columns.
#[must_use]
pub fn may_derive(config: &TrainConfig) -> bool {
    let user = &config.user_params;
    chooses_encodings(config) && leaves_learning_open(user) && !constrains_columns(user)
}

/// What derived features are proposed for.
#[derive(Debug, Clone, Copy)]
pub struct Proposer<'a> {
    /// The spec, whose ranges and constraints hold for columns as they are.
    pub spec: &'a Spec,
    /// The features so far.
    pub base: &'a Features,
    /// The training rows.
    pub rows: &'a Rows,
    /// How XGBoost sees the target.
    pub scale: TargetScale,
    /// Threads for XGBoost.
    pub threads: usize,
    /// The seed of the run.
    pub seed: u32,
}

impl Proposer<'_> {
    /// The derived features that are worth a trial; none where no two columns of numbers matter. None gets a name that is `taken`.
    ///
    /// # Errors
    /// What XGBoost refuses.
    pub fn propose(&self, mut taken: HashSet<String>) -> Result<Vec<Expression>> {
        let Self { spec, base: Features { features, train, .. }, rows, scale, threads, seed } = *self;
        let sample = Sample::draw(rows, most_sample_rows(features.len()), u64::from(seed));
        let places = sample.places();
        let pick = |column: &[f32]| places.iter().map(|&row| column[row]).collect::<Vec<f32>>();
        let mut cells: Vec<Vec<f32>> = columns(train).into_iter().map(pick).collect();
        let is_number = |place: usize| is_plain_number(spec, &features[place]) && has_values(&cells[place]);
        let numbers: Vec<usize> = (0..features.len()).filter(|&place| is_number(place)).collect();
        if numbers.len() < 2 {
            return Ok(Vec::new());
        }
        let labels: Vec<f32> = places.iter().map(|&row| scale.label(rows, row)).collect();
        let weights = rows.weights.as_ref().map(|weights| pick(weights));
        let model = SmallModel { labels: &labels, weights: weights.as_deref(), threads, seed };
        let mut kinds: Vec<FeatureKind> = features.iter().map(kind).collect();

        let gains = model.gains(&cells, &kinds)?;
        let combinations = combinations(features, &foremost(&gains, numbers, 0.0, COMBINED));
        if combinations.is_empty() {
            return Ok(Vec::new());
        }
        let width = cells.len();
        let derived: Vec<Vec<f32>> = combinations.iter().map(|one| one.cells(&cells)).collect();
        cells.extend(derived);
        kinds.resize(cells.len(), FeatureKind::Number);

        let gains = model.gains(&cells, &kinds)?;
        let least = (LEAST_GAIN * gains.iter().copied().map(f64::from).sum::<f64>()) as f32;
        let best = foremost(&gains, width..cells.len(), least, MOST_DERIVED as usize);
        let expression = |place: usize| combinations[place - width].expression(features, &mut taken);
        Ok(best.into_iter().filter_map(expression).collect())
    }
}

/// Whether a feature is a column of numbers or dates as it stands in the table. What is held to a range or may only push one way keeps
/// that meaning alone.
fn is_plain_number(spec: &Spec, feature: &Feature) -> bool {
    let FeatureSource::Column(column) = &feature.source else { return false };
    let is_bound = [column, &feature.name].into_iter().any(|name| spec.ranges.contains_key(name));
    let kind = feature.source_kind;
    let is_number = match feature.kind {
        Kind::Number => kind.is_number(),
        Kind::Date { as_of: None } => kind == ColumnKind::Date,
        _ => false,
    };
    is_number && column == &feature.name && !is_bound && !spec.monotone.contains_key(&feature.name)
}

/// Whether there are enough different values for a difference or a ratio to say more than a category does.
fn has_values(cells: &[f32]) -> bool {
    let mut seen = HashSet::new();
    let values = cells.iter().filter(|cell| !cell.is_nan());
    values.map(|cell| seen.insert(cell.to_bits())).filter(|is_new| *is_new).nth(FEWEST_VALUES - 1).is_some()
}

/// What the small models take a feature for: categories of many levels are numbers to them.
fn kind(feature: &Feature) -> FeatureKind {
    let is_category = feature.levels().is_some_and(|levels| levels.len() <= MOST_NATIVE_LEVELS);
    if is_category { FeatureKind::Category } else { FeatureKind::Number }
}

/// Every way to combine two of the columns, the stronger one first.
fn combinations(features: &[Feature], strongest: &[usize]) -> Vec<Combination> {
    let pairs = strongest
        .iter()
        .enumerate()
        .flat_map(|(place, left)| strongest[place + 1..].iter().map(|right| (*left, *right)));
    let of_pair = |(left, right): (usize, usize)| {
        let kinds = [left, right].map(|place| features[place].source_kind);
        let operations = Operation::ALL.into_iter().filter(move |operation| operation.fits(kinds));
        operations.map(move |operation| Combination { left, right, operation })
    };
    pairs.flat_map(of_pair).collect()
}

/// What the small models are made of.
struct SmallModel<'a> {
    labels: &'a [f32],
    weights: Option<&'a [f32]>,
    threads: usize,
    seed: u32,
}

impl SmallModel<'_> {
    /// What the splits of each column gain.
    fn gains(&self, cells: &[Vec<f32>], kinds: &[FeatureKind]) -> Result<Vec<f32>> {
        let params = Params::parse(PARAMS)?;
        let named = |(place, kind): (usize, &FeatureKind)| MatrixFeature { name: place.to_string(), kind: *kind };
        let features: Vec<MatrixFeature> = kinds.iter().enumerate().map(named).collect();
        let threads = if cells.len() * self.labels.len() < CELLS_OF_A_THREAD { 1 } else { self.threads };
        let columns = cells.iter().map(|column| Column::from(column.as_slice())).collect();
        let batch = Batch { columns, labels: Some(self.labels), weights: self.weights };
        let options = QuantileOptions { max_bin: params.max_bin(), threads, reference: None };
        let matrix = DMatrix::quantile(&features, &batch, &options)?;
        let mut booster = Booster::new(&params.for_booster(threads, self.seed), &[&matrix])?;
        (0..ROUNDS).try_for_each(|round| booster.update(round, &matrix))?;
        gains::of_columns(&mut booster, cells.len())
    }
}

#[cfg(test)]
mod tests {
    use features::spec::{Monotone, Range};
    use ndarray::{Array2, ShapeBuilder};
    use xxhash_rust::xxh3::xxh3_64_with_seed;

    use super::*;

    const ROWS: usize = 2_000;

    /// Two numbers, one of whose names has a quotation mark, two dates, a flag and a category; the target is made of the first four.
    fn table(target: impl Fn([f32; 4]) -> f32) -> (Features, Rows) {
        let number = |row: usize, salt: usize| {
            let hash = xxh3_64_with_seed(&(row as u64).to_le_bytes(), salt as u64);
            (hash % 1_009) as f32 / 100.0 + 0.1
        };
        let column = |name: &str, kind: Kind, source_kind: ColumnKind| Feature {
            name: name.to_owned(),
            kind,
            source: FeatureSource::Column(name.to_owned()),
            source_kind,
        };
        let date = || Kind::Date { as_of: None };
        let features = vec![
            column("spend", Kind::Number, ColumnKind::Float),
            column("visits \"web\"", Kind::Number, ColumnKind::Integer),
            column("joined", date(), ColumnKind::Date),
            column("left", date(), ColumnKind::Date),
            column("flag", Kind::Number, ColumnKind::Boolean),
            column("town", Kind::Category { levels: vec!["a".into(), "b".into()] }, ColumnKind::Text),
        ];
        let mut train = Array2::zeros((ROWS, features.len()).f());
        for (place, mut cells) in train.columns_mut().into_iter().enumerate() {
            let is_flag = place >= 4;
            cells.iter_mut().enumerate().for_each(|(row, cell)| {
                *cell = if is_flag { (row % 2) as f32 } else { number(row, place) };
            });
        }
        let of_row = |row: usize| f64::from(target(std::array::from_fn(|place| train[[row, place]])));
        let rows = Rows {
            ids: (0..ROWS).map(|row| row.to_string()).collect(),
            places: (0..ROWS as u32).collect(),
            target: (0..ROWS).map(of_row).collect(),
            ..Rows::default()
        };
        let base = Features {
            features,
            statistics: Vec::new(),
            train,
            test: Array2::zeros((0, 6).f()),
            tallies: Vec::new(),
            hints: Vec::new(),
        };
        (base, rows)
    }

    fn proposed(spec: &Spec, (base, rows): &(Features, Rows), taken: &[&str]) -> Vec<(String, String)> {
        let proposer = Proposer { spec, base, rows, scale: TargetScale::default(), threads: 1, seed: 42 };
        let taken = taken.iter().map(|name| (*name).to_owned()).collect();
        let derived = proposer.propose(taken).unwrap();
        assert!(derived.len() <= MOST_DERIVED as usize);
        derived.iter().map(|one| (one.name().to_owned(), one.sql().to_owned())).collect()
    }

    #[test]
    fn the_ratio_that_makes_the_target_comes_first() {
        let table = table(|[spend, visits, ..]| spend / visits);
        let first = |taken: &[&str]| proposed(&Spec::default(), &table, taken).swap_remove(0);
        let (name, sql) = first(&[]);
        let ratio = |left: &str, right: &str| (format!("{left}_per_{right}"), format!("\"{left}\" / \"{right}\""));
        let (spend, visits) = ("spend", "visits \"web\"");
        let quoted = "visits \"\"web\"\"";
        let expected =
            [(ratio(spend, visits).0, ratio(spend, quoted).1), (ratio(visits, spend).0, ratio(quoted, spend).1)];
        assert!(expected.contains(&(name.clone(), sql.clone())), "{name}: {sql}");
        assert_eq!(first(&[&name]), (format!("{name}_"), sql));
    }

    #[test]
    fn of_two_dates_the_days_between_them_are_proposed_and_nothing_of_a_date_and_a_number() {
        let table = table(|[spend, _, joined, left]| (left - joined).abs() + 0.1 * spend);
        let derived = proposed(&Spec::default(), &table, &[]);
        assert!(["left_minus_joined", "joined_minus_left"].contains(&derived[0].0.as_str()), "{derived:?}");
        let of_dates = |(name, _): &&(String, String)| name.contains("joined") || name.contains("left");
        assert_eq!(derived.iter().filter(of_dates).count(), 1, "{derived:?}");
        assert!(derived.iter().all(|(name, _)| !name.contains("flag") && !name.contains("town")), "{derived:?}");
    }

    #[test]
    fn what_has_a_range_or_pushes_one_way_is_not_combined() {
        let table = table(|[spend, visits, ..]| spend / visits);
        let mut ranged = Spec::default();
        ranged.ranges.insert("spend".to_owned(), Range { min: Some(0.0), max: None });
        let mut monotone = Spec::default();
        monotone.monotone.insert("spend".to_owned(), Monotone::Increasing);
        for spec in [ranged, monotone] {
            assert!(proposed(&spec, &table, &[]).iter().all(|(name, _)| !name.contains("spend")), "{spec:?}");
        }
    }

    #[test]
    fn columns_whose_names_are_longer_than_an_expression_are_left_as_they_are() {
        let (mut base, rows) = table(|[spend, visits, ..]| spend / visits);
        for feature in &mut base.features[..2] {
            feature.name = feature.name.repeat(10_000);
            feature.source = FeatureSource::Column(feature.name.clone());
        }
        assert_eq!(proposed(&Spec::default(), &(base, rows), &[]), []);
    }

    #[test]
    fn nothing_is_proposed_where_single_columns_say_it_all() {
        let flat = |[spend, ..]: [f32; 4]| spend;
        assert_eq!(proposed(&Spec::default(), &table(flat), &[]), []);
    }
}
