//! Limits of the host on the memory of this process alone (`ulimit -d`, `-v`, `-s`), which no control group shows.
//!
//! What they refuse ends a process by a signal or by OpenMP's exit 1: allocators, C++ and OpenMP do not ask twice. So what they leave
//! beside the program and the stacks of its threads is taken for all the memory that there is, and what needs more ends with exit 8 before.

use std::fs;
use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::limits::source::{Limit, Source};
use crate::usage;
use error::{Error, Result};

const MIB: u64 = 1 << 20;
/// What the smallest command takes besides the stacks of its threads.
const LEAST_BYTES: u64 = 48 * MIB;
/// The usual stack of a main thread.
const USUAL_STACK: u64 = 8 * MIB;
/// What the main thread needs of a stack, and OpenMP's threads, which get one of the same size: `train` ran with 256 KiB and not with 192.
const LEAST_STACK: u64 = 384 << 10;

/// A limit that is in force, as its users know it.
static IN_FORCE: OnceLock<Source> = OnceLock::new();

/// What the limits on data and address space leave beside the program as it is now and `stacks`, those of its threads; none where there are no such limits.
///
/// # Errors
/// [`Error::Resources`] where that is too little for anything; it names the limit.
pub(crate) fn memory_left(stacks: u64) -> Result<Option<Limit<u64>>> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let of = |resource: Resource, field: &str, source: Source| {
        let (most, taken) = (raised(resource, u64::MAX)?, usage::parse_kibibytes(&status, field).unwrap_or_default());
        let taken = taken.saturating_add(stacks);
        Some((most, Limit { value: most.saturating_sub(taken), source }))
    };
    let all = [of(Resource::Data, "VmData:", Source::Data), of(Resource::As, "VmSize:", Source::AddressSpace)];
    let Some((most, left)) = all.into_iter().flatten().min_by_key(|(_, left)| left.value) else { return Ok(None) };
    if left.value < LEAST_BYTES {
        return Err(Error::Resources(format!(
            "this process may have {} MiB ({}), of which the program and the stacks of its threads leave {} MiB, and no command takes \
             less than {} MiB besides: raise that limit",
            most / MIB,
            left.source,
            left.value / MIB,
            LEAST_BYTES / MIB
        )));
    }
    Ok(Some(left))
}

/// From now on this is the limit that errors about memory name.
pub(crate) fn in_force(source: Source) {
    let _ = IN_FORCE.set(source);
}

/// What is to be said of a lack of memory where a limit of this process alone is the cause; its name is in it.
#[must_use]
pub fn remark() -> Option<String> {
    IN_FORCE.get().map(|source| format!("the memory of this process is limited by {source}"))
}

/// Whether the memory of this process is limited apart from others.
pub(crate) fn are_in_force() -> bool {
    getrlimit(Resource::Data).current.is_some() || getrlimit(Resource::As).current.is_some()
}

/// The stack of a thread of C libraries that asks for none.
pub(crate) fn default_stack() -> u64 {
    /// Where the main thread's is not limited.
    const UNLIMITED: u64 = 2 * MIB;
    getrlimit(Resource::Stack).current.unwrap_or(UNLIMITED)
}

/// Raises the limit of stacks to what is usual, as far as that is allowed, and gives whether it was raised: programs that are started from here on have it.
pub(crate) fn raise_stack() -> bool {
    let before = getrlimit(Resource::Stack).current;
    raised(Resource::Stack, USUAL_STACK) != before
}

/// Whether the stack of the main thread is large enough; to be asked before anything else is done on it.
///
/// # Errors
/// [`Error::Resources`] that names the limit.
pub fn check_stack() -> Result<()> {
    match getrlimit(Resource::Stack).current {
        Some(most) if most < LEAST_STACK => Err(Error::Resources(format!(
            "a stack may have {} KiB (ulimit -s, RLIMIT_STACK), and the program needs {} KiB: raise that limit",
            most / 1024,
            LEAST_STACK / 1024
        ))),
        _ => Ok(()),
    }
}

/// The limit, after it was raised to `wanted` as far as that is allowed.
fn raised(resource: Resource, wanted: u64) -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(resource);
    let wanted = maximum.map_or(wanted, |most| most.min(wanted));
    if current.is_some_and(|current| current < wanted) {
        // Without a maximum, and without one that is wanted, there is no limit.
        let _ = setrlimit(resource, Rlimit { current: (wanted < u64::MAX).then_some(wanted), maximum });
    }
    getrlimit(resource).current
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usual_run_is_not_limited() {
        check_stack().unwrap();
        if !are_in_force() {
            assert_eq!(memory_left(16 << 20).unwrap(), None);
        }
        assert!(default_stack() >= LEAST_STACK);
        assert!(!raise_stack() || getrlimit(Resource::Stack).current == Some(USUAL_STACK));
    }
}
