//! The headers of pages, read and written.

use super::fields::Kind::{self, Bool, Integer, Struct};
use super::fields::{STATISTICS, STRUCT};
use super::walk::Walk;

/// What the header of a page says, as far as it matters for reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct RawPage {
    /// Bytes of the header.
    pub(in super::super) header: usize,
    pub(in super::super) kind: i32,
    pub(in super::super) uncompressed: i32,
    pub(in super::super) compressed: i32,
    pub(in super::super) checksum: Option<i32>,
    /// The first six numbers of the header of its kind.
    pub(in super::super) numbers: [Option<i32>; 6],
    /// Whether it is a dictionary that is sorted, or a data page of version 2 that is not compressed.
    pub(in super::super) flag: Option<bool>,
}

/// The kinds of pages.
pub(in super::super) const DATA_PAGE: i32 = 0;
pub(in super::super) const DICTIONARY_PAGE: i32 = 2;
pub(in super::super) const DATA_PAGE_2: i32 = 3;

/// `PageHeader`, and those of the kinds of pages.
const PAGE: &[(i64, Kind)] = &[
    (1, Integer),
    (2, Integer),
    (3, Integer),
    (4, Integer),
    (5, Struct(DATA)),
    (6, Struct(&[])),
    (7, Struct(DICTIONARY)),
    (8, Struct(DATA_2)),
];
const DATA: &[(i64, Kind)] = &[(1, Integer), (2, Integer), (3, Integer), (4, Integer), (5, Struct(STATISTICS))];
const DICTIONARY: &[(i64, Kind)] = &[(1, Integer), (2, Integer), (3, Bool)];
const DATA_2: &[(i64, Kind)] = &[
    (1, Integer),
    (2, Integer),
    (3, Integer),
    (4, Integer),
    (5, Integer),
    (6, Integer),
    (7, Bool),
    (8, Struct(STATISTICS)),
];

impl RawPage {
    /// The header that `bytes` begin with.
    ///
    /// # Errors
    /// What is wrong with it; also where it is not all there.
    pub(in super::super) fn at_start_of(bytes: &[u8]) -> Result<Self, String> {
        let mut walk = Walk::new(bytes);
        let mut numbers = [None; 5];
        let mut of_kinds = [None; 4];
        let mut field = 0;
        while let Some(number) = walk.next_field(&mut field)? {
            match (field, number) {
                (1..=4, _) => numbers[field as usize] = Some(walk.integer(number)? as i32),
                (5, STRUCT) => of_kinds[DATA_PAGE as usize] = Some(walk.page_numbers(DATA)?),
                (7, STRUCT) => of_kinds[DICTIONARY_PAGE as usize] = Some(walk.page_numbers(DICTIONARY)?),
                (8, STRUCT) => of_kinds[DATA_PAGE_2 as usize] = Some(walk.page_numbers(DATA_2)?),
                _ => drop(walk.skip_field(PAGE, field, number, 0, 0)?),
            }
        }
        let required =
            |field: usize| numbers[field].ok_or_else(|| format!("field {field} of a page header is missing"));
        let kind = required(1)?;
        let of_kind = usize::try_from(kind).ok().and_then(|kind| *of_kinds.get(kind)?);
        let (of_kind, flag) = of_kind.ok_or_else(|| format!("a page of the type {kind} among the data pages"))?;
        Ok(Self {
            header: walk.at,
            kind,
            uncompressed: required(2)?,
            compressed: required(3)?,
            checksum: numbers[4],
            numbers: of_kind,
            flag,
        })
    }

    /// Appends the header of the same page without compression, its statistics and its checksum left out.
    pub(in super::super) fn write_uncompressed(&self, bytes: &mut Vec<u8>) -> Option<()> {
        let (distance, count) = match self.kind {
            DATA_PAGE => (2, 4),
            DICTIONARY_PAGE => (4, 2),
            DATA_PAGE_2 => (5, 6),
            _ => return None,
        };
        for number in [self.kind, self.uncompressed, self.uncompressed] {
            write_number(number, bytes);
        }
        bytes.push(distance << 4 | STRUCT);
        for number in &self.numbers[..count] {
            write_number((*number)?, bytes);
        }
        match (self.kind, self.flag) {
            (DATA_PAGE_2, _) | (DICTIONARY_PAGE, Some(false)) => bytes.push(0x12),
            (DICTIONARY_PAGE, Some(true)) => bytes.push(0x11),
            _ => {}
        }
        bytes.extend_from_slice(&[0, 0]);
        Some(())
    }
}

/// Writes a field that is one behind the field before it, a 32-bit number.
fn write_number(number: i32, bytes: &mut Vec<u8>) {
    bytes.push(0x15);
    let mut left = ((number << 1) ^ (number >> 31)).cast_unsigned();
    while left >= 0x80 {
        bytes.push(left as u8 | 0x80);
        left >>= 7;
    }
    bytes.push(left as u8);
}

impl Walk<'_> {
    /// The numbers of the header of a kind of page, and its boolean.
    fn page_numbers(&mut self, fields: &[(i64, Kind)]) -> Result<([Option<i32>; 6], Option<bool>), String> {
        let (mut numbers, mut flag) = ([None; 6], None);
        let mut field = 0;
        while let Some(number) = self.next_field(&mut field)? {
            match (fields.iter().find(|(of, _)| *of == field), number) {
                (Some((1..=6, Integer)), _) => numbers[field as usize - 1] = Some(self.integer(number)? as i32),
                (Some((_, Bool)), 1 | 2) => flag = Some(number == 1),
                _ => drop(self.skip_field(fields, field, number, 0, 1)?),
            }
        }
        Ok((numbers, flag))
    }
}
