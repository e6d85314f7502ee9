//! Gzip in: all members, whatever stands behind them named, and an end that is cut off never taken for the end.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;

/// What gzip begins with.
pub(super) const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// What is wrong with gzip data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Damage {
    /// It ends within a member.
    #[error("its gzip data is cut off")]
    CutOff,
    /// Its bytes or checksums are wrong.
    #[error("its gzip data is damaged ({0})")]
    Damaged(String),
    /// Something else stands behind it.
    #[error("something that is not gzip stands behind its gzip data")]
    Trailing,
}

/// Unpacks gzip. Zero bytes behind the data, as padding leaves them, are skipped as gzip itself does.
pub(super) struct Gunzip<R: Read> {
    state: State<R>,
}

enum State<R: Read> {
    Member(Box<GzDecoder<BufReader<R>>>),
    Between(BufReader<R>),
    Done,
}

impl<R: Read> Gunzip<R> {
    pub(super) fn new(packed: BufReader<R>) -> Self {
        Self { state: State::Member(Box::new(GzDecoder::new(packed))) }
    }
}

impl<R: Read> Read for Gunzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            self.state = match std::mem::replace(&mut self.state, State::Done) {
                State::Done => return Ok(0),
                State::Between(packed) => next_member(packed)?,
                State::Member(mut member) => match member.read(buffer) {
                    Ok(0) => State::Between(member.into_inner()),
                    read => {
                        self.state = State::Member(member);
                        return read.map_err(named);
                    }
                },
            };
        }
    }
}

fn next_member<R: Read>(mut packed: BufReader<R>) -> io::Result<State<R>> {
    loop {
        let ahead = packed.fill_buf()?;
        let zeros = ahead.iter().take_while(|byte| **byte == 0).count();
        match ahead.get(zeros) {
            Some(&first) if zeros == 0 && first == MAGIC[0] => {
                return Ok(State::Member(Box::new(GzDecoder::new(packed))));
            }
            Some(_) => return Err(io::Error::other(Damage::Trailing)),
            None if zeros == 0 => return Ok(State::Done),
            None => packed.consume(zeros),
        }
    }
}

/// Names what the decoder found; failures of what it reads from are passed on.
fn named(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::other(Damage::CutOff),
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
            io::Error::other(Damage::Damaged(error.to_string()))
        }
        _ => error,
    }
}

/// The damage behind an I/O error, if it is one.
pub(super) fn damage(error: &io::Error) -> Option<&Damage> {
    error.get_ref()?.downcast_ref()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    /// Gives out a byte at a time, so that every boundary is one between two reads.
    struct Dripping<'a>(&'a [u8]);

    impl Read for Dripping<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.0.len().min(1).min(buffer.len());
            self.0.read(&mut buffer[..count])
        }
    }

    fn unpacked(bytes: &[u8]) -> Result<Vec<u8>, Damage> {
        let mut text = Vec::new();
        let whole = Gunzip::new(BufReader::new(bytes)).read_to_end(&mut text);
        let mut dripped = Vec::new();
        let by_bytes = Gunzip::new(BufReader::new(Dripping(bytes))).read_to_end(&mut dripped);
        assert_eq!((whole.is_ok(), &text), (by_bytes.is_ok(), &dripped));
        whole.map(|_| text).map_err(|error| damage(&error).cloned().unwrap_or_else(|| panic!("{error}")))
    }

    #[test]
    fn members_follow_one_another_and_padding_is_skipped() {
        let (one, two) = (packed(b"a,b\n1,2\n"), packed(b"3,4\n"));
        assert_eq!(unpacked(&one).unwrap(), b"a,b\n1,2\n");
        assert_eq!(unpacked(&[&one[..], &two, &packed(b"")].concat()).unwrap(), b"a,b\n1,2\n3,4\n");
        assert_eq!(unpacked(&[&one[..], &[0; 70_000]].concat()).unwrap(), b"a,b\n1,2\n");
        assert_eq!(unpacked(&packed(b"")).unwrap(), b"");
    }

    #[test]
    fn what_is_cut_off_damaged_or_something_else_is_named() {
        let long: Vec<u8> =
            (0..200_000_u32).flat_map(|number| (number.wrapping_mul(2_654_435_761)).to_le_bytes()).collect();
        let whole = [packed(b"a,b\n1,2\n"), packed(&long)].concat();
        let first = packed(b"a,b\n1,2\n").len();
        for end in [5, first - 1, first - 8, first + 1, first + 5, whole.len() / 2, whole.len() - 1] {
            assert_eq!(unpacked(&whole[..end]), Err(Damage::CutOff), "{end}");
        }
        for behind in [&b"trailing"[..], b"\0\0x", b"\n", b"\0\x1f\x8b"] {
            assert_eq!(unpacked(&[&whole[..first], behind].concat()), Err(Damage::Trailing), "{behind:?}");
        }
        assert!(matches!(unpacked(&[&whole[..first], b"\x1fx"].concat()), Err(Damage::Damaged(_) | Damage::CutOff)));
        let mut wrong_sum = whole.clone();
        wrong_sum[first - 5] ^= 1;
        assert!(matches!(unpacked(&wrong_sum), Err(Damage::Damaged(_))));
    }
}
