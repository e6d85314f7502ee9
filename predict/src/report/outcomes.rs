//! What came true, in the report of the run that predicted it.

use evaluation::{Interval, PairErrors};
use page::Html;
use page::figures::{count, figure, figure_or_dash, percent, value};
use page::{MOST_OF_A_VALUE, MOST_VALUES};

/// What came true.
#[derive(Debug, Default)]
pub struct Outcomes {
    /// When it was compared, RFC 3339 in UTC.
    pub evaluated_at: String,
    /// Predictions.
    pub rows_predicted: u64,
    /// The errors of those that have an actual value.
    pub errors: Option<PairErrors>,
    /// What R² would lie within for other rows of the same kind.
    pub r2_interval: Option<Interval>,
    /// R² that the model had when it was trained.
    pub r2_when_trained: Option<f64>,
    /// The level of the intervals of these predictions.
    pub interval: Option<f64>,
    /// By tenths of the prediction: the lowest and the highest of each, and the errors.
    pub tenths: Vec<(f64, f64, PairErrors)>,
    /// By the values of columns.
    pub slices: Vec<SliceOutcomes>,
}

/// The errors by the values of a column.
#[derive(Debug)]
pub struct SliceOutcomes {
    /// The column.
    pub column: String,
    /// Its values.
    pub values: Vec<(String, Option<PairErrors>)>,
}

impl Outcomes {
    /// The section.
    #[must_use]
    pub fn html(&self) -> String {
        let mut html = Html::default();
        html.titled("What came true", |html| match &self.errors {
            None => html.note(&format!("No prediction had a known outcome on {}.", self.evaluated_at)),
            Some(errors) => self.known(html, errors),
        });
        html.into_string()
    }

    fn known(&self, html: &mut Html, errors: &PairErrors) {
        html.element("div", "tiles", |html| {
            let within = self.r2_interval.map(|ends| format!("95 %: {} to {}", figure(ends.low), figure(ends.high)));
            html.tile("R² as it came out", &figure_or_dash(errors.r2), &within.unwrap_or_default());
            html.tile("R² when trained", &figure_or_dash(self.r2_when_trained), "on held-out rows");
            html.tile("mean absolute error", &figure(errors.mae), &format!("RMSE {}", figure(errors.rmse)));
            html.tile("bias", &figure(errors.bias), "above 0: too much was predicted");
            if let (Some(level), Some(coverage)) = (self.interval, errors.coverage) {
                html.tile("within intervals", &percent(coverage), &format!("of {} intervals", percent(level)));
            }
            let share = errors.rows as f64 / self.rows_predicted.max(1) as f64;
            html.tile("known so far", &count(errors.rows), &format!("{} of the predictions", percent(share)));
        });
        html.note(&format!("Compared on {}.", self.evaluated_at));
        html.leaf("h3", "", "By tenths of the prediction");
        let heads = |first: &'static str| heads(first, errors.coverage.is_some());
        html.table(&heads("predictions"), |html| {
            for (from, to, errors) in &self.tenths {
                row(html, &format!("{} to {}", figure(*from), figure(*to)), Some(errors));
            }
        });
        for slices in &self.slices {
            html.element("h3", "", |html| html.text(&format!("By {}", slices.column)));
            html.table(&heads("value"), |html| {
                for (name, errors) in slices.values.iter().take(MOST_VALUES) {
                    row(html, &value(name, MOST_OF_A_VALUE), errors.as_ref());
                }
            });
            html.rest(slices.values.len().saturating_sub(MOST_VALUES), "value", "actuals.json");
        }
    }
}

fn heads(first: &'static str, has_intervals: bool) -> Vec<(&'static str, &'static str)> {
    let mut heads = vec![
        ("", first),
        ("number", "rows"),
        ("number", "predicted"),
        ("number", "came true"),
        ("number", "bias"),
        ("number", "MAE"),
    ];
    if has_intervals {
        heads.push(("number", "within"));
    }
    heads
}

fn row(html: &mut Html, name: &str, errors: Option<&PairErrors>) {
    let of = |figure_of: fn(&PairErrors) -> f64| figure_or_dash(errors.map(figure_of));
    let mut cells = vec![
        ("rows", count(errors.map_or(0, |errors| errors.rows))),
        ("predicted", of(|errors| errors.mean_prediction)),
        ("came true", of(|errors| errors.mean_actual)),
        ("bias", of(|errors| errors.bias)),
        ("MAE", of(|errors| errors.mae)),
    ];
    if let Some(coverage) = errors.and_then(|errors| errors.coverage) {
        cells.push(("within", percent(coverage)));
    }
    html.named_row(name, &cells);
}
