//! A figure of one run after the other: a line over the runs, oldest first, with the band that each value is sure within.

use std::fmt::Write as _;

use crate::Svg;
use crate::bars::COLOURS;
use crate::figures::{date, tick};

/// Width and height in which the chart is drawn.
const SIZE: (f64, f64) = (480.0, 210.0);
const LEFT: f64 = 52.0;
const RIGHT: f64 = 12.0;
const BOTTOM: f64 = 28.0;
const TOP: f64 = 10.0;
const LABEL: &str = "#5B6470";
const GRID: &str = "#DDE1E6";
/// Dates below the chart.
const MOST_DATES: usize = 3;
/// Steps between lines of the grid, about.
const STEPS: f64 = 3.0;
/// More points than these have smaller dots.
const MOST_LARGE_DOTS: usize = 40;

/// The value of one run.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Point {
    /// The value.
    pub value: f64,
    /// What it lies within, where that is known.
    pub band: Option<(f64, f64)>,
}

/// What is drawn of the values: a plain line with a shaded band, or dots with whiskers, so that two lines differ without their colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// A dashed line, its band shaded.
    Dashes,
    /// A line with a dot for each run, its band a whisker.
    Dots,
}

/// The values of all runs.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// Place among the colours of bars.
    pub colour: usize,
    /// What is drawn.
    pub mark: Mark,
    /// One for each run, where it has a value.
    pub points: &'a [Option<Point>],
}

/// What values are measured by.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scale {
    /// Values below it are drawn at it: one very bad run must not press all others into a line.
    pub lowest: Option<f64>,
    /// The scale begins at 0.
    pub from_zero: bool,
    /// A value that is marked by a line.
    pub limit: Option<f64>,
}

/// The lines over runs that ended on `days` (since 1970-01-01; what is no number has no date).
#[must_use]
pub fn timeline(lines: &[Line<'_>], days: &[f64], scale: Scale) -> Svg {
    let (width, height) = SIZE;
    let frame = Frame::around(lines, days.len(), scale);
    let mut markup = format!(
        "<svg class=\"timeline\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" xmlns=\"http://www.w3.org/2000/svg\">"
    );
    for step in 0..=frame.steps {
        let value = frame.low + frame.step * f64::from(step);
        let y = frame.y(value);
        // What is next to nothing is nothing.
        let text = tick(if value.abs() < frame.step * 1e-6 { 0.0 } else { value });
        let _ = write!(
            markup,
            "<line x1=\"{LEFT}\" x2=\"{width}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"{GRID}\"/><text x=\"{:.1}\" y=\"{:.1}\" fill=\"{LABEL}\" \
             font-size=\"13\" text-anchor=\"end\">{text}</text>",
            LEFT - 6.0,
            y + 4.0
        );
    }
    if let Some(limit) = scale.limit {
        let y = frame.y(limit);
        let _ = write!(
            markup,
            "<line x1=\"{LEFT}\" x2=\"{width}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"{LABEL}\" stroke-dasharray=\"2 4\"/>"
        );
    }
    frame.write_dates(&mut markup, days);
    for line in lines {
        frame.write_line(&mut markup, line);
    }
    markup.push_str("</svg>");
    Svg::new(markup)
}

/// Where values and runs stand in the picture.
struct Frame {
    runs: usize,
    low: f64,
    high: f64,
    step: f64,
    steps: u32,
}

impl Frame {
    fn around(lines: &[Line<'_>], runs: usize, scale: Scale) -> Self {
        let points = lines.iter().flat_map(|line| line.points.iter().flatten());
        let ends = points.flat_map(|point| {
            let (low, high) = point.band.unwrap_or((point.value, point.value));
            [low, point.value, high]
        });
        let lowest = scale.lowest.unwrap_or(f64::NEG_INFINITY);
        let values = ends.chain(scale.limit).filter(|value| value.is_finite()).map(|value| value.max(lowest));
        let (mut low, mut high) =
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        if scale.from_zero {
            (low, high) = (low.min(0.0), high.max(0.0));
            // Nothing at all is drawn at the bottom of 0 to 1.
            high = if high > 0.0 { high } else { 1.0 };
        }
        // Nothing has a value.
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        if high - low <= 1e-9 * high.abs().max(1e-9) {
            let room = (high.abs() * 0.05).max(1e-3);
            (low, high) = (if scale.from_zero && low >= 0.0 { low } else { low - room }, high + room);
        }
        let step = nice((high - low) / STEPS);
        let (low, high) = ((low / step).floor() * step, (high / step).ceil() * step);
        let steps = ((high - low) / step).round().clamp(1.0, 12.0) as u32;
        Self { runs, low, high, step, steps }
    }

    fn x(&self, run: usize) -> f64 {
        let across = SIZE.0 - LEFT - RIGHT;
        match self.runs {
            0 | 1 => LEFT + across / 2.0,
            runs => LEFT + 6.0 + (across - 6.0) * run as f64 / (runs - 1) as f64,
        }
    }

    fn y(&self, value: f64) -> f64 {
        let share = ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        TOP + (SIZE.1 - BOTTOM - TOP) * (1.0 - if share.is_finite() { share } else { 0.0 })
    }

    fn write_dates(&self, markup: &mut String, days: &[f64]) {
        let count = days.len().min(MOST_DATES);
        for place in 0..count {
            let run = if count == 1 { 0 } else { place * (days.len() - 1) / (count - 1) };
            let Some(day) = days.get(run).filter(|day| day.is_finite()) else { continue };
            let anchor = match place {
                _ if count == 1 => "middle",
                0 => "start",
                place if place + 1 == count => "end",
                _ => "middle",
            };
            let (x, y) = (self.x(run), SIZE.1 - 8.0);
            let _ = write!(
                markup,
                "<text x=\"{x:.1}\" y=\"{y:.1}\" fill=\"{LABEL}\" font-size=\"13\" text-anchor=\"{anchor}\">{}</text>",
                date(*day)
            );
        }
    }

    fn write_line(&self, markup: &mut String, line: &Line<'_>) {
        let colour = COLOURS[line.colour % COLOURS.len()];
        let points: Vec<(f64, Point)> = (line.points.iter().enumerate())
            .filter_map(|(run, point)| Some((self.x(run), point.filter(|point| point.value.is_finite())?)))
            .collect();
        let band = |point: &Point| point.band.filter(|(low, high)| low.is_finite() && high.is_finite());
        if line.mark == Mark::Dashes && points.len() > 1 {
            let ends = |(x, point): &(f64, Point)| band(point).map(|(low, high)| (*x, self.y(low), self.y(high)));
            let banded: Vec<(f64, f64, f64)> = points.iter().filter_map(ends).collect();
            let along = banded.iter().map(|(x, _, high)| (*x, *high));
            let back = banded.iter().rev().map(|(x, low, _)| (*x, *low));
            let corners: Vec<String> = along.chain(back).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            let corners = corners.join(" ");
            let _ = write!(markup, "<polygon points=\"{corners}\" fill=\"{colour}\" fill-opacity=\"0.18\"/>");
        }
        let path: Vec<String> = points.iter().map(|(x, point)| format!("{x:.1},{:.1}", self.y(point.value))).collect();
        let dashes = if line.mark == Mark::Dashes { " stroke-dasharray=\"6 4\"" } else { "" };
        let _ = write!(
            markup,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.8\"{dashes}/>",
            path.join(" ")
        );
        let radius = if points.len() > MOST_LARGE_DOTS { 1.8 } else { 3.0 };
        for (x, point) in &points {
            if line.mark == Mark::Dashes && points.len() > 1 {
                continue;
            }
            if let Some((low, high)) = band(point) {
                let (low, high) = (self.y(low), self.y(high));
                let _ = write!(
                    markup,
                    "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{high:.1}\" y2=\"{low:.1}\" stroke=\"{colour}\" stroke-width=\"1.2\"/>"
                );
            }
            let y = self.y(point.value);
            let _ = write!(markup, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{colour}\"/>");
        }
    }
}

/// A step of 1, 2 or 5 times a power of ten that is not smaller.
fn nice(step: f64) -> f64 {
    let power = 10_f64.powf(step.max(f64::MIN_POSITIVE).log10().floor());
    let nice = [1.0, 2.0, 5.0].into_iter().map(|times| times * power).find(|nice| *nice >= step * 0.999);
    nice.unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(values: &[f64], scale: Scale) -> String {
        let points: Vec<_> = values.iter().map(|value| Some(Point { value: *value, band: None })).collect();
        let days: Vec<f64> = (0..values.len()).map(|run| 20_000.0 + 7.0 * run as f64).collect();
        timeline(&[Line { colour: 2, mark: Mark::Dots, points: &points }], &days, scale).markup().to_owned()
    }

    #[test]
    fn points_stand_inside_the_picture_whatever_they_are() {
        for values in [&[0.9, f64::NAN, -1e300, f64::INFINITY, 0.91][..], &[0.5], &[], &[1e-300, 2e-300], &[7.0, 7.0]] {
            let markup = drawn(values, Scale { lowest: Some(-1.0), ..Scale::default() });
            assert!(!markup.contains("NaN") && !markup.contains("inf"), "{markup}");
            for place in markup.split("cy=\"").skip(1) {
                let y: f64 = place.split('"').next().unwrap().parse().unwrap();
                assert!((0.0..=SIZE.1).contains(&y), "{y}");
            }
        }
    }

    #[test]
    fn one_bad_run_does_not_flatten_the_others() {
        let y = |markup: &str| -> Vec<f64> {
            markup.split("cy=\"").skip(1).map(|place| place.split('"').next().unwrap().parse().unwrap()).collect()
        };
        let held = y(&drawn(&[0.9, 0.5, -1e9], Scale { lowest: Some(-1.0), ..Scale::default() }));
        assert!(held[1] - held[0] > 10.0, "{held:?}");
        let flat = y(&drawn(&[0.9, 0.5, -1e9], Scale::default()));
        assert!(flat[1] - flat[0] < 1.0, "{flat:?}");
    }

    #[test]
    fn a_band_is_shaded_and_a_run_without_a_value_leaves_a_gap() {
        let with = |value| Some(Point { value, band: Some((value - 0.02, value + 0.02)) });
        let points = [with(0.9), None, with(0.91)];
        let lines = [
            Line { colour: 0, mark: Mark::Dashes, points: &points },
            Line { colour: 2, mark: Mark::Dots, points: &points },
        ];
        let markup = timeline(&lines, &[20_000.0, 20_007.0, f64::NAN], Scale::default()).markup().to_owned();
        assert_eq!((markup.matches("<polygon").count(), markup.matches("<circle").count()), (1, 2), "{markup}");
        assert!(markup.contains(">2024-10-04</text>"), "{markup}");
    }
}
