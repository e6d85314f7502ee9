//! Columns of numbers whose pages have them one behind the other: read from the unpacked page as 64-bit floats, a short run at a time,
//! with no array of the column in between.
//!
//! What is not as a writer leaves it, or not covered, gives none, and is left to polars' decoder.

use std::ops::Range;
use std::sync::Mutex;

use polars::prelude::DataType;
use polars_parquet::parquet::compression::Compression;
use polars_parquet::parquet::schema::types::PhysicalType;

use super::footer::ChunkOf;
use super::pages::{PAGE_HEADER_BYTES, Page, Window};

/// Numbers of one run: few enough to stay in the first-level cache, and a multiple of [`WORD`].
const RUN: usize = 2048;
/// Most rows of the pages: what a damaged header says asks for no more bits of validity.
const VALUES_MOST: usize = 1 << 22;
/// Rows whose validity is one word.
const WORD: usize = u64::BITS as usize;

/// Where pages are unpacked, one after the other: as many as were ever read at once, none larger than a page that is unpacked whole.
/// Fresh memory would cost as much as the copy that is saved.
static UNPACKED: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// How numbers lie in a page.
#[derive(Debug, Clone, Copy)]
enum Layout {
    Float64,
    Float32,
    Int64,
    Int32,
}

impl Layout {
    /// That of a column of the given type, where its values are the numbers as they lie.
    fn of(physical: PhysicalType, dtype: &DataType) -> Option<Self> {
        match (physical, dtype) {
            (PhysicalType::Double, DataType::Float64) => Some(Self::Float64),
            (PhysicalType::Float, DataType::Float32) => Some(Self::Float32),
            (PhysicalType::Int64, DataType::Int64) => Some(Self::Int64),
            (PhysicalType::Int32, DataType::Int32) => Some(Self::Int32),
            _ => None,
        }
    }
}

/// Rows of a column chunk whose pages all have plain numbers.
pub(super) struct PlainNumbers<'a> {
    window: Window<'a>,
    layout: Layout,
    codec: Compression,
    is_optional: bool,
    /// The rows, counted from the first value in the chunk's bytes.
    rows: Range<usize>,
}

impl<'a> PlainNumbers<'a> {
    /// `rows` of the pages in `bytes`, where all of them have plain numbers of the type and unpack to at most `most` bytes.
    pub(super) fn of(
        bytes: &'a [u8],
        chunk: &ChunkOf<'_>,
        dtype: &DataType,
        rows: Range<usize>,
        most: usize,
    ) -> Option<Self> {
        let descriptor = &chunk.leaf.descriptor;
        let layout = Layout::of(descriptor.primitive_type.physical_type, dtype)?;
        if descriptor.max_rep_level > 0 || descriptor.max_def_level > 1 || rows.is_empty() {
            return None;
        }
        let window = Window::of(bytes, &rows, most)?;
        let is_covered = window.values <= VALUES_MOST && window.data.iter().all(|(page, _)| page.is_plain());
        let (codec, is_optional) = (chunk.codec, descriptor.max_def_level > 0);
        is_covered.then_some(Self { window, layout, codec, is_optional, rows })
    }

    /// Hands the rows to `take`, NaN where there is none. None where a page is not as its header says: what was handed over until
    /// then is void.
    pub(super) fn hand_over(&self, take: &mut dyn FnMut(&mut [f64])) -> Option<()> {
        let mut unpacked = UNPACKED.lock().ok().and_then(|mut unused| unused.pop()).unwrap_or_default();
        let mut first = self.window.first;
        for (page, bytes) in &self.window.data {
            unpacked.clear();
            unpacked.reserve_exact(page.unpacked + PAGE_HEADER_BYTES);
            page.unpack(bytes, self.codec, &mut unpacked)?;
            let header = unpacked.len().checked_sub(page.unpacked)?;
            let count = page.values?;
            let within = self.rows.start.max(first) - first..self.rows.end.min(first + count).checked_sub(first)?;
            self.hand_over_page(page, &unpacked[header..], (count, within), take)?;
            first += count;
        }
        if let Ok(mut unused) = UNPACKED.lock() {
            unused.push(unpacked);
        }
        Some(())
    }

    fn hand_over_page(
        &self,
        page: &Page,
        body: &[u8],
        (count, within): (usize, Range<usize>),
        take: &mut dyn FnMut(&mut [f64]),
    ) -> Option<()> {
        let (levels, values) = page.levels_and_values(body, self.is_optional)?;
        let valid = if self.is_optional { Valid::of(levels, count)? } else { Valid::all(count) };
        if page.nulls().is_some_and(|nulls| nulls != count - valid.present) {
            return None;
        }
        match self.layout {
            Layout::Float64 => hand_over(values, &valid, within, f64::from_le_bytes, take),
            Layout::Float32 => hand_over(values, &valid, within, |bytes| f64::from(f32::from_le_bytes(bytes)), take),
            Layout::Int64 => hand_over(values, &valid, within, |bytes| i64::from_le_bytes(bytes) as f64, take),
            Layout::Int32 => hand_over(values, &valid, within, |bytes| f64::from(i32::from_le_bytes(bytes)), take),
        }
    }
}

/// Hands rows `within` a page to `take`; `values` has those of all of its rows that have one.
fn hand_over<const BYTES: usize>(
    values: &[u8],
    valid: &Valid,
    within: Range<usize>,
    number: impl Fn([u8; BYTES]) -> f64,
    take: &mut dyn FnMut(&mut [f64]),
) -> Option<()> {
    let (values, []) = values.as_chunks::<BYTES>() else { return None };
    if values.len() != valid.present {
        return None;
    }
    let widen = |places: &mut [f64], values: &[[u8; BYTES]]| {
        places.iter_mut().zip(values).for_each(|(place, value)| *place = number(*value));
    };
    let mut run = [f64::NAN; RUN];
    let Some(words) = &valid.words else {
        for values in values.get(within)?.chunks(RUN) {
            widen(&mut run[..values.len()], values);
            take(&mut run[..values.len()]);
        }
        return Some(());
    };
    let mut values = values.get(present_before(words, within.start)..)?;
    for start in within.clone().step_by(RUN) {
        let run = &mut run[..RUN.min(within.end - start)];
        for (word, rows) in run.chunks_mut(WORD).enumerate() {
            let bits = word_at(words, start + word * WORD) & (u64::MAX >> (WORD - rows.len()));
            let of_word;
            (of_word, values) = values.split_at_checked(bits.count_ones() as usize)?;
            expand(bits, of_word, widen, rows);
        }
        take(run);
    }
    Some(())
}

/// Puts the values of up to 64 rows where the bits say that there is one, and NaN elsewhere. No branch: a null is as likely to follow as not.
fn expand<Value>(bits: u64, values: &[Value], widen: impl Fn(&mut [f64], &[Value]), rows: &mut [f64]) {
    if values.len() == rows.len() {
        return widen(rows, values);
    }
    let mut packed = [f64::NAN; WORD];
    widen(&mut packed, values);
    let mut place = 0;
    for (row, number) in rows.iter_mut().enumerate() {
        let is_valid = bits >> row & 1;
        *number = if is_valid == 1 { packed[place % WORD] } else { f64::NAN };
        place += is_valid as usize;
    }
}

/// Which rows of a page have a value.
struct Valid {
    /// A bit for each row; none where all have one.
    words: Option<Vec<u64>>,
    /// How many have one.
    present: usize,
}

impl Valid {
    fn all(count: usize) -> Self {
        Self { words: None, present: count }
    }

    /// By the definition levels of `count` rows, each of which is one bit: runs of the same, and of groups of eight (Parquet's hybrid of
    /// run lengths and packed bits). None where they are not as many.
    fn of(mut levels: &[u8], count: usize) -> Option<Self> {
        let mut words = vec![0_u64; count.div_ceil(WORD)];
        let mut row = 0;
        while row < count {
            let run = take_variable(&mut levels)?;
            let left = count - row;
            let rows = if run & 1 == 1 {
                let packed;
                (packed, levels) = levels.split_at_checked(usize::try_from(run >> 1).ok()?)?;
                let rows = left.min(packed.len().checked_mul(8)?);
                let of_rows = packed.iter().take(rows.div_ceil(8));
                (row..).step_by(8).zip(of_rows).for_each(|(row, bits)| put_bits(&mut words, row, u64::from(*bits)));
                rows
            } else {
                let level;
                (level, levels) = levels.split_first()?;
                let rows = usize::try_from(run >> 1).ok()?.min(left);
                match level {
                    0 => {}
                    1 if rows == count => return Some(Self::all(count)),
                    1 => (row..row + rows).step_by(WORD).for_each(|first| {
                        put_bits(&mut words, first, u64::MAX >> (WORD - WORD.min(row + rows - first)));
                    }),
                    _ => return None,
                }
                rows
            };
            if rows == 0 {
                return None;
            }
            row += rows;
        }
        if let Some(last) = words.last_mut() {
            // The last group of eight may say something of rows that are none.
            *last &= u64::MAX >> ((WORD - count % WORD) % WORD);
        }
        let present = words.iter().map(|word| word.count_ones() as usize).sum();
        Some(Self { words: (present < count).then_some(words), present })
    }
}

/// Sets bits from a row on; those behind the last word are dropped.
fn put_bits(words: &mut [u64], row: usize, bits: u64) {
    let (word, shift) = (row / WORD, row % WORD);
    if let Some(word) = words.get_mut(word) {
        *word |= bits << shift;
    }
    if shift > 0
        && let Some(word) = words.get_mut(word + 1)
    {
        *word |= bits >> (WORD - shift);
    }
}

/// The bits of 64 rows from one on.
fn word_at(words: &[u64], row: usize) -> u64 {
    let word = |place: usize| words.get(place).copied().unwrap_or_default();
    let (place, shift) = (row / WORD, row % WORD);
    if shift == 0 { word(place) } else { word(place) >> shift | word(place + 1) << (WORD - shift) }
}

/// How many of the rows before one have a value.
fn present_before(words: &[u64], row: usize) -> usize {
    let whole: u32 = words.iter().take(row / WORD).map(|word| word.count_ones()).sum();
    let rest = words.get(row / WORD).map_or(0, |word| (word & !(u64::MAX << (row % WORD))).count_ones());
    (whole + rest) as usize
}

/// A number in as many bytes as it needs, seven bits each; none of more than 32 bits.
fn take_variable(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..35).step_by(7) {
        let byte;
        (byte, *bytes) = bytes.split_first()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return u32::try_from(number).is_ok().then_some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use polars_parquet::parquet::encoding::hybrid_rle::encode;

    use super::*;

    fn levels(valid: &[bool]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(&mut bytes, valid.iter().map(|valid| u32::from(*valid)), 1).unwrap();
        bytes
    }

    /// What `hand_over` hands over of pages of whole numbers, each the row's own.
    fn handed_over(valid: &[bool], levels: &[u8], within: Range<usize>) -> Option<Vec<Option<usize>>> {
        let rows = valid.iter().enumerate().filter(|(_, valid)| **valid);
        let values: Vec<u8> = rows.flat_map(|(row, _)| (row as i32).to_le_bytes()).collect();
        let mut numbers = Vec::new();
        let valid = Valid::of(levels, valid.len())?;
        let number = |bytes| f64::from(i32::from_le_bytes(bytes));
        hand_over(&values, &valid, within, number, &mut |run| numbers.extend_from_slice(run))?;
        Some(numbers.into_iter().map(|number| (!number.is_nan()).then_some(number as usize)).collect())
    }

    #[test]
    fn rows_are_handed_over_wherever_they_begin_and_end() {
        let mut random = testkit::random::Random::new(3);
        for count in [1, 7, 63, 64, 65, 200, 2 * RUN, 3 * RUN + 77] {
            for share in [0.0, 0.1, 0.5, 1.0] {
                let mut valid: Vec<bool> = (0..count).map(|_| random.share() >= share).collect();
                // A long run of either amid the others.
                valid[count / 4..count / 2].fill(true);
                valid[count / 2..count * 5 / 8].fill(false);
                let levels = levels(&valid);
                for within in [0..count, 0..count / 3, count / 3..count, count / 2..count / 2 + 1, count - 1..count] {
                    let expected: Vec<_> = within.clone().map(|row| valid[row].then_some(row)).collect();
                    assert_eq!(handed_over(&valid, &levels, within.clone()), Some(expected), "{within:?} of {count}");
                }
            }
        }
    }

    #[test]
    fn runs_of_levels_begin_at_any_row() {
        // 3 rows without a value, 8 of packed bits, 70 with one, 8 of packed bits of which 2 count.
        let levels = [3 << 1, 0, 1 << 1 | 1, 0b0101_1010, 70 << 1 & 0x7f | 0x80, 1, 1, 1 << 1 | 1, 0b1111_1110];
        let mut expected = vec![false; 3];
        expected.extend((0..8).map(|bit| 0b0101_1010 >> bit & 1 == 1));
        expected.extend([true; 70]);
        expected.extend([false, true]);
        let rows: Vec<_> = (0..83).map(|row| expected[row].then_some(row)).collect();
        assert_eq!(handed_over(&expected, &levels, 0..83), Some(rows));
    }

    #[test]
    fn levels_that_are_not_as_many_are_refused() {
        let valid = [true, false, true];
        assert_eq!(handed_over(&valid, &[], 0..3), None);
        assert_eq!(handed_over(&valid, &[0, 1], 0..3), None, "a run of no row");
        assert_eq!(handed_over(&valid, &[3 << 1, 2], 0..3), None, "a level that there is not");
        assert_eq!(handed_over(&valid, &[2 << 1, 1], 0..3), None, "two rows of three");
        assert_eq!(handed_over(&valid, &[5 << 1 | 1, 1], 0..3), None, "fewer groups than the run says");
        assert_eq!(handed_over(&valid, &[0x80, 0x80, 0x80, 0x80, 0x80, 0], 0..3), None, "a run without end");
        assert_eq!(handed_over(&valid, &[3 << 1, 1], 0..3), None, "more values than there are");
    }
}
