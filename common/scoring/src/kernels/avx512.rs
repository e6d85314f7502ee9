//! AVX-512 F and BW: a row of bits is one register, and comparisons give bits at once.

use std::arch::x86_64::*;

use super::super::block::{BitRow, PlaneWords};
use super::super::circuit::{BddNode, BddNodeKind, Lookups, Memberships, Step};
use super::super::program::{Conditions, Program};
use super::super::quantiser::{Classes, Ranks};
use super::super::tree_plan::{MAX_LEAF_BITS, TreePlan};
use super::shared::lower_blocks;
use super::{InstructionSet, Kernels, Sums, explain, portable};

/// The floats of a register.
const LANES: usize = 16;
const PARTS: usize = 1;
type Bits = __m512i;

/// The kernels, if this machine can run them.
pub(super) fn kernels() -> Option<Kernels> {
    let available = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
    available.then_some(Kernels {
        instructions: InstructionSet::Avx512,
        rank,
        classify,
        score,
        conditions,
        gates,
        explain: explain::avx512::explain,
    })
}

fn rank(ranks: &Ranks, bits: usize, values: &[[f32; 64]], word: usize, words: &mut PlaneWords<'_>) {
    // SAFETY: reached only through `kernels`, which has found AVX-512 F and BW.
    unsafe { rank_words(ranks, bits, values, word, words) }
}

fn classify(classes: &Classes, bits: usize, values: &[[f32; 64]], word: usize, words: &mut PlaneWords<'_>) {
    // SAFETY: reached only through `kernels`, which has found AVX-512 F and BW.
    unsafe { classify_words(classes, bits, values, word, words) }
}

fn score(program: &Program, classes: &[u32], rows: &mut [BitRow], sums: &mut Sums) {
    // SAFETY: reached only through `kernels`, which has found AVX-512 F and BW.
    unsafe { score_rows(program, classes, rows, sums) }
}

fn conditions(program: &Program, classes: &[u32], rows: &mut [BitRow]) {
    // SAFETY: reached only through `kernels`, which has found AVX-512 F and BW.
    unsafe { compute_conditions(&program.conditions, classes, rows) }
}

fn gates(gates: &[BddNode], first_row: usize, rows: &mut [BitRow]) {
    // SAFETY: reached only through `kernels`, which has found AVX-512 F and BW.
    unsafe { run_any(gates, first_row, rows) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load(row: &BitRow, _part: usize) -> Bits {
    // SAFETY: 64 bytes behind a reference, and aligned to 64.
    unsafe { _mm512_load_si512(row.0.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn store(row: &mut BitRow, _part: usize, bits: Bits) {
    // SAFETY: 64 bytes behind an exclusive reference, and aligned to 64.
    unsafe { _mm512_store_si512(row.0.as_mut_ptr().cast(), bits) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn and(one: Bits, other: Bits) -> Bits {
    _mm512_and_si512(one, other)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn or(one: Bits, other: Bits) -> Bits {
    _mm512_or_si512(one, other)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn mux(select: Bits, high: Bits, low: Bits) -> Bits {
    // Bit i of the constant is the result for select, high, low as the bits of i.
    _mm512_ternarylogic_epi64::<0b1100_1010>(select, high, low)
}

/// Exchanges the upper ones of each two blocks of `size` bits in all words of `above` with the lower ones in those of `below`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn swap_blocks(above: Bits, below: Bits, size: u32) -> (Bits, Bits) {
    let by = _mm512_set1_epi64(i64::from(size));
    let lower = _mm512_set1_epi64(lower_blocks(size).cast_signed());
    let differ = _mm512_and_si512(_mm512_xor_si512(_mm512_srlv_epi64(above, by), below), lower);
    (_mm512_xor_si512(above, _mm512_sllv_epi64(differ, by)), _mm512_xor_si512(below, differ))
}

scoring_kernel!(#[target_feature(enable = "avx512f,avx512bw")]);

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load_floats(floats: &[f32; LANES]) -> __m512 {
    // SAFETY: 16 floats behind a reference.
    unsafe { _mm512_loadu_ps(floats.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn store_floats(floats: &mut [f32; LANES], values: __m512) {
    // SAFETY: 16 floats behind an exclusive reference.
    unsafe { _mm512_storeu_ps(floats.as_mut_ptr(), values) }
}

#[target_feature(enable = "avx512f,avx512bw")]
fn score_rows(program: &Program, classes: &[u32], rows: &mut [BitRow], sums: &mut Sums) {
    compute_conditions(&program.conditions, classes, rows);
    sums.fill(program.base_margin);
    add_trees(program, rows, sums);
    unshuffle(sums);
}

/// While trees are added, the sum of row `4 l + s` of 64 stands in lane `l` of register `s`: the numbers of the leaves
/// are bytes, and a shift brings one of each four bytes to the bottom of its lane, cheaper than widening them would be.
#[target_feature(enable = "avx512f,avx512bw")]
fn unshuffle(sums: &mut Sums) {
    for sums in sums.as_chunks_mut::<64>().0 {
        let shuffled = *sums;
        for (row, sum) in sums.iter_mut().enumerate() {
            *sum = shuffled[row % 4 * LANES + row / 4];
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw")]
fn add_leaves(bits: &[BitRow], leaves: &[f32], sums: &mut Sums) {
    match bits.len() {
        4 => add_from_registers::<4, 1>(bits, leaves, sums),
        5 => add_from_registers::<5, 2>(bits, leaves, sums),
        6 => add_from_registers::<6, 4>(bits, leaves, sums),
        7 => add_from_registers::<7, 8>(bits, leaves, sums),
        8.. => add_from_memory(bits, leaves, sums),
        _ => {
            let (mut padded, mut all) = ([BitRow::ZEROS; 4], [0.0; LANES]);
            padded[..bits.len()].copy_from_slice(bits);
            all[..leaves.len()].copy_from_slice(leaves);
            add_from_registers::<4, 1>(&padded, &all, sums);
        }
    }
}

/// `2^BITS` leaves, kept in as many registers as they fill.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn add_from_registers<const BITS: usize, const REGISTERS: usize>(bits: &[BitRow], leaves: &[f32], sums: &mut Sums) {
    // With the lengths known, loops are unrolled and nothing is copied.
    let leaves = leaves.as_chunks::<LANES>().0.first_chunk::<REGISTERS>();
    let (Some(bits), Some(leaves)) = (bits.first_chunk::<BITS>(), leaves) else {
        return;
    };
    let table = leaves.each_ref().map(|leaves| load_floats(leaves));
    for (word, sums) in sums.as_chunks_mut::<64>().0.iter_mut().enumerate() {
        let numbers = leaf_numbers(bits, word);
        let (sums, _) = sums.as_chunks_mut::<LANES>();
        let [first, second, third, fourth] = sums else {
            return;
        };
        add_one_register(&table, numbers, first);
        add_one_register(&table, _mm512_srli_epi32::<8>(numbers), second);
        add_one_register(&table, _mm512_srli_epi32::<16>(numbers), third);
        add_one_register(&table, _mm512_srli_epi32::<24>(numbers), fourth);
    }
}

/// A byte per row with the number of its leaf.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn leaf_numbers(bits: &[BitRow], word: usize) -> __m512i {
    let mut numbers = _mm512_setzero_si512();
    for (bit, row) in bits.iter().enumerate() {
        numbers = _mm512_mask_add_epi8(numbers, row.0[word], numbers, _mm512_set1_epi8(1 << bit));
    }
    numbers
}

/// Adds the leaves whose numbers are the lowest bytes of the lanes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn add_one_register<const REGISTERS: usize>(table: &[__m512; REGISTERS], numbers: __m512i, sums: &mut [f32; LANES]) {
    let pair = |index: usize| _mm512_permutex2var_ps(table[2 * index], numbers, table[2 * index + 1]);
    let has = |bit: i32| _mm512_test_epi32_mask(numbers, _mm512_set1_epi32(1 << bit));
    let leaves = match REGISTERS {
        1 => _mm512_permutexvar_ps(numbers, table[0]),
        2 => pair(0),
        4 => _mm512_mask_mov_ps(pair(0), has(5), pair(1)),
        _ => {
            let below = _mm512_mask_mov_ps(pair(0), has(5), pair(1));
            let above = _mm512_mask_mov_ps(pair(2), has(5), pair(3));
            _mm512_mask_mov_ps(below, has(6), above)
        }
    };
    store_floats(sums, _mm512_add_ps(load_floats(sums), leaves));
}

/// More leaves than registers hold.
#[target_feature(enable = "avx512f,avx512bw")]
fn add_from_memory(bits: &[BitRow], leaves: &[f32], sums: &mut Sums) {
    let (low, high) = bits.split_at(8);
    for (word, sums) in sums.as_chunks_mut::<64>().0.iter_mut().enumerate() {
        let low = bytes(leaf_numbers(low, word));
        let high = bytes(leaf_numbers(high, word));
        for (row, (low, high)) in low.into_iter().zip(high).enumerate() {
            // Sums are shuffled, see `unshuffle`.
            sums[row % 4 * LANES + row / 4] += leaves[usize::from(low) | usize::from(high) << 8];
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn bytes(register: __m512i) -> [u8; 64] {
    let mut row = BitRow::ZEROS;
    store(&mut row, 0, register);
    let mut bytes = [0; 64];
    for (bytes, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(row.0) {
        *bytes = word.to_le_bytes();
    }
    bytes
}

#[target_feature(enable = "avx512f,avx512bw")]
fn rank_words(ranks: &Ranks, bits: usize, values: &[[f32; 64]], word: usize, words: &mut PlaneWords<'_>) {
    match bits {
        1 => rank_in_registers::<1, 1>(ranks, values, word, words),
        2 => rank_in_registers::<2, 1>(ranks, values, word, words),
        3 => rank_in_registers::<3, 1>(ranks, values, word, words),
        4 => rank_in_registers::<4, 1>(ranks, values, word, words),
        5 => rank_in_registers::<5, 1>(ranks, values, word, words),
        6 => rank_in_registers::<6, 2>(ranks, values, word, words),
        7 => rank_in_registers::<7, 4>(ranks, values, word, words),
        8 => rank_in_registers::<8, 8>(ranks, values, word, words),
        _ => portable::rank(ranks, bits, values, word, words),
    }
}

/// A binary search for 64 values at a time, the tree of thresholds in registers. Each comparison is a bit of the rank.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn rank_in_registers<const BITS: usize, const LAST: usize>(
    ranks: &Ranks,
    values: &[[f32; 64]],
    word: usize,
    words: &mut PlaneWords<'_>,
) {
    let (tree, _) = ranks.tree.as_chunks::<LANES>();
    let mut levels = [[_mm512_setzero_ps(); LAST]; BITS];
    for (level, registers) in levels.iter_mut().enumerate() {
        for (index, register) in registers.iter_mut().enumerate().take(registers_of(level)) {
            *register = load_floats(&tree[Ranks::level(level) / LANES + index]);
        }
    }
    for (word, values) in (word..).zip(values) {
        let mut planes = [0_u64; BITS];
        let (values, _) = values.as_chunks::<LANES>();
        for (quarter, values) in values.iter().enumerate() {
            let values = load_floats(values);
            let is_missing = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(values, values);
            let mut rank = _mm512_setzero_si512();
            for (level, registers) in levels.iter().enumerate() {
                let thresholds = look_up(registers, level, rank);
                let reached = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(values, thresholds);
                rank = _mm512_add_epi32(rank, rank);
                rank = _mm512_mask_add_epi32(rank, reached, rank, _mm512_set1_epi32(1));
                let bit = BITS - 1 - level;
                let missing = if ranks.missing >> bit & 1 == 1 { is_missing } else { 0 };
                planes[bit] |= u64::from(reached | missing) << (LANES * quarter);
            }
        }
        for (bit, plane) in planes.into_iter().enumerate() {
            *words.word(word, bit) = plane;
        }
    }
}

/// The registers that a level of the search tree takes.
const fn registers_of(level: usize) -> usize {
    if level < 5 { 1 } else { 1 << (level - 4) }
}

/// The thresholds at the places `rank` of a level.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn look_up<const LAST: usize>(registers: &[__m512; LAST], level: usize, rank: __m512i) -> __m512 {
    let pair = |index: usize| _mm512_permutex2var_ps(registers[2 * index], rank, registers[2 * index + 1]);
    let has = |bit: u32| _mm512_test_epi32_mask(rank, _mm512_set1_epi32(1 << bit));
    match level {
        0..=4 => _mm512_permutexvar_ps(rank, registers[0]),
        5 => pair(0),
        6 => _mm512_mask_mov_ps(pair(0), has(5), pair(1)),
        _ => {
            let below = _mm512_mask_mov_ps(pair(0), has(5), pair(1));
            let above = _mm512_mask_mov_ps(pair(2), has(5), pair(3));
            _mm512_mask_mov_ps(below, has(6), above)
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw")]
fn classify_words(classes: &Classes, bits: usize, values: &[[f32; 64]], word: usize, words: &mut PlaneWords<'_>) {
    if bits > 8 {
        return portable::classify(classes, bits, values, word, words);
    }
    for (word, values) in (word..).zip(values) {
        let mut codes = BitRow::ZEROS;
        for (octet, values) in codes.0.iter_mut().zip(values.as_chunks::<8>().0) {
            let bytes = std::array::from_fn(|row| classes.code(values[row]) as u8);
            *octet = u64::from_le_bytes(bytes);
        }
        let codes = load(&codes, 0);
        for bit in 0..bits {
            *words.word(word, bit) = _mm512_test_epi8_mask(codes, _mm512_set1_epi8(1 << bit));
        }
    }
}
