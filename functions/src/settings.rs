//! The functions' settings: environment variables, listed in README.md. An empty variable counts as unset.

use std::str::FromStr;

use features::spec::Validation;
use storage::Location;

use crate::failure::{Failure, Result};

/// What the functions are told by their environment.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The bucket that everything lies in.
    pub bucket: String,
    /// The model store.
    pub models: Location,
    /// Name of the models.
    pub model_name: String,
    /// Where `predict` writes.
    pub output: Location,
    /// Where the feature spec lies.
    pub features: Option<Location>,
    /// Column that identifies a customer; `None` is the spec's.
    pub id_column: Option<String>,
    /// Column that is predicted; `None` is the spec's.
    pub target_column: Option<String>,
    /// Columns that validation is by, as far as the settings name them; the others are the spec's.
    pub validation: Validation,
    /// The database of all tables.
    pub database: String,
    /// The table over the predictions.
    pub predictions_table: String,
    /// Athena's workgroup.
    pub workgroup: String,
    /// Share of the training rows that is held out; 0 is no split.
    pub test_fraction: f64,
    /// Salt of the hash that decides which rows are held out.
    pub split_salt: String,
    /// How long prepared data is used again, in hours.
    pub reuse_hours: f64,
    /// How many days after a run its predictions are compared with what happened; 0: never.
    pub evaluate_after_days: f64,
    /// Least share of the last run's rows.
    pub min_rows_fraction: f64,
    /// The gate.
    pub min_r2: f64,
    /// Data quality below which there is a warning.
    pub min_data_quality: f64,
    /// Share of rejected rows above which there is a warning.
    pub max_reject_warning: f64,
    /// Whether there is a knowledge base to write documents for.
    pub knowledge_base: bool,
    /// Columns whose levels are segments; none: they are chosen.
    pub segments: Vec<String>,
    /// The environment of an event that names none.
    pub environment: String,
}

/// The names of all variables, for the test of README.md.
pub const VARIABLES: [&str; 23] = [
    "BUCKET",
    "MODELS",
    "MODEL_NAME",
    "OUTPUT",
    "FEATURES",
    "ID_COLUMN",
    "TARGET_COLUMN",
    "TIME_COLUMN",
    "GROUP_COLUMN",
    "GLUE_DATABASE",
    "PREDICTIONS_TABLE",
    "ATHENA_WORKGROUP",
    "TEST_FRACTION",
    "SPLIT_SALT",
    "REUSE_HOURS",
    "EVALUATE_AFTER_DAYS",
    "MIN_ROWS_FRACTION",
    "MIN_R2",
    "MIN_DATA_QUALITY",
    "MAX_REJECT_WARNING",
    "KNOWLEDGE_BASE",
    "SEGMENTS",
    "ENVIRONMENT",
];

impl Settings {
    /// Reads them, each variable through `get`.
    ///
    /// # Errors
    /// `BadSettings` that names the variable.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let get = |name: &str| get(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let or = |name: &str, default: &str| get(name).unwrap_or_else(|| default.to_owned());
        let bucket = get("BUCKET").ok_or_else(|| Failure::settings("BUCKET is not set: name the pipeline's bucket"))?;
        let is_bucket = |character: char| character.is_ascii_alphanumeric() || ".-_".contains(character);
        if !bucket.chars().all(is_bucket) {
            return Err(Failure::settings(format!("BUCKET: {bucket:?} is no name of a bucket")));
        }
        let location = |name: &str, default: &str| {
            let text = or(name, &format!("s3://{bucket}/{default}"));
            Location::parse(&text).map_err(|error| Failure::settings(format!("{name}: {error}")))
        };
        let features = get("FEATURES").map(|text| Location::parse(&text)).transpose();
        let name = |variable: &str, default: &str, is_allowed: fn(char) -> bool| {
            let text = or(variable, default);
            if text.chars().all(is_allowed) && text.len() <= 128 {
                return Ok(text);
            }
            Err(Failure::settings(format!("{variable}: {text:?} is no such name")))
        };
        let of_glue: fn(char) -> bool = |character| matches!(character, 'a'..='z' | '0'..='9' | '_');
        let of_run: fn(char) -> bool = |character| character.is_ascii_alphanumeric() || "._-".contains(character);
        let list =
            |text: String| text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect();
        Ok(Self {
            models: location("MODELS", "models")?,
            model_name: name("MODEL_NAME", "engagement", of_run)?,
            output: location("OUTPUT", "scoring")?,
            features: features.map_err(|error| Failure::settings(format!("FEATURES: {error}")))?,
            id_column: get("ID_COLUMN"),
            target_column: get("TARGET_COLUMN"),
            validation: Validation { time: get("TIME_COLUMN"), group: get("GROUP_COLUMN"), gap: None },
            database: name("GLUE_DATABASE", "engagement", of_glue)?,
            predictions_table: name("PREDICTIONS_TABLE", "predictions", of_glue)?,
            workgroup: or("ATHENA_WORKGROUP", "primary"),
            test_fraction: percents("TEST_FRACTION", &or("TEST_FRACTION", "0.2"))?,
            split_salt: name("SPLIT_SALT", "42", of_run)?,
            reuse_hours: number("REUSE_HOURS", &or("REUSE_HOURS", "24"), 0.0, f64::MAX)?,
            evaluate_after_days: number("EVALUATE_AFTER_DAYS", &or("EVALUATE_AFTER_DAYS", "0"), 0.0, 3650.0)?,
            min_rows_fraction: share("MIN_ROWS_FRACTION", &or("MIN_ROWS_FRACTION", "0.5"))?,
            min_r2: number("MIN_R2", &or("MIN_R2", "0.75"), f64::MIN, f64::MAX)?,
            min_data_quality: share("MIN_DATA_QUALITY", &or("MIN_DATA_QUALITY", "0.9"))?,
            max_reject_warning: share("MAX_REJECT_WARNING", &or("MAX_REJECT_WARNING", "0.001"))?,
            knowledge_base: is_on("KNOWLEDGE_BASE", &or("KNOWLEDGE_BASE", "off"))?,
            segments: get("SEGMENTS").map(list).unwrap_or_default(),
            environment: or("ENVIRONMENT", "dev"),
            bucket,
        })
    }

    /// `s3://<bucket>/<key>`.
    #[must_use]
    pub fn location_of(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.bucket)
    }
}

fn share(variable: &str, text: &str) -> Result<f64> {
    number(variable, text, 0.0, 1.0)
}

/// The split is by hundredths.
fn percents(variable: &str, text: &str) -> Result<f64> {
    let share = share(variable, text)?;
    let is_integer = ((share * 100.0).round() - share * 100.0).abs() < 1e-9;
    let wrong =
        || Failure::settings(format!("{variable}: {text:?} is no whole number of hundredths below 1, such as 0.2"));
    (is_integer && share < 1.0).then_some(share).ok_or_else(wrong)
}

fn number(variable: &str, text: &str, least: f64, most: f64) -> Result<f64> {
    let number = f64::from_str(text).ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| match most {
        1.0 => Failure::settings(format!("{variable}: {text:?} is no number between 0 and 1")),
        _ => Failure::settings(format!("{variable}: {text:?} is no such number")),
    })
}

fn is_on(variable: &str, text: &str) -> Result<bool> {
    match text.to_ascii_lowercase().as_str() {
        "on" | "true" | "1" | "yes" => Ok(true),
        "off" | "false" | "0" | "no" => Ok(false),
        _ => Err(Failure::settings(format!("{variable}: {text:?} is neither on nor off"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Settings> {
        let find = |name: &str| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Settings::read(find)
    }

    #[test]
    fn a_bucket_is_enough() {
        let settings = read(&[("BUCKET", "lake"), ("MODELS", " ")]).unwrap();
        assert_eq!(settings.models.to_string(), "s3://lake/models");
        assert_eq!(settings.output.to_string(), "s3://lake/scoring");
        assert_eq!((settings.test_fraction, settings.knowledge_base), (0.2, false));
    }

    #[test]
    fn a_wrong_value_is_named() {
        for (name, value) in [
            ("BUCKET", "a'b"),
            ("TEST_FRACTION", "2"),
            ("TEST_FRACTION", "nan"),
            ("TEST_FRACTION", "0.255"),
            ("TEST_FRACTION", "1"),
            ("REUSE_HOURS", "-1"),
            ("MIN_R2", "high"),
            ("KNOWLEDGE_BASE", "maybe"),
            ("GLUE_DATABASE", "a; DROP"),
            ("SPLIT_SALT", "it's"),
            ("MODELS", "s3:/x"),
        ] {
            let failure = read(&[(name, value), ("BUCKET", "lake")]).unwrap_err();
            assert!(failure.message.starts_with(name), "{failure}");
        }
        assert!(read(&[]).unwrap_err().message.starts_with("BUCKET"));
    }

    #[test]
    fn the_readme_lists_every_variable() {
        let readme = include_str!("../README.md");
        for variable in VARIABLES {
            assert!(readme.contains(&format!("`{variable}`")), "{variable}");
        }
    }
}
