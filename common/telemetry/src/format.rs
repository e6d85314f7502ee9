//! One line of the log for one event, as JSON or as text.

use std::fmt::{self, Write};
use std::str::FromStr;
use std::sync::{PoisonError, RwLock};

use chrono::{SecondsFormat, Utc};
use serde::Serialize;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::{LookupSpan, Scope};

use error::text::{without_control_characters, without_userinfo};
use machine::RunId;

/// How a line of the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// One line of text.
    Text,
}

/// A log format that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a log format; use json or text")]
pub struct UnknownLogFormat(String);

impl FromStr for LogFormat {
    type Err = UnknownLogFormat;

    fn from_str(text: &str) -> Result<Self, UnknownLogFormat> {
        match text {
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            other => Err(UnknownLogFormat(other.to_owned())),
        }
    }
}

/// The run that lines are of.
static RUN_ID: RwLock<String> = RwLock::new(String::new());

/// Names the run that the lines from here on are of.
pub(super) fn name_run(run_id: &RunId) {
    let mut named = RUN_ID.write().unwrap_or_else(PoisonError::into_inner);
    run_id.as_str().clone_into(&mut named);
}

/// How lines are written, and what all of them say besides the run.
#[derive(Debug)]
pub(super) struct Lines {
    pub(super) format: LogFormat,
    pub(super) task_arn: Option<String>,
    pub(super) is_coloured: bool,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let line = self.line(event, spans(context));
        let line = match self.format {
            LogFormat::Json => serde_json::to_string(&line).map_err(|_| fmt::Error)?,
            LogFormat::Text => line.text(event.metadata().level(), self.is_coloured),
        };
        // What libraries log of a URL is theirs to choose.
        writeln!(writer, "{}", without_userinfo(&line))
    }
}

impl Lines {
    fn line<'event>(&'event self, event: &'event Event<'_>, spans: String) -> Line<'event> {
        let mut content = Content::default();
        event.record(&mut content);
        Line {
            timestamp: Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true),
            level: event.metadata().level().as_str(),
            target: event.metadata().target(),
            run_id: RUN_ID.read().unwrap_or_else(PoisonError::into_inner).clone(),
            task_arn: self.task_arn.as_deref(),
            message: content.message,
            spans,
            fields: content.fields,
        }
    }
}

/// The spans that an event is in, from the outermost: `fetch{part=3}:get`.
fn spans<S, N>(context: &FmtContext<'_, S, N>) -> String
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    let mut names = Vec::new();
    for span in context.event_scope().into_iter().flat_map(Scope::from_root) {
        let extensions = span.extensions();
        let fields = extensions.get::<FormattedFields<N>>().map_or("", |fields| fields.fields.as_str());
        names.push(if fields.is_empty() { span.name().to_owned() } else { format!("{}{{{fields}}}", span.name()) });
    }
    names.join(":")
}

/// A line of the log, in the order of its JSON.
#[derive(Debug, Serialize)]
struct Line<'event> {
    timestamp: String,
    level: &'static str,
    target: &'event str,
    run_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_arn: Option<&'event str>,
    message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    spans: String,
    #[serde(skip_serializing_if = "Map::is_empty")]
    fields: Map<String, Value>,
}

impl Line<'_> {
    fn text(&self, level: &Level, is_coloured: bool) -> String {
        let level = if is_coloured { coloured(level) } else { format!("{level:5}") };
        let mut rest = format!("{}: {}", self.target, self.message);
        for (name, value) in &self.fields {
            append_field(&mut rest, name, value);
        }
        if !self.spans.is_empty() {
            append_field(&mut rest, "spans", &self.spans.as_str().into());
        }
        append_field(&mut rest, "run_id", &self.run_id.as_str().into());
        if let Some(task_arn) = self.task_arn {
            append_field(&mut rest, "task_arn", &task_arn.into());
        }
        format!("{} {level} {}", self.timestamp, without_control_characters(&rest))
    }
}

/// ` name=value`, in quotes where a reader could not tell where the value ends.
fn append_field(line: &mut String, name: &str, value: &Value) {
    let text = value.as_str().filter(|text| !text.is_empty() && !text.contains([' ', '"', '=']));
    let _ = match text {
        Some(plain) => write!(line, " {name}={plain}"),
        None => write!(line, " {name}={value}"),
    };
}

fn coloured(level: &Level) -> String {
    let colour = match *level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        Level::DEBUG => 34,
        Level::TRACE => 35,
    };
    format!("\u{1b}[{colour}m{level:5}\u{1b}[0m")
}

/// What an event carries. Numbers that are not finite are `null`, as JSON has none.
#[derive(Debug, Default)]
struct Content {
    message: String,
    fields: Map<String, Value>,
}

impl Content {
    fn set(&mut self, field: &Field, value: impl Into<Value>) {
        self.fields.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Content {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" {
            self.message = text;
        } else {
            self.set(field, text);
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.set(field, value);
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.set(field, value.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::layer::SubscriberExt;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines(format: LogFormat, task_arn: Option<&str>, is_coloured: bool) -> Lines {
        name_run(&"run-7".parse().unwrap());
        Lines { format, task_arn: task_arn.map(str::to_owned), is_coloured }
    }

    /// What `log` writes, one line per event.
    fn written(lines: Lines, log: impl FnOnce()) -> Vec<String> {
        let captured = Captured::default();
        let writer = captured.clone();
        let layer =
            tracing_subscriber::fmt::layer().with_ansi(false).event_format(lines).with_writer(move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        let bytes = captured.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn formats_are_read_by_name() {
        assert_eq!("json".parse(), Ok(LogFormat::Json));
        assert_eq!("text".parse(), Ok(LogFormat::Text));
        let message = "yaml".parse::<LogFormat>().unwrap_err().to_string();
        assert_eq!(message, "\"yaml\" is not a log format; use json or text");
    }

    #[test]
    fn json_has_everything_under_its_name() {
        let log = || {
            let _span = tracing::info_span!("fetch", part = 3).entered();
            tracing::info!(target: "train::read", rows = 5u64, share = 0.5, r2 = f64::NAN, ok = true, "read {}", "it");
        };
        let line = written(lines(LogFormat::Json, Some("arn:aws:ecs:x"), false), log).remove(0);
        let mut object: Map<String, Value> = serde_json::from_str(&line).unwrap();
        let timestamp = object.shift_remove("timestamp").unwrap();
        assert!(chrono::DateTime::parse_from_rfc3339(timestamp.as_str().unwrap()).is_ok());
        assert_eq!(
            Value::Object(object).to_string(),
            concat!(
                r#"{"level":"INFO","target":"train::read","run_id":"run-7","task_arn":"arn:aws:ecs:x","message":"read it","#,
                r#""spans":"fetch{part=3}","fields":{"rows":5,"share":0.5,"r2":null,"ok":true}}"#
            )
        );
    }

    #[test]
    fn json_leaves_out_what_there_is_none_of() {
        let line = written(lines(LogFormat::Json, None, false), || tracing::warn!(target: "x", "careful")).remove(0);
        assert!(line.ends_with(r#""level":"WARN","target":"x","run_id":"run-7","message":"careful"}"#), "{line}");
    }

    #[test]
    fn text_names_the_run_and_the_task() {
        let log =
            || tracing::info!(target: "predict::score", rows = 5, column = "first name", error = %"a=b", "scored");
        let line = written(lines(LogFormat::Text, Some("arn:aws:ecs:x"), false), log).remove(0);
        let (_, rest) = line.split_once(' ').unwrap();
        assert_eq!(
            rest,
            r#"INFO  predict::score: scored rows=5 column="first name" error="a=b" run_id=run-7 task_arn=arn:aws:ecs:x"#
        );
    }

    #[test]
    fn an_event_is_one_line_whatever_it_says() {
        let log = || tracing::error!(column = "a\nb\u{1b}[2J", "first\r\nsecond");
        for format in [LogFormat::Text, LogFormat::Json] {
            let written = written(lines(format, None, false), log);
            assert_eq!(written.len(), 1, "{written:?}");
            assert!(!written[0].contains(char::is_control), "{written:?}");
        }
    }

    #[test]
    fn colours_are_for_terminals() {
        let line = written(lines(LogFormat::Text, None, true), || tracing::error!("x")).remove(0);
        assert!(line.contains("\u{1b}[31mERROR\u{1b}[0m "), "{line:?}");
    }

    #[test]
    fn errors_and_options_are_readable() {
        let error = io::Error::other("disk full");
        let log = || {
            let error: &(dyn std::error::Error + 'static) = &error;
            tracing::warn!(target: "x", error, column = Some("a"), row = None::<u64>, "odd");
        };
        let line = written(lines(LogFormat::Json, None, false), log).remove(0);
        assert!(line.ends_with(r#""fields":{"error":"disk full","column":"a"}}"#), "{line}");
    }
}
