//! `_qa.json`: the facts, the figures and the verdict of a run.

use bytes::Bytes;
use machine::RunId;
use polars::prelude::{Column, DataFrame};
use serde::{Deserialize, Serialize};

use super::checks::{Check, Facts, Severity};
use super::history::RunFigures;
use super::measure::Figures;
use crate::failure::{Failure, Result};

/// The layout of the file.
const FORMAT_VERSION: u32 = 1;

/// The report of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    format_version: u32,
    /// When the checks were made, RFC 3339 in UTC.
    pub checked_at: String,
    /// Whether no check of severity `fail` failed.
    pub passed: bool,
    /// The run whose predictions these were compared with.
    pub compared_with: Option<String>,
    /// All checks.
    pub checks: Vec<Check>,
    facts: Facts,
    figures: Figures,
}

/// The key of a run's report.
#[must_use]
pub fn key(run_id: &RunId) -> String {
    format!("qa/run_id={run_id}/_qa.json")
}

impl Report {
    pub(super) fn of(
        facts: Facts,
        figures: Figures,
        checks: Vec<Check>,
        compared_with: Option<String>,
        checked_at: String,
    ) -> Self {
        let has_failed = |check: &Check| check.severity == Severity::Fail && check.passed == Some(false);
        let passed = !checks.iter().any(has_failed);
        Self { format_version: FORMAT_VERSION, checked_at, passed, compared_with, checks, facts, figures }
    }

    /// The checks of this severity that failed, in words.
    #[must_use]
    pub fn failed(&self, severity: Severity) -> Vec<String> {
        let failed = |check: &&Check| check.severity == severity && check.passed == Some(false);
        self.checks.iter().filter(failed).map(Check::in_words).collect()
    }

    /// The rows of the table `qa`.
    pub(super) fn to_parquet(&self) -> Result<Bytes> {
        let severity = |check: &Check| match check.severity {
            Severity::Fail => "fail",
            Severity::Warn => "warn",
        };
        let of = |value: fn(&Check) -> Option<f64>| self.checks.iter().map(value).collect::<Vec<_>>();
        let columns = vec![
            Column::new("check".into(), self.checks.iter().map(|check| check.check.as_str()).collect::<Vec<_>>()),
            Column::new("value".into(), of(|check| check.value)),
            Column::new("expected".into(), of(|check| check.expected)),
            Column::new("limit".into(), of(|check| check.limit)),
            Column::new("severity".into(), self.checks.iter().map(severity).collect::<Vec<_>>()),
            Column::new("passed".into(), self.checks.iter().map(|check| check.passed).collect::<Vec<_>>()),
        ];
        let mut frame = DataFrame::new(self.checks.len(), columns).map_err(Failure::defect)?;
        Ok(table::write::to_parquet(&mut frame)?)
    }

    /// The run's figures, for the runs after it and for the knowledge base.
    #[must_use]
    pub fn figures(&self) -> RunFigures {
        let Self { facts, figures, .. } = self;
        RunFigures {
            run_id: facts.run_id.clone(),
            checked_at: self.checked_at.clone(),
            passed: self.passed,
            model_version: facts.model_version.clone(),
            model_run_id: facts.model_run_id.clone(),
            r2: facts.r2,
            rows: figures.rows,
            rows_rejected: facts.rows_rejected,
            mean: figures.mean,
            std: figures.std,
            data_quality: facts.data_quality,
            max_drift: facts.max_drift,
            edges: figures.edges.clone(),
            counts: figures.counts.clone(),
        }
    }
}
