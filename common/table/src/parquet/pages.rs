//! The pages of a column chunk, found by their headers: how large they are, how many rows they have, and whether their
//! bytes are what was written, where the writer left a checksum.

use std::cell::RefCell;
use std::io::Cursor;
use std::ops::Range;

use flate2::{Decompress, FlushDecompress};
use polars_parquet::parquet::compression::{Compression, DecompressionContext, decompress};
use polars_parquet::parquet::encoding::hybrid_rle::encode;

use super::thrift::{DATA_PAGE, DATA_PAGE_2, DICTIONARY_PAGE, RawPage};

/// What the header of a page takes at most, without its statistics.
pub(super) const PAGE_HEADER_BYTES: usize = 64;

/// Encodings, by their numbers in the format.
const PLAIN: i32 = 0;
const PLAIN_DICTIONARY: i32 = 2;
const RLE: i32 = 3;
const RLE_DICTIONARY: i32 = 8;

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
    raw: RawPage,
}

impl Page {
    /// The page whose header `bytes` begin with; its body may end behind them.
    ///
    /// # Errors
    /// What is wrong with the header; also where it is not all there.
    pub(super) fn at_start_of(bytes: &[u8]) -> Result<Self, String> {
        let raw = RawPage::at_start_of(bytes)?;
        let size = |number: i32| usize::try_from(number).map_err(|_| format!("a page header has the size {number}"));
        let values = match raw.kind {
            DATA_PAGE | DATA_PAGE_2 => {
                Some(size(raw.numbers[0].ok_or_else(|| "a page header has no number of values".to_owned())?)?)
            }
            _ => None,
        };
        let (body, checksum) = (size(raw.compressed)?, raw.checksum.map(i32::cast_unsigned));
        Ok(Self { header: raw.header, body, unpacked: size(raw.uncompressed)?, values, checksum, raw })
    }

    /// Bytes of the levels in front of the values, which are never compressed.
    fn levels(&self) -> Option<usize> {
        if self.raw.kind != DATA_PAGE_2 {
            return Some(0);
        }
        let level = |place: usize| usize::try_from(self.raw.numbers[place].unwrap_or(-1)).ok();
        level(4)?.checked_add(level(5)?)
    }

    /// Checks that a dictionary has a byte for each value that it says it has.
    fn check_dictionary(&self) -> Result<(), String> {
        let values = self.raw.numbers[0].unwrap_or(0);
        if self.raw.kind != DICTIONARY_PAGE || usize::try_from(values).is_ok_and(|values| values <= self.unpacked) {
            return Ok(());
        }
        Err(format!("its dictionary says that it has {values} values in {} bytes", self.unpacked))
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

/// Appends a data page that has each of so many values of a dictionary once, in their order.
pub(super) fn append_all_places(values: usize, is_optional: bool, bytes: &mut Vec<u8>) -> Option<()> {
    let last = u32::try_from(values.checked_sub(1)?).ok()?;
    let mut body = Vec::new();
    if is_optional {
        // One run: every value is there.
        let mut run = Vec::new();
        append_variable(u64::from(last + 1) << 1, &mut run);
        run.push(1);
        body.extend_from_slice(&u32::try_from(run.len()).ok()?.to_le_bytes());
        body.extend_from_slice(&run);
    }
    let bits = (u32::BITS - last.leading_zeros()).max(1);
    body.push(bits as u8);
    encode(&mut body, 0..=last, bits).ok()?;
    let size = i32::try_from(body.len()).ok()?;
    let numbers = [Some(i32::try_from(values).ok()?), Some(RLE_DICTIONARY), Some(RLE), Some(RLE), None, None];
    let page = RawPage {
        header: 0,
        kind: DATA_PAGE,
        uncompressed: size,
        compressed: size,
        checksum: None,
        numbers,
        flag: None,
    };
    page.write_uncompressed(bytes)?;
    bytes.extend_from_slice(&body);
    Some(())
}

/// A number in as many bytes as it needs, seven bits each.
fn append_variable(mut number: u64, bytes: &mut Vec<u8>) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
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

/// A page, and its bytes with those of its header.
pub(super) type PageBytes<'a> = (Page, &'a [u8]);

/// The pages of a column chunk that hold some of its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window<'a> {
    /// The dictionary page, where there is one.
    pub(super) dictionary: Option<PageBytes<'a>>,
    /// The data pages.
    pub(super) data: Vec<PageBytes<'a>>,
    /// Which value of the chunk is their first, nulls counted.
    pub(super) first: usize,
    /// Their values, nulls included.
    pub(super) values: usize,
    /// Bytes of all these pages when they are unpacked.
    pub(super) unpacked: usize,
}

impl<'a> Window<'a> {
    /// The pages that hold `rows`, counted from the first value in `bytes`, of a column that does not repeat. None where the pages are
    /// not as a writer leaves them, or unpack to more than `most` bytes.
    pub(super) fn of(bytes: &'a [u8], rows: &Range<usize>, most: usize) -> Option<Self> {
        let mut window = Self { dictionary: None, data: Vec::new(), first: 0, values: 0, unpacked: 0 };
        let (mut left, mut row) = (bytes, 0_usize);
        while !left.is_empty() && row < rows.end {
            let page = Page::at_start_of(left).ok()?;
            let (bytes_of_page, behind) = left.split_at_checked(page.len())?;
            match page.values {
                None if left.len() == bytes.len() && page.raw.kind == DICTIONARY_PAGE => {
                    window.dictionary = Some((page, bytes_of_page));
                    window.unpacked = page.unpacked;
                }
                None => return None,
                // Nothing is in it, and nothing would be unpacked.
                Some(0) => {}
                Some(values) => {
                    let rows_end = row.checked_add(values)?;
                    if rows_end > rows.start {
                        if window.values == 0 {
                            window.first = row;
                        }
                        window.data.push((page, bytes_of_page));
                        window.values += values;
                        window.unpacked = window.unpacked.checked_add(page.unpacked)?;
                    }
                    row = rows_end;
                }
            }
            if window.unpacked > most {
                return None;
            }
            left = behind;
        }
        (row >= rows.end && window.values > 0).then_some(window)
    }

    fn pages(&self) -> impl Iterator<Item = &PageBytes<'a>> {
        self.dictionary.iter().chain(&self.data)
    }

    /// The pages without compression, one behind the other; none where they are not what their headers say, which is for polars'
    /// decoder to tell. That one has zstd write into a buffer of its own first, and see [`has_context`].
    pub(super) fn unpacked(&self, codec: Compression) -> Option<Vec<u8>> {
        let pages = usize::from(self.dictionary.is_some()) + self.data.len();
        let mut unpacked = Vec::with_capacity(self.unpacked + pages * PAGE_HEADER_BYTES);
        for (page, bytes) in self.pages() {
            page.unpack(bytes, codec, &mut unpacked)?;
        }
        Some(unpacked)
    }
}

impl Page {
    /// Appends the page in `bytes` without compression, its header included; none where it is not what its header says.
    pub(super) fn unpack(&self, bytes: &[u8], codec: Compression, unpacked: &mut Vec<u8>) -> Option<()> {
        let body = bytes.get(self.header..self.len())?;
        let levels = self.levels()?;
        self.raw.write_uncompressed(unpacked)?;
        let (start, packed) = (unpacked.len(), body.get(levels..)?);
        if codec == Compression::Uncompressed || (self.raw.kind == DATA_PAGE_2 && self.raw.flag == Some(false)) {
            unpacked.extend_from_slice(body);
        } else {
            unpacked.extend_from_slice(&body[..levels]);
            match packed {
                [] => unpacked.resize(start.checked_add(self.unpacked)?, 0),
                packed => append_unpacked(packed, codec, self.unpacked.checked_sub(levels)?, unpacked)?,
            }
        }
        (unpacked.len() == start.checked_add(self.unpacked)?).then_some(())
    }

    /// Whether the values of this data page are places in the dictionary, and its levels as every writer has them.
    pub(super) fn is_by_dictionary(&self) -> bool {
        matches!(self.encoding(), Some(PLAIN_DICTIONARY | RLE_DICTIONARY))
    }

    /// Whether the values of this data page lie one behind the other, and its levels as every writer has them.
    pub(super) fn is_plain(&self) -> bool {
        self.encoding() == Some(PLAIN)
    }

    /// How the values of a data page are encoded; none where its levels are not as every writer has them.
    fn encoding(&self) -> Option<i32> {
        let [_, first, levels, fourth, ..] = self.raw.numbers;
        match self.raw.kind {
            DATA_PAGE if levels == Some(RLE) => first,
            DATA_PAGE_2 => fourth,
            _ => None,
        }
    }

    /// Nulls of a data page, where its header tells.
    pub(super) fn nulls(&self) -> Option<usize> {
        (self.raw.kind == DATA_PAGE_2).then_some(())?;
        usize::try_from(self.raw.numbers[1]?).ok()
    }

    /// Values of a dictionary page.
    pub(super) fn dictionary_values(&self) -> Option<usize> {
        self.check_dictionary().ok()?;
        (self.raw.kind == DICTIONARY_PAGE).then_some(())?;
        usize::try_from(self.raw.numbers[0]?).ok()
    }

    /// The definition levels and the values of this data page without compression, of a column that does not repeat and has levels
    /// only where `is_optional`.
    pub(super) fn levels_and_values<'a>(&self, body: &'a [u8], is_optional: bool) -> Option<(&'a [u8], &'a [u8])> {
        if self.raw.kind == DATA_PAGE_2 {
            let repetition = usize::try_from(self.raw.numbers[5]?).ok()?;
            let definition = usize::try_from(self.raw.numbers[4]?).ok()?;
            return body.get(repetition..)?.split_at_checked(definition);
        }
        if !is_optional {
            return Some((&[], body));
        }
        let (length, rest) = body.split_first_chunk()?;
        rest.split_at_checked(u32::from_le_bytes(*length) as usize)
    }
}

/// Whether a codec needs a large context, of which [`append_unpacked`] keeps one for each thread. polars makes one for each chunk or page:
/// that takes time, and tens of thousands of 48 KiB for gzip, aligned, left so many holes in the heap that the memory went into them.
pub(super) fn has_context(codec: Compression) -> bool {
    matches!(codec, Compression::Zstd | Compression::Gzip)
}

/// Appends what `packed` unpacks to, `size` bytes.
fn append_unpacked(packed: &[u8], codec: Compression, size: usize, unpacked: &mut Vec<u8>) -> Option<()> {
    match codec {
        Compression::Zstd => append_zstd(packed, size, unpacked),
        Compression::Gzip => append_gzip(packed, size, unpacked),
        _ => {
            let start = unpacked.len();
            unpacked.resize(start.checked_add(size)?, 0);
            decompress(codec, packed, &mut unpacked[start..], &mut DecompressionContext::Unset).ok()
        }
    }
}

fn append_zstd(packed: &[u8], size: usize, unpacked: &mut Vec<u8>) -> Option<()> {
    thread_local! {
        static ZSTD: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
    }
    ZSTD.with_borrow_mut(|zstd| {
        if zstd.is_none() {
            *zstd = zstd::bulk::Decompressor::new().ok();
        }
        // Behind what is there, so that nothing is filled with zeros first.
        let start = unpacked.len() as u64;
        unpacked.reserve(size);
        let mut behind = Cursor::new(std::mem::take(unpacked));
        behind.set_position(start);
        let written = zstd.as_mut()?.decompress_to_buffer(packed, &mut behind).ok()?;
        *unpacked = behind.into_inner();
        (written == size).then_some(())
    })
}

/// As polars has it: the first `size` bytes, whatever follows them.
fn append_gzip(packed: &[u8], size: usize, unpacked: &mut Vec<u8>) -> Option<()> {
    thread_local! {
        static INFLATE: RefCell<Decompress> = RefCell::new(Decompress::new(false));
    }
    let deflated = behind_gzip_header(packed)?;
    let start = unpacked.len();
    unpacked.resize(start.checked_add(size)?, 0);
    INFLATE.with_borrow_mut(|inflate| {
        inflate.reset(false);
        inflate.decompress(deflated, &mut unpacked[start..], FlushDecompress::Finish).ok()?;
        (inflate.total_out() == size as u64).then_some(())
    })
}

/// What follows the header of a gzip member, as RFC 1952 has it.
fn behind_gzip_header(packed: &[u8]) -> Option<&[u8]> {
    let (&[0x1f, 0x8b, 8, flags, ..], mut left) = packed.split_first_chunk::<10>()? else { return None };
    let has = |bit: u8| flags >> bit & 1 == 1;
    if has(2) {
        let (length, extra) = left.split_first_chunk()?;
        left = extra.get(usize::from(u16::from_le_bytes(*length))..)?;
    }
    // Its name and a comment, each with a zero behind it.
    for _ in [3, 4].into_iter().filter(|bit| has(*bit)) {
        left = &left[memchr::memchr(0, left)? + 1..];
    }
    if has(1) {
        let header = &packed[..packed.len() - left.len()];
        let (checksum, deflated) = left.split_first_chunk()?;
        left = (u16::from_le_bytes(*checksum) == crc32fast::hash(header) as u16).then_some(deflated)?;
    }
    (flags >> 5 == 0).then_some(left)
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
        page.check_dictionary()?;
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
    use std::io::Write as _;

    use flate2::GzBuilder;
    use polars_parquet::parquet::page::ParquetPageHeader;
    use polars_parquet_format::thrift::protocol::TCompactOutputProtocol;
    use polars_parquet_format::{DataPageHeader, Encoding, PageType};

    use super::*;

    fn page(body: &[u8], checksum: Option<u32>) -> Vec<u8> {
        page_of(3, body, checksum)
    }

    fn page_of(values: i32, body: &[u8], checksum: Option<u32>) -> Vec<u8> {
        let size = i32::try_from(body.len()).unwrap();
        let data = DataPageHeader::new(values, Encoding::PLAIN, Encoding::RLE, Encoding::RLE, None);
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
    fn chunks_are_unpacked_page_by_page() {
        let packed = |body: &[u8]| zstd::bulk::compress(body, 1).unwrap();
        let with_sizes = |body: &[u8], size: usize| {
            let mut bytes = page(body, Some(7));
            let raw = RawPage::at_start_of(&bytes).unwrap();
            let mut header = Vec::new();
            RawPage { uncompressed: size as i32, ..raw }.write_uncompressed(&mut header).unwrap();
            // Its compressed size is written as the other one: set it apart.
            let with = RawPage::at_start_of(&header).unwrap();
            assert_eq!(with.compressed, size as i32);
            bytes.drain(..raw.header);
            (header, bytes)
        };
        let (one, two) = (b"abcabcabcabcabcabc".repeat(9), b"x".repeat(50));
        let chunk: Vec<u8> = [&one, &two]
            .into_iter()
            .flat_map(|body| {
                let packed = packed(body);
                let size = |number: usize| i32::try_from(number).unwrap();
                let data = DataPageHeader::new(3, Encoding::PLAIN, Encoding::RLE, Encoding::RLE, None);
                let kind = PageType::DATA_PAGE;
                let header =
                    ParquetPageHeader::new(kind, size(body.len()), size(packed.len()), Some(1), data, None, None, None);
                let mut bytes = Vec::new();
                header.write_to_out_protocol(&mut TCompactOutputProtocol::new(&mut bytes)).unwrap();
                [bytes, packed].concat()
            })
            .collect();
        let expected = [&one, &two].map(|body| {
            let (header, body) = with_sizes(body, body.len());
            [header, body].concat()
        });
        let zstd = |bytes: &[u8], rows: Range<usize>| Window::of(bytes, &rows, 1 << 20)?.unpacked(Compression::Zstd);
        assert_eq!(zstd(&chunk, 0..6), Some(expected.concat()));
        assert_eq!(zstd(&chunk, 3..6).as_ref(), Some(&expected[1]), "only pages that hold rows");
        assert_eq!(zstd(&chunk[..chunk.len() - 1], 0..6), None);
        assert_eq!(zstd(&page(b"no zstd", None), 0..3), None);
    }

    #[test]
    fn gzip_is_unpacked_as_polars_has_it() {
        let body = b"abcabcabcabcabc-abcabc".repeat(40);
        let plain = |builder: GzBuilder| {
            let mut packed = builder.write(Vec::new(), flate2::Compression::default());
            packed.write_all(&body).unwrap();
            packed.finish().unwrap()
        };
        let usual = plain(GzBuilder::new());
        let all_fields = plain(GzBuilder::new().extra(vec![7; 300]).filename("a name").comment("of it"));
        let with_checksum = |member: &[u8]| {
            let header = member.len() - behind_gzip_header(member).unwrap().len();
            let mut member = member.to_vec();
            member[3] |= 2;
            let checksum = (crc32fast::hash(&member[..header]) as u16).to_le_bytes();
            member.splice(header..header, checksum);
            (header, member)
        };
        let ((_, checked), (header, mut mistaken)) = (with_checksum(&usual), with_checksum(&all_fields));
        mistaken[header] ^= 1;
        let mut reserved = usual.clone();
        reserved[3] = 0x80;
        let stored = plain(GzBuilder::new().operating_system(3));
        let two = [usual.as_slice(), &usual].concat();
        let of = |packed: &[u8], size: usize| {
            let mut unpacked = b"before".to_vec();
            append_gzip(packed, size, &mut unpacked)?;
            assert_eq!(&unpacked[..6], b"before");
            Some(unpacked.split_off(6))
        };
        let by_polars = |packed: &[u8], size: usize| {
            let mut unpacked = vec![0; size];
            let done = decompress(Compression::Gzip, packed, &mut unpacked, &mut DecompressionContext::Unset);
            done.ok().map(|()| unpacked)
        };
        for packed in [&usual, &all_fields, &checked, &mistaken, &reserved, &stored, &two] {
            for size in [1, body.len() - 1, body.len(), body.len() + 1, 2 * body.len()] {
                assert_eq!(of(packed, size), by_polars(packed, size), "{size} bytes of {packed:?}");
            }
            assert_eq!(of(packed, body.len()).is_some(), *packed != mistaken && *packed != reserved);
            for cut in 0..packed.len() {
                let packed = &packed[..cut];
                assert_eq!(of(packed, body.len()), by_polars(packed, body.len()), "{cut}");
            }
        }
    }

    #[test]
    fn a_window_has_the_pages_of_its_rows() {
        let three = [page(b"abc", None), page(b"defgh", None), page(b"i", None)].concat();
        let of = |rows: Range<usize>| {
            Window::of(&three, &rows, 1 << 20)
                .map(|window| (window.first, window.values, window.unpacked, window.data.len()))
        };
        assert_eq!(of(0..9), Some((0, 9, 9, 3)));
        assert_eq!(of(2..4), Some((0, 6, 8, 2)));
        assert_eq!(of(3..6), Some((3, 3, 5, 1)));
        assert_eq!((of(0..10), of(0..0)), (None, None), "more rows than there are, and none");
        assert_eq!(Window::of(&three[..three.len() - 1], &(0..9), 1 << 20), None);
        let empty = page_of(0, b"", None);
        let with_empty = [&empty, &three[..], &empty].concat();
        let window = Window::of(&with_empty, &(2..9), 1 << 20).unwrap();
        assert_eq!((window.first, window.values, window.data.len()), (0, 9, 3), "pages of no values are passed over");
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
