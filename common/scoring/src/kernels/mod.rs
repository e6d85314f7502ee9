//! The inner loops, once per instruction set.

use super::block::{BitRow, PlaneWords};
use super::circuit::BddNode;
use super::explain::{Octet, Step, Walk};
use super::program::Program;
use super::quantiser::{Classes, Ranks};

#[macro_use]
mod shared;
mod explain;
mod portable;

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod avx2;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod avx512;
#[cfg(target_arch = "aarch64")]
#[allow(unsafe_code)]
mod neon;

/// What a scorer is compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InstructionSet {
    /// x86-64 with AVX-512 F and BW.
    Avx512,
    /// x86-64 with AVX2.
    Avx2,
    /// 64-bit ARM, which always has NEON.
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
    /// Computes only the conditions.
    pub(super) conditions: fn(&Program, &[u32], &mut [BitRow]),
    /// Computes gates, the first of which writes the given row.
    pub(super) gates: fn(&[BddNode], usize, &mut [BitRow]),
    /// Takes steps for the 64 rows of one word.
    pub(super) explain: fn(&[Step], &[Octet], &[BitRow], usize, &mut Walk),
}

impl Kernels {
    pub(super) fn of(instructions: InstructionSet) -> Option<Self> {
        match instructions {
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 => avx512::kernels(),
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 => avx2::kernels(),
            #[cfg(target_arch = "aarch64")]
            InstructionSet::Neon => Some(neon::kernels()),
            InstructionSet::Portable => Some(portable::kernels()),
            #[allow(unreachable_patterns)]
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Scorer;
    use super::super::ensemble::{Ensemble, Node, Question, Split, Tree};
    use super::super::objective::Link;
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
        let portable = portable::kernels();
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

    /// Bits that look random.
    struct Bits(u64);

    impl Bits {
        fn below(&mut self, end: usize) -> usize {
            // SplitMix64, <https://prng.di.unimi.it/splitmix64.c>.
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((mixed ^ (mixed >> 31)) % end as u64) as usize
        }
    }

    /// A tree of up to so many levels, over numeric features and, the last two, categorical ones.
    fn tree(random: &mut Bits, depth: usize, n_features: usize) -> Tree {
        let mut tree = Tree { depth, ..Tree::default() };
        tree.nodes.push(Node::Leaf(0.0));
        let mut level = vec![0];
        for below in (0..depth).rev() {
            let mut next = Vec::new();
            for node in level {
                if below + 1 < depth && random.below(9) == 0 {
                    continue;
                }
                let feature = random.below(n_features);
                let question = if feature + 2 < n_features {
                    Question::Below(random.below(400) as f32 / 4.0 - 50.0)
                } else {
                    let first = tree.categories.len();
                    tree.categories.extend((0..30).filter(|_| random.below(3) == 0));
                    Question::Among(first..tree.categories.len())
                };
                let (left, right) = (tree.nodes.len(), tree.nodes.len() + 1);
                let default_left = random.below(2) == 0;
                tree.nodes[node] = Node::Split(Split { feature, question, default_left, left, right });
                tree.nodes.extend([Node::Leaf(0.0), Node::Leaf(0.0)]);
                next.extend([left, right]);
            }
            level = next;
        }
        for node in &mut tree.nodes {
            if let Node::Leaf(value) = node {
                *value = (random.below(20_001) as f32 - 10_000.0) * 1.1e-4;
            }
        }
        tree
    }

    fn value(random: &mut Bits, is_category: bool) -> f32 {
        match (random.below(9), is_category) {
            (0, _) => f32::NAN,
            (1, _) => [f32::INFINITY, f32::NEG_INFINITY, -0.0, 1e-40][random.below(4)],
            (_, true) => random.below(35) as f32,
            (2, false) => (random.below(400) as f32 / 4.0 - 50.0).next_down(),
            (_, false) => random.below(400) as f32 / 4.0 - 50.0,
        }
    }

    /// Trees of every depth, so that every way of adding leaves is taken; features of few and of many thresholds.
    #[test]
    fn all_instruction_sets_score_alike() {
        let random = &mut Bits(1);
        for (depth, n_trees) in (1..=9).flat_map(|depth| [(depth, 3), (depth, 40)]) {
            let n_features = 2 + random.below(6) + 1;
            let ensemble = Ensemble {
                n_features,
                objective: "reg:squarederror".to_owned(),
                link: Some(Link::Identity),
                base_score: 0.5,
                base_margin: 0.5,
                feature_types: Vec::new(),
                trees: (0..n_trees).map(|_| tree(random, depth, n_features)).collect(),
            };
            let rows = 700;
            let column = |feature: usize, random: &mut Bits| -> Vec<f32> {
                (0..rows).map(|_| value(random, feature + 2 >= n_features)).collect()
            };
            let columns: Vec<Vec<f32>> = (0..n_features).map(|feature| column(feature, random)).collect();
            let slices: Vec<&[f32]> = columns.iter().map(Vec::as_slice).collect();
            let predict = |instructions| {
                let mut out = vec![f32::NAN; rows];
                Scorer::compile_for(&ensemble, instructions).unwrap().predict(&slices, &mut out);
                out.into_iter().map(f32::to_bits).collect::<Vec<u32>>()
            };
            let expected = predict(InstructionSet::Portable);
            for instructions in InstructionSet::ALL.into_iter().filter(|set| set.is_available()) {
                assert!(predict(instructions) == expected, "{instructions:?}, {n_trees} trees of depth {depth}");
            }
        }
    }
}
