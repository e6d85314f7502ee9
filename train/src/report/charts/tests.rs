//! Charts of rows that are few, constant, huge or not there.

use super::super::errors::{bands, cloud, histogram, spread};
use super::*;

fn is_complete(svg: &Svg) -> bool {
    let markup = svg.markup();
    markup.starts_with("<svg")
        && markup.trim_end().ends_with("</svg>")
        && !markup.contains("NaN")
        && !markup.contains("inf")
}

#[test]
fn degenerate_rows_give_whole_charts() {
    let noisy: Vec<f64> = (0..5_000).map(|row| f64::from(row % 13) + f64::from(row % 7) / 9.0).collect();
    let cases = [
        vec![],
        vec![1.0],
        vec![0.0, 0.0],
        vec![7.0; 1_000],
        vec![1e300, -1e300],
        vec![1e-300, 2e-300, 3e-300],
        vec![1e15, 1e15 + 1.0],
        vec![f64::MAX; 300],
        noisy,
    ];
    for targets in cases {
        let predictions: Vec<f64> = targets.iter().rev().copied().collect();
        assert!(is_complete(&predicted_against_actual(&cloud(&targets, &predictions)).unwrap()), "{targets:.0?}");
        assert!(is_complete(&residual_histogram(&histogram(&targets, &predictions)).unwrap()), "{targets:.0?}");
        let span = cloud(&targets, &predictions).span;
        assert!(is_complete(&spreads(&spread(&targets, span), &spread(&predictions, span)).unwrap()), "{targets:.0?}");
        let bands = residual_bands(&bands(&targets, &predictions)).unwrap();
        assert!(bands.is_none_or(|chart| is_complete(&chart)), "{targets:.0?}");
        let curve = learning_curve(&targets, "rmse").unwrap();
        assert!(curve.is_none_or(|chart| is_complete(&chart)), "{targets:.0?}");
    }
    assert!(learning_curve(&[f64::NAN], "rmse").unwrap().is_none());
}

#[test]
fn ten_million_rows_make_no_larger_a_picture_than_a_thousand() {
    let rows = |count: usize| -> Vec<f64> { (0..count).map(|row| ((row * 7_919) % 1_009) as f64).collect() };
    for count in [1_000, 2_000_000] {
        let (targets, mut predictions) = (rows(count), rows(count));
        predictions.rotate_left(17);
        let drawn = predicted_against_actual(&cloud(&targets, &predictions)).unwrap();
        assert!(drawn.markup().len() < 200_000, "{}", drawn.markup().len());
    }
    let curve: Vec<f64> = (1..5_000).map(|round| 1.0 + 1.0 / f64::from(round)).collect();
    assert!(learning_curve(&curve, "rmse").unwrap().unwrap().markup().len() < 12_000);
}

#[test]
fn every_colour_has_a_counterpart_on_a_dark_page() {
    let page = page::Html::document("", |_| ());
    for colour in [LABEL, GRID, MAIN, MARK].into_iter().chain(SCALE) {
        let value = format!("\"#{:02X}{:02X}{:02X}\"", colour.0, colour.1, colour.2);
        assert!(page.contains(&value), "{value} is not in the style of pages");
    }
}
