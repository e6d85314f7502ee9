//! The calls of Athena's interface that the functions make.

use aws_sdk_athena::Client;
use aws_sdk_athena::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_athena::types::{
    QueryExecution, QueryExecutionContext, ResultReuseByAgeConfiguration, ResultReuseConfiguration,
};
use error::text::without_control_characters;

use super::Reuse;
use super::results::{Pages, Table};
use crate::failure::{Failure, Result};
use crate::settings::Settings;

/// Rows of a page of results: the most that Athena gives.
const PAGE_ROWS: i32 = 1000;
/// Longest time for which Athena's own results are used again, in minutes: seven days.
const MOST_REUSE_MINUTES: f64 = 10_080.0;
/// Codes of errors that no retry helps against.
const DENIED: [&str; 5] = [
    "AccessDeniedException",
    "UnrecognizedClientException",
    "InvalidSignatureException",
    "ExpiredTokenException",
    "InvalidClientTokenId",
];

/// A client of Athena with the workgroup and the database that every query has.
#[derive(Debug)]
pub struct Athena {
    client: Client,
    workgroup: String,
    database: String,
    reuse_minutes: i32,
}

impl Athena {
    /// Sets the client up by the environment.
    ///
    /// # Errors
    /// `BadSettings` where the SDK's settings are wrong.
    pub async fn connect(settings: &Settings) -> Result<Self> {
        let config = storage::sdk_config().await?;
        Ok(Self {
            client: Client::new(&config),
            workgroup: settings.workgroup.clone(),
            database: settings.database.clone(),
            reuse_minutes: (settings.reuse_hours * 60.0).clamp(0.0, MOST_REUSE_MINUTES) as i32,
        })
    }

    /// Starts a query, or finds the one that was started under `token`; its id.
    pub(super) async fn start(&self, sql: &str, token: &str, reuse: Reuse) -> Result<String> {
        let context = QueryExecutionContext::builder().database(&self.database).build();
        let request = self.client.start_query_execution().query_string(sql).client_request_token(token);
        let request = request.work_group(&self.workgroup).query_execution_context(context);
        let reuse = (self.reuse_minutes > 0 && reuse == Reuse::ByAge).then(|| self.reuse());
        let answer = request.set_result_reuse_configuration(reuse).send().await;
        let answer = answer.map_err(|error| refused("StartQueryExecution", &error))?;
        answer.query_execution_id.ok_or_else(|| Failure::query("Athena gave no id for the query; a retry may help"))
    }

    /// What Athena says of a query.
    pub(super) async fn look(&self, id: &str) -> Result<QueryExecution> {
        let answer = self.client.get_query_execution().query_execution_id(id).send().await;
        let answer = answer.map_err(|error| refused("GetQueryExecution", &error))?;
        answer
            .query_execution
            .ok_or_else(|| Failure::query(format!("Athena does not tell of query {id}; a retry may help")))
    }

    /// Stops a query. That it cannot be stopped is only logged: the run's time is over in any case.
    pub(super) async fn stop(&self, id: &str) {
        if let Err(error) = self.client.stop_query_execution().query_execution_id(id).send().await {
            tracing::warn!(query = id, "the query cannot be stopped: {}", DisplayErrorContext(&error));
        }
    }

    /// The rows of a query that succeeded.
    pub(super) async fn results(&self, id: &str) -> Result<Table> {
        let mut pages = Pages::default();
        let mut next = None;
        loop {
            let request = self.client.get_query_results().query_execution_id(id).max_results(PAGE_ROWS);
            let answer = request.set_next_token(next).send().await;
            let answer = answer.map_err(|error| refused("GetQueryResults", &error))?;
            next = answer.next_token.clone();
            pages.add(answer.result_set.as_ref());
            if next.is_none() {
                return Ok(pages.table());
            }
        }
    }

    fn reuse(&self) -> ResultReuseConfiguration {
        let by_age =
            ResultReuseByAgeConfiguration::builder().enabled(true).max_age_in_minutes(self.reuse_minutes).build();
        ResultReuseConfiguration::builder().result_reuse_by_age_configuration(by_age).build()
    }
}

/// The failure of a call that Athena refused or that never came to an answer.
fn refused<E>(call: &str, error: &SdkError<E>) -> Failure
where
    E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code).unwrap_or_default().to_owned();
    let said = error.as_service_error().and_then(ProvideErrorMetadata::message).map(str::to_owned);
    let said = said.unwrap_or_else(|| DisplayErrorContext(error).to_string());
    let said = without_control_characters(&said);
    if DENIED.contains(&code.as_str()) {
        return Failure::settings(format!("Athena refused {call}: {said}; check the function's role and credentials"));
    }
    let code = if code.is_empty() { String::new() } else { format!(" ({code})") };
    Failure::query(format!("Athena could not be asked, {call}{code}: {said}; a retry may help"))
}
