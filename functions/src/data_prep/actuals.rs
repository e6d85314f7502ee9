//! What happened to the customers of an earlier run, by the user's third SELECT: `predict evaluate` compares it with their predictions.

use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use machine::RunId;
use serde::{Deserialize, Serialize};
use storage::Store;
use telemetry::Outcome;

use super::check;
use super::manifest::Plan;
use super::parts::{Part, unload};
use super::roles::Roles;
use crate::context::Invocation;
use crate::failure::Result;
use crate::objects;
use crate::user_sql::UserSelect;

/// Where the user's SELECT lies.
const FILE: &str = "config/actuals.sql";
/// The name of the part: a folder of the prepared data.
const PART: &str = "actuals";
/// Milliseconds of a day.
const MILLISECONDS_OF_A_DAY: f64 = 86_400_000.0;
/// Results that are read at once.
const AT_ONCE: usize = 16;

/// What happened since a run, written.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Actuals {
    /// The run that predicted.
    pub(super) run_id: String,
    /// What was written.
    pub(super) part: Part,
}

/// The SELECT for the run whose predictions are old enough; none where nothing is asked for, or no run is old enough yet.
pub(super) async fn select(
    invocation: &Invocation<'_>,
    plan: &Plan,
    roles: &Roles,
) -> Result<Option<(RunId, UserSelect)>> {
    let days = invocation.settings.evaluate_after_days;
    if days <= 0.0 {
        return Ok(None);
    }
    let Some(text) = objects::read_text(invocation.bucket.as_ref(), FILE).await? else {
        tracing::info!(
            "EVALUATE_AFTER_DAYS is {days}, but {} does not exist: nothing is evaluated",
            invocation.settings.location_of(FILE)
        );
        return Ok(None);
    };
    let began = DateTime::parse_from_rfc3339(&plan.started_at).map_or_else(|_| Utc::now(), |began| began.to_utc());
    let output = invocation.settings.output.open().await?;
    let Some(run_id) =
        newest_run(output.as_ref(), began - TimeDelta::milliseconds((days * MILLISECONDS_OF_A_DAY) as i64)).await?
    else {
        tracing::info!("no run was complete {days} days ago: nothing is evaluated yet");
        return Ok(None);
    };
    let run_date = plan.started_at.get(..10).unwrap_or_default();
    let values = [
        ("run_id", invocation.event.run_id.as_str()),
        ("run_date", run_date),
        ("environment", invocation.event.environment.as_str()),
        ("evaluated_run_id", run_id.as_str()),
    ];
    let select = UserSelect::read(&invocation.settings.location_of(FILE), &text, &values)?;
    check::check_actuals(&invocation.queries, &select, roles).await?;
    Ok(Some((run_id, select)))
}

/// Writes what the SELECT gives, and says how many bytes were scanned. No rows are no actuals: nothing has happened yet.
pub(super) async fn prepare(
    invocation: &Invocation<'_>,
    selected: Option<(RunId, UserSelect)>,
) -> Result<(Option<Actuals>, u64)> {
    let Some((run_id, select)) = selected else { return Ok((None, 0)) };
    let (part, scanned) = unload(invocation, PART, &format!("SELECT * FROM {}", select.as_table())).await?;
    if part.rows == 0 {
        tracing::warn!("{} gave no rows for run {run_id}: nothing is evaluated", select.file());
        return Ok((None, scanned));
    }
    Ok((Some(Actuals { run_id: run_id.to_string(), part }), scanned))
}

/// The run of `predict` that was complete last, of those that were before `moment`.
async fn newest_run(output: &dyn Store, moment: DateTime<Utc>) -> Result<Option<RunId>> {
    let listed = output.list("runs").await?;
    let run_of = |key: &str| key.strip_prefix("runs/")?.strip_suffix("/result.json")?.parse::<RunId>().ok();
    let runs: Vec<(RunId, String)> =
        listed.into_iter().filter_map(|object| Some((run_of(&object.key)?, object.key))).collect();
    let read = runs.into_iter().map(async |(run_id, key)| {
        let result = objects::read::<serde_json::Value>(output, &key).await?;
        let outcome = result.and_then(|result| Outcome::from_json(result.to_string().as_bytes()).ok());
        let outcome = outcome.filter(|outcome| outcome.exit_code() == 0);
        let completed_at = outcome.and_then(|outcome| DateTime::parse_from_rfc3339(outcome.completed_at()?).ok());
        Ok::<_, crate::failure::Failure>(completed_at.map(|completed_at| (completed_at.to_utc(), run_id)))
    });
    let complete: Vec<Option<(DateTime<Utc>, RunId)>> = stream::iter(read).buffered(AT_ONCE).try_collect().await?;
    let old_enough = complete.into_iter().flatten().filter(|(completed_at, _)| *completed_at <= moment);
    Ok(old_enough.max().map(|(_, run_id)| run_id))
}
