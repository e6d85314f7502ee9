//! From columns to features: what the spec asks for, what its expressions compute, what is learnt and how it is
//! applied.
//!
//! It must not know where columns come from, nor what learns from the features: no I/O, no tokio, no storage, no XGBoost.
//! Begin reading at [`spec`], then [`plan`] and [`encode`].
#![forbid(unsafe_code)]

pub mod spec;

pub mod plan;

pub mod derive;

pub mod encode;

pub mod quality;

pub mod clip;
pub mod golden;
