//! Which bytes of an object are read by one request.

use std::ops::Range;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use polars_buffer::Buffer;

use error::{Error, Result};
use storage::{ObjectMeta, Store};

/// Ranges closer than this are read as one: a request costs more than the bytes between.
pub(super) const COALESCE_GAP: u64 = 256 * 1024;
/// Bytes of one ranged read, so that a wide row group is read by several at once.
pub(super) const READ_MOST: u64 = 8 * 1024 * 1024;
/// Ranged reads under way for one row group.
pub(super) const CONCURRENT_READS: usize = 8;

/// Joins ranges that lie close together, in the order of their offsets, into reads of bounded size.
pub(super) fn coalesce(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut sorted: Vec<Range<u64>> = ranges.to_vec();
    sorted.sort_by_key(|range| range.start);
    let mut reads: Vec<Range<u64>> = Vec::new();
    for range in sorted {
        match reads.last_mut() {
            Some(last) if range.start <= last.end + COALESCE_GAP && range.end - last.start <= READ_MOST => {
                last.end = last.end.max(range.end);
            }
            _ => reads.push(range),
        }
    }
    reads
}

/// Reads ranges of an object, several at once; each with its first byte's place.
pub(super) async fn fetch_ranges(
    store: &dyn Store,
    meta: &ObjectMeta,
    reads: Vec<Range<u64>>,
) -> Result<Vec<(u64, Bytes)>> {
    futures::stream::iter(reads)
        .map(|range| async move {
            let start = range.start;
            let bytes = store.get_range(meta, range).await?;
            Ok::<_, Error>((start, bytes))
        })
        .buffered(CONCURRENT_READS)
        .try_collect()
        .await
}

/// The bytes of `range` out of what was read, in the order of its places.
pub(super) fn slice_of(blocks: &[(u64, Bytes)], range: &Range<u64>, name: &str) -> Result<Buffer<u8>> {
    // They are in the order of their places.
    let behind = blocks.partition_point(|(start, _)| *start <= range.start);
    let holds = |(start, bytes): &&(u64, Bytes)| range.end <= start + bytes.len() as u64;
    let (start, bytes) = blocks[..behind]
        .last()
        .filter(holds)
        .ok_or_else(|| Error::Storage(format!("{name}: storage returned fewer bytes than asked for")))?;
    let from = (range.start - start) as usize;
    let to = (range.end - start) as usize;
    Ok(Buffer::from_owner(bytes.slice(from..to)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_ranges_are_read_as_one_and_far_ones_apart() {
        let reads = coalesce(&[100..200, 0..100, 300..400, 10_000_000..10_000_100]);
        assert_eq!(reads, vec![0..400, 10_000_000..10_000_100]);
    }

    #[test]
    fn a_read_does_not_grow_past_its_limit() {
        let reads = coalesce(&[0..READ_MOST, READ_MOST..READ_MOST + 1]);
        assert_eq!(reads.len(), 2);
    }
}
