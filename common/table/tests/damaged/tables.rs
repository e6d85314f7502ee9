//! What is damaged: small tables with columns of every kind, written in different ways.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use polars::prelude::{DataFrame, DataType, IntoColumn, NamedFrom, Series};
use table::write::{CompressionOptions, ParquetWriter};
use testkit::random::Random;
use testkit::tables::{customers, with};

fn table(rows: usize) -> DataFrame {
    let texts: Vec<String> = (0..rows).map(|row| format!("text {} ü", row * 7_919 % 97)).collect();
    let moments: Vec<i64> = (0..rows as i64).map(|row| 1_600_000_000_000_000 + row * 7_000_000).collect();
    let moments = Series::new("moment".into(), moments);
    let moments = moments.cast(&DataType::Datetime(polars::prelude::TimeUnit::Microseconds, None)).unwrap();
    let small: Vec<i8> = (0..rows).map(|row| row as i8).collect();
    let singles: Vec<f32> = (0..rows).map(|row| row as f32 / 3.0).collect();
    let mut table = with(customers(rows, 1, 7), Series::new("text".into(), texts).into_column());
    for column in [moments, Series::new("small".into(), small), Series::new("single".into(), singles)] {
        table = with(table, column.into_column());
    }
    let plans = table.column("plan").unwrap().as_materialized_series().clone();
    let categories = plans.cast(&DataType::from_categories(polars::prelude::Categories::global())).unwrap();
    with(table, categories.with_name("category".into()).into_column())
}

/// Columns that writers give a dictionary: texts and numbers that repeat, with nulls and without, runs of them and one value alone.
pub(crate) fn repeating() -> Vec<Vec<u8>> {
    const ROWS: usize = 8_000;
    let random = &mut Random::new(3);
    let towns: Vec<String> = (0..ROWS).map(|_| format!("town {} ü", random.below(60))).collect();
    let sparse: Vec<Option<i64>> =
        (0..ROWS).map(|row| (row / 50 % 3 > 0).then(|| random.below(200) as i64 - 100)).collect();
    let grades: Vec<f64> = (0..ROWS).map(|row| [0.5, f64::NAN, -0.0, f64::INFINITY, 1e300][row / 900 % 5]).collect();
    let days: Vec<Option<i32>> =
        (0..ROWS).map(|_| Some(19_000 + random.below(9) as i32).filter(|day| day % 4 > 0)).collect();
    let rare: Vec<Option<&str>> = (0..ROWS).map(|row| (row % 997 == 3).then_some("here")).collect();
    let day = Series::new("day".into(), days).cast(&DataType::Date).unwrap();
    let columns = [
        Series::new("town".into(), towns),
        Series::new("sparse".into(), sparse),
        Series::new("grade".into(), grades),
        day,
        Series::new("one".into(), vec![7_i16; ROWS]),
        Series::new("rare".into(), rare),
    ];
    in_every_way(columns)
}

/// Numbers that writers put one behind the other: with nulls here and there and in runs, and with none.
pub(crate) fn plain() -> Vec<Vec<u8>> {
    const ROWS: usize = 8_000;
    let random = &mut Random::new(5);
    let float = |row: usize| match row % 1_000 {
        3 => f64::NAN,
        5 => f64::NEG_INFINITY,
        _ => (row as f64).sqrt() - 40.0,
    };
    let sparse: Vec<Option<f64>> =
        (0..ROWS).map(|row| (random.share() > 0.1 && row / 200 % 7 > 0).then(|| float(row))).collect();
    in_every_way([
        Series::new("float".into(), (0..ROWS).map(float).collect::<Vec<_>>()),
        Series::new("sparse".into(), sparse),
        Series::new("single".into(), (0..ROWS).map(|row| row as f32 / 3.0).collect::<Vec<_>>()),
        Series::new("whole".into(), (0..ROWS as i64).map(|row| (row << 51) + row).collect::<Vec<_>>()),
        Series::new("small".into(), (0..ROWS as i32).map(|row| row - 4_000).collect::<Vec<_>>()),
    ])
}

/// Columns of 8,000 rows in two row groups: in every codec, in one page and in several.
fn in_every_way<const COLUMNS: usize>(columns: [Series; COLUMNS]) -> Vec<Vec<u8>> {
    let rows = columns[0].len();
    let mut table = DataFrame::new(rows, columns.map(IntoColumn::into_column).to_vec()).unwrap();
    let mut files = Vec::new();
    for compression in ways() {
        for page in [600, 1 << 20] {
            let mut bytes = Vec::new();
            let writer = ParquetWriter::new(&mut bytes).with_compression(compression);
            let writer = writer.with_row_group_rows(rows / 2).with_page_bytes(page);
            writer.finish(&mut table).unwrap();
            files.push(bytes);
        }
    }
    files
}

fn ways() -> [CompressionOptions; 4] {
    [
        CompressionOptions::Uncompressed,
        CompressionOptions::Snappy,
        CompressionOptions::Zstd(None),
        CompressionOptions::Lz4Raw,
    ]
}

/// Compressed in each way, in one row group and in several, and large enough that texts have dictionaries.
pub(crate) fn parquet() -> Vec<Vec<u8>> {
    let mut files = Vec::new();
    for (index, compression) in ways().into_iter().enumerate() {
        for (rows, row_group) in [(9, 9), (300, 100)] {
            let mut bytes = Vec::new();
            let writer = ParquetWriter::new(&mut bytes).with_compression(compression);
            let writer = writer.with_row_group_rows(row_group).with_page_bytes(512 << index);
            writer.finish(&mut table(rows)).unwrap();
            files.push(bytes);
        }
    }
    files
}

pub(crate) fn csv() -> Vec<Vec<u8>> {
    let plain = testkit::tables::csv(&customers(60, 1, 7));
    let quoted = "id,\"a, b\",text\r\n1,2.5,\"x \"\"y\"\"\r\nz\"\r\n00123,NULL,\r\n3,1e-3,ü\r\n";
    let mut lines: Vec<String> = plain.lines().map(str::to_owned).collect();
    lines[40] += ",\"two\nlines, of text\"";
    lines[44] += ",\"two,\n45,lines\"";
    let over_lines = lines.join("\n");
    vec![plain.into_bytes(), over_lines.into_bytes(), quoted.as_bytes().to_vec(), b"\xef\xbb\xbfid,x\n1,2\n".to_vec()]
}

pub(crate) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}
