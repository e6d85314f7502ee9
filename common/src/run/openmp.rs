//! How XGBoost's threads wait for each other.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// OpenMP's setting, read once when its library is loaded, which is before `main`.
const WAIT_POLICY: &str = "OMP_WAIT_POLICY";

/// Starts the program again, in the same process, with OpenMP threads that sleep while they wait.
///
/// By default they spin. Where the processors are shared (a laptop, a busy host, a container with half a CPU) a spinning
/// thread takes the time that the thread it waits for needs: training the sample beside two busy processes took 9.4 s
/// and 4.1 s spinning, 1.9 s and 1.6 s sleeping. A policy that is set already is kept: the images set it, so that nothing
/// is started twice there. Where the program cannot be started again it simply goes on.
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
    let _ = again.args(arguments).env(WAIT_POLICY, "PASSIVE").exec();
}
