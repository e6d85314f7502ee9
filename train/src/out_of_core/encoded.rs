//! The columns of the matrix for batches of rows.

use columns::ColumnSource;
use error::Result;
use evaluation::split::CrossFolds;
use features::encode::target::{FoldMeans, FoldSums, Visible};
use features::encode::{BadRows, Encoder, Feature, Kind};
use features::quality::FeatureTally;
use features::spec::Spec;

use crate::read::Rows;

/// The columns of a matrix and how each is made.
#[derive(Debug)]
pub(super) struct MatrixColumns {
    encoder: Encoder,
    /// For columns that hold means of the target: what stands for a level's code while the model is fitted.
    means: Vec<Option<Mean>>,
    /// What these means are made of.
    visible: Visible,
}

/// A column of means of the target.
#[derive(Debug)]
struct Mean {
    feature: Feature,
    learnt: Option<FoldMeans>,
}

impl MatrixColumns {
    /// The columns as they are scored.
    pub(super) fn of(features: &[Feature], spec: &Spec) -> Result<Self> {
        let encoder = Encoder::bind(features, &spec.ranges)?;
        Ok(Self { encoder, means: features.iter().map(|_| None).collect(), visible: Visible::OtherFolds { folds: 2 } })
    }

    /// The columns as a model is fitted to them. Those that `are_means` give levels' codes until their means are learnt.
    pub(super) fn for_means(features: &[Feature], are_means: &[bool], spec: &Spec, visible: Visible) -> Result<Self> {
        let is_mean = |index: usize| are_means.get(index).copied().unwrap_or(false);
        let coded: Vec<Feature> = features
            .iter()
            .enumerate()
            .map(|(index, one)| if is_mean(index) { coded(one) } else { one.clone() })
            .collect();
        let mean = |index: usize| is_mean(index).then(|| Mean { feature: coded[index].clone(), learnt: None });
        let means = (0..features.len()).map(mean).collect();
        Ok(Self { encoder: Encoder::bind(&coded, &spec.ranges)?, means, visible })
    }

    /// Whether a column holds means of the target.
    pub(super) fn has_means(&self) -> bool {
        self.means.iter().any(Option::is_some)
    }

    /// Nothing but the codes that means are learnt from.
    pub(super) fn codes_alone(&self, spec: &Spec) -> Result<Self> {
        let features: Vec<Feature> = self.means.iter().flatten().map(|mean| mean.feature.clone()).collect();
        Self::of(&features, spec)
    }

    /// Sums for every column of means, in order.
    pub(super) fn sums(&self) -> Sums {
        let of = |mean: &Mean| FoldSums::new(mean.feature.levels().unwrap_or_default().len(), self.visible);
        Sums(self.means.iter().flatten().map(of).collect())
    }

    /// Takes over what was learnt; the features get the means over all rows.
    pub(super) fn take(&mut self, sums: Sums, features: &mut [Feature]) {
        let learning =
            self.means.iter_mut().zip(features).filter_map(|(mean, feature)| Some((mean.as_mut()?, feature)));
        for ((mean, feature), sums) in learning.zip(sums.0) {
            let learnt = sums.means();
            if let Kind::Encoded { values, default, .. } = &mut feature.kind {
                values.clone_from(&learnt.all.values);
                *default = learnt.all.default;
            }
            mean.learnt = Some(learnt);
        }
    }

    /// Number of columns.
    pub(super) fn len(&self) -> usize {
        self.encoder.len()
    }

    /// The input columns that they are made from.
    pub(super) fn input_columns(&self) -> Vec<String> {
        self.encoder.input_columns()
    }

    /// One column of a batch. `used` are the rows of it that count, with the fold of each.
    pub(super) fn encode(&self, index: usize, source: &dyn ColumnSource, used: &Used<'_>) -> Result<Vec<f32>> {
        let mut values = Vec::new();
        self.encoder.encode(index, source, &mut values, &mut FeatureTally::new(None), &mut BadRows::default())?;
        if used.rows.len() < values.len() {
            values = used.rows.iter().map(|&row| values[row as usize - used.first]).collect();
        }
        if let Some(means) = self.means[index].as_ref().and_then(|mean| mean.learnt.as_ref()) {
            values.iter_mut().zip(used.folds).for_each(|(value, &fold)| *value = means.of(fold, *value));
        }
        Ok(values)
    }
}

/// A batch of the matrix.
#[derive(Debug)]
pub(super) struct EncodedBatch {
    /// One list for each column, NaN where missing.
    pub(super) cells: Vec<Vec<f32>>,
    /// Which rows of the side these are.
    pub(super) rows: Vec<usize>,
    /// The targets of these rows.
    pub(super) labels: Vec<f32>,
    /// Their weights, where rows have any.
    pub(super) weights: Option<Vec<f32>>,
}

/// Rows of a batch that count.
#[derive(Debug, Clone, Copy)]
pub(super) struct Used<'a> {
    /// Their places in the table.
    pub(super) rows: &'a [u32],
    /// The place of the batch's first row.
    pub(super) first: usize,
    /// Where they read means of the target; none for rows that are not fitted to.
    pub(super) folds: &'a [u8],
}

/// The levels of an encoded category as codes.
fn coded(feature: &Feature) -> Feature {
    let levels = feature.levels().unwrap_or_default().to_vec();
    Feature { kind: Kind::Category { levels }, ..feature.clone() }
}

/// Sums of the target for every column of means.
pub(super) struct Sums(Vec<FoldSums>);

impl Sums {
    /// Changes the sums of every column, all numbers of one at a time.
    pub(super) fn each_mut(&mut self, mut change: impl FnMut(&mut [f64]) -> Result<()>) -> Result<()> {
        for sums in &mut self.0 {
            let mut values = sums.to_values();
            change(&mut values)?;
            sums.set_values(&values);
        }
        Ok(())
    }

    /// Adds the rows of a batch of codes.
    pub(super) fn add(&mut self, batch: &EncodedBatch, rows: &Rows, folds: &CrossFolds) {
        for (sums, codes) in self.0.iter_mut().zip(&batch.cells) {
            for (&code, &row) in codes.iter().zip(&batch.rows) {
                let weight = rows.weights.as_ref().map_or(1.0, |weights| f64::from(weights[row]));
                sums.add(folds.adds()[row], code, rows.target[row], weight);
            }
        }
    }
}
