//! Plain Rust on 64-bit words, which the compiler vectorises as far as the target allows.

use super::super::block::{BitRow, PlaneWords};
use super::super::circuit::{BddNode, BddNodeKind, Lookups, Memberships, Step};
use super::super::program::{Conditions, Program};
use super::super::quantiser::{Classes, Ranks};
use super::super::tree_plan::{MAX_LEAF_BITS, TreePlan};
use super::shared::lower_blocks;
use super::{InstructionSet, Kernels, Sums, explain};

/// Words handled together; what is chosen among while descending stays in registers.
const LANES: usize = 2;
const PARTS: usize = BitRow::WORDS / LANES;
type Bits = [u64; LANES];

pub(super) fn kernels() -> Kernels {
    Kernels {
        instructions: InstructionSet::Portable,
        rank,
        classify,
        score,
        conditions,
        gates: run_any,
        explain: explain::portable::explain,
    }
}

fn load(row: &BitRow, part: usize) -> Bits {
    std::array::from_fn(|lane| row.0[part * LANES + lane])
}

fn store(row: &mut BitRow, part: usize, bits: Bits) {
    row.0[part * LANES..][..LANES].copy_from_slice(&bits);
}

fn and(one: Bits, other: Bits) -> Bits {
    std::array::from_fn(|lane| one[lane] & other[lane])
}

fn or(one: Bits, other: Bits) -> Bits {
    std::array::from_fn(|lane| one[lane] | other[lane])
}

fn mux(select: Bits, high: Bits, low: Bits) -> Bits {
    std::array::from_fn(|lane| low[lane] ^ (select[lane] & (high[lane] ^ low[lane])))
}

/// Exchanges the upper ones of each two blocks of `size` bits in all words of `above` with the lower ones in those of `below`.
fn swap_blocks(above: Bits, below: Bits, size: u32) -> (Bits, Bits) {
    let differ: Bits = std::array::from_fn(|lane| (above[lane] >> size ^ below[lane]) & lower_blocks(size));
    (
        std::array::from_fn(|lane| above[lane] ^ differ[lane] << size),
        std::array::from_fn(|lane| below[lane] ^ differ[lane]),
    )
}

scoring_kernel!();

fn conditions(program: &Program, classes: &[u32], rows: &mut [BitRow]) {
    compute_conditions(&program.conditions, classes, rows);
}

fn score(program: &Program, classes: &[u32], rows: &mut [BitRow], sums: &mut Sums) {
    compute_conditions(&program.conditions, classes, rows);
    sums.fill(program.base_margin);
    add_trees(program, rows, sums);
}

/// Adds to each sum the leaf whose number its row's bits spell.
pub(super) fn add_leaves(bits: &[BitRow], leaves: &[f32], sums: &mut Sums) {
    if bits.len() <= 8 {
        add_few_leaves(bits, leaves, sums);
    } else {
        add_many_leaves(bits, leaves, sums);
    }
}

/// At most 256 leaves.
fn add_few_leaves(bits: &[BitRow], leaves: &[f32], sums: &mut Sums) {
    // As many as a byte can number, so that no lookup below needs a check.
    let mut table = [0.0; 256];
    table[..leaves.len()].copy_from_slice(leaves);
    for (word, sums) in sums.as_chunks_mut::<64>().0.iter_mut().enumerate() {
        for (octet, sums) in sums.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let mut octets = 0;
            for (bit, row) in bits.iter().enumerate() {
                octets |= (row.0[word] >> (8 * octet) & 0xff) << (8 * bit);
            }
            for (sum, number) in sums.iter_mut().zip(transpose(octets).to_le_bytes()) {
                *sum += table[usize::from(number)];
            }
        }
    }
}

fn add_many_leaves(bits: &[BitRow], leaves: &[f32], sums: &mut Sums) {
    for (row, sum) in sums.iter_mut().enumerate() {
        let mut number = 0;
        for (bit, bits) in bits.iter().enumerate() {
            number |= ((bits.0[row / 64] >> (row % 64) & 1) as usize) << bit;
        }
        *sum += leaves[number];
    }
}

/// Transposes a matrix of 8 × 8 bits, a byte per row (Warren, "Hacker's Delight", 7-3).
pub(super) fn transpose(mut matrix: u64) -> u64 {
    for (shift, mask) in [(7, 0x00aa_00aa_00aa_00aa), (14, 0x0000_cccc_0000_cccc), (28, 0x0000_0000_f0f0_f0f0)] {
        let swapped = (matrix ^ (matrix >> shift)) & mask;
        matrix ^= swapped ^ (swapped << shift);
    }
    matrix
}

pub(super) fn rank(ranks: &Ranks, bits: usize, values: &[[f32; 64]], word: usize, words: &mut PlaneWords<'_>) {
    let mut codes = [0; 64];
    for (word, values) in (word..).zip(values) {
        search(ranks, bits, values, &mut codes);
        write_planes(&codes, bits, word, words);
    }
}

fn search(ranks: &Ranks, bits: usize, values: &[f32; 64], codes: &mut [u32; 64]) {
    codes.fill(0);
    for level in 0..bits {
        let thresholds = &ranks.tree[Ranks::level(level)..][..1 << level];
        for (code, value) in codes.iter_mut().zip(values) {
            *code = 2 * *code + u32::from(*value >= thresholds[*code as usize]);
        }
    }
    for (code, value) in codes.iter_mut().zip(values) {
        *code = if value.is_nan() { ranks.missing } else { *code };
    }
}

pub(super) fn classify(classes: &Classes, bits: usize, values: &[[f32; 64]], word: usize, words: &mut PlaneWords<'_>) {
    for (word, values) in (word..).zip(values) {
        let codes = std::array::from_fn(|row| classes.code(values[row]));
        write_planes(&codes, bits, word, words);
    }
}

/// Writes the bits of the codes of 64 rows.
fn write_planes(codes: &[u32; 64], bits: usize, word: usize, words: &mut PlaneWords<'_>) {
    for byte in 0..bits.div_ceil(8) {
        let mut planes = [0; 8];
        for (octet, codes) in codes.as_chunks::<8>().0.iter().enumerate() {
            let bytes = std::array::from_fn(|row| (codes[row] >> (8 * byte)) as u8);
            let transposed = transpose(u64::from_le_bytes(bytes));
            for (bit, plane) in planes.iter_mut().enumerate() {
                *plane |= (transposed >> (8 * bit) & 0xff) << (8 * octet);
            }
        }
        for (bit, plane) in (8 * byte..bits).zip(planes) {
            *words.word(word, bit) = plane;
        }
    }
}
