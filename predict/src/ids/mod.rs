//! Ids: which rows have one that came before. As long as the memory lasts every id is remembered in it; of more of them
//! the repeated ones are found on disk beforehand.

mod keys;
pub(crate) mod partitions;
mod scratch;
mod seen;

pub(crate) use keys::Key;
pub use keys::{Ascending, IdKey, IdKeys, OrderedId, is_integer};
pub use scratch::{IdScratch, RepeatedRows};
pub use seen::SeenIds;

/// How it is found out whether the id of a row came before.
#[derive(Debug)]
pub enum IdCheck {
    /// Not at all: repeated ids are allowed.
    Off,
    /// By their order: as long as each is larger than the one before, none comes twice.
    Ascending(Order),
    /// By the ids that came, which may take so many bytes.
    Seen(SeenIds, u64),
    /// The rows are known already.
    Known(RepeatedRows),
}

/// Ids that ascend until now.
#[derive(Debug)]
pub struct Order {
    /// The last one.
    pub last: Option<OrderedId>,
    /// Whether a batch came.
    pub has_begun: bool,
    /// The ids to expect, and the memory that they may take, where they can be compared in memory instead.
    pub otherwise: Option<(usize, u64)>,
}
