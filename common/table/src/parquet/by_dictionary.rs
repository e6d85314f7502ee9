//! Columns by their dictionary: what a chunk has of different values, and for each row which of them it has. Whoever computes
//! something of every value alone does it once for each, not once for each row.
//!
//! The values come out of polars' decoder, as those of rows do: it is given the dictionary and one page that has each of them once.
//! Only the places are read here. What is not as a writer leaves it, or not covered, gives none, and is left to that decoder.

use std::ops::Range;

use polars_parquet::parquet::compression::Compression;
use polars_parquet::parquet::encoding::hybrid_rle::HybridRleDecoder;
use polars_parquet::parquet::schema::types::PhysicalType;

use super::footer::ChunkOf;
use super::pages::{PAGE_HEADER_BYTES, Page, PageBytes, Window, append_all_places};

/// A dictionary of numbers pays where a value comes so often, on average.
const ROWS_OF_A_NUMBER: usize = 2;
/// One of texts, each of which is looked up, pays from five rows for four texts on.
const ROWS_OF_TEXTS: (usize, usize) = (5, 4);
/// Fewest rows of which a dictionary is worth decoding by itself: with fewer, that takes as long as the rows do.
const ROWS_LEAST: usize = 1 << 11;
/// Most rows at once: what a damaged footer says asks for no more.
const ROWS_MOST: usize = 1 << 20;
/// Pages may have so many rows for each that is read, since their levels and places are unpacked whole.
const PAGES_MOST: usize = 4;
/// Most bits of a place.
const BITS_MOST: u8 = 32;

/// Rows of a column chunk whose pages are all by its dictionary.
pub(super) struct ByDictionary<'a> {
    window: Window<'a>,
    dictionary: PageBytes<'a>,
    codec: Compression,
    is_optional: bool,
    /// Values of the dictionary.
    values: usize,
    /// The rows, counted from the first value in the chunk's bytes.
    rows: Range<usize>,
}

impl<'a> ByDictionary<'a> {
    /// `rows` of the pages in `bytes`, where all of them are by the dictionary and pages unpack to at most `most` bytes.
    pub(super) fn of(bytes: &'a [u8], chunk: &ChunkOf<'_>, rows: Range<usize>, most: usize) -> Option<Self> {
        let descriptor = &chunk.leaf.descriptor;
        if descriptor.max_rep_level > 0
            || descriptor.max_def_level > 1
            || !(ROWS_LEAST..=ROWS_MOST).contains(&rows.len())
        {
            return None;
        }
        let window = Window::of(bytes, &rows, most)?;
        let dictionary = window.dictionary?;
        let values = dictionary.0.dictionary_values()?;
        let pays = values > 0 && pays(values, rows.len(), descriptor.primitive_type.physical_type)?;
        let is_covered = pays
            && window.values <= PAGES_MOST * rows.len()
            && window.data.iter().all(|(page, _)| page.is_by_dictionary());
        let (codec, is_optional) = (chunk.codec, descriptor.max_def_level > 0);
        is_covered.then_some(Self { window, dictionary, codec, is_optional, values, rows })
    }

    /// Values of the dictionary.
    pub(super) fn values(&self) -> usize {
        self.values
    }

    /// Pages without compression that have each value of the dictionary once.
    pub(super) fn pages_of_values(&self) -> Option<Vec<u8>> {
        let (page, bytes) = self.dictionary;
        // Both pages, so that neither is copied because the other has no room.
        let mut pages = Vec::with_capacity(page.unpacked + size_of::<u32>() * self.values + 4 * PAGE_HEADER_BYTES);
        page.unpack(bytes, self.codec, &mut pages)?;
        append_all_places(self.values, self.is_optional, &mut pages)?;
        Some(pages)
    }

    /// For each row the place of its value in the dictionary, or the number of values where it has none.
    pub(super) fn codes(&self) -> Option<Vec<u32>> {
        let mut codes = Vec::with_capacity(self.rows.len());
        let (mut first, mut unpacked) = (self.window.first, Vec::new());
        for (page, bytes) in &self.window.data {
            unpacked.clear();
            page.unpack(bytes, self.codec, &mut unpacked)?;
            let header = unpacked.len().checked_sub(page.unpacked)?;
            let count = page.values?;
            let within = self.rows.start.max(first) - first..self.rows.end.min(first + count).checked_sub(first)?;
            self.append_codes(page, &unpacked[header..], (count, within), &mut codes)?;
            first += count;
        }
        (codes.len() == self.rows.len()).then_some(codes)
    }

    /// The codes of the rows `within` a page of `count`.
    fn append_codes(
        &self,
        page: &Page,
        body: &[u8],
        (count, within): (usize, Range<usize>),
        codes: &mut Vec<u32>,
    ) -> Option<()> {
        let (levels, values) = page.levels_and_values(body, self.is_optional)?;
        let valid = if self.is_optional { valid_rows(levels, count)? } else { None };
        let present = valid.as_ref().map_or(count, |valid| valid.iter().filter(|valid| **valid).count());
        let places = match values.split_first() {
            _ if present == 0 => Vec::new(),
            Some((bits, places)) if *bits <= BITS_MOST => {
                HybridRleDecoder::new(places, u32::from(*bits), present).collect().ok()?
            }
            _ => return None,
        };
        // No branch for each place, so that vector instructions serve.
        let largest = places.iter().fold(0, |largest, place| largest.max(*place));
        if !places.is_empty() && largest as usize >= self.values {
            return None;
        }
        if places.len() != present || page.nulls().is_some_and(|nulls| nulls != count - present) {
            return None;
        }
        let Some(valid) = valid else {
            codes.extend_from_slice(places.get(within)?);
            return Some(());
        };
        let none = u32::try_from(self.values).ok()?;
        let mut place = valid.get(..within.start)?.iter().filter(|valid| **valid).count();
        for is_valid in valid.get(within)? {
            // No branch: a null is as likely to follow as not.
            let code = places.get(place).copied().unwrap_or(none);
            codes.push(if *is_valid { code } else { none });
            place += usize::from(*is_valid);
        }
        Some(())
    }
}

/// Whether it takes less to compute something of each value than of each row.
fn pays(values: usize, rows: usize, kind: PhysicalType) -> Option<bool> {
    let (rows_of, texts) = match kind {
        PhysicalType::ByteArray => ROWS_OF_TEXTS,
        _ => (ROWS_OF_A_NUMBER, 1),
    };
    Some(values.checked_mul(rows_of)? <= rows.checked_mul(texts)?)
}

/// Which of `count` rows have a value, by their definition levels; none where all have one.
fn valid_rows(levels: &[u8], count: usize) -> Option<Option<Vec<bool>>> {
    let levels = HybridRleDecoder::new(levels, 1, count).collect().ok()?;
    if levels.len() != count {
        return None;
    }
    let all = levels.iter().fold(u32::MAX, |all, level| all & level) & 1 == 1;
    Some((!all).then(|| levels.iter().map(|level| level & 1 == 1).collect()))
}
