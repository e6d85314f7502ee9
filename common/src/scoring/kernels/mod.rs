//! The inner loops, once per instruction set.

use super::block::{BitRow, PlaneWords};
use super::program::Program;
use super::quantiser::{Classes, Ranks};

#[macro_use]
mod shared;
mod portable;

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod avx2;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod avx512;

/// What a scorer is compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InstructionSet {
    /// x86-64 with AVX-512 F and BW.
    Avx512,
    /// x86-64 with AVX2.
    Avx2,
    /// 64-bit ARM. The portable loops, which the compiler turns into NEON: it is part of the architecture.
    Neon,
    /// Any machine.
    Portable,
}

impl InstructionSet {
    /// All of them, the fastest first.
    pub const ALL: [Self; 4] = [Self::Avx512, Self::Avx2, Self::Neon, Self::Portable];

    /// The fastest that this machine has.
    #[must_use]
    pub fn best() -> Self {
        let available = Self::ALL.into_iter().find(|set| set.is_available());
        available.unwrap_or(Self::Portable)
    }

    /// Whether this machine has it.
    #[must_use]
    pub fn is_available(self) -> bool {
        Kernels::of(self).is_some()
    }
}

/// The sums of 512 rows.
pub(super) type Sums = [f32; BitRow::ROWS];

/// Ranks or classifies whole words of 64 values, and writes the words from the given one on.
type Quantise<Codes> = fn(&Codes, usize, &[[f32; 64]], usize, &mut PlaneWords<'_>);

/// The functions of one instruction set. They exist only where the machine has it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kernels {
    pub(super) instructions: InstructionSet,
    pub(super) rank: Quantise<Ranks>,
    pub(super) classify: Quantise<Classes>,
    /// Computes the margins of 512 rows, whose classes are given, and whose planes stand in the scratch rows.
    pub(super) score: fn(&Program, &[u32], &mut [BitRow], &mut Sums),
}

impl Kernels {
    pub(super) fn of(instructions: InstructionSet) -> Option<Self> {
        match instructions {
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 => avx512::kernels(),
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 => avx2::kernels(),
            #[cfg(target_arch = "aarch64")]
            InstructionSet::Neon => Some(portable::kernels(InstructionSet::Neon)),
            InstructionSet::Portable => Some(portable::kernels(InstructionSet::Portable)),
            #[allow(unreachable_patterns)]
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planes<Codes>(quantise: Quantise<Codes>, codes: &Codes, bits: usize, values: &[[f32; 64]]) -> Vec<BitRow> {
        let mut planes = vec![BitRow::ZEROS; bits * values.len().div_ceil(BitRow::WORDS)];
        quantise(codes, bits, values, 0, &mut PlaneWords { planes: &mut planes, n_planes: bits, plane: 0 });
        planes
    }

    /// Values on, beside and far from the integers below `n`, and missing ones.
    fn values(n: usize) -> Vec<[f32; 64]> {
        let value = |index: usize| match index % 7 {
            0 => f32::NAN,
            1 => f32::NEG_INFINITY,
            2 => f32::INFINITY,
            3 => (index * 31 % n) as f32,
            4 => ((index * 31 % n) as f32).next_up(),
            5 => ((index * 31 % n) as f32).next_down(),
            _ => (index * 17 % (n + 9)) as f32 - 4.5,
        };
        (0..24).map(|word| std::array::from_fn(|row| value(word * 64 + row))).collect()
    }

    #[test]
    fn all_instruction_sets_quantise_alike() {
        let portable = portable::kernels(InstructionSet::Portable);
        for kernels in InstructionSet::ALL.into_iter().filter_map(Kernels::of) {
            for (bits, missing) in (1..=10).flat_map(|bits| [(bits, 0), (bits, (1 << bits) - 1)]) {
                let n = (1 << bits) - 1;
                let thresholds: Vec<f32> = (0..n).map(|index| index as f32).collect();
                let ranks = Ranks::new(&thresholds, bits, missing);
                let expected = planes(portable.rank, &ranks, bits, &values(n));
                let ranked = planes(kernels.rank, &ranks, bits, &values(n));
                assert_eq!(ranked, expected, "{:?}, {bits} bits", kernels.instructions);
                let of_category = (0..n as u32).map(|category| category.wrapping_mul(31) % (1 << bits)).collect();
                let classes = Classes { of_category, missing, count: 1 << bits };
                let expected = planes(portable.classify, &classes, bits, &values(n));
                let classified = planes(kernels.classify, &classes, bits, &values(n));
                assert_eq!(classified, expected, "{:?}, {bits} bits", kernels.instructions);
            }
        }
    }
}
