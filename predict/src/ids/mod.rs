//! Ids: which rows have one that came before. As long as the memory lasts every id is remembered in it; of more of them
//! the repeated ones are found on disk beforehand.

mod keys;
mod scratch;
mod seen;

pub use keys::{IdKey, IdKeys, is_integer};
pub use scratch::{IdScratch, RepeatedRows};
pub use seen::SeenIds;

/// How it is found out whether the id of a row came before.
#[derive(Debug)]
pub enum IdCheck {
    /// Not at all: repeated ids are allowed.
    Off,
    /// By the ids that came, which may take so many bytes.
    Seen(SeenIds, u64),
    /// The rows are known already.
    Known(RepeatedRows),
}
