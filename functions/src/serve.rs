//! One event after another from the Lambda Runtime API, each with its deadline, its log and its failure by name.

use std::panic::AssertUnwindSafe;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use error::Error;
use futures::FutureExt;
use lambda_runtime::{LambdaEvent, service_fn};
use machine::tasks::panic_text;
use serde_json::Value;
use telemetry::{Config, LogFormat, Program, Telemetry};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::athena::Clock;
use crate::context::{Clients, Invocation};
use crate::event::Event;
use crate::failure::{Failure, Kind, Result};
use crate::{create_qa_table, create_results_table, data_prep, inference_prep, pre_cleanup, update_kb};

/// How long before Lambda's own deadline queries are stopped, so that there is time to say so.
const MARGIN: Duration = Duration::from_secs(3);
/// What stopping queries may take after that.
const LAST_WORDS: Duration = Duration::from_millis(1500);

/// Which function this process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// Removes old temporary objects and tables.
    PreCleanup,
    /// Prepares training rows and customers.
    DataPrep,
    /// Checks a coming run of `predict`.
    InferencePrep,
    /// Checks a run's predictions.
    CreateQaTable,
    /// Joins customers and predictions.
    CreateResultsTable,
    /// Writes documents for the knowledge base.
    UpdateKb,
}

impl Function {
    const ALL: [Self; 6] = [
        Self::PreCleanup,
        Self::DataPrep,
        Self::InferencePrep,
        Self::CreateQaTable,
        Self::CreateResultsTable,
        Self::UpdateKb,
    ];

    /// Its name: the command, and a part of the tokens of its queries.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PreCleanup => "pre-cleanup",
            Self::DataPrep => "data-prep",
            Self::InferencePrep => "inference-prep",
            Self::CreateQaTable => "create-qa-table",
            Self::CreateResultsTable => "create-results-table",
            Self::UpdateKb => "update-kb",
        }
    }

    /// All names, for messages.
    #[must_use]
    pub fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    async fn call(self, invocation: &Invocation<'_>) -> Result<Value> {
        match self {
            Self::PreCleanup => pre_cleanup::run(invocation).await,
            Self::DataPrep => data_prep::run(invocation).await,
            Self::InferencePrep => inference_prep::run(invocation).await,
            Self::CreateQaTable => create_qa_table::run(invocation).await,
            Self::CreateResultsTable => create_results_table::run(invocation).await,
            Self::UpdateKb => update_kb::run(invocation).await,
        }
    }
}

impl FromStr for Function {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let found = Self::ALL.into_iter().find(|function| function.name() == text);
        found.ok_or_else(|| Error::Setting(format!("'{text}' is no function; there are {}", Self::names())))
    }
}

/// Answers events until the process is ended.
///
/// # Errors
/// [`Error::Setting`] where the variables that Lambda sets are missing; [`Error::Storage`] where its interface is gone.
pub fn serve(function: Function) -> Result<(), Error> {
    let needed = [
        "AWS_LAMBDA_RUNTIME_API",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_VERSION",
    ];
    if let Some(missing) = needed.into_iter().find(|name| std::env::var_os(name).is_none()) {
        return Err(Error::Setting(format!(
            "{missing} is not set: this program is started by AWS Lambda, or by what stands in for it"
        )));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::Resources(format!("no threads for the runtime: {error}")))?;
    runtime.block_on(async {
        let clients = OnceCell::new();
        let answer = |event: LambdaEvent<Value>| answer(function, &clients, event);
        let ended = lambda_runtime::run(service_fn(answer)).await;
        ended.map_err(|error| Error::Storage(format!("Lambda's interface cannot be reached: {error}")))
    })
}

/// Answers one event.
async fn answer(function: Function, clients: &OnceCell<Clients>, event: LambdaEvent<Value>) -> Result<Value> {
    let LambdaEvent { payload, context } = event;
    let deadline = context.deadline();
    let clock = Clock { started: SystemTime::now(), deadline: deadline.checked_sub(MARGIN).unwrap_or(deadline) };
    let work = AssertUnwindSafe(call(function, clients, payload, clock)).catch_unwind();
    let came_to = match timeout(clock.left() + LAST_WORDS, work).await {
        Ok(Ok(came_to)) => came_to,
        Ok(Err(panic)) => Err(Failure::defect(panic_text(panic.as_ref()))),
        Err(_) => Err(Failure::new(
            Kind::OutOfTime,
            format!("{}: storage did not answer in time; a retry goes on", function.name()),
        )),
    };
    match &came_to {
        Ok(answer) => tracing::info!("{} is done: {answer}", function.name()),
        Err(failure) => tracing::error!(error_type = %failure.kind, "{}", failure.message),
    }
    came_to
}

async fn call(function: Function, clients: &OnceCell<Clients>, payload: Value, clock: Clock) -> Result<Value> {
    let clients = clients.get_or_try_init(Clients::connect).await?;
    let event = Event::read(payload, &clients.settings)?;
    // Nothing ends with it: the process goes on to the next event.
    let _telemetry = Telemetry::start(Config {
        program: Program::Functions,
        environment: event.environment.clone(),
        model_name: clients.settings.model_name.clone(),
        run_id: event.run_id.clone(),
        log_format: std::env::var("LOG_FORMAT").ok().and_then(|format| format.parse::<LogFormat>().ok()),
    });
    tracing::info!(trigger = event.trigger, "{} begins, {} s left", function.name(), clock.left().as_secs());
    function.call(&Invocation::new(clients, function.name(), event, clock)).await
}
