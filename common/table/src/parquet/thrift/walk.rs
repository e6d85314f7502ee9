//! One pass over bytes of Thrift's compact protocol, believing none of them.

use super::fields::Kind::{self, Integer, List, Struct, Union};

/// Structs and lists within each other, beyond which nothing is believed. Footers have six.
const DEPTH_MOST: usize = 32;

/// Bytes of the protocol and how far they are read.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    bytes: &'a [u8],
    /// Where the next value stands.
    pub(super) at: usize,
    /// Where the headers of fields are that hold a union of something unknown.
    pub(super) unknown: Vec<usize>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, unknown: Vec::new() }
    }
}

impl Walk<'_> {
    /// What the protocol calls the kind of the next field, whose number replaces that of the one before; none at the end of the
    /// structure.
    pub(super) fn next_field(&mut self, field: &mut i64) -> Result<Option<u8>, String> {
        let header = self.byte()?;
        let number = header & 0x0f;
        if number == 0 {
            return Ok(None);
        }
        *field = match header >> 4 {
            // The field's number follows; otherwise its distance to the one before is in the header.
            0 => unzigzag(self.varint()?),
            distance => *field + i64::from(distance),
        };
        // polars keeps the lower 16 bits, and so would take it for another.
        if i16::try_from(*field).is_err() {
            return Err(format!("a structure has a field {field}, which no footer has"));
        }
        Ok(Some(number))
    }

    /// Passes over the value of a field, which must be what `fields` say; whether they say it. Its header stands at `header`.
    pub(super) fn skip_field(
        &mut self,
        fields: &[(i64, Kind)],
        field: i64,
        number: u8,
        header: usize,
        depth: usize,
    ) -> Result<bool, String> {
        let known = fields.iter().find(|(of, _)| *of == field).map(|(_, kind)| *kind);
        if known.is_some_and(|kind| !kind.is(number)) {
            return Err(format!("field {field} of a structure is of the kind {number}"));
        }
        match known {
            Some(Union(fields)) => {
                if !self.skip_struct(fields, depth + 1)? {
                    self.unknown.push(header);
                }
            }
            // A boolean's value is its kind.
            _ if matches!(number, 1 | 2) => {}
            _ => self.skip_value(number, known, depth)?,
        }
        Ok(known.is_some())
    }

    /// Whether it has a field that is known.
    fn skip_struct(&mut self, fields: &[(i64, Kind)], depth: usize) -> Result<bool, String> {
        if depth > DEPTH_MOST {
            return Err("its structures are nested too deeply".to_owned());
        }
        let (mut field, mut has_known) = (0_i64, false);
        loop {
            let header = self.at;
            let Some(number) = self.next_field(&mut field)? else { return Ok(has_known) };
            has_known |= self.skip_field(fields, field, number, header, depth)?;
        }
    }

    /// The number that a field of this kind has.
    pub(super) fn integer(&mut self, number: u8) -> Result<i64, String> {
        if !Integer.is(number) {
            return Err(format!("a number is of the kind {number}"));
        }
        Ok(unzigzag(self.varint()?))
    }

    /// The number that stands there.
    pub(super) fn number_at(&self, at: usize) -> Result<i64, String> {
        Ok(unzigzag(Walk { bytes: self.bytes, at, unknown: Vec::new() }.varint()?))
    }

    fn skip_value(&mut self, number: u8, known: Option<Kind>, depth: usize) -> Result<(), String> {
        match number {
            3 => self.skip(1),
            4..=6 => self.varint().map(drop),
            7 => self.skip(8),
            8 => {
                let length = self.varint()?;
                self.skip(length)
            }
            9 => self.skip_list(if let Some(List(of)) = known { Some(*of) } else { None }, depth + 1),
            12 => self.skip_struct(if let Some(Struct(fields)) = known { fields } else { &[] }, depth + 1).map(drop),
            other => Err(format!("a value of the kind {other}, which no footer has")),
        }
    }

    fn skip_list(&mut self, known: Option<Kind>, depth: usize) -> Result<(), String> {
        let (length, number) = self.list_length()?;
        if depth > DEPTH_MOST {
            return Err("its structures are nested too deeply".to_owned());
        }
        if length > 0 && known.is_some_and(|kind| !kind.is(number)) {
            return Err(format!("the elements of a list are of the kind {number}"));
        }
        (0..length).try_for_each(|_| self.skip_value(number, known, depth))
    }

    /// How many elements the next list has, and of which kind.
    pub(super) fn list_length(&mut self) -> Result<(u64, u8), String> {
        let header = self.byte()?;
        let length = if header >> 4 == 15 { self.varint()? } else { u64::from(header >> 4) };
        // Every value takes a byte at least.
        let left = self.bytes.len() - self.at;
        if length > left as u64 {
            return Err(format!("a list says that it has {length} elements, in {left} bytes"));
        }
        Ok((length, header & 0x0f))
    }

    fn byte(&mut self) -> Result<u8, String> {
        let byte = self.bytes.get(self.at).ok_or_else(cut_off)?;
        self.at += 1;
        Ok(*byte)
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
        let end = usize::try_from(bytes).ok().and_then(|bytes| self.at.checked_add(bytes));
        self.at = end.filter(|end| *end <= self.bytes.len()).ok_or_else(cut_off)?;
        Ok(())
    }
}

/// How a small number that is not negative is written.
pub(super) const fn zigzag(number: u8) -> u8 {
    number << 1
}

/// The number that is written so.
fn unzigzag(written: u64) -> i64 {
    ((written >> 1) ^ (written & 1).wrapping_neg()).cast_signed()
}

fn cut_off() -> String {
    "it is cut off".to_owned()
}
