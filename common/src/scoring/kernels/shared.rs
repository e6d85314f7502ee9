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

/// The functions that are the same for every instruction set, over its `Bits` (part of a `BitRow`), of which `PARTS`
/// make a row, and its `load`, `store`, `and`, `or`, `mux`, and `add_leaves`.
macro_rules! scoring_kernel {
    ($(#[$attribute:meta])*) => {
        $(#[$attribute])*
        fn run(gate: impl Fn(&[BitRow], usize, Gate) -> Bits, gates: &[Gate], first_row: usize, rows: &mut [BitRow]) {
            for (row, one) in (first_row..).zip(gates) {
                for part in 0..PARTS {
                    let bits = gate(rows, part, *one);
                    store(&mut rows[row], part, bits);
                }
            }
        }

        $(#[$attribute])*
        fn run_conditions(conditions: &Gates, rows: &mut [BitRow]) {
            for (kind, range) in &conditions.runs {
                let first_row = conditions.first_row as usize + range.start;
                let gates = &conditions.gates[range.clone()];
                match kind {
                    GateKind::And => run(
                        |rows, part, gate| and(
                            load(&rows[gate.select as usize], part),
                            load(&rows[gate.high as usize], part),
                        ),
                        gates, first_row, rows,
                    ),
                    GateKind::Or => run(
                        |rows, part, gate| or(
                            load(&rows[gate.select as usize], part),
                            load(&rows[gate.low as usize], part),
                        ),
                        gates, first_row, rows,
                    ),
                    GateKind::Mux => run_any(gates, first_row, rows),
                }
            }
        }

        $(#[$attribute])*
        fn run_any(gates: &[Gate], first_row: usize, rows: &mut [BitRow]) {
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
