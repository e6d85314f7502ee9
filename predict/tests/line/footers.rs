//! Footers whose numbers of rows are not those of the file: refused before anything is sized by them.

use testkit::tables::{customers, parquet_bytes, without};

use super::Workshop;

/// A number as Thrift's compact protocol writes it: by seven bits, twice itself since it is not negative.
fn varint(number: u64) -> Vec<u8> {
    let (mut left, mut bytes) = (number << 1, Vec::new());
    while left >= 0x80 {
        bytes.push(left as u8 | 0x80);
        left >>= 7;
    }
    bytes.push(left as u8);
    bytes
}

/// A field that is one behind the field before it, a 64-bit number.
fn field(number: u64) -> Vec<u8> {
    [&[0x16][..], &varint(number)].concat()
}

fn places_of(wanted: &[u8], footer: &[u8]) -> Vec<usize> {
    (0..footer.len()).filter(|&at| footer[at..].starts_with(wanted)).collect()
}

/// The file with `rows` in place of its real number of rows, at those places of its footer that `chosen` takes.
fn claiming(file: &[u8], real: u64, rows: u64, chosen: impl Fn(usize, usize) -> bool) -> Vec<u8> {
    let length = u32::from_le_bytes(file[file.len() - 8..file.len() - 4].try_into().unwrap()) as usize;
    let (data, footer) = file[..file.len() - 8].split_at(file.len() - 8 - length);
    let wanted = field(real);
    let places = places_of(&wanted, footer);
    assert!(places.len() > 2, "{places:?}");
    let (mut claiming, mut at) = (Vec::new(), 0);
    for (index, &place) in places.iter().enumerate() {
        claiming.extend_from_slice(&footer[at..place]);
        claiming.extend_from_slice(&if chosen(index, places.len()) { field(rows) } else { wanted.clone() });
        at = place + wanted.len();
    }
    claiming.extend_from_slice(&footer[at..]);
    let length = (claiming.len() as u32).to_le_bytes();
    [data, &claiming, &length, b"PAR1"].concat()
}

#[test]
fn a_footer_that_claims_too_many_rows_is_refused() {
    let workshop = Workshop::with_model();
    // 317 is no other number of this footer.
    let real = 317;
    let file = parquet_bytes(&customers(real as usize, 1, 7));
    let scoring = parquet_bytes(&without(&customers(real as usize, 1, 7), "score"));
    let is_first = |index: usize, _: usize| index == 0;
    let is_last = |index: usize, all: usize| index + 1 == all;
    for rows in [0, real - 1, real + 1, 1 << 33, 1 << 48, i64::MAX as u64 >> 1] {
        for (kind, bytes) in [
            ("file", claiming(&file, real, rows, is_first)),
            ("row group", claiming(&file, real, rows, is_last)),
            ("chunk", claiming(&file, real, rows, |index, _| index == 2)),
            ("file and row group", claiming(&file, real, rows, |index, all| index == 0 || index + 1 == all)),
        ] {
            println!("{kind}: {rows}");
            workshop.write("bad/part-7.parquet", bytes);
            workshop.train_on("bad").run().failed(4, &["part-7.parquet", "it says that", "rows"]);
            workshop.predict_on("bad").run().failed(4, &["part-7.parquet", "it says that", "rows"]);
        }
    }
    // All of them agree, and lie.
    for rows in [1 << 48, i64::MAX as u64 >> 1] {
        workshop.write("bad/part-7.parquet", claiming(&scoring, real, rows, |_, _| true));
        workshop.predict_on("bad").run().failed(4, &["part-7.parquet", "values in"]);
        workshop.train_on("bad").run().failed(4, &["part-7.parquet", "values in"]);
    }
    // Possible, since a page takes no bytes for values that are all one: found when the rows are read, or too much for the task.
    workshop.write("bad/part-7.parquet", claiming(&scoring, real, 1 << 33, |_, _| true));
    let ended = workshop.predict_on("bad").run();
    assert!(matches!(ended.status.code(), Some(4 | 8)), "{ended:?}");
    workshop.write("bad/part-7.parquet", claiming(&scoring, real, real, |_, _| true));
    assert_eq!(workshop.predict_on("bad").run().succeeded()["rows_predicted"], real);
}
