//! Walks through trees that give contributions: what all instruction sets have in common, over their `Floats` (numbers
//! of `FLOATS` rows, of which `PARTS` make 64), their `Mask` and `Index` (which of two constants, or which of a table, each of
//! these rows takes), and `splat`, `load`, `store`, `multiply`, `add`, `mask`, `choose`, `index`, `look_up`.
//!
//! Macros instead of generic functions, as in the kernels that score. All of them multiply and add the same floats in
//! the same order.

/// Calls a function of the step's points.
macro_rules! by_points {
    ($points:expr, $function:ident::<$($constant:tt),*>($($argument:expr),*)) => {
        match $points {
            1 => $function::<1, $($constant),*>($($argument),*),
            2 => $function::<2, $($constant),*>($($argument),*),
            3 => $function::<3, $($constant),*>($($argument),*),
            _ => $function::<4, $($constant),*>($($argument),*),
        }
    };
}

macro_rules! explaining_kernel {
    ($(#[$attribute:meta])*) => {
        $(#[$attribute])*
        fn take_steps(steps: &[Step], tables: &[Octet], rows: &[BitRow], word: usize, walk: &mut Walk) {
            for step in steps {
                let table = &tables[step.table as usize..];
                let bits = step.rows.map(|row| rows[row as usize].0[word]);
                match (step.kind, step.seen) {
                    (StepKind::Down, false) => by_points!(step.points, down::<false>(step, table, bits, walk)),
                    (StepKind::Down, true) => by_points!(step.points, down::<true>(step, table, bits, walk)),
                    (StepKind::Leaf, false) => by_points!(step.points, leaf::<false>(step, table, bits, walk)),
                    (StepKind::Leaf, true) => by_points!(step.points, leaf::<true>(step, table, bits, walk)),
                    (StepKind::Join, false) => by_points!(step.points, join::<false>(step, table, bits, walk)),
                    (StepKind::Join, true) => by_points!(step.points, join::<true>(step, table, bits, walk)),
                    (StepKind::Unit, _) => match (step.outputs, step.octets) {
                        (1, 1) => by_points!(step.points, unit::<1, 1>(step, table, bits, walk)),
                        (2, 1) => by_points!(step.points, unit::<2, 1>(step, table, bits, walk)),
                        (_, 1) => by_points!(step.points, unit::<3, 1>(step, table, bits, walk)),
                        (1, _) => by_points!(step.points, unit::<1, 2>(step, table, bits, walk)),
                        (2, _) => by_points!(step.points, unit::<2, 2>(step, table, bits, walk)),
                        (_, _) => by_points!(step.points, unit::<3, 2>(step, table, bits, walk)),
                    },
                }
            }
        }

        $(#[$attribute])*
        fn down<const POINTS: usize, const SEEN: bool>(
            step: &Step,
            table: &[Octet],
            bits: [u64; MAX_BITS],
            walk: &mut Walk,
        ) {
            let (above, below) = walk.products.split_at_mut((usize::from(step.level) + 1) * MAX_POINTS);
            let above = &above[usize::from(step.level) * MAX_POINTS..];
            multiply_chosen::<POINTS, SEEN>(table, bits, above, below);
        }

        $(#[$attribute])*
        fn leaf<const POINTS: usize, const SEEN: bool>(
            step: &Step,
            table: &[Octet],
            bits: [u64; MAX_BITS],
            walk: &mut Walk,
        ) {
            let above = &walk.products[usize::from(step.level) * MAX_POINTS..];
            let below = &mut walk.sums[explain::sums_at(usize::from(step.level) + 1, step.is_right)..];
            multiply_chosen::<POINTS, SEEN>(table, bits, above, below);
        }

        $(#[$attribute])*
        #[inline]
        fn multiply_chosen<const POINTS: usize, const SEEN: bool>(
            table: &[Octet],
            [right, met, ..]: [u64; MAX_BITS],
            above: &[Lanes],
            below: &mut [Lanes],
        ) {
            // With the lengths known, accesses need no check.
            let (Some(above), Some(below)) = (above.first_chunk::<POINTS>(), below.first_chunk_mut::<POINTS>()) else { return };
            let (Some(now), Some(failed)) = (table.first(), table.get(usize::from(SEEN))) else { return };
            for part in 0..PARTS {
                let right = mask(right, part);
                let met = mask(met, part);
                for point in 0..POINTS {
                    let mut factor = choose(right, splat(now.0[point]), splat(now.0[MAX_POINTS + point]));
                    if SEEN {
                        factor = choose(met, factor, splat(failed.0[point]));
                    }
                    store(&mut below[point], part, multiply(load(&above[point], part), factor));
                }
            }
        }

        $(#[$attribute])*
        fn join<const POINTS: usize, const SEEN: bool>(
            step: &Step,
            table: &[Octet],
            [right, met, ..]: [u64; MAX_BITS],
            walk: &mut Walk,
        ) {
            let level = usize::from(step.level);
            let (sums, below) = walk.sums.split_at_mut(explain::sums_at(level + 1, false));
            let (left_sums, right_sums) = below.split_at(MAX_POINTS);
            let sums = &mut sums[explain::sums_at(level, step.is_right)..];
            let (Some(left_sums), Some(right_sums), Some(sums), Some([of_left, of_right])) = (
                left_sums.first_chunk::<POINTS>(),
                right_sums.first_chunk::<POINTS>(),
                sums.first_chunk_mut::<POINTS>(),
                table.first_chunk::<2>(),
            ) else {
                return;
            };
            let contributions = &mut walk.contributions[step.sources[0] as usize];
            for part in 0..PARTS {
                let right = mask(right, part);
                let mut contribution = splat(0.0);
                for point in 0..POINTS {
                    let [left_sum, right_sum] = [load(&left_sums[point], part), load(&right_sums[point], part)];
                    let of_left = choose(right, splat(of_left.0[point]), splat(of_left.0[MAX_POINTS + point]));
                    let of_right = choose(right, splat(of_right.0[point]), splat(of_right.0[MAX_POINTS + point]));
                    let both = add(multiply(left_sum, of_left), multiply(right_sum, of_right));
                    contribution = if point == 0 { both } else { add(contribution, both) };
                    store(&mut sums[point], part, add(left_sum, right_sum));
                }
                if SEEN {
                    // What has failed above cannot fail once more.
                    contribution = choose(mask(met, part), contribution, splat(0.0));
                }
                store(contributions, part, add(load(contributions, part), contribution));
            }
        }

        $(#[$attribute])*
        fn unit<const POINTS: usize, const OUTPUTS: usize, const OCTETS: usize>(
            step: &Step,
            table: &[Octet],
            bits: [u64; MAX_BITS],
            walk: &mut Walk,
        ) {
            let level = usize::from(step.level);
            let products = &walk.products[level * MAX_POINTS..];
            let sums = &mut walk.sums[explain::sums_at(level, step.is_right)..];
            let (Some(products), Some(sums)) = (products.first_chunk::<POINTS>(), sums.first_chunk_mut::<POINTS>()) else {
                return;
            };
            let (tables, _) = table.as_chunks::<OCTETS>();
            let (tables, _) = tables.as_chunks::<POINTS>();
            let Some((of_sum, of_outputs)) = tables.split_first() else { return };
            let Some(of_outputs) = of_outputs.first_chunk::<OUTPUTS>() else { return };
            let indices: [Index; PARTS] = std::array::from_fn(|part| index::<OCTETS>(bits, part));
            for part in 0..PARTS {
                for point in 0..POINTS {
                    let factor = look_up(&of_sum[point], indices[part]);
                    store(&mut sums[point], part, multiply(load(&products[point], part), factor));
                }
            }
            for output in 0..OUTPUTS {
                let contributions = &mut walk.contributions[step.sources[output] as usize];
                for part in 0..PARTS {
                    let mut contribution = splat(0.0);
                    for point in 0..POINTS {
                        let factor = look_up(&of_outputs[output][point], indices[part]);
                        let one = multiply(load(&products[point], part), factor);
                        contribution = if point == 0 { one } else { add(contribution, one) };
                    }
                    store(contributions, part, add(load(contributions, part), contribution));
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
pub(super) mod avx2;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
pub(super) mod avx512;
#[cfg(target_arch = "aarch64")]
#[allow(unsafe_code)]
pub(super) mod neon;
pub(super) mod portable;
