//! What is left of the target when the prediction is taken away.

use error::Result;
use plotters::element::{PathElement, Polygon, Rectangle};
use plotters::style::Color;

use super::super::errors::{Band, Histogram};
use super::{Axes, GRID, MAIN, MARK, SIZE, Svg, draw, frame};

/// Draws how often each residual comes.
pub(in super::super) fn residual_histogram(histogram: &Histogram) -> Result<Svg> {
    let (low, high) = histogram.span;
    let most = histogram.counts.iter().copied().max().unwrap_or_default().max(1) as f64;
    let axes = Axes { x: histogram.span, y: (0.0, 1.05 * most), x_label: "actual less predicted", y_label: "rows" };
    let bars = histogram.counts.len() as f64;
    draw(SIZE, |area| {
        let mut chart = frame(area, &axes)?;
        let edge = |place: usize| low + (high - low) * (place as f64 / bars);
        let drawn = histogram.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        chart.draw_series(drawn.map(|(place, &count)| {
            let mut bar =
                Rectangle::new([(edge(place), 0.0), (edge(place + 1), count as f64)], MAIN.mix(0.85).filled());
            bar.set_margin(0, 0, 0, 1);
            bar
        }))?;
        chart.draw_series([PathElement::new(vec![(0.0, 0.0), (0.0, 1.05 * most)], MARK.stroke_width(1))])?;
        Ok(())
    })
}

/// Draws how often each target comes (bars) and how often each prediction (line).
pub(in super::super) fn spreads(actual: &Histogram, predicted: &Histogram) -> Result<Svg> {
    let (low, high) = actual.span;
    let most = actual.counts.iter().chain(&predicted.counts).copied().max().unwrap_or_default().max(1) as f64;
    let axes =
        Axes { x: actual.span, y: (0.0, 1.05 * most), x_label: "actual (bars), predicted (line)", y_label: "rows" };
    let edge = |place: usize| low + (high - low) * (place as f64 / actual.counts.len() as f64);
    let steps = predicted
        .counts
        .iter()
        .enumerate()
        .flat_map(|(place, &count)| [(edge(place), count as f64), (edge(place + 1), count as f64)]);
    let steps: Vec<(f64, f64)> = steps.collect();
    draw(SIZE, |area| {
        let mut chart = frame(area, &axes)?;
        let drawn = actual.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        chart.draw_series(drawn.map(|(place, &count)| {
            Rectangle::new([(edge(place), 0.0), (edge(place + 1), count as f64)], MAIN.mix(0.35).filled())
        }))?;
        chart.draw_series([PathElement::new(steps, MARK.stroke_width(2))])?;
        Ok(())
    })
}

/// Draws the residuals by prediction: the middle one as a line, and where eight in ten lie. None without bands.
pub(in super::super) fn residual_bands(bands: &[Band]) -> Result<Option<Svg>> {
    let (Some(first), Some(last)) = (bands.first(), bands.last()) else { return Ok(None) };
    let low = bands.iter().map(|band| band.low).fold(0.0, f64::min);
    let high = bands.iter().map(|band| band.high).fold(0.0, f64::max);
    let margin = 0.05 * (high - low);
    let axes = Axes {
        x: (first.prediction, last.prediction),
        y: (low - margin, high + margin),
        x_label: "predicted",
        y_label: "actual less predicted",
    };
    let upper = bands.iter().map(|band| (band.prediction, band.high));
    let lower = bands.iter().rev().map(|band| (band.prediction, band.low));
    let area_of_most: Vec<(f64, f64)> = upper.chain(lower).collect();
    let middle: Vec<(f64, f64)> = bands.iter().map(|band| (band.prediction, band.middle)).collect();
    let chart = draw(SIZE, |area| {
        let mut chart = frame(area, &axes)?;
        chart.draw_series([Polygon::new(area_of_most, MAIN.mix(0.22).filled())])?;
        chart.draw_series([PathElement::new(vec![(axes.x.0, 0.0), (axes.x.1, 0.0)], GRID.stroke_width(2))])?;
        chart.draw_series([PathElement::new(vec![(axes.x.0, 0.0), (axes.x.1, 0.0)], MARK.mix(0.8).stroke_width(1))])?;
        chart.draw_series([PathElement::new(middle, MAIN.stroke_width(2))])?;
        Ok(())
    })?;
    Ok(Some(chart))
}
