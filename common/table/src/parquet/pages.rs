//! The pages of a column chunk, found by their headers: how large they are, how many rows they have, and whether their
//! bytes are what was written, where the writer left a checksum.

use std::io::Cursor;
use std::ops::Range;

use polars_parquet::parquet::page::ParquetPageHeader;
use polars_parquet_format::PageType;
use polars_parquet_format::thrift::protocol::TCompactInputProtocol;

/// Most bytes of a header that are believed: its statistics hold two values of the column, which may be long texts.
const HEADER_MOST: usize = 16 * 1024 * 1024;

/// One page as it lies in a column chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Page {
    /// Bytes of the header.
    pub(super) header: usize,
    /// Bytes behind the header.
    pub(super) body: usize,
    /// Bytes of the body when it is unpacked, as the header says; the decoder makes room for as many.
    pub(super) unpacked: usize,
    /// Values of a data page, nulls included, which are its rows where the column does not repeat; none of a dictionary.
    pub(super) values: Option<usize>,
    /// CRC-32 of the body, where the writer left one.
    checksum: Option<u32>,
}

impl Page {
    /// The page whose header `bytes` begin with; its body may end behind them.
    ///
    /// # Errors
    /// What is wrong with the header; also where it is not all there.
    pub(super) fn at_start_of(bytes: &[u8]) -> Result<Self, String> {
        let mut cursor = Cursor::new(bytes);
        let mut protocol = TCompactInputProtocol::new(&mut cursor, HEADER_MOST);
        let header = ParquetPageHeader::read_from_in_protocol(&mut protocol).map_err(|error| error.to_string())?;
        drop(protocol);
        let size = |number: i32| usize::try_from(number).map_err(|_| format!("a page header has the size {number}"));
        let values = match (header.type_, &header.data_page_header, &header.data_page_header_v2) {
            (PageType::DICTIONARY_PAGE, ..) => None,
            (PageType::DATA_PAGE, Some(data), _) => Some(size(data.num_values)?),
            (PageType::DATA_PAGE_V2, _, Some(data)) => Some(size(data.num_values)?),
            (kind, ..) => return Err(format!("a page of the type {kind:?} among the data pages")),
        };
        Ok(Self {
            header: usize::try_from(cursor.position()).map_err(|error| error.to_string())?,
            body: size(header.compressed_page_size)?,
            unpacked: size(header.uncompressed_page_size)?,
            values,
            checksum: header.crc.map(i32::cast_unsigned),
        })
    }

    /// Bytes of header and body.
    pub(super) fn len(&self) -> usize {
        self.header + self.body
    }

    /// Whether the bytes of the page, its header included, have the checksum that its writer left; true without one.
    pub(super) fn is_intact(&self, bytes: &[u8]) -> bool {
        let Some(checksum) = self.checksum else { return true };
        bytes.get(self.header..self.len()).is_some_and(|body| crc32fast::hash(body) == checksum)
    }
}

/// Whether every page of a whole column chunk has the checksum that its writer left. Pages that cannot be told apart are
/// for the decoder to complain about.
pub(super) fn are_intact(mut chunk: &[u8]) -> bool {
    while !chunk.is_empty() {
        let Ok(page) = Page::at_start_of(chunk) else { return true };
        if page.checksum.is_none() && page.values.is_some() {
            // A writer leaves checksums on all pages or on none.
            return true;
        }
        if !page.is_intact(chunk) {
            return false;
        }
        chunk = chunk.get(page.len()..).unwrap_or_default();
    }
    true
}

/// Checks that the data pages of a column do not say that they have more than `most` values together: the decoder makes room
/// for as many as a page says, before it reads them.
///
/// # Errors
/// What is wrong with the pages.
pub(super) fn check_values(mut bytes: &[u8], most: i64) -> Result<(), String> {
    let most = usize::try_from(most).map_err(|_| format!("it says that it has {most} values"))?;
    let mut values = 0_usize;
    // Whatever follows the last value is not looked at by the decoder either.
    while values < most && !bytes.is_empty() {
        let page = Page::at_start_of(bytes)?;
        values = values.saturating_add(page.values.unwrap_or(0));
        if values > most {
            return Err(format!("its pages say that they have {values} values, of {most}"));
        }
        bytes = bytes.get(page.len()..).unwrap_or_default();
    }
    Ok(())
}

/// What the pages that hold `rows` (counted from the first value in `bytes`), and the dictionary, take when they are unpacked, as
/// their headers say. Headers that cannot be read are for the decoder to complain about.
pub(super) fn unpacked_bytes(mut bytes: &[u8], rows: &Range<usize>) -> u64 {
    let (mut all, mut first) = (0_u64, 0_usize);
    while !bytes.is_empty() && first < rows.end {
        let Ok(page) = Page::at_start_of(bytes) else { break };
        let end = first.saturating_add(page.values.unwrap_or(0));
        if page.values.is_none() || end > rows.start {
            all = all.saturating_add(page.unpacked as u64);
        }
        first = end;
        bytes = bytes.get(page.len()..).unwrap_or_default();
    }
    all
}

#[cfg(test)]
mod tests {
    use polars_parquet_format::thrift::protocol::TCompactOutputProtocol;
    use polars_parquet_format::{DataPageHeader, Encoding};

    use super::*;

    fn page(body: &[u8], checksum: Option<u32>) -> Vec<u8> {
        let size = i32::try_from(body.len()).unwrap();
        let data = DataPageHeader::new(3, Encoding::PLAIN, Encoding::RLE, Encoding::RLE, None);
        let crc = checksum.map(u32::cast_signed);
        let header = ParquetPageHeader::new(PageType::DATA_PAGE, size, size, crc, data, None, None, None);
        let mut bytes = Vec::new();
        header.write_to_out_protocol(&mut TCompactOutputProtocol::new(&mut bytes)).unwrap();
        bytes.extend_from_slice(body);
        bytes
    }

    #[test]
    fn a_header_tells_the_size_and_the_values_of_its_page() {
        let bytes = page(b"abcdef", None);
        let found = Page::at_start_of(&bytes).unwrap();
        assert_eq!((found.body, found.values, found.len()), (6, Some(3), bytes.len()));
        for end in 0..found.header {
            assert!(Page::at_start_of(&bytes[..end]).is_err(), "{end} bytes are no header");
        }
    }

    #[test]
    fn pages_of_more_values_than_there_are_are_refused() {
        let two = [page(b"abc", None), page(b"def", None)].concat();
        assert_eq!(check_values(&two, 6), Ok(()));
        assert_eq!(check_values(&[two.as_slice(), b"padding"].concat(), 6), Ok(()));
        assert!(check_values(&two, 5).unwrap_err().contains("6 values, of 5"));
        assert!(check_values(&two, -1).is_err());
        assert!(check_values(b"padding", 1).is_err());
    }

    #[test]
    fn only_pages_of_the_rows_count() {
        let three = [page(b"abc", None), page(b"defgh", None), page(b"i", None)].concat();
        let of = |rows: Range<usize>| unpacked_bytes(&three, &rows);
        assert_eq!([of(0..9), of(0..3), of(3..4), of(2..4), of(6..9), of(0..0)], [9, 3, 5, 8, 1, 0]);
        assert_eq!(unpacked_bytes(b"padding", &(0..1)), 0);
    }

    #[test]
    fn a_changed_byte_is_found_where_there_is_a_checksum() {
        let sound =
            [page(b"first", Some(crc32fast::hash(b"first"))), page(b"second", Some(crc32fast::hash(b"second")))];
        let mut chunk = sound.concat();
        assert!(are_intact(&chunk));
        let last = chunk.len() - 1;
        chunk[last] ^= 1;
        assert!(!are_intact(&chunk));
        assert!(are_intact(&page(b"without", None)));
    }
}
