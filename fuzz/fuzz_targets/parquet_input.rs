//! Parquet is refused as wrong data or read.
#![no_main]

use engagement_fuzz::{mutate, read_file, start};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_target!(init: start(), |data: &[u8]| read_file(data, "parquet", Default::default()));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate::parquet(data, size, max_size, seed)
});
