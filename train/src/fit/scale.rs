//! The power of two that targets are multiplied by before XGBoost sees them, where it could not learn from them as they are.
//!
//! XGBoost takes no split that gains less than 10⁻⁶ (`kRtEps`), whatever the target's units, and overflows on sums of squares.
//! So R² falls with the target's spread: on 400 to 40,000 rows it was the same to the third digit down to a spread of
//! 2⁻⁶, had lost up to 0.008 at 2⁻⁷, 0.02 at 2⁻⁸, 0.07 at 2⁻¹⁰, and was 0 from 2⁻¹⁶ on; at the other end it fell from
//! 2⁶⁰ on and was 0 from 2⁷⁰ on, in Python as here. A power of two changes no bit of a float's digits, and the objectives
//! below give the same trees for scaled targets: what is trained on scaled targets is brought back exactly.

use error::{Error, Result};
use scoring::{power_of_two, rescale};
use xgboost::Params;

use crate::read::Rows;

/// Objectives for which twice the target gives twice the prediction. For the others it does not: they have a link, a logarithm
/// or a slope in the target's units.
const EQUIVARIANT: [&str; 4] = ["reg:squarederror", "reg:absoluteerror", "reg:quantileerror", "reg:expectileerror"];
/// Metrics that are in the target's units, so that they scale with it.
const METRICS_OF_TARGET: [&str; 4] = ["rmse", "mae", "quantile", "expectile"];
/// Metrics that are shares of the target, so that they do not change.
const METRICS_OF_SHARES: [&str; 1] = ["mape"];
/// Parameters in the target's units, and the power of the target that each of them is.
const PARAMS_OF_TARGET: [(&str, i32); 4] = [("base_score", 1), ("alpha", 1), ("max_delta_step", 1), ("gamma", 2)];

/// Targets of a spread from 2 to the power of the first to 2 to the power of the second are left as they are. The sum of 2³²
/// gradients of the greatest spread has a square that 32-bit floats hold.
const USUAL: (i32, i32) = (-6, 30);
/// Scaled targets have a spread from 2 to this power to twice that: far from either end.
const AIM: i32 = 10;
/// A spread below 2 to this power leaves predictions too few digits as 32-bit floats.
const LEAST: i32 = -100;
/// Targets that lie further apart than 2 to this power leave predictions no room as 32-bit floats.
const MOST: i32 = 125;
/// Labels of rows of weight 0 lie within this bound on either side. Squares of them, which metrics take, have room in a 32-bit
/// float.
const BOUND: f64 = 1e18;
/// A sum of weighted targets above 2 to this power has a square beyond 32-bit floats.
const MOST_SUM: i32 = 62;
/// Where 32-bit floats tell fewer than so many values apart within the target's spread, that is said.
const COARSE: f64 = 1000.0;

/// The power of two that targets are multiplied by; nearly always 2⁰.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TargetScale {
    exponent: i32,
}

/// How the target of some rows is seen by XGBoost.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TargetView {
    /// What it is multiplied by.
    pub scale: TargetScale,
    /// What is to be said about it.
    pub warning: Option<String>,
}

impl TargetView {
    /// Finds out how XGBoost is to see the targets of the rows to train on. `target` is their name, `location` where they lie.
    ///
    /// # Errors
    /// [`Error::Data`] where 32-bit floats have no room for the targets, or do not tell them apart.
    pub fn of(params: &Params, rows: &Rows, target: &str, location: &str) -> Result<Self> {
        let Some(spread) = Spread::of(rows) else {
            let warning = counting(rows).next().map(|only| {
                format!("{location}: the target \"{target}\" is {only} in every training row: the model can only predict that")
            });
            return Ok(Self { warning, ..Self::default() });
        };
        spread.check(target, location)?;
        let exponent = spread.exponent();
        if (USUAL.0..USUAL.1).contains(&exponent) {
            return Ok(Self { scale: TargetScale::default(), warning: spread.coarse(target, location) });
        }
        if learns_from_any(params.objective(), exponent) {
            return Ok(Self { scale: TargetScale::default(), warning: spread.coarse(target, location) });
        }
        if let Some(reason) = hindrance(params) {
            let tens = power_of_ten(1.0 / spread.deviation);
            let what = if exponent < 0 { "so small" } else { "so large" };
            return Ok(Self {
                scale: TargetScale::default(),
                warning: Some(format!(
                    "the target \"{target}\" has a spread (standard deviation) of {:e}, {what} that XGBoost learns little or nothing \
                     from it, and {reason}: multiply the target by {tens:e} before training, and divide predictions by it",
                    spread.deviation
                )),
            });
        }
        let scale = TargetScale { exponent: AIM - exponent };
        scale.check(params)?;
        tracing::info!(
            spread = spread.deviation,
            exponent = scale.exponent,
            "XGBoost cannot learn from a target of this spread: it is given \"{target}\" times 2^{} and the model is brought back, \
             exactly; all figures are in the target's own units",
            scale.exponent
        );
        Ok(Self { scale, warning: spread.coarse(target, location) })
    }
}

/// What is to be said about weights that leave XGBoost nothing to do: a split needs weights of `min_child_weight` on either side, and
/// sums of weighted targets are squared in 32-bit floats.
#[must_use]
pub fn unfit_weights(params: &Params, rows: &Rows, scale: TargetScale) -> Option<String> {
    let sum: f64 = rows.weights.as_ref()?.iter().map(|weight| f64::from(*weight)).sum();
    let least = params.get("min_child_weight").and_then(|weight| weight.parse::<f64>().ok()).unwrap_or(1.0);
    let spread = Spread::of(rows)?.deviation * scale.factor();
    if sum < 2.0 * least {
        let tens = power_of_ten(rows.target.len() as f64 / sum);
        return Some(format!(
            "the weights of all training rows add up to {sum:e}, and XGBoost splits only where there are weights of {least} \
             (\"min_child_weight\") on either side, so that it learns nothing: multiply the weights by {tens:e}"
        ));
    }
    (sum * spread > power_of_two(MOST_SUM)).then(|| {
        format!(
            "the weights of all training rows add up to {sum:e}, so much that sums of squares have no room in 32-bit floats, which XGBoost \
             computes with: divide the weights by {:e}",
            power_of_ten(sum / rows.target.len() as f64)
        )
    })
}

/// The power of ten that is nearest to a number.
fn power_of_ten(number: f64) -> f64 {
    10_f64.powi(number.log10().round() as i32)
}

/// Objectives that learn from targets of this spread as they are: their gradients are shares of the prediction, or grow with it.
fn learns_from_any(objective: &str, exponent: i32) -> bool {
    objective == "reg:gamma" || exponent > 0 && matches!(objective, "reg:tweedie" | "count:poisson")
}

/// Why targets with these parameters may not be scaled, for the end of a sentence.
fn hindrance(params: &Params) -> Option<String> {
    let objective = params.objective();
    if !EQUIVARIANT.contains(&objective) {
        return Some(format!(
            "objective {objective:?} means something else for a scaled target, so the program does not scale it"
        ));
    }
    let metric = params.get("eval_metric");
    if let Some(metric) = metric.filter(|name| !METRICS_OF_TARGET.contains(name) && !METRICS_OF_SHARES.contains(name)) {
        return Some(format!(
            "\"eval_metric\" {metric:?} means something else for a scaled target, so the program does not scale it"
        ));
    }
    let weight = params.get("scale_pos_weight").filter(|weight| weight.parse() != Ok(1.0_f64));
    weight.map(|_| "\"scale_pos_weight\" looks for targets of 1, so the program does not scale it".to_owned())
}

impl TargetScale {
    /// Whether targets are left as they are.
    #[must_use]
    pub fn is_none(self) -> bool {
        self.exponent == 0
    }

    /// What targets are multiplied by: a power of two.
    #[must_use]
    pub fn factor(self) -> f64 {
        power_of_two(self.exponent)
    }

    /// The target of a row as XGBoost sees it. The target of a row of weight 0 has no part in the scale and may lie far outside
    /// of it, so it is held within a bound: an infinite square times 0 is no number.
    #[must_use]
    pub fn label(self, rows: &Rows, row: usize) -> f32 {
        let scaled = rows.target[row] * self.factor();
        (if rows.has_weight(row) { scaled } else { scaled.clamp(-BOUND, BOUND) }) as f32
    }

    /// A margin of XGBoost's in the target's own units.
    #[must_use]
    pub fn margin(self, margin: f32) -> f32 {
        if self.is_none() { margin } else { (f64::from(margin) / self.factor()) as f32 }
    }

    /// A metric of XGBoost's in the target's own units.
    #[must_use]
    pub fn metric(self, name: &str, value: f64) -> f64 {
        if METRICS_OF_SHARES.contains(&name) { value } else { value / self.factor() }
    }

    /// Parameters that stand for the target's own units, as XGBoost is given them.
    ///
    /// # Errors
    /// [`Error::Setting`] where XGBoost has no such parameters.
    pub fn params(self, params: &Params) -> Result<Params> {
        let mut scaled = params.clone();
        if self.is_none() {
            return Ok(scaled);
        }
        for (name, power) in PARAMS_OF_TARGET {
            let Some(value) = params.get(name).and_then(|value| value.parse::<f64>().ok()) else { continue };
            let value = value * self.factor().powi(power);
            // What is beyond 32-bit floats is as good as their greatest, and 0 would turn a limit off.
            let value = value.clamp(-f64::from(f32::MAX), f64::from(f32::MAX));
            let vanishes = value != 0.0 && value.abs() < f64::from(f32::MIN_POSITIVE);
            let value = if vanishes { f64::from(f32::MIN_POSITIVE).copysign(value) } else { value };
            scaled.set(name, &value.to_string())?;
        }
        Ok(scaled)
    }

    /// The bytes of a model of scaled targets as those of one in the target's own units.
    ///
    /// # Errors
    /// [`Error::Data`] where 32-bit floats have no room for it.
    pub fn model(self, model: Vec<u8>) -> Result<Vec<u8>> {
        if self.is_none() {
            return Ok(model);
        }
        rescale(&model, -self.exponent).map_err(|error| {
            Error::Data(format!(
                "the model has no room in 32-bit floats in the target's own units: {error}; divide the target by a power of ten"
            ))
        })
    }

    /// A base score that the user gave has to be exact where it is scaled.
    fn check(self, params: &Params) -> Result<()> {
        let given = params.get("base_score").and_then(|score| score.parse::<f64>().ok());
        let scaled = given.map_or(0.0, |score| score * self.factor());
        let fits = scaled == 0.0 || (scaled as f32).is_finite() && scaled.abs() >= f64::from(f32::MIN_POSITIVE);
        if fits {
            return Ok(());
        }
        Err(Error::Setting(format!(
            "\"base_score\" {} is too far from the target, whose spread is near {:e}: leave it out",
            given.unwrap_or_default(),
            power_of_two(AIM - self.exponent)
        )))
    }
}

/// The targets of rows that have a weight.
pub(super) fn counting(rows: &Rows) -> impl Iterator<Item = f64> {
    (0..rows.target.len()).filter(|&row| rows.has_weight(row)).map(|row| rows.target[row])
}

/// The weighted mean of the targets: where XGBoost begins with squared errors.
pub(super) fn mean_target(rows: &Rows) -> f64 {
    let weight = |row: usize| rows.weights.as_ref().map_or(1.0, |weights| f64::from(weights[row]));
    let sum = |value: &dyn Fn(usize) -> f64| (0..rows.target.len()).map(|row| weight(row) * value(row)).sum::<f64>();
    // A target may be out of all bounds where its weight is nil.
    sum(&|row| if rows.has_weight(row) { rows.target[row] } else { 0.0 }) / sum(&|_| 1.0)
}

/// How far apart targets lie.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Spread {
    least: f64,
    most: f64,
    /// Their standard deviation, above 0.
    deviation: f64,
    /// Whether they differ as 32-bit floats.
    differ: bool,
}

impl Spread {
    /// The spread of the targets of rows that have a weight: the others teach nothing. None where all of these targets are
    /// the same, or there are none.
    fn of(rows: &Rows) -> Option<Self> {
        let first = counting(rows).next()?;
        let (least, most, count) = counting(rows).fold((first, first, 0_usize), |(least, most, count), target| {
            (least.min(target), most.max(target), count + 1)
        });
        // In units of the range: squares of very small and very large numbers have no room in a float either.
        let range = most - least;
        let places = || counting(rows).map(|target| (target - least) / range);
        let mean = places().sum::<f64>() / count as f64;
        let variance = places().map(|place| (place - mean).powi(2)).sum::<f64>() / count as f64;
        let differ = counting(rows).any(|target| target as f32 != first as f32);
        let deviation = variance.sqrt() * range;
        (deviation > 0.0 && deviation.is_finite()).then_some(Self { least, most, deviation, differ })
    }

    /// The power of two that is just below it.
    fn exponent(&self) -> i32 {
        self.deviation.log2().floor() as i32
    }

    fn check(&self, target: &str, location: &str) -> Result<()> {
        let Self { least, most, deviation, differ } = *self;
        let refused = |text: String| Err(Error::Data(format!("{location}: the target \"{target}\" {text}")));
        if most - least > power_of_two(MOST) {
            return refused(format!(
                "goes from {least:e} to {most:e}, which leaves predictions no room in 32-bit floats: divide it by a power of \
                 ten, or leave out rows that have a placeholder for a value"
            ));
        }
        if deviation < power_of_two(LEAST) {
            return refused(format!(
                "has a spread (standard deviation) of {deviation:e}, which leaves predictions too few digits as 32-bit floats, \
                 which XGBoost computes with: multiply it by a power of ten"
            ));
        }
        if !differ {
            return refused(format!(
                "goes from {least} to {most}, and as 32-bit floats, which XGBoost computes with, all of that is the same \
                 number: subtract {least} from it"
            ));
        }
        Ok(())
    }

    /// A word about targets that lie so far from 0 that 32-bit floats hardly tell them apart.
    fn coarse(&self, target: &str, location: &str) -> Option<String> {
        let far = self.least.abs().max(self.most.abs());
        let step = far * f64::from(f32::EPSILON) / 2.0;
        (self.deviation < COARSE * step).then(|| {
            format!(
                "{location}: the target \"{target}\" goes from {} to {}; XGBoost computes with 32-bit floats, which there \
                 are {step:e} apart: subtract {} from it to keep its digits",
                self.least, self.most, self.least
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(targets: impl IntoIterator<Item = f64>) -> Rows {
        let target: Vec<f64> = targets.into_iter().collect();
        Rows { ids: (0..target.len()).map(|id| id.to_string()).collect(), target, ..Rows::default() }
    }

    /// Targets from 0 to 99 times a factor: of a spread of 28.9 times that.
    fn times(factor: f64) -> Rows {
        rows((0..100).map(|row| f64::from(row) * factor))
    }

    fn params(pairs: &[(&str, &str)]) -> Params {
        Params::parse(pairs.iter().copied()).unwrap()
    }

    fn view(pairs: &[(&str, &str)], rows: &Rows) -> Result<TargetView> {
        TargetView::of(&params(pairs), rows, "y", "data")
    }

    #[test]
    fn usual_targets_are_left_as_they_are() {
        for factor in [1.0, 2_f64.powi(-10), 2_f64.powi(25), 1e7, 0.001] {
            assert_eq!(view(&[], &times(factor)).unwrap(), TargetView::default(), "{factor}");
        }
        assert_eq!(view(&[], &rows([])).unwrap(), TargetView::default());
        for (constant, value) in [(rows([3.0; 5]), "3"), (rows([0.25]), "0.25")] {
            let TargetView { scale, warning } = view(&[], &constant).unwrap();
            let expected =
                format!("data: the target \"y\" is {value} in every training row: the model can only predict that");
            assert_eq!((scale, warning), (TargetScale::default(), Some(expected)));
        }
        let scale = TargetScale::default();
        let tiny = f64::from(f32::MIN_POSITIVE) / 3.0;
        let two = rows([0.1, tiny]);
        assert_eq!((scale.label(&two, 0), scale.label(&two, 1), scale.margin(0.1)), (0.1, tiny as f32, 0.1));
        assert_eq!(scale.params(&params(&[("gamma", "0.10")])).unwrap(), params(&[("gamma", "0.10")]));
    }

    #[test]
    fn other_targets_come_near_the_aim() {
        for power in [-95, -60, -40, -11, 26, 60, 110] {
            let rows = times(2_f64.powi(power));
            let TargetView { scale, warning } = view(&[], &rows).unwrap();
            // 28.9 is 2 to the power of 4.85.
            assert_eq!((scale.exponent, warning), (AIM - power - 4, None), "{power}");
            let labels: Vec<f32> = (0..100).map(|row| scale.label(&rows, row)).collect();
            assert_eq!(labels[3], 3.0 * 64.0);
            assert_eq!(f64::from(scale.margin(labels[3])), rows.target[3]);
            assert_eq!([scale.metric("rmse", 64.0), scale.metric("mape", 64.0)], [2_f64.powi(power), 64.0]);
        }
    }

    #[test]
    fn rows_of_weight_0_have_no_part_in_the_scale_and_finite_labels() {
        let power = 2_f64.powi(-100);
        let mut with = times(power);
        with.target.extend([-999.0, 3e38]);
        with.weights = Some([vec![1.0; 100], vec![0.0; 2]].concat());
        let TargetView { scale, warning } = view(&[], &with).unwrap();
        assert_eq!((scale, warning), (view(&[], &times(power)).unwrap().scale, None));
        assert!(!scale.is_none());
        let labels: Vec<f32> = (0..102).map(|row| scale.label(&with, row)).collect();
        assert!(labels.iter().all(|label| (label * label).is_finite()), "{labels:?}");
        assert_eq!(unfit_weights(&params(&[]), &with, scale), None);
        let constant = Rows { weights: Some(vec![1.0, 1.0, 0.0]), ..rows([3.0, 3.0, 8.0]) };
        assert!(view(&[], &constant).unwrap().warning.unwrap().contains("is 3 in every training row"));
    }

    #[test]
    fn parameters_in_the_targets_units_are_scaled_with_it() {
        let scale = TargetScale { exponent: 20 };
        let own = params(&[
            ("gamma", "0.5"),
            ("alpha", "3"),
            ("lambda", "2"),
            ("base_score", "-0.25"),
            ("max_delta_step", "0"),
        ]);
        let scaled = scale.params(&own).unwrap();
        let number = |name: &str| scaled.get(name).unwrap().parse::<f64>().unwrap();
        assert_eq!(["gamma", "alpha", "lambda"].map(number), [0.5 * 2_f64.powi(40), 3.0 * 2_f64.powi(20), 2.0]);
        assert_eq!(["base_score", "max_delta_step"].map(number), [-0.25 * 2_f64.powi(20), 0.0]);
        let far = TargetScale { exponent: 100 }.params(&own).unwrap();
        assert_eq!(far.get("gamma").unwrap().parse(), Ok(f32::MAX));
        let near = TargetScale { exponent: -120 }.params(&own).unwrap();
        assert_eq!(near.get("gamma").unwrap().parse(), Ok(f32::MIN_POSITIVE));
    }

    #[test]
    fn what_means_something_else_for_a_scaled_target_is_named() {
        let small = times(1e-9);
        for objective in ["count:poisson", "reg:tweedie", "reg:squaredlogerror", "reg:pseudohubererror", "reg:logistic"]
        {
            let TargetView { scale, warning } = view(&[("objective", objective)], &small).unwrap();
            let warning = warning.unwrap();
            assert!(scale.is_none() && warning.contains(objective) && warning.contains("by 1e8 before"), "{warning}");
        }
        let named = |pairs: &[(&str, &str)]| view(pairs, &small).unwrap().warning.unwrap();
        assert!(named(&[("eval_metric", "rmsle")]).contains("\"eval_metric\" \"rmsle\""));
        assert!(named(&[("scale_pos_weight", "2")]).contains("scale_pos_weight"));
        for fine in [("eval_metric", "mape"), ("scale_pos_weight", "1"), ("objective", "reg:absoluteerror")] {
            assert!(!view(&[fine], &small).unwrap().scale.is_none(), "{fine:?}");
        }
        for objective in ["count:poisson", "reg:gamma"] {
            let fine = view(&[("objective", objective)], &times(1e12)).unwrap();
            assert_eq!(fine, TargetView::default(), "{objective}");
        }
    }

    #[test]
    fn targets_without_room_in_small_floats_are_refused_with_what_to_do() {
        let refused = |rows: &Rows| {
            let error = view(&[], rows).unwrap_err();
            assert_eq!(error.exit_code(), 4);
            error.to_string()
        };
        assert!(refused(&times(1e-42)).contains("multiply it by a power of ten"));
        assert!(refused(&times(3e36)).contains("divide it by a power of ten"));
        let same = refused(&rows((0..100).map(|row| 1e9 + f64::from(row) / 10.0)));
        assert!(
            same.contains("from 1000000000 to 1000000009.9") && same.contains("subtract 1000000000 from it"),
            "{same}"
        );
        let far = view(&[("base_score", "1e30")], &times(1e-20)).unwrap_err();
        assert_eq!(far.exit_code(), 2);
        assert!(far.to_string().contains("\"base_score\" 1"), "{far}");
    }

    #[test]
    fn weights_that_leave_nothing_to_learn_are_named() {
        let warned = |weight: f32, pairs: &[(&str, &str)]| {
            let rows = Rows { weights: Some(vec![weight; 100]), ..times(1.0) };
            unfit_weights(&params(pairs), &rows, TargetScale::default())
        };
        assert_eq!([0.03, 1.0, 1e12].map(|weight| warned(weight, &[])), [None, None, None]);
        let shares = warned(0.01, &[]).unwrap();
        assert!(shares.contains("add up to 9.99") && shares.contains("multiply the weights by 1e2"), "{shares}");
        assert_eq!(warned(0.01, &[("min_child_weight", "0.1")]), None);
        assert!(warned(1.0, &[("min_child_weight", "60")]).unwrap().contains("weights of 60"));
        let huge = warned(1e38, &[]).unwrap();
        assert!(huge.contains("divide the weights by 1e38"), "{huge}");
        assert_eq!(unfit_weights(&params(&[]), &times(1.0), TargetScale::default()), None);
    }

    #[test]
    fn targets_far_from_0_that_small_floats_hardly_tell_apart_are_named() {
        let warning = view(&[], &rows((0..100).map(|row| 1e9 + f64::from(row) * 10.0))).unwrap().warning.unwrap();
        assert!(warning.contains("subtract 1000000000 from it to keep its digits"), "{warning}");
        assert_eq!(view(&[], &rows((0..100).map(|row| 1e6 + f64::from(row) * 10.0))).unwrap(), TargetView::default());
    }
}
