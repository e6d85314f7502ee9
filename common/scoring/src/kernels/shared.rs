//! What all instruction sets have in common: running the circuit, descending complete trees, going from tree to tree.
//!
//! Macros instead of generic functions, so that every function carries the `target_feature` of its instruction set,
//! which lets intrinsics be inlined and makes calling them safe.

/// A leaf's bit: descends from place `$place` (in heap order) under the level bits `$bit…`, and gives what is there.
macro_rules! descend {
    ($at:expr; $place:expr;) => { $at($place) };
    ($at:expr; $place:expr; $bit:ident $($below:ident)*) => {
        mux($bit, descend!($at; 2 * ($place) + 2; $($below)*), descend!($at; 2 * ($place) + 1; $($below)*))
    };
}

/// Descends a complete tree: the bit of each level is chosen among its conditions by the bits of the levels above.
/// Stores the bits, the last level's (the lowest of the leaf's number) first.
macro_rules! descend_levels {
    ($at:expr; $store:expr; [$($above:ident)*]) => {};
    ($at:expr; $store:expr; [$($above:ident)*] $bit:ident $($below:ident)*) => {
        let $bit = descend!($at; 0; $($above)*);
        $store(descend_levels!(@count $($below)*), $bit);
        descend_levels!($at; $store; [$($above)* $bit] $($below)*);
    };
    (@count) => { 0 };
    (@count $one:ident $($other:ident)*) => { 1 + descend_levels!(@count $($other)*) };
}

/// Descends a complete tree of `$n_conditions` conditions.
macro_rules! descend_tree {
    ($n_conditions:literal, $conditions:ident, $rows:ident, $leaf:ident; $($bit:ident)*) => {{
        // With the length known, accesses to the conditions need no check.
        let Ok(conditions) = <&[u32; $n_conditions]>::try_from($conditions) else { return };
        for part in 0..PARTS {
            let at = |place: usize| load(&$rows[conditions[place] as usize], part);
            let mut keep = |bit: usize, bits: Bits| store(&mut $leaf[bit], part, bits);
            descend_levels!(at; keep; [] $($bit)*);
        }
    }};
}

/// Looks up category sets of `$n` functions each.
macro_rules! look_up {
    ($n:literal, $lookups:ident, $rows:ident; $($bit:ident)*) => {
        for (row, functions) in ($lookups.first_row as usize..).zip($lookups.functions.as_chunks::<$n>().0) {
            for part in 0..PARTS {
                let plane = |below: usize| load(&$rows[$lookups.top as usize - below], part);
                let [$($bit),*] = std::array::from_fn(plane);
                // Places count from the root; the functions are the last level.
                let at = |place: usize| load(&$rows[functions[place - ($n - 1)] as usize], part);
                let bits = descend!(at; 0; $($bit)*);
                store(&mut $rows[row], part, bits);
            }
        }
    };
}

/// The lower half of every two blocks of so many bits, as ones.
pub(super) const fn lower_blocks(size: u32) -> u64 {
    u64::MAX / ((1 << size) + 1)
}

/// The functions that are the same for every instruction set, over its `Bits` (part of a `BitRow`), of which `PARTS`
/// make a row, and its `load`, `store`, `and`, `or`, `mux`, `swap_blocks`, and `add_leaves`.
macro_rules! scoring_kernel {
    ($(#[$attribute:meta])*) => {
        $(#[$attribute])*
        fn run(gate: impl Fn(&[BitRow], usize, BddNode) -> Bits, gates: &[BddNode], first_row: usize, rows: &mut [BitRow]) {
            for (row, one) in (first_row..).zip(gates) {
                for part in 0..PARTS {
                    let bits = gate(rows, part, *one);
                    store(&mut rows[row], part, bits);
                }
            }
        }

        $(#[$attribute])*
        fn compute_conditions(conditions: &Conditions, classes: &[u32], rows: &mut [BitRow]) {
            for step in &conditions.steps {
                match step {
                    Step::Gates(kind, range) => {
                        let first_row = conditions.first_row as usize + range.start;
                        run_kind(*kind, &conditions.gates[range.clone()], first_row, rows);
                    }
                    Step::Lookups(lookups) => look_up_sets(lookups, rows),
                    Step::Memberships(memberships) => {
                        let classes = &classes[memberships.column * BitRow::ROWS..][..BitRow::ROWS];
                        transpose_memberships(memberships, classes, rows);
                    }
                }
            }
        }

        $(#[$attribute])*
        fn transpose_memberships(memberships: &Memberships, classes: &[u32], rows: &mut [BitRow]) {
            let rows = &mut rows[memberships.first_row as usize..][..64 * memberships.n_words];
            for (number, square) in rows.as_chunks_mut::<64>().0.iter_mut().enumerate() {
                let words = &memberships.words[number..];
                for (word, classes) in classes.as_chunks::<64>().0.iter().enumerate() {
                    for (row, class) in square.iter_mut().zip(classes) {
                        row.0[word] = words[*class as usize];
                    }
                }
                transpose_squares(square);
            }
        }

        /// Transposes the eight matrices of 64 × 64 bits that stand side by side, one in each word (Warren, "Hacker's Delight", 7-3):
        /// every step is the same for all of them, so that no bit moves from one lane of a register to another.
        $(#[$attribute])*
        fn transpose_squares(squares: &mut [BitRow; 64]) {
            for first in 0..8 {
                swap_in_eight::<8>(squares, first);
            }
            for first in 0..8 {
                swap_in_eight::<1>(squares, 8 * first);
            }
        }

        /// Swaps the off-diagonal blocks of `4 * STRIDE`, of `2 * STRIDE` and of `STRIDE` bits in eight rows, `STRIDE` apart.
        $(#[$attribute])*
        #[inline]
        fn swap_in_eight<const STRIDE: usize>(squares: &mut [BitRow; 64], first: usize) {
            for part in 0..PARTS {
                let mut eight: [Bits; 8] = std::array::from_fn(|row| load(&squares[first + row * STRIDE], part));
                for (above, below) in [(0, 4), (1, 5), (2, 6), (3, 7)] {
                    (eight[above], eight[below]) = swap_blocks(eight[above], eight[below], 4 * STRIDE as u32);
                }
                for (above, below) in [(0, 2), (1, 3), (4, 6), (5, 7)] {
                    (eight[above], eight[below]) = swap_blocks(eight[above], eight[below], 2 * STRIDE as u32);
                }
                for (above, below) in [(0, 1), (2, 3), (4, 5), (6, 7)] {
                    (eight[above], eight[below]) = swap_blocks(eight[above], eight[below], STRIDE as u32);
                }
                for (row, bits) in eight.into_iter().enumerate() {
                    store(&mut squares[first + row * STRIDE], part, bits);
                }
            }
        }

        $(#[$attribute])*
        fn run_kind(kind: BddNodeKind, gates: &[BddNode], first_row: usize, rows: &mut [BitRow]) {
            match kind {
                BddNodeKind::And => run(
                    |rows, part, gate| and(
                        load(&rows[gate.select as usize], part),
                        load(&rows[gate.high as usize], part),
                    ),
                    gates, first_row, rows,
                ),
                BddNodeKind::Or => run(
                    |rows, part, gate| or(
                        load(&rows[gate.select as usize], part),
                        load(&rows[gate.low as usize], part),
                    ),
                    gates, first_row, rows,
                ),
                BddNodeKind::Mux => run_any(gates, first_row, rows),
            }
        }

        $(#[$attribute])*
        fn look_up_sets(lookups: &Lookups, rows: &mut [BitRow]) {
            match lookups.depth {
                2 => look_up!(4, lookups, rows; a b),
                _ => look_up!(8, lookups, rows; a b c),
            }
        }

        $(#[$attribute])*
        fn run_any(gates: &[BddNode], first_row: usize, rows: &mut [BitRow]) {
            run(
                |rows, part, gate| mux(
                    load(&rows[gate.select as usize], part),
                    load(&rows[gate.high as usize], part),
                    load(&rows[gate.low as usize], part),
                ),
                gates, first_row, rows,
            );
        }

        $(#[$attribute])*
        fn descend_complete(depth: usize, conditions: &[u32], rows: &[BitRow], leaf: &mut [BitRow; MAX_LEAF_BITS]) {
            match depth {
                1 => descend_tree!(1, conditions, rows, leaf; a),
                2 => descend_tree!(3, conditions, rows, leaf; a b),
                3 => descend_tree!(7, conditions, rows, leaf; a b c),
                4 => descend_tree!(15, conditions, rows, leaf; a b c d),
                5 => descend_tree!(31, conditions, rows, leaf; a b c d e),
                6 => descend_tree!(63, conditions, rows, leaf; a b c d e f),
                7 => descend_tree!(127, conditions, rows, leaf; a b c d e f g),
                _ => descend_tree!(255, conditions, rows, leaf; a b c d e f g h),
            }
        }

        $(#[$attribute])*
        fn add_trees(program: &Program, rows: &mut [BitRow], sums: &mut Sums) {
            let mut leaf = [BitRow::ZEROS; MAX_LEAF_BITS];
            for tree in &program.trees {
                match tree {
                    TreePlan::Constant(value) => sums.iter_mut().for_each(|sum| *sum += value),
                    TreePlan::Complete { depth, conditions, leaves } => {
                        let conditions = &program.operands[*conditions..][..(1 << depth) - 1];
                        descend_complete(*depth, conditions, rows, &mut leaf);
                        add_leaves(&leaf[..*depth], &program.leaves[*leaves..][..1 << depth], sums);
                    }
                    TreePlan::Gates { gates, bits, leaves } => {
                        run_any(&program.tree_gates[gates.clone()], program.first_tree_row as usize, rows);
                        for (bit, row) in leaf.iter_mut().zip(&program.operands[bits.clone()]) {
                            *bit = rows[*row as usize];
                        }
                        add_leaves(&leaf[..bits.len()], &program.leaves[*leaves..][..1 << bits.len()], sums);
                    }
                }
            }
        }
    };
}
