//! Whether the numbers of rows in a footer agree with each other. Buffers are sized by them before a row is read: a footer
//! that claimed 2⁴⁸ rows ended the process.

use polars_parquet::read::{ColumnChunkMetadata, FileMetadata, RowGroupMetadata};

/// Most values of a page, which are counted in 31 bits.
const PAGE_VALUES_MOST: u64 = i32::MAX as u64;
/// Bytes that the header of a page has at least.
const PAGE_BYTES_LEAST: u64 = 8;

/// Checks the row groups one by one, then their sum.
pub(super) fn check(metadata: &FileMetadata) -> Result<(), String> {
    let mut sum = 0_u64;
    for (index, group) in metadata.row_groups.iter().enumerate() {
        let rows = group.num_rows() as u64;
        check_group(group, rows)
            .map_err(|problem| format!("it says that row group {index} has {rows} rows, but {problem}"))?;
        sum = sum.checked_add(rows).ok_or("its row groups have more rows than can be counted")?;
    }
    let claimed = metadata.num_rows as u64;
    if sum == claimed {
        Ok(())
    } else {
        Err(format!("it says that it has {claimed} rows, but its row groups have {sum}"))
    }
}

fn check_group(group: &RowGroupMetadata, rows: u64) -> Result<(), String> {
    let chunks = group.parquet_columns();
    if chunks.is_empty() && rows > 0 {
        return Err("no columns".to_owned());
    }
    // A row of a list has any number of values, of which an empty list is one.
    let is_flat = |chunk: &ColumnChunkMetadata| chunk.descriptor().descriptor.max_rep_level == 0;
    let has_flat = chunks.iter().any(is_flat);
    for chunk in chunks {
        let values = chunk.num_values().unsigned_abs();
        let fits = if is_flat(chunk) { values == rows } else { has_flat || values >= rows };
        if !fits || values > values_most(chunk.compressed_size().unsigned_abs()) {
            let name = chunk.descriptor().path_in_schema.join(".");
            let bytes = chunk.compressed_size();
            return Err(format!("its column \"{name}\" has {values} values in {bytes} bytes"));
        }
    }
    Ok(())
}

/// The most values that a chunk of so many bytes can have: those of a page may all be one, which takes no bytes but the header.
fn values_most(bytes: u64) -> u64 {
    (bytes / PAGE_BYTES_LEAST).saturating_mul(PAGE_VALUES_MOST)
}
