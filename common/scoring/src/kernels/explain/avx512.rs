//! AVX-512 F: sixteen rows to a register, and constants chosen by bits as they are.

use std::arch::x86_64::*;

use super::super::super::block::BitRow;
use super::super::super::explain::{self, Lanes, MAX_BITS, MAX_POINTS, Octet, Step, StepKind, Walk};

const FLOATS: usize = 16;
const PARTS: usize = explain::LANES / FLOATS;
type Floats = __m512;
type Mask = __mmask16;
type Index = __m512i;

/// Reached only through `avx512::kernels`, which has found AVX-512 F and BW.
pub(in super::super) fn explain(steps: &[Step], tables: &[Octet], rows: &[BitRow], word: usize, walk: &mut Walk) {
    // SAFETY: see above.
    unsafe { take_steps(steps, tables, rows, word, walk) }
}

explaining_kernel!(#[target_feature(enable = "avx512f,avx512bw")]);

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn splat(value: f32) -> Floats {
    _mm512_set1_ps(value)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load(lanes: &Lanes, part: usize) -> Floats {
    let floats = &lanes.0.as_chunks::<FLOATS>().0[part];
    // SAFETY: 16 floats behind a reference.
    unsafe { _mm512_loadu_ps(floats.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn store(lanes: &mut Lanes, part: usize, values: Floats) {
    let floats = &mut lanes.0.as_chunks_mut::<FLOATS>().0[part];
    // SAFETY: 16 floats behind an exclusive reference.
    unsafe { _mm512_storeu_ps(floats.as_mut_ptr(), values) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn multiply(one: Floats, other: Floats) -> Floats {
    _mm512_mul_ps(one, other)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn add(one: Floats, other: Floats) -> Floats {
    _mm512_add_ps(one, other)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn mask(bits: u64, part: usize) -> Mask {
    (bits >> (FLOATS * part)) as Mask
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn choose(mask: Mask, one: Floats, zero: Floats) -> Floats {
    _mm512_mask_blend_ps(mask, zero, one)
}

/// The pattern of each row's bits.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn index<const OCTETS: usize>(bits: [u64; MAX_BITS], part: usize) -> Index {
    let mut index = _mm512_maskz_mov_epi32(mask(bits[0], part), _mm512_set1_epi32(1));
    index = _mm512_mask_or_epi32(index, mask(bits[1], part), index, _mm512_set1_epi32(2));
    index = _mm512_mask_or_epi32(index, mask(bits[2], part), index, _mm512_set1_epi32(4));
    if OCTETS > 1 {
        index = _mm512_mask_or_epi32(index, mask(bits[3], part), index, _mm512_set1_epi32(8));
    }
    index
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn look_up<const OCTETS: usize>(table: &[Octet; OCTETS], index: Index) -> Floats {
    let table = match OCTETS {
        1 => {
            // SAFETY: 8 floats behind a reference.
            let octet = unsafe { _mm256_loadu_ps(table[0].0.as_ptr()) };
            // No index reaches the upper half.
            _mm512_castps256_ps512(octet)
        }
        _ => {
            // SAFETY: 16 floats behind a reference to two octets, which leave no room between them.
            unsafe { _mm512_loadu_ps(table.as_ptr().cast()) }
        }
    };
    _mm512_permutexvar_ps(index, table)
}
