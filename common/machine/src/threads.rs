//! How many threads a run needs at most, and whether the system lets it have them.
//!
//! Libraries cannot be told that a thread was refused: OpenMP ends the process with exit 1, polars and the standard library
//! panic, tokio leaves work in its queue for ever. So as many threads as a run needs at most are started, all at once, before
//! anything else is, and what the system refuses ends the run with exit 8 while that can still be said.

use std::fmt::Write as _;
use std::io;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{PoisonError, RwLock};
use std::thread;

use rustix::process::{Resource, getrlimit};

use crate::{cgroup, rlimits};
use error::{Error, Result};

/// Blocking work that waits for other blocking work, at most: the headers of 16 CSV objects are read at once
/// (`CONCURRENT_OPENS` of `table::dataset`), each waiting for bytes that a local store reads on another thread of the same
/// pool, and one step encodes or scans meanwhile. With fewer threads than that all of them could wait for ever.
const WAITING: usize = 17;
/// The main thread, the one that waits for signals, the one that logs a signal, and a process that the AWS SDK starts for
/// credentials (`credential_process`), which counts as a thread.
const FIXED: usize = 4;
/// What a thread that only waits needs of a stack.
const STACK_BYTES: usize = 64 << 10;
/// Stacks of OpenMP's threads are asked for by size where the limit of stacks gives them more than this: 8 MiB are usual.
const USUAL_STACK_BYTES: u64 = 64 << 20;
/// One part in so many of the machine's threads is more than a single run may take, even for a moment: other programs would
/// find none left.
const SHARE_OF_MACHINE: u64 = 2;

/// Threads of the runtime that run tasks.
#[must_use]
pub fn workers(threads: usize) -> usize {
    threads.max(2)
}

/// Threads of the runtime for work that blocks, at most.
#[must_use]
pub fn blocking(threads: usize) -> usize {
    workers(threads).saturating_add(WAITING)
}

/// Threads that a run with `--threads threads` has at once, at most.
///
/// Besides [`workers`], [`blocking`] and `FIXED` these are polars' pool, as many as the setting says for work of ours that is
/// shared out ([`on_threads`]; the thread that reads batches counts among them), and OpenMP's. XGBoost is called by
/// one thread ([`on_own_thread`]) or by some that share the setting among them; to load a model it takes a thread for each processor,
/// whatever the setting. So these are as many once for the callers of the moment, once for callers that have just ended, whose
/// threads take a moment to end too, and once for a thread of the runtime that loaded a model.
#[must_use]
pub fn needed(threads: usize) -> usize {
    [workers(threads), blocking(threads), workers(threads), open_mp(threads), polars(), FIXED]
        .into_iter()
        .fold(0, usize::saturating_add)
}

/// Those of them that are OpenMP's.
fn open_mp(threads: usize) -> usize {
    workers(threads).max(processors()).saturating_mul(3)
}

/// What the stacks of all of them take, of the address space and of what may be written.
pub(crate) fn stacks(threads: usize) -> u64 {
    /// The standard library's, unless `RUST_MIN_STACK` says otherwise, and tokio's.
    const OURS: u64 = 2 << 20;
    let of_open_mp = set_stack().map_or(rlimits::default_stack(), |(bytes, _)| bytes as u64);
    let open_mp = open_mp(threads) as u64;
    let ours = (needed(threads) as u64).saturating_sub(open_mp).saturating_mul(OURS);
    ours.saturating_add(open_mp.saturating_mul(of_open_mp))
}

/// The stack of each of OpenMP's threads as variables set it, and which one.
fn set_stack() -> Option<(usize, String)> {
    ["OMP_STACKSIZE", "GOMP_STACKSIZE"].into_iter().find_map(|name| {
        let text = std::env::var(name).ok()?;
        Some((stack_bytes(&text)?, format!("{name}={}", text.trim())))
    })
}

/// The stack of each of OpenMP's threads, and what says so; nothing where it is a usual one.
fn open_mp_stack() -> Option<(usize, String)> {
    let of_limit = || {
        let most = getrlimit(Resource::Stack).current.filter(|bytes| *bytes > USUAL_STACK_BYTES)?;
        Some((usize::try_from(most).ok()?, "the limit of stacks (ulimit -s, RLIMIT_STACK)".to_owned()))
    };
    set_stack().or_else(of_limit)
}

/// A size as OpenMP's variables have it: KiB, or what the letter behind it says. What is none is passed over there too.
fn stack_bytes(text: &str) -> Option<usize> {
    let text = text.trim().to_ascii_lowercase();
    let units = [('b', 0), ('k', 10), ('m', 20), ('g', 30)];
    let unit = units.into_iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, shift)));
    let (number, shift) = unit.unwrap_or((&text, 10));
    number.trim_end().parse::<usize>().ok()?.checked_mul(1 << shift)
}

/// Starts as many threads as OpenMP would, with stacks as large as its own.
fn start_open_mp(count: usize) -> Result<()> {
    let Some((bytes, name)) = open_mp_stack() else {
        // Where memory is limited the stacks themselves may be refused.
        let bytes = if rlimits::are_in_force() { rlimits::default_stack() as usize } else { STACK_BYTES };
        return start_at_once(count, bytes.max(STACK_BYTES)).map_err(refused);
    };
    start_at_once(count, bytes.max(STACK_BYTES)).map_err(|error| {
        Error::Resources(format!(
            "{name} gives each of OpenMP's threads a stack of {} MiB, and a run has up to {count} of them at once, which the \
             system refuses to start: {error}: lower or unset it",
            bytes.div_ceil(1 << 20)
        ))
    })
}

/// The threads of polars' pool, as polars counts them.
fn polars() -> usize {
    let set = std::env::var("POLARS_MAX_THREADS").ok().and_then(|text| text.parse().ok());
    set.unwrap_or_else(processors)
}

/// Processors that the process may run on.
fn processors() -> usize {
    thread::available_parallelism().map_or(4, NonZeroUsize::get)
}

/// Starts as many threads as a run needs at most, and ends them again: a millisecond or two.
///
/// # Errors
/// [`Error::Resources`] where the system refuses one of them: it says how many are needed and which limits there are.
pub fn check(threads: usize) -> Result<()> {
    let needed = needed(threads);
    let of_machine = threads_of_machine();
    if let Some((most, name)) = of_machine.filter(|(most, _)| needed as u64 > most / SHARE_OF_MACHINE) {
        return Err(Error::Resources(format!(
            "a run with --threads {threads} (THREADS) has up to {needed} threads at once, but this machine has {most} for \
             all programs ({name}), and a run takes no more than half of them: lower --threads"
        )));
    }
    // The main thread and the one that waits for signals are there already.
    start_at_once(needed.saturating_sub(2), STACK_BYTES).map_err(|error| {
        Error::Resources(format!(
            "a run with --threads {threads} (THREADS) has up to {needed} threads at once, but the system refuses to start so \
             many: {error}; {}: raise that limit{}",
            limits_in_words(),
            if threads > 2 { ", or lower --threads" } else { "" }
        ))
    })?;
    if open_mp_stack().is_some() { start_open_mp(open_mp(threads)) } else { Ok(()) }
}

/// The error of a thread that was refused later, where the limits were enough at the start of the run.
#[must_use]
pub fn refused(reason: impl std::fmt::Display) -> Error {
    Error::Resources(format!(
        "the system refused to start another thread: {reason}; {}: raise that limit, or end other programs of this user",
        limits_in_words()
    ))
}

/// Whether this is what a library or the standard library panics with where a thread was refused.
#[must_use]
pub fn is_refusal(panic: &str) -> bool {
    ["failed to spawn thread", "OS can't spawn worker thread", "could not spawn threads", "no-op thread pool"]
        .iter()
        .any(|text| panic.contains(text))
}

/// Starts threads that wait for each other, and ends them when all have been started or one was refused.
fn start_at_once(count: usize, stack_bytes: usize) -> io::Result<()> {
    let gate = RwLock::new(());
    let closed = gate.write().unwrap_or_else(PoisonError::into_inner);
    thread::scope(|scope| {
        let wait = || drop(gate.read());
        let started = (0..count)
            .try_for_each(|_| thread::Builder::new().stack_size(stack_bytes).spawn_scoped(scope, wait).map(drop));
        drop(closed);
        started
    })
}

/// Threads that all programs of the machine may have together, and what says so.
fn threads_of_machine() -> Option<(u64, &'static str)> {
    let read = |path: &str| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let all = [
        (read("/proc/sys/kernel/threads-max"), "kernel.threads-max"),
        (read("/proc/sys/kernel/pid_max"), "kernel.pid_max"),
    ];
    all.into_iter().filter_map(|(most, name)| Some((most?, name))).min()
}

/// The limits that may be the cause, as far as they can be read.
fn limits_in_words() -> String {
    let mut text = String::new();
    if let Some(most) = getrlimit(Resource::Nproc).current {
        let _ = write!(text, "this user may have {most} processes and threads (ulimit -u, RLIMIT_NPROC)");
    }
    if let Some(most) = cgroup::detect_in(Path::new("/")).pids {
        let and = if text.is_empty() { "" } else { ", " };
        let _ = write!(text, "{and}this container or control group {most} (pids.max, docker run --pids-limit)");
    }
    if text.is_empty() { "no limit of this process can be read (ulimit -u, pids.max)".to_owned() } else { text }
}

/// Runs `work` on `count` threads, the calling one among them, and gives what each came to. `work` takes its pieces from a
/// queue, so that fewer threads do all of it: where the system refuses one, the others go on without it.
///
/// # Panics
/// Where `work` does: its panic is passed on.
pub fn on_threads<R: Send>(count: usize, work: impl Fn() -> R + Sync) -> Vec<R> {
    thread::scope(|scope| {
        let mut workers = Vec::new();
        for _ in 1..count {
            match thread::Builder::new().name("worker".to_owned()).spawn_scoped(scope, &work) {
                Ok(worker) => workers.push(worker),
                Err(error) => {
                    tracing::warn!("a thread cannot be started, the work goes on with {}: {error}", workers.len() + 1);
                    break;
                }
            }
        }
        let mut done = vec![work()];
        done.extend(
            workers.into_iter().map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))),
        );
        done
    })
}

/// Does `work` on the calling thread and `other` beside it, on a thread of its own where the run has several; after it where the
/// system refuses one.
///
/// # Panics
/// Where one of them does: its panic is passed on.
pub fn side_by_side<W, O: Send>(threads: usize, work: impl FnOnce() -> W, other: impl Fn() -> O + Sync) -> (W, O) {
    thread::scope(|scope| {
        let start = || thread::Builder::new().name("worker".to_owned()).spawn_scoped(scope, &other).ok();
        let beside = (threads > 1).then(start).flatten();
        let done = work();
        let other = match beside {
            Some(beside) => beside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            None => other(),
        };
        (done, other)
    })
}

/// Runs `work` on a thread that ends with it. OpenMP keeps the threads of everyone who ever called it for as long as the
/// caller lives: called from the runtime's threads, each of them would have some. Since it ends the process where it is refused one,
/// as many as it starts are asked for first: another program of the same user may have taken what there was at the start.
///
/// # Errors
/// What `work` fails with; [`Error::Resources`] where the system refuses the thread.
pub fn on_own_thread<R: Send>(work: impl FnOnce() -> Result<R> + Send) -> Result<R> {
    let runtime = tokio::runtime::Handle::try_current().ok();
    thread::scope(|scope| {
        let work = || {
            let _entered = runtime.as_ref().map(tokio::runtime::Handle::enter);
            start_open_mp(processors())?;
            work()
        };
        match thread::Builder::new().name("xgboost".to_owned()).spawn_scoped(scope, work) {
            Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            Err(error) => Err(refused(error)),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn work_is_done_beside_the_callers_where_there_are_threads() {
        for (threads, is_beside) in [(1, false), (2, true)] {
            let here = thread::current().id();
            let (own, other) = side_by_side(threads, || thread::current().id(), || thread::current().id());
            assert_eq!((own == here, other != here), (true, is_beside));
        }
    }

    #[test]
    fn a_run_needs_its_threads_a_few_times_over() {
        assert_eq!([workers(1), workers(2), workers(16)], [2, 2, 16]);
        assert_eq!([blocking(1), blocking(16)], [19, 33]);
        assert_eq!(needed(1), needed(2));
        let (few, many) = (processors().max(2), processors() + 10);
        assert_eq!(needed(few), 6 * few + WAITING + FIXED + polars());
        assert_eq!(needed(many) - needed(few), 6 * (many - few));
        assert_eq!(needed(usize::MAX), usize::MAX);
    }

    #[test]
    fn stacks_are_as_large_as_open_mp_reads_them() {
        for (text, bytes) in [
            ("512", Some(512 << 10)),
            ("100G", Some(100 << 30)),
            (" 4 m ", Some(4 << 20)),
            ("65536B", Some(65_536)),
            ("2k", Some(2_048)),
            ("99999999999999G", None),
            ("x", None),
            ("-1", None),
            ("", None),
        ] {
            assert_eq!(stack_bytes(text), bytes, "{text:?}");
        }
    }

    #[test]
    fn a_usual_run_is_let_go() {
        check(2).unwrap();
    }

    #[test]
    fn more_threads_than_the_machine_has_are_refused_at_once() {
        let begun = std::time::Instant::now();
        let error = check(1_000_000).unwrap_err();
        assert_eq!(error.exit_code(), 8);
        let needed = needed(1_000_000);
        assert!(
            error.to_string().contains(&format!("--threads 1000000 (THREADS) has up to {needed} threads")),
            "{error}"
        );
        assert!(begun.elapsed().as_secs() < 1);
    }

    #[test]
    fn panics_about_threads_are_told_from_others() {
        let builder = "failed to spawn thread: Os { code: 11, kind: WouldBlock }";
        let polars = "could not spawn threads: ThreadPoolBuildError { kind: IOError(..) }";
        assert!(is_refusal(builder) && is_refusal(polars));
        assert!(is_refusal("OS can't spawn worker thread: Resource temporarily unavailable (os error 11)"));
        assert!(!is_refusal("index out of bounds"));
        assert_eq!(refused("no").exit_code(), 8);
    }

    #[test]
    fn shared_work_is_done_by_all_threads_and_each_says_what_it_did() {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut done = Vec::new();
            loop {
                let piece = next.fetch_add(1, Ordering::Relaxed);
                if piece >= 100 {
                    return done;
                }
                done.push(piece);
            }
        };
        let of_each = on_threads(3, work);
        assert_eq!(of_each.len(), 3);
        let mut all = of_each.concat();
        all.sort_unstable();
        assert_eq!(all, (0..100).collect::<Vec<_>>());
        assert_eq!(on_threads(0, || 7), [7]);
    }

    #[test]
    fn work_apart_has_a_thread_of_its_own_and_gives_what_it_came_to() {
        let here = thread::current().id();
        let there = on_own_thread(|| Ok(thread::current().id())).unwrap();
        assert_ne!(here, there);
        assert_eq!(
            on_own_thread::<()>(|| Err(Error::Data("no".to_owned()))).unwrap_err(),
            Error::Data("no".to_owned())
        );
    }
}
