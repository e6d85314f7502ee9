//! Whether R² on rows held out at random flatters: an estimate by small models, where the user says nothing of time or groups.
//!
//! Rows of a sample are judged by two small models: the newest rows by each column of dates, and the rows of unknown groups of each
//! column whose values repeat as an entity's do. One model has learnt only from the others, as `evaluation::split` deals them out in a run
//! that is validated so; the other one from as many random rows, so that it knows the neighbours of the rows that it is judged
//! on. Both judge the same rows: that these are harder or easier than the rest has no part in the difference. Work is counted, not
//! timed, so that the same rows give the same figures.

mod candidates;
mod small_model;

use std::collections::HashSet;
use std::time::Instant;

use error::{Error, Result};
use evaluation::split::HoldOut;
use evaluation::{MetricError, Paired, R2Drop, r2_drop};
use machine::threads::on_own_thread;
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use self::candidates::{Candidates, Column};
use self::small_model::{BothWays, SmallModel};
use crate::config::TrainConfig;
use crate::features::Features;
use crate::fit::TargetScale;
use crate::read::TrainingData;

/// Keeps these splits apart from every other use of hashes.
const SEED_OFFSET: u64 = 0x5eed_0007;
/// Minimum number of training rows: fewer tell nothing.
const LEAST_ROWS: usize = 400;
/// Cells (rows × columns) of a sample for all columns that are asked about, and the least and the most rows that it has.
const SAMPLE_CELLS: usize = 200_000;
const SAMPLE_ROWS: (usize, usize) = (2_000, 12_000);
/// The share of the sample that judges.
const JUDGED: f64 = 0.25;
/// Minimum number of rows that judge, and of groups among them.
const LEAST_JUDGED: usize = 60;
const LEAST_GROUPS: usize = 15;
/// A drop of R² is named from here on, if it is beyond its bootstrap bound at this level.
const NAMED_DROP: f64 = 0.02;
const LEVEL: f64 = 0.99;

/// What the estimate came to; `None` of a kind where no column is of that kind.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Estimate {
    /// The lowest R² on the newest rows.
    pub newest: Option<Figure>,
    /// The lowest R² on unknown groups.
    pub new_groups: Option<Figure>,
    /// Rows of the sample.
    pub rows: usize,
    /// How long it took.
    pub seconds: f64,
}

/// How a small model did on other rows than random ones.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// The column that says which rows these are.
    pub column: String,
    /// R² of the small model that has learnt from random rows.
    pub random: f64,
    /// R² on the same rows of the one that has learnt from none of them, nor from what they depend on.
    pub r2: f64,
    /// The least by which the second is lower, at a level of 99 %.
    pub drop_at_least: f64,
    /// Whether that is worth a warning.
    pub is_lower: bool,
}

/// What the estimate is made of.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// What the run is asked to do.
    pub config: &'a TrainConfig,
    /// The rows that features were learnt from.
    pub data: &'a TrainingData,
    /// Their features.
    pub features: &'a Features,
    /// How XGBoost sees the target.
    pub scale: TargetScale,
    /// Threads to train and read with.
    pub threads: usize,
    /// Whether all rows and columns are in memory, so that excluded columns can be read too.
    pub is_in_memory: bool,
}

impl Estimate {
    /// R² on random rows, beside the figure that is lower by more.
    #[must_use]
    pub fn random(&self) -> Option<f64> {
        let figures = self.newest.iter().chain(&self.new_groups);
        figures
            .max_by(|one, other| (one.random - one.r2).total_cmp(&(other.random - other.r2)))
            .map(|figure| figure.random)
    }

    /// The warnings that it is worth, each with both figures and the setting.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let newest = self.newest.as_ref().filter(|figure| figure.is_lower).map(|Figure { column, random, r2, .. }| {
            format!(
                "R² on random rows flatters where rows to come are newer: a small model has R² {random:.3} where it has learnt from random rows \
                 and {r2:.3} where the rows that judge it are the newest by \"{column}\"; validate with --time {column} (TIME_COLUMN)"
            )
        });
        let groups = self.new_groups.as_ref().filter(|figure| figure.is_lower).map(|Figure { column, random, r2, .. }| {
            format!(
                "R² on random rows flatters where rows to come are of another \"{column}\": a small model has R² {random:.3} where it has \
                 learnt from random rows and {r2:.3} where it has not seen the \"{column}\"; validate with --group {column} (GROUP_COLUMN)"
            )
        });
        newest.into_iter().chain(groups).collect()
    }
}

/// Makes the estimate. None where rows are validated by time or group already, or there are too few of them.
///
/// # Errors
/// Storage errors as they are; [`Error::Defect`] where XGBoost refuses the small model.
pub async fn estimate(subject: &Subject<'_>) -> Result<Option<Estimate>> {
    if !subject.config.spec.validation.is_random() || subject.data.train.len() < LEAST_ROWS {
        return Ok(None);
    }
    let started = Instant::now();
    let candidates = Candidates::find(subject).await?;
    if candidates.is_empty() {
        return Ok(Some(Estimate { seconds: started.elapsed().as_secs_f64(), ..Estimate::default() }));
    }
    let judge = || judged(subject, &candidates);
    let estimate = tokio::task::block_in_place(|| on_own_thread(judge))?;
    let seconds = started.elapsed().as_secs_f64();
    let r2 = |figure: &Option<Figure>| figure.as_ref().map(|figure| figure.r2);
    tracing::info!(
        r2_sample_random = estimate.random(),
        r2_newest = r2(&estimate.newest),
        r2_new_groups = r2(&estimate.new_groups),
        rows = estimate.rows,
        seconds,
        "small models tell whether random rows flatter"
    );
    Ok(Some(Estimate { seconds, ..estimate }))
}

fn judged(subject: &Subject<'_>, candidates: &Candidates) -> Result<Estimate> {
    let seed = u64::from(subject.config.seed).wrapping_add(SEED_OFFSET);
    let rows = sample(subject, candidates, seed);
    let model = SmallModel { subject, rows: &rows, seed };
    let hold_out = HoldOut { fraction: JUDGED, seed };
    let lowest = |columns: &[Column], is_time: bool| -> Result<Option<Figure>> {
        let mut lowest: Option<Figure> = None;
        for column in columns {
            let keys = column.keys(&rows, is_time);
            let Some(both) = model.both_ways(&keys, &hold_out.sides(&keys).of_rows)? else { continue };
            let Some(R2Drop { from, to, at_least }) = both.drop(seed)? else { continue };
            let is_lower = from - to > NAMED_DROP && at_least > 0.0;
            let figure =
                Figure { column: column.name.clone(), random: from, r2: to, drop_at_least: at_least, is_lower };
            // What is lower for sure comes before what seems to be.
            if lowest.as_ref().is_none_or(|lowest| (!is_lower, to) < (!lowest.is_lower, lowest.r2)) {
                lowest = Some(figure);
            }
        }
        Ok(lowest)
    };
    let (newest, new_groups) = (lowest(&candidates.times, true)?, lowest(&candidates.groups, false)?);
    Ok(Estimate { newest, new_groups, rows: rows.len(), seconds: 0.0 })
}

/// The rows that small models learn from and are judged on: all training rows, or some, of whole groups where there are any, since
/// rows of a group depend on one another only where they are there together.
fn sample(subject: &Subject<'_>, candidates: &Candidates, seed: u64) -> Vec<usize> {
    let (all, width) = (subject.data.train.len(), subject.features.features.len());
    let asked = candidates.times.len() + candidates.groups.len();
    let most = (SAMPLE_CELLS / (width * asked).max(1)).clamp(SAMPLE_ROWS.0, SAMPLE_ROWS.1);
    let share = most as f64 / all as f64;
    let is_chosen = |row: &usize| {
        let hash = match candidates.groups.first() {
            Some(column) => xxh3_64_with_seed(&column.group(*row).to_le_bytes(), seed),
            None => xxh3_64_with_seed(subject.data.train.ids[*row].as_bytes(), seed.wrapping_add(1)),
        };
        share >= 1.0 || (hash as f64) / 2_f64.powi(64) < share
    };
    (0..all).filter(is_chosen).collect()
}

impl BothWays {
    /// How far R² falls where a model has not learnt from what the rows depend on; none where these rows say nothing.
    fn drop(&self, seed: u64) -> Result<Option<R2Drop>> {
        let groups = self.clusters.as_ref().map(|clusters| clusters.iter().collect::<HashSet<_>>().len());
        if self.targets.len() < LEAST_JUDGED || groups.is_some_and(|groups| groups < LEAST_GROUPS) {
            return Ok(None);
        }
        let paired = Paired {
            targets: &self.targets,
            from: &self.at_random,
            to: &self.apart,
            weights: self.weights.as_deref(),
            clusters: self.clusters.as_deref(),
        };
        match r2_drop(&paired, LEVEL, seed) {
            Ok(drop) => Ok(drop),
            // Rows whose target is the same say nothing either.
            Err(MetricError::NoRows | MetricError::Constant { .. }) => Ok(None),
            Err(error) => Err(Error::Defect(format!("the estimate of R² on other rows: {error}"))),
        }
    }
}
