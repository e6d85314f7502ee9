//! From columns to features: what the spec asks for, and what its expressions compute. No I/O.

pub mod derive;
pub mod spec;
