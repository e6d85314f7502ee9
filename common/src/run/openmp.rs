//! How XGBoost's threads wait for each other.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// OpenMP's settings, read once when its library is loaded, which is before `main`.
const WAIT_POLICY: &str = "OMP_WAIT_POLICY";
const SPIN_COUNT: &str = "GOMP_SPINCOUNT";

/// Starts the program again, in the same process, with OpenMP threads that spin for a moment and then sleep.
///
/// By default they spin for long. Where the processors are shared (a laptop, a busy host, a container with half a CPU) a
/// spinning thread takes the time that the thread it waits for needs: 100 rounds on the sample beside two busy processes
/// took 11.8 s spinning, 1.9 s so. Not to spin at all makes the kernel the bottleneck: choosing a model for the sample on
/// two free processors took 28.8 s with 800,000 context switches, 6.6 s so (6.2 s spinning). A policy that is set already
/// is kept: the images set it, so that nothing is started twice there. Where the program cannot be started again it
/// simply goes on.
pub fn wait_passively() {
    if std::env::var_os(WAIT_POLICY).is_some() {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let mut arguments = std::env::args_os();
    let mut again = Command::new(program);
    if let Some(name) = arguments.next() {
        again.arg0(name);
    }
    // `exec` returns only where it failed.
    let _ = again.args(arguments).env(WAIT_POLICY, "PASSIVE").env(SPIN_COUNT, "3000").exec();
}
