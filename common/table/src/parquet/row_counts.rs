//! Whether the numbers of rows in a footer agree with each other. Buffers are sized by them before a row is read: a footer
//! that claimed 2⁴⁸ rows ended the process.

use super::schema::Leaf;
use super::thrift::RawChunk;

/// Most values of a page, which are counted in 31 bits.
const PAGE_VALUES_MOST: u64 = i32::MAX as u64;
/// Bytes that the header of a page has at least.
const PAGE_BYTES_LEAST: u64 = 8;

/// Checks a row group of so many rows, whose chunks are of these leaves.
pub(super) fn check_group(chunks: &[RawChunk], leaves: &[Leaf], rows: u64) -> Result<(), String> {
    if chunks.is_empty() && rows > 0 {
        return Err("no columns".to_owned());
    }
    // A row of a list has any number of values, of which an empty list is one.
    let has_flat = leaves.iter().any(|leaf| !leaf.repeats());
    for (chunk, leaf) in chunks.iter().zip(leaves) {
        let values = chunk.values.unsigned_abs();
        let fits = if leaf.repeats() { has_flat || values >= rows } else { values == rows };
        if !fits || values > values_most(chunk.compressed.unsigned_abs()) {
            let (name, bytes) = (&leaf.path, chunk.compressed);
            return Err(format!("its column \"{name}\" has {values} values in {bytes} bytes"));
        }
    }
    Ok(())
}

/// The most values that a chunk of so many bytes can have: those of a page may all be one, which takes no bytes but the header.
fn values_most(bytes: u64) -> u64 {
    (bytes / PAGE_BYTES_LEAST).saturating_mul(PAGE_VALUES_MOST)
}
