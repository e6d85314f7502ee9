//! What of `common` reads bytes that others wrote, and nothing else of it: its files, linked, so that fuzzing needs neither
//! polars nor the AWS SDK, which instrumented would take half an hour to compile.

#![allow(dead_code, unused_imports)]

pub mod error;

pub mod features {
    pub mod derive;
    pub mod encode {
        mod feature;
        pub use feature::{Feature, Kind};
    }
    pub mod golden;
    pub mod quality {
        mod statistics;
        pub use statistics::Statistics;
    }
    pub mod spec;
}

pub mod registry {
    pub mod metadata;
}

pub mod scoring;

pub mod table {
    mod kind;
    pub use kind::ColumnKind;
}

pub use error::{Error, Result};
