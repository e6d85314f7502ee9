//! Whether bytes are whole enough for XGBoost's loader, which trusts every length it reads: its UBJSON reader copies
//! strings and arrays without a look at the end of the buffer, and recurses as deep as the bytes say.
//!
//! The grammar is the one that XGBoost reads (src/common/json.cc, `UBJReader`), a subset of <https://ubjson.org>.

use serde::de::IgnoredAny;

/// Nesting that is let through: XGBoost's own files stay below 12 levels.
const MAX_DEPTH: usize = 64;

/// Whether this is one complete object, as UBJSON or as JSON, with nothing behind it.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    let Some(inner) = bytes.strip_prefix(b"{") else {
        return false;
    };
    if inner.trim_ascii_start().first() == Some(&b'"') {
        return serde_json::from_slice::<IgnoredAny>(bytes).is_ok();
    }
    let mut reader = Reader { rest: inner };
    // An empty object has nothing for XGBoost, and its guess of the format fails on it.
    reader.rest.first() == Some(&b'L') && reader.object(0).is_some() && reader.rest.is_empty()
}

/// What has not been read yet.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads this many bytes.
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.rest.split_at_checked(length)?;
        self.rest = tail;
        Some(head)
    }

    /// Reads one byte.
    fn byte(&mut self) -> Option<u8> {
        let (head, tail) = self.rest.split_first()?;
        self.rest = tail;
        Some(*head)
    }

    /// Reads this very byte.
    fn expect(&mut self, expected: u8) -> Option<()> {
        (self.byte()? == expected).then_some(())
    }

    /// Reads a length: `L` and 8 bytes, most significant first.
    fn length(&mut self) -> Option<usize> {
        self.expect(b'L')?;
        let bytes = self.take(8)?.try_into().ok()?;
        usize::try_from(i64::from_be_bytes(bytes)).ok()
    }

    /// Reads a length and so many bytes.
    fn text(&mut self) -> Option<()> {
        let length = self.length()?;
        self.take(length).map(drop)
    }

    /// Reads keys and values up to the closing brace; the opening one is behind.
    fn object(&mut self, depth: usize) -> Option<()> {
        while self.rest.first() != Some(&b'}') {
            self.text()?;
            self.value(depth + 1)?;
        }
        self.expect(b'}')
    }

    /// Reads an array; the opening bracket is behind.
    fn array(&mut self, depth: usize) -> Option<()> {
        match self.rest.first()? {
            b'$' => self.typed_array(),
            b'#' => self.counted_array(depth),
            _ => self.open_array(depth),
        }
    }

    /// Reads `$type#count` and the bare values.
    fn typed_array(&mut self) -> Option<()> {
        self.expect(b'$')?;
        let width = width(self.byte()?)?;
        self.expect(b'#')?;
        let length = self.length()?.checked_mul(width)?;
        self.take(length).map(drop)
    }

    /// Reads `#count` and so many values, each of a byte at least.
    fn counted_array(&mut self, depth: usize) -> Option<()> {
        self.expect(b'#')?;
        let length = self.length()?;
        if length > self.rest.len() {
            return None;
        }
        (0..length).try_for_each(|_| self.value(depth + 1))
    }

    /// Reads values up to the closing bracket.
    fn open_array(&mut self, depth: usize) -> Option<()> {
        while self.rest.first() != Some(&b']') {
            self.value(depth + 1)?;
        }
        self.expect(b']')
    }

    /// Reads one value.
    fn value(&mut self, depth: usize) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        match self.byte()? {
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'S' => self.text(),
            b'Z' | b'T' | b'F' => Some(()),
            b'C' => self.take(1).map(drop),
            number => self.take(width(number)?).map(drop),
        }
    }
}

/// Bytes of a number of this type.
fn width(marker: u8) -> Option<usize> {
    match marker {
        b'i' | b'U' => Some(1),
        b'I' => Some(2),
        b'l' | b'd' => Some(4),
        b'L' | b'D' => Some(8),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An object with every kind of value.
    fn sample() -> Vec<u8> {
        let mut bytes = b"{".to_vec();
        let long = |bytes: &mut Vec<u8>, value: u64| {
            bytes.push(b'L');
            bytes.extend(value.to_be_bytes());
        };
        let values: [&[u8]; 9] = [b"Z", b"T", b"F", b"C!", b"i1", b"I12", b"l1234", b"[i1i2]", b"{}"];
        for value in values {
            long(&mut bytes, 3);
            bytes.extend(b"key");
            bytes.extend(value);
        }
        long(&mut bytes, 0);
        bytes.extend(b"[$d#");
        long(&mut bytes, 2);
        bytes.extend(b"12345678");
        long(&mut bytes, 0);
        bytes.extend(b"[#");
        long(&mut bytes, 2);
        bytes.extend(b"TF");
        long(&mut bytes, 0);
        bytes.push(b'S');
        long(&mut bytes, 2);
        bytes.extend(b"}}}");
        bytes
    }

    #[test]
    fn only_whole_objects_are_let_through() {
        let whole = sample();
        assert!(is_whole(&whole));
        assert!((0..whole.len()).all(|length| !is_whole(&whole[..length])));
        assert!(!is_whole(&[whole, b" ".to_vec()].concat()));
        assert!(is_whole(br#"{ "learner": [1, {"a": "b"}] }"#));
        assert!(!is_whole(br#"{"learner": [1"#));
        assert!(!is_whole(b"[]") && !is_whole(b"{}") && !is_whole(b""));
    }

    #[test]
    fn lengths_beyond_the_end_and_endless_nesting_are_refused() {
        let mut huge = b"{L\0\0\0\0\0\0\0\x01k[$D#L".to_vec();
        huge.extend(0x2000_0000_0000_0001_u64.to_be_bytes());
        huge.extend(b"12345678}");
        assert!(!is_whole(&huge));
        let mut negative = b"{L\0\0\0\0\0\0\0\x01kSL".to_vec();
        negative.extend((-1_i64).to_be_bytes());
        assert!(!is_whole(&[negative, b"}".to_vec()].concat()));
        let mut deep = b"{L\0\0\0\0\0\0\0\x01k".to_vec();
        deep.extend(vec![b'['; 100_000]);
        assert!(!is_whole(&deep));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..64), at in 0_usize..200, with in any::<u8>()) {
            is_whole(&bytes);
            bytes.splice(0..0, *b"{L\0\0\0\0\0\0\0\0");
            is_whole(&bytes);
            let mut changed = sample();
            let at = at % changed.len();
            changed[at] = with;
            is_whole(&changed);
        }
    }
}
