//! The output's `latest.json`: which run's predictions are the newest complete ones.

use attempt::pointer::PointerFile;
use error::{Error, Result};
use registry::pointer::FORMAT_VERSION;
use serde::{Deserialize, Serialize};
use telemetry::Outcome;

/// Key of the pointer in the output.
pub const LATEST: &str = "latest.json";

/// What `latest.json` holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutputPointer {
    /// Layout of this file.
    pub format_version: u32,
    /// The run.
    pub run_id: String,
    /// Where its predictions lie, relative to the output.
    pub path: String,
    /// Label of the model that made them.
    pub model_version: String,
    /// Run that trained it.
    pub model_run_id: String,
    /// Rows with a prediction.
    pub rows: u64,
    /// When the run was complete, RFC 3339 in UTC.
    pub published_at: String,
}

impl OutputPointer {
    /// A pointer to a complete run. `began_at` stands for the time of a run of a release whose results do not tell it.
    #[must_use]
    pub fn to(outcome: &Outcome, began_at: &str) -> Self {
        let text = |name: &str| outcome.text(name).to_owned();
        let run_id = text("run_id");
        Self {
            format_version: FORMAT_VERSION,
            path: format!("predictions/run_id={run_id}"),
            run_id,
            model_version: text("model_version"),
            model_run_id: text("model_run_id"),
            rows: outcome.get("rows_predicted").and_then(serde_json::Value::as_u64).unwrap_or_default(),
            published_at: outcome.completed_at().unwrap_or(began_at).to_owned(),
        }
    }
}

impl PointerFile for OutputPointer {
    /// A `latest.json` that is none of ours, that of a model store above all, is never written over.
    fn read(bytes: &[u8], location: &str) -> Result<Self> {
        let refused = |why: &str| Self::refused(location, why);
        let pointer: Self = serde_json::from_slice(bytes).map_err(|error| refused(&error.to_string()))?;
        if pointer.format_version != FORMAT_VERSION {
            return Err(refused(&format!(
                "format_version {}, this program knows {FORMAT_VERSION}",
                pointer.format_version
            )));
        }
        let names_its_run = pointer.path == format!("predictions/run_id={}", pointer.run_id);
        names_its_run.then_some(pointer).ok_or_else(|| refused("its path is not that of its run"))
    }

    fn refused(location: &str, why: &str) -> Error {
        Error::Setting(format!(
            "{location} is no pointer to predictions ({why}) and is not written over: give --output (OUTPUT) a folder of its \
             own, or remove the file if it is damaged"
        ))
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn published_at(&self) -> &str {
        &self.published_at
    }

    /// Runs of the output are found by their folders: a pointer names no earlier one.
    fn replaces(&mut self, _standing: &Self) {}
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_no_pointer_to_predictions_is_refused() {
        let sound = json!({
            "format_version": 1, "run_id": "r1", "path": "predictions/run_id=r1", "model_version": "v1",
            "model_run_id": "m1", "rows": 3, "published_at": "2026-11-28T10:00:00.000Z"
        });
        let read = |value: &serde_json::Value| OutputPointer::read(value.to_string().as_bytes(), "out/latest.json");
        assert_eq!(read(&sound).unwrap().rows, 3);
        let of_a_model = json!({
            "format_version": 1, "model_version": "v1", "run_id": "m1", "path": "v1/m1", "r2": 0.9, "sha256": "00",
            "published_at": "2026-11-28T10:00:00.000Z", "previous": null
        });
        let mut newer = sound.clone();
        newer["format_version"] = 2.into();
        let mut astray = sound.clone();
        astray["path"] = "../elsewhere".into();
        for wrong in [of_a_model, newer, astray, json!([]), json!("{")] {
            let error = read(&wrong).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{wrong}");
            assert!(error.to_string().starts_with("out/latest.json is no pointer to predictions ("), "{error}");
        }
    }
}
