//! The pictures of the report, as SVG drawn by plotters. Nothing but numbers and the program's own words goes in.
//!
//! Colours are those of a light page; `style.css` of the crate `page` has the counterpart of each for a dark one, found by its value.

mod learning;
mod predictions;
mod residuals;
mod strip;

use error::{Error, Result};
use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::{
    Cartesian2d, DrawingArea, DrawingAreaErrorKind, IntoDrawingArea, RGBColor, SVGBackend, TextStyle,
};
use plotters::style::{Color, IntoFont};

pub(super) use self::learning::learning_curve;
pub(super) use self::predictions::predicted_against_actual;
pub(super) use self::residuals::{residual_bands, residual_histogram, spreads};
pub(super) use self::strip::{Scale, effect_strip};
use super::errors::{Span, apart};
use page::Svg;
use page::figures::tick;

/// Axis labels.
const LABEL: RGBColor = RGBColor(0x5B, 0x64, 0x70);
/// Lines of the grid.
const GRID: RGBColor = RGBColor(0xDD, 0xE1, 0xE6);
/// What the picture is about.
const MAIN: RGBColor = RGBColor(0x25, 0x63, 0xEB);
/// What it is compared with.
const MARK: RGBColor = RGBColor(0xE8, 0x59, 0x0C);
/// Low, middling and high values of a feature, and values without an order.
const SCALE: [RGBColor; 4] =
    [RGBColor(0x1C, 0x7E, 0xD6), RGBColor(0x9C, 0x6A, 0xDE), RGBColor(0xD6, 0x33, 0x6C), RGBColor(0x7A, 0x82, 0x8E)];

/// Size of a chart with axes: legible when a phone shows it at three quarters.
const SIZE: (u32, u32) = (480, 330);
/// Font size; plotters divides by 1.24.
const FONT: f64 = 16.0;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;
type Failure = DrawingAreaErrorKind<std::io::Error>;

/// What the axes of a chart show.
struct Axes<'a> {
    x: Span,
    y: Span,
    x_label: &'a str,
    y_label: &'a str,
}

/// Draws into a fresh SVG.
fn draw(size: (u32, u32), paint: impl FnOnce(&Area<'_>) -> Result<(), Failure>) -> Result<Svg> {
    let mut markup = String::new();
    let painted = {
        let area = SVGBackend::with_string(&mut markup, size).into_drawing_area();
        paint(&area).and_then(|()| area.present())
    };
    match painted {
        Ok(()) => Ok(Svg::new(markup)),
        Err(error) => Err(Error::Defect(format!("a chart of report.html cannot be drawn: {error}"))),
    }
}

/// Axes, grid and labels.
fn frame<'a, 'b>(area: &'a Area<'b>, axes: &Axes<'_>) -> Result<Chart<'a, 'b>, Failure> {
    let (x, y) = (apart(axes.x), apart(axes.y));
    let mut chart = ChartBuilder::on(area)
        .margin(6)
        .margin_right(14)
        .x_label_area_size(44)
        .y_label_area_size(72)
        .build_cartesian_2d(x.0..x.1, y.0..y.1)?;
    let style = text_style();
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(GRID)
        .light_line_style(GRID.mix(0.0))
        .axis_style(GRID)
        .label_style(style.clone())
        .axis_desc_style(style)
        .x_labels(5)
        .y_labels(6)
        .x_label_formatter(&|value| tick(*value))
        .y_label_formatter(&|value| tick(*value))
        .x_desc(axes.x_label)
        .y_desc(axes.y_label)
        .draw()?;
    Ok(chart)
}

fn text_style() -> TextStyle<'static> {
    ("sans-serif", FONT).into_font().color(&LABEL)
}

/// How strongly a cell with `count` of at most `most` rows is drawn: few rows beside many are still seen.
fn strength(count: f64, most: f64) -> f64 {
    let share = count.ln_1p() / most.max(1.0).ln_1p();
    (0.08 + 0.92 * share).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests;
