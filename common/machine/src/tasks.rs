//! Work in tasks and blocking threads, whose panics end as an error with an exit code like any other.

use std::any::Any;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinError;

use error::text::without_control_characters;
use error::{Error, Result};

use crate::threads;

/// Runs work that blocks on a thread for such work.
///
/// # Errors
/// The panic of the work, as [`defect`] has it.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    joined(tokio::task::spawn_blocking(work).await)
}

/// The processors that a run may keep busy: as many pieces of work as it has threads are done at once, in the order in which they
/// were asked for.
#[derive(Debug, Clone)]
pub struct Processors(Arc<Semaphore>);

impl Processors {
    /// As many as the run has threads.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        Self(Arc::new(Semaphore::new(threads.max(1))))
    }

    /// Runs work on a thread for work that blocks, as soon as a processor is free for it.
    ///
    /// # Errors
    /// As [`blocking`].
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        // Never closed: without a permit the work is done all the same.
        let processor = Arc::clone(&self.0).acquire_owned().await.ok();
        blocking(move || {
            let done = work();
            drop(processor);
            done
        })
        .await
    }

    /// Runs work on the calling thread, which may block, as soon as a processor is free for it.
    pub fn run_here<T>(&self, runtime: &Handle, work: impl FnOnce() -> T) -> T {
        let processor = runtime.block_on(self.0.acquire()).ok();
        let done = work();
        drop(processor);
        done
    }
}

/// What a task came to.
///
/// # Errors
/// The panic of the task, as [`defect`] has it.
pub fn joined<T>(ended: Result<T, JoinError>) -> Result<T> {
    ended.map_err(|unfinished| match unfinished.try_into_panic() {
        Ok(panic) => defect(panic.as_ref()),
        Err(cancelled) => Error::Defect(cancelled.to_string()),
    })
}

/// The error that a caught panic (`catch_unwind`, a task's or thread's `join`) is; where it happened is in the log. The panic of
/// a library that was refused a thread is no defect but a limit of the system.
#[must_use]
pub fn defect(payload: &(dyn Any + Send)) -> Error {
    let text = panic_text(payload);
    if threads::is_refusal(&text) {
        return threads::refused(text);
    }
    Error::Defect(format!("{text}; please report it with the log"))
}

/// What `panic!` was given, on one line.
#[must_use]
pub fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str));
    without_control_characters(text.unwrap_or("a panic without a message"))
}

#[cfg(test)]
mod tests {
    use std::panic;

    use super::*;

    fn caught(panicking: impl FnOnce() + panic::UnwindSafe) -> Error {
        defect(panic::catch_unwind(panicking).unwrap_err().as_ref())
    }

    #[test]
    fn a_caught_panic_is_a_defect_on_one_line() {
        let error = caught(|| panic!("row {}\nis odd", 3));
        assert_eq!(error.exit_code(), 70);
        assert_eq!(error.to_string(), "defect in this program: row 3\\nis odd; please report it with the log");
    }

    #[test]
    fn a_thread_that_a_library_was_refused_is_no_defect() {
        let error = caught(|| panic!("failed to spawn thread: Os {{ code: 11, kind: WouldBlock }}"));
        assert_eq!(error.exit_code(), 8);
        assert!(
            error.to_string().starts_with("the system refused to start another thread: failed to spawn"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_task_that_panicked_ends_as_its_panic() {
        let ended = joined(tokio::spawn(async { panic!("plain") }).await);
        assert_eq!(ended, Err::<(), _>(Error::Defect("plain; please report it with the log".to_owned())));
        let refused = || -> () { panic!("could not spawn threads: no") };
        assert_eq!(blocking(refused).await.unwrap_err().exit_code(), 8);
        assert_eq!(blocking(|| 7).await, Ok(7));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_more_work_is_done_at_once_than_there_are_processors() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let processors = Processors::new(2);
        let work = || {
            let (now, most) = (Arc::clone(&now), Arc::clone(&most));
            move || {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                (0..20_000).for_each(|number| {
                    std::hint::black_box(number);
                });
                now.fetch_sub(1, Ordering::SeqCst);
            }
        };
        let running: Vec<_> = (0..50)
            .map(|_| {
                let (processors, work) = (processors.clone(), work());
                tokio::spawn(async move { processors.run(work).await })
            })
            .collect();
        for one in running {
            one.await.unwrap().unwrap();
        }
        assert!((1..=2).contains(&most.load(Ordering::SeqCst)));
        let panics = processors.run(|| -> () { panic!("plain") }).await;
        assert!(panics.is_err() && processors.0.available_permits() == 2);
    }

    #[test]
    fn every_payload_has_a_text() {
        assert!(caught(|| panic!("plain")).to_string().contains(": plain;"));
        assert!(caught(|| panic::panic_any(7)).to_string().contains("a panic without a message"));
    }
}
