//! How the model learnt, and what else was tried.

use error::Result;
use serde_json::Value;

use super::super::Subject;
use super::super::charts::learning_curve;
use super::{note, rest, titled};
use crate::fit::Tuning;
use page::Html;
use page::figures::{count, counted, figure, figure_or_dash, visible};

/// Trials that are shown.
const MOST_TRIALS: usize = 1_000;
/// How much of a trial's parameters is shown.
const MOST_OF_PARAMETERS: usize = 240;

pub(super) fn section(html: &mut Html, subject: &Subject<'_>) -> Result<()> {
    let fitted = subject.fitted;
    let metric = fitted.choice.metric.as_deref().unwrap_or("metric");
    let chart = learning_curve(&fitted.choice.learning_curve, metric)?;
    titled(html, "How it learnt", |html| {
        match &chart {
            Some(chart) => {
                let best = fitted.choice.learning_curve.iter().copied().fold(f64::INFINITY, f64::min);
                let rounds =
                    fitted.choice.learning_curve.iter().position(|value| *value == best).map_or(0, |place| place + 1);
                let caption = format!(
                    "{metric} on rows that were taken from the training rows for the choice of rounds, and none of which is \
                     held out: {} at best, after {}. The model was then fitted to all training rows with {}{}.",
                    figure(best),
                    counted(rounds, "round"),
                    counted(fitted.rounds as usize, "round"),
                    of_members(fitted.choice.members.len())
                );
                html.figure("beside", chart, "Learning curve", &caption);
            }
            None => note(html, &without_curve(subject)),
        }
        if let Some(tuning) = &fitted.choice.tuning {
            note(html, &what_tuning_came_to(tuning, metric));
        }
        trials(html, subject);
    });
    Ok(())
}

/// What a number of rounds is shared by, if it is.
fn of_members(members: usize) -> String {
    if members > 1 { format!(", shared by {members} boosters whose mean it is") } else { String::new() }
}

fn what_tuning_came_to(tuning: &Tuning, metric: &str) -> String {
    let (ran, asked) = (tuning.ran, tuning.asked);
    let ran = if tuning.cut_by_clock {
        format!("{ran} of {asked} more trials ran, then the clock ended it (--time-budget)")
    } else if tuning.cut_by_plan {
        format!("{ran} of {asked} more trials ran, then the work of the budget was done (--time-budget)")
    } else {
        format!("{ran} more trials")
    };
    let (untuned, tuned) = (figure_or_dash(tuning.untuned), figure_or_dash(tuning.tuned));
    let came_to = match (tuning.untuned, tuning.tuned) {
        (Some(before), Some(after)) if after < before => {
            format!("brought {metric} from {untuned} to {tuned} on the rows that judge")
        }
        _ => format!("found nothing better than what is chosen without it ({metric} {untuned} on the rows that judge)"),
    };
    format!("Tuning (--tune): {ran}; it {came_to}.")
}

fn without_curve(subject: &Subject<'_>) -> String {
    let rounds = counted(subject.fitted.rounds as usize, "round");
    match subject.config.rounds {
        Some(_) => format!("{rounds}, as --rounds (ROUNDS) asked: nothing was tried, so there is no learning curve."),
        None => format!(
            "{rounds}: there were too few rows, or no time (--time-budget), to choose them by a learning curve."
        ),
    }
}

fn trials(html: &mut Html, subject: &Subject<'_>) {
    // By name, as metrics.json has them: what a search notes down is its own affair.
    let Ok(Value::Array(trials)) = serde_json::to_value(&subject.fitted.choice.trials) else { return };
    if trials.is_empty() {
        return;
    }
    html.element("details", "", |html| {
        html.leaf("summary", "", &format!("What was tried: {}", counted(trials.len(), "trial")));
        let heads = [
            ("", "stage"),
            ("", "categories"),
            ("wide", "parameters"),
            ("number", "rows"),
            ("number", "folds"),
            ("number", "best round"),
            ("number", "metric"),
            ("", "ended"),
            ("number", "seconds"),
        ];
        html.table(&heads, |html| {
            for trial in trials.iter().take(MOST_TRIALS) {
                html.element("tr", "", |html| trial_row(html, trial));
            }
        });
        rest(html, trials.len().saturating_sub(MOST_TRIALS), "trial", "metrics.json");
        note(
            html,
            "Every trial learns from some training rows and is judged on others; trials of one stage are compared with each \
             other. Behind: given up, since another trial was out of reach.",
        );
    });
}

fn trial_row(html: &mut Html, trial: &Value) {
    let whole = |key: &str| trial[key].as_u64().map_or_else(|| "–".to_owned(), count);
    let number = |key: &str| figure_or_dash(trial[key].as_f64());
    let text = |key: &str| trial[key].as_str().unwrap_or("–").replace('_', " ");
    html.leaf("td", "", &text("stage"));
    html.leaf("td", "", &text("encoding"));
    html.leaf("td", "wide code", &parameters(&trial["params"]));
    html.number("", "rows", &whole("rows"));
    html.number("", "folds", &whole("folds"));
    html.number("", "best round", &whole("rounds"));
    html.number("", "metric", &number("value"));
    html.leaf("td", "", &text("end"));
    html.number("", "seconds", &number("seconds"));
}

fn parameters(params: &Value) -> String {
    let pair = |(name, value): (&String, &Value)| format!("{name}={}", value.as_str().unwrap_or_default());
    let pairs: Vec<String> = params.as_object().into_iter().flatten().map(pair).collect();
    visible(&pairs.join(" "), MOST_OF_PARAMETERS)
}
