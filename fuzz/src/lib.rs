//! What the fuzz targets share: a runtime, a store in memory, and mutators that keep the shape of what they change.
//!
//! A target panics where the programs would do what they must not: panic, disagree with XGBoost, or refuse bytes with
//! an exit code that says something else than "this file is wrong".

pub mod mutate;
pub mod rows;
pub mod store;

use std::future::Future;
use std::sync::OnceLock;

use table::csv::CsvFormat;

/// What may be held of what is read: no input is so large that it may take more.
const ROOM: u64 = 128 << 20;

/// Reads tables in every way the programs do; the same code that the tests with damaged tables run.
#[expect(dead_code, reason = "why a table was refused is for the tests with damaged tables")]
#[path = "../../common/table/tests/damaged/read.rs"]
pub mod read;

/// To be called once, before the first input. A panic of a decoder that is caught as "damaged data" is no find; any other
/// ends the process, so that libFuzzer keeps its input.
pub fn start() {
    machine::memory::pool().set_room(ROOM, 2 * ROOM);
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !error::panics::is_expected() {
            default(panic);
            std::process::abort();
        }
    }));
}

/// Runs a future to its end on a runtime of one thread.
pub fn block_on<F: Future>(future: F) -> F::Output {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime of one thread")
    });
    runtime.block_on(future)
}

/// Checks that what was refused was refused in one line and with one of these exit codes.
///
/// # Panics
/// Where it was not.
pub fn assert_refusal(error: &error::Error, codes: &[u8]) {
    assert!(codes.contains(&error.exit_code()), "exit {}: {error}", error.exit_code());
    assert!(!error.to_string().contains('\n'), "more than one line: {error}");
}

/// Reads `content` as a file of data with this ending.
///
/// # Panics
/// Where it is neither read nor refused as wrong data.
pub fn read_file(content: &[u8], ending: &str, csv: CsvFormat) {
    // In memory where there is such a file system: a file is written for every input.
    let folder = if std::path::Path::new("/dev/shm").is_dir() { "/dev/shm".into() } else { std::env::temp_dir() };
    let path = folder.join(format!("engagement-fuzz-{}.{ending}", std::process::id()));
    std::fs::write(&path, content).expect("a file in the temporary folder");
    read::whole(&path, csv);
    let _ = std::fs::remove_file(&path);
}
