//! A reader for the part of UBJSON (<https://ubjson.org>) that XGBoost writes.
//!
//! XGBoost's own reader trusts its input: it copies as many bytes as a length says and recurses as deep as the input
//! nests. This one accepts the same documents, and only those, within bounds: nothing is read outside the input,
//! nothing is allocated on the word of a length, nesting and the number of values are limited.

/// Deeper nesting than any model has (a tree's parameters lie at level 7).
const MAX_DEPTH: u32 = 24;
/// More values than a model of 150,000 trees has; bounds the memory that a document of tiny values can take.
const MAX_VALUES: usize = 4_000_000;

/// One value of a document; strings and typed arrays borrow from it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(&'a str),
    Array(Vec<Value<'a>>),
    Object(Vec<(&'a str, Value<'a>)>),
    Typed(TypedArray<'a>),
}

/// An array of numbers of one type, stored as big-endian bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct TypedArray<'a> {
    kind: u8,
    bytes: &'a [u8],
}

impl<'a> TypedArray<'a> {
    /// The values, if the array is one of 32-bit floats (`d`).
    pub(super) fn floats(self) -> Option<impl ExactSizeIterator<Item = f32> + 'a> {
        (self.kind == b'd').then(|| self.words().map(f32::from_be_bytes))
    }

    /// The values, if the array is one of 32-bit integers (`l`).
    pub(super) fn integers(self) -> Option<impl ExactSizeIterator<Item = i32> + 'a> {
        (self.kind == b'l').then(|| self.words().map(i32::from_be_bytes))
    }

    /// The values, if the array is one of 64-bit integers (`L`).
    pub(super) fn long_integers(self) -> Option<impl ExactSizeIterator<Item = i64> + 'a> {
        (self.kind == b'L').then(|| self.words().map(i64::from_be_bytes))
    }

    /// The values, if the array is one of unsigned bytes (`U`).
    pub(super) fn bytes(self) -> Option<&'a [u8]> {
        (self.kind == b'U').then_some(self.bytes)
    }

    /// True where the array has no values, whatever their type.
    pub(super) fn is_empty(self) -> bool {
        self.bytes.is_empty()
    }

    fn words<const N: usize>(self) -> impl ExactSizeIterator<Item = [u8; N]> + 'a {
        self.bytes.as_chunks::<N>().0.iter().copied()
    }
}

/// Reads one document, which must take up all of `bytes`. The error says what is wrong, and at which byte.
pub(super) fn parse(bytes: &[u8]) -> Result<Value<'_>, String> {
    let mut reader = Reader { bytes, at: 0, values: 0 };
    let value = reader.value(0).map_err(|what| reader.locate(what))?;
    if reader.at != bytes.len() {
        return Err(reader.locate("there is more after the end"));
    }
    Ok(value)
}

/// Writes documents as XGBoost's reader takes them.
#[derive(Debug, Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Begins an object (`{`) or an array (`[`).
    pub(super) fn open(&mut self, bracket: u8) {
        self.bytes.push(bracket);
    }

    pub(super) fn close(&mut self, bracket: u8) {
        self.bytes.push(bracket);
    }

    /// The name of an object's next member.
    pub(super) fn name(&mut self, name: &str) {
        self.length(name.len());
        self.bytes.extend_from_slice(name.as_bytes());
    }

    pub(super) fn value(&mut self, value: &Value<'_>) {
        match value {
            Value::Null => self.bytes.push(b'Z'),
            Value::Bool(flag) => self.bytes.push(if *flag { b'T' } else { b'F' }),
            Value::Integer(integer) => self.number(b'L', integer.to_be_bytes()),
            Value::Float(float) => self.number(b'D', float.to_be_bytes()),
            Value::Text(text) => {
                self.bytes.push(b'S');
                self.name(text);
            }
            Value::Array(values) => self.array(values),
            Value::Object(members) => {
                self.open(b'{');
                for (name, value) in members {
                    self.name(name);
                    self.value(value);
                }
                self.close(b'}');
            }
            Value::Typed(array) => {
                self.typed(array.kind, array.bytes.len() / width(array.kind).unwrap_or(1));
                self.bytes.extend_from_slice(array.bytes);
            }
        }
    }

    pub(super) fn array<'v, 'a: 'v>(&mut self, values: impl IntoIterator<Item = &'v Value<'a>>) {
        self.open(b'[');
        values.into_iter().for_each(|value| self.value(value));
        self.close(b']');
    }

    pub(super) fn integers(&mut self, integers: &[i64]) {
        self.array(&integers.iter().map(|integer| Value::Integer(*integer)).collect::<Vec<_>>());
    }

    pub(super) fn texts<'t>(&mut self, texts: impl Iterator<Item = &'t str>) {
        self.array(&texts.map(Value::Text).collect::<Vec<_>>());
    }

    /// A typed array of 32-bit integers.
    pub(super) fn typed_integers(&mut self, integers: &[i32]) {
        self.typed(b'l', integers.len());
        self.bytes.extend(integers.iter().flat_map(|integer| integer.to_be_bytes()));
    }

    /// A typed array of 32-bit floats.
    pub(super) fn typed_floats(&mut self, floats: &[f32]) {
        self.typed(b'd', floats.len());
        self.bytes.extend(floats.iter().flat_map(|float| float.to_be_bytes()));
    }

    fn typed(&mut self, kind: u8, length: usize) {
        self.bytes.extend([b'[', b'$', kind, b'#']);
        self.length(length);
    }

    fn length(&mut self, length: usize) {
        self.number(b'L', (length as i64).to_be_bytes());
    }

    fn number<const N: usize>(&mut self, kind: u8, bytes: [u8; N]) {
        self.bytes.push(kind);
        self.bytes.extend(bytes);
    }
}

/// Bytes of a number of this type in a typed array.
fn width(kind: u8) -> Option<usize> {
    match kind {
        b'i' | b'U' => Some(1),
        b'I' => Some(2),
        b'd' | b'l' => Some(4),
        b'D' | b'L' => Some(8),
        _ => None,
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    values: usize,
}

type Parsed<T> = Result<T, &'static str>;

impl<'a> Reader<'a> {
    fn locate(&self, what: &str) -> String {
        format!("{what} (byte {} of {})", self.at, self.bytes.len())
    }

    fn value(&mut self, depth: u32) -> Parsed<Value<'a>> {
        if depth > MAX_DEPTH {
            return Err("values nest too deep");
        }
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err("too many values");
        }
        match self.byte()? {
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'Z' => Ok(Value::Null),
            b'T' => Ok(Value::Bool(true)),
            b'F' => Ok(Value::Bool(false)),
            b'd' => self.word().map(|word| Value::Float(f32::from_be_bytes(word).into())),
            b'D' => self.word().map(|word| Value::Float(f64::from_be_bytes(word))),
            b'S' => self.text().map(Value::Text),
            b'i' | b'C' => self.word().map(|word| Value::Integer(i8::from_be_bytes(word).into())),
            b'U' => self.word().map(|word| Value::Integer(u8::from_be_bytes(word).into())),
            b'I' => self.word().map(|word| Value::Integer(i16::from_be_bytes(word).into())),
            b'l' => self.word().map(|word| Value::Integer(i32::from_be_bytes(word).into())),
            b'L' => self.word().map(|word| Value::Integer(i64::from_be_bytes(word))),
            _ => Err("unknown type of value"),
        }
    }

    fn object(&mut self, depth: u32) -> Parsed<Value<'a>> {
        let mut members: Vec<(&str, Value<'_>)> = Vec::new();
        while self.peek()? != b'}' {
            let name = self.text()?;
            let value = self.value(depth + 1)?;
            members.push((name, value));
        }
        self.at += 1;
        Ok(Value::Object(members))
    }

    fn array(&mut self, depth: u32) -> Parsed<Value<'a>> {
        match self.peek()? {
            b'$' => self.typed_array().map(Value::Typed),
            b'#' => self.counted_array(depth),
            _ => self.open_array(depth),
        }
    }

    fn open_array(&mut self, depth: u32) -> Parsed<Value<'a>> {
        let mut values = Vec::new();
        while self.peek()? != b']' {
            values.push(self.value(depth + 1)?);
        }
        self.at += 1;
        Ok(Value::Array(values))
    }

    fn counted_array(&mut self, depth: u32) -> Parsed<Value<'a>> {
        self.expect(b'#')?;
        let count = self.length()?;
        let mut values = Vec::new();
        for _ in 0..count {
            values.push(self.value(depth + 1)?);
        }
        Ok(Value::Array(values))
    }

    fn typed_array(&mut self) -> Parsed<TypedArray<'a>> {
        self.expect(b'$')?;
        let kind = self.byte()?;
        let width = width(kind).ok_or("unknown type of a typed array")?;
        self.expect(b'#')?;
        let count = self.length()?;
        let size = count.checked_mul(width).ok_or("an array is longer than the file")?;
        let bytes = self.take(size)?;
        Ok(TypedArray { kind, bytes })
    }

    fn text(&mut self) -> Parsed<&'a str> {
        let size = self.length()?;
        std::str::from_utf8(self.take(size)?).map_err(|_| "a string is not UTF-8")
    }

    fn length(&mut self) -> Parsed<usize> {
        self.expect(b'L')?;
        let length = i64::from_be_bytes(self.word()?);
        let length = usize::try_from(length).map_err(|_| "a length is negative")?;
        // Every element takes a byte or more, so a length beyond the input can be refused before anything is done.
        if length > self.bytes.len() - self.at {
            return Err("a length goes beyond the end of the file");
        }
        Ok(length)
    }

    fn expect(&mut self, expected: u8) -> Parsed<()> {
        match self.byte()? == expected {
            true => Ok(()),
            false => Err("not as XGBoost writes it"),
        }
    }

    fn peek(&self) -> Parsed<u8> {
        self.bytes.get(self.at).copied().ok_or("the file ends too early")
    }

    fn byte(&mut self) -> Parsed<u8> {
        self.word().map(|[byte]| byte)
    }

    fn word<const N: usize>(&mut self) -> Parsed<[u8; N]> {
        let (word, _) = self.bytes[self.at..].split_first_chunk().ok_or("the file ends too early")?;
        self.at += N;
        Ok(*word)
    }

    fn take(&mut self, size: usize) -> Parsed<&'a [u8]> {
        let taken = self.bytes[self.at..].get(..size).ok_or("the file ends too early")?;
        self.at += size;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_kind_of_value() {
        let document = b"{L\0\0\0\0\0\0\0\x01a[#L\0\0\0\0\0\0\0\x03i\xffTZL\0\0\0\0\0\0\0\x01b[$l#L\0\0\0\0\0\0\0\x02\0\0\0\x01\xff\xff\xff\xff}";
        let Ok(Value::Object(members)) = parse(document) else { panic!("not an object") };
        let expected = vec![Value::Integer(-1), Value::Bool(true), Value::Null];
        assert_eq!(members[0], ("a", Value::Array(expected)));
        let Value::Typed(array) = members[1].1 else { panic!("not a typed array") };
        assert_eq!(array.integers().unwrap().collect::<Vec<_>>(), [1, -1]);
        assert!(array.floats().is_none() && array.long_integers().is_none() && array.bytes().is_none());
    }

    #[test]
    fn writes_what_it_reads() {
        let members = vec![
            ("nothing", Value::Null),
            ("flags", Value::Array(vec![Value::Bool(true), Value::Bool(false)])),
            ("numbers", Value::Array(vec![Value::Integer(-7), Value::Float(0.1)])),
            ("text", Value::Text("ä")),
            ("bytes", Value::Typed(TypedArray { kind: b'U', bytes: &[1, 2, 3] })),
            ("long", Value::Typed(TypedArray { kind: b'L', bytes: &[0; 16] })),
        ];
        let document = Value::Object(members);
        let mut writer = Writer::default();
        writer.value(&document);
        let bytes = writer.into_bytes();
        assert_eq!(parse(&bytes).unwrap(), document);
        let mut writer = Writer::default();
        writer.open(b'[');
        writer.typed_integers(&[1, -2]);
        writer.typed_floats(&[0.5]);
        writer.integers(&[3]);
        writer.texts(["a"].into_iter());
        writer.close(b']');
        let bytes = writer.into_bytes();
        let Ok(Value::Array(values)) = parse(&bytes) else { panic!("not an array") };
        let [Value::Typed(integers), Value::Typed(floats), rest @ ..] = &values[..] else { panic!("not typed") };
        assert_eq!(integers.integers().unwrap().collect::<Vec<_>>(), [1, -2]);
        assert_eq!(floats.floats().unwrap().collect::<Vec<_>>(), [0.5]);
        assert_eq!(rest, [Value::Array(vec![Value::Integer(3)]), Value::Array(vec![Value::Text("a")])]);
    }

    #[test]
    fn refuses_lengths_beyond_the_input_without_allocating() {
        for length in [i64::MAX, i64::MAX / 8 + 1, i64::MIN, -1, 1 << 40, 9] {
            for head in [&b"[$L#L"[..], b"[#L", b"SL", b"{L"] {
                let mut document = head.to_vec();
                document.extend(length.to_be_bytes());
                document.extend([b'Z'; 8]);
                assert!(parse(&document).is_err(), "{head:?} {length}");
            }
        }
    }

    #[test]
    fn refuses_deep_nesting_truncation_and_trailing_bytes() {
        assert!(parse(&[b'['; 1 << 20]).is_err());
        assert!(parse(b"[[]]").is_ok());
        assert!(parse(b"[[]]Z").is_err());
        assert!(parse(b"[[]").is_err());
        assert!(parse(b"").is_err());
    }
}
