//! CSV, compressed where it starts as gzip does, is refused as wrong data or read; with semicolons and decimal commas too
//! where it has both.
#![no_main]

use columns::CellFormat;
use engagement_fuzz::{mutate, read_file, start};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use table::csv::CsvFormat;

fuzz_target!(init: start(), |data: &[u8]| {
    let ending = if data.starts_with(&[0x1f, 0x8b]) { "csv.gz" } else { "csv" };
    read_file(data, ending, CsvFormat::default());
    if data.contains(&b';') && data.contains(&b',') {
        read_file(data, ending, CsvFormat { delimiter: b';', cells: CellFormat { decimal: b',' } });
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| { mutate::csv(data, size, max_size, seed) });
