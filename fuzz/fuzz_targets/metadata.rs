//! `metadata.json`: refused with exit 6, or read; then what it is written as reads as the same. Its expressions and clip
//! bounds are used as a program uses them.
#![no_main]

use fuzz::features::derive::Expression;
use fuzz::registry::metadata::Metadata;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let metadata = match Metadata::from_json(bytes, "s3://models/metadata.json") {
        Ok(metadata) => metadata,
        Err(error) => {
            assert_eq!(error.exit_code(), 6);
            assert!(!error.to_string().contains('\n'), "more than one line: {error}");
            return;
        }
    };
    let json = metadata.to_json().expect("metadata is JSON");
    let again = Metadata::from_json(&json, "again").expect("what was written can be read");
    assert_eq!(json, again.to_json().expect("metadata is JSON"));
    for feature in &metadata.features {
        if let Some(sql) = &feature.sql {
            let _ = Expression::parse(&feature.name, sql, None);
        }
        let _ = (feature.source_column(), feature.levels().map(<[String]>::len), feature.input_columns().count());
    }
    let columns = metadata.golden.columns();
    assert!(columns.iter().all(|column| column.len() == metadata.golden.rows.len()));
    for (statistics, column) in metadata.statistics.iter().zip(&columns) {
        for value in column {
            assert!(statistics.bin_of(*value) < statistics.bins().max(1), "a bin that there is not");
        }
    }
});
