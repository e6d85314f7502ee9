//! How far predictions of held-out rows are off.

use error::Result;

use super::super::Subject;
use super::super::charts::{predicted_against_actual, residual_bands, residual_histogram, spreads};
use super::super::errors::{Shape, bands, cloud, histogram, spread};
use super::titled;
use page::Html;
use page::figures::{counted, figure};

pub(super) fn section(html: &mut Html, subject: &Subject<'_>) -> Result<()> {
    let (targets, predictions) = (&subject.data.test.target, &subject.evaluation.predictions);
    let (cloud, histogram) = (cloud(targets, predictions), histogram(targets, predictions));
    let scatter = predicted_against_actual(&cloud)?;
    let residuals = residual_histogram(&histogram)?;
    let spreads = spreads(&spread(targets, cloud.span), &spread(predictions, cloud.span))?;
    let by_prediction = residual_bands(&bands(targets, predictions))?;
    let (bias, worst) = bias_and_worst(targets, predictions);
    titled(html, "How good the predictions are", |html| {
        html.element("div", "figures", |html| {
            let how = match cloud.shape {
                Shape::Points(_) => "A point is a held-out row.",
                Shape::Density { .. } => "The stronger a cell, the more held-out rows it has.",
            };
            let caption = format!("{how} On the line, the prediction is right.{}", beyond(cloud.outside));
            html.figure("", &scatter, "Predicted against actual", &caption);
            let caption = format!(
                "What is left when the prediction is taken away: {} on average, {} at most.{}",
                figure(bias),
                figure(worst),
                beyond(histogram.outside)
            );
            html.figure("", &residuals, "Residuals", &caption);
            let caption = "How often each value came, and how often it was predicted. A model that knows little predicts few \
                           values, all near the middle.";
            html.figure("", &spreads, "Spread", caption);
            if let Some(chart) = &by_prediction {
                let caption = "Held-out rows in groups by prediction: the residual in the middle (line), and where eight in ten \
                               lie (band). A line far from 0 is a prediction that is too high or too low there.";
                html.figure("", chart, "Residuals by prediction", caption);
            }
        });
    });
    Ok(())
}

fn beyond(rows: usize) -> String {
    if rows == 0 { String::new() } else { format!(" {} lie outside the picture.", counted(rows, "row")) }
}

/// The mean residual and the largest, whatever its sign.
fn bias_and_worst(targets: &[f64], predictions: &[f64]) -> (f64, f64) {
    let residuals = || targets.iter().zip(predictions).map(|(target, prediction)| target - prediction);
    let rows = targets.len().max(1) as f64;
    (
        residuals().map(|residual| residual / rows).sum(),
        residuals().fold(0.0, |worst: f64, residual| worst.max(residual.abs())),
    )
}
