//! Joins customers, predictions and rejected rows into the table that people read.
//!
//! The manifest decides a run; until then every query is joined by a retry. Nothing is published here: the state machine adds the
//! partition and, once the checks have passed, moves `results_latest`.

mod join;
mod run_tables;
mod schema;

use futures::future::{join_all, try_join};
use machine::now_rfc3339;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use storage::Location;
use table::Dataset;
use table::csv::CsvFormat;

use crate::athena::text::literal;
use crate::context::Invocation;
use crate::failure::{Failure, Kind, Result};
use crate::objects;
use join::Join;
use run_tables::RunTables;
use schema::Schema;

/// The layout of the manifest.
const FORMAT_VERSION: u32 = 1;

/// What every attempt of a run has to agree on: the time is in the names of the run's tables.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Plan {
    format_version: u32,
    run_id: String,
    started_at: String,
}

/// The results of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Manifest {
    format_version: u32,
    run_id: String,
    started_at: String,
    created_at: String,
    /// The folder in the bucket, without a `/` at the end.
    prefix: String,
    rows: u64,
    rows_scored: u64,
    columns: Vec<(String, String)>,
}

/// Writes the results and returns where they lie.
///
/// # Errors
/// `ResultsIncomplete`, `BadSettings`, `QueryFailed`, `OutOfTime`.
pub async fn run(invocation: &Invocation<'_>) -> Result<Value> {
    let store = invocation.bucket.as_ref();
    let run_id = &invocation.event.run_id;
    let key = format!("results/run_id={run_id}/_manifest.json");
    let manifest: Manifest = match objects::read(store, &key).await? {
        Some(manifest) => manifest,
        None => objects::put_once(store, &key, write(invocation).await?).await?,
    };
    RunTables::of(invocation, &manifest.started_at).drop(invocation).await;
    Ok(json!({
        "rows": manifest.rows,
        "location": invocation.settings.location_of(&format!("{}/", manifest.prefix)),
        "partition": {"run_id": run_id},
    }))
}

/// Everything up to the manifest.
async fn write(invocation: &Invocation<'_>) -> Result<Manifest> {
    let run_id = &invocation.event.run_id;
    let plan = Plan { format_version: FORMAT_VERSION, run_id: run_id.to_string(), started_at: now_rfc3339() };
    let key = format!("results/run_id={run_id}/_plan.json");
    let plan: Plan = objects::put_once(invocation.bucket.as_ref(), &key, plan).await?;

    let customers = open(invocation, "locations.input_data").await?;
    let predictions = open(invocation, "predictions").await?;
    let schema = Schema::of(&customers, &predictions)?;
    let tables = RunTables::of(invocation, &plan.started_at);
    try_join(schema.make_tables(invocation), tables.make(invocation, &schema)).await?;

    let join = Join { schema: &schema, tables: &tables };
    let (counts, (prefix, written)) = try_join(count(invocation, &join), unload(invocation, &join)).await?;
    let wanted = rows_of(&customers)?;
    let incomplete = |problem: String| {
        let advice = "look at the ids of customers and predictions, and start a new run";
        Err(Failure::new(Kind::ResultsIncomplete, format!("results of run {run_id}: {problem}; {advice}")))
    };
    if counts.rows != wanted || written != wanted {
        let (joined, location) = (counts.rows, &customers.location);
        return incomplete(format!("{joined} rows joined and {written} written, but {wanted} customers in {location}"));
    }
    if let Some(predicted) = invocation.event.number("inference.rows_predicted")
        && counts.scored as f64 != predicted
    {
        return incomplete(format!("{} customers have a prediction, but predict made {predicted}", counts.scored));
    }
    Ok(Manifest {
        format_version: FORMAT_VERSION,
        run_id: run_id.to_string(),
        started_at: plan.started_at,
        created_at: now_rfc3339(),
        prefix,
        rows: written,
        rows_scored: counts.scored,
        columns: schema.columns(),
    })
}

async fn open(invocation: &Invocation<'_>, field: &str) -> Result<Dataset> {
    let folder = invocation.event.folder(field, invocation.settings)?;
    let location = Location::S3 { bucket: invocation.settings.bucket.clone(), prefix: folder.prefix };
    Ok(Dataset::open(&location, CsvFormat::default()).await?)
}

fn rows_of(dataset: &Dataset) -> Result<u64> {
    let wrong = || {
        Failure::settings(format!("{} is no Parquet: the tables of the pipeline lie over Parquet", dataset.location))
    };
    dataset.row_count().ok_or_else(wrong)
}

/// What the join comes to.
struct Counts {
    rows: u64,
    /// Different ids with a prediction.
    scored: u64,
}

async fn count(invocation: &Invocation<'_>, join: &Join<'_>) -> Result<Counts> {
    let table = invocation.queries.rows("counting the results", &join.counts()).await?;
    Ok(Counts { rows: table.needed(0, "row_count")?, scored: table.needed(0, "scored_count")? })
}

/// Writes the rows; the folder and how many they are.
async fn unload(invocation: &Invocation<'_>, join: &Join<'_>) -> Result<(String, u64)> {
    let run_id = &invocation.event.run_id;
    let prefix = |n: u32| format!("results/run_id={run_id}/{n}");
    let select = join.select();
    let sql = |n: u32| {
        let location = literal(&format!("{}/", invocation.settings.location_of(&prefix(n))));
        format!("UNLOAD ({select}) TO {location} WITH (format = 'PARQUET', compression = 'SNAPPY')")
    };
    let finished = invocation.queries.run_numbered("writing the results", sql).await?;
    let prefix = prefix(finished.n);
    let location = Location::S3 { bucket: invocation.settings.bucket.clone(), prefix: prefix.clone() };
    let rows = rows_of(&Dataset::open_for(&location, Some(&[]), CsvFormat::default()).await?)?;
    Ok((prefix, rows))
}

/// Runs queries at once, and fails with the first that failed once all have ended.
async fn run_all(invocation: &Invocation<'_>, statements: Vec<(String, String)>) -> Result<()> {
    let run = |(what, sql): (String, String)| async move { invocation.queries.run(&what, &sql).await.map(drop) };
    join_all(statements.into_iter().map(run)).await.into_iter().collect()
}
