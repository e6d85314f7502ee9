//! The objectives whose predictions can be had bit for bit: how the base score becomes the margin that the trees are
//! added to, and how the margin becomes the prediction.
//!
//! Formulas and the order of operations are those of XGBoost 3.4 (`src/objective/regression_loss.h`,
//! `src/objective/regression_obj.cu`, `src/common/math.h`). `exp` and `log` are the C library's `expf` and `logf`, as in
//! XGBoost, so both give the same bits where both run in one process.

/// What stands between the sum of the leaves and the prediction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// The prediction is the sum.
    Identity,
    /// The prediction is `1 / (1 + exp(-sum))`.
    Logistic,
    /// The prediction is `exp(sum)`.
    Exponential,
}

impl Link {
    /// The link of XGBoost's objective `name`; none where this program does not know it. An objective of several
    /// outputs, such as quantiles of more than one alpha, is told by the model's number of outputs, not here.
    #[must_use]
    pub fn of_objective(name: &str) -> Option<Self> {
        match name {
            "reg:squarederror"
            | "reg:squaredlogerror"
            | "reg:absoluteerror"
            | "reg:pseudohubererror"
            | "reg:quantileerror"
            | "reg:expectileerror"
            | "binary:logitraw" => Some(Self::Identity),
            "reg:logistic" | "binary:logistic" => Some(Self::Logistic),
            "count:poisson" | "reg:gamma" | "reg:tweedie" => Some(Self::Exponential),
            _ => None,
        }
    }

    /// The margin of a base score (`ProbToMargin`).
    #[must_use]
    pub fn margin(self, base_score: f32) -> f32 {
        match self {
            Self::Identity => base_score,
            Self::Logistic => logit(base_score),
            Self::Exponential => base_score.ln(),
        }
    }

    /// Turns margins into predictions in place (`PredTransform`).
    pub fn transform(self, margins: &mut [f32]) {
        match self {
            Self::Identity => {}
            Self::Logistic => margins.iter_mut().for_each(|margin| *margin = sigmoid(*margin)),
            Self::Exponential => margins.iter_mut().for_each(|margin| *margin = margin.exp()),
        }
    }
}

/// XGBoost keeps base scores this far from 0 and 1 (`kRtEps`).
const BASE_SCORE_EPSILON: f32 = 1e-6;

fn logit(base_score: f32) -> f32 {
    let bounded = base_score.clamp(BASE_SCORE_EPSILON, 1.0 - BASE_SCORE_EPSILON);
    -(1.0 / bounded - 1.0).ln()
}

fn sigmoid(margin: f32) -> f32 {
    /// Beyond it `exp` overflows.
    const MAX_EXPONENT: f32 = 88.7;
    /// XGBoost's guard against a division by zero; it rounds away, and stays for the same sum of three.
    const EPSILON: f32 = 1e-16;
    let exponent = if MAX_EXPONENT < -margin { MAX_EXPONENT } else { -margin };
    1.0 / (exponent.exp() + 1.0 + EPSILON)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_their_inverses() {
        assert_eq!(Link::of_objective("reg:squarederror"), Some(Link::Identity));
        assert_eq!(Link::of_objective("survival:aft"), None);
        for (link, score) in [(Link::Identity, -3.5), (Link::Logistic, 0.25), (Link::Exponential, 7.0)] {
            let mut values = [link.margin(score)];
            link.transform(&mut values);
            assert!((values[0] - score).abs() < 1e-5, "{link:?}");
        }
    }

    #[test]
    fn the_logistic_link_is_bounded() {
        let mut values = [f32::NEG_INFINITY, -1e9, 1e9, f32::INFINITY];
        Link::Logistic.transform(&mut values);
        assert!(values[0] > 0.0 && values[1] == values[0]);
        assert_eq!(values[2..], [1.0, 1.0]);
        assert!(Link::Logistic.margin(0.0).is_finite() && Link::Logistic.margin(1.0).is_finite());
    }
}
