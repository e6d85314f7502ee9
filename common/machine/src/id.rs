//! Run ids and model versions: names that become one folder of a store, and one partition of a table.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use error::Error;

/// The longest name, in characters.
const MAX_LENGTH: usize = 128;

/// How much of a wrong name an error repeats, in characters.
const QUOTED_LENGTH: usize = 40;

/// `latest` is a pointer's name, never a run's or a version's; `latest.json` is the file that pointer lives in, beside
/// the folders that these names become. Case counts, as it does in S3's keys.
const RESERVED: [&str; 2] = ["latest", "latest.json"];

/// What else lies beside the folders of model versions: what came of predictions, and the page of the runs.
const BESIDE_VERSIONS: [&str; 3] = ["realized", "index.html", "history.json"];

/// A text that is no run id or no model version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{quoted:?} is not a {what}: {reason}; use 1 to 128 of A-Z a-z 0-9 . _ -, the first a letter or a digit")]
pub struct InvalidId {
    what: &'static str,
    quoted: String,
    reason: &'static str,
}

impl From<InvalidId> for Error {
    fn from(invalid: InvalidId) -> Self {
        Self::Setting(invalid.to_string())
    }
}

/// Defines a name that is checked wherever it comes from: a flag, a variable, a file of the store.
macro_rules! checked_name {
    ($(#[$documentation:meta])* $name:ident, $what:literal, $beside:expr) => {
        $(#[$documentation])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text: safe as one segment of a path, a key or a partition.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                check(&text, &$beside).map_err(|reason| InvalidId { what: $what, quoted: quoted(&text), reason })?;
                Ok(Self(text))
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

checked_name!(
    /// The name of one run: given by `--run-id`, or generated. A repeated run id continues that run.
    RunId,
    "run id",
    []
);
checked_name!(
    /// The label of what is trained, such as `v1.2.0`. Several runs may share it.
    ModelVersion,
    "model version",
    BESIDE_VERSIONS
);

impl RunId {
    /// A new run id such as `20261123T175015.042Z-9f86d081`: ids sort as their runs were started (UTC, to the
    /// millisecond), and 32 random bits tell apart those that started together.
    #[must_use]
    pub fn generate() -> Self {
        Self::at(Utc::now(), random_bits())
    }

    fn at(now: DateTime<Utc>, random: u32) -> Self {
        Self(format!("{}-{random:08x}", now.format("%Y%m%dT%H%M%S%.3fZ")))
    }
}

/// 32 bits from the operating system's random source; where it has none, the process id, which tells apart what starts
/// together on one machine. Not for secrets.
fn random_bits() -> u32 {
    getrandom::u32().unwrap_or_else(|_| std::process::id())
}

fn check(text: &str, beside: &[&str]) -> Result<(), &'static str> {
    let Some(first) = text.chars().next() else {
        return Err("it is empty");
    };
    if RESERVED.contains(&text) {
        return Err("that name is reserved for the pointer to what was published last");
    }
    if beside.contains(&text) {
        return Err("that name is reserved for what lies beside the models");
    }
    if !first.is_ascii_alphanumeric() {
        return Err("it starts with neither a letter nor a digit");
    }
    if !text.bytes().all(is_allowed) {
        return Err("it has other characters than those allowed");
    }
    if text.len() > MAX_LENGTH {
        return Err("it is too long");
    }
    Ok(())
}

fn is_allowed(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

fn quoted(text: &str) -> String {
    if text.chars().count() <= QUOTED_LENGTH {
        return text.to_owned();
    }
    text.chars().take(QUOTED_LENGTH).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn usual_names_are_accepted() {
        for name in ["v1.2.0", "1", "Latest", "LATEST", "2026-11-23_a", "latest-1", &"a".repeat(128)] {
            assert_eq!(name.parse::<ModelVersion>().map(String::from), Ok(name.to_owned()));
            assert!(name.parse::<RunId>().is_ok(), "{name}");
        }
    }

    #[test]
    fn wrong_names_are_refused() {
        let too_long = "a".repeat(129);
        for name in [
            "",
            "latest",
            "latest.json",
            "../etc",
            "..",
            ".hidden",
            "_x",
            "-x",
            "a/b",
            "a b",
            "a\n",
            "ä",
            "v1%2f",
            &too_long,
        ] {
            assert!(name.parse::<ModelVersion>().is_err(), "{name:?}");
            assert!(name.parse::<RunId>().is_err(), "{name:?}");
        }
    }

    #[test]
    fn what_lies_beside_the_models_is_no_version_but_may_be_a_run() {
        for name in ["realized", "index.html", "history.json"] {
            assert!(name.parse::<ModelVersion>().is_err() && name.parse::<RunId>().is_ok(), "{name}");
        }
        assert!("Realized".parse::<ModelVersion>().is_ok());
    }

    #[test]
    fn an_error_is_one_line_that_names_the_text() {
        let error: Error = "../\n../etc".parse::<ModelVersion>().unwrap_err().into();
        assert_eq!(error.exit_code(), 2);
        let message = error.to_string();
        assert!(message.starts_with("\"../\\n../etc\" is not a model version: "), "{message}");
        assert!(!message.contains('\n'));
    }

    #[test]
    fn an_error_does_not_repeat_a_text_without_end() {
        let message = "ü".repeat(100_000).parse::<RunId>().unwrap_err().to_string();
        assert!(message.len() < 400, "{}", message.len());
    }

    #[test]
    fn json_is_checked_as_well() {
        assert!(serde_json::from_str::<RunId>("\"../x\"").is_err());
        let id: RunId = serde_json::from_str("\"r-1\"").unwrap();
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"r-1\"");
    }

    #[test]
    fn a_generated_id_shows_its_time() {
        let time = DateTime::parse_from_rfc3339("2026-11-23T17:50:15.042Z").unwrap().to_utc();
        assert_eq!(RunId::at(time, 0x9f8).as_str(), "20261123T175015.042Z-000009f8");
    }

    #[test]
    fn generated_ids_are_valid_and_differ() {
        // Few enough that two of one millisecond are not the same by chance (once in a million runs of this test).
        let ids: HashSet<RunId> = (0..100).map(|_| RunId::generate()).collect();
        assert_eq!(ids.len(), 100);
        assert!(ids.iter().all(|id| id.as_str().parse::<RunId>().as_ref() == Ok(id)));
    }

    proptest! {
        #[test]
        fn what_the_contract_allows_is_accepted(name in "[A-Za-z0-9][A-Za-z0-9._-]{0,127}") {
            prop_assume!(!RESERVED.contains(&name.as_str()));
            prop_assert!(name.parse::<RunId>().is_ok());
        }

        #[test]
        fn what_is_accepted_is_one_safe_segment(name in any::<String>()) {
            if let Ok(id) = name.parse::<RunId>() {
                prop_assert!(!id.as_str().contains(['/', '\\', '%', '\0']) && !id.as_str().starts_with('.'));
            }
        }

        #[test]
        fn later_ids_sort_later(start in 0i64..4_000_000_000_000, step in 1i64..100_000_000, first: u32, second: u32) {
            let early = DateTime::from_timestamp_millis(start).unwrap();
            let late = early + TimeDelta::milliseconds(step);
            prop_assert!(RunId::at(early, first) < RunId::at(late, second));
        }
    }
}
