//! From columns to features: what the spec asks for, what its expressions compute, what is learnt and how it is
//! applied. No I/O.
#![forbid(unsafe_code)]

pub mod spec;

pub mod plan;

pub mod derive;

pub mod encode;

pub mod quality;

pub mod clip;
pub mod golden;
