//! The largest contributions of a row.

use super::{LANES, Lanes, Reason};

/// The `count` largest contributions of each of `out.len() / count` rows, by size; of equal ones the first.
pub(super) fn largest(contributions: &[Lanes], count: usize, out: &mut [Reason]) {
    match count {
        1 => largest_of::<1>(contributions, out),
        2 => largest_of::<2>(contributions, out),
        3 => largest_of::<3>(contributions, out),
        4 => largest_of::<4>(contributions, out),
        5 => largest_of::<5>(contributions, out),
        _ => sorted(contributions, count, out),
    }
}

/// Inserts source after source into the sorted largest ones of all rows at once, which the compiler vectorises: a source
/// that is larger than one of them takes its place, and that one goes on to the next.
fn largest_of<const COUNT: usize>(contributions: &[Lanes], out: &mut [Reason]) {
    const ROWS: usize = 16;
    for (part, out) in out.chunks_mut(ROWS * COUNT).enumerate() {
        // Below every size, so that any source is larger.
        let mut sizes = [[-1.0_f32; ROWS]; COUNT];
        let mut values = [[Reason::NONE.contribution; ROWS]; COUNT];
        let mut sources = [[Reason::NONE.source; ROWS]; COUNT];
        for (source, lanes) in (0..).zip(contributions) {
            let Some(lanes) = lanes.0.as_chunks::<ROWS>().0.get(part) else { return };
            let mut value = *lanes;
            let mut size = lanes.map(f32::abs);
            let mut source = [source; ROWS];
            // What has lost its place is before what comes after it, equal or not.
            let mut has_moved = [false; ROWS];
            for place in 0..COUNT {
                for row in 0..ROWS {
                    let is_larger = has_moved[row] | (size[row] > sizes[place][row]);
                    has_moved[row] = is_larger;
                    let (old_size, old_value, old_source) =
                        (sizes[place][row], values[place][row], sources[place][row]);
                    sizes[place][row] = if is_larger { size[row] } else { old_size };
                    values[place][row] = if is_larger { value[row] } else { old_value };
                    sources[place][row] = if is_larger { source[row] } else { old_source };
                    size[row] = if is_larger { old_size } else { size[row] };
                    value[row] = if is_larger { old_value } else { value[row] };
                    source[row] = if is_larger { old_source } else { source[row] };
                }
            }
        }
        for (row, out) in out.as_chunks_mut::<COUNT>().0.iter_mut().enumerate() {
            *out =
                std::array::from_fn(|place| Reason { source: sources[place][row], contribution: values[place][row] });
        }
    }
}

fn sorted(contributions: &[Lanes], count: usize, out: &mut [Reason]) {
    let mut all = Vec::with_capacity(contributions.len());
    for (row, out) in out.chunks_mut(count).enumerate().take(LANES) {
        all.clear();
        all.extend((0..).zip(contributions).map(|(source, lanes)| Reason { source, contribution: lanes.0[row] }));
        // The sort is stable: of equal ones the first stays first.
        all.sort_by(|one, other| other.contribution.abs().total_cmp(&one.contribution.abs()));
        for (place, out) in out.iter_mut().enumerate() {
            *out = all.get(place).copied().unwrap_or(Reason::NONE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_come_first_and_of_equal_ones_the_first() {
        let value = |source: usize, row: usize| ((source * 7 + row * 5) % 11) as f32 * [1.0, -1.0][(source + row) % 2];
        for n_sources in [0, 1, 2, 4, 30] {
            let contributions: Vec<Lanes> =
                (0..n_sources).map(|source| Lanes(std::array::from_fn(|row| value(source, row)))).collect();
            for count in 1..=8 {
                for n_rows in [1, 15, 16, 17, 64] {
                    let mut found = vec![Reason::NONE; n_rows * count];
                    largest(&contributions, count, &mut found);
                    let mut expected = found.clone();
                    sorted(&contributions, count, &mut expected);
                    assert_eq!(found, expected, "{n_sources} sources, {count} reasons, {n_rows} rows");
                    let missing = found.iter().filter(|reason| reason.source == u32::MAX).count();
                    assert_eq!(missing, count.saturating_sub(n_sources) * n_rows);
                }
            }
        }
        let tied = [1.0, -2.0, 2.0, 0.0].map(|value| Lanes([value; LANES]));
        let mut found = [Reason::NONE; 3];
        largest(&tied, 3, &mut found);
        assert_eq!(found.map(|reason| (reason.source, reason.contribution)), [(1, -2.0), (2, 2.0), (0, 1.0)]);
    }
}
