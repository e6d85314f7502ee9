//! Errors by tenths of the prediction, exactly, of more pairs than memory holds.
//!
//! A prediction is in tenth `1 + ⌊10 · smaller / all⌋`, of which `smaller` counts those below it: equal predictions are in one tenth, as in
//! the results table of the pipeline. The nine predictions that the tenths end at are found digit by digit, as a radix sort does,
//! 16 bits of the float at a time.

use std::io;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use evaluation::{Ends, PairErrors, PairSums};
use machine::threads::on_threads;
use serde::Serialize;

use super::join::{ends as ends_of, float, pair_bytes};
use crate::ids::partitions::{Block, ScratchFile};

const TENTHS: usize = 10;
/// Bits that are told apart in one pass.
const DIGIT: u32 = 16;

/// The pairs of one tenth of the predictions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Tenth {
    /// 1 has the lowest predictions.
    pub(super) tenth: usize,
    /// Its lowest prediction.
    pub(super) from: f64,
    /// Its highest prediction.
    pub(super) to: f64,
    /// How far off they were.
    #[serde(flatten)]
    pub(super) errors: PairErrors,
}

/// The pairs of a join.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pairs<'a> {
    /// Where they lie.
    pub(super) blocks: &'a [Block],
    /// Whether each prediction has an interval.
    pub(super) has_intervals: bool,
}

/// A prediction, what came true, and the interval.
struct Pair {
    prediction: f64,
    actual: f64,
    ends: Option<Ends>,
}

impl Pairs<'_> {
    fn of(self, block: &[u8]) -> impl Iterator<Item = Pair> {
        const FLOAT: usize = size_of::<f64>();
        let pair = |pair: &[u8]| Pair {
            prediction: float(pair),
            actual: float(&pair[FLOAT..]),
            ends: ends_of(&pair[2 * FLOAT..]),
        };
        block.chunks_exact(pair_bytes(self.has_intervals)).map(pair)
    }
}

/// The tenths of `rows` pairs that have any: many equal predictions leave some empty.
///
/// # Errors
/// Those of the scratch disk.
pub(super) fn tenths(pairs: Pairs<'_>, rows: u64, file: &ScratchFile, threads: usize) -> io::Result<Vec<Tenth>> {
    if rows == 0 {
        return Ok(Vec::new());
    }
    let ends = ends(pairs, rows, file, threads)?;
    let of_blocks = for_each_block(pairs.blocks, file, threads, |block| {
        let mut all = [Span::default(); TENTHS];
        for Pair { prediction, actual, ends: interval } in pairs.of(block) {
            let tenth = ends.iter().filter(|end| ordered(prediction) > **end).count();
            all[tenth].push(prediction, actual);
            if let Some(interval) = interval {
                all[tenth].sums.push_interval(actual, interval);
            }
        }
        all
    })?;
    let mut all = [Span::default(); TENTHS];
    for of_block in &of_blocks {
        all.iter_mut().zip(of_block).for_each(|(span, more)| span.add(more));
    }
    let tenth = |(index, span): (usize, &Span)| {
        let errors = span.sums.errors()?;
        Some(Tenth { tenth: index + 1, from: span.from, to: span.to, errors })
    };
    Ok(all.iter().enumerate().filter_map(tenth).collect())
}

#[derive(Debug, Clone, Copy)]
struct Span {
    from: f64,
    to: f64,
    sums: PairSums,
}

impl Default for Span {
    fn default() -> Self {
        Self { from: f64::INFINITY, to: f64::NEG_INFINITY, sums: PairSums::default() }
    }
}

impl Span {
    fn push(&mut self, prediction: f64, actual: f64) {
        self.from = self.from.min(prediction);
        self.to = self.to.max(prediction);
        self.sums.push(prediction, actual);
    }

    fn add(&mut self, more: &Self) {
        self.from = self.from.min(more.from);
        self.to = self.to.max(more.to);
        self.sums.add(&more.sums);
    }
}

/// The predictions, as ordered bits, above which the second and every further tenth lies.
fn ends(pairs: Pairs<'_>, rows: u64, file: &ScratchFile, threads: usize) -> io::Result<[u64; TENTHS - 1]> {
    /// A prediction that is looked for: the bits that are known of it, and how many with the same bits come before it.
    #[derive(Clone, Copy)]
    struct Sought {
        known: u64,
        before: u64,
    }
    let rank = |tenth: usize| (u128::from(rows) * tenth as u128).div_ceil(TENTHS as u128) as u64 - 1;
    let mut sought: [Sought; TENTHS - 1] = std::array::from_fn(|at| Sought { known: 0, before: rank(at + 1) });
    for level in 0..u64::BITS / DIGIT {
        let mut known: Vec<u64> = sought.iter().map(|sought| sought.known).collect();
        known.dedup();
        let shift = u64::BITS - DIGIT * (level + 1);
        let of_blocks = for_each_block_adding(pairs.blocks, file, threads, known.len() << DIGIT, |block, counts| {
            for Pair { prediction, .. } in pairs.of(block) {
                let bits = ordered(prediction);
                let above = bits.checked_shr(shift + DIGIT).unwrap_or_default();
                if let Ok(at) = known.binary_search(&above) {
                    counts[(at << DIGIT) + ((bits >> shift) as usize & ((1 << DIGIT) - 1))] += 1;
                }
            }
        })?;
        for sought in &mut sought {
            let at = known.binary_search(&sought.known).unwrap_or_default();
            let counts = &of_blocks[at << DIGIT..(at + 1) << DIGIT];
            let mut digit = 0;
            while digit + 1 < counts.len() && counts[digit] <= sought.before {
                sought.before -= counts[digit];
                digit += 1;
            }
            sought.known = sought.known << DIGIT | digit as u64;
        }
    }
    Ok(sought.map(|sought| sought.known))
}

/// The bits of a float, ordered as the floats are; both zeros are one.
fn ordered(value: f64) -> u64 {
    let bits = (value + 0.0).to_bits();
    if bits >> (u64::BITS - 1) == 0 { bits | 1 << (u64::BITS - 1) } else { !bits }
}

/// What `work` makes of each block, in the order of the blocks.
fn for_each_block<R: Send>(
    blocks: &[Block],
    file: &ScratchFile,
    threads: usize,
    work: impl Fn(&[u8]) -> R + Sync,
) -> io::Result<Vec<R>> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let on_thread = || -> io::Result<()> {
        let mut buffer = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(block) = blocks.get(index) else { return Ok(()) };
            let result = block.read(file, &mut buffer, &work)?;
            done.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
        }
    };
    on_threads(threads, on_thread).into_iter().collect::<io::Result<()>>()?;
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(index, _)| *index);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}

/// So many counts over all blocks, added up.
fn for_each_block_adding(
    blocks: &[Block],
    file: &ScratchFile,
    threads: usize,
    counts: usize,
    count: impl Fn(&[u8], &mut [u64]) + Sync,
) -> io::Result<Vec<u64>> {
    let next = AtomicUsize::new(0);
    let on_thread = || -> io::Result<Vec<u64>> {
        let (mut buffer, mut counted) = (Vec::new(), vec![0; counts]);
        loop {
            let Some(block) = blocks.get(next.fetch_add(1, Ordering::Relaxed)) else { return Ok(counted) };
            block.read(file, &mut buffer, |block| count(block, &mut counted))?;
        }
    };
    let mut all = vec![0; counts];
    for counted in on_threads(threads, on_thread) {
        all.iter_mut().zip(counted?).for_each(|(all, more)| *all += more);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(predictions: &[f64], per_block: usize, memory: u64) -> Vec<Tenth> {
        let file = ScratchFile::create(memory).unwrap();
        let bytes = |prediction: &f64| [prediction.to_le_bytes(), (prediction / 2.0).to_le_bytes()].concat();
        let block = |predictions: &[f64]| file.put(&mut predictions.iter().flat_map(bytes).collect()).unwrap();
        let blocks: Vec<Block> = predictions.chunks(per_block).map(block).collect();
        let pairs = Pairs { blocks: &blocks, has_intervals: false };
        tenths(pairs, predictions.len() as u64, &file, 3).unwrap()
    }

    /// By sorting, as it is defined.
    fn sorted(predictions: &[f64]) -> Vec<(usize, u64, f64, f64)> {
        let mut tenths: Vec<(usize, u64, f64, f64)> = Vec::new();
        let mut ascending = predictions.to_vec();
        ascending.sort_by(f64::total_cmp);
        for value in &ascending {
            let smaller = predictions.iter().filter(|other| *other < value).count();
            let tenth = 1 + TENTHS * smaller / predictions.len();
            match tenths.last_mut() {
                Some(last) if last.0 == tenth => (last.1, last.3) = (last.1 + 1, *value),
                _ => tenths.push((tenth, 1, *value, *value)),
            }
        }
        tenths
    }

    #[test]
    fn tenths_are_those_of_a_sort() {
        let random = |count: u64, distinct: u64| -> Vec<f64> {
            let mixed = |row: u64| (row.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % distinct;
            (0..count).map(|row| mixed(row) as f64 / 7.0 - 1.5).collect()
        };
        let mut cases = vec![vec![1.0], vec![2.0, 1.0], vec![-0.0, 0.0, 5.0], vec![3.5; 40]];
        cases
            .extend([(7, 100), (1000, 3), (2000, 1 << 40), (999, 50)].map(|(count, distinct)| random(count, distinct)));
        for predictions in cases {
            for memory in [0, u64::MAX] {
                let found = of(&predictions, 37, memory);
                let found: Vec<_> =
                    found.iter().map(|tenth| (tenth.tenth, tenth.errors.rows, tenth.from, tenth.to)).collect();
                assert_eq!(found, sorted(&predictions), "{} predictions", predictions.len());
            }
        }
        assert_eq!(of(&[], 1, 0), []);
    }

    #[test]
    fn bits_are_ordered_as_floats_are() {
        let floats = [f64::MIN, -1.0, -f64::MIN_POSITIVE, 0.0, 1e-300, 0.5, 1.0, f64::MAX];
        assert!(floats.windows(2).all(|pair| ordered(pair[0]) < ordered(pair[1])));
        assert_eq!(ordered(-0.0), ordered(0.0));
    }
}
