//! Why a function failed, under the names that the state machine knows (docs/contract.md, "The pipeline's functions").

use std::fmt;

use error::Error;
use lambda_runtime::Diagnostic;
use storage::StoreError;

/// The name of a failure. The state machine retries the last three but `QualityFailed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A setting, an event, a SELECT or a model is wrong, or access is denied: a retry does not help.
    BadSettings,
    /// A part of the prepared data has no rows, or far fewer than last time.
    EmptyData,
    /// A check of the quality failed; everything is written all the same.
    QualityFailed,
    /// A query failed, or Athena or S3 could not be reached.
    QueryFailed,
    /// The deadline came first.
    OutOfTime,
    /// Results and customers differ in rows.
    ResultsIncomplete,
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}

/// What a function fails with: a name, and one line that says what, where and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Its name.
    pub kind: Kind,
    /// What went wrong, where, and what to do about it.
    pub message: String,
}

/// What a function comes to.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// A failure of this name.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// [`Kind::BadSettings`].
    pub fn settings(message: impl Into<String>) -> Self {
        Self::new(Kind::BadSettings, message)
    }

    /// [`Kind::QueryFailed`].
    pub fn query(message: impl Into<String>) -> Self {
        Self::new(Kind::QueryFailed, message)
    }

    /// The same failure, of something larger.
    #[must_use]
    pub fn within(self, what: &str) -> Self {
        Self { message: format!("{what}: {}", self.message), ..self }
    }

    /// A defect in this program. It has no name of its own in the contract and is retried as a failed query is.
    pub fn defect(message: impl fmt::Display) -> Self {
        Self::query(format!("defect in this program: {message}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.kind, self.message)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let kind = match error {
            Error::Setting(_) | Error::Access(_) | Error::Gate(_) | Error::Data(_) | Error::Model(_) => {
                Kind::BadSettings
            }
            // The function's memory is a setting, too.
            Error::Resources(_) => Kind::BadSettings,
            Error::Storage(_) | Error::Defect(_) | Error::Stopped(_) => Kind::QueryFailed,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Error::from(error).into()
    }
}

impl From<Failure> for Diagnostic {
    fn from(failure: Failure) -> Self {
        Self { error_type: failure.kind.to_string(), error_message: failure.message }
    }
}
