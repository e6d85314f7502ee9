//! Several threads for what takes long to compile.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// What `work` gives for each number below `count`, in their order, by up to `threads` threads, of which this is one. Those that the
/// system refuses are done without.
pub(super) fn side_by_side<T: Send>(threads: usize, count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let take_turns = || {
        let numbers = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
        numbers.take_while(|number| *number < count).map(|number| (number, work(number))).collect::<Vec<_>>()
    };
    let mut done = thread::scope(|scope| {
        let start = |_| thread::Builder::new().name("compiling".to_owned()).spawn_scoped(scope, take_turns).ok();
        let others: Vec<_> = (1..threads.min(count)).filter_map(start).collect();
        let mut done = take_turns();
        done.extend(others.into_iter().flat_map(|other| other.join().unwrap_or_else(|panic| resume_unwind(panic))));
        done
    });
    done.sort_unstable_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_whatever_the_threads() {
        for (threads, count) in [(0, 3), (1, 100), (2, 1), (3, 0), (4, 1000)] {
            let expected: Vec<usize> = (0..count).map(|number| number * number).collect();
            assert_eq!(side_by_side(threads, count, |number| number * number), expected, "{threads} threads");
        }
    }
}
