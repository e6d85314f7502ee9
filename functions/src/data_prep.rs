//! Prepares the data of a run: two SELECTs of the user's become Parquet for `train` and `predict`.
//!
//! The manifest decides a run: it is written once, and who finds it returns it. Before that, each query is joined by a retry; after
//! that only the cache entry and the note of the last run's rows are left to write, which a retry does again.

mod actuals;
mod cache;
mod check;
mod last_run;
mod manifest;
mod parts;
mod roles;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::context::Invocation;
use crate::failure::{Failure, Result};
use crate::objects;
use crate::user_sql::UserSelect;
use cache::Entry;
use last_run::LastRun;
use manifest::{Manifest, Plan};
use roles::Roles;

/// Where the users' SELECTs lie.
const TRAINING: &str = "config/training.sql";
const CUSTOMERS: &str = "config/customers.sql";

/// The SELECTs of a run, rendered and checked.
#[derive(Debug)]
struct Selects {
    training: UserSelect,
    customers: UserSelect,
}

/// Prepares the data and returns where it lies.
///
/// # Errors
/// `BadSettings`, `EmptyData`, `QueryFailed`, `OutOfTime`.
pub async fn run(invocation: &Invocation<'_>) -> Result<Value> {
    let store = invocation.bucket.as_ref();
    let key = manifest::key(&invocation.event.run_id);
    let manifest = match objects::read(store, &key).await? {
        Some(manifest) => manifest,
        None => objects::put_once(store, &key, prepare(invocation).await?).await?,
    };
    conclude(invocation, &manifest).await?;
    manifest.answer(&invocation.settings.bucket)
}

/// Everything up to the manifest.
async fn prepare(invocation: &Invocation<'_>) -> Result<Manifest> {
    let store = invocation.bucket.as_ref();
    let plan = Plan::begin(store, &invocation.event.run_id).await?;
    let roles = Roles::read(invocation.settings).await?;
    let selects = Selects::read(invocation, &plan).await?;
    check::check(&invocation.queries, &selects, &roles).await?;
    let happened = actuals::select(invocation, &plan, &roles).await?;
    let wanted = parts::Wanted::new(invocation, &selects, &roles);
    if let Some(entry) = Entry::find(invocation, &wanted.hash()).await? {
        tracing::info!(reused_from = entry.run_id, "the same SQL was prepared at {}: used again", entry.created_at);
        let (actuals, scanned) = actuals::prepare(invocation, happened).await?;
        return Ok(Manifest::reused(&plan, entry).with_actuals(actuals, scanned));
    }
    let (prepared, happened) =
        futures::future::join(wanted.unload(invocation), actuals::prepare(invocation, happened)).await;
    let (prepared, (actuals, scanned)) = (prepared?, happened?);
    let last = LastRun::read(store).await?;
    LastRun::check(last.as_ref(), &prepared, invocation)?;
    Ok(Manifest::of(&plan, prepared, wanted.hash()).with_actuals(actuals, scanned))
}

/// What follows from the manifest, the same however often it is done.
async fn conclude(invocation: &Invocation<'_>, manifest: &Manifest) -> Result<()> {
    let store = invocation.bucket.as_ref();
    if let Some(entry) = manifest.cache_entry() {
        entry.keep(store).await?;
    }
    LastRun::of(manifest).note(store).await
}

impl Selects {
    async fn read(invocation: &Invocation<'_>, plan: &Plan) -> Result<Self> {
        let event = &invocation.event;
        let run_date = plan.started_at.get(..10).unwrap_or_default();
        let values =
            [("run_id", event.run_id.as_str()), ("run_date", run_date), ("environment", event.environment.as_str())];
        let read = async |key: &str| {
            let location = invocation.settings.location_of(key);
            let text = objects::read_text(invocation.bucket.as_ref(), key).await?;
            let missing = || Failure::settings(format!("{location} does not exist: put your SELECT there"));
            UserSelect::read(&location, &text.ok_or_else(missing)?, &values)
        };
        Ok(Self { training: read(TRAINING).await?, customers: read(CUSTOMERS).await? })
    }
}

/// How long ago a time was, in hours; none where it is no time.
fn hours_since(time: &str) -> Option<f64> {
    let time = DateTime::parse_from_rfc3339(time).ok()?;
    Some((Utc::now() - time.with_timezone(&Utc)).num_milliseconds() as f64 / 3_600_000.0)
}
