//! Why a row was predicted what it was: exact path-dependent SHAP values (Lundberg et al., "From local explanations to
//! global understanding with explainable AI for trees", 2020), for 64 rows at a time.
//!
//! A tree is a sum over its leaves. What a leaf adds is its value times one factor for every feature on its path: 1 or 0,
//! by whether the row meets all of the feature's conditions there, or, where the feature is left out, the share `z` of
//! training rows that went that way, by the nodes' covers (XGBoost's `sum_hessian`). The Shapley value of feature `i` at the leaf
//! is an integral (Bifet, Read and Xu, "Linear TreeSHAP", 2022; XGBoost itself since 3.3), with `o` for met (1) or not (0):
//!
//! ```text
//! leaf ∫₀¹ (oᵢ - zᵢ) Π_{j ≠ i} (zⱼ + (oⱼ - zⱼ) t) dt
//! ```
//!
//! of a polynomial whose degree is the number of other features on the path, so that Gauss–Legendre quadrature at half as many
//! points as features, rounded up, is exact: 3 points for trees of depth 6, 5 for depth 9. (XGBoost always takes 8, which is
//! exact up to 8 features.) For one point, trees need two walks: on the way down the *products* of the factors, on the way
//! up the *sums* of leaves times products, out of which each split takes its feature's share.
//!
//! *A row's conditions are bits already.* The scorer's circuit has the condition of every split as a row of bits, so each
//! factor is one of two constants (three, where the feature stands higher on the path already: failed there, met on, failed
//! now), chosen by a bit. No data decides what is done next, and vectors work on as many rows as they have lanes.
//!
//! *The lowest two levels by table.* Three quarters of a tree's splits are in its lowest two levels. There, what a row's
//! conditions (at most [`MAX_BITS`] different bits) make of the product above is looked up in tables of 8 or 16 constants,
//! which vectors keep in a register: one lookup and one multiplication for the sum of the *unit*'s leaves and for each of its
//! features. This is the idea of Woodelf (Nadel and Wettenstein, AAAI 2026), a table over the patterns of a
//! path's conditions, where tables stay small; for whole paths of 6 conditions they would take 10 MB for 200 trees, 500 MB for
//! depth 9, and be read from memory.
//!
//! *The same bits everywhere.* Every instruction set multiplies and adds the same 32-bit floats in the same order, without
//! fused multiply-add, and rows do not depend on each other: neither machine nor batches nor threads change a bit.

mod plan;
mod quadrature;
#[cfg(test)]
mod tests;
mod top;

use super::block::{BitRow, QuantizedBlock};
use super::circuit::BddNode;
use super::ensemble::Ensemble;
use super::scorer::{Scorer, Unsupported};
use plan::Plan;

/// The most points of one walk; more are walked after one another, which adds up to the same integral.
pub(super) const MAX_POINTS: usize = 4;
/// The most bits that choose a constant of a unit.
pub(super) const MAX_BITS: usize = 4;
/// The most splits of a unit.
pub(super) const MAX_OUTPUTS: usize = 3;
/// The rows that are explained together.
pub(super) const LANES: usize = 64;
/// Steps whose constants take as much stay in the second-level cache while a chunk of rows is explained.
const STEPS_BYTES: usize = 256 << 10;

/// A number for each of 64 rows.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Lanes(pub(super) [f32; LANES]);

impl Lanes {
    const ZEROS: Self = Self([0.0; LANES]);
    const ONES: Self = Self([1.0; LANES]);
}

/// Eight constants.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C, align(32))]
pub(super) struct Octet(pub(super) [f32; 8]);

/// What one step does, for each of its points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StepKind {
    /// The product at a child: the product at the step's level times a constant, chosen by `right` and `met`.
    Down,
    /// The sum at a leaf: the same, the leaf's value in the constants.
    Leaf,
    /// The sum at a split out of those of its children, and the contribution of its feature.
    Join,
    /// Sum and contributions of a split that has no more than one level of splits below it, by tables.
    Unit,
}

/// One step of a walk. Constants stand in the explainer's tables from `table` on, [`MAX_POINTS`] to each case:
/// [`StepKind::Down`] and [`StepKind::Leaf`] have right, left, and failed above where `seen`; [`StepKind::Join`] the left child's where the row goes right and left,
/// and the right child's; a unit, for its sum and each of its contributions, for each point, `octets` of one constant to each pattern of bits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Step {
    pub(super) kind: StepKind,
    pub(super) points: u8,
    /// A unit's contributions.
    pub(super) outputs: u8,
    /// A unit's octets to a table.
    pub(super) octets: u8,
    /// Whether the split's feature stands higher on the path too.
    pub(super) seen: bool,
    /// Whether it is a right child whose sum is written.
    pub(super) is_right: bool,
    pub(super) level: u16,
    /// The rows of a unit's bits, the lowest first; else that of the split's condition, and that of what the row has met of
    /// the feature's conditions above.
    pub(super) rows: [u32; MAX_BITS],
    /// What the contributions are added to.
    pub(super) sources: [u32; MAX_OUTPUTS],
    pub(super) table: u32,
}

/// The numbers that a walk works on.
#[derive(Debug, Clone)]
pub(super) struct Walk {
    /// At each level [`MAX_POINTS`] products; those of the root are 1.
    pub(super) products: Vec<Lanes>,
    /// At each level [`MAX_POINTS`] sums of a left node and of a right one.
    pub(super) sums: Vec<Lanes>,
    /// By source.
    pub(super) contributions: Vec<Lanes>,
}

/// Memory to explain rows; made by [`Explainer::new_scratch`], and meant to be used again.
#[derive(Debug, Clone)]
pub struct ExplainScratch {
    rows: Vec<BitRow>,
    /// One for each 64 rows of a chunk.
    walks: Vec<Walk>,
}

/// One of the largest contributions to a row's prediction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reason {
    /// The number of the source; [`Reason::NONE`]'s where there are fewer sources than reasons asked for.
    pub source: u32,
    /// Its contribution to the margin.
    pub contribution: f32,
}

impl Reason {
    /// What is given where there is no source left.
    pub const NONE: Self = Self { source: u32::MAX, contribution: 0.0 };
}

/// Explains what a [`Scorer`] of the same ensemble predicts. It takes `&self`: threads share one, each with a scratch of its own.
#[derive(Debug)]
pub struct Explainer {
    n_sources: usize,
    n_levels: usize,
    base_value: f64,
    /// Gates of what is met so far of a feature's conditions, after the conditions' rows.
    gates: Vec<BddNode>,
    first_gate: usize,
    steps: Vec<Step>,
    /// Runs of steps whose constants stay in the cache.
    runs: Vec<std::ops::Range<usize>>,
    tables: Vec<Octet>,
    /// The most points of a tree.
    points: usize,
}

impl Explainer {
    /// Makes the tables. `sources` says for every feature the number of the source that its contributions are added up in;
    /// sources are numbered from 0.
    ///
    /// # Errors
    /// [`Unsupported`] where a tree is deeper than 256 levels, has a negative cover, or tables would take more than 1 GiB.
    ///
    /// # Panics
    /// Where there are not as many sources as features, or the scorer is another ensemble's.
    pub fn new(ensemble: &Ensemble, scorer: &Scorer, sources: &[u32]) -> Result<Self, Unsupported> {
        assert_eq!(sources.len(), ensemble.n_features, "sources and features");
        let program = scorer.program();
        let Plan { steps, tables, runs, circuit, base_value, n_levels, points } =
            Plan::new(ensemble, program, sources)?;
        Ok(Self {
            n_sources: sources.iter().max().map_or(0, |last| *last as usize + 1),
            n_levels,
            base_value,
            gates: circuit.gates,
            first_gate: circuit.first_row as usize,
            steps,
            runs,
            tables,
            points,
        })
    }

    /// At most so many bytes are what [`Explainer::new`] makes, and each [`Explainer::new_scratch`] after it, for `n_sources` sources.
    #[must_use]
    pub fn bytes_needed(ensemble: &Ensemble, scorer: &Scorer, n_sources: usize) -> [u64; 2] {
        let (tables, levels, gates) = plan::bounds(ensemble);
        let rows = scorer.program().first_tree_row as u64 + gates;
        [tables, rows * size_of::<BitRow>() as u64 + walk_bytes(levels, n_sources) * BitRow::WORDS as u64]
    }

    /// The number of sources.
    #[must_use]
    pub fn n_sources(&self) -> usize {
        self.n_sources
    }

    /// What the model predicts before it knows anything about a row, as a margin: contributions are added to it.
    #[must_use]
    pub fn base_value(&self) -> f64 {
        self.base_value
    }

    /// The most quadrature points that one of the trees takes.
    #[must_use]
    pub fn points(&self) -> usize {
        self.points
    }

    /// The bytes of the tables.
    #[must_use]
    pub fn table_bytes(&self) -> usize {
        size_of_val(&self.tables[..]) + size_of_val(&self.steps[..]) + size_of_val(&self.gates[..])
    }

    /// The bytes of an [`Explainer::new_scratch`].
    #[must_use]
    pub fn scratch_bytes(&self) -> usize {
        let walks = walk_bytes(self.n_levels as u64, self.n_sources) as usize * BitRow::WORDS;
        (self.first_gate + self.gates.len()) * size_of::<BitRow>() + walks
    }

    /// Memory to explain rows with.
    #[must_use]
    pub fn new_scratch(&self) -> ExplainScratch {
        let mut rows = vec![BitRow::ZEROS; self.first_gate + self.gates.len()];
        rows[super::circuit::ONES as usize] = BitRow::ONES;
        let walk = Walk {
            products: vec![Lanes::ONES; self.n_levels * MAX_POINTS],
            sums: vec![Lanes::ZEROS; self.n_levels * 2 * MAX_POINTS],
            contributions: vec![Lanes::ZEROS; self.n_sources],
        };
        ExplainScratch { rows, walks: vec![walk; BitRow::WORDS] }
    }

    /// The largest contributions of each of the first `n_rows` rows of `block`, `out.len() / n_rows` to a row, row after row: the
    /// largest first by size, ties in the order of the sources.
    ///
    /// # Panics
    /// Where the block has fewer rows, or is another scorer's, or `out` has not as many places for each row.
    pub fn explain(
        &self,
        scorer: &Scorer,
        block: &QuantizedBlock,
        n_rows: usize,
        scratch: &mut ExplainScratch,
        out: &mut [Reason],
    ) {
        let count = out.len().checked_div(n_rows).unwrap_or(0);
        assert_eq!(out.len(), count * n_rows, "places for reasons");
        if count > 0 {
            self.walk(scorer, block, n_rows, scratch, &mut |first_row, contributions| {
                let out = &mut out[first_row * count..];
                let n_rows = (out.len() / count).min(LANES);
                top::largest(contributions, count, &mut out[..n_rows * count]);
            });
        }
    }

    /// All contributions to the first `n_rows` rows of `block`: those of source 0 row by row, of source 1, and so on.
    ///
    /// # Panics
    /// As [`Explainer::explain`].
    pub fn contributions(
        &self,
        scorer: &Scorer,
        block: &QuantizedBlock,
        n_rows: usize,
        scratch: &mut ExplainScratch,
        out: &mut [f32],
    ) {
        assert_eq!(out.len(), n_rows * self.n_sources, "places for contributions");
        self.walk(scorer, block, n_rows, scratch, &mut |first_row, contributions| {
            let size = (n_rows - first_row).min(LANES);
            for (out, lanes) in out.chunks_mut(n_rows.max(1)).zip(contributions) {
                out[first_row..][..size].copy_from_slice(&lanes.0[..size]);
            }
        });
    }

    /// Gives the contributions to each 64 rows, with the number of the first of them.
    fn walk(
        &self,
        scorer: &Scorer,
        block: &QuantizedBlock,
        n_rows: usize,
        scratch: &mut ExplainScratch,
        take: &mut dyn FnMut(usize, &[Lanes]),
    ) {
        assert!(n_rows <= block.n_rows, "more rows than the block has");
        let kernels = scorer.kernels();
        for (chunk, first_row) in (0..n_rows).step_by(BitRow::ROWS).enumerate() {
            scorer.conditions(block, chunk, &mut scratch.rows[..self.first_gate]);
            (kernels.gates)(&self.gates, self.first_gate, &mut scratch.rows);
            let n_words = (n_rows - first_row).div_ceil(LANES).min(BitRow::WORDS);
            let walks = &mut scratch.walks[..n_words];
            walks.iter_mut().for_each(|walk| walk.contributions.fill(Lanes::ZEROS));
            for run in &self.runs {
                for (word, walk) in walks.iter_mut().enumerate() {
                    (kernels.explain)(&self.steps[run.clone()], &self.tables, &scratch.rows, word, walk);
                }
            }
            for (word, walk) in walks.iter().enumerate() {
                take(first_row + word * LANES, &walk.contributions);
            }
        }
    }
}

/// Where the sums of a node at a level stand.
#[inline]
pub(super) fn sums_at(level: usize, is_right: bool) -> usize {
    (2 * level + usize::from(is_right)) * MAX_POINTS
}

/// The bytes of one [`Walk`].
fn walk_bytes(n_levels: u64, n_sources: usize) -> u64 {
    (n_levels * 3 * MAX_POINTS as u64 + n_sources as u64) * size_of::<Lanes>() as u64
}
