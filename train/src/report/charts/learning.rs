//! The metric of the rows that judge, round by round.

use error::Result;
use plotters::element::{Circle, PathElement};
use plotters::style::Color;

use super::{Axes, MAIN, MARK, SIZE, Svg, draw, frame};

/// Points that a line of this width can show.
const MOST_POINTS: usize = 400;
/// The share of the rounds whose fall from the start may be cut off above, so that the rest of the curve can be seen.
const STEEP: f64 = 0.02;

/// Draws the curve; the best round is marked. None where no round has a finite value.
pub(in super::super) fn learning_curve(values: &[f64], metric: &str) -> Result<Option<Svg>> {
    let points: Vec<(f64, f64)> = values
        .iter()
        .enumerate()
        .map(|(round, &value)| ((round + 1) as f64, value))
        .filter(|point| point.1.is_finite())
        .collect();
    let Some(&best) = points.iter().min_by(|left, right| left.1.total_cmp(&right.1)) else { return Ok(None) };
    let top = points.get((points.len() as f64 * STEEP) as usize).map_or(best.1, |point| point.1);
    let reach = (top - best.1).abs().max(1e-3 * best.1.abs());
    let axes = Axes {
        x: (1.0, values.len().max(2) as f64),
        y: (best.1 - 0.08 * reach, best.1 + 1.08 * reach),
        x_label: "round",
        y_label: metric,
    };
    let line: Vec<(f64, f64)> = thinned(&points).into_iter().filter(|point| point.1 <= axes.y.1).collect();
    let chart = draw(SIZE, |area| {
        let mut chart = frame(area, &axes)?;
        chart.draw_series([PathElement::new(line, MAIN.stroke_width(2))])?;
        chart.draw_series([Circle::new(best, 5, MARK.filled())])?;
        Ok(())
    })?;
    Ok(Some(chart))
}

/// Evenly spread points of a line, both ends among them.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let step = points.len().div_ceil(MOST_POINTS).max(1);
    let mut thinned: Vec<(f64, f64)> = points.iter().copied().step_by(step).collect();
    if let Some(last) = points.last().filter(|last| thinned.last() != Some(last)) {
        thinned.push(*last);
    }
    thinned
}
