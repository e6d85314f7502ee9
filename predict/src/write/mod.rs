//! Step 6: predictions and rejected rows into parts, in input order.

mod assemble;
mod parts;
mod reject_sources;
mod rejected;
mod unreadable;

pub use assemble::{Assembler, FinishedPart};
pub use parts::{FinishedParts, PartFile, PartRecord, PartWriter};
pub use reject_sources::{RejectSources, SourceRejects};
pub use rejected::{RejectCounts, RejectedRows};
pub use unreadable::UnreadableColumn;
