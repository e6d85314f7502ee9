//! Removes what earlier runs left behind: objects under `tmp/`, which are Athena's results, and tables `tmp_*`.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, NaiveDateTime, Utc};
use futures::{StreamExt, TryStreamExt};
use serde_json::{Value, json};
use storage::ObjectMeta;

use crate::athena::text::{ddl_name, literal};
use crate::athena::{Clock, Queries};
use crate::context::Invocation;
use crate::failure::{Kind, Result};

/// What is younger may be in use by another run.
const AGE: Duration = Duration::from_secs(24 * 3600);
/// The state's timeout is 60 s, the Lambda's 55.
const SECONDS_MOST: Duration = Duration::from_secs(45);
/// Objects removed at once.
const CONCURRENT_DELETES: usize = 32;
/// What tables of one run begin with; the digits behind it tell when they were made.
pub(crate) const TABLE_PREFIX: &str = "tmp_";
/// How they tell it.
pub(crate) const TABLE_TIME: &str = "%Y%m%d%H%M";
/// Length of such a time.
const TABLE_TIME_DIGITS: usize = 12;

/// What was removed so far.
#[derive(Debug, Default)]
struct Removed {
    objects: u64,
    bytes: u64,
    tables: u64,
}

/// Removes as much as there is time for. Called again, it goes on.
///
/// # Errors
/// `QueryFailed`, `BadSettings`; running out of time is no failure.
pub async fn run(invocation: &Invocation<'_>) -> Result<Value> {
    let started = invocation.clock.started;
    let clock = Clock { started, deadline: invocation.clock.deadline.min(started + SECONDS_MOST) };
    let mut removed = Removed::default();
    let is_complete =
        objects(invocation, clock, &mut removed).await? && tables(invocation, clock, &mut removed).await?;
    Ok(json!({
        "deleted_objects": removed.objects,
        "deleted_bytes": removed.bytes,
        "dropped_tables": removed.tables,
        "complete": is_complete,
    }))
}

/// Whether all old objects are gone.
async fn objects(invocation: &Invocation<'_>, clock: Clock, removed: &mut Removed) -> Result<bool> {
    let old = invocation.bucket.list_older("tmp", clock.started - AGE).await?;
    let count = old.len() as u64;
    let bucket = invocation.bucket;
    let remove = |object: ObjectMeta| async move { bucket.delete(&object.key).await.map(|()| object.size) };
    let in_time = futures::stream::iter(old).take_while(|_| std::future::ready(!clock.is_over()));
    let mut gone = in_time.map(remove).buffer_unordered(CONCURRENT_DELETES);
    while let Some(bytes) = gone.try_next().await? {
        removed.objects += 1;
        removed.bytes += bytes;
    }
    drop(gone);
    Ok(removed.objects == count)
}

/// Whether all old tables are gone.
async fn tables(invocation: &Invocation<'_>, clock: Clock, removed: &mut Removed) -> Result<bool> {
    // What there is now, not what an earlier call of the run found: the time is a part of the tokens.
    let since = clock.started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_micros();
    let run_id = format!("{} {since}", invocation.event.run_id);
    let queries = Queries { athena: invocation.queries.athena, function: invocation.queries.function, run_id, clock };
    let database = &invocation.settings.database;
    match drop_tables(&queries, database, removed).await {
        Err(failure) if failure.kind == Kind::OutOfTime => Ok(false),
        other => other.map(|()| true),
    }
}

async fn drop_tables(queries: &Queries<'_>, database: &str, removed: &mut Removed) -> Result<()> {
    let pattern = literal(&format!("{TABLE_PREFIX}*"));
    let listed =
        queries.rows("listing old tables", &format!("SHOW TABLES IN {} {pattern}", ddl_name(database))).await?;
    let names = listed.rows.into_iter().filter_map(|mut row| row.pop().flatten());
    let now = Utc::now();
    for name in names.filter(|name| is_old(name, now)) {
        let sql = format!("DROP TABLE IF EXISTS {}.{}", ddl_name(database), ddl_name(&name));
        queries.run(&format!("dropping {name}"), &sql).await?;
        removed.tables += 1;
    }
    Ok(())
}

/// Whether a table is of a run that is over. All that the functions make tell when; a table that does not is of nobody's run.
fn is_old(name: &str, now: DateTime<Utc>) -> bool {
    let Some(rest) = name.strip_prefix(TABLE_PREFIX) else { return false };
    let time = rest.get(..TABLE_TIME_DIGITS).and_then(|time| NaiveDateTime::parse_from_str(time, TABLE_TIME).ok());
    time.is_none_or(|time| now - time.and_utc() > AGE_AS_DELTA)
}

const AGE_AS_DELTA: chrono::TimeDelta = chrono::TimeDelta::hours(24);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_today_stay() {
        let now = DateTime::parse_from_rfc3339("2026-11-23T03:00:00Z").unwrap().with_timezone(&Utc);
        for (name, old) in [
            ("tmp_202611220259_ab12_customers", true),
            ("tmp_202611220301_ab12_customers", false),
            ("tmp_202611230300_ab12_customers", false),
            ("tmp_anything", true),
            ("results", false),
            ("tmpfile", false),
        ] {
            assert_eq!(is_old(name, now), old, "{name}");
        }
    }
}
