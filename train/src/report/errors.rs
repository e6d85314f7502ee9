//! Predictions against targets, condensed so that ten rows and ten million give a picture of the same size.

/// Rows that quantiles are read off; more would not move a line of a picture.
const SAMPLE_ROWS: usize = 200_000;
/// Up to so many rows are drawn one by one.
const MOST_POINTS: usize = 250;
/// Cells of a density along each side.
const SIDE: usize = 40;
/// Bars of a histogram.
const BARS: usize = 41;
/// Groups of rows by prediction.
const GROUPS: usize = 20;
/// The shares of rows left outside a picture at either end, where few far-off rows would shrink all others.
const TAIL: f64 = 0.005;
/// A picture shows all rows where that makes it at most so many times wider.
const WIDER: f64 = 1.6;

/// Both ends of an axis, the lower first and the two apart.
pub(super) type Span = (f64, f64);

/// Rows as points or as a density over two axes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cloud {
    /// The axis of targets and of predictions.
    pub(super) span: Span,
    /// What lies on it.
    pub(super) shape: Shape,
    /// Rows outside of it.
    pub(super) outside: usize,
}

/// What a cloud consists of.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shape {
    /// Target and prediction of each row.
    Points(Vec<(f64, f64)>),
    /// Rows per cell, `counts[column * side + row]` with columns by target and rows by prediction.
    Density {
        /// Cells along each side.
        side: usize,
        /// Rows in each.
        counts: Vec<u32>,
    },
}

/// Rows per interval of a value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Histogram {
    /// The axis.
    pub(super) span: Span,
    /// Rows in each of the equal intervals of the axis.
    pub(super) counts: Vec<u64>,
    /// Rows outside of it.
    pub(super) outside: usize,
}

/// The residuals of the rows whose predictions are near each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Band {
    /// Mean prediction.
    pub(super) prediction: f64,
    /// Residual that a tenth of the rows is below.
    pub(super) low: f64,
    /// Residual in the middle.
    pub(super) middle: f64,
    /// Residual that a tenth of the rows is above.
    pub(super) high: f64,
}

/// Predictions over targets.
pub(super) fn cloud(targets: &[f64], predictions: &[f64]) -> Cloud {
    let rows = || targets.iter().copied().zip(predictions.iter().copied());
    let span = robust_span(targets.iter().chain(predictions).copied());
    if targets.len() <= MOST_POINTS {
        let all = extremes(targets.iter().chain(predictions).copied());
        return Cloud { span: apart(all), shape: Shape::Points(rows().collect()), outside: 0 };
    }
    let mut counts = vec![0_u32; SIDE * SIDE];
    let mut outside = 0;
    for (target, prediction) in rows() {
        match (place(span, SIDE, target), place(span, SIDE, prediction)) {
            (Some(column), Some(row)) => counts[column * SIDE + row] = counts[column * SIDE + row].saturating_add(1),
            _ => outside += 1,
        }
    }
    Cloud { span, shape: Shape::Density { side: SIDE, counts }, outside }
}

/// Residuals, target less prediction, around 0.
pub(super) fn histogram(targets: &[f64], predictions: &[f64]) -> Histogram {
    let residuals = || targets.iter().zip(predictions).map(|(target, prediction)| target - prediction);
    let (low, high) = robust_span(residuals());
    // The middle bar is around 0, so that a shift can be seen.
    let reach = low.abs().max(high.abs());
    let span = (-reach, reach);
    let mut counts = vec![0; BARS];
    let mut outside = 0;
    for residual in residuals() {
        match place(span, BARS, residual) {
            Some(bar) => counts[bar] += 1,
            None => outside += 1,
        }
    }
    Histogram { span, counts, outside }
}

/// Residuals by prediction, in groups of equal size; none where rows are too few for groups.
pub(super) fn bands(targets: &[f64], predictions: &[f64]) -> Vec<Band> {
    let step = targets.len().div_ceil(SAMPLE_ROWS).max(1);
    let mut rows: Vec<(f64, f64)> = predictions
        .iter()
        .zip(targets)
        .step_by(step)
        .map(|(prediction, target)| (*prediction, target - prediction))
        .filter(|(prediction, residual)| prediction.is_finite() && residual.is_finite())
        .collect();
    rows.sort_unstable_by(|left, right| left.0.total_cmp(&right.0).then(left.1.total_cmp(&right.1)));
    let groups = GROUPS.min(rows.len() / 10);
    if groups < 3 {
        return Vec::new();
    }
    (0..groups).map(|group| band(&rows[rows.len() * group / groups..rows.len() * (group + 1) / groups])).collect()
}

fn band(rows: &[(f64, f64)]) -> Band {
    let mut residuals: Vec<f64> = rows.iter().map(|(_, residual)| *residual).collect();
    residuals.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| quantile(&residuals, share);
    let prediction = rows.iter().map(|(prediction, _)| prediction / rows.len() as f64).sum();
    Band { prediction, low: at(0.1), middle: at(0.5), high: at(0.9) }
}

/// The interval of a span, cut into `parts`, that a value lies in.
fn place((low, high): Span, parts: usize, value: f64) -> Option<usize> {
    let share = value / (high - low) - low / (high - low);
    (0.0..=1.0).contains(&share).then(|| ((share * parts as f64) as usize).min(parts - 1))
}

/// The span of all values but a few at either end, or of all where they are not far off.
fn robust_span(values: impl Iterator<Item = f64> + Clone) -> Span {
    let all = extremes(values.clone());
    let rows = values.clone().count();
    let mut sample: Vec<f64> =
        values.step_by(rows.div_ceil(SAMPLE_ROWS).max(1)).filter(|value| value.is_finite()).collect();
    sample.sort_unstable_by(f64::total_cmp);
    let inner = (quantile(&sample, TAIL), quantile(&sample, 1.0 - TAIL));
    let is_near = all.1 - all.0 <= WIDER * (inner.1 - inner.0);
    apart(if is_near || inner.0 >= inner.1 { all } else { inner })
}

fn extremes(values: impl Iterator<Item = f64>) -> Span {
    let finite = values.filter(|value| value.is_finite());
    finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
}

/// A span that can be divided by: wide enough for its numbers, narrow enough not to overflow.
pub(super) fn apart((low, high): Span) -> Span {
    if !(low.is_finite() && high.is_finite()) {
        return (0.0, 1.0);
    }
    let (low, high) = (low.max(-f64::MAX / 8.0), high.min(f64::MAX / 8.0));
    let least = 1e-9 * low.abs().max(high.abs());
    if high - low > least {
        return (low, high);
    }
    let middle = low / 2.0 + high / 2.0;
    let reach = if middle == 0.0 { 1.0 } else { (middle.abs() * 0.05).max(f64::MIN_POSITIVE) };
    (middle - reach, middle + reach)
}

/// The value that a share of the sorted values is below; 0 where there are none.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let position = (share * last as f64).clamp(0.0, last as f64);
    let at = |index: usize| sorted.get(index.min(last)).copied().unwrap_or_default();
    let (below, part) = (at(position as usize), position.fract());
    if part == 0.0 { below } else { below * (1.0 - part) + at(position as usize + 1) * part }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(count: usize) -> (Vec<f64>, Vec<f64>) {
        let targets: Vec<f64> = (0..count).map(|row| (row % 101) as f64).collect();
        let predictions = targets.iter().enumerate().map(|(row, target)| target + (row % 7) as f64 - 3.0).collect();
        (targets, predictions)
    }

    #[test]
    fn every_row_is_in_the_picture_or_counted_outside() {
        for count in [0, 1, 2, 250, 251, 30_000] {
            let (mut targets, predictions) = rows(count);
            if let Some(first) = targets.first_mut() {
                *first = 1e12;
            }
            let drawn = |cloud: &Cloud| match &cloud.shape {
                Shape::Points(points) => points.len(),
                Shape::Density { counts, .. } => counts.iter().map(|count| *count as usize).sum(),
            };
            let cloud = cloud(&targets, &predictions);
            assert_eq!(drawn(&cloud) + cloud.outside, count);
            let histogram = histogram(&targets, &predictions);
            assert_eq!(histogram.counts.iter().sum::<u64>() as usize + histogram.outside, count);
            if count > MOST_POINTS {
                assert_eq!((cloud.outside, histogram.outside), (1, 1), "the far-off row alone");
                assert!(cloud.span.1 < 200.0, "{:?}", cloud.span);
            }
        }
    }

    #[test]
    fn bands_follow_the_predictions_and_hold_the_middle() {
        let (targets, predictions) = rows(7_070);
        let bands = bands(&targets, &predictions);
        assert_eq!(bands.len(), GROUPS);
        assert!(bands.windows(2).all(|pair| pair[0].prediction < pair[1].prediction));
        let inner = &bands[3..17];
        assert!(inner.iter().all(|band| band.low < band.middle && band.middle < band.high), "{inner:?}");
        assert!(inner.iter().all(|band| band.middle.abs() <= 1.0), "{inner:?}");
    }

    #[test]
    fn few_constant_and_huge_values_have_a_span() {
        assert_eq!(bands(&[1.0; 20], &[1.0; 20]), []);
        for values in [vec![], vec![0.0; 3], vec![5.0; 300], vec![f64::MAX, -f64::MAX], vec![f64::NAN], vec![5e-324; 9]]
        {
            let (low, high) = robust_span(values.iter().copied());
            assert!(low < high && (high - low).is_finite(), "{values:?}: {low} {high}");
            let cloud = cloud(&values, &values);
            assert!(cloud.span.0 < cloud.span.1, "{values:?}");
            histogram(&values, &values);
        }
    }
}
