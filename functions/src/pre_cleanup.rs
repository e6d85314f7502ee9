//! Removes what earlier runs left behind: objects under `tmp/`, which are Athena's results, and tables `tmp_*`.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, NaiveDateTime, Utc};
use futures::{StreamExt, TryStreamExt};
use serde_json::{Value, json};
use storage::{ObjectMeta, Store};

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
    let clock = in_time(invocation.clock);
    let mut removed = Removed::default();
    let is_complete = objects(invocation.bucket.as_ref(), clock, &mut removed).await?
        && tables(invocation, clock, &mut removed).await?;
    Ok(json!({
        "deleted_objects": removed.objects,
        "deleted_bytes": removed.bytes,
        "dropped_tables": removed.tables,
        "complete": is_complete,
    }))
}

/// The same clock, by which this function is over early enough to be called again.
fn in_time(clock: Clock) -> Clock {
    Clock { deadline: clock.deadline.min(clock.started + SECONDS_MOST), ..clock }
}

/// Whether all old objects are gone.
async fn objects(bucket: &dyn Store, clock: Clock, removed: &mut Removed) -> Result<bool> {
    let old = bucket.list_older("tmp", clock.started - AGE).await?;
    let count = old.len() as u64;
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
    use std::fs::{self, File};
    use std::path::Path;

    use storage::Location;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    /// A file of ten bytes that was written so long ago.
    fn write(folder: &Path, key: &str, age: Duration) {
        let path = folder.join(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "ten bytes.").unwrap();
        File::options().write(true).open(path).unwrap().set_modified(SystemTime::now() - age).unwrap();
    }

    /// Cleans the folder with so much time; what was removed, and whether that is all.
    fn clean(folder: &Path, time: Duration) -> (Removed, bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut removed = Removed::default();
        let started = SystemTime::now();
        let is_complete = runtime.block_on(async {
            let bucket = Location::Local(folder.to_owned()).open().await.unwrap();
            objects(bucket.as_ref(), Clock { started, deadline: started + time }, &mut removed).await.unwrap()
        });
        (removed, is_complete)
    }

    #[test]
    fn objects_under_tmp_of_more_than_a_day_go_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let old = ["tmp/athena/result.csv", "tmp/athena/result.csv.metadata", "tmp/a/b/c"];
        let young = ["tmp/athena/of-today.csv", "tmp/young"];
        let others = ["models/engagement/latest.json", "scoring/latest.json", "results/run_id=a/0/x", "prepared/a/x"];
        let similar = ["tmp_of_mine/x", "tmp.csv", "other/tmp/x"];
        old.iter().for_each(|key| write(folder.path(), key, 24 * HOUR + HOUR / 60));
        young.iter().for_each(|key| write(folder.path(), key, 24 * HOUR - HOUR / 60));
        others.iter().chain(&similar).for_each(|key| write(folder.path(), key, 1000 * HOUR));

        let (removed, is_complete) = clean(folder.path(), HOUR);
        assert_eq!((removed.objects, removed.bytes, is_complete), (3, 30, true));
        assert!(old.iter().all(|key| !folder.path().join(key).exists()));
        assert!(young.iter().chain(&others).chain(&similar).all(|key| folder.path().join(key).exists()));
        let (removed, is_complete) = clean(folder.path(), HOUR);
        assert_eq!((removed.objects, is_complete), (0, true));
    }

    #[test]
    fn without_time_it_says_that_something_is_left() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "tmp/old", 48 * HOUR);
        let (removed, is_complete) = clean(folder.path(), Duration::ZERO);
        assert_eq!((removed.objects, is_complete), (0, false));
        assert!(folder.path().join("tmp/old").exists());
    }

    #[test]
    fn it_is_over_after_45_seconds() {
        let started = SystemTime::now();
        let seconds = |left: u64| {
            let clock = in_time(Clock { started, deadline: started + Duration::from_secs(left) });
            clock.deadline.duration_since(clock.started).unwrap().as_secs()
        };
        // Lambda's 55 s, of which serve.rs takes three; and where there is less.
        assert_eq!((seconds(52), seconds(20)), (45, 20));
    }

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
