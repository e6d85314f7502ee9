//! What `predict prepare` finds out about the coming run: model, schema, sizes and a sample of the customers.

use app::Context;
use app::settings::{Parsed, parse};
use machine::{Explicit, Limits, Shutdown};
use predict::prepare;
use predict::settings::{Arguments, Settings};
use serde_json::Value;
use telemetry::{Config, LogFormat, Outcome, Program, Telemetry};

use crate::context::Invocation;
use crate::failure::{Failure, Kind, Result};
use crate::objects;

/// Exit codes whose report is an answer: done, wrong data, a model that cannot be used. A retry would find the same.
const ANSWERS: [u64; 3] = [0, 4, 6];

/// Settings of the scoring that its model or its customers may not serve: variables of `predict`, each with its flag. They stand in the
/// environment, as the task definition has them, and in the event's `variables`, which the state machine adds to the task's. What the task
/// may use of the machine is left out: this function has a memory of its own.
const OF_SCORING: [(&str, &str); 4] = [
    ("INTERVAL", "--interval"),
    ("REASONS", "--reasons"),
    ("REASONS_WHERE", "--reasons-where"),
    ("COLUMNS", "--columns"),
];

/// Checks the coming run and returns the report, `runs/<run_id>/prepare.json`.
///
/// # Errors
/// `BadSettings`, `QueryFailed`.
pub async fn run(invocation: &Invocation<'_>) -> Result<Value> {
    let run_id = &invocation.event.run_id;
    let customers = invocation.event.folder("locations.input_data", invocation.settings)?;
    let output = invocation.settings.output.open().await?;
    let key = format!("runs/{run_id}/prepare.json");
    let report = async || objects::read::<Value>(output.as_ref(), &key).await;
    if let Some(earlier) = report().await?.filter(is_answer) {
        return Ok(earlier);
    }
    let outcome = prepare(settings(invocation, &customers.location)?, invocation).await?;
    let failure = failure_of(&outcome);
    match report().await?.filter(is_answer) {
        Some(report) if is_answer_code(u64::from(outcome.exit_code())) => Ok(report),
        _ => Err(failure),
    }
}

/// The settings of `predict prepare`, by its own command line.
fn settings(invocation: &Invocation<'_>, customers: &str) -> Result<Settings> {
    let settings = invocation.settings;
    let arguments = [
        "predict",
        "prepare",
        "--input",
        customers,
        "--output",
        &settings.output.to_string(),
        "--models",
        &settings.models.to_string(),
        "--model-name",
        &settings.model_name,
        "--model-version",
        "latest",
        "--run-id",
        invocation.event.run_id.as_str(),
        "--environment",
        &invocation.event.environment,
    ];
    let added = added(invocation)?;
    let flags = added.iter().filter(|(_, value)| !value.is_empty()).map(|(flag, value)| format!("{flag}={value}"));
    let arguments = arguments.into_iter().map(str::to_owned).chain(flags);
    match parse::<Arguments>(arguments.map(Into::into))? {
        Parsed::Run(arguments) => match *arguments {
            Arguments::Prepare(mut settings) | Arguments::Predict(mut settings) => {
                added.iter().filter(|(_, value)| value.is_empty()).for_each(|(flag, _)| unset(&mut settings, flag));
                Ok(*settings)
            }
            Arguments::Evaluate(_) | Arguments::History(_) => {
                Err(Failure::defect("prepare was read as another command".to_owned()))
            }
        },
        Parsed::Print(text) => Err(Failure::defect(text)),
    }
}

/// What the event's `variables` set, as `{"Name": …, "Value": …}`: flag and value. The last of a name counts.
fn added(invocation: &Invocation<'_>) -> Result<Vec<(&'static str, String)>> {
    let variables = match invocation.event.get("variables") {
        Value::Null => return Ok(Vec::new()),
        Value::Array(variables) => variables,
        other => return Err(Failure::settings(format!("the event's variables are no list: {other}"))),
    };
    let set = |(name, flag): (&str, &'static str)| {
        let variable = variables.iter().rfind(|variable| variable["Name"] == name)?;
        let value = variable["Value"].as_str().map(|value| (flag, value.trim().to_owned()));
        Some(value.ok_or_else(|| Failure::settings(format!("the event's {name} is no text: {variable}"))))
    };
    OF_SCORING.into_iter().filter_map(set).collect()
}

/// Takes back what the environment of this function says of a setting: an empty variable of the event stands over it.
fn unset(settings: &mut Settings, flag: &str) {
    match flag {
        "--interval" => settings.interval = None,
        "--reasons" => settings.reasons = 0,
        "--reasons-where" => settings.reasons_where = None,
        _ => settings.columns.clear(),
    }
}

async fn prepare(settings: Settings, invocation: &Invocation<'_>) -> Result<Outcome> {
    let mebibytes = std::env::var("AWS_LAMBDA_FUNCTION_MEMORY_SIZE").ok().and_then(|size| size.parse::<u64>().ok());
    let asked = settings.shared.explicit_limits();
    let memory_bytes = asked.memory_bytes.or(mebibytes.map(|mebibytes| mebibytes << 20));
    let limits = Limits::detect(Explicit { memory_bytes, ..asked })?;
    let telemetry = Telemetry::start(Config {
        program: Program::Predict,
        environment: settings.shared.environment.clone(),
        model_name: settings.store.model_name.clone(),
        run_id: invocation.event.run_id.clone(),
        log_format: Some(LogFormat::Json),
    });
    let context = Context { run_id: invocation.event.run_id.clone(), limits, shutdown: Shutdown::never(), telemetry };
    Ok(prepare::run(settings, context).await.0)
}

fn is_answer(report: &Value) -> bool {
    report["exit_code"].as_u64().is_some_and(is_answer_code)
}

fn is_answer_code(code: u64) -> bool {
    ANSWERS.contains(&code)
}

fn failure_of(outcome: &Outcome) -> Failure {
    let kind = match outcome.exit_code() {
        2 | 4 | 6 | 8 => Kind::BadSettings,
        _ => Kind::QueryFailed,
    };
    let said = outcome.text("error_message");
    let said = if said.is_empty() { "predict prepare wrote no report; a retry may help" } else { said };
    Failure::new(kind, said)
}
