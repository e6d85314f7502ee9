//! Pages for people: one file each, without a script, a font or a picture from elsewhere, readable on a phone, light and dark.
//!
//! Names and values of the data are hostile here: they reach HTML only through [`Html`], which escapes them, and never reach a chart.
//!
//! It must not know what a page is about. Begin reading at [`Html`].
#![forbid(unsafe_code)]

pub mod bars;
pub mod figures;
mod html;
pub mod timeline;

pub use html::{Html, MOST_OF_A_VALUE, MOST_VALUES, Svg};
