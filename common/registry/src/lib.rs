//! The model store: where models lie, what describes them, and the pointers that say which one is meant.
//!
//! It must not know XGBoost, nor move a pointer: that is `attempt`'s. Begin reading at [`layout`], then [`load`](mod@load).
#![forbid(unsafe_code)]

pub mod layout;
pub mod load;
pub mod metadata;
pub mod pointer;

pub use layout::{ModelRun, ModelStore, Selector};
pub use load::{Described, LoadedModel, SCALE, describe_run, load, load_scale, load_selected, resolve, unpublished};
pub use metadata::{Intervals, Metadata, SlicedColumn};
pub use pointer::Pointer;
