//! How rows were validated: what was trained on and held out, R² by span of time or size of group, and whether random rows flatter.

use std::collections::BTreeMap;

use columns::ColumnKind;
use columns::text::text_of_nanoseconds;
use evaluation::{Slice, scores_by_slice};
use serde::Serialize;

use super::Subject;
use crate::dependence::Estimate;
use crate::read::Rows;
use page::figures::figure;

/// Spans of time that held-out rows are scored in.
const MOST_SPANS: usize = 6;
/// Groups are scored together by their held-out rows: those with fewer than the second, third and so on.
const SIZES: [(u64, &str); 5] =
    [(1, "1 row"), (2, "2 to 3 rows"), (4, "4 to 9 rows"), (10, "10 to 49 rows"), (50, "50 rows and more")];

/// The split of a run, for `metrics.json` and the page.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Validation {
    /// `random`, `time`, `group`, `time and group` or `given`.
    pub(super) split: &'static str,
    /// By time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) time: Option<OfTime>,
    /// By group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) group: Option<OfGroup>,
    /// Usable rows on neither side.
    pub(super) rows_on_neither_side: u64,
    /// Whether random rows flatter, where neither time nor group is set.
    pub(super) estimate: Option<Estimate>,
}

/// Rows in order of time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct OfTime {
    pub(super) column: String,
    pub(super) gap: String,
    /// The oldest and the newest instant of the training rows.
    pub(super) trained_on: [String; 2],
    /// The same of the held-out rows.
    pub(super) held_out: [String; 2],
    /// R² in spans of about equal rows.
    pub(super) spans: Vec<Part>,
}

/// Rows of whole groups.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct OfGroup {
    pub(super) column: String,
    pub(super) groups_trained_on: usize,
    pub(super) groups_held_out: usize,
    /// R² of groups of about the same size.
    pub(super) sizes: Vec<Part>,
}

/// Some of the held-out rows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Part {
    pub(super) name: String,
    pub(super) rows: usize,
    /// None where these rows have no R².
    pub(super) r2: Option<f64>,
    pub(super) mae: Option<f64>,
}

/// The split of a run.
pub(super) fn validation(subject: &Subject<'_>) -> Validation {
    let (data, spec) = (subject.data, &subject.config.spec.validation);
    let of_time = spec.time.as_ref().map(|column| of_time(subject, column));
    let of_group = spec.group.as_ref().map(|column| of_group(subject, column));
    let split = match (subject.config.test_data.is_some(), &of_time, &of_group) {
        (true, ..) => "given",
        (_, None, None) => "random",
        (_, Some(_), None) => "time",
        (_, None, Some(_)) => "group",
        (_, Some(_), Some(_)) => "time and group",
    };
    Validation {
        split,
        time: of_time,
        group: of_group,
        rows_on_neither_side: data.split.neither,
        estimate: subject.estimate.cloned(),
    }
}

/// An instant as people write it.
pub(super) fn instant_text(kind: Option<ColumnKind>, instant: f64) -> String {
    let of_date = || text_of_nanoseconds(instant as i128 * 1_000);
    match kind {
        Some(ColumnKind::Date) => of_date().unwrap_or_else(|| figure(instant)),
        _ if instant.fract() == 0.0 && instant.abs() < 1e15 => instant.to_string(),
        _ => figure(instant),
    }
}

fn of_time(subject: &Subject<'_>, column: &str) -> OfTime {
    let data = subject.data;
    let text = |instant: f64| instant_text(data.split.time_kind, instant);
    let ends = |rows: &Rows| {
        let known = || rows.keys.instants.iter().flatten().copied().filter(|instant| instant.is_finite());
        [known().fold(f64::INFINITY, f64::min), known().fold(f64::NEG_INFINITY, f64::max)]
            .map(|instant| if instant.is_finite() { text(instant) } else { "–".to_owned() })
    };
    let gap = subject.config.spec.validation.gap.as_ref();
    OfTime {
        column: column.to_owned(),
        gap: gap.map_or_else(|| "0".to_owned(), ToString::to_string),
        trained_on: ends(&data.train),
        held_out: ends(&data.test),
        spans: spans(subject, &text),
    }
}

fn spans(subject: &Subject<'_>, text: &dyn Fn(f64) -> String) -> Vec<Part> {
    let Some(instants) = &subject.data.test.keys.instants else { return Vec::new() };
    let mut sorted: Vec<f64> = instants.iter().copied().filter(|instant| instant.is_finite()).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let mut starts: Vec<f64> =
        (0..MOST_SPANS).filter_map(|span| sorted.get(sorted.len() * span / MOST_SPANS).copied()).collect();
    starts.dedup();
    let span = |instant: f64| starts.partition_point(|start| *start <= instant);
    let ends: Vec<f64> = (1..=starts.len())
        .map(|place| sorted.iter().copied().filter(|instant| span(*instant) == place).fold(f64::NEG_INFINITY, f64::max))
        .collect();
    let name = |place: usize| match (
        place.checked_sub(1).and_then(|place| starts.get(place)),
        ends.get(place.wrapping_sub(1)),
    ) {
        (Some(start), Some(end)) if start < end => format!("{} to {}", text(*start), text(*end)),
        (Some(start), _) => text(*start),
        _ => "no time".to_owned(),
    };
    let of_rows: Vec<usize> =
        instants.iter().map(|instant| if instant.is_finite() { span(*instant) } else { 0 }).collect();
    parts(subject, &of_rows, &name)
}

fn of_group(subject: &Subject<'_>, column: &str) -> OfGroup {
    let counts = |rows: &Rows| {
        let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
        rows.keys.groups.iter().flatten().for_each(|group| *counts.entry(*group).or_default() += 1);
        counts
    };
    let (train, test) = (counts(&subject.data.train), counts(&subject.data.test));
    let class = |group: &u64| {
        let rows = test.get(group).copied().unwrap_or_default();
        SIZES.iter().rposition(|(least, _)| rows >= *least).unwrap_or_default()
    };
    let of_rows: Vec<usize> = subject.data.test.keys.groups.iter().flatten().map(class).collect();
    let name = |class: usize| SIZES.get(class).map_or_else(String::new, |(_, name)| (*name).to_owned());
    OfGroup {
        column: column.to_owned(),
        groups_trained_on: train.len(),
        groups_held_out: test.len(),
        sizes: parts(subject, &of_rows, &name),
    }
}

/// Scores of the held-out rows, which are each of one part.
fn parts(subject: &Subject<'_>, of_rows: &[usize], name: &dyn Fn(usize) -> String) -> Vec<Part> {
    let test = &subject.data.test;
    // Two digits keep the parts in order.
    let values: Vec<String> = of_rows.iter().map(|part| format!("{part:02}")).collect();
    let scored = scores_by_slice(&test.target, &subject.evaluation.predictions, test.weights.as_deref(), &values);
    let part = |Slice { value, rows, scores }: Slice| Part {
        name: name(value.parse().unwrap_or_default()),
        rows,
        r2: scores.as_ref().ok().map(|scores| scores.r2),
        mae: scores.ok().map(|scores| scores.mae),
    };
    scored.unwrap_or_default().into_iter().map(part).collect()
}
