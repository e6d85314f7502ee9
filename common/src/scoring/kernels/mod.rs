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
    /// Computes the margins of 512 rows, whose planes stand in the scratch rows.
    pub(super) score: fn(&Program, &mut [BitRow], &mut Sums),
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
