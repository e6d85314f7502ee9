//! Objects that are not what they should be, as errors that name the object, and decoders that panic on them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use error::{Error, Result};

/// The error of an object that is no Parquet at all.
pub(super) fn not_parquet(name: &str, problem: &str) -> Error {
    Error::Data(format!("{name} is not a readable Parquet file: {problem}; write it again or remove it"))
}

/// The error of `what` in an object.
pub(super) fn damaged(name: &str, what: &str, problem: &str) -> Error {
    let problem = problem.lines().next().unwrap_or_default();
    // Of what is whole but of an encoding or codec that the decoder does not know, another copy is no better.
    let remedy = match problem.to_lowercase().contains("not yet supported") {
        true => "write it by another encoding (such as PLAIN, or by a dictionary), or leave the column out",
        false => "write the object again or remove it",
    };
    Error::Data(format!("{name}: {what} cannot be decoded: {problem}; {remedy}"))
}

/// Runs a decoder over untrusted bytes: its errors and its panics both name the object.
pub(super) fn guard<T>(name: &str, what: &str, decode: impl FnOnce() -> Result<T, String>) -> Result<T> {
    match error::panics::expected_within(|| catch_unwind(AssertUnwindSafe(decode))) {
        Ok(result) => result.map_err(|problem| damaged(name, what, &problem)),
        Err(_) => Err(damaged(name, what, "its bytes are damaged")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_decoder_does_not_know_is_not_written_again_the_same_way() {
        let said = |problem: &str| damaged("t.parquet", "column \"x\"", problem).to_string();
        assert!(
            said("unexpected end").ends_with("cannot be decoded: unexpected end; write the object again or remove it")
        );
        let unknown =
            said("parquet: Not yet supported: Decoding FixedLenByteArray(2) \"ByteStreamSplit\"-encoded pages");
        assert!(unknown.contains("write it by another encoding"), "{unknown}");
    }
}
