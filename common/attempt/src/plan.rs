//! The plan of a run: what no attempt may decide anew.

use error::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What the first attempt of a run fixed. `Body` is what only its program knows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan<Body> {
    /// Layout of this file.
    pub format_version: u32,
    /// The program that began the run; empty where an old one did not say.
    #[serde(default)]
    pub program_version: String,
    /// When the run began, RFC 3339 in UTC; empty where an old program did not say.
    #[serde(default)]
    pub started_at: String,
    /// Every setting that bears on the result. One that was added after the first release stands here only where it is not its
    /// default, so that older plans compare.
    pub settings: Value,
    /// The rest.
    #[serde(flatten)]
    pub body: Body,
}

impl<Body> Plan<Body> {
    /// Refuses settings that are not those that the run began with. `location` is the plan's, for the message.
    ///
    /// # Errors
    /// [`Error::Setting`] that names a setting that differs.
    pub fn refuse_other_settings(&self, settings: &Value, location: &str) -> Result<()> {
        refuse_other_settings(&self.settings, settings, location)
    }

    /// Refuses to go on with what another release of the program began: its parts and checkpoints may be cut otherwise.
    ///
    /// # Errors
    /// [`Error::Setting`] that names both versions.
    pub fn refuse_other_program(&self, program_version: &str, location: &str) -> Result<()> {
        if self.program_version == program_version {
            return Ok(());
        }
        let began = if self.program_version.is_empty() { "an older version" } else { &self.program_version };
        Err(Error::Setting(format!(
            "--run-id (RUN_ID) names a run that {began} of this program began and did not complete, and this is \
             {program_version} ({location}): continue it with that version, or use another run id"
        )))
    }
}

/// Refuses settings that are not those that a run began with, which stand at `location`.
///
/// # Errors
/// [`Error::Setting`] that names a setting that differs.
pub fn refuse_other_settings(began: &Value, now: &Value, location: &str) -> Result<()> {
    let Some(what) = difference(began, now) else { return Ok(()) };
    Err(Error::Setting(format!(
        "--run-id (RUN_ID) names a run that began with other settings ({what}; {location}): use the same settings to continue \
         it, or another run id"
    )))
}

/// The first setting of two sets that differs, with both values.
fn difference(began: &Value, now: &Value) -> Option<String> {
    if began == now {
        return None;
    }
    let (Some(began_with), Some(now_with)) = (began.as_object(), now.as_object()) else {
        return Some("they are no settings".to_owned());
    };
    let names = began_with.keys().chain(now_with.keys());
    let text = |value: Option<&Value>| value.map_or_else(|| "its default".to_owned(), Value::to_string);
    let difference = |name: &String| {
        let (before, after) = (began_with.get(name), now_with.get(name));
        (before != after).then(|| format!("{name} was {}, is {}", text(before), text(after)))
    };
    names.into_iter().find_map(difference)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plan(settings: Value) -> Plan<Value> {
        Plan {
            format_version: 1,
            program_version: "1.0.0".to_owned(),
            started_at: String::new(),
            settings,
            body: json!({"threads": 2}),
        }
    }

    #[test]
    fn the_setting_that_differs_is_named_with_both_values() {
        let began = plan(json!({"min_r2": 0.75, "seed": 42}));
        assert_eq!(began.refuse_other_settings(&json!({"seed": 42, "min_r2": 0.75}), "plan.json"), Ok(()));
        let refused = began.refuse_other_settings(&json!({"min_r2": 0.5, "seed": 42}), "m/plan.json").unwrap_err();
        assert_eq!(refused.exit_code(), 2);
        assert!(refused.to_string().contains("(min_r2 was 0.75, is 0.5; m/plan.json)"), "{refused}");
        let added = began.refuse_other_settings(&json!({"min_r2": 0.75, "seed": 42, "gap": "1d"}), "p").unwrap_err();
        assert!(added.to_string().contains("gap was its default, is \"1d\""), "{added}");
    }

    #[test]
    fn another_version_is_named_beside_this_one() {
        let began = plan(json!({}));
        assert_eq!(began.refuse_other_program("1.0.0", "p"), Ok(()));
        let refused = began.refuse_other_program("1.1.0", "p").unwrap_err();
        assert!(refused.exit_code() == 2 && refused.to_string().contains("1.0.0"), "{refused}");
        assert!(refused.to_string().contains("1.1.0"), "{refused}");
    }

    #[test]
    fn a_plan_of_the_first_release_is_read() {
        let old: Plan<Value> = serde_json::from_str(r#"{"format_version":1,"settings":{},"threads":2}"#).unwrap();
        assert_eq!((old.program_version.as_str(), &old.body["threads"]), ("", &json!(2)));
        assert!(old.refuse_other_program("1.1.0", "p").unwrap_err().to_string().contains("an older version"));
    }
}
