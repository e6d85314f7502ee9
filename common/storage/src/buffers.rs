//! Buffers of ranged reads that are used again and again.
//!
//! A run reads gigabytes in pieces of a few MiB. Given back to the allocator, such pieces leave holes that nothing else fits
//! into, and memory grows with the input (10 M rows: 227 MiB, 30 M: 278); given back to the kernel, each costs its page faults
//! again (30 M rows took a fifth longer). So a store keeps as many as its reader says.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// Smaller and larger reads than these have a buffer of their own: of tens of thousands of small objects, thousands are read at a time.
const SMALLEST: usize = 64 * 1024;
const LARGEST: usize = 16 * 1024 * 1024;

/// Buffers that wait to be used again.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    shelf: Mutex<Shelf>,
}

#[derive(Debug, Default)]
struct Shelf {
    free: Vec<Vec<u8>>,
    /// Bytes of the free buffers.
    free_bytes: usize,
    /// Bytes of the buffers that are in use and will come back.
    lent_bytes: usize,
    /// The most of both together that free buffers are kept for.
    most: usize,
}

impl Buffers {
    /// From now on, keeps up to `most` bytes of buffers, those in use included; 0 keeps none.
    pub(super) fn keep(&self, most: usize) {
        let mut shelf = self.shelf();
        shelf.most = most;
        shelf.make_room_for(0);
    }

    /// A buffer of `len` bytes, of any content.
    pub(super) fn take(self: &Arc<Self>, len: usize) -> Buffer {
        let mut shelf = self.shelf();
        if shelf.most == 0 || !(SMALLEST..=LARGEST).contains(&len) {
            drop(shelf);
            return Buffer { bytes: vec![0; len], len, home: None };
        }
        let bytes = shelf.take(len).unwrap_or_else(|| {
            let capacity = capacity_for(len);
            shelf.make_room_for(capacity);
            vec![0; capacity]
        });
        shelf.lent_bytes += bytes.len();
        drop(shelf);
        Buffer { bytes, len, home: Some(Arc::clone(self)) }
    }

    fn give_back(&self, bytes: Vec<u8>) {
        let mut shelf = self.shelf();
        shelf.lent_bytes -= bytes.len();
        if shelf.lent_bytes + shelf.free_bytes + bytes.len() <= shelf.most {
            shelf.free_bytes += bytes.len();
            shelf.free.push(bytes);
        }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// So that reads of about one size share buffers, which take a quarter more than is read at most.
fn capacity_for(len: usize) -> usize {
    len.next_multiple_of(len.next_power_of_two() / 8)
}

impl Shelf {
    /// The smallest free buffer that holds `len` bytes, if it is not twice as large: plans count what is read.
    fn take(&mut self, len: usize) -> Option<Vec<u8>> {
        let fitting = self.free.iter().enumerate().filter(|(_, bytes)| (len..2 * len).contains(&bytes.len()));
        let (place, _) = fitting.min_by_key(|(_, bytes)| bytes.len())?;
        let bytes = self.free.swap_remove(place);
        self.free_bytes -= bytes.len();
        Some(bytes)
    }

    /// Frees buffers until `more` bytes fit, as far as there are any.
    fn make_room_for(&mut self, more: usize) {
        while self.lent_bytes + self.free_bytes + more > self.most {
            let Some(bytes) = self.free.pop() else { return };
            self.free_bytes -= bytes.len();
        }
    }
}

/// A buffer that is being filled; its bytes can be shared then, and it goes back when the last of them is dropped.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    len: usize,
    home: Option<Arc<Buffers>>,
}

impl Buffer {
    /// The bytes, to be filled.
    pub(super) fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }

    /// The filled bytes.
    pub(super) fn filled(mut self) -> Bytes {
        match self.home {
            Some(_) => Bytes::from_owner(self),
            None => Bytes::from(std::mem::take(&mut self.bytes)),
        }
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            home.give_back(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(buffers: &Arc<Buffers>, len: usize, byte: u8) -> Bytes {
        let mut buffer = buffers.take(len);
        buffer.as_mut().fill(byte);
        buffer.filled()
    }

    const GRAIN: usize = 256 * 1024;

    fn kept(buffers: &Buffers) -> (usize, usize) {
        let shelf = buffers.shelf();
        (shelf.free_bytes, shelf.lent_bytes)
    }

    #[test]
    fn a_buffer_comes_back_with_the_last_of_its_bytes() {
        let buffers = Arc::new(Buffers::default());
        buffers.keep(4 * GRAIN);
        let bytes = filled(&buffers, GRAIN - 1000, 7);
        let slice = bytes.slice(10..20);
        drop(bytes);
        assert_eq!((slice.as_ref(), kept(&buffers)), (&[7_u8; 10][..], (0, GRAIN)));
        let place = slice.as_ptr() as usize - 10;
        drop(slice);
        assert_eq!(kept(&buffers), (GRAIN, 0));
        let again = filled(&buffers, GRAIN, 8);
        assert_eq!((again.as_ptr() as usize, again.len(), kept(&buffers)), (place, GRAIN, (0, GRAIN)));
    }

    #[test]
    fn no_more_is_kept_than_was_said() {
        let buffers = Arc::new(Buffers::default());
        drop(filled(&buffers, GRAIN, 1));
        assert_eq!(kept(&buffers), (0, 0));
        buffers.keep(3 * GRAIN);
        drop((0..5).map(|byte| filled(&buffers, GRAIN, byte)).collect::<Vec<_>>());
        assert_eq!(kept(&buffers), (3 * GRAIN, 0));
        // None of the three is large enough for this one, and what it takes is not kept besides.
        let large = filled(&buffers, 3 * GRAIN - 1, 9);
        assert_eq!(kept(&buffers), (0, 3 * GRAIN));
        drop(large);
        drop(filled(&buffers, LARGEST + 1, 1));
        assert_eq!(kept(&buffers), (3 * GRAIN, 0));
        buffers.keep(0);
        assert_eq!(kept(&buffers), (0, 0));
    }

    #[test]
    fn a_buffer_takes_little_more_than_what_is_read() {
        let buffers = Arc::new(Buffers::default());
        buffers.keep(1 << 30);
        let _small: Vec<Bytes> = (1..1_000).map(|len| filled(&buffers, 8 * len, 1)).collect();
        assert_eq!(kept(&buffers), (0, 0));
        drop(filled(&buffers, LARGEST, 1));
        for len in (SMALLEST..LARGEST / 2).step_by(99_991) {
            let capacity = capacity_for(len);
            assert!((len..=len + len / 4).contains(&capacity), "{len}: {capacity}");
            let (free, lent) = kept(&buffers);
            let bytes = filled(&buffers, len, 1);
            assert_eq!(kept(&buffers), (free, lent + capacity), "the large one is left for large reads");
            drop(bytes);
            buffers.keep(LARGEST);
            buffers.keep(1 << 30);
        }
    }
}
