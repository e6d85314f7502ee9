//! NEON: four rows to a register. Looking up a float is looking up its four bytes.

use std::arch::aarch64::*;

use super::super::super::block::BitRow;
use super::super::super::explain::{self, Lanes, MAX_BITS, MAX_POINTS, Octet, Step, StepKind, Walk};

const FLOATS: usize = 4;
const PARTS: usize = explain::LANES / FLOATS;
type Floats = float32x4_t;
/// All bits of a row's lane are its bit.
type Mask = uint32x4_t;
/// The places of the four bytes of each row's constant.
type Index = uint8x16_t;

pub(in super::super) fn explain(steps: &[Step], tables: &[Octet], rows: &[BitRow], word: usize, walk: &mut Walk) {
    take_steps(steps, tables, rows, word, walk);
}

explaining_kernel!();

#[inline]
fn splat(value: f32) -> Floats {
    // SAFETY: every 64-bit ARM has NEON.
    unsafe { vdupq_n_f32(value) }
}

#[inline]
fn load(lanes: &Lanes, part: usize) -> Floats {
    let floats = &lanes.0.as_chunks::<FLOATS>().0[part];
    // SAFETY: 4 floats behind a reference.
    unsafe { vld1q_f32(floats.as_ptr()) }
}

#[inline]
fn store(lanes: &mut Lanes, part: usize, values: Floats) {
    let floats = &mut lanes.0.as_chunks_mut::<FLOATS>().0[part];
    // SAFETY: 4 floats behind an exclusive reference.
    unsafe { vst1q_f32(floats.as_mut_ptr(), values) }
}

#[inline]
fn multiply(one: Floats, other: Floats) -> Floats {
    // SAFETY: every 64-bit ARM has NEON.
    unsafe { vmulq_f32(one, other) }
}

#[inline]
fn add(one: Floats, other: Floats) -> Floats {
    // SAFETY: every 64-bit ARM has NEON.
    unsafe { vaddq_f32(one, other) }
}

#[inline]
fn mask(bits: u64, part: usize) -> Mask {
    const WEIGHTS: [u32; FLOATS] = [1, 2, 4, 8];
    // SAFETY: 4 integers behind a reference, and every 64-bit ARM has NEON.
    unsafe { vtstq_u32(vdupq_n_u32((bits >> (FLOATS * part)) as u32), vld1q_u32(WEIGHTS.as_ptr())) }
}

#[inline]
fn choose(mask: Mask, one: Floats, zero: Floats) -> Floats {
    // SAFETY: every 64-bit ARM has NEON.
    unsafe { vbslq_f32(mask, one, zero) }
}

/// The pattern of each row's bits, times four and plus 0 to 3.
#[inline]
fn index<const OCTETS: usize>(bits: [u64; MAX_BITS], part: usize) -> Index {
    let bit = |place: usize| {
        // SAFETY: every 64-bit ARM has NEON.
        unsafe { vandq_u32(mask(bits[place], part), vdupq_n_u32(0x0404_0404 << place)) }
    };
    let or = |one: uint32x4_t, other: uint32x4_t| {
        // SAFETY: every 64-bit ARM has NEON.
        unsafe { vorrq_u32(one, other) }
    };
    let mut places = or(bit(0), or(bit(1), bit(2)));
    if OCTETS > 1 {
        places = or(places, bit(3));
    }
    // SAFETY: every 64-bit ARM has NEON.
    unsafe { vreinterpretq_u8_u32(vorrq_u32(places, vdupq_n_u32(0x0302_0100))) }
}

#[inline]
fn look_up<const OCTETS: usize>(table: &[Octet; OCTETS], index: Index) -> Floats {
    let bytes = |octet: &Octet| {
        let (halves, _) = octet.0.as_chunks::<FLOATS>();
        // SAFETY: two times 4 floats behind references, and every 64-bit ARM has NEON.
        unsafe {
            [vreinterpretq_u8_f32(vld1q_f32(halves[0].as_ptr())), vreinterpretq_u8_f32(vld1q_f32(halves[1].as_ptr()))]
        }
    };
    let [first, second] = bytes(&table[0]);
    // SAFETY: every 64-bit ARM has NEON.
    unsafe {
        vreinterpretq_f32_u8(match OCTETS {
            1 => vqtbl2q_u8(uint8x16x2_t(first, second), index),
            _ => {
                let [third, fourth] = bytes(&table[OCTETS - 1]);
                vqtbl4q_u8(uint8x16x4_t(first, second, third, fourth), index)
            }
        })
    }
}
