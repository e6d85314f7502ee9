//! Athena: one query at a time, each under a token that makes a retry join it.
//!
//! A query is known by the run, the function, its text and a number `n`. Who asks again under the same token is given the same query,
//! whether it runs, has succeeded or has failed; after one that failed the next attempt goes on with `n + 1`, which is also in
//! the text where the query writes to a folder, because a failed UNLOAD leaves files and UNLOAD wants an empty folder.

mod client;
mod results;
pub mod text;

use std::time::{Duration, SystemTime};

use aws_sdk_athena::types::{AthenaError, QueryExecution, QueryExecutionState, QueryExecutionStatistics};
use tokio::time::sleep;

pub use client::Athena;
pub use results::{Column, Table};

use crate::failure::{Failure, Kind, Result};

/// How long the first looks at a query are apart, and how long they are at most.
const FIRST_LOOK: Duration = Duration::from_millis(100);
const LOOKS_APART: Duration = Duration::from_secs(1);
/// Most tries of one query over all attempts.
const TRIES: u32 = 20;
/// What Athena says where UNLOAD finds files in its folder.
const FOLDER_IS_USED: &str = "HIVE_PATH_ALREADY_EXISTS";
/// `AthenaError.ErrorCategory` of what the author of the query did wrong.
const USER_ERROR: i32 = 2;

/// When an invocation began and when it has to be over.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// When the event was taken.
    pub started: SystemTime,
    /// When queries are stopped.
    pub deadline: SystemTime,
}

impl Clock {
    /// What is left until the deadline.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.deadline.duration_since(SystemTime::now()).unwrap_or_default()
    }

    /// Whether the deadline has come.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.left().is_zero()
    }
}

/// The queries of one invocation.
#[derive(Debug)]
pub struct Queries<'athena> {
    /// Who answers them.
    pub athena: &'athena Athena,
    /// The function's name, a part of the tokens.
    pub function: &'static str,
    /// The run, a part of the tokens.
    pub run_id: String,
    /// The invocation's times.
    pub clock: Clock,
}

/// Whether Athena may answer with the results of an earlier query of the same text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reuse {
    /// The tables that it reads may have changed.
    Never,
    /// Within `REUSE_HOURS`.
    ByAge,
}

/// A query that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Athena's id of it.
    pub id: String,
    /// How many tries before it failed.
    pub n: u32,
    /// Bytes that it scanned.
    pub bytes_scanned: u64,
}

/// How a query ended that did not succeed.
#[derive(Debug, Clone)]
struct Ended {
    id: String,
    reason: String,
    submitted: Option<SystemTime>,
    is_user_error: bool,
}

impl Queries<'_> {
    /// Runs a query whose text does not depend on `n`; `what` is its name in messages.
    ///
    /// # Errors
    /// `QueryFailed`, `OutOfTime`; `BadSettings` where access is denied.
    pub async fn run(&self, what: &str, sql: &str) -> Result<Finished> {
        self.run_numbered(what, |_| sql.to_owned()).await
    }

    /// Runs a query and reads its rows.
    ///
    /// # Errors
    /// As [`Queries::run`].
    pub async fn rows(&self, what: &str, sql: &str) -> Result<Table> {
        let finished = self.run(what, sql).await?;
        self.athena.results(&finished.id).await.map_err(|failure| failure.within(what))
    }

    /// Runs the query whose text is `sql(n)`.
    ///
    /// # Errors
    /// As [`Queries::run`].
    pub async fn run_numbered(&self, what: &str, sql: impl Fn(u32) -> String) -> Result<Finished> {
        self.try_numbered(what, Reuse::Never, sql).await?.map_err(|ended| failed(what, &ended))
    }

    /// Runs a query that shows whether what a user wrote can be run, and reads its rows; they may be of an earlier query of the
    /// same text. What Athena has against it comes through `explain`.
    ///
    /// # Errors
    /// As [`Queries::run`]; `BadSettings` where Athena says that the query is wrong.
    pub async fn check(&self, what: &str, sql: &str, explain: impl Fn(&str) -> String) -> Result<Table> {
        match self.try_numbered(what, Reuse::ByAge, |_| sql.to_owned()).await? {
            Ok(finished) => self.athena.results(&finished.id).await.map_err(|failure| failure.within(what)),
            Err(ended) if ended.is_user_error => Err(Failure::settings(explain(&ended.reason))),
            Err(ended) => Err(failed(what, &ended)),
        }
    }

    async fn try_numbered(
        &self,
        what: &str,
        reuse: Reuse,
        sql: impl Fn(u32) -> String,
    ) -> Result<Result<Finished, Ended>> {
        for n in 0..TRIES {
            let sql = sql(n);
            if self.clock.is_over() {
                return Err(self.out_of_time(what, "it was not started"));
            }
            let token = text::token(&[&self.run_id, self.function, &sql, &n.to_string()]);
            let id = self.athena.start(&sql, &token, reuse).await.map_err(|failure| failure.within(what))?;
            tracing::info!(query = id, n, "{what}: asked Athena");
            match self.wait(what, &id).await? {
                Ok(bytes_scanned) => return Ok(Ok(Finished { id, n, bytes_scanned })),
                Err(ended) if self.is_earlier(&ended) || ended.reason.contains(FOLDER_IS_USED) => {
                    tracing::warn!(
                        query = id,
                        n,
                        "{what}: an earlier try had failed, the next begins: {}",
                        ended.reason
                    );
                }
                Err(ended) => return Ok(Err(ended)),
            }
        }
        let advice = "look at the queries in Athena's history and start a new run";
        Err(Failure::query(format!("{what}: {TRIES} tries have failed; {advice}")))
    }

    /// Whether the query was submitted before this invocation, so that its failure is one that was reported already.
    fn is_earlier(&self, ended: &Ended) -> bool {
        ended.submitted.is_some_and(|submitted| submitted < self.clock.started)
    }

    /// Looks at a query until it has ended; at the deadline it is stopped.
    async fn wait(&self, what: &str, id: &str) -> Result<Result<u64, Ended>> {
        let mut apart = FIRST_LOOK;
        loop {
            let execution = self.athena.look(id).await.map_err(|failure| failure.within(what))?;
            if let Some(ended) = outcome(&execution) {
                return Ok(ended);
            }
            let left = self.clock.left();
            if left.is_zero() {
                self.athena.stop(id).await;
                return Err(self.out_of_time(what, &format!("query {id} was stopped")));
            }
            sleep(apart.min(left)).await;
            apart = (apart * 3 / 2).min(LOOKS_APART);
        }
    }

    fn out_of_time(&self, what: &str, done: &str) -> Failure {
        let seconds = self.clock.deadline.duration_since(self.clock.started).unwrap_or_default().as_secs();
        let message = format!(
            "{what}: not done within {seconds} s, {done}; a retry goes on; where it happens again, give the SELECT less to read"
        );
        Failure::new(Kind::OutOfTime, message)
    }
}

/// Whether a query has ended, and how: with the bytes that it scanned, or not well.
fn outcome(execution: &QueryExecution) -> Option<Result<u64, Ended>> {
    let status = execution.status()?;
    match status.state()? {
        QueryExecutionState::Queued | QueryExecutionState::Running => None,
        QueryExecutionState::Succeeded => {
            let scanned = execution.statistics().and_then(QueryExecutionStatistics::data_scanned_in_bytes);
            Some(Ok(scanned.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0)))
        }
        state => {
            let error = status.athena_error();
            let said = status.state_change_reason().or_else(|| error.and_then(|error| error.error_message()));
            let submitted = status.submission_date_time().and_then(|time| SystemTime::try_from(*time).ok());
            let is_user_error = error.and_then(AthenaError::error_category) == Some(USER_ERROR);
            let id = execution.query_execution_id().unwrap_or_default().to_owned();
            let reason = error::text::without_control_characters(said.unwrap_or(state.as_str()));
            Some(Err(Ended { id, reason, submitted, is_user_error }))
        }
    }
}

fn failed(what: &str, ended: &Ended) -> Failure {
    let Ended { id, reason, is_user_error, .. } = ended;
    let whose = if *is_user_error { "correct the query" } else { "a retry may help" };
    Failure::query(format!("{what}: query {id} failed: {reason}; {whose}"))
}
