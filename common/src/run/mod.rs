//! One run of a program: what it is called, what stops it, and what it may use of the machine.

mod cgroup;
pub mod ecs;
mod http;
pub mod id;
pub mod limits;
pub mod shutdown;
pub mod usage;

pub use http::HttpError;
pub use id::{InvalidId, ModelVersion, RunId};
pub use limits::{Explicit, Limits};
pub use shutdown::Shutdown;
