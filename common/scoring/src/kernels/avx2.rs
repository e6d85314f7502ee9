//! AVX2: half a row of bits is one register.

use std::arch::x86_64::*;

use super::super::block::{BitRow, PlaneWords};
use super::super::circuit::{BddNode, BddNodeKind, Lookups, Memberships, Step};
use super::super::program::{Conditions, Program};
use super::super::quantiser::{Classes, Ranks};
use super::super::tree_plan::{MAX_LEAF_BITS, TreePlan};
use super::shared::lower_blocks;
use super::{InstructionSet, Kernels, Sums, explain, portable};

/// The floats of a register.
const LANES: usize = 8;
const PARTS: usize = 2;
type Bits = __m256i;

/// The kernels, if this machine can run them.
pub(super) fn kernels() -> Option<Kernels> {
    let available = is_x86_feature_detected!("avx2");
    available.then_some(Kernels {
        instructions: InstructionSet::Avx2,
        rank,
        classify,
        score,
        conditions,
        gates,
        explain: explain::avx2::explain,
    })
}

fn rank(ranks: &Ranks, bits: usize, values: &[[f32; 64]], word: usize, words: &mut PlaneWords<'_>) {
    // SAFETY: reached only through `kernels`, which has found AVX2.
    unsafe { rank_words(ranks, bits, values, word, words) }
}

fn classify(classes: &Classes, bits: usize, values: &[[f32; 64]], word: usize, words: &mut PlaneWords<'_>) {
    // SAFETY: reached only through `kernels`, which has found AVX2.
    unsafe { classify_words(classes, bits, values, word, words) }
}

fn score(program: &Program, classes: &[u32], rows: &mut [BitRow], sums: &mut Sums) {
    // SAFETY: reached only through `kernels`, which has found AVX2.
    unsafe { score_rows(program, classes, rows, sums) }
}

fn conditions(program: &Program, classes: &[u32], rows: &mut [BitRow]) {
    // SAFETY: reached only through `kernels`, which has found AVX2.
    unsafe { compute_conditions(&program.conditions, classes, rows) }
}

fn gates(gates: &[BddNode], first_row: usize, rows: &mut [BitRow]) {
    // SAFETY: reached only through `kernels`, which has found AVX2.
    unsafe { run_any(gates, first_row, rows) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(row: &BitRow, part: usize) -> Bits {
    let half = &row.0.as_chunks::<4>().0[part];
    // SAFETY: 32 bytes behind a reference.
    unsafe { _mm256_loadu_si256(half.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(row: &mut BitRow, part: usize, bits: Bits) {
    let half = &mut row.0.as_chunks_mut::<4>().0[part];
    // SAFETY: 32 bytes behind an exclusive reference.
    unsafe { _mm256_storeu_si256(half.as_mut_ptr().cast(), bits) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn and(one: Bits, other: Bits) -> Bits {
    _mm256_and_si256(one, other)
}

#[inline]
#[target_feature(enable = "avx2")]
fn or(one: Bits, other: Bits) -> Bits {
    _mm256_or_si256(one, other)
}

#[inline]
#[target_feature(enable = "avx2")]
fn mux(select: Bits, high: Bits, low: Bits) -> Bits {
    _mm256_or_si256(_mm256_and_si256(select, high), _mm256_andnot_si256(select, low))
}

/// Exchanges the upper ones of each two blocks of `size` bits in all words of `above` with the lower ones in those of `below`.
#[inline]
#[target_feature(enable = "avx2")]
fn swap_blocks(above: Bits, below: Bits, size: u32) -> (Bits, Bits) {
    let by = _mm256_set1_epi64x(i64::from(size));
    let lower = _mm256_set1_epi64x(lower_blocks(size).cast_signed());
    let differ = _mm256_and_si256(_mm256_xor_si256(_mm256_srlv_epi64(above, by), below), lower);
    (_mm256_xor_si256(above, _mm256_sllv_epi64(differ, by)), _mm256_xor_si256(below, differ))
}

scoring_kernel!(#[target_feature(enable = "avx2")]);

#[inline]
#[target_feature(enable = "avx2")]
fn load_floats(floats: &[f32; LANES]) -> __m256 {
    // SAFETY: 8 floats behind a reference.
    unsafe { _mm256_loadu_ps(floats.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_floats(floats: &mut [f32; LANES], values: __m256) {
    // SAFETY: 8 floats behind an exclusive reference.
    unsafe { _mm256_storeu_ps(floats.as_mut_ptr(), values) }
}

#[target_feature(enable = "avx2")]
fn score_rows(program: &Program, classes: &[u32], rows: &mut [BitRow], sums: &mut Sums) {
    compute_conditions(&program.conditions, classes, rows);
    sums.fill(program.base_margin);
    add_trees(program, rows, sums);
}

#[target_feature(enable = "avx2")]
fn add_leaves(bits: &[BitRow], leaves: &[f32], sums: &mut Sums) {
    match bits.len() {
        3 => add_from_registers::<3, 1>(bits, leaves, sums),
        4 => add_from_registers::<4, 2>(bits, leaves, sums),
        5 => add_from_registers::<5, 4>(bits, leaves, sums),
        6 => add_from_registers::<6, 8>(bits, leaves, sums),
        7.. => portable::add_leaves(bits, leaves, sums),
        _ => {
            let (mut padded, mut all) = ([BitRow::ZEROS; 3], [0.0; LANES]);
            padded[..bits.len()].copy_from_slice(bits);
            all[..leaves.len()].copy_from_slice(leaves);
            add_from_registers::<3, 1>(&padded, &all, sums);
        }
    }
}

/// `2^BITS` leaves, kept in as many registers as they fill.
#[inline]
#[target_feature(enable = "avx2")]
fn add_from_registers<const BITS: usize, const REGISTERS: usize>(bits: &[BitRow], leaves: &[f32], sums: &mut Sums) {
    // With the lengths known, loops are unrolled and nothing is copied.
    let leaves = leaves.as_chunks::<LANES>().0.first_chunk::<REGISTERS>();
    let (Some(bits), Some(leaves)) = (bits.first_chunk::<BITS>(), leaves) else {
        return;
    };
    for (word, sums) in sums.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let numbers = leaf_numbers(bits, word);
        let (sums, _) = sums.as_chunks_mut::<LANES>();
        let [first, second, third, fourth] = sums else {
            return;
        };
        add_one_register(leaves, numbers, first);
        add_one_register(leaves, _mm256_srli_epi32::<8>(numbers), second);
        add_one_register(leaves, _mm256_srli_epi32::<16>(numbers), third);
        add_one_register(leaves, _mm256_srli_epi32::<24>(numbers), fourth);
    }
}

/// The numbers of the leaves of 32 rows: byte `o` of lane `l` is that of row `8 o + l`.
#[inline]
#[target_feature(enable = "avx2")]
fn leaf_numbers(bits: &[BitRow], word: usize) -> __m256i {
    let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    let lowest = _mm256_set1_epi32(0x0101_0101);
    let mut numbers = _mm256_setzero_si256();
    for row in bits.iter().rev() {
        let rows = (row.0[word / 2] >> (32 * (word % 2))) as i32;
        let bit = _mm256_and_si256(_mm256_srlv_epi32(_mm256_set1_epi32(rows), lanes), lowest);
        numbers = _mm256_or_si256(_mm256_add_epi32(numbers, numbers), bit);
    }
    numbers
}

/// Adds the leaves whose numbers are the lowest bytes of the lanes.
#[inline]
#[target_feature(enable = "avx2")]
fn add_one_register<const REGISTERS: usize>(
    table: &[[f32; LANES]; REGISTERS],
    numbers: __m256i,
    sums: &mut [f32; LANES],
) {
    let one = |index: usize| _mm256_permutevar8x32_ps(load_floats(&table[index]), numbers);
    let third = _mm256_castsi256_ps(_mm256_slli_epi32::<28>(numbers));
    let fourth = _mm256_castsi256_ps(_mm256_slli_epi32::<27>(numbers));
    let fifth = _mm256_castsi256_ps(_mm256_slli_epi32::<26>(numbers));
    let two = |index: usize| _mm256_blendv_ps(one(2 * index), one(2 * index + 1), third);
    let four = |index: usize| _mm256_blendv_ps(two(2 * index), two(2 * index + 1), fourth);
    let leaves = match REGISTERS {
        1 => one(0),
        2 => two(0),
        4 => four(0),
        _ => _mm256_blendv_ps(four(0), four(1), fifth),
    };
    store_floats(sums, _mm256_add_ps(load_floats(sums), leaves));
}

#[target_feature(enable = "avx2")]
fn rank_words(ranks: &Ranks, bits: usize, values: &[[f32; 64]], word: usize, words: &mut PlaneWords<'_>) {
    match bits {
        1 => rank_by_permuting::<1>(ranks, values, word, words),
        2 => rank_by_permuting::<2>(ranks, values, word, words),
        3 => rank_by_permuting::<3>(ranks, values, word, words),
        4 => rank_by_permuting::<4>(ranks, values, word, words),
        5 => rank_by_permuting::<5>(ranks, values, word, words),
        6 => rank_by_permuting::<6>(ranks, values, word, words),
        7 => rank_by_permuting::<7>(ranks, values, word, words),
        8 => rank_by_permuting::<8>(ranks, values, word, words),
        _ => portable::rank(ranks, bits, values, word, words),
    }
}

/// A binary search for 8 values at a time. Each comparison is a bit of the rank.
#[inline]
#[target_feature(enable = "avx2")]
fn rank_by_permuting<const BITS: usize>(ranks: &Ranks, values: &[[f32; 64]], word: usize, words: &mut PlaneWords<'_>) {
    let (tree, _) = ranks.tree.as_chunks::<LANES>();
    for (word, values) in (word..).zip(values) {
        let mut planes = [0_u64; BITS];
        for (octet, values) in values.as_chunks::<LANES>().0.iter().enumerate() {
            let values = load_floats(values);
            let is_missing = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_UNORD_Q>(values, values));
            let reached = search::<BITS>(tree, values);
            for (level, reached) in reached.into_iter().enumerate() {
                let bit = BITS - 1 - level;
                let missing = if ranks.missing >> bit & 1 == 1 { is_missing } else { 0 };
                let bits = _mm256_movemask_ps(reached) | missing;
                planes[bit] |= u64::from(bits as u8) << (LANES * octet);
            }
        }
        for (bit, plane) in planes.into_iter().enumerate() {
            *words.word(word, bit) = plane;
        }
    }
}

/// The outcome of the comparison at each level.
#[allow(unused_assignments, reason = "nothing looks at the rank after the last level")]
#[inline]
#[target_feature(enable = "avx2")]
fn search<const BITS: usize>(tree: &[[f32; LANES]], values: __m256) -> [__m256; BITS] {
    let mut reached = [_mm256_setzero_ps(); BITS];
    let mut rank = _mm256_setzero_si256();
    macro_rules! compare {
        ($($level:literal)*) => { $(
            if $level < BITS {
                let thresholds = look_up::<$level, BITS>(tree, rank, &reached);
                reached[$level] = _mm256_cmp_ps::<_CMP_GE_OQ>(values, thresholds);
                // A comparison that holds is -1.
                rank = _mm256_sub_epi32(_mm256_add_epi32(rank, rank), _mm256_castps_si256(reached[$level]));
            }
        )* };
    }
    compare!(0 1 2 3 4 5 6 7);
    reached
}

/// The thresholds at the places `rank` of a level: among those of a register by its lower bits, among registers by the
/// outcomes of the first comparisons.
#[inline]
#[target_feature(enable = "avx2")]
fn look_up<const LEVEL: usize, const BITS: usize>(
    tree: &[[f32; LANES]],
    rank: __m256i,
    reached: &[__m256; BITS],
) -> __m256 {
    let registers = &tree[Ranks::level(LEVEL) / LANES..];
    let one = |index: usize| _mm256_permutevar8x32_ps(load_floats(&registers[index]), rank);
    let two = |first: usize, by: usize| _mm256_blendv_ps(one(first), one(first + 1), reached[by]);
    let four = |first: usize, by: usize| _mm256_blendv_ps(two(first, by + 1), two(first + 2, by + 1), reached[by]);
    let eight = |first: usize, by: usize| _mm256_blendv_ps(four(first, by + 1), four(first + 4, by + 1), reached[by]);
    match LEVEL {
        0..=3 => one(0),
        4 => two(0, 0),
        5 => four(0, 0),
        6 => eight(0, 0),
        _ => _mm256_blendv_ps(eight(0, 1), eight(8, 1), reached[0]),
    }
}

#[target_feature(enable = "avx2")]
fn classify_words(classes: &Classes, bits: usize, values: &[[f32; 64]], word: usize, words: &mut PlaneWords<'_>) {
    portable::classify(classes, bits, values, word, words);
}
