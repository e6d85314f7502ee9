//! Whether R² on rows held out at random flatters: an estimate by small models, where the user says nothing of time or groups.
//!
//! Rows of a sample are predicted by two small models: the newest rows by each column of dates, and the rows of unknown groups of each
//! column whose values repeat as an entity's do. One model has learnt only from the others, as `evaluation::split` deals them out in a run
//! that is validated so; the other one from as many random rows, so that it knows the neighbours of the rows that it is validated
//! on. Both predict the same rows: that these are harder or easier than the rest has no part in the difference. Work is counted, not
//! timed, so that the same rows give the same figures.

mod candidates;
mod draw;
mod small_model;

use std::collections::HashSet;
use std::time::Instant;

use error::{Error, Result};
use evaluation::split::{HoldOut, RowKeys, Side};
use evaluation::{MetricError, Paired, R2Drop, r2_drop};
use machine::threads::on_own_thread;
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use self::candidates::{Candidates, Column};
use self::draw::{Draw, is_below};
use self::small_model::{BothWays, Learning, OF_GROUPS, OF_TIMES, Shuffled, SmallModel};
use crate::config::TrainConfig;
use crate::features::Features;
use crate::fit::{Lanes, TargetScale};
use crate::read::TrainingData;

/// Keeps these splits apart from every other use of hashes.
const SEED_OFFSET: u64 = 0x5eed_0007;
/// Small models of a comparison: one that knows nothing of the validation rows, and one for either half of them.
const MODELS: usize = 3;
/// Minimum number of training rows: fewer tell nothing.
const LEAST_ROWS: usize = 400;
/// Cells (rows × columns) of a sample for all columns that are asked about, and the least and the most rows that it has.
const SAMPLE_CELLS: usize = 200_000;
const SAMPLE_ROWS: (usize, usize) = (2_000, 8_000);
/// The rows that are asked about dates, about.
const ROWS_OF_TIMES: usize = 5_000;
/// The share of the sample that is held out for validation.
const VALIDATION_SHARE: f64 = 0.25;
/// Minimum number of validation rows, and of groups among them.
const LEAST_VALIDATION_ROWS: usize = 60;
const LEAST_GROUPS: usize = 15;
/// A drop of R² is named from here on, if it is beyond its bootstrap bound at this level.
const NAMED_DROP: f64 = 0.02;
const LEVEL: f64 = 0.99;
/// Unknown groups of this many splits are predicted together where those of the first one hint at a drop (its bound at the first level is
/// above 0), at the second level: one split has so few groups that chance makes a drop of some.
const SPLITS: u64 = 2;
const GROUP_LEVELS: (f64, f64) = (0.9, 0.999);
/// How often dates are shuffled to learn how far R² falls where they say nothing, and the standard deviations of these falls that one
/// has to be beyond to mean something. So few falls may by chance lie close together: the deviation counts as no less than this one,
/// over the root of the number of validation rows.
const SHUFFLES: u64 = 6;
const DEVIATIONS: f64 = 4.0;
const LEAST_DEVIATION: f64 = 0.35;

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
    /// The least by which the second is lower, at a level of 99 % or more.
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
                 and {r2:.3} where it is validated on the newest by \"{column}\"; validate with --time {column} (TIME_COLUMN)"
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
    let compare = || compared(subject, &candidates);
    let estimate = tokio::task::block_in_place(|| on_own_thread(compare))?;
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

fn compared(subject: &Subject<'_>, candidates: &Candidates) -> Result<Estimate> {
    let seed = u64::from(subject.config.seed).wrapping_add(SEED_OFFSET);
    let rows = sample(subject, candidates, seed);
    let few = fewer(subject, &rows, seed);
    let by_time = |column: &Column| Comparison { subject, rows: &few, seed }.by_time(column);
    let newest = candidates.times.iter().map(by_time).collect::<Result<Vec<_>>>()?;
    // Where threads are fewer than the models of one column, those of two columns keep them busier; more models would take more memory.
    let columns_at_once = if subject.threads < MODELS { candidates.groups.len() } else { 1 };
    let lanes = Lanes::new(subject.threads, columns_at_once);
    let of_a_lane = &Subject { threads: lanes.threads, ..*subject };
    let by_group = |column: &mut &Column| Comparison { subject: of_a_lane, rows: &rows, seed }.by_group(column);
    let new_groups = lanes.each(&mut candidates.groups.iter().collect::<Vec<_>>(), by_group)?;
    let (newest, new_groups) = (lowest(newest), lowest(new_groups));
    Ok(Estimate { newest, new_groups, rows: rows.len(), seconds: 0.0 })
}

/// What is lower for sure comes before what seems to be.
fn lowest(figures: impl IntoIterator<Item = Option<Figure>>) -> Option<Figure> {
    let key = |figure: &Figure| (!figure.is_lower, figure.r2);
    let is_lower = |one: &Figure, other: &Figure| key(one) < key(other);
    figures.into_iter().flatten().reduce(|lowest, figure| if is_lower(&figure, &lowest) { figure } else { lowest })
}

/// Compares two small models on rows of the sample.
#[derive(Clone, Copy)]
struct Comparison<'a> {
    subject: &'a Subject<'a>,
    rows: &'a [usize],
    seed: u64,
}

impl Comparison<'_> {
    /// How far R² falls on groups that a model does not know.
    fn by_group(&self, column: &Column) -> Result<Option<Figure>> {
        let keys = column.keys(self.rows, false);
        let both_ways = |holding_out: &RowKeys| {
            let hold_out = HoldOut { fraction: VALIDATION_SHARE, seed: self.seed };
            self.model(&OF_GROUPS, self.rows, None).both_ways(&keys, &hold_out.sides(holding_out).of_rows)
        };
        let Some(mut both) = both_ways(&keys)? else { return Ok(None) };
        let Some(drop) = both.drop(GROUP_LEVELS.0, self.seed)? else { return Ok(None) };
        let hint = figure(column, &drop);
        if !hint.is_lower {
            return Ok(Some(hint));
        }
        for split in 1..SPLITS {
            // Groups are held out by their keys, so other keys make another split.
            if let Some(more) = both_ways(&column.keys_of_split(self.rows, split))? {
                both.append(more);
            }
        }
        Ok(both.drop(GROUP_LEVELS.1, self.seed)?.map(|drop| figure(column, &drop)))
    }

    /// How far R² falls on the newest rows. A model that has not seen the newest dates takes the noise of the last ones that it has seen
    /// for their level, so R² falls somewhat where dates say nothing at all: what counts is what lies beyond, on the newest rows alone or,
    /// where that is nothing, on average with those before them.
    fn by_time(&self, column: &Column) -> Result<Option<Figure>> {
        let Some(newest) = self.fall(column, None, Span::Newest)? else { return Ok(None) };
        let mut figure = figure(column, &newest);
        if figure.is_lower {
            let fell = newest.from - newest.to;
            let by_chance = self.falls_by_chance(column, Span::Newest)?;
            let validation_rows = VALIDATION_SHARE * self.rows.len() as f64;
            let mut beyond = fell - at_most(by_chance.iter().copied().flatten(), validation_rows);
            if beyond <= 0.0 {
                let mean = |newest: f64, earlier: Option<f64>| {
                    earlier.map_or(newest, |earlier| f64::midpoint(newest, earlier))
                };
                let fell = mean(fell, self.fall(column, None, Span::Earlier)?.map(|fall| fall.from - fall.to));
                let earlier = self.falls_by_chance(column, Span::Earlier)?;
                let both = by_chance.iter().zip(earlier);
                let by_chance = both.filter_map(|(newest, earlier)| newest.map(|newest| mean(newest, earlier)));
                beyond = beyond.max(fell - at_most(by_chance, 2.0 * validation_rows));
            }
            figure.drop_at_least = figure.drop_at_least.min(beyond);
            figure.is_lower = figure.drop_at_least > 0.0;
        }
        Ok(Some(figure))
    }

    /// How far R² falls on a span where dates are shuffled, one shuffle after the other; none where the rows say nothing.
    fn falls_by_chance(&self, column: &Column, span: Span) -> Result<Vec<Option<f64>>> {
        let lanes = Lanes::new(self.subject.threads, SHUFFLES as usize);
        let subject = &Subject { threads: lanes.threads, ..*self.subject };
        let one_by_one = Comparison { subject, ..*self };
        let mut shuffles: Vec<u64> = (0..SHUFFLES).collect();
        lanes.each(&mut shuffles, |shuffle| {
            let shuffled = &self.shuffled(&column.name, Draw::Shuffle(*shuffle));
            Ok(one_by_one.fall(column, Some(shuffled), span)?.map(|fall| fall.from - fall.to))
        })
    }

    /// How far R² falls on a span of the newest rows, or on the one before them, as if the newest had not been there yet.
    fn fall(&self, column: &Column, shuffled: Option<&Shuffled<'_>>, span: Span) -> Result<Option<R2Drop>> {
        let keys = |rows: &[usize]| match shuffled {
            Some(shuffled) => column.keys(&rows.iter().map(|&row| shuffled.rows[row]).collect::<Vec<_>>(), true),
            None => column.keys(rows, true),
        };
        let sides = |keys: &RowKeys, fraction: f64| HoldOut { fraction, seed: self.seed }.sides(keys).of_rows;
        let of_all = keys(self.rows);
        let sides_of_all = sides(&of_all, VALIDATION_SHARE);
        let both = match span {
            Span::Newest => self.model(&OF_TIMES, self.rows, shuffled).both_ways(&of_all, &sides_of_all)?,
            Span::Earlier => {
                let older = self.rows.iter().zip(&sides_of_all).filter(|(_, side)| **side == Side::Training);
                let older: Vec<usize> = older.map(|(&row, _)| row).collect();
                let keys = keys(&older);
                let sides = sides(&keys, VALIDATION_SHARE / (1.0 - VALIDATION_SHARE));
                self.model(&OF_TIMES, &older, shuffled).both_ways(&keys, &sides)?
            }
        };
        both.map_or(Ok(None), |both| both.drop(LEVEL, self.seed))
    }

    /// Deals the rows of the sample to one another by a hash of their ids.
    fn shuffled<'c>(&self, column: &'c str, draw: Draw) -> Shuffled<'c> {
        let ids = &self.subject.data.train.ids;
        let mut dealt = self.rows.to_vec();
        dealt.sort_by_cached_key(|&row| (draw.hash(&ids[row], self.seed), row));
        let mut rows: Vec<usize> = (0..ids.len()).collect();
        self.rows.iter().zip(dealt).for_each(|(&row, other)| rows[row] = other);
        Shuffled { column, rows }
    }

    fn model<'m>(
        &'m self,
        learning: &'m Learning,
        rows: &'m [usize],
        shuffled: Option<&'m Shuffled<'m>>,
    ) -> SmallModel<'m> {
        SmallModel { subject: self.subject, rows, seed: self.seed, learning, shuffled }
    }
}

/// The validation rows of a comparison by time.
#[derive(Clone, Copy)]
enum Span {
    Newest,
    Earlier,
}

/// What falls that come about by chance, like these on so many rows, do not exceed but by a rare one.
fn at_most(drawn: impl Iterator<Item = f64>, rows: f64) -> f64 {
    let drawn: Vec<f64> = drawn.collect();
    let count = drawn.len().max(1) as f64;
    let mean = drawn.iter().sum::<f64>() / count;
    let squares: f64 = drawn.iter().map(|value| (value - mean).powi(2)).sum();
    mean + DEVIATIONS * (squares / (count - 1.0).max(1.0)).sqrt().max(LEAST_DEVIATION / rows.sqrt())
}

fn figure(column: &Column, drop: &R2Drop) -> Figure {
    let R2Drop { from, to, at_least } = *drop;
    let is_lower = from - to > NAMED_DROP && at_least > 0.0;
    Figure { column: column.name.clone(), random: from, r2: to, drop_at_least: at_least, is_lower }
}

/// The rows that small models learn from and are validated on: all training rows, or some, of whole groups where there are any, since
/// rows of a group depend on one another only where they are there together.
fn sample(subject: &Subject<'_>, candidates: &Candidates, seed: u64) -> Vec<usize> {
    let (all, width) = (subject.data.train.len(), subject.features.features.len());
    let asked = candidates.times.len() + candidates.groups.len();
    let most = (SAMPLE_CELLS / (width * asked).max(1)).clamp(SAMPLE_ROWS.0, SAMPLE_ROWS.1);
    let share = most as f64 / all as f64;
    let is_chosen = |row: &usize| {
        let hash = match candidates.groups.first() {
            Some(column) => xxh3_64_with_seed(&column.group(*row).to_le_bytes(), seed),
            None => Draw::Sample.hash(&subject.data.train.ids[*row], seed),
        };
        is_below(hash, share)
    };
    (0..all).filter(is_chosen).collect()
}

/// Some of the rows of the sample where it has many: dates are asked about often.
fn fewer(subject: &Subject<'_>, rows: &[usize], seed: u64) -> Vec<usize> {
    let ids = &subject.data.train.ids;
    let share = ROWS_OF_TIMES as f64 / rows.len().max(1) as f64;
    rows.iter().copied().filter(|&row| Draw::Dates.is_drawn(&ids[row], seed, share)).collect()
}

impl BothWays {
    /// How far R² falls where a model has not learnt from what the rows depend on; none where these rows say nothing.
    fn drop(&self, level: f64, seed: u64) -> Result<Option<R2Drop>> {
        let groups = self.clusters.as_ref().map(|clusters| clusters.iter().collect::<HashSet<_>>().len());
        if self.targets.len() < LEAST_VALIDATION_ROWS || groups.is_some_and(|groups| groups < LEAST_GROUPS) {
            return Ok(None);
        }
        let paired = Paired {
            targets: &self.targets,
            from: &self.at_random,
            to: &self.apart,
            weights: self.weights.as_deref(),
            clusters: self.clusters.as_deref(),
        };
        match r2_drop(&paired, level, seed) {
            Ok(drop) => Ok(drop),
            // Rows whose target is the same say nothing either.
            Err(MetricError::NoRows | MetricError::Constant { .. }) => Ok(None),
            Err(error) => Err(Error::Defect(format!("the estimate of R² on other rows: {error}"))),
        }
    }
}
