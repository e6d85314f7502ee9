//! What a function is called with. Everything that may end up in SQL or in a key is checked here.

use machine::{ModelVersion, RunId};
use serde_json::{Map, Value};

use crate::failure::{Failure, Result};
use crate::settings::Settings;

/// An event, checked.
#[derive(Debug, Clone)]
pub struct Event {
    /// The run.
    pub run_id: RunId,
    /// The label that the run trains.
    pub model_version: ModelVersion,
    /// Such as `prod`.
    pub environment: String,
    /// Such as `schedule`.
    pub trigger: String,
    fields: Map<String, Value>,
}

/// A folder below the bucket: what its keys begin with, without a `/` at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// `s3://bucket/prefix/`.
    pub location: String,
    /// The keys' beginning.
    pub prefix: String,
}

impl Event {
    /// Checks the fields that every event has.
    ///
    /// # Errors
    /// `BadSettings` that names the field.
    pub fn read(json: Value, settings: &Settings) -> Result<Self> {
        let Value::Object(fields) = json else {
            return Err(Failure::settings(
                "the event is no object: give run_id, model_version, environment and trigger",
            ));
        };
        let text = |name: &str| match fields.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(Failure::settings(format!("the event's {name} is no text: {other}"))),
        };
        let needed = |name: &str| text(name)?.ok_or_else(|| Failure::settings(format!("the event has no {name}")));
        let checked = |name: &str, default: &str| {
            let text = text(name)?.unwrap_or_else(|| default.to_owned());
            checked_name(name, &text).map(|()| text)
        };
        let wrong =
            |name: &str, error: &dyn std::fmt::Display| Failure::settings(format!("the event's {name}: {error}"));
        Ok(Self {
            run_id: needed("run_id")?.parse().map_err(|error| wrong("run_id", &error))?,
            model_version: needed("model_version")?.parse().map_err(|error| wrong("model_version", &error))?,
            environment: checked("environment", &settings.environment)?,
            trigger: checked("trigger", "manual")?,
            fields,
        })
    }

    /// A field; `null` where it is missing. `path` has dots: `inference.rows_predicted`.
    #[must_use]
    pub fn get(&self, path: &str) -> &Value {
        let mut segments = path.split('.');
        let first = segments.next().and_then(|name| self.fields.get(name)).unwrap_or(&Value::Null);
        segments.fold(first, |value, name| value.get(name).unwrap_or(&Value::Null))
    }

    /// A number.
    #[must_use]
    pub fn number(&self, path: &str) -> Option<f64> {
        self.get(path).as_f64()
    }

    /// A text that matches the pattern of run ids; `None` where it is missing.
    ///
    /// # Errors
    /// `BadSettings` where it does not match.
    pub fn name(&self, path: &str) -> Result<Option<&str>> {
        match self.get(path) {
            Value::Null => Ok(None),
            Value::String(text) => checked_name(path, text).map(|()| Some(text.as_str())),
            other => Err(Failure::settings(format!("the event's {path} is no text: {other}"))),
        }
    }

    /// A location of a folder, which must lie under the bucket.
    ///
    /// # Errors
    /// `BadSettings` where it is missing, lies elsewhere, or has characters that no location of the pipeline has.
    pub fn folder(&self, path: &str, settings: &Settings) -> Result<Folder> {
        let text = self.get(path).as_str().filter(|text| !text.is_empty());
        let text = text.ok_or_else(|| Failure::settings(format!("the event has no {path}")))?;
        let start = format!("s3://{}/", settings.bucket);
        let below = text.strip_prefix(&start).map(|below| below.trim_end_matches('/'));
        let is_allowed = |character: char| character.is_ascii_alphanumeric() || "._-=/".contains(character);
        let is_sound = |below: &&str| {
            let segments = below.split('/');
            below.chars().all(is_allowed) && segments.clone().all(|segment| !matches!(segment, "" | "." | ".."))
        };
        let prefix = below.filter(is_sound).ok_or_else(|| {
            let wanted = "letters, digits and . _ - = / are allowed in it";
            Failure::settings(format!("the event's {path} is {text:?}, which is no folder under {start}: {wanted}"))
        })?;
        Ok(Folder { location: format!("{start}{prefix}/"), prefix: prefix.to_owned() })
    }
}

/// Checks a text against the pattern of run ids, but for the names that are reserved for pointers.
fn checked_name(path: &str, text: &str) -> Result<()> {
    match text.parse::<RunId>() {
        Ok(_) => Ok(()),
        Err(_) if text == "latest" => Ok(()),
        Err(_) => Err(Failure::settings(format!(
            "the event's {path} is {text:?}: use 1 to 128 of A-Z a-z 0-9 . _ -, the first a letter or a digit"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings() -> Settings {
        Settings::read(|name| (name == "BUCKET").then(|| "lake".to_owned())).unwrap()
    }

    fn event(mut more: Value) -> Result<Event> {
        let mut json = json!({"run_id": "r-1", "model_version": "v1"});
        json.as_object_mut().unwrap().append(more.as_object_mut().unwrap());
        Event::read(json, &settings())
    }

    #[test]
    fn what_is_missing_has_a_default_or_is_named() {
        let read = event(json!({"environment": null})).unwrap();
        assert_eq!((read.environment.as_str(), read.trigger.as_str()), ("dev", "manual"));
        let failure = Event::read(json!({"model_version": "v1"}), &settings()).unwrap_err();
        assert_eq!(failure.message, "the event has no run_id");
        assert!(Event::read(json!([]), &settings()).is_err());
    }

    #[test]
    fn nothing_that_could_leave_a_literal_or_a_folder_is_taken() {
        for wrong in ["it's", "a b", "../x", "a\nb", "ü", "", "a;b", "a/b"] {
            assert!(event(json!({"environment": wrong})).is_err(), "{wrong:?}");
            assert!(event(json!({"run_id": wrong})).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_location_lies_under_the_bucket() {
        let found = |text: &str| {
            event(json!({"locations": {"input_data": text}})).unwrap().folder("locations.input_data", &settings())
        };
        let folder = found("s3://lake/prepared/r-1/0/customers/").unwrap();
        assert_eq!(folder.prefix, "prepared/r-1/0/customers");
        assert_eq!(folder.location, "s3://lake/prepared/r-1/0/customers/");
        for wrong in [
            "",
            "s3://other/x/",
            "s3://lake/",
            "s3://lake/../x",
            "s3://lake/a//b",
            "s3://lake/a'b",
            "/tmp/x",
            "s3://lakes/x",
        ] {
            assert!(found(wrong).is_err(), "{wrong:?}");
        }
    }
}
