//! The public face: compile once, then quantise and score blocks of rows.

use std::fmt;

use super::block::{BitRow, PlaneWords, QuantizedBlock};
use super::ensemble::Ensemble;
use super::kernels::{InstructionSet, Kernels};
use super::program::Program;
use super::quantiser::{Codes, Quantiser};

/// Why a model, or an instruction set, cannot be used; XGBoost's own prediction can.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsupported(pub(super) String);

impl std::error::Error for Unsupported {}

impl fmt::Display for Unsupported {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the model cannot be compiled: {}", self.0)
    }
}

/// Rows that [`Scorer::predict`] works on at a time: their columns and planes stay in the second-level cache.
const PREDICT_ROWS: usize = 2048;
/// More planes than a code has bits.
const MAX_BITS: usize = 32;

/// A compiled model. Scoring takes `&self`, so threads share one scorer, each with a block of its own.
///
/// Predictions are final outputs (after the objective's transformation), bit for bit those of
/// `XGBoosterPredictFromColumnar` and `XGBoosterPredictFromDense` of XGBoost 3.4.1 with `missing` as NaN. Values are
/// `f32`; NaN is missing; a category is given as its code. Infinite values are compared as such.
#[derive(Debug)]
pub struct Scorer {
    program: Program,
    kernels: Kernels,
}

impl Scorer {
    /// Compiles for the best instruction set of this machine.
    ///
    /// # Errors
    /// [`Unsupported`] for objectives whose transformation is not known here, trees of more than 4096 leaves, and
    /// leaves that are not finite.
    pub fn compile(ensemble: &Ensemble) -> Result<Self, Unsupported> {
        Self::compile_for(ensemble, InstructionSet::best())
    }

    /// Compiles for one instruction set.
    ///
    /// # Errors
    /// As [`Scorer::compile`], and where the machine does not have the instruction set.
    pub fn compile_for(ensemble: &Ensemble, instructions: InstructionSet) -> Result<Self, Unsupported> {
        Self::compile_by(1, ensemble, instructions)
    }

    /// Compiles for one instruction set by up to so many threads; the scorer is the same for any number of them.
    ///
    /// # Errors
    /// As [`Scorer::compile_for`].
    pub fn compile_by(threads: usize, ensemble: &Ensemble, instructions: InstructionSet) -> Result<Self, Unsupported> {
        let Some(kernels) = Kernels::of(instructions) else {
            return Err(Unsupported(format!("this machine does not have {instructions:?}")));
        };
        Ok(Self { program: Program::new(ensemble, threads)?, kernels })
    }

    /// The instruction set that the scorer uses.
    #[must_use]
    pub fn instruction_set(&self) -> InstructionSet {
        self.kernels.instructions
    }

    /// The number of columns that the model was trained on.
    #[must_use]
    pub fn n_features(&self) -> usize {
        self.program.quantisers.len()
    }

    /// Whether the model looks at a feature at all; one that it does not need not be read.
    #[must_use]
    pub fn uses(&self, feature: usize) -> bool {
        self.quantiser(feature).is_some()
    }

    /// Memory for `rows` rows: some 64 bytes per distinct condition of the model, and about one per row and feature.
    #[must_use]
    pub fn new_block(&self, rows: usize) -> QuantizedBlock {
        let program = &self.program;
        QuantizedBlock::new(rows, program.n_planes, program.n_columns, program.n_rows)
    }

    /// Bytes that [`Scorer::new_block`] takes for each row.
    #[must_use]
    pub fn row_bytes(&self) -> usize {
        self.program.n_planes.div_ceil(8) + self.program.n_columns * size_of::<u32>()
    }

    /// Writes the codes of `values`, the values of `feature` in the rows from `row_offset` on, into `block`. Every
    /// feature that the model [`uses`](Self::uses) has to be written for every row that is scored, in any order and in
    /// pieces of any size; it is fastest in pieces that start at a multiple of 64 rows.
    ///
    /// # Panics
    /// Where the rows lie outside the block, or the block is another scorer's.
    pub fn quantise(&self, feature: usize, values: &[f32], row_offset: usize, block: &mut QuantizedBlock) {
        let Some(quantiser) = self.quantiser(feature) else {
            return;
        };
        self.check(block);
        let end = row_offset.checked_add(values.len());
        assert!(end.is_some_and(|end| end <= block.n_rows), "rows outside the block");
        if let Codes::Column(column, classes) = &quantiser.codes {
            let (mut row, mut values) = (row_offset, values);
            while !values.is_empty() {
                let places = block.classes_from(*column, row);
                let (here, below) = values.split_at(values.len().min(places.len()));
                places.iter_mut().zip(here).for_each(|(place, value)| *place = classes.code(*value));
                (row, values) = (row + here.len(), below);
            }
            return;
        }
        let mut words = block.words(quantiser.plane);
        let mut word = row_offset / 64;
        let (head, rest) = values.split_at(values.len().min((64 - row_offset % 64) % 64));
        if !head.is_empty() {
            self.quantise_part(quantiser, head, row_offset % 64, word, &mut words);
            word += 1;
        }
        let (full, tail) = rest.as_chunks::<64>();
        self.quantise_words(quantiser, full, word, &mut words);
        if !tail.is_empty() {
            self.quantise_part(quantiser, tail, 0, word + full.len(), &mut words);
        }
    }

    fn quantise_words(&self, quantiser: &Quantiser, values: &[[f32; 64]], word: usize, words: &mut PlaneWords<'_>) {
        match &quantiser.codes {
            Codes::Ranks(ranks) => (self.kernels.rank)(ranks, quantiser.bits, values, word, words),
            // A column has no planes: nothing is written.
            Codes::Classes(classes) | Codes::Column(_, classes) => {
                (self.kernels.classify)(classes, quantiser.bits, values, word, words);
            }
        }
    }

    /// Writes fewer than 64 rows of one word, from its bit `first` on, and leaves the others as they are.
    fn quantise_part(
        &self,
        quantiser: &Quantiser,
        values: &[f32],
        first: usize,
        word: usize,
        words: &mut PlaneWords<'_>,
    ) {
        let mut whole = [0.0; 64];
        whole[first..first + values.len()].copy_from_slice(values);
        let mut rows = [BitRow::ZEROS; MAX_BITS];
        let mut part = PlaneWords { planes: &mut rows, n_planes: MAX_BITS, plane: 0 };
        self.quantise_words(quantiser, &[whole], 0, &mut part);
        let mask = ((1 << values.len()) - 1) << first;
        for bit in 0..quantiser.bits {
            let word = words.word(word, bit);
            *word = *word & !mask | *part.word(0, bit) & mask;
        }
    }

    /// Scores the first `out.len()` rows of `block`.
    ///
    /// # Panics
    /// Where `out` is longer than the block, or the block is another scorer's.
    pub fn score(&self, block: &mut QuantizedBlock, out: &mut [f32]) {
        self.check(block);
        assert!(out.len() <= block.n_rows, "more rows than the block has");
        let program = &self.program;
        let first_condition = program.conditions.first_row as usize;
        let mut sums = [0.0; BitRow::ROWS];
        for (chunk, out) in out.chunks_mut(BitRow::ROWS).enumerate() {
            let planes = &block.planes[chunk * program.n_planes..][..program.n_planes];
            block.scratch[first_condition - program.n_planes..first_condition].copy_from_slice(planes);
            let n_classes = program.n_columns * BitRow::ROWS;
            let classes = &block.classes[chunk * n_classes..][..n_classes];
            (self.kernels.score)(program, classes, &mut block.scratch, &mut sums);
            out.copy_from_slice(&sums[..out.len()]);
        }
        program.link.transform(out);
    }

    /// Scores whole columns: `columns[feature][row]`. Columns of features that the model does not use may be empty.
    ///
    /// # Panics
    /// Where there are not as many columns as features, or a column that is used does not have `out.len()` values.
    pub fn predict(&self, columns: &[&[f32]], out: &mut [f32]) {
        assert_eq!(columns.len(), self.n_features(), "columns and features");
        let mut block = self.new_block(PREDICT_ROWS.min(out.len()));
        for (chunk, out) in out.chunks_mut(PREDICT_ROWS).enumerate() {
            for (feature, column) in columns.iter().enumerate().filter(|(feature, _)| self.uses(*feature)) {
                let values = &column[chunk * PREDICT_ROWS..][..out.len()];
                self.quantise(feature, values, 0, &mut block);
            }
            self.score(&mut block, out);
        }
    }

    pub(super) fn program(&self) -> &Program {
        &self.program
    }

    pub(super) fn kernels(&self) -> &Kernels {
        &self.kernels
    }

    /// Computes all conditions of the 512 rows of a chunk of `block` into `rows`, as the program numbers them.
    pub(super) fn conditions(&self, block: &QuantizedBlock, chunk: usize, rows: &mut [BitRow]) {
        self.check(block);
        let program = &self.program;
        let (first_condition, n_planes) = (program.conditions.first_row as usize, program.n_planes);
        rows[first_condition - n_planes..first_condition]
            .copy_from_slice(&block.planes[chunk * n_planes..][..n_planes]);
        let n_classes = program.n_columns * BitRow::ROWS;
        (self.kernels.conditions)(program, &block.classes[chunk * n_classes..][..n_classes], rows);
    }

    fn quantiser(&self, feature: usize) -> Option<&Quantiser> {
        self.program.quantisers.get(feature)?.as_ref()
    }

    fn check(&self, block: &QuantizedBlock) {
        let sizes = (block.n_planes, block.scratch.len());
        assert_eq!(sizes, (self.program.n_planes, self.program.n_rows), "a block of another scorer");
    }
}
