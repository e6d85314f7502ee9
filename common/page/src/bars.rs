//! Shares side by side: what a column looked like then and looks like now, bin by bin.
//!
//! Colours are those of a light page; `style.css` has the counterpart of each for a dark one, found by its value.

use std::fmt::Write as _;

use crate::Svg;
use crate::figures::{percent, tick};

/// Width and height in which the chart is drawn.
const SIZE: (f64, f64) = (480.0, 210.0);
const LEFT: f64 = 52.0;
const BOTTOM: f64 = 26.0;
const TOP: f64 = 8.0;
const LABEL: &str = "#5B6470";
const GRID: &str = "#DDE1E6";
/// More labels than these would run into each other.
const MOST_LABELS: usize = 6;

/// What a series of bars stands for, in the order in which they are drawn.
pub const COLOURS: [&str; 3] = ["#5B6470", "#E8590C", "#2563EB"];

/// Shares of one series, and which of [`COLOURS`] they have.
#[derive(Debug, Clone, Copy)]
pub struct Series<'a> {
    /// Place among the colours.
    pub colour: usize,
    /// One share for each bin.
    pub shares: &'a [f64],
}

/// The series side by side, bin by bin. `edges` are what lies between neighbouring bins, where they are numbers.
#[must_use]
pub fn bars(series: &[Series<'_>], edges: &[f64]) -> Svg {
    let (width, height) = SIZE;
    let bins = series.iter().map(|series| series.shares.len()).max().unwrap_or(0).max(1);
    let usable = |share: &f64| if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
    let highest = series.iter().flat_map(|series| series.shares.iter().map(usable)).fold(0.0, f64::max).max(1e-9);
    let (across, up) = ((width - LEFT) / bins as f64, height - BOTTOM - TOP);
    let mut markup = format!(
        "<svg viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" xmlns=\"http://www.w3.org/2000/svg\">"
    );
    for part in [0.0, 0.5, 1.0] {
        let y = TOP + up * (1.0 - part);
        let _ = write!(
            markup,
            "<line x1=\"{LEFT}\" x2=\"{width}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"{GRID}\"/><text x=\"{:.1}\" y=\"{:.1}\" fill=\"{LABEL}\" \
             font-size=\"13\" text-anchor=\"end\">{}</text>",
            LEFT - 6.0,
            y + 4.0,
            percent(part * highest).replace('<', "&lt;").replace('>', "&gt;")
        );
    }
    let bar = across * 0.8 / series.len().max(1) as f64;
    for (place, Series { colour, shares }) in series.iter().enumerate() {
        let colour = COLOURS[*colour % COLOURS.len()];
        for (bin, share) in shares.iter().enumerate() {
            let size = up * usable(share) / highest;
            let x = LEFT + across * (bin as f64 + 0.1) + bar * place as f64;
            let y = TOP + up - size;
            let _ = write!(
                markup,
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{bar:.1}\" height=\"{size:.1}\" fill=\"{colour}\"/>"
            );
        }
    }
    let step = edges.len().div_ceil(MOST_LABELS).max(1);
    for (place, edge) in edges.iter().enumerate().step_by(step) {
        let (x, y) = (LEFT + across * (place as f64 + 1.0), height - 8.0);
        let text = tick(*edge);
        let _ = write!(
            markup,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" fill=\"{LABEL}\" font-size=\"13\" text-anchor=\"middle\">{text}</text>"
        );
    }
    markup.push_str("</svg>");
    Svg::new(markup)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_stand_inside_the_picture_whatever_the_shares_are() {
        let odd = [0.1, f64::NAN, 7.0, -1.0, 1e-12];
        let svg = bars(&[Series { colour: 0, shares: &odd }, Series { colour: 2, shares: &[] }], &[1.0, 2e9, f64::NAN]);
        assert_eq!(svg.markup().matches("<rect").count(), 5);
        assert!(!svg.markup().contains("NaN") && !svg.markup().contains("inf"), "{}", svg.markup());
        for height in svg.markup().split("height=\"").skip(2) {
            let height: f64 = height.split('"').next().unwrap().parse().unwrap();
            assert!((0.0..=SIZE.1).contains(&height), "{height}");
        }
        assert!(bars(&[], &[]).markup().ends_with("</svg>"));
    }
}
