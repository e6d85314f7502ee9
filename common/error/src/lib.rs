//! Every failure is one variant, and every variant has one exit code: the table of docs/contract.md, "Exit codes".
//!
//! A message is one line that names what failed, where (location, column, row group) and what to do about it. It never
//! carries a credential.
//!
//! It must not know any other crate of ours. Begin reading at [`Error`].
#![forbid(unsafe_code)]

pub mod panics;
pub mod text;

/// What went wrong, as the caller of a program has to tell it apart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A setting is wrong or missing. Text: the setting, what is wrong with it, what would be right.
    #[error("{0}")]
    Setting(String),
    /// Access denied, no such bucket, or no such local path for data to read.
    #[error("{0}")]
    Access(String),
    /// The gate did not pass; nothing was published.
    #[error("{0}")]
    Gate(String),
    /// The data is wrong: unreadable, empty, of other columns or types than needed.
    #[error("{0}")]
    Data(String),
    /// Storage could not be reached, or kept failing after the SDK's retries; or another shard was lost.
    #[error("{0}")]
    Storage(String),
    /// The model is missing, damaged, rejected by its gate, or does not fit this program.
    #[error("{0}")]
    Model(String),
    /// Not enough memory or disk. Text: how much is needed.
    #[error("{0}")]
    Resources(String),
    /// A defect in this program.
    #[error("defect in this program: {0}")]
    Defect(String),
    /// Stopped by SIGTERM or SIGINT.
    #[error("{0}")]
    Stopped(String),
}

/// The result of anything that can fail in this project.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The exit code of the process that ends with this error.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Setting(_) | Self::Access(_) => 2,
            Self::Gate(_) => 3,
            Self::Data(_) => 4,
            Self::Storage(_) => 5,
            Self::Model(_) => 6,
            Self::Resources(_) => 8,
            Self::Defect(_) => 70,
            Self::Stopped(_) => 143,
        }
    }

    /// The `error_type` of the failure object.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Setting(_) => "setting",
            Self::Access(_) => "access",
            Self::Gate(_) => "gate",
            Self::Data(_) => "data",
            Self::Storage(_) => "storage",
            Self::Model(_) => "model",
            Self::Resources(_) => "resources",
            Self::Defect(_) => "defect",
            Self::Stopped(_) => "stopped",
        }
    }
}
