//! Boolean circuits over rows of bits.
//!
//! A feature's code (a rank or a class) is stored as bit planes: plane `j` holds bit `j` of the code of 512 rows. The
//! condition of a node is then a Boolean function of a few planes, and so is every bit of the number of the leaf that
//! a row ends in. Both are built of one kind of gate, `select ? high : low`, as a reduced ordered binary decision
//! diagram (Bryant, "Graph-Based Algorithms for Boolean Function Manipulation", 1986): equal sub-functions are built
//! once, so a feature's conditions `code > 0`, `code > 1`, … cost little more than one gate each.

use std::collections::HashMap;
use std::ops::Range;

use super::quantiser::ClassSets;

/// The row that holds zeros.
pub(super) const ZEROS: u32 = 0;
/// The row that holds ones.
pub(super) const ONES: u32 = 1;
/// The row of the first bit plane.
pub(super) const FIRST_PLANE: u32 = 2;

/// `select ? high : low`, bit by bit; the operands are numbers of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct BddNode {
    pub(super) select: u32,
    pub(super) high: u32,
    pub(super) low: u32,
}

/// One step of computing the conditions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Gates of one kind, by their number.
    Gates(BddNodeKind, Range<usize>),
    /// Category sets of one feature of few classes.
    Lookups(Lookups),
    /// Category sets of one feature of many classes.
    Memberships(Memberships),
}

/// For every class of a feature one bit per category set, as words. The words of 64 rows, transposed, are the sets'
/// bits of these rows: work that does not grow with the number of classes. Set `i` is written to row `first_row + i`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Memberships {
    /// The column of classes in the block, which holds where the words of each row's class start.
    pub(super) column: usize,
    /// The words of one class.
    pub(super) n_words: usize,
    /// All words, class by class.
    pub(super) words: Vec<u64>,
    pub(super) first_row: u32,
}

impl Memberships {
    /// Of a feature whose classes stand in `column`.
    pub(super) fn new(circuit: &mut Circuit, column: usize, sets: ClassSets) -> Self {
        let n_words = sets.n_words();
        let first_row = circuit.reserve(64 * n_words);
        Self { column, n_words, words: sets.words, first_row }
    }
}

/// Category sets as complete trees: below the feature's upper planes, of which `top` is the row of the highest, stand
/// `2^depth` functions of the lower ones, whose rows are `functions`, one set after the other. Set `i` is written to
/// row `first_row + i`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lookups {
    pub(super) top: u32,
    pub(super) depth: usize,
    pub(super) functions: Vec<u32>,
    pub(super) first_row: u32,
}

impl Lookups {
    /// The planes below the upper ones. All functions of 3 planes take 16 KiB, which the first-level cache holds.
    const LOWER: u32 = 3;
    /// Sets over fewer planes are cheaper as gates.
    const MIN_BITS: u32 = 5;
    /// Sets over more planes are cheaper as [`Memberships`].
    pub(super) const MAX_BITS: u32 = ClassSets::MOST_ORDERED.ilog2();

    /// The functions for sets of codes of `bits` bits, whose planes start at row `plane`; none where gates are cheaper.
    pub(super) fn new(circuit: &mut Circuit, plane: u32, bits: u32, sets: &ClassSets) -> Option<Self> {
        if sets.n_sets() == 0 || bits < Self::MIN_BITS {
            return None;
        }
        let depth = bits - Self::LOWER;
        let mut functions = Vec::with_capacity(sets.n_sets() << depth);
        for set in 0..sets.n_sets() {
            let classes = sets.classes_in(set);
            let mut codes = classes.as_slice();
            for base in (0..1 << bits).step_by(1 << Self::LOWER) {
                let (here, above) = codes.split_at(codes.partition_point(|code| *code < base + (1 << Self::LOWER)));
                functions.push(circuit.member(plane, Self::LOWER, base, here));
                codes = above;
            }
        }
        Some(Self { top: plane + bits - 1, depth: depth as usize, functions, first_row: 0 })
    }
}

/// How a gate is computed: most have a constant operand and need one instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum BddNodeKind {
    /// `low` is zeros: `select & high`.
    And,
    /// `high` is ones: `select | low`.
    Or,
    /// Anything else.
    Mux,
}

impl BddNode {
    pub(super) fn kind(self) -> BddNodeKind {
        match self {
            Self { low: ZEROS, .. } => BddNodeKind::And,
            Self { high: ONES, .. } => BddNodeKind::Or,
            _ => BddNodeKind::Mux,
        }
    }
}

/// Gates in an order in which each one's operands come before it; gate `i` writes row `first_row + i`.
#[derive(Debug)]
pub(super) struct Circuit {
    pub(super) first_row: u32,
    pub(super) gates: Vec<BddNode>,
    known: HashMap<BddNode, u32>,
}

impl Circuit {
    pub(super) fn new(first_row: u32) -> Self {
        Self { first_row, gates: Vec::new(), known: HashMap::new() }
    }

    /// The row that will hold `select ? high : low`; a new gate only where it takes one.
    pub(super) fn mux(&mut self, select: u32, high: u32, low: u32) -> u32 {
        if high == low {
            return high;
        }
        if (high, low) == (ONES, ZEROS) {
            return select;
        }
        let next = self.first_row + self.gates.len() as u32;
        let gate = BddNode { select, high, low };
        let row = *self.known.entry(gate).or_insert(next);
        if row == next {
            self.gates.push(gate);
        }
        row
    }

    /// The row of `low <= code < high`, of the code whose `bits` planes start at row `plane`.
    pub(super) fn interval(&mut self, plane: u32, bits: u32, low: u32, high: u32) -> u32 {
        if low >= high {
            return ZEROS;
        }
        if low == 0 && u64::from(high) >= 1 << bits {
            return ONES;
        }
        let half = 1 << (bits - 1);
        let below = self.interval(plane, bits - 1, low.min(half), high.min(half));
        let above = self.interval(plane, bits - 1, low.saturating_sub(half), high.saturating_sub(half));
        self.mux(plane + bits - 1, above, below)
    }

    /// The row of `code ∈ codes`, where `codes` are sorted, distinct, and at least `base`.
    pub(super) fn member(&mut self, plane: u32, bits: u32, base: u32, codes: &[u32]) -> u32 {
        if codes.is_empty() {
            return ZEROS;
        }
        if codes.len() as u64 == 1 << bits {
            return ONES;
        }
        let half = base + (1 << (bits - 1));
        let (below, above) = codes.split_at(codes.partition_point(|code| *code < half));
        let below = self.member(plane, bits - 1, base, below);
        let above = self.member(plane, bits - 1, half, above);
        self.mux(plane + bits - 1, above, below)
    }

    /// Rows that something else than a gate will write; the first of them.
    pub(super) fn reserve(&mut self, n_rows: usize) -> u32 {
        let first = self.first_row + self.gates.len() as u32;
        let unused = BddNode { select: ZEROS, high: ZEROS, low: ZEROS };
        self.gates.extend(std::iter::repeat_n(unused, n_rows));
        first
    }

    /// Orders the gates from `from` on by level and kind, so that gates of one kind stand together. Gives the new row
    /// of each of them.
    pub(super) fn group_by_kind(&mut self, from: usize) -> Moved {
        let base = self.first_row + from as u32;
        let mut levels: Vec<u32> = Vec::new();
        for gate in &self.gates[from..] {
            let level = |row: u32| row.checked_sub(base).map_or(0, |index| levels[index as usize]);
            let level = 1 + level(gate.select).max(level(gate.high)).max(level(gate.low));
            levels.push(level);
        }
        let mut order: Vec<usize> = (0..levels.len()).collect();
        order.sort_by_key(|index| (levels[*index], self.gates[from + index].kind()));
        let mut moved = vec![0; order.len()];
        for (place, index) in order.iter().enumerate() {
            moved[*index] = base + place as u32;
        }
        let row = |row: u32| row.checked_sub(base).map_or(row, |index| moved[index as usize]);
        let reordered = order.iter().map(|index| {
            let gate = self.gates[from + index];
            BddNode { select: row(gate.select), high: row(gate.high), low: row(gate.low) }
        });
        let reordered: Vec<BddNode> = reordered.collect();
        self.gates.truncate(from);
        self.gates.extend(reordered);
        self.known.clear();
        Moved { base, rows: moved }
    }
}

/// Where rows have moved.
#[derive(Debug)]
pub(super) struct Moved {
    base: u32,
    rows: Vec<u32>,
}

impl Moved {
    pub(super) fn apply(&self, row: &mut u32) {
        if let Some(index) = row.checked_sub(self.base) {
            *row = self.rows[index as usize];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value of `row` for one code.
    fn evaluate(circuit: &Circuit, bits: u32, code: u32, row: u32) -> bool {
        let mut values = vec![false, true];
        values.extend((0..bits).map(|bit| code >> bit & 1 == 1));
        for gate in &circuit.gates {
            let operand = if values[gate.select as usize] { gate.high } else { gate.low };
            values.push(values[operand as usize]);
        }
        values[row as usize]
    }

    #[test]
    fn intervals_and_sets_are_what_they_say_also_after_grouping() {
        for bits in 1..=5 {
            let mut circuit = Circuit::new(FIRST_PLANE + bits);
            let end = 1 << bits;
            let mut rows = Vec::new();
            for low in 0..=end {
                for high in low..=end {
                    let codes: Vec<u32> = (0..end).filter(|code| (code * 7 + low) % (high + 2) < 2).collect();
                    rows.push((circuit.interval(FIRST_PLANE, bits, low, high), (low..high).collect()));
                    rows.push((circuit.member(FIRST_PLANE, bits, 0, &codes), codes));
                }
            }
            let moved = circuit.group_by_kind(0);
            for (mut row, codes) in rows {
                moved.apply(&mut row);
                for code in 0..end {
                    assert_eq!(evaluate(&circuit, bits, code, row), codes.contains(&code), "{codes:?} {code}");
                }
            }
        }
    }

    #[test]
    fn thresholds_of_a_feature_cost_about_a_gate_each() {
        let mut circuit = Circuit::new(FIRST_PLANE + 8);
        for rank in 1..256 {
            circuit.interval(FIRST_PLANE, 8, rank, 256);
        }
        assert!(circuit.gates.len() < 512, "{}", circuit.gates.len());
    }
}
