//! What tuning searches through: XGBoost's parameters that the user did not set, each with its range and scale.
//!
//! A point has a number between 0 and 1 for each of them. Points are spread by Latin hypercube sampling (McKay, Beckman,
//! Conover, "A Comparison of Three Methods for Selecting Values of Input Variables", 1979): of every [`BLOCK`] of them each
//! lies in another part of every range. Or they lie near a point that did well. All of them follow from the seed.

use error::Result;
use xgboost::Params;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::scale::{TargetScale, counting};
use crate::read::Rows;

/// Keeps these random numbers apart from every other use of the seed.
const SEED_OFFSET: u64 = 0x5eed_0004;
/// So many points divide every range among them.
const BLOCK: u64 = 16;
/// The share of the range in which a parameter that may be off is 0.
const OFF: f64 = 0.4;
/// How far from a point its neighbours lie, at first.
const REACH: f64 = 0.3;
/// After so many of them it is half of that.
const HALF_REACH: f64 = 20.0;

/// How a parameter's range is divided.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Scale {
    /// Whole numbers.
    Whole,
    Linear,
    Logarithmic,
    /// The same, or 0.
    OffOrLogarithmic,
}

/// A parameter that is searched for.
#[derive(Debug, Clone, PartialEq)]
struct Dimension {
    name: &'static str,
    scale: Scale,
    low: f64,
    high: f64,
    /// XGBoost's value where none is given.
    default: f64,
}

impl Dimension {
    fn value(&self, unit: f64) -> f64 {
        let Self { low, high, .. } = *self;
        match self.scale {
            Scale::Whole => (low + unit * (high - low + 1.0)).floor().min(high),
            Scale::Linear => low + unit * (high - low),
            Scale::Logarithmic => low * (high / low).powf(unit),
            Scale::OffOrLogarithmic if unit < OFF => 0.0,
            Scale::OffOrLogarithmic => low * (high / low).powf((unit - OFF) / (1.0 - OFF)),
        }
    }

    fn unit(&self, value: f64) -> f64 {
        let Self { low, high, .. } = *self;
        let unit = match self.scale {
            Scale::Whole => (value - low + 0.5) / (high - low + 1.0),
            Scale::Linear => (value - low) / (high - low),
            Scale::Logarithmic => (value / low).ln() / (high / low).ln(),
            Scale::OffOrLogarithmic if value <= 0.0 => OFF / 2.0,
            Scale::OffOrLogarithmic => OFF + (1.0 - OFF) * (value / low).ln() / (high / low).ln(),
        };
        if unit.is_finite() { unit.clamp(0.0, 1.0) } else { 0.5 }
    }
}

/// The parameters that are searched for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Space {
    dimensions: Vec<Dimension>,
    seed: u64,
}

impl Space {
    /// What the user left open. Learning is not slower than `slowest_eta`, and trees have at most `most_nodes`.
    pub(super) fn new(
        user: &Params,
        rows: &Rows,
        scale: TargetScale,
        (slowest_eta, most_nodes): (f64, u64),
        seed: u32,
    ) -> Self {
        let Units { weight, gradient, loss } = Units::of(user.objective(), rows, scale);
        let is_shaped = ["grow_policy", "max_leaves"].iter().any(|name| user.get(name).is_some());
        let dimension = |name, scale, low, high, default| Dimension { name, scale, low, high, default };
        let all = [
            dimension("max_depth", Scale::Whole, 3.0, f64::from(most_nodes.ilog2()), 6.0),
            dimension("eta", Scale::Logarithmic, slowest_eta, 0.2, 0.3),
            dimension("subsample", Scale::Linear, 0.5, 1.0, 1.0),
            dimension("colsample_bynode", Scale::Linear, 0.2, 1.0, 1.0),
            dimension("min_child_weight", Scale::Logarithmic, 0.5 * weight, 64.0 * weight, 1.0),
            dimension("lambda", Scale::Logarithmic, 0.1 * weight, 30.0 * weight, 1.0),
            dimension("alpha", Scale::OffOrLogarithmic, 0.003 * gradient, 3.0 * gradient, 0.0),
            dimension("gamma", Scale::OffOrLogarithmic, 0.0003 * loss, 0.3 * loss, 0.0),
        ];
        let is_open = |one: &Dimension| match one.name {
            "max_depth" => user.get(one.name).is_none() && !is_shaped,
            "colsample_bynode" => user.get(one.name).is_none() && user.get("tree_method") != Some("exact"),
            name => user.get(name).is_none(),
        };
        Self { dimensions: all.into_iter().filter(is_open).collect(), seed: u64::from(seed).wrapping_add(SEED_OFFSET) }
    }

    /// Whether there is nothing to search for.
    pub(super) fn is_empty(&self) -> bool {
        self.dimensions.is_empty()
    }

    /// The parameters at a point, over `base`.
    ///
    /// # Errors
    /// [`error::Error::Setting`] for a value that is none.
    pub(super) fn params(&self, point: &[f64], base: &Params) -> Result<Params> {
        let mut params = base.clone();
        for (dimension, unit) in self.dimensions.iter().zip(point) {
            params.set(dimension.name, &short(dimension.value(*unit)))?;
        }
        Ok(params)
    }

    /// Where some parameters lie.
    pub(super) fn point(&self, params: &Params) -> Vec<f64> {
        let of = |dimension: &Dimension| {
            let given = params.get(dimension.name).and_then(|value| value.parse().ok());
            // Where leaves are counted, depth 0 is none.
            let given = given.filter(|value| dimension.name != "max_depth" || *value > 0.0);
            dimension.unit(given.unwrap_or(dimension.default))
        };
        self.dimensions.iter().map(of).collect()
    }

    /// The point `number` of those that are spread over all of the space.
    pub(super) fn spread(&self, number: u64) -> Vec<f64> {
        let (block, place) = (number / BLOCK, number % BLOCK);
        let coordinate = |dimension: usize| {
            let draw = |point: u64| self.uniform(block * BLOCK + point, dimension as u64, 4);
            let part = (0..BLOCK).filter(|other| draw(*other) < draw(place)).count();
            (part as f64 + self.uniform(number, dimension as u64, 0)) / BLOCK as f64
        };
        (0..self.dimensions.len()).map(coordinate).collect()
    }

    /// The neighbour `number` of a point: some of its coordinates, moved.
    pub(super) fn near(&self, point: &[f64], number: u64) -> Vec<f64> {
        let reach = REACH / (1.0 + number as f64 / HALF_REACH);
        let draw = |place: usize, salt: u64| self.uniform(number + 1, place as u64, salt);
        let always = (draw(point.len(), 3) * point.len() as f64) as usize;
        let moved = |(place, &at): (usize, &f64)| {
            if place != always && draw(place, 1) < 0.5 {
                return at;
            }
            let to = at + reach * (2.0 * draw(place, 2) - 1.0);
            // Reflected at the ends, so that they are no more likely than what lies between.
            let to = if to < 0.0 { -to } else { to };
            if to > 1.0 { 2.0 - to } else { to }
        };
        point.iter().enumerate().map(moved).collect()
    }

    fn uniform(&self, number: u64, place: u64, salt: u64) -> f64 {
        let bytes = [number, place, salt].map(u64::to_le_bytes).concat();
        (xxh3_64_with_seed(&bytes, self.seed) >> 11) as f64 / 2_f64.powi(53)
    }
}

/// What regularisation is measured in, so that the same ranges serve targets and weights of any size.
struct Units {
    /// A row's weight.
    weight: f64,
    /// A row's gradient: with squared errors the target's spread, else about 1.
    gradient: f64,
    /// What a row may add to the gain of a split.
    loss: f64,
}

impl Units {
    /// `scale` says in which units the target is usual; the units given are those of the target itself.
    fn of(objective: &str, rows: &Rows, scale: TargetScale) -> Self {
        let count = rows.len().max(1) as f64;
        let counted = counting(rows).count().max(1) as f64;
        let mean = counting(rows).sum::<f64>() / counted;
        let variance = counting(rows).map(|target| (target - mean).powi(2)).sum::<f64>() / counted;
        let is_squared = objective == "reg:squarederror";
        let spread = if is_squared { variance.sqrt() * scale.factor() } else { 1.0 };
        let weights = rows.weights.as_ref();
        let weight =
            weights.map_or(1.0, |weights| weights.iter().map(|weight| f64::from(*weight)).sum::<f64>() / count);
        let usable = |unit: f64| if unit.is_finite() { unit.clamp(1e-12, 1e12) } else { 1.0 };
        let (weight, spread) = (usable(weight), usable(spread));
        let (gradient, loss) = (weight * spread, usable(weight * spread * spread));
        Self { weight, gradient: gradient / scale.factor(), loss: loss / scale.factor().powi(2) }
    }
}

/// A number with three digits that count: what differs less makes no other model worth a trial.
fn short(value: f64) -> String {
    format!("{value:.2e}").parse().unwrap_or(value).to_string()
}

#[cfg(test)]
mod tests {
    use super::super::histograms;
    use super::*;

    fn rows(scale: f64) -> Rows {
        let target = (0..100).map(|row| scale * f64::from(row)).collect();
        Rows { ids: (0..100).map(|id| id.to_string()).collect(), target, ..Rows::default() }
    }

    fn space(user: &[(&str, &str)], scale: f64) -> Space {
        let user = Params::parse(user.iter().copied()).unwrap();
        Space::new(&user, &rows(scale), TargetScale::default(), (0.02, histograms::MOST_NODES), 42)
    }

    #[test]
    fn what_the_user_set_is_not_searched_for() {
        let searched = |user: &[(&str, &str)]| {
            let names: Vec<&str> = space(user, 1.0).dimensions.iter().map(|one| one.name).collect();
            names.join(" ")
        };
        let all = "max_depth eta subsample colsample_bynode min_child_weight lambda alpha gamma";
        assert_eq!(searched(&[]), all);
        assert_eq!(
            searched(&[("learning_rate", "0.1"), ("max_leaves", "20"), ("reg_lambda", "2")]),
            "subsample colsample_bynode min_child_weight alpha gamma"
        );
        assert!(!searched(&[("tree_method", "exact")]).contains("colsample_bynode"));
    }

    #[test]
    fn every_point_is_inside_the_ranges_and_xgboost_takes_it() {
        for scale in [1e-30, 1.0, 1e15, 0.0] {
            let space = space(&[], scale);
            let base = Params::parse([("objective", "reg:squarederror")]).unwrap();
            for number in 0..200 {
                let spread = space.spread(number);
                for point in [space.near(&spread, number), spread] {
                    assert!(point.iter().all(|unit| (0.0..=1.0).contains(unit)), "{point:?}");
                    let params = space.params(&point, &base).unwrap();
                    let depth: u32 = params.get("max_depth").unwrap().parse().unwrap();
                    assert!((3..=9).contains(&depth));
                    if number % 50 == 0 {
                        let kind = xgboost::FeatureKind::Number;
                        let feature = xgboost::Feature { name: "x".to_owned(), kind };
                        xgboost::dry_run(&params, &[feature]).unwrap();
                    }
                }
            }
        }
    }

    #[test]
    fn parameters_lie_where_they_came_from() {
        let space = space(&[], 3.0);
        for number in 0..100 {
            let params = space.params(&space.spread(number), &Params::default()).unwrap();
            assert_eq!(space.params(&space.point(&params), &Params::default()).unwrap(), params);
        }
        let default = space.params(&space.point(&Params::default()), &Params::default()).unwrap();
        let named: Vec<(&str, &str)> = default.iter().filter(|(name, _)| *name != "eta").collect();
        let expected = [("alpha", "0"), ("colsample_bynode", "1"), ("gamma", "0"), ("lambda", "1"), ("max_depth", "6")];
        assert_eq!(named, [expected.as_slice(), &[("min_child_weight", "1"), ("subsample", "1")]].concat());
    }

    #[test]
    fn few_points_cover_every_range() {
        let space = space(&[], 1.0);
        for place in 0..space.dimensions.len() {
            for block in 0..3 {
                let mut parts: Vec<u64> = (0..BLOCK)
                    .map(|number| (space.spread(block * BLOCK + number)[place] * BLOCK as f64) as u64)
                    .collect();
                parts.sort_unstable();
                assert_eq!(parts, (0..BLOCK).collect::<Vec<_>>(), "{}", space.dimensions[place].name);
            }
        }
        assert_ne!(space.spread(0)[0], space.spread(BLOCK)[0]);
    }

    #[test]
    fn neighbours_come_closer_and_points_follow_from_the_seed() {
        let (space, middle) = (space(&[], 1.0), vec![0.5; 8]);
        let distance = |number: u64| {
            let near = space.near(&middle, number);
            near.iter().map(|unit| (unit - 0.5).abs()).fold(0.0, f64::max)
        };
        assert!((0..200).all(|number| distance(number) > 0.0 && distance(number) <= REACH));
        assert!((100..200).all(|number| distance(number) < REACH / 5.0));
        let other = Space { seed: space.seed + 1, ..space.clone() };
        assert_ne!(space.spread(1), other.spread(1));
        assert_eq!(space.spread(1), space.clone().spread(1));
    }
}
