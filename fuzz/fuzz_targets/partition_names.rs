//! Names of folders, a key a line: refused as wrong data, or columns of one type that every object has a value of. A column
//! of the object that holds the values of its folder agrees with it.
#![no_main]

use columns::ColumnKind;
use engagement_fuzz::{assert_refusal, start};
use libfuzzer_sys::fuzz_target;
use table::partitions::Partitions;

fuzz_target!(init: start(), |data: &[u8]| check(data));

fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let keys: Vec<&str> = text.split('\n').collect();
    let mut partitions = match Partitions::of_keys(&keys, "/data") {
        Ok(partitions) => partitions,
        Err(error) => return assert_refusal(&error, &[4]),
    };
    let columns = partitions.columns().to_vec();
    for learnt in [None, Some(ColumnKind::Text), Some(ColumnKind::Date), Some(ColumnKind::Float)] {
        partitions.adopt_kinds(|_| learnt);
        for (object, key) in keys.iter().enumerate() {
            let values = partitions.of_object(object);
            let mut stored = partitions.clone();
            stored.mark_stored(|_| true);
            for column in partitions.columns() {
                let constant = values.column(&column.name, 3).expect("every object has a value");
                assert_eq!((constant.len(), constant.dtype()), (3, &column.schema().dtype), "{key}");
                stored.of_object(object).check(&constant, key).expect("a value is that of its folder");
            }
        }
    }
    assert!(partitions.columns().iter().map(|column| &column.name).eq(columns.iter().map(|column| &column.name)));
}
