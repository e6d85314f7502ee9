//! The rows of the last run, which a run with far fewer is refused by.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use storage::Store;

use super::manifest::Manifest;
use super::parts::{CUSTOMERS, Part, Prepared};
use crate::context::Invocation;
use crate::failure::{Failure, Kind, Result};
use crate::objects;

/// The rows of the newest run: what the next one is compared with.
const LAST_RUN: &str = "prepared/cache/last.json";

/// The rows of a run, for the next one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct LastRun {
    pub(super) run_id: String,
    created_at: String,
    pub(super) rows: BTreeMap<String, u64>,
}

impl LastRun {
    /// The rows of the newest run, if there was one.
    pub(super) async fn read(store: &dyn Store) -> Result<Option<Self>> {
        objects::read(store, LAST_RUN).await
    }

    /// The rows of this run.
    pub(super) fn of(manifest: &Manifest) -> Self {
        Self {
            run_id: manifest.run_id.clone(),
            created_at: manifest.created_at.clone(),
            rows: manifest.parts.iter().map(|part| (part.name.clone(), part.rows)).collect(),
        }
    }

    /// Notes them for the next run, unless a newer run has noted its own.
    pub(super) async fn note(&self, store: &dyn Store) -> Result<()> {
        let newer = |noted: Option<Self>| {
            let is_newer = noted.is_none_or(|noted| noted.created_at < self.created_at);
            is_newer.then(|| self.clone())
        };
        objects::change(store, LAST_RUN, newer).await
    }

    /// Refuses parts without rows, or with far fewer than the last run's.
    pub(super) fn check(last: Option<&Self>, prepared: &Prepared, invocation: &Invocation<'_>) -> Result<()> {
        let least = invocation.settings.min_rows_fraction;
        for Part { name, rows, prefix, .. } in &prepared.parts {
            let file = if name == CUSTOMERS { super::CUSTOMERS } else { super::TRAINING };
            let fail = |problem: String| Err(Failure::new(Kind::EmptyData, format!("{name}: {problem}")));
            if *rows == 0 {
                return fail(format!("{file} gave no rows ({prefix}/ is empty): look at what it selects"));
            }
            let before = last.and_then(|last| last.rows.get(name).copied().zip(Some(&last.run_id)));
            if let Some((before, run)) = before.filter(|(before, _)| (*rows as f64) < *before as f64 * least) {
                return fail(format!(
                    "{file} gave {rows} rows, run {run} had {before}: fewer than MIN_ROWS_FRACTION ({least}) of them; look at the tables, or set it lower"
                ));
            }
        }
        Ok(())
    }
}
