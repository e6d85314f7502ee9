//! Plain Rust, which the compiler vectorises as far as the target allows.

use super::super::super::block::BitRow;
use super::super::super::explain::{self, Lanes, MAX_BITS, MAX_POINTS, Octet, Step, StepKind, Walk};
use super::super::portable::transpose;

/// As many rows as keep the compiler from working on every fourth row of 64 at once, whose numbers it would have to gather.
const FLOATS: usize = 16;
const PARTS: usize = explain::LANES / FLOATS;
type Floats = [f32; FLOATS];
/// All bits of a row's number are its bit.
type Mask = [u32; FLOATS];
type Index = [u8; FLOATS];

pub(in super::super) fn explain(steps: &[Step], tables: &[Octet], rows: &[BitRow], word: usize, walk: &mut Walk) {
    take_steps(steps, tables, rows, word, walk);
}

explaining_kernel!();

#[inline]
fn splat(value: f32) -> Floats {
    [value; FLOATS]
}

#[inline]
fn load(lanes: &Lanes, part: usize) -> Floats {
    lanes.0.as_chunks::<FLOATS>().0[part]
}

#[inline]
fn store(lanes: &mut Lanes, part: usize, values: Floats) {
    lanes.0.as_chunks_mut::<FLOATS>().0[part] = values;
}

#[inline]
fn multiply(one: Floats, other: Floats) -> Floats {
    std::array::from_fn(|row| one[row] * other[row])
}

#[inline]
fn add(one: Floats, other: Floats) -> Floats {
    std::array::from_fn(|row| one[row] + other[row])
}

#[inline]
fn mask(bits: u64, part: usize) -> Mask {
    let bits = (bits >> (FLOATS * part)) as u32;
    // Compared with the bit itself, which vectors can do without shifting.
    std::array::from_fn(|row| if bits & (1 << row) == 1 << row { u32::MAX } else { 0 })
}

#[inline]
fn choose(mask: Mask, one: Floats, zero: Floats) -> Floats {
    std::array::from_fn(|row| f32::from_bits(one[row].to_bits() & mask[row] | zero[row].to_bits() & !mask[row]))
}

/// The pattern of each row's bits.
#[inline]
fn index<const OCTETS: usize>(bits: [u64; MAX_BITS], part: usize) -> Index {
    let eight = |first_row: usize| {
        let byte = |place: usize| (bits[place] >> first_row & 0xff) << (8 * place);
        transpose(byte(0) | byte(1) | byte(2) | if OCTETS > 1 { byte(3) } else { 0 }).to_le_bytes()
    };
    let [low, high] = [eight(FLOATS * part), eight(FLOATS * part + 8)];
    std::array::from_fn(|row| if row < 8 { low[row] } else { high[row - 8] })
}

#[inline]
fn look_up<const OCTETS: usize>(table: &[Octet; OCTETS], index: Index) -> Floats {
    std::array::from_fn(|row| {
        let index = usize::from(index[row]);
        // With an end that is known, no lookup needs a check.
        let octet = &table[index / 8 % OCTETS];
        octet.0[index % 8]
    })
}
