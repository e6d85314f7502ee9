//! The model store: where models lie, what describes them, and the pointers that say which one is meant.
#![forbid(unsafe_code)]

pub mod layout;
pub mod load;
pub mod metadata;
pub mod pointer;

pub use layout::{ModelRun, ModelStore, Selector};
pub use load::{Described, LoadedModel, describe_run, load, load_run, resolve};
pub use metadata::Metadata;
pub use pointer::Pointer;

use sha2::{Digest, Sha256};

/// SHA-256 of some bytes, in lower-case hexadecimal.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
