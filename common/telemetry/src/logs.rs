//! The log on standard error: what is logged, and how a line gets there.

use std::env;
use std::io::{self, Write};

use indicatif::MultiProgress;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;

use super::format::Lines;

/// Our crates, which tell what they do; of the others only what is wrong is logged.
const OUR_CRATES: [&str; 19] = [
    "app",
    "attempt",
    "columns",
    // The bundle, by the name of its program.
    "engagement_ml",
    "error",
    "evaluation",
    "features",
    "functions",
    "history",
    "machine",
    "page",
    "predict",
    "registry",
    "scoring",
    "storage",
    "table",
    "telemetry",
    "train",
    "xgboost",
];

/// Makes the log of the process. A second log of one process is refused by `tracing`, and the first one goes on.
pub(super) fn start(lines: Lines, bars: Option<MultiProgress>) {
    let asked = env::var("RUST_LOG").ok();
    let (filter, complaint) = filter(asked.as_deref());
    let output =
        tracing_subscriber::fmt::layer().with_ansi(false).event_format(lines).with_writer(StandardError { bars });
    let log = tracing_subscriber::registry().with(output).with(filter).with(filter_fn(is_fit_to_log));
    if tracing::subscriber::set_global_default(log).is_err() {
        tracing::debug!("the log had been started before");
    }
    if let Some(complaint) = complaint {
        tracing::warn!("{complaint}");
    }
}

/// The filter, and what to complain about in the value of `RUST_LOG`.
fn filter(asked: Option<&str>) -> (EnvFilter, Option<String>) {
    let Some(asked) = asked.filter(|text| !text.trim().is_empty()) else {
        return (EnvFilter::new(default_filter()), None);
    };
    match EnvFilter::builder().parse(asked) {
        Ok(filter) => (filter, None),
        Err(error) => {
            let complaint =
                format!("RUST_LOG is ignored, {asked:?} cannot be read: {error}; use one such as info,storage=debug");
            (EnvFilter::new(default_filter()), Some(complaint))
        }
    }
}

fn default_filter() -> String {
    let ours = OUR_CRATES.map(|name| format!("{name}=info"));
    format!("warn,{}", ours.join(","))
}

/// What other crates log at `trace` holds whole requests, headers and session tokens included.
fn is_fit_to_log(metadata: &Metadata<'_>) -> bool {
    let crate_name = metadata.target().split("::").next().unwrap_or_default();
    *metadata.level() <= Level::DEBUG || OUR_CRATES.contains(&crate_name)
}

/// Writes a line in one piece, with progress bars out of its way.
struct StandardError {
    bars: Option<MultiProgress>,
}

impl<'writer> MakeWriter<'writer> for StandardError {
    type Writer = &'writer Self;

    fn make_writer(&'writer self) -> &'writer Self {
        self
    }
}

impl Write for &StandardError {
    /// A log that nobody takes (a full disk, a closed pipe) does not stop the run.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let write_line = || io::stderr().lock().write_all(line);
        let _ = match &self.bars {
            Some(bars) => bars.suspend(write_line),
            None => write_line(),
        };
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rust_log_is_obeyed() {
        let (filter, complaint) = filter(Some("debug,hyper=off"));
        assert_eq!((filter.to_string().as_str(), complaint), ("hyper=off,debug", None));
    }

    #[test]
    fn without_rust_log_ours_is_info() {
        for asked in [None, Some(""), Some("  ")] {
            let (filter, complaint) = filter(asked);
            assert_eq!(complaint, None);
            assert!(filter.to_string().contains("predict=info"), "{filter}");
        }
    }

    #[test]
    fn a_wrong_rust_log_is_a_complaint() {
        let (filter, complaint) = filter(Some("storage=loud\n"));
        assert!(filter.to_string().contains("storage=info"), "{filter}");
        let complaint = complaint.unwrap();
        assert!(complaint.starts_with("RUST_LOG is ignored, \"storage=loud\\n\" cannot be read"), "{complaint}");
    }
}
