//! AVX2: eight rows to a register.

use std::arch::x86_64::*;

use super::super::super::block::BitRow;
use super::super::super::explain::{self, Lanes, MAX_BITS, MAX_POINTS, Octet, Step, StepKind, Walk};

const FLOATS: usize = 8;
const PARTS: usize = explain::LANES / FLOATS;
type Floats = __m256;
/// All bits of a row's lane are its bit.
type Mask = __m256;
/// The lowest bits of a lane are the pattern's first three bits; its bit 24 is the fourth.
type Index = __m256i;

/// Reached only through `avx2::kernels`, which has found AVX2.
pub(in super::super) fn explain(steps: &[Step], tables: &[Octet], rows: &[BitRow], word: usize, walk: &mut Walk) {
    // SAFETY: see above.
    unsafe { take_steps(steps, tables, rows, word, walk) }
}

explaining_kernel!(#[target_feature(enable = "avx2")]);

#[inline]
#[target_feature(enable = "avx2")]
fn splat(value: f32) -> Floats {
    _mm256_set1_ps(value)
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(lanes: &Lanes, part: usize) -> Floats {
    let floats = &lanes.0.as_chunks::<FLOATS>().0[part];
    // SAFETY: 8 floats behind a reference.
    unsafe { _mm256_loadu_ps(floats.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(lanes: &mut Lanes, part: usize, values: Floats) {
    let floats = &mut lanes.0.as_chunks_mut::<FLOATS>().0[part];
    // SAFETY: 8 floats behind an exclusive reference.
    unsafe { _mm256_storeu_ps(floats.as_mut_ptr(), values) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn multiply(one: Floats, other: Floats) -> Floats {
    _mm256_mul_ps(one, other)
}

#[inline]
#[target_feature(enable = "avx2")]
fn add(one: Floats, other: Floats) -> Floats {
    _mm256_add_ps(one, other)
}

#[inline]
#[target_feature(enable = "avx2")]
fn mask(bits: u64, part: usize) -> Mask {
    let weights = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    let bits = _mm256_and_si256(_mm256_set1_epi32((bits >> (FLOATS * part)) as i32), weights);
    _mm256_castsi256_ps(_mm256_cmpeq_epi32(bits, weights))
}

#[inline]
#[target_feature(enable = "avx2")]
fn choose(mask: Mask, one: Floats, zero: Floats) -> Floats {
    _mm256_blendv_ps(zero, one, mask)
}

/// The pattern of each row's bits.
#[inline]
#[target_feature(enable = "avx2")]
fn index<const OCTETS: usize>(bits: [u64; MAX_BITS], part: usize) -> Index {
    let byte = |place: usize| ((bits[place] >> (FLOATS * part)) as u8 as u32) << (8 * place);
    let bytes = byte(0) | byte(1) | byte(2) | if OCTETS > 1 { byte(3) } else { 0 };
    let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    let lowest = _mm256_set1_epi32(0x0101_0101);
    // Bit `p` of the pattern is at 8 p, and moves to p.
    let apart = _mm256_and_si256(_mm256_srlv_epi32(_mm256_set1_epi32(bytes as i32), lanes), lowest);
    let second = _mm256_srli_epi32::<7>(apart);
    let third = _mm256_srli_epi32::<14>(apart);
    _mm256_or_si256(_mm256_or_si256(apart, second), third)
}

#[inline]
#[target_feature(enable = "avx2")]
fn look_up<const OCTETS: usize>(table: &[Octet; OCTETS], index: Index) -> Floats {
    let one = |octet: &Octet| {
        // SAFETY: 8 floats behind a reference.
        let octet = unsafe { _mm256_loadu_ps(octet.0.as_ptr()) };
        // Only the lowest three bits of an index count.
        _mm256_permutevar8x32_ps(octet, index)
    };
    match OCTETS {
        1 => one(&table[0]),
        _ => {
            let fourth = _mm256_castsi256_ps(_mm256_slli_epi32::<7>(index));
            _mm256_blendv_ps(one(&table[0]), one(&table[OCTETS - 1]), fourth)
        }
    }
}
