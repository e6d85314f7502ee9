//! How far a long step has come: a bar on a terminal, else a line of the log now and then.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A log line at least this often while something moves.
const USUAL_PAUSE: Duration = Duration::from_secs(10);

/// With every tenth of a known total a line, but never faster than this.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// What a step counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes, shown as KiB, MiB, …
    Bytes,
    /// Anything else, by the plural of its name, such as `rows`.
    Items(&'static str),
}

impl Unit {
    fn bar_template(self) -> &'static str {
        match self {
            Self::Bytes => "{prefix:10} {wide_bar} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left",
            Self::Items(_) => "{prefix:10} {wide_bar} {human_pos}/{human_len} {msg}, {eta} left",
        }
    }

    fn counter_template(self) -> &'static str {
        match self {
            Self::Bytes => "{prefix:10} {bytes}, {bytes_per_sec}, {elapsed}",
            Self::Items(_) => "{prefix:10} {human_pos} {msg}, {elapsed}",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Items(name) => name,
        }
    }
}

/// A step under way. Clones count together, from any thread; the step is over when it is finished, or the last clone
/// is dropped.
#[derive(Debug, Clone)]
pub struct Progress {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    step: &'static str,
    unit: Unit,
    total: Option<u64>,
    started: Instant,
    position: AtomicU64,
    bar: Option<ProgressBar>,
    pace: Mutex<Pace>,
}

impl Progress {
    pub(super) fn start(step: &'static str, unit: Unit, total: Option<u64>, bars: Option<&MultiProgress>) -> Self {
        let started = Instant::now();
        let bar = bars.map(|bars| bars.add(bar(step, unit, total)));
        let (position, pace) = (AtomicU64::new(0), Mutex::new(Pace::start(started)));
        Self { shared: Arc::new(Shared { step, unit, total, started, position, bar, pace }) }
    }

    /// Counts `more` units as done.
    pub fn advance(&self, more: u64) {
        let shared = &self.shared;
        let position = shared.position.fetch_add(more, Ordering::Relaxed).saturating_add(more);
        match &shared.bar {
            Some(bar) => bar.inc(more),
            None => shared.log_now_and_then(position),
        }
    }

    /// Units done so far.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.shared.position.load(Ordering::Relaxed)
    }

    /// Ends the step: the bar goes, a line of the log says what was done in what time.
    pub fn finish(&self) {
        let shared = &self.shared;
        if let Some(bar) = &shared.bar {
            bar.finish_and_clear();
        }
        let seconds = shared.started.elapsed().as_secs_f64();
        tracing::info!(seconds = rounded(seconds), "{}: {} {} done", shared.step, self.position(), shared.unit.name());
    }
}

impl Shared {
    /// A thread that finds another one logging goes on with its work.
    fn log_now_and_then(&self, position: u64) {
        let Ok(mut pace) = self.pace.try_lock() else {
            return;
        };
        if pace.is_due(Instant::now(), position, self.total) {
            let seconds = rounded(self.started.elapsed().as_secs_f64());
            tracing::info!(seconds, "{}: {}", self.step, Share { position, total: self.total, unit: self.unit });
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// `30 of 200 rounds (15 %)`, or `30 rounds` where no total is known.
struct Share {
    position: u64,
    total: Option<u64>,
    unit: Unit,
}

impl fmt::Display for Share {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (position, unit) = (self.position, self.unit.name());
        match self.total {
            Some(total) if total > 0 => {
                let percent = u128::from(position) * 100 / u128::from(total);
                write!(formatter, "{position} of {total} {unit} ({percent} %)")
            }
            _ => write!(formatter, "{position} {unit}"),
        }
    }
}

/// When the last line was written, and at which tenth of the total.
#[derive(Debug)]
struct Pace {
    last: Instant,
    tenths: u128,
}

impl Pace {
    fn start(now: Instant) -> Self {
        Self { last: now, tenths: 0 }
    }

    fn is_due(&mut self, now: Instant, position: u64, total: Option<u64>) -> bool {
        let tenths = total.map_or(0, |total| u128::from(position) * 10 / u128::from(total.max(1)));
        let pause = if tenths > self.tenths { SHORTEST_PAUSE } else { USUAL_PAUSE };
        let is_finished = total.is_some_and(|total| position >= total);
        if is_finished || now.duration_since(self.last) < pause {
            return false;
        }
        *self = Self { last: now, tenths };
        true
    }
}

fn rounded(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

/// The bars of a terminal, drawn on standard error beside the log.
pub(super) fn bars_on_stderr() -> MultiProgress {
    MultiProgress::with_draw_target(ProgressDrawTarget::stderr())
}

fn bar(step: &'static str, unit: Unit, total: Option<u64>) -> ProgressBar {
    let bar = ProgressBar::hidden();
    let template = match total {
        Some(total) => {
            bar.set_length(total);
            unit.bar_template()
        }
        None => unit.counter_template(),
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.with_prefix(step).with_message(unit.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_valid() {
        for unit in [Unit::Bytes, Unit::Items("rows")] {
            assert!(ProgressStyle::with_template(unit.bar_template()).is_ok());
            assert!(ProgressStyle::with_template(unit.counter_template()).is_ok());
        }
    }

    #[test]
    fn threads_count_together() {
        let progress = Progress::start("read", Unit::Items("rows"), Some(4000), None);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let progress = progress.clone();
                scope.spawn(move || (0..1000).for_each(|_| progress.advance(1)));
            }
        });
        assert_eq!(progress.position(), 4000);
    }

    #[test]
    fn each_tenth_is_logged_but_not_more_than_once_a_second() {
        let start = Instant::now();
        let after = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut pace = Pace::start(start);
        assert!(!pace.is_due(after(999), 500, Some(1000)));
        assert!(pace.is_due(after(1000), 500, Some(1000)));
        assert!(!pace.is_due(after(5000), 599, Some(1000)));
        assert!(pace.is_due(after(5001), 600, Some(1000)));
        assert!(!pace.is_due(after(5002), 700, Some(1000)));
        assert!(pace.is_due(after(6001), 700, Some(1000)));
    }

    #[test]
    fn slow_steps_are_logged_every_ten_seconds() {
        let start = Instant::now();
        let mut pace = Pace::start(start);
        let logged: Vec<u64> = (0..=60)
            .filter(|second| pace.is_due(start + Duration::from_secs(*second), *second, Some(1_000_000)))
            .collect();
        assert_eq!(logged, [10, 20, 30, 40, 50, 60]);
        let mut pace = Pace::start(start);
        assert!(!pace.is_due(start + Duration::from_secs(9), u64::MAX, None));
        assert!(pace.is_due(start + Duration::from_secs(10), u64::MAX, None));
    }

    #[test]
    fn the_end_is_left_to_finish() {
        let start = Instant::now();
        assert!(!Pace::start(start).is_due(start + Duration::from_secs(60), 10, Some(10)));
        assert!(!Pace::start(start).is_due(start + Duration::from_secs(60), 0, Some(0)));
    }

    #[test]
    fn shares_are_readable() {
        let share = |position, total| Share { position, total, unit: Unit::Items("rounds") }.to_string();
        assert_eq!(share(30, Some(200)), "30 of 200 rounds (15 %)");
        assert_eq!(share(30, None), "30 rounds");
        assert_eq!(share(0, Some(0)), "0 rounds");
        assert_eq!(share(u64::MAX, Some(u64::MAX)), "18446744073709551615 of 18446744073709551615 rounds (100 %)");
    }
}
