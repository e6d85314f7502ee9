//! The codes of a block of rows, as bit planes.

/// One bit of each of 512 rows; row `r` is bit `r % 64` of word `r / 64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(64))]
pub(super) struct BitRow(pub(super) [u64; BitRow::WORDS]);

impl BitRow {
    /// The rows of a table that one row of bits stands for.
    pub(super) const ROWS: usize = 512;
    pub(super) const WORDS: usize = Self::ROWS / 64;
    pub(super) const ZEROS: Self = Self([0; Self::WORDS]);
    pub(super) const ONES: Self = Self([u64::MAX; Self::WORDS]);
}

/// The quantised features of up to a given number of rows, and the memory to score them. Made by
/// [`Scorer::new_block`](super::Scorer::new_block) for one scorer, and meant to be used again and again.
#[derive(Debug, Clone)]
pub struct QuantizedBlock {
    pub(super) n_rows: usize,
    pub(super) n_planes: usize,
    /// The planes of the first 512 rows, of the next 512, and so on.
    pub(super) planes: Vec<BitRow>,
    pub(super) n_columns: usize,
    /// The classes of the first 512 rows, column by column, of the next 512, and so on.
    pub(super) classes: Vec<u32>,
    /// The rows that a program works on.
    pub(super) scratch: Vec<BitRow>,
}

impl QuantizedBlock {
    pub(super) fn new(n_rows: usize, n_planes: usize, n_columns: usize, n_scratch: usize) -> Self {
        let n_chunks = n_rows.div_ceil(BitRow::ROWS);
        let mut scratch = vec![BitRow::ZEROS; n_scratch];
        scratch[1] = BitRow::ONES;
        Self {
            n_rows,
            n_planes,
            planes: vec![BitRow::ZEROS; n_chunks * n_planes],
            n_columns,
            classes: vec![0; n_chunks * n_columns * BitRow::ROWS],
            scratch,
        }
    }

    /// Where the class of a row stands.
    fn class(&mut self, column: usize, row: usize) -> &mut u32 {
        &mut self.classes_from(column, row)[0]
    }

    /// Where the classes of a row and of those behind it stand, as far as they are in one piece.
    pub(super) fn classes_from(&mut self, column: usize, row: usize) -> &mut [u32] {
        let column = row / BitRow::ROWS * self.n_columns + column;
        &mut self.classes[column * BitRow::ROWS..][row % BitRow::ROWS..BitRow::ROWS]
    }

    /// Keeps only the rows whose numbers are given in order, as the block's first rows; gives their number.
    ///
    /// # Panics
    /// Where a row is outside the block.
    pub fn keep(&mut self, rows: &[usize]) -> usize {
        assert!(rows.is_sorted() && rows.last().is_none_or(|last| *last < self.n_rows), "rows outside the block");
        let place = |row: usize| (row / BitRow::ROWS, row / 64 % BitRow::WORDS);
        for plane in 0..self.n_planes {
            // A row never moves back, so what is written has been read.
            for (word, rows) in rows.chunks(64).enumerate() {
                let mut kept = 0;
                for (bit, row) in rows.iter().enumerate() {
                    let (chunk, word) = place(*row);
                    kept |= (self.planes[chunk * self.n_planes + plane].0[word] >> (row % 64) & 1) << bit;
                }
                let (chunk, word) = place(64 * word);
                self.planes[chunk * self.n_planes + plane].0[word] = kept;
            }
        }
        for column in 0..self.n_columns {
            for (to, from) in rows.iter().enumerate() {
                let class = *self.class(column, *from);
                *self.class(column, to) = class;
            }
        }
        rows.len()
    }

    /// The number of rows that the block has room for.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.n_rows
    }

    /// The planes of one feature.
    pub(super) fn words(&mut self, plane: usize) -> PlaneWords<'_> {
        PlaneWords { n_planes: self.n_planes, planes: &mut self.planes, plane }
    }
}

/// The bit planes of one feature, written in words of 64 rows.
#[derive(Debug)]
pub(super) struct PlaneWords<'a> {
    pub(super) planes: &'a mut [BitRow],
    pub(super) n_planes: usize,
    pub(super) plane: usize,
}

impl PlaneWords<'_> {
    /// The `word`-th word of the feature's plane `bit`.
    #[inline]
    pub(super) fn word(&mut self, word: usize, bit: usize) -> &mut u64 {
        let row = word / BitRow::WORDS * self.n_planes + self.plane + bit;
        &mut self.planes[row].0[word % BitRow::WORDS]
    }
}
