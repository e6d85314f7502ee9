//! The figures of the newest runs: what the next run is compared with, and what the knowledge base tells of.

use serde::{Deserialize, Serialize};
use storage::Store;

use crate::failure::Result;
use crate::objects;

/// Where they stand.
const KEY: &str = "qa/history.json";
/// Runs that are kept.
const RUNS: usize = 12;
/// The layout of the file.
const FORMAT_VERSION: u32 = 1;

/// The newest runs, oldest first.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct History {
    format_version: u32,
    /// Their figures.
    pub runs: Vec<RunFigures>,
}

/// The figures of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunFigures {
    /// The run.
    pub run_id: String,
    /// When it was checked, RFC 3339 in UTC.
    pub checked_at: String,
    /// Whether no check of severity `fail` failed.
    pub passed: bool,
    /// The model that it was scored with.
    pub model_version: String,
    /// The run that trained that model.
    pub model_run_id: String,
    /// R² on held-out rows of what this run trained.
    pub r2: Option<f64>,
    /// Predictions.
    pub rows: u64,
    /// Customers that were rejected.
    pub rows_rejected: Option<f64>,
    /// Mean prediction.
    pub mean: Option<f64>,
    /// Standard deviation of the predictions.
    pub std: Option<f64>,
    /// Data quality of the customers.
    pub data_quality: Option<f64>,
    /// Highest drift of a feature.
    pub max_drift: Option<f64>,
    /// Upper edges of all bins of the predictions but the last.
    pub edges: Vec<f64>,
    /// Predictions in each bin.
    pub counts: Vec<u64>,
}

impl History {
    /// Reads them; none where no run was checked yet.
    ///
    /// # Errors
    /// `BadSettings` where the file is damaged; the store's errors.
    pub async fn read(store: &dyn Store) -> Result<Self> {
        Ok(objects::read(store, KEY).await?.unwrap_or_default())
    }

    /// The newest run before `run_id` whose checks passed.
    #[must_use]
    pub fn last_passed(&self, run_id: &str) -> Option<&RunFigures> {
        self.runs.iter().rev().find(|run| run.passed && run.run_id != run_id)
    }

    /// Adds a run, once.
    pub(super) async fn add(store: &dyn Store, run: RunFigures) -> Result<()> {
        let with_run = |history: Option<Self>| {
            let mut history = history.unwrap_or_default();
            // A run that is older than all that are kept changes nothing.
            let is_old =
                history.runs.len() >= RUNS && history.runs.iter().all(|known| known.checked_at > run.checked_at);
            if is_old || history.runs.iter().any(|known| known.run_id == run.run_id) {
                return None;
            }
            history.format_version = FORMAT_VERSION;
            history.runs.push(run.clone());
            history.runs.sort_by(|one, other| one.checked_at.cmp(&other.checked_at));
            let surplus = history.runs.len().saturating_sub(RUNS);
            history.runs.drain(..surplus);
            Some(history)
        };
        objects::change(store, KEY, with_run).await
    }
}

#[cfg(test)]
mod tests {
    use storage::Location;

    use super::*;

    fn run(day: usize, passed: bool) -> RunFigures {
        RunFigures {
            run_id: format!("r-{day}"),
            checked_at: format!("2026-01-{day:02}T03:00:00Z"),
            passed,
            model_version: "v1".to_owned(),
            model_run_id: format!("r-{day}"),
            r2: None,
            rows: 1,
            rows_rejected: None,
            mean: None,
            std: None,
            data_quality: None,
            max_drift: None,
            edges: Vec::new(),
            counts: Vec::new(),
        }
    }

    #[test]
    fn the_twelve_newest_runs_are_kept_each_once_whatever_the_order() {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let history = runtime.block_on(async {
            let store = Location::Local(folder.path().to_owned()).open().await.unwrap();
            for day in [3, 1, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 14, 13, 1] {
                History::add(store.as_ref(), run(day, day != 14)).await.unwrap();
            }
            History::read(store.as_ref()).await.unwrap()
        });
        let kept: Vec<&str> = history.runs.iter().map(|run| run.run_id.as_str()).collect();
        assert_eq!(kept, (3..=14).map(|day| format!("r-{day}")).collect::<Vec<_>>());
        // What a run is compared with is the newest whose checks passed, and never the run itself.
        assert_eq!(history.last_passed("r-15").map(|run| run.run_id.as_str()), Some("r-13"));
        assert_eq!(history.last_passed("r-13").map(|run| run.run_id.as_str()), Some("r-12"));
    }
}
