//! The leaves of a tree, found by descending it with all rows at once. Nothing is compiled, so this is for trees that score few rows, or
//! score them once.

use super::ensemble::{Node, Question, Split, Tree};

/// Room for the rows of a descent, used again for every tree.
#[derive(Debug, Default)]
pub struct DescentScratch {
    rows: Vec<u32>,
    right: Vec<u32>,
}

impl Tree {
    /// Adds to each row's margin the leaf that it comes to. `columns` are those of the matrix that the model was trained on, in order, with
    /// NaN for a missing value and codes for categories, and have a value for each margin.
    ///
    /// The sum is XGBoost's own, to the bit, if this is done tree by tree from the base margin on.
    ///
    /// # Panics
    /// Where a column is lacking or short.
    pub fn add_leaves(&self, columns: &[impl AsRef<[f32]>], margins: &mut [f32], scratch: &mut DescentScratch) {
        let count = u32::try_from(margins.len()).unwrap_or(u32::MAX);
        let DescentScratch { rows, right } = scratch;
        rows.clear();
        rows.extend(0..count);
        right.resize(rows.len(), 0);
        let mut open = vec![(0, 0..rows.len())];
        while let Some((node, range)) = open.pop() {
            if range.is_empty() {
                continue;
            }
            match &self.nodes[node] {
                Node::Leaf(leaf) => rows[range].iter().for_each(|row| margins[*row as usize] += leaf),
                Node::Split(split) => {
                    let column = columns[split.feature].as_ref();
                    let middle = range.start + self.part(split, column, &mut rows[range.clone()], right);
                    open.push((split.right, middle..range.end));
                    open.push((split.left, range.start..middle));
                }
            }
        }
    }

    /// Puts the rows that go left before those that go right, each in their order; how many go left.
    fn part(&self, split: &Split, column: &[f32], rows: &mut [u32], right: &mut [u32]) -> usize {
        let missing_goes_right = !split.default_left;
        match &split.question {
            Question::Below(threshold) => part(rows, right, |row| {
                let value = column[row as usize];
                // A missing value is not below anything.
                let is_below = value < *threshold;
                !is_below & (missing_goes_right | !value.is_nan())
            }),
            Question::Among(range) => {
                let set = CodeSet::of(&self.categories[range.clone()]);
                part(rows, right, |row| {
                    let value = column[row as usize];
                    if value.is_nan() { missing_goes_right } else { set.has(value) }
                })
            }
        }
    }
}

/// [`Tree::part`] by a condition.
fn part(rows: &mut [u32], right: &mut [u32], goes_right: impl Fn(u32) -> bool) -> usize {
    let (mut left, mut gone) = (0, 0);
    for place in 0..rows.len() {
        let row = rows[place];
        let goes_right = goes_right(row);
        // Both are written, without a branch, and one of them counts.
        (rows[left], right[gone]) = (row, row);
        left += usize::from(!goes_right);
        gone += usize::from(goes_right);
    }
    rows[left..].copy_from_slice(&right[..gone]);
    left
}

/// The codes of a category set as bits.
struct CodeSet {
    words: Vec<u64>,
}

impl CodeSet {
    fn of(codes: &[u32]) -> Self {
        let largest = codes.iter().max().copied().unwrap_or(0) as usize;
        let mut words = vec![0; largest / 64 + 1];
        for code in codes {
            words[*code as usize / 64] |= 1_u64 << (code % 64);
        }
        Self { words }
    }

    /// Whether a value is a code of the set, cut off to a whole number as XGBoost does; negative ones and those beyond it are in none.
    fn has(&self, value: f32) -> bool {
        let code = value as usize;
        value >= 0.0 && self.words.get(code / 64).is_some_and(|word| word >> (code % 64) & 1 == 1)
    }
}
