//! NEON: a quarter of a row of bits is one register. Looking up a float is looking up its four bytes, each in a table of
//! bytes, for 16 rows at once.

use std::arch::aarch64::*;

use super::super::block::{BitRow, PlaneWords};
use super::super::circuit::{BddNode, BddNodeKind, Lookups, Memberships, Step};
use super::super::program::{Conditions, Program};
use super::super::quantiser::Ranks;
use super::super::tree_plan::{MAX_LEAF_BITS, TreePlan};
use super::shared::lower_blocks;
use super::{InstructionSet, Kernels, Sums, explain, portable};

/// The bytes of a register, each of which belongs to a row.
const LANES: usize = 16;
const PARTS: usize = 4;
/// Most bits of a rank that is found by tables: more of them do not fit into a byte.
const MAX_BITS: usize = 8;
/// Registers of a table for the last level of a search.
const REGISTERS: usize = (1 << (MAX_BITS - 1)) / LANES;
/// A bit of its own in each byte of a half.
const WEIGHTS: [u8; LANES] = [1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128];
type Bits = uint64x2_t;
/// Four tables, of the first, second, third and fourth bytes of up to `N * 16` floats.
type Tables<const N: usize> = [[uint8x16_t; N]; 4];

/// The kernels; every 64-bit ARM has NEON.
pub(super) fn kernels() -> Kernels {
    Kernels {
        instructions: InstructionSet::Neon,
        rank,
        classify: portable::classify,
        score,
        conditions,
        gates: run_any,
        explain: explain::neon::explain,
    }
}

#[inline]
fn load(row: &BitRow, part: usize) -> Bits {
    let quarter = &row.0.as_chunks::<2>().0[part];
    // SAFETY: 16 bytes behind a reference.
    unsafe { vld1q_u64(quarter.as_ptr()) }
}

#[inline]
fn store(row: &mut BitRow, part: usize, bits: Bits) {
    let quarter = &mut row.0.as_chunks_mut::<2>().0[part];
    // SAFETY: 16 bytes behind an exclusive reference.
    unsafe { vst1q_u64(quarter.as_mut_ptr(), bits) }
}

#[inline]
fn and(one: Bits, other: Bits) -> Bits {
    // SAFETY: every 64-bit ARM has NEON.
    unsafe { vandq_u64(one, other) }
}

#[inline]
fn or(one: Bits, other: Bits) -> Bits {
    // SAFETY: every 64-bit ARM has NEON.
    unsafe { vorrq_u64(one, other) }
}

#[inline]
fn mux(select: Bits, high: Bits, low: Bits) -> Bits {
    // SAFETY: every 64-bit ARM has NEON.
    unsafe { vbslq_u64(select, high, low) }
}

/// Exchanges the upper ones of each two blocks of `size` bits in all words of `above` with the lower ones in those of `below`.
#[inline]
fn swap_blocks(above: Bits, below: Bits, size: u32) -> (Bits, Bits) {
    // SAFETY: every 64-bit ARM has NEON. A shift to the left by a negative number is one to the right.
    unsafe {
        let by = i64::from(size);
        let lower = vdupq_n_u64(lower_blocks(size));
        let differ = vandq_u64(veorq_u64(vshlq_u64(above, vdupq_n_s64(-by)), below), lower);
        (veorq_u64(above, vshlq_u64(differ, vdupq_n_s64(by))), veorq_u64(below, differ))
    }
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

fn add_leaves(bits: &[BitRow], leaves: &[f32], sums: &mut Sums) {
    match bits.len() {
        // SAFETY: every 64-bit ARM has NEON.
        0..=4 => unsafe { add_from_tables::<1>(bits, leaves, sums) },
        // SAFETY: as above.
        5 => unsafe { add_from_tables::<2>(bits, leaves, sums) },
        // SAFETY: as above.
        6 => unsafe { add_from_tables::<4>(bits, leaves, sums) },
        _ => portable::add_leaves(bits, leaves, sums),
    }
}

/// At most `16 * N` leaves, kept in four times as many registers.
#[inline]
#[target_feature(enable = "neon")]
fn add_from_tables<const N: usize>(bits: &[BitRow], leaves: &[f32], sums: &mut Sums) {
    // Leaves that fill all registers are not copied.
    let tables = match leaves.as_chunks::<LANES>().0.first_chunk::<N>() {
        Some(leaves) => tables(leaves),
        None => {
            let mut padded = [[0.0; LANES]; N];
            padded.as_flattened_mut()[..leaves.len()].copy_from_slice(leaves);
            tables(&padded)
        }
    };
    for (part, sums) in sums.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
        let leaves = floats(tables.map(|table| look_up_bytes(&table, leaf_numbers(bits, part))));
        for (sums, leaves) in sums.as_chunks_mut::<4>().0.iter_mut().zip(leaves) {
            store_floats(sums, vaddq_f32(load_floats(sums), leaves));
        }
    }
}

/// The numbers of the leaves of 16 rows.
#[inline]
#[target_feature(enable = "neon")]
fn leaf_numbers(bits: &[BitRow], part: usize) -> uint8x16_t {
    let mut numbers = vdupq_n_u8(0);
    for row in bits.iter().rev() {
        let rows = row.0[part / 4] >> (LANES * (part % 4));
        let bytes = vcombine_u8(vdup_n_u8(rows as u8), vdup_n_u8((rows >> 8) as u8));
        // A bit that is set is -1.
        numbers = vsubq_u8(vaddq_u8(numbers, numbers), vtstq_u8(bytes, weights()));
    }
    numbers
}

#[inline]
#[target_feature(enable = "neon")]
fn weights() -> uint8x16_t {
    // SAFETY: 16 bytes behind a reference.
    unsafe { vld1q_u8(WEIGHTS.as_ptr()) }
}

#[inline]
#[target_feature(enable = "neon")]
fn load_floats(floats: &[f32; 4]) -> float32x4_t {
    // SAFETY: 4 floats behind a reference.
    unsafe { vld1q_f32(floats.as_ptr()) }
}

#[inline]
#[target_feature(enable = "neon")]
fn store_floats(floats: &mut [f32; 4], values: float32x4_t) {
    // SAFETY: 4 floats behind an exclusive reference.
    unsafe { vst1q_f32(floats.as_mut_ptr(), values) }
}

/// The bytes of floats, apart.
#[inline]
#[target_feature(enable = "neon")]
fn tables<const N: usize>(floats: &[[f32; LANES]; N]) -> Tables<N> {
    let mut tables = [[vdupq_n_u8(0); N]; 4];
    for (register, floats) in floats.iter().enumerate() {
        // SAFETY: 64 bytes behind a reference.
        let bytes = unsafe { vld4q_u8(floats.as_ptr().cast()) };
        for (table, bytes) in tables.iter_mut().zip([bytes.0, bytes.1, bytes.2, bytes.3]) {
            table[register] = bytes;
        }
    }
    tables
}

/// The bytes at 16 places of a table.
#[inline]
#[target_feature(enable = "neon")]
fn look_up_bytes<const N: usize>(table: &[uint8x16_t; N], places: uint8x16_t) -> uint8x16_t {
    let four = |first: usize| uint8x16x4_t(table[first], table[first + 1], table[first + 2], table[first + 3]);
    match N {
        1 => vqtbl1q_u8(table[0], places),
        2 => vqtbl2q_u8(uint8x16x2_t(table[0], table[1]), places),
        4 => vqtbl4q_u8(four(0), places),
        // A place outside its table gives 0 at first, and then keeps what is there.
        _ => vqtbx4q_u8(vqtbl4q_u8(four(0), places), four(4), vsubq_u8(places, vdupq_n_u8(64))),
    }
}

/// 16 floats from their first, second, third and fourth bytes.
#[inline]
#[target_feature(enable = "neon")]
fn floats(bytes: [uint8x16_t; 4]) -> [float32x4_t; 4] {
    let [first, second, third, fourth] = bytes;
    let low = [vzip1q_u8(first, second), vzip1q_u8(third, fourth)].map(|pairs| vreinterpretq_u16_u8(pairs));
    let high = [vzip2q_u8(first, second), vzip2q_u8(third, fourth)].map(|pairs| vreinterpretq_u16_u8(pairs));
    let words = [
        vzip1q_u16(low[0], low[1]),
        vzip2q_u16(low[0], low[1]),
        vzip1q_u16(high[0], high[1]),
        vzip2q_u16(high[0], high[1]),
    ];
    words.map(|words| vreinterpretq_f32_u16(words))
}

fn rank(ranks: &Ranks, bits: usize, values: &[[f32; 64]], word: usize, words: &mut PlaneWords<'_>) {
    macro_rules! by_tables {
        ($($bits:literal)*) => {
            match bits {
                // SAFETY: every 64-bit ARM has NEON.
                $($bits => unsafe { rank_by_tables::<$bits>(ranks, values, word, words) },)*
                _ => portable::rank(ranks, bits, values, word, words),
            }
        };
    }
    by_tables!(1 2 3 4 5 6 7 8);
}

/// A binary search for 16 values at a time. Each comparison is a bit of the rank.
#[target_feature(enable = "neon")]
fn rank_by_tables<const BITS: usize>(ranks: &Ranks, values: &[[f32; 64]], word: usize, words: &mut PlaneWords<'_>) {
    let levels: [Tables<REGISTERS>; BITS] = std::array::from_fn(|level| {
        let mut thresholds = [[f32::NAN; LANES]; REGISTERS];
        let of_level = &ranks.tree[Ranks::level(level)..][..1 << level];
        thresholds.as_flattened_mut()[..of_level.len()].copy_from_slice(of_level);
        tables(&thresholds)
    });
    for (word, values) in (word..).zip(values) {
        let mut planes = [0_u64; BITS];
        for (part, values) in values.as_chunks::<LANES>().0.iter().enumerate() {
            let values: [float32x4_t; 4] = std::array::from_fn(|quad| load_floats(&values.as_chunks::<4>().0[quad]));
            let is_missing = !row_bits(narrowed(values.map(|values| vceqq_f32(values, values))));
            let reached = search::<BITS>(&levels, values);
            for (level, reached) in reached.into_iter().enumerate() {
                let bit = BITS - 1 - level;
                let missing = if ranks.missing >> bit & 1 == 1 { is_missing } else { 0 };
                planes[bit] |= u64::from(row_bits(reached) | missing) << (LANES * part);
            }
        }
        for (bit, plane) in planes.into_iter().enumerate() {
            *words.word(word, bit) = plane;
        }
    }
}

/// The outcome of the comparison at each level: -1 where a value reaches its threshold.
#[allow(unused_assignments, reason = "nothing looks at the rank after the last level")]
#[inline]
#[target_feature(enable = "neon")]
fn search<const BITS: usize>(levels: &[Tables<REGISTERS>; BITS], values: [float32x4_t; 4]) -> [uint8x16_t; BITS] {
    let mut reached = [vdupq_n_u8(0); BITS];
    let mut rank = vdupq_n_u8(0);
    macro_rules! compare {
        ($($level:literal of $registers:literal)*) => { $(
            if $level < BITS {
                let bytes = levels[$level].map(|table| look_up_bytes(&first_registers::<$registers>(&table), rank));
                let thresholds = floats(bytes);
                let quads = std::array::from_fn(|quad| vcgeq_f32(values[quad], thresholds[quad]));
                reached[$level] = narrowed(quads);
                rank = vsubq_u8(vaddq_u8(rank, rank), reached[$level]);
            }
        )* };
    }
    compare!(0 of 1 1 of 1 2 of 1 3 of 1 4 of 1 5 of 2 6 of 4 7 of 8);
    reached
}

#[inline]
fn first_registers<const N: usize>(table: &[uint8x16_t; REGISTERS]) -> [uint8x16_t; N] {
    std::array::from_fn(|register| table[register])
}

/// Masks of 16 lanes of four bytes as masks of one byte each.
#[inline]
#[target_feature(enable = "neon")]
fn narrowed(masks: [uint32x4_t; 4]) -> uint8x16_t {
    let [first, second, third, fourth] = masks.map(|mask| vreinterpretq_u16_u32(mask));
    let halves = [vuzp1q_u16(first, second), vuzp1q_u16(third, fourth)].map(|half| vreinterpretq_u8_u16(half));
    vuzp1q_u8(halves[0], halves[1])
}

/// One bit for each byte of a mask.
#[inline]
#[target_feature(enable = "neon")]
fn row_bits(mask: uint8x16_t) -> u16 {
    let bits = vandq_u8(mask, weights());
    u16::from(vaddv_u8(vget_low_u8(bits))) | u16::from(vaddv_u8(vget_high_u8(bits))) << 8
}
