//! What was predicted over what came.

use error::Result;
use plotters::element::{Circle, PathElement, Rectangle};
use plotters::style::Color;

use super::super::errors::{Cloud, Shape};
use super::{Axes, MAIN, MARK, SIZE, Svg, draw, frame, strength};

/// Draws rows as points or as cells that are the stronger the more rows they hold. On the line, a prediction is right.
pub(in super::super) fn predicted_against_actual(cloud: &Cloud) -> Result<Svg> {
    let (low, high) = cloud.span;
    let axes = Axes { x: cloud.span, y: cloud.span, x_label: "actual", y_label: "predicted" };
    draw(SIZE, |area| {
        let mut chart = frame(area, &axes)?;
        match &cloud.shape {
            Shape::Points(points) => {
                chart.draw_series(points.iter().map(|point| Circle::new(*point, 3, MAIN.mix(0.55).filled())))?;
            }
            Shape::Density { side, counts } => {
                let most = f64::from(counts.iter().copied().max().unwrap_or_default());
                let edge = |place: usize| low + (high - low) * (place as f64 / *side as f64);
                let cells = counts.iter().enumerate().filter(|(_, count)| **count > 0);
                chart.draw_series(cells.map(|(cell, &count)| {
                    let (column, row) = (cell / side, cell % side);
                    let corners = [(edge(column), edge(row)), (edge(column + 1), edge(row + 1))];
                    Rectangle::new(corners, MAIN.mix(strength(f64::from(count), most)).filled())
                }))?;
            }
        }
        chart.draw_series([PathElement::new(vec![(low, low), (high, high)], MARK.mix(0.8).stroke_width(1))])?;
        Ok(())
    })
}
