//! Whether bytes are a Parquet footer in Thrift's compact protocol whose lists hold as many elements as they say.
//!
//! polars' decoder of footers makes room for as many elements as a list says it has before it reads the first one, and takes
//! a field for what its number says, whatever kind it is said to be: damaged footers of 1 to 3 KB asked for more memory than
//! there is, which ends the process. Found by the fuzz target `parquet_input`. So the fields that the format knows must be of
//! its kinds; others are passed over, as polars does.
//! One thing polars does not pass over: a logical type of a later version than it knows (VARIANT, GEOMETRY) makes it refuse the
//! file, even where nobody asks for that column. Such a type is hidden from it, so that the column is what its bytes are.
//! `polars-parquet-format` has a bounded reader too, but it passes over bytes only where they are UTF-8, which statistics and
//! fields of later versions of the format need not be.
//! The encoding: <https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>.

mod fields;
mod page_header;
mod walk;

use std::ops::Range;

use self::fields::{COLUMN, COLUMN_CHUNK, FILE, ROW_GROUP, STATISTICS, STRUCT};
pub(super) use self::page_header::{DATA_PAGE, DATA_PAGE_2, DICTIONARY_PAGE, RawPage};
use self::walk::{Walk, zigzag};

/// The fields of a footer that hold its number of rows and its row groups.
const ROWS: i64 = 3;
const ROW_GROUPS: i64 = 4;
/// A list without elements.
const EMPTY_LIST: u8 = 0x0c;

/// A footer, taken apart.
#[derive(Debug)]
pub(super) struct Parts {
    /// All of it but its row groups and its number of rows, as a footer of its own: that of any object that the same writer gave
    /// the same columns. Logical types that polars does not know are hidden from it, under the number of a field that there is not.
    pub(super) head: Vec<u8>,
    /// Where the list of row groups stands in the bytes; empty where there is none.
    pub(super) row_groups: Range<usize>,
    /// The number of rows that it says it has.
    pub(super) rows: Option<i64>,
}

/// Takes the bytes of a footer apart, checking all of them.
///
/// # Errors
/// What is wrong with the bytes.
pub(super) fn taken_apart(bytes: &[u8]) -> Result<Parts, String> {
    let mut walk = Walk::new(bytes);
    let (mut row_groups, mut rows, mut count) = (None, None, 0..0);
    let mut field = 0;
    while let Some(number) = walk.next_field(&mut field)? {
        let start = walk.at;
        walk.skip_field(FILE, field, number, start - 1, 0)?;
        match field {
            ROW_GROUPS if row_groups.replace(start..walk.at).is_some() => {
                return Err("it has two lists of row groups".to_owned());
            }
            ROWS => {
                (rows, count) = (Some(walk.number_at(start)?), start..walk.at);
            }
            _ => {}
        }
    }
    let mut cuts = [(row_groups.clone().unwrap_or_default(), &[EMPTY_LIST][..]), (count, &[0])];
    cuts.sort_by_key(|(range, _)| range.start);
    let (mut head, mut at) = (Vec::with_capacity(bytes.len() - row_groups.as_ref().map_or(0, Range::len) + 2), 0);
    let mut places = Vec::new();
    for (range, instead) in cuts.into_iter().filter(|(range, _)| !range.is_empty()) {
        head.extend_from_slice(&bytes[at..range.start]);
        head.extend_from_slice(instead);
        at = range.end;
        places.push((at, head.len()));
    }
    head.extend_from_slice(&bytes[at..walk.at]);
    for header in walk.unknown {
        // Behind what was cut out it stands elsewhere.
        let moved = places.iter().rev().find(|(end, _)| header >= *end);
        hide(&mut head, moved.map_or(header, |(end, to)| header - end + to))?;
    }
    Ok(Parts { head, row_groups: row_groups.unwrap_or_default(), rows })
}

/// Gives the field whose header stands there the number of one that there is not.
fn hide(head: &mut [u8], header: usize) -> Result<(), String> {
    // It is the last field of its structure that the format has, so those that follow by their distance stay unknown too.
    match head[header] >> 4 {
        0 => head[header + 1] += zigzag(1),
        // One more has no place in the header. No field of a footer is so far from the one before.
        15 => return Err("a logical type is 15 fields behind the field before".to_owned()),
        _ => head[header] += 1 << 4,
    }
    Ok(())
}

/// What a footer says about a column chunk, as far as it matters for reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RawChunk {
    pub(super) codec: i32,
    pub(super) values: i64,
    pub(super) uncompressed: i64,
    pub(super) compressed: i64,
    pub(super) data_page: i64,
    pub(super) dictionary_page: Option<i64>,
    /// Values that are null, where its statistics say so.
    pub(super) nulls: Option<i64>,
}

/// Reads the row groups of a footer, one after the other.
pub(super) struct RowGroups<'a> {
    walk: Walk<'a>,
    left: u64,
}

impl<'a> RowGroups<'a> {
    /// `bytes` are the list, as [`taken_apart`] found it.
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, String> {
        let mut walk = Walk::new(bytes);
        let left = if bytes.is_empty() { 0 } else { walk.list_length()?.0 };
        Ok(Self { walk, left })
    }

    /// How many are left.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// The rows of the next one, and its chunks in the place of what is in `chunks`.
    ///
    /// # Errors
    /// What is missing there.
    pub(super) fn next(&mut self, chunks: &mut Vec<RawChunk>) -> Result<i64, String> {
        self.left = self.left.saturating_sub(1);
        chunks.clear();
        let (walk, mut rows, mut bytes, mut has_columns) = (&mut self.walk, None, None, false);
        let mut field = 0;
        while let Some(number) = walk.next_field(&mut field)? {
            match field {
                1 => {
                    has_columns = true;
                    chunks.clear();
                    let (length, kind) = walk.list_length()?;
                    if length > 0 && kind != STRUCT {
                        return Err(format!("the elements of a list are of the kind {kind}"));
                    }
                    for _ in 0..length {
                        chunks.push(walk.chunk()?);
                    }
                }
                2 => bytes = Some(walk.integer(number)?),
                3 => rows = Some(walk.integer(number)?),
                _ => drop(walk.skip_field(ROW_GROUP, field, number, 0, 1)?),
            }
        }
        if !has_columns || bytes.is_none_or(i64::is_negative) {
            return Err("a row group has no columns or no size".to_owned());
        }
        rows.filter(|rows| !rows.is_negative()).ok_or_else(|| "a row group has no number of rows".to_owned())
    }
}

impl Walk<'_> {
    /// What it says of a column chunk.
    fn chunk(&mut self) -> Result<RawChunk, String> {
        let (mut field, mut found) = (0, None);
        while let Some(number) = self.next_field(&mut field)? {
            match field {
                3 if number == STRUCT => found = Some(self.chunk_metadata()?),
                _ => drop(self.skip_field(COLUMN_CHUNK, field, number, 0, 2)?),
            }
        }
        found.ok_or_else(|| "a column of a row group has no metadata, or they are encrypted".to_owned())
    }

    fn chunk_metadata(&mut self) -> Result<RawChunk, String> {
        let (mut numbers, mut nulls) = ([None; 12], None);
        let mut field = 0;
        while let Some(number) = self.next_field(&mut field)? {
            match field {
                12 if number == STRUCT => nulls = self.null_count()?,
                4..=7 | 9 | 11 => numbers[field as usize] = Some(self.integer(number)?),
                _ => drop(self.skip_field(COLUMN, field, number, 0, 3)?),
            }
        }
        let required = |field: usize| numbers[field].ok_or_else(|| format!("field {field} of a column is missing"));
        Ok(RawChunk {
            codec: required(4)? as i32,
            values: required(5)?,
            uncompressed: required(6)?,
            compressed: required(7)?,
            data_page: required(9)?,
            dictionary_page: numbers[11],
            nulls,
        })
    }

    /// What statistics say of nulls.
    fn null_count(&mut self) -> Result<Option<i64>, String> {
        let (mut nulls, mut field) = (None, 0);
        while let Some(number) = self.next_field(&mut field)? {
            match field {
                3 => nulls = Some(self.integer(number)?),
                _ => drop(self.skip_field(STATISTICS, field, number, 0, 4)?),
            }
        }
        Ok(nulls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8]) -> Result<(), String> {
        taken_apart(bytes).map(drop)
    }

    fn head(bytes: &[u8]) -> Vec<u8> {
        taken_apart(bytes).unwrap().head
    }

    #[test]
    fn a_logical_type_that_polars_does_not_know_is_hidden_from_it() {
        let footer = |element: &[u8]| [&[0x29, 0x1c], element, &[0x00, 0x00]].concat();
        // Field 4, the name; field 10 by its distance or by its number; in it field 16 (VARIANT), a struct with its version.
        let by_distance = footer(&[0x48, 0x01, b'v', 0x6c, 0x0c, 0x20, 0x13, 0x01, 0x00, 0x00]);
        let by_number = footer(&[0x48, 0x01, b'v', 0x0c, 0x14, 0x0c, 0x20, 0x13, 0x01, 0x00, 0x00]);
        let known = footer(&[0x48, 0x01, b'v', 0x6c, 0x1c, 0x00, 0x00]);
        let hidden = |bytes: &[u8], at: usize, as_what: u8| {
            let mut hidden = bytes.to_vec();
            hidden[at] = as_what;
            hidden
        };
        assert_eq!(head(&by_distance), hidden(&by_distance, 5, 0x7c));
        assert_eq!(head(&by_number), hidden(&by_number, 6, 0x16));
        assert_eq!(head(&known), known);
    }

    /// Rows of a row group and chunks of one column, as a footer has them.
    fn row_group(rows: u8, offset: u8) -> Vec<u8> {
        let metadata =
            [0x15, 0x02, 0x35, 0x0c, 0x16, rows * 2, 0x16, 0x28, 0x16, 0x14, 0x26, offset * 2, 0x26, 0x08, 0x00];
        [&[0x19, 0x1c, 0x3c][..], &metadata, &[0x00, 0x16, 0x28, 0x16, rows * 2, 0x00]].concat()
    }

    #[test]
    fn row_groups_are_taken_out_and_read_one_by_one() {
        let groups = [&[0x2c][..], &row_group(5, 9), &row_group(7, 33)].concat();
        // Field 2 with a logical type that polars does not know, behind the row groups: the order of fields is free.
        let schema = [0x1c, 0x48, 0x01, b'v', 0x6c, 0x0c, 0x20, 0x13, 0x01, 0x00, 0x00, 0x00];
        let in_order = [&[0x29][..], &schema, &[0x16, 0x18, 0x19], &groups, &[0x28, 0x01, b'x', 0x00]].concat();
        let behind = [&[0x36, 0x18, 0x19][..], &groups, &[0x09, 0x04], &schema, &[0x00]].concat();
        for (bytes, expected) in [
            (
                &in_order,
                [&[0x29, 0x1c, 0x48, 0x01, b'v', 0x7c][..], &schema[5..], &[0x16, 0, 0x19, 0x0c, 0x28, 0x01, b'x', 0]]
                    .concat(),
            ),
            (
                &behind,
                [&[0x36, 0, 0x19, 0x0c, 0x09, 0x04, 0x1c, 0x48, 0x01, b'v', 0x7c][..], &schema[5..], &[0]].concat(),
            ),
        ] {
            let parts = taken_apart(bytes).unwrap();
            assert_eq!((parts.head, parts.rows), (expected, Some(12)));
            assert_eq!(&bytes[parts.row_groups.clone()], &groups[..]);
            let mut list = RowGroups::new(&bytes[parts.row_groups]).unwrap();
            let mut chunks = Vec::new();
            let mut read = Vec::new();
            while list.left() > 0 {
                read.push((list.next(&mut chunks).unwrap(), chunks[0].data_page));
            }
            assert_eq!(read, [(5, 9), (7, 33)]);
            let chunk = RawChunk {
                codec: 6,
                values: 7,
                uncompressed: 20,
                compressed: 10,
                data_page: 33,
                dictionary_page: Some(4),
                nulls: None,
            };
            assert_eq!(chunks, [chunk]);
        }
        let twice = [&[0x49][..], &groups, &[0x09, 0x08], &groups, &[0x00]].concat();
        assert!(check(&twice).unwrap_err().contains("two lists"));
    }

    #[test]
    fn a_number_of_a_field_does_not_wrap() {
        // Field -5, and 15 behind it field 10 with a logical type that polars does not know.
        let far = [0x29, 0x1c, 0x01, 0x09, 0xfc, 0x0c, 0x20, 0x13, 0x01, 0x00, 0x00, 0x00, 0x00];
        assert!(check(&far).unwrap_err().contains("15 fields behind"));
        let known = [0x29, 0x1c, 0x01, 0x09, 0xfc, 0x1c, 0x00, 0x00, 0x00, 0x00];
        assert_eq!(check(&known), Ok(()), "a type that polars knows is not touched");
        // Fields 65538 and -65534, which polars would take for field 2.
        for number in [&[0x84, 0x80, 0x08][..], &[0xfb, 0xff, 0x07]] {
            let message =
                check(&[&[0x09][..], number, &[0xfc, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x00]].concat()).unwrap_err();
            assert!(message.contains("which no footer has"), "{message}");
        }
        // 15 at a time, as far as it goes.
        let steps: Vec<u8> = std::iter::repeat_n([0xf3, 0x00], 2185).flatten().collect();
        assert!(check(&steps).unwrap_err().contains("32775"));
    }

    #[test]
    fn the_header_of_a_page_is_written_as_it_is_read() {
        for (kind, numbers, flag) in [
            (DATA_PAGE, [Some(300), Some(0), Some(3), Some(3), None, None], None),
            (DICTIONARY_PAGE, [Some(7), Some(2), None, None, None, None], None),
            (DICTIONARY_PAGE, [Some(7), Some(2), None, None, None, None], Some(true)),
            (DATA_PAGE_2, [Some(9), Some(1), Some(9), Some(-5), Some(4), Some(0)], Some(false)),
        ] {
            let page =
                RawPage { header: 0, kind, uncompressed: 70_000, compressed: 5, checksum: Some(1), numbers, flag };
            let mut bytes = Vec::new();
            page.write_uncompressed(&mut bytes).unwrap();
            let read = RawPage::at_start_of(&bytes).unwrap();
            assert_eq!(read, RawPage { header: bytes.len(), compressed: 70_000, checksum: None, ..page });
            let mut protocol = polars_parquet_format::thrift::protocol::TCompactInputProtocol::new(&bytes[..], 1 << 20);
            let by_polars =
                polars_parquet::parquet::page::ParquetPageHeader::read_from_in_protocol(&mut protocol).unwrap();
            assert_eq!((by_polars.type_.0, by_polars.uncompressed_page_size), (kind, 70_000));
            assert_eq!(by_polars.data_page_header.map(|data| data.num_values), (kind == DATA_PAGE).then_some(300));
            let second = by_polars.data_page_header_v2.map(|data| (data.encoding.0, data.is_compressed));
            assert_eq!(second, (kind == DATA_PAGE_2).then_some((-5, Some(false))));
            let dictionary = by_polars.dictionary_page_header.map(|of| (of.num_values, of.is_sorted));
            assert_eq!(dictionary, (kind == DICTIONARY_PAGE).then_some((7, flag)));
        }
    }

    #[test]
    fn values_of_every_kind_are_passed_over() {
        let bytes = [
            0x15, 0x96, 0x01, // field 1, the version: a number of two bytes
            0x58, 0x02, b'a', b'b', // field 6, who wrote it: bytes
            0x45, 0x02, // field 10, which no footer has yet: a number
            0x19, 0x25, 0x02, 0x04, // field 11: two numbers
            0x19, 0x1c, 0x12, 0x00, // field 12: a list of one struct, which has one boolean
            0x13, 0x07, // field 13: a byte
            0x07, 0x30, 0, 0, 0, 0, 0, 0, 0, 0, // a double with a field number of its own
            0x00,
        ];
        assert_eq!(check(&bytes), Ok(()));
        for end in 0..bytes.len() {
            assert!(check(&bytes[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn a_list_of_more_elements_than_there_are_is_refused() {
        let message = check(&[0x29, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x00]).unwrap_err();
        assert!(message.contains("4294967295 elements"), "{message}");
        assert!(check(&[0x29, 0x5c, 0x00, 0x00]).is_err());
    }

    #[test]
    fn a_field_that_polars_would_take_for_another_is_refused() {
        // The bytes of field 2, which is a list, would be read as a list of 2³² elements.
        let message = check(&[0x28, 0x06, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x00]).unwrap_err();
        assert!(message.contains("field 2"), "{message}");
        // So would they where a number of the schema's is not one.
        assert!(check(&[0x29, 0x1c, 0x18, 0x01, 0x00, 0x00, 0x00]).unwrap_err().contains("field 1"));
        // A list of numbers where it should be one of structs; an empty list has no kind (fastparquet).
        assert!(check(&[0x29, 0x15, 0x00, 0x00]).unwrap_err().contains("elements"));
        assert_eq!(check(&[0x29, 0x00, 0x00]), Ok(()));
        // Field 2 by its number.
        assert!(check(&[0x08, 0x04, 0x01, 0x00, 0x00]).unwrap_err().contains("field 2"));
    }

    #[test]
    fn deep_nesting_ends() {
        assert!(check(&[&[0xac], [0x1c; 10_000].as_slice()].concat()).unwrap_err().contains("deeply"));
        let lists: Vec<u8> = std::iter::once(0xa9).chain([0x19; 10_000]).collect();
        assert!(check(&lists).unwrap_err().contains("deeply"));
    }
}
