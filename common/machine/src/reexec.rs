//! Starting the program again with what libraries read from the environment once, when they are loaded, which is before `main`.

use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::rlimits;

/// How OpenMP's threads, which are XGBoost's, wait for each other.
const WAIT_POLICY: &str = "OMP_WAIT_POLICY";
const SPIN_COUNT: &str = "GOMP_SPINCOUNT";
/// How many heaps glibc's allocator keeps.
const ARENAS: &str = "MALLOC_ARENA_MAX";

/// Starts the program again, in the same process, with OpenMP threads that spin for a moment and then sleep, and with one heap.
///
/// By default the threads spin for long. Where the processors are shared (a laptop, a busy host, a container with half a CPU)
/// a spinning thread takes the time that the thread it waits for needs: 100 rounds on the sample beside two busy processes
/// took 11.8 s spinning, 1.9 s so. Not to spin at all makes the kernel the bottleneck: choosing a model for the sample on
/// two free processors took 28.8 s with 800,000 context switches, 6.6 s so (6.2 s spinning).
///
/// By default there are eight heaps for each processor, and each keeps what its threads freed. Scoring 1, 10 and 30 M rows of 70
/// columns on two processors peaked at 199, 225 and 240 MiB with two heaps and at 198, 199 and 210 with one, in the same time;
/// so it was with training. `mimalloc` in place of glibc's allocator was weighed: 2, 10 and 30 M rows of 20 columns peaked at 332, 495
/// and 549 MiB with it and at 197, 247 and 259 without, in no less time (1.3, 3.7 and 11.1 s of CPU against 0.8, 3.5 and 10.5).
///
/// The limit of stacks is raised before, as far as it may be: the threads of C libraries have one of its size.
///
/// What is set already is kept. Where the program cannot be started again it simply goes on.
pub fn start_again() {
    let is_set = |name: &str| std::env::var_os(name).is_some();
    let mut wanted = Vec::new();
    if !is_set(WAIT_POLICY) {
        wanted.extend([(WAIT_POLICY, "PASSIVE".to_owned()), (SPIN_COUNT, "3000".to_owned())]);
    }
    if !is_set(ARENAS) {
        wanted.push((ARENAS, "1".to_owned()));
    }
    if !rlimits::raise_stack() && wanted.is_empty() {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let mut arguments = std::env::args_os();
    let mut again = Command::new(program);
    if let Some(name) = arguments.next() {
        again.arg0(name);
    }
    // `exec` returns only where it failed.
    let _ = again.args(arguments).envs(wanted).exec();
}
