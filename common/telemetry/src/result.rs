//! The last line of standard output, which is also the run's `result.json`: one JSON object of at most 8 KiB that a
//! state machine reads by key.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use error::text::{without_control_characters, without_userinfo};
use error::{Error, Result};
use machine::RunId;

/// The most bytes of a result with the end of its line.
const MAX_BYTES: usize = 8 * 1024;

/// Where an object is too long, texts other than the error's message are cut to this many bytes of JSON first.
const SHORT_TEXT_BYTES: usize = 256;

/// Then fields are dropped until this much of the error's message has room.
const LONG_MESSAGE_BYTES: usize = 4 * 1024;

/// The field that names the files of a complete run, each with its SHA-256.
pub const FILES: &str = "files";
/// The field that says when a complete run ended, RFC 3339 in UTC.
pub const COMPLETED_AT: &str = "completed_at";
/// The field that says whether the gate let a model pass: `passed` or `failed`.
pub const GATE: &str = "gate";

/// What says how the run ended, and with which files, is never dropped.
const KEPT: [&str; 8] = ["event", "exit_code", "error_type", "error_message", "run_id", FILES, COMPLETED_AT, GATE];

/// The fields of a result as they become known. The order in which they are set is their importance: where the object
/// would be too long, the last are dropped first.
#[derive(Debug, Clone)]
pub struct Summary {
    fields: Map<String, Value>,
}

impl Summary {
    /// A summary that knows its run only.
    #[must_use]
    pub fn new(run_id: &RunId) -> Self {
        let mut summary = Self { fields: Map::new() };
        summary.set("run_id", run_id.as_str());
        summary
    }

    /// Sets a field. A number that is not finite becomes `null`.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) -> &mut Self {
        self.fields.insert(name.to_owned(), value.into());
        self
    }

    /// A field that was set.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.fields.get(name)
    }

    /// The result of a run that did all it should.
    #[must_use]
    pub fn succeeded(&self) -> Outcome {
        Outcome::of("result", Map::new(), &self.fields)
    }

    /// The result of a run that ended with `error`, with the fields known by then.
    #[must_use]
    pub fn failed(&self, error: &Error) -> Outcome {
        let mut cause = Map::new();
        cause.insert("exit_code".to_owned(), error.exit_code().into());
        cause.insert("error_type".to_owned(), error.kind().into());
        cause.insert("error_message".to_owned(), text_of(error).into());
        Outcome::of("failure", cause, &self.fields)
    }
}

/// On one line, and without what a URL in it may hold of a name and a password. Where memory is limited for this process alone, the limit is named.
fn text_of(error: &Error) -> String {
    let text = without_userinfo(&without_control_characters(&error.to_string())).into_owned();
    match machine::rlimits::remark().filter(|_| matches!(error, Error::Resources(_))) {
        Some(remark) => format!("{text}; {remark}"),
        None => text,
    }
}

/// How a run ended: what its last line and its `result.json` say.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    fields: Map<String, Value>,
    json: String,
}

/// Why a run failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failure<'outcome> {
    pub(super) error_type: &'outcome str,
    pub(super) message: &'outcome str,
}

impl Outcome {
    /// The cause of a failure stands before, and wins over, the summary's fields.
    fn of(event: &str, cause: Map<String, Value>, summary: &Map<String, Value>) -> Self {
        let mut fields = Map::new();
        fields.insert("event".to_owned(), event.into());
        fields.extend(cause);
        for (name, value) in summary {
            fields.entry(name).or_insert_with(|| value.clone());
        }
        let (fields, json) = fit(fields, MAX_BYTES - 1);
        Self { fields, json }
    }

    /// Reads the `result.json` of a run that has ended, so that a repeated run id ends as the run did.
    ///
    /// # Errors
    /// [`Error::Data`] when `json` is no result.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        let no_result = |reason: String| Error::Data(format!("result.json of the run is damaged: {reason}; remove it"));
        let text = std::str::from_utf8(json).map_err(|error| no_result(error.to_string()))?.trim_end();
        let fields: Map<String, Value> = serde_json::from_str(text).map_err(|error| no_result(error.to_string()))?;
        let exit_code = fields.get("exit_code").and_then(Value::as_u64);
        let is_known = match fields.get("event").and_then(Value::as_str) {
            Some("result") => true,
            Some("failure") => exit_code.is_some_and(|code| (1..=255).contains(&code)),
            _ => false,
        };
        if !is_known {
            return Err(no_result("neither a result nor a failure with its exit code".to_owned()));
        }
        Ok(Self { fields, json: text.to_owned() })
    }

    /// The object on one line, without the line's end: the bytes of `result.json`.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.json
    }

    /// The exit code of the process.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        let code = self.fields.get("exit_code").and_then(Value::as_u64).unwrap_or(0);
        if self.is_failure() { u8::try_from(code).unwrap_or(u8::MAX) } else { 0 }
    }

    /// A field of the object.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.fields.get(name)
    }

    /// A field that is text; empty where there is none.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        self.fields.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// A field that is a number.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<f64> {
        self.fields.get(name).and_then(Value::as_f64)
    }

    /// Whether the gate let the model pass; none where it was not asked.
    #[must_use]
    pub fn gate_passed(&self) -> Option<bool> {
        match self.text(GATE) {
            "passed" => Some(true),
            "failed" => Some(false),
            _ => None,
        }
    }

    /// The SHA-256 of each of the run's files, by name; none where the run is not complete, or an older program ran it.
    #[must_use]
    pub fn files(&self) -> Option<BTreeMap<String, String>> {
        let files = self.fields.get(FILES)?.as_object()?;
        files.iter().map(|(name, hash)| Some((name.clone(), hash.as_str()?.to_owned()))).collect()
    }

    /// When the run was complete, RFC 3339 in UTC; none where an older program ran it.
    #[must_use]
    pub fn completed_at(&self) -> Option<&str> {
        self.fields.get(COMPLETED_AT)?.as_str()
    }

    fn is_failure(&self) -> bool {
        self.text("event") == "failure"
    }

    pub(super) fn failure(&self) -> Option<Failure<'_>> {
        self.is_failure().then(|| Failure { error_type: self.text("error_type"), message: self.text("error_message") })
    }

    pub(super) fn fields(&self) -> &Map<String, Value> {
        &self.fields
    }
}

/// Shortens texts, then drops the least important fields until there is room for the message, then cuts the message.
fn fit(mut fields: Map<String, Value>, limit: usize) -> (Map<String, Value>, String) {
    let json = to_json(&fields);
    if json.len() <= limit {
        return (fields, json);
    }
    let message = fields.get("error_message").and_then(Value::as_str).unwrap_or_default().to_owned();
    if fields.contains_key("error_message") {
        fields.insert("error_message".to_owned(), "".into());
    }
    fields.values_mut().for_each(shorten_texts);
    let room = LONG_MESSAGE_BYTES.min(text_bytes(&message));
    while to_json(&fields).len() + room > limit {
        let Some(least) = fields.keys().rev().find(|name| !KEPT.contains(&name.as_str())).cloned() else {
            break;
        };
        fields.shift_remove(&least);
    }
    let room = limit.saturating_sub(to_json(&fields).len());
    if let Some(text) = fields.get_mut("error_message") {
        *text = shortened(&message, room).into();
    }
    let json = to_json(&fields);
    (fields, json)
}

fn to_json(fields: &Map<String, Value>) -> String {
    Value::Object(fields.clone()).to_string()
}

fn shorten_texts(value: &mut Value) {
    match value {
        Value::String(text) => *text = shortened(text, SHORT_TEXT_BYTES),
        Value::Array(items) => items.iter_mut().for_each(shorten_texts),
        Value::Object(fields) => fields.values_mut().for_each(shorten_texts),
        _ => {}
    }
}

/// The start of a text that takes at most `limit` bytes inside JSON's quotes, an ellipsis where it was cut.
fn shortened(text: &str, limit: usize) -> String {
    if text_bytes(text) <= limit {
        return text.to_owned();
    }
    let budget = limit.saturating_sub(json_bytes('…'));
    let mut used = 0;
    let is_within = |character: &char| {
        used += json_bytes(*character);
        used <= budget
    };
    text.chars().take_while(is_within).chain(['…']).collect()
}

fn text_bytes(text: &str) -> usize {
    text.chars().map(json_bytes).sum()
}

/// The bytes that a character takes in a JSON text as serde_json writes it.
fn json_bytes(character: char) -> usize {
    match character {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        other => other.len_utf8(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn summary() -> Summary {
        let mut summary = Summary::new(&"run-7".parse().unwrap());
        summary.set("model_version", "v1.2.0").set("r2", 0.9312).set("rmse", f64::NAN).set("rows_train", 24_000u64);
        summary
    }

    fn parse(outcome: &Outcome) -> Map<String, Value> {
        assert!(outcome.json().len() < MAX_BYTES, "{}", outcome.json().len());
        assert!(!outcome.json().contains('\n'));
        serde_json::from_str(outcome.json()).unwrap()
    }

    #[test]
    fn a_result_has_its_fields_in_order() {
        let outcome = summary().succeeded();
        let expected = r#"{"event":"result","run_id":"run-7","model_version":"v1.2.0","r2":0.9312,"rmse":null,"rows_train":24000}"#;
        assert_eq!(outcome.json(), expected);
        assert_eq!(outcome.exit_code(), 0);
        assert_eq!(outcome.failure(), None);
    }

    #[test]
    fn a_failure_says_why_and_keeps_what_is_known() {
        let outcome = summary().failed(&Error::Gate("r2 0.61 < 0.75".to_owned()));
        let expected = concat!(
            r#"{"event":"failure","exit_code":3,"error_type":"gate","error_message":"r2 0.61 < 0.75","#,
            r#""run_id":"run-7","model_version":"v1.2.0","r2":0.9312,"rmse":null,"rows_train":24000}"#
        );
        assert_eq!(outcome.json(), expected);
        assert_eq!(outcome.exit_code(), 3);
    }

    #[test]
    fn numbers_that_are_not_finite_are_null() {
        let mut summary = summary();
        summary.set("a", f64::INFINITY).set("b", f32::NAN).set("c", vec![1.0, f64::NEG_INFINITY]).set("d", None::<u64>);
        let fields = parse(&summary.succeeded());
        assert!(fields["a"].is_null() && fields["b"].is_null() && fields["d"].is_null());
        assert_eq!(fields["c"], serde_json::json!([1.0, null]));
    }

    #[test]
    fn a_long_message_is_cut_and_every_field_stays() {
        let outcome = summary().failed(&Error::Data("ä\"".repeat(20_000)));
        let fields = parse(&outcome);
        let message = fields["error_message"].as_str().unwrap();
        assert!(message.starts_with("ä\"ä") && message.ends_with('…'));
        assert!(outcome.json().len() > MAX_BYTES - 8, "{}", outcome.json().len());
        assert_eq!(fields["rows_train"], 24_000);
    }

    #[test]
    fn a_message_is_one_line() {
        let fields = parse(&summary().failed(&Error::Data("part 3:\n\tgarbage\u{2028}".to_owned())));
        assert_eq!(fields["error_message"], "part 3:\\n\\tgarbage\\u{2028}");
    }

    #[test]
    fn long_texts_are_shortened_before_fields_are_dropped() {
        let mut summary = summary();
        summary.set("output_location", "s3://bucket/".to_owned() + &"x".repeat(10_000)).set("last", 1);
        let fields = parse(&summary.succeeded());
        let location = fields["output_location"].as_str().unwrap();
        assert!(location.len() <= SHORT_TEXT_BYTES && location.starts_with("s3://bucket/x") && location.ends_with('…'));
        assert_eq!(fields["last"], 1);
    }

    #[test]
    fn a_text_of_a_usual_length_is_never_touched() {
        let location = "s3://bucket/".to_owned() + &"x".repeat(1024);
        let mut summary = summary();
        summary.set("output_location", location.clone());
        assert_eq!(parse(&summary.succeeded())["output_location"], location);
    }

    #[test]
    fn the_last_fields_are_dropped_first() {
        let mut summary = summary();
        summary.set("drift", vec![0.25; 3000]).set("seconds", 1.5);
        let outcome = summary.failed(&Error::Data("too much drift".to_owned()));
        let fields = parse(&outcome);
        assert_eq!(fields["error_message"], "too much drift");
        assert_eq!(fields["rows_train"], 24_000);
        assert!(!fields.contains_key("drift") && !fields.contains_key("seconds"));
    }

    #[test]
    fn an_outcome_is_read_back_as_it_was() {
        for outcome in [summary().succeeded(), summary().failed(&Error::Model("damaged".to_owned()))] {
            let read = Outcome::from_json(format!("{}\n", outcome.json()).as_bytes()).unwrap();
            assert_eq!((read.json(), read.exit_code()), (outcome.json(), outcome.exit_code()));
        }
    }

    #[test]
    fn what_is_no_outcome_is_refused() {
        let texts =
            ["", "[]", "{}", r#"{"event":"failure"}"#, r#"{"event":"failure","exit_code":0}"#, r#"{"event":"resu"#];
        for text in texts {
            assert_eq!(Outcome::from_json(text.as_bytes()).unwrap_err().exit_code(), 4, "{text}");
        }
        assert!(Outcome::from_json(b"\xff").is_err());
    }

    proptest! {
        #[test]
        fn every_outcome_is_valid_short_and_keeps_what_matters(
            message in ".{0,3000}",
            repeat in 1usize..8,
            fields in prop::collection::vec(("[a-z]{1,80}", ".{0,600}"), 0..60),
        ) {
            let mut summary = summary();
            for (name, text) in &fields {
                summary.set(name, text.as_str());
            }
            let outcome = summary.failed(&Error::Data(message.repeat(repeat)));
            prop_assert!(outcome.json().len() < MAX_BYTES);
            let read: Map<String, Value> = serde_json::from_str(outcome.json()).unwrap();
            prop_assert_eq!(&read, &outcome.fields);
            for name in &KEPT[..5] {
                prop_assert!(read.contains_key(*name), "{}", name);
            }
        }

        #[test]
        fn a_shortened_text_fits(text in any::<String>(), limit in 3usize..100) {
            let short = shortened(&text, limit);
            prop_assert!(serde_json::to_string(&short).unwrap().len() <= limit + 2);
            prop_assert!(text.starts_with(short.trim_end_matches('…')) || text.ends_with('…'));
        }
    }
}
