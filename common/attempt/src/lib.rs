//! The life of a run, the same for every program: open, write once, commit, publish.
//!
//! A run is what a run id names; an attempt is one process that works on it. Attempts are killed and started again, and two
//! of them may work at once without knowing of each other. Whatever they do,
//! a run ends with one result, and what a pointer names is complete. `tests/exploration` runs this code through every
//! interleaving of a few attempts, crashes and lost answers.
//!
//! 1. [`RunFolder::earlier`] finds what earlier attempts left. [`RunFolder::begin`] writes the [`Plan`] once: the first one holds for
//!    all attempts.
//! 2. What is found out on the way lies in the folder's scratch space, for the next attempt.
//! 3. [`RunFolder::commit`] is where a run is decided: the first [`Commit`] that is put holds every file of the run and its result,
//!    to the byte. Each attempt then writes these files, not its own, and at last `result.json`. So it does not matter who
//!    writes them, or how often.
//! 4. [`RunFolder::conclude`] has the pointers moved, forward only, by the time of the commit ([`pointer::publish`]), and removes
//!    the scratch space. The run is over.
//!
//! It must not know what a program computes. Begin reading at [`RunFolder`].
#![forbid(unsafe_code)]

mod commit;
mod folder;
mod plan;
pub mod pointer;
mod shards;

pub use commit::{Commit, RunFile};
pub use folder::{Earlier, Layout, RunFolder};
pub use plan::{Plan, refuse_other_settings};
