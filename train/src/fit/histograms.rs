//! XGBoost's histograms: a pair of sums for every bin of every column, kept for all nodes of a tree; and the sketches of columns that their
//! bins come from.

/// Bins of a column beyond XGBoost's 256, tried one after the other as long as that helps: where the rows that matter most
/// lie in the tail of a column, 256 bins throw many of them together.
pub const MORE_BINS: [u32; 2] = [1024, 4096];
/// XGBoost's own number of bins.
pub const DEFAULT_BINS: u32 = 256;
/// Nodes of the deepest trees that a search tries.
pub const MOST_NODES: u64 = 1 << 9;
/// Nodes of trees of the usual depth, the deepest that it tries where deeper ones have no room: deeper trees seldom have all of theirs.
pub const USUAL_NODES: u64 = 1 << 6;
/// Sums of gradients and of Hessians, in double precision.
const BYTES_OF_A_BIN: u64 = 16;
/// Finer bins are tried where all columns together come to no more: the histograms of a tree take 128 MiB then, and the time to go through them.
pub const MOST_BINS: u64 = (128 << 20) / (MOST_NODES * BYTES_OF_A_BIN);

/// Bytes of the histograms of a tree of so many nodes, by the bins of all columns.
#[must_use]
pub const fn bytes(bins: u64, nodes: u64) -> u64 {
    bins * nodes * BYTES_OF_A_BIN
}

/// The bins of all of so many columns that the memory plan counts from the beginning, when nothing tells how many values each has.
#[must_use]
pub fn planned_bins(columns: u64) -> u64 {
    let of = |bins: u32| columns * u64::from(bins);
    let finer = MORE_BINS.into_iter().map(of).filter(|bins| *bins <= MOST_BINS).max();
    finer.unwrap_or_else(|| of(DEFAULT_BINS))
}

/// The bins of all of so many columns that a search may come to where there is room for them.
#[must_use]
pub fn most_bins(columns: u64) -> u64 {
    let finest = MORE_BINS.into_iter().max().unwrap_or(DEFAULT_BINS);
    (columns * u64::from(finest)).min(MOST_BINS).max(columns * u64::from(DEFAULT_BINS))
}

/// Bytes of a column's sketch besides its entries, and of an entry: as a queue of pairs of floats that is twice as long, and in two summaries of four
/// floats. Measured with 500 to 100,000 rows: 41 to 268 KiB a column by 256 bins, 174 to 918 by 1024.
const SKETCH: u64 = 24 << 10;
const SKETCH_ENTRY: u64 = 2 * 8 + 2 * 16;
/// Entries of a sketch for each bin.
const ENTRIES_OF_A_BIN: u64 = 8;

/// Bytes of the sketch of a column of so many rows, from which so many bins are made: all columns have theirs at once while a matrix is made.
#[must_use]
pub const fn sketch_bytes(rows: u64, bins: u64) -> u64 {
    SKETCH + sketch_entries(rows, bins) * SKETCH_ENTRY
}

/// Entries of a summary of a sketch (`WQuantileSketch::LimitSizeLevel` in `src/common/quantile.h` of XGBoost): more rows need more levels of
/// summaries, each of which may err by a smaller part.
const fn sketch_entries(rows: u64, bins: u64) -> u64 {
    let mut level = 1;
    loop {
        let entries = level * ENTRIES_OF_A_BIN * bins + 1;
        if entries >= rows {
            return rows;
        }
        if entries << level >= rows {
            return entries;
        }
        level += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_tables_keep_the_default_bins() {
        assert_eq!([2, 4, 16, 17].map(planned_bins), [2 * 4096, MOST_BINS, MOST_BINS, 17 * 256]);
        assert_eq!(most_bins(2), 2 * 4096);
        assert_eq!([4, 16, 64].map(most_bins), [MOST_BINS; 3]);
        assert_eq!(most_bins(65), 65 * 256);
        assert_eq!(bytes(MOST_BINS, MOST_NODES), 128 << 20);
    }

    #[test]
    fn sketches_grow_with_the_rows_up_to_what_their_bins_need() {
        let of = |rows| sketch_entries(rows, 256);
        assert_eq!(
            [0, 500, 2_000, 3_000, 10_000, 30_000, 100_000].map(of),
            [0, 500, 2_000, 2_049, 4_097, 6_145, 8_193]
        );
        assert_eq!([3_000, 30_000].map(|rows| sketch_entries(rows, 1024)), [3_000, 16_385]);
        assert_eq!(sketch_bytes(3_000, 256), (24 << 10) + 2_049 * 48);
        assert!(of(u64::MAX / 2) < 200_000);
    }
}
