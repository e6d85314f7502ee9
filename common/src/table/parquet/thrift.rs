//! Whether bytes are a struct in Thrift's compact protocol whose lists hold as many elements as they say.
//!
//! polars' decoder of footers makes room for as many elements as a list says it has before it reads the first one: a damaged
//! footer of 3 KB asked for more memory than there is, which ends the process. Found by the fuzz target `parquet_input`.
//! `polars-parquet-format` has a bounded reader too, but it passes over bytes only where they are UTF-8, which statistics and
//! fields of later versions of the format need not be.
//! The encoding: <https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>.

/// Structs and lists within each other, beyond which nothing is believed. Footers have six.
const DEPTH_MOST: usize = 32;

/// # Errors
/// What is wrong with the bytes.
pub(super) fn check(bytes: &[u8]) -> Result<(), String> {
    Walk { rest: bytes }.skip_struct(0)
}

struct Walk<'a> {
    rest: &'a [u8],
}

impl Walk<'_> {
    fn skip_struct(&mut self, depth: usize) -> Result<(), String> {
        if depth > DEPTH_MOST {
            return Err("its structures are nested too deeply".to_owned());
        }
        loop {
            let header = self.byte()?;
            let kind = header & 0x0f;
            if kind == 0 {
                return Ok(());
            }
            if header >> 4 == 0 {
                // The field's number; otherwise its distance to the one before is in the header.
                self.varint()?;
            }
            // A boolean's value is its kind.
            if !matches!(kind, 1 | 2) {
                self.skip_value(kind, depth)?;
            }
        }
    }

    fn skip_value(&mut self, kind: u8, depth: usize) -> Result<(), String> {
        match kind {
            1..=3 => self.skip(1),
            4..=6 => self.varint().map(drop),
            7 => self.skip(8),
            8 => {
                let length = self.varint()?;
                self.skip(length)
            }
            9 | 10 => self.skip_list(depth + 1),
            11 => self.skip_map(depth + 1),
            12 => self.skip_struct(depth + 1),
            13 => self.skip(16),
            other => Err(format!("a value of the unknown kind {other}")),
        }
    }

    fn skip_list(&mut self, depth: usize) -> Result<(), String> {
        let header = self.byte()?;
        let length = if header >> 4 == 15 { self.varint()? } else { u64::from(header >> 4) };
        self.skip_values(length, &[header & 0x0f], depth)
    }

    fn skip_map(&mut self, depth: usize) -> Result<(), String> {
        let length = self.varint()?;
        if length == 0 {
            return Ok(());
        }
        let kinds = self.byte()?;
        self.skip_values(length, &[kinds >> 4, kinds & 0x0f], depth)
    }

    fn skip_values(&mut self, length: u64, kinds: &[u8], depth: usize) -> Result<(), String> {
        // Every value takes a byte at least.
        if length > self.rest.len() as u64 {
            return Err(format!("a list says that it has {length} elements, in {} bytes", self.rest.len()));
        }
        if depth > DEPTH_MOST {
            return Err("its structures are nested too deeply".to_owned());
        }
        for _ in 0..length {
            kinds.iter().try_for_each(|kind| self.skip_value(*kind, depth))?;
        }
        Ok(())
    }

    fn byte(&mut self) -> Result<u8, String> {
        let (first, rest) = self.rest.split_first().ok_or_else(cut_off)?;
        self.rest = rest;
        Ok(*first)
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a number has more than 64 bits".to_owned())
    }

    fn skip(&mut self, bytes: u64) -> Result<(), String> {
        let skipped = usize::try_from(bytes).ok().and_then(|bytes| self.rest.get(bytes..));
        self.rest = skipped.ok_or_else(cut_off)?;
        Ok(())
    }
}

fn cut_off() -> String {
    "it is cut off".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_every_kind_are_passed_over() {
        let bytes = [
            0x11, // field 1: true
            0x15, 0x96, 0x01, // field 2: a number of two bytes
            0x18, 0x02, b'a', b'b', // field 3: bytes
            0x19, 0x25, 0x02, 0x04, // field 4: two numbers
            0x19, 0x1c, 0x12, 0x00, // field 5: a list of one struct, which has one boolean
            0x1b, 0x01, 0x85, 0x01, b'k', 0x02, // field 6: a map
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
        let message = check(&[0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x00]).unwrap_err();
        assert!(message.contains("4294967295 elements"), "{message}");
        assert!(check(&[0x19, 0x5c, 0x00, 0x00]).is_err());
    }

    #[test]
    fn deep_nesting_ends() {
        assert!(check(&[0x1c; 10_000]).unwrap_err().contains("deeply"));
        let lists: Vec<u8> = std::iter::once(0x19).chain([0x19; 10_000]).collect();
        assert!(check(&lists).unwrap_err().contains("deeply"));
    }
}
