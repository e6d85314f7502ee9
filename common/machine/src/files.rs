//! How many files a run may have open and how large they may be, as far as the system limits that.
//!
//! A run that meets such a limit ends with exit 8 and the limit's name. That takes three things: the soft limit of open files is
//! raised to the hard one, as many as every run has open are opened at its start, and the signal by which the system ends a process that
//! writes a larger file than it may (SIGXFSZ) is taken, so that the write fails instead.

use std::fs::File;
use std::io;
use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::SIGXFSZ;

use error::{Error, Result};

/// What the runtime and its signals open, and one file to read: with fewer nothing could be said. How many more a run has open depends
/// on its input and its store, and is met where it happens.
const LEAST: usize = 7;

/// Raises what may be raised, and opens as many files as every run has open, for a moment.
///
/// # Errors
/// [`Error::Resources`] where the system refuses one of them: it names the limit.
pub fn check() -> Result<()> {
    // Where it cannot be taken, a write that is refused ends the process as it did before.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::default());
    raise();
    let opened: io::Result<Vec<File>> = (0..LEAST).map(|_| File::open("/dev/null")).collect();
    let refused = opened.err().and_then(|error| limit_behind(&error).map(|limit| format!("{error}; {limit}")));
    // A machine without /dev/null has no say in this.
    refused.map_or(Ok(()), |refused| {
        Err(Error::Resources(format!(
            "a run has more than {LEAST} files open at once, and the system refuses that: {refused}"
        )))
    })
}

/// The soft limit is for programs that cannot have many files open; this one can.
fn raise() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
}

/// The limit of the host that an error is about, and what to do.
#[must_use]
pub fn limit_behind(error: &io::Error) -> Option<String> {
    let in_words = |most: Option<u64>| most.map_or_else(|| "more".to_owned(), |most| most.to_string());
    let open = || in_words(getrlimit(Resource::Nofile).current);
    match rustix::io::Errno::from_io_error(error)? {
        rustix::io::Errno::MFILE => {
            Some(format!("this process may have {} files open (ulimit -n, RLIMIT_NOFILE): raise that limit", open()))
        }
        rustix::io::Errno::NFILE => {
            Some("the machine has as many files open as it may (fs.file-max): raise that limit".to_owned())
        }
        rustix::io::Errno::FBIG => Some(format!(
            "a file may have {} bytes (ulimit -f, RLIMIT_FSIZE), or what the file system lets it have: raise that limit",
            in_words(getrlimit(Resource::Fsize).current)
        )),
        rustix::io::Errno::NOLCK => Some("the system has no more file locks: raise that limit".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_behind_an_error_is_named() {
        let text = |errno: rustix::io::Errno| limit_behind(&errno.into()).unwrap_or_default();
        assert!(text(rustix::io::Errno::MFILE).contains("ulimit -n"));
        assert!(text(rustix::io::Errno::FBIG).contains("ulimit -f"));
        assert_eq!(limit_behind(&rustix::io::Errno::NOENT.into()), None);
        assert_eq!(limit_behind(&io::Error::other("no")), None);
    }

    #[test]
    fn a_usual_run_is_let_go() {
        check().unwrap();
    }
}
