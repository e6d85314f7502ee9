//! What makes a model look better than it will be: features that know the target, rows that are on both sides of the
//! split. Named as warnings; with `--strict` they end the run.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use error::{Error, Result};
use features::encode::{Feature, Kind};
use features::spec::Spec;
use machine::threads::on_threads;
use ndarray::ArrayView1;
use polars::prelude::PlHashSet;
use xxhash_rust::xxh3::xxh3_64;

use crate::config::TrainConfig;
use crate::features::{ColumnHint, Features};
use crate::read::TrainingData;

/// Rows looked at; more would not change what is found.
const SAMPLE_ROWS: usize = 20_000;
/// Fewer rows than this say nothing: anything fits a handful.
const FEWEST_ROWS: usize = 50;
/// R² of a single feature from which it is hardly an honest predictor.
const ALMOST_PERFECT: f64 = 0.99;
/// Share of the target that a row number may explain: it should not explain any.
const FOLLOWS: f64 = 0.25;
/// Rows on either side, in the order of a feature's values, that a row's target is compared with.
const NEIGHBOURS: usize = 2;

/// Says what speaks against the data, and ends a strict run that has anything of it. `found` was found already, and `data` does
/// not show it. Features are looked at on `threads` threads.
///
/// # Errors
/// [`Error::Data`] with every warning where the run is strict.
pub fn check(
    config: &TrainConfig,
    data: &TrainingData,
    found: Vec<String>,
    features: &Features,
    threads: usize,
) -> Result<Vec<String>> {
    let spec = &config.spec;
    let mut warnings = data.warnings();
    warnings.extend(::features::plan::warnings(spec, data.schema(), data.location()));
    warnings.extend(features.hints.iter().map(ColumnHint::sentence));
    warnings.extend(found);
    warnings.extend(find(data, features, threads));
    warnings.extend(quality_warnings(features));
    warnings.extend(target_out_of_range(data, spec));
    warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    if config.strict && !warnings.is_empty() {
        let all = warnings.join("; ");
        return Err(Error::Data(format!("--strict (STRICT) refuses {}, of which is warned: {all}", data.location())));
    }
    Ok(warnings)
}

/// Looks for leaks; each is one sentence that names the column and what to do.
#[must_use]
pub fn find(data: &TrainingData, features: &Features, threads: usize) -> Vec<String> {
    let mut leaks: Vec<String> = shared_ids(data).into_iter().collect();
    let places = sample(data.train.len());
    if places.len() < FEWEST_ROWS {
        return leaks;
    }
    let target: Vec<f64> = places.iter().map(|&place| data.train.target[place]).collect();
    let target = Target { name: &data.target, ranks: ranks(&target), values: target, rows: data.rows_read() as f64 };
    let of_one = |(index, feature): (usize, &Feature)| {
        feature_leak(feature, &sampled(&features.train.column(index), &places), &target)
    };
    let all: Vec<(usize, &Feature)> = features.features.iter().enumerate().collect();
    let next = AtomicUsize::new(0);
    let look = || {
        let mut found = Vec::new();
        while let Some(one) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            found.extend(of_one(*one).map(|leak| (one.0, leak)));
        }
        found
    };
    let mut found = on_threads(threads.min(all.len()), look).concat();
    found.sort_by_key(|(index, _)| *index);
    leaks.extend(found.into_iter().map(|(_, leak)| leak));
    leaks
}

/// What else speaks against the data, though it is no leak.
#[must_use]
pub fn quality_warnings(features: &Features) -> Vec<String> {
    let mut warnings = Vec::new();
    for (feature, (statistics, tally)) in
        features.features.iter().zip(features.statistics.iter().zip(&features.tallies))
    {
        if statistics.missing >= 1.0 {
            warnings.push(format!("feature \"{}\" has no value in any training row", feature.name));
        }
        if tally.out_of_range > 0 {
            let share = 100.0 * tally.out_of_range as f64 / tally.rows.max(1) as f64;
            warnings.push(format!("{share:.2} % of \"{}\" lie outside its range in the feature spec", feature.name));
        }
    }
    warnings
}

/// The target is no feature, so its range bears on no score: it is a warning instead.
fn target_out_of_range(data: &TrainingData, spec: &Spec) -> Option<String> {
    let range = spec.ranges.get(&data.target)?;
    let targets = || data.train.target.iter().chain(&data.test.target);
    let outside = targets().filter(|target| !range.contains(**target)).count();
    (outside > 0).then(|| {
        format!(
            "{outside} of {} values of the target \"{}\" lie outside its range in the feature spec",
            targets().count(),
            data.target
        )
    })
}

/// The held-out ids are remembered, the fewer of the two, and looked up for every training row.
fn shared_ids(data: &TrainingData) -> Option<String> {
    let test: PlHashSet<&str> = data.test.ids.iter().map(String::as_str).collect();
    let shared: PlHashSet<&str> = data.train.ids.iter().filter_map(|id| test.get(id.as_str()).copied()).collect();
    let mut held_out = data.test.ids.iter().filter(|id| shared.contains(id.as_str()));
    let first = held_out.next()?;
    Some(shared_ids_text(1 + held_out.count() as u64, first, data.test.len()))
}

/// What is to say about ids that are on both sides of the split.
pub(crate) fn shared_ids_text(shared: u64, first: &str, test_rows: usize) -> String {
    format!(
        "{shared} of {test_rows} held-out ids (such as {first}) are also in the training data, so R² is too high: remove \
         them from one side"
    )
}

/// The target of the rows looked at.
struct Target<'a> {
    name: &'a str,
    values: Vec<f64>,
    ranks: Vec<f64>,
    /// Rows of the whole data.
    rows: f64,
}

fn feature_leak(feature: &Feature, values: &[f64], target: &Target<'_>) -> Option<String> {
    let (name, target_name) = (&feature.name, target.name);
    let explained = if feature.xgboost_type() == "c" {
        explained_by_levels(values, &target.values)
    } else {
        let known: Vec<usize> = (0..values.len()).filter(|&row| values[row].is_finite()).collect();
        // What is mostly missing explains only the rows that it is there for.
        if known.len() * 2 < values.len() {
            return None;
        }
        let of_known = |all: &[f64]| -> Vec<f64> { known.iter().map(|&row| all[row]).collect() };
        let (values, of_target, target_ranks) = (of_known(values), of_known(&target.values), of_known(&target.ranks));
        let by_rank = correlation(&ranks(&values), &target_ranks).powi(2);
        let order = order_of(&values);
        let by_neighbours = [&of_target, &target_ranks].map(|target| explained_by_neighbours(&order, target));
        let by_neighbours = by_neighbours[0].max(by_neighbours[1]);
        let follows = by_rank.max(by_neighbours);
        // Days are in order, too, but they do not number rows.
        let may_count = !matches!(feature.kind, Kind::Date { .. });
        if may_count && follows > FOLLOWS && is_row_number(&values, target.rows) {
            return Some(format!(
                "feature \"{name}\" looks like a row number and the target \"{target_name}\" follows it (it explains \
                 {:.0} % of it): it will mean nothing for new rows; exclude it",
                100.0 * follows
            ));
        }
        correlation(&values, &of_target).powi(2).max(follows)
    };
    (explained >= ALMOST_PERFECT).then(|| {
        format!(
            "feature \"{name}\" alone explains {:.1} % of the target \"{target_name}\": if it is only known afterwards, or \
             made from the target, exclude it",
            100.0 * explained
        )
    })
}

/// Up to [`SAMPLE_ROWS`] places in order, evenly spread.
fn sample(rows: usize) -> Vec<usize> {
    let step = rows.div_ceil(SAMPLE_ROWS).max(1);
    (0..rows).step_by(step).collect()
}

fn sampled(column: &ArrayView1<'_, f32>, places: &[usize]) -> Vec<f64> {
    places.iter().map(|&place| f64::from(column[place])).collect()
}

/// Whether the values number the rows of a table of `rows` rows: in their order, or in another one.
fn is_row_number(values: &[f64], rows: f64) -> bool {
    is_row_counter(values) || is_numbering(values, rows)
}

/// Whether every value is larger (or every value smaller) than the one before, in steps of about one size.
fn is_row_counter(values: &[f64]) -> bool {
    let steps: Vec<f64> = values.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let one_way = steps.iter().all(|step| *step > 0.0) || steps.iter().all(|step| *step < 0.0);
    let mean = steps.iter().sum::<f64>() / steps.len().max(1) as f64;
    one_way && steps.iter().all(|step| (step / mean) < 20.0)
}

/// Whether the values are whole numbers, each there once, with hardly any left out: only numbers that were dealt out one by
/// one never meet in so small a range.
fn is_numbering(values: &[f64], rows: f64) -> bool {
    let (least, most) = values
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), &value| (least.min(value), most.max(value)));
    let is_integer = values.iter().all(|value| value.fract() == 0.0);
    let mut seen = HashSet::with_capacity(values.len());
    is_integer && most - least < 2.0 * rows && values.iter().all(|value| seen.insert(value.to_bits()))
}

/// The rows in the order of their values. Rows of one value are next to each other in no order.
fn order_of(values: &[f64]) -> Vec<usize> {
    let shuffled = |row: usize| xxh3_64(&(row as u64).to_le_bytes());
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by_cached_key(|&row| shuffled(row));
    order.sort_by(|&left, &right| values[left].total_cmp(&values[right]));
    order
}

/// Share of the target's variance that the rows next in the order of the values explain, whatever the shape of the curve:
/// each row is compared with the mean of a few on either side.
fn explained_by_neighbours(order: &[usize], target: &[f64]) -> f64 {
    let mean = target.iter().sum::<f64>() / target.len().max(1) as f64;
    let (mut residual, mut variance) = (0.0, 0.0);
    for (place, &row) in order.iter().enumerate() {
        let near = place.saturating_sub(NEIGHBOURS)..(place + NEIGHBOURS + 1).min(order.len());
        let others = near.len().saturating_sub(1).max(1) as f64;
        let sum: f64 = order[near].iter().map(|&near| target[near]).sum();
        residual += (target[row] - (sum - target[row]) / others).powi(2);
        variance += (target[row] - mean).powi(2);
    }
    if variance > 0.0 { 1.0 - residual / variance } else { 0.0 }
}

/// Share of the target's variance that the levels' means explain, each row judged by the mean of the others of its
/// level, so that a level of its own for every row explains nothing.
fn explained_by_levels(codes: &[f64], target: &[f64]) -> f64 {
    let mut sums: std::collections::BTreeMap<u64, (f64, f64)> = std::collections::BTreeMap::new();
    for (code, target) in codes.iter().zip(target) {
        let (sum, count) = sums.entry(code.to_bits()).or_default();
        *sum += target;
        *count += 1.0;
    }
    let total: f64 = target.iter().sum();
    let rows = target.len() as f64;
    let mut residual = 0.0;
    let mut variance = 0.0;
    for (code, target) in codes.iter().zip(target) {
        let (sum, count) = sums.get(&code.to_bits()).copied().unwrap_or_default();
        let others = if count > 1.0 { (sum - target) / (count - 1.0) } else { (total - target) / (rows - 1.0) };
        residual += (target - others).powi(2);
        variance += (target - total / rows).powi(2);
    }
    if variance > 0.0 { 1.0 - residual / variance } else { 0.0 }
}

/// Pearson's correlation; 0 where either side is constant.
fn correlation(left: &[f64], right: &[f64]) -> f64 {
    let rows = left.len() as f64;
    let mean = |values: &[f64]| values.iter().sum::<f64>() / rows;
    let (left_mean, right_mean) = (mean(left), mean(right));
    let (mut products, mut left_squares, mut right_squares) = (0.0, 0.0, 0.0);
    for (left, right) in left.iter().zip(right) {
        let (left, right) = (left - left_mean, right - right_mean);
        products += left * right;
        left_squares += left * left;
        right_squares += right * right;
    }
    let scale = (left_squares * right_squares).sqrt();
    if scale > 0.0 { products / scale } else { 0.0 }
}

/// Ranks from 0, equal values sharing their mean rank (Spearman's correlation is Pearson's of the ranks).
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_unstable_by(|&left, &right| values[left].total_cmp(&values[right]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    while start < order.len() {
        let ties =
            order[start..].iter().take_while(|&&row| values[row].total_cmp(&values[order[start]]).is_eq()).count();
        let rank = start as f64 + (ties - 1) as f64 / 2.0;
        order[start..start + ties].iter().for_each(|&row| ranks[row] = rank);
        start += ties;
    }
    ranks
}

#[cfg(test)]
mod tests {
    use columns::ColumnKind;

    use super::*;
    use features::encode::FeatureSource;

    fn feature(kind: Kind) -> Feature {
        let (name, source_kind) = ("x".to_owned(), ColumnKind::Float);
        let source = FeatureSource::Column(name.clone());
        Feature { name, kind, source, source_kind }
    }

    fn leak(kind: Kind, values: &[f64], target: &[f64]) -> Option<String> {
        let target = Target { name: "y", values: target.to_vec(), ranks: ranks(target), rows: values.len() as f64 };
        feature_leak(&feature(kind), values, &target)
    }

    fn noise(row: usize) -> f64 {
        (xxhash_rust::xxh3::xxh3_64(&row.to_le_bytes()) % 1000) as f64 / 1000.0 - 0.5
    }

    #[test]
    fn the_target_in_another_unit_is_a_leak_and_a_good_predictor_is_not() {
        let target: Vec<f64> = (0..500).map(|row| noise(row) * 10.0).collect();
        let scaled: Vec<f64> = target.iter().map(|target| target * 1.8 + 32.0).collect();
        assert!(leak(Kind::Number, &scaled, &target).unwrap().contains("alone explains 100.0 %"));
        let curved: Vec<f64> = target.iter().map(|target| target.exp()).collect();
        assert!(leak(Kind::Number, &curved, &target).is_some(), "a monotone curve of the target");
        let good: Vec<f64> = target.iter().enumerate().map(|(row, target)| target + noise(row + 9_999) * 3.0).collect();
        assert_eq!(leak(Kind::Number, &good, &target), None);
    }

    #[test]
    fn a_row_number_is_a_leak_only_where_the_target_follows_it() {
        let counter: Vec<f64> = (0..500).map(f64::from).collect();
        let following: Vec<f64> = counter.iter().enumerate().map(|(row, count)| count + noise(row) * 300.0).collect();
        assert!(leak(Kind::Number, &counter, &following).unwrap().contains("row number"));
        let unrelated: Vec<f64> = (0..500).map(noise).collect();
        assert_eq!(leak(Kind::Number, &counter, &unrelated), None);
        assert_eq!(leak(Kind::Date { as_of: None }, &counter, &following), None, "days are no row numbers");
    }

    #[test]
    fn a_row_number_is_known_in_any_order_of_the_rows() {
        let mut order: Vec<usize> = (0..500).collect();
        order.sort_by_key(|&row| xxh3_64(&row.to_be_bytes()));
        let counter: Vec<f64> = order.iter().map(|&row| row as f64).collect();
        let following: Vec<f64> = order.iter().map(|&row| row as f64 + noise(row) * 300.0).collect();
        assert!(leak(Kind::Number, &counter, &following).unwrap().contains("row number"));
        let up_and_down: Vec<f64> = counter.iter().map(|count| (count / 40.0).sin()).collect();
        assert!(leak(Kind::Number, &counter, &up_and_down).unwrap().contains("row number"));
        let doubled: Vec<f64> = counter.iter().map(|count| (count / 2.0).floor()).collect();
        assert_eq!(leak(Kind::Number, &doubled, &following), None, "an amount that some rows share");
    }

    #[test]
    fn a_curve_of_the_target_is_a_leak_and_the_order_of_the_table_is_not() {
        let values: Vec<f64> = (0..600).map(|row| 8.0 * noise(row)).collect();
        let wave: Vec<f64> = values.iter().map(|value| value.cos()).collect();
        assert!(leak(Kind::Number, &values, &wave).unwrap().contains("alone explains"));
        let sorted: Vec<f64> = (0..600).map(f64::from).collect();
        let flag: Vec<f64> = (0..600).map(|row| f64::from(noise(row) > 0.0)).collect();
        assert_eq!(leak(Kind::Number, &flag, &sorted), None);
    }

    #[test]
    fn levels_that_name_the_target_are_a_leak_and_a_level_for_every_row_is_not() {
        let target: Vec<f64> = (0..600).map(|row| f64::from(row % 3)).collect();
        let levels = Kind::Category { levels: vec![] };
        assert!(leak(levels.clone(), &target, &target).is_some());
        let unique: Vec<f64> = (0..600).map(f64::from).collect();
        assert_eq!(leak(levels, &unique, &target), None);
    }

    #[test]
    fn equal_values_share_a_rank() {
        assert_eq!(ranks(&[5.0, 1.0, 5.0, 9.0]), [1.5, 0.0, 1.5, 3.0]);
    }
}
