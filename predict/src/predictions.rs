//! What the predictions of a run are like, as its report, its manifest and the next run's report need it.

use std::sync::Arc;

use features::quality::{FeatureTally, Statistics};
use features::spec::Range;
use serde::{Deserialize, Serialize};

/// Predictions, counted in the bins that the target had in training. Tallies of parts add up to that of the run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PredictionTally {
    /// The sum of each part's, in order. They are added up at the end, so that it does not matter how parts were grouped:
    /// the mean has the same bits for every attempt and every number of shards.
    pub sums: Vec<f64>,
    /// Rows in each bin.
    pub tally: FeatureTally,
}

/// What a manifest says of the predictions.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct PredictionSummary {
    /// Their mean; none where there are none.
    pub mean: Option<f64>,
    /// Upper edges of all bins but the last: tenths of the target in training.
    pub edges: Vec<f64>,
    /// Share of the predictions in each bin.
    pub shares: Vec<f64>,
}

impl PredictionTally {
    /// Nothing counted yet; `target` is what the target was like in training.
    #[must_use]
    pub fn new(target: Option<Arc<Statistics>>) -> Self {
        Self { sums: Vec::new(), tally: FeatureTally::new(target) }
    }

    /// Counts the predictions of a part.
    pub fn count(&mut self, predictions: &[f64]) {
        let narrow: Vec<f32> = predictions.iter().map(|value| *value as f32).collect();
        self.tally.count_numbers(predictions, &narrow, &Range::default());
        self.sums.push(predictions.iter().fold(0.0, |sum, value| sum + value));
    }

    /// Adds those of later parts.
    pub fn add(&mut self, more: Self) {
        self.sums.extend(more.sums);
        self.tally.add(&more.tally);
    }

    /// Whether these can be the predictions of so many parts: they are read from files, which may be damaged.
    #[must_use]
    pub fn is_of(&self, parts: usize) -> bool {
        self.sums.len() == parts && self.sums.iter().all(|sum| sum.is_finite()) && self.tally.fits(self.tally.rows)
    }

    /// What the manifest says of them; `target` as before.
    #[must_use]
    pub fn summary(&self, target: Option<&Statistics>) -> PredictionSummary {
        let rows = self.tally.rows as f64;
        let sum = self.sums.iter().fold(0.0, |sum, more| sum + more);
        // The last bin is for missing values, of which predictions have none.
        let bins = self.tally.bins.split_last().map_or(&[][..], |(_, bins)| bins);
        PredictionSummary {
            mean: Some(sum / rows).filter(|mean| mean.is_finite()),
            edges: target.map(|target| target.edges.iter().map(|edge| f64::from(*edge)).collect()).unwrap_or_default(),
            shares: bins.iter().map(|count| *count as f64 / rows.max(1.0)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up_in_the_bins_of_the_target() {
        let target: Vec<f32> = (0..1_000).map(|row| row as f32).collect();
        let target = Arc::new(Statistics::of_numbers(&target));
        let mut all = PredictionTally::new(Some(Arc::clone(&target)));
        for part in [vec![50.0; 30], vec![950.0; 10]] {
            let mut tally = PredictionTally::new(Some(Arc::clone(&target)));
            tally.count(&part);
            let json = serde_json::to_string(&tally).unwrap();
            all.add(serde_json::from_str(&json).unwrap());
        }
        let summary = all.summary(Some(&target));
        assert_eq!((summary.mean, summary.edges.len(), summary.shares.len()), (Some(275.0), 9, 10));
        assert_eq!((summary.shares[0], summary.shares[9]), (0.75, 0.25));
        assert_eq!(PredictionTally::new(None).summary(None).mean, None);
    }
}
