//! Work on the folds side by side: small matrices keep one thread busy, not several.

use std::sync::{Mutex, PoisonError};

use error::Result;
use machine::threads::on_threads;

/// Cells of a matrix up to which boosting keeps only one thread busy: 400 rounds of depth 6 on 12,000 × 27 took two threads twice the
/// processor time of one, and beside other processes as long.
const CELLS_OF_ONE_THREAD: usize = 400_000;
/// From this number of cells on a second thread is worth it for the few rounds of a small model.
pub(crate) const CELLS_OF_A_THREAD: usize = 100_000;

/// How many pieces of work go on at once, and threads for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lanes {
    count: usize,
    /// Threads of each.
    pub(crate) threads: usize,
}

impl Lanes {
    /// Shares threads among pieces of work.
    pub(crate) fn new(threads: usize, pieces: usize) -> Self {
        let count = threads.min(pieces).max(1);
        Self { count, threads: (threads / count).max(1) }
    }

    /// Shares threads among boosters that learn from matrices of at most so many cells.
    pub(super) fn of_boosters(threads: usize, boosters: usize, cells: usize) -> Self {
        let shared = Self::new(threads, boosters);
        if cells <= CELLS_OF_ONE_THREAD { Self { threads: 1, ..shared } } else { shared }
    }

    /// Whether pieces of work go on at once.
    pub(super) fn are_several(self) -> bool {
        self.count > 1
    }

    /// Does the work on each piece and gives what comes of it, in order; of several errors the first in order.
    pub(crate) fn each<T: Send, R: Send>(
        self,
        pieces: &mut [T],
        work: impl Fn(&mut T) -> Result<R> + Sync,
    ) -> Result<Vec<R>> {
        if self.count < 2 {
            return pieces.iter_mut().map(work).collect();
        }
        let queue = Mutex::new(pieces.iter_mut().enumerate());
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        let lane = || {
            let mut done = Vec::new();
            while let Some((place, piece)) = next() {
                done.push((place, work(piece)));
            }
            done
        };
        let mut done = on_threads(self.count, lane).into_iter().flatten().collect::<Vec<(usize, Result<R>)>>();
        done.sort_by_key(|(place, _)| *place);
        done.into_iter().map(|(_, result)| result).collect()
    }
}

#[cfg(test)]
mod tests {
    use error::Error;

    use super::*;

    #[test]
    fn threads_are_shared_out() {
        let shared = |threads, pieces| (Lanes::new(threads, pieces).count, Lanes::new(threads, pieces).threads);
        assert_eq!([shared(2, 5), shared(2, 1), shared(16, 5), shared(1, 5)], [(2, 1), (1, 2), (5, 3), (1, 1)]);
    }

    #[test]
    fn boosters_of_few_rows_get_one_thread_each() {
        let shared = |cells| {
            let lanes = Lanes::of_boosters(8, 2, cells);
            (lanes.count, lanes.threads)
        };
        assert_eq!([shared(10_000), shared(10_000_000)], [(2, 1), (2, 4)]);
    }

    #[test]
    fn results_and_errors_come_in_order() {
        let mut pieces: Vec<usize> = (0..50).collect();
        let doubled = Lanes::new(3, 50).each(&mut pieces, |piece| {
            *piece += 1;
            Ok(2 * *piece)
        });
        assert_eq!(doubled.unwrap(), (1..=50).map(|piece| 2 * piece).collect::<Vec<_>>());
        let failing = |piece: &mut usize| if *piece > 3 { Err(Error::Data(piece.to_string())) } else { Ok(()) };
        assert_eq!(Lanes::new(3, 50).each(&mut pieces, failing).unwrap_err().to_string(), "4");
    }
}
