//! Names that the columns of predictions have, which therefore no id and no carried column can have.

use error::{Error, Result};

/// The columns of predictions besides the id, the reasons and what is carried over; `run_id` is a folder of theirs, which
/// Athena shows as a column.
const OUTPUT_COLUMNS: [&str; 5] = ["run_id", "prediction", "prediction_low", "prediction_high", "model_version"];

/// Whether predictions have a column of that name: also `reason_1`, `reason_1_contribution` and so on.
#[must_use]
pub fn is_output_column(name: &str) -> bool {
    let number = name.strip_prefix("reason_").map(|rest| rest.strip_suffix("_contribution").unwrap_or(rest));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    OUTPUT_COLUMNS.contains(&name) || number.is_some_and(is_number)
}

/// Refuses a column whose name predictions have; `setting` is what names it.
///
/// # Errors
/// [`Error::Setting`].
pub fn refuse_output_column(setting: &str, name: &str) -> Result<()> {
    match is_output_column(name) {
        false => Ok(()),
        true => Err(Error::Setting(format!(
            "{setting} names the column \"{name}\", but predictions have a column of that name (run_id, prediction, \
             prediction_low, prediction_high, model_version, reason_1 and so on): give the column of the table another name"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_outputs_are_taken() {
        for name in OUTPUT_COLUMNS.into_iter().chain(["reason_1", "reason_12", "reason_3_contribution"]) {
            assert!(is_output_column(name), "{name}");
            let error = refuse_output_column("--id (ID_COLUMN)", name).unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().contains(name), "{error}");
        }
        for name in ["id", "Prediction", "reason", "reason_", "reason_code", "reason_1x", "reason__contribution", "run"]
        {
            assert!(refuse_output_column("--id (ID_COLUMN)", name).is_ok(), "{name}");
        }
    }
}
