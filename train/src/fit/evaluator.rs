//! The metric of a fold's validation rows after each round.
//!
//! XGBoost's own evaluation fills a row of all columns for each validation row and round, from the bins of its matrix, where a value has to
//! be looked for if any is missing: on 64,000 × 72 at depth 3 that took 0.69 of the time of a trial (perf). A tree asks about a few of the columns,
//! so the usual metrics of many rows are computed here from the leaves that they come to.

use std::ops::Range;

use error::{Error, Result};
use scoring::{DescentScratch, Ensemble, EnsembleError, Link, Tree};
use xgboost::{Booster, Evaluation, PredictionKind};

use super::folds::{Fold, ValidationRows};

/// Evaluates one fold of a trial, round by round.
#[derive(Debug, Default)]
pub(super) struct Evaluator {
    way: Way,
    /// Of the rounds that [`Evaluator::take`] has not given out yet.
    evaluations: Vec<Option<Evaluation>>,
}

/// How a fold is evaluated, which its first round tells.
#[derive(Debug, Default)]
enum Way {
    #[default]
    Unknown,
    /// By XGBoost.
    Library,
    /// From the leaves that the rows come to.
    Leaves(Leaves),
}

impl Evaluator {
    /// Takes note of a round that was just done.
    ///
    /// # Errors
    /// What XGBoost refuses.
    pub(super) fn after_round(&mut self, booster: &mut Booster, fold: &Fold, round: u32) -> Result<()> {
        if let Way::Leaves(leaves) = &mut self.way {
            leaves.open.end = round + 1;
            return Ok(());
        }
        let evaluation = booster.evaluate(round, &[(&fold.validation, "validation")])?.pop();
        if let Way::Unknown = self.way {
            let metric = evaluation.as_ref().and_then(|evaluation| Metric::of(&evaluation.metric));
            let metric = metric.filter(|_| fold.validation_rows.is_some());
            let leaves = metric.map(|metric| Leaves::begin(booster, fold, metric, round)).transpose()?.flatten();
            self.way = leaves.map_or(Way::Library, Way::Leaves);
        }
        self.evaluations.push(evaluation);
        Ok(())
    }

    /// The metrics of the rounds since the last time.
    ///
    /// # Errors
    /// What XGBoost refuses.
    pub(super) fn take(&mut self, booster: &mut Booster, fold: &Fold) -> Result<Vec<Option<Evaluation>>> {
        let mut evaluations = std::mem::take(&mut self.evaluations);
        if let (Way::Leaves(leaves), Some(validation_rows)) = (&mut self.way, &fold.validation_rows) {
            evaluations.extend(leaves.evaluate(booster, validation_rows)?.into_iter().map(Some));
        }
        Ok(evaluations)
    }
}

/// A metric that is computed here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Metric {
    Rmse,
    Mae,
}

impl Metric {
    fn of(name: &str) -> Option<Self> {
        match name {
            "rmse" => Some(Self::Rmse),
            "mae" => Some(Self::Mae),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Rmse => "rmse",
            Self::Mae => "mae",
        }
    }

    /// The metric of predictions, weighted (`src/metric/elementwise_metric.cu` of XGBoost): differences as `f32`, sums as `f64`.
    fn of_predictions(self, predictions: &[f32], validation_rows: &ValidationRows) -> f64 {
        let (mut sum, mut rows) = (0.0, 0.0);
        for (row, (prediction, label)) in predictions.iter().zip(&validation_rows.labels).enumerate() {
            let difference = label - prediction;
            let error = match self {
                Self::Rmse => difference * difference,
                Self::Mae => difference.abs(),
            };
            let weight = validation_rows.weights.as_ref().map_or(1.0, |weights| weights[row]);
            sum += f64::from(error * weight);
            rows += f64::from(weight);
        }
        let mean = if rows == 0.0 { sum } else { sum / rows };
        match self {
            Self::Rmse => mean.sqrt(),
            Self::Mae => mean,
        }
    }
}

/// The margins of the validation rows so far, to which each tree adds its leaves.
#[derive(Debug)]
struct Leaves {
    metric: Metric,
    link: Link,
    margins: Vec<f32>,
    /// Rounds that are not in the margins yet.
    open: Range<u32>,
    scratch: DescentScratch,
}

impl Leaves {
    /// From the margins after a round on; none where the model is not the plain sum of its trees, which is XGBoost's to evaluate.
    fn begin(booster: &mut Booster, fold: &Fold, metric: Metric, round: u32) -> Result<Option<Self>> {
        let next = round + 1;
        let Ok(ensemble) = trees_of(booster, round..next)? else { return Ok(None) };
        let Some(link) = Link::of_objective(ensemble.objective()) else { return Ok(None) };
        let margins = booster.predict_matrix(&fold.validation, PredictionKind::Margin, 0..next)?;
        Ok(Some(Self { metric, link, margins, open: next..next, scratch: DescentScratch::default() }))
    }

    /// The metric after each open round.
    fn evaluate(&mut self, booster: &mut Booster, validation_rows: &ValidationRows) -> Result<Vec<Evaluation>> {
        let Range { start, end } = self.open.clone();
        if start == end {
            return Ok(Vec::new());
        }
        let ensemble = trees_of(booster, start..end)?
            .map_err(|error| Error::Defect(format!("rounds {start}..{end} of a trial: {error}")))?;
        self.open.start = end;
        let trees_of_round = ensemble.trees().len() / (end - start) as usize;
        Ok(ensemble.trees().chunks(trees_of_round.max(1)).map(|trees| self.add(trees, validation_rows)).collect())
    }

    /// The metric after a round of these trees.
    fn add(&mut self, trees: &[Tree], validation_rows: &ValidationRows) -> Evaluation {
        for tree in trees {
            tree.add_leaves(&validation_rows.columns, &mut self.margins, &mut self.scratch);
        }
        let value = if self.link == Link::Identity {
            self.metric.of_predictions(&self.margins, validation_rows)
        } else {
            let mut predictions = self.margins.clone();
            self.link.transform(&mut predictions);
            self.metric.of_predictions(&predictions, validation_rows)
        };
        Evaluation { matrix: "validation".to_owned(), metric: self.metric.name().to_owned(), value }
    }
}

/// The trees of some rounds.
fn trees_of(booster: &mut Booster, rounds: Range<u32>) -> Result<std::result::Result<Ensemble, EnsembleError>> {
    let mut part = booster.slice(rounds)?;
    // A few trees are written in less time than other threads need to wake up.
    part.set_threads(1)?;
    Ok(Ensemble::from_ubj(&part.save()?))
}

#[cfg(test)]
mod tests {
    use testkit::random::Random;
    use xgboost::{Batch, Column, DMatrix, Feature, FeatureKind, Params, QuantileOptions};

    use super::*;

    /// Four numbers, a fifth of them missing, and a category, with targets in (0, 1) that follow from them, and weights.
    fn rows(random: &mut Random, count: usize) -> ValidationRows {
        let mut columns: Vec<Vec<f32>> = (0..4)
            .map(|_| {
                let value = |random: &mut Random| if random.below(5) == 0 { f32::NAN } else { random.share() as f32 };
                (0..count).map(|_| value(random)).collect()
            })
            .collect();
        columns.push((0..count).map(|_| random.below(90) as f32).collect());
        let label = |row: usize| {
            let sum: f32 = columns[..4].iter().map(|column| column[row]).filter(|value| !value.is_nan()).sum();
            (sum + (columns[4][row] * 7.0) % 11.0 / 11.0) / 5.1 + 0.01
        };
        let labels = (0..count).map(label).collect();
        let weights = Some((0..count).map(|_| random.below(4) as f32).collect());
        ValidationRows { columns, labels, weights }
    }

    fn fold(params: &Params) -> Fold {
        let mut random = Random::new(5);
        let kind = |place: usize| if place == 4 { FeatureKind::Category } else { FeatureKind::Number };
        let features: Vec<Feature> =
            (0..5).map(|place| Feature { name: place.to_string(), kind: kind(place) }).collect();
        let matrix = |rows: &ValidationRows, reference: Option<&DMatrix>| {
            let columns = rows.columns.iter().map(|column| Column::from(column.as_slice())).collect();
            let batch = Batch { columns, labels: Some(&rows.labels), weights: rows.weights.as_deref() };
            let options = QuantileOptions { max_bin: params.max_bin(), threads: 1, reference };
            DMatrix::quantile(&features, &batch, &options).unwrap()
        };
        let training = matrix(&rows(&mut random, 3_000), None);
        let validation_rows = rows(&mut random, 1_000);
        let validation = matrix(&validation_rows, Some(&training));
        Fold::of_matrices(training, validation, Some(validation_rows))
    }

    /// The way that a fold is evaluated, after it was compared with XGBoost's own evaluation.
    fn compared(given: &[(&str, &str)]) -> Way {
        let params = Params::parse(given.iter().copied()).unwrap();
        let fold = fold(&params);
        let booster = || Booster::new(&params.for_booster(1, 7), &[&fold.training, &fold.validation]).unwrap();
        let (mut ours, mut theirs, mut evaluator) = (booster(), booster(), Evaluator::default());
        let mut from = 0;
        for stride in [1, 3, 10, 1] {
            let mut expected = Vec::new();
            for round in from..from + stride {
                for one in [&mut ours, &mut theirs] {
                    one.update(round, &fold.training).unwrap();
                }
                evaluator.after_round(&mut ours, &fold, round).unwrap();
                expected.push(theirs.evaluate(round, &[(&fold.validation, "validation")]).unwrap().pop().unwrap());
            }
            let found = evaluator.take(&mut ours, &fold).unwrap();
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.into_iter().flatten().zip(expected) {
                assert_eq!((&found.matrix, &found.metric), (&expected.matrix, &expected.metric));
                let apart = (found.value - expected.value).abs() / expected.value;
                assert!(apart < 1e-6, "{given:?}: {} for {}", found.value, expected.value);
            }
            from += stride;
        }
        let margins = theirs.predict_matrix(&fold.validation, PredictionKind::Margin, 0..from).unwrap();
        if let Way::Leaves(leaves) = &evaluator.way {
            assert_eq!(leaves.margins, margins, "{given:?}");
        }
        evaluator.way
    }

    #[test]
    fn the_usual_metrics_are_those_of_xgboost() {
        let ways: [&[(&str, &str)]; 8] = [
            &[],
            &[("max_depth", "9"), ("eta", "0.05"), ("max_cat_to_onehot", "1")],
            &[("subsample", "0.7"), ("colsample_bynode", "0.6"), ("num_parallel_tree", "3")],
            &[("grow_policy", "lossguide"), ("max_leaves", "20"), ("max_depth", "0")],
            &[("objective", "reg:absoluteerror")],
            &[("objective", "reg:logistic"), ("max_bin", "16")],
            &[("objective", "count:poisson"), ("eval_metric", "mae")],
            &[("objective", "reg:pseudohubererror"), ("eval_metric", "rmse")],
        ];
        for given in ways {
            assert!(matches!(compared(given), Way::Leaves(_)), "{given:?}");
        }
    }

    #[test]
    fn others_are_left_to_xgboost() {
        let ways: [&[(&str, &str)]; 3] = [
            &[("objective", "count:poisson")],
            &[("eval_metric", "mape")],
            &[("booster", "dart"), ("rate_drop", "0.3")],
        ];
        for given in ways {
            assert!(matches!(compared(given), Way::Library), "{given:?}");
        }
    }
}
