//! XGBoost's histograms: a pair of sums for every bin of every column, kept for all nodes of a tree.

/// Bins of a column beyond XGBoost's 256, tried one after the other as long as that helps: where the rows that matter most
/// lie in the tail of a column, 256 bins throw many of them together.
pub const MORE_BINS: [u32; 2] = [1024, 4096];
/// XGBoost's own number of bins.
pub const DEFAULT_BINS: u32 = 256;
/// Nodes of the deepest trees that a search tries.
pub const MOST_NODES: u64 = 1 << 9;
/// Sums of gradients and of Hessians, in double precision.
const BYTES_OF_A_BIN: u64 = 16;
/// Finer bins are tried where the histograms of a tree take no more, of memory and of the time to go through them.
const MOST_BYTES: u64 = 128 << 20;

/// Bytes of the histograms of a tree.
#[must_use]
pub fn bytes(columns: u64, bins: u32, nodes: u64) -> u64 {
    columns * u64::from(bins) * nodes * BYTES_OF_A_BIN
}

/// The finer bins that a search may try with so many columns.
pub fn finer_bins(columns: u64) -> impl Iterator<Item = u32> {
    MORE_BINS.into_iter().filter(move |bins| bytes(columns, *bins, MOST_NODES) <= MOST_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_tables_keep_the_default_bins() {
        let finer = |columns| finer_bins(columns).collect::<Vec<_>>();
        assert_eq!(finer(4), [1024, 4096]);
        assert_eq!(finer(16), [1024]);
        assert!(finer(17).is_empty());
    }
}
