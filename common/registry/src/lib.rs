//! The model store: where models lie, what describes them, and the pointers that say which one is meant.
#![forbid(unsafe_code)]

pub mod layout;
pub mod load;
pub mod metadata;
pub mod pointer;

pub use layout::{ModelRun, ModelStore, Selector};
pub use load::{Described, LoadedModel, check_pointer, describe_run, load, load_run, resolve};
pub use metadata::Metadata;
pub use pointer::Pointer;
