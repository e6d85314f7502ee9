//! Small tables with a target that a model can learn, the same ones in every run.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{BufWriter, Cursor};
use std::path::Path;

use polars::prelude::{
    BooleanChunked, Column, DataFrame, DataType, IntoColumn, IntoSeries, NamedFrom, NewChunkedArray, Series,
    StringChunked,
};
use polars_buffer::Buffer;
use polars_parquet::read::{BasicDecompressor, PageReader, column_iter_to_arrays, infer_schema, read_metadata};
use table::write::ParquetWriter;

use crate::random::Random;

const PLANS: [&str; 4] = ["basic", "family", "premium", "student"];
/// Of `plan` in the target.
const PLAN_WORTH: [f64; 4] = [0.0, 6.0, 14.0, -4.0];

/// Customers: `customer_id` (whole numbers from `first_id`), a column of every kind with some nulls, and `score`, which follows
/// from them but for a little noise.
#[must_use]
pub fn customers(rows: usize, first_id: i64, seed: u64) -> DataFrame {
    let mut random = Random::new(seed);
    let mut table = Customers::default();
    for _ in 0..rows {
        table.push(&mut random);
    }
    let ids: Vec<i64> = (first_id..).take(rows).collect();
    let since = Series::new("since".into(), table.since).cast(&DataType::Date).expect("days are dates");
    let columns = vec![
        Series::new("customer_id".into(), ids).into_column(),
        Series::new("spend".into(), table.spend).into_column(),
        Series::new("visits".into(), table.visits).into_column(),
        Series::new("plan".into(), table.plan).into_column(),
        BooleanChunked::from_iter_options("member".into(), table.member.into_iter()).into_series().into_column(),
        since.into_column(),
        Series::new("score".into(), table.score).into_column(),
    ];
    DataFrame::new(rows, columns).expect("columns of one length")
}

#[derive(Default)]
struct Customers {
    spend: Vec<Option<f64>>,
    visits: Vec<i32>,
    plan: Vec<Option<&'static str>>,
    member: Vec<Option<bool>>,
    since: Vec<i32>,
    score: Vec<f64>,
}

impl Customers {
    fn push(&mut self, random: &mut Random) {
        let spend = random.share() * 100.0;
        let visits = random.below(30) as i32;
        let plan = random.below(4) as usize;
        let member = random.below(2) == 1;
        let since = 15_000 + random.below(3_000) as i32;
        let bonus = if member { 10.0 } else { 0.0 };
        let age = f64::from(18_000 - since) / 365.0;
        let score = 0.6 * spend + f64::from(visits) + PLAN_WORTH[plan] + bonus + age + random.share();
        let mut present = || random.below(20) > 0;
        self.spend.push(present().then_some(spend));
        self.plan.push(present().then_some(PLANS[plan]));
        self.member.push(present().then_some(member));
        self.visits.push(visits);
        self.since.push(since);
        self.score.push(score);
    }
}

/// The table with `column` in place of the one of its name.
///
/// # Panics
/// Where it has another length.
#[must_use]
pub fn with(mut table: DataFrame, column: impl Into<Column>) -> DataFrame {
    table.with_column(column.into()).expect("a column of the table's length");
    table
}

/// The table without a column.
///
/// # Panics
/// Where there is none.
#[must_use]
pub fn without(table: &DataFrame, name: &str) -> DataFrame {
    table.drop(name).expect("a column of the table")
}

/// Writes a table as one Parquet file, its folder included.
///
/// # Panics
/// Where it cannot be written.
pub fn write_parquet(table: &DataFrame, path: &Path) {
    fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("a folder");
    let file = File::create(path).expect("a file");
    // Several row groups, as large files have.
    let row_group = (table.height() / 3).max(1);
    ParquetWriter::new(BufWriter::new(file))
        .with_row_group_rows(row_group)
        .finish(&mut table.clone())
        .expect("Parquet");
}

/// The bytes of a table as Parquet.
///
/// # Panics
/// Where it cannot be written.
#[must_use]
pub fn parquet_bytes(table: &DataFrame) -> Vec<u8> {
    let mut bytes = Vec::new();
    ParquetWriter::new(&mut bytes).finish(&mut table.clone()).expect("Parquet");
    bytes
}

/// A table out of the bytes of a Parquet file without nested columns, by polars-parquet's own reader of footers and schemas.
///
/// # Panics
/// Where they are none.
#[must_use]
pub fn read_parquet(bytes: &[u8]) -> DataFrame {
    let bytes = Buffer::from_vec(bytes.to_vec());
    let footer = read_metadata(&mut Cursor::new(bytes.as_slice())).expect("a footer");
    let schema = infer_schema(&footer).expect("a schema");
    let columns = schema.iter_values().map(|field| {
        let chunks = footer.row_groups.iter().flat_map(|row_group| {
            let mut leaves = row_group.columns_under_root_iter(&field.name).expect("a column of the row group");
            let (leaf, next) = (leaves.next().expect("a leaf"), leaves.next());
            assert!(next.is_none(), "{} is nested", field.name);
            let range = leaf.byte_range();
            let pages = Cursor::new(bytes.clone().sliced(range.start as usize..range.end as usize));
            let pages = BasicDecompressor::new(PageReader::new(pages, leaf, Vec::new(), usize::MAX), Vec::new());
            let primitive = &leaf.descriptor().descriptor.primitive_type;
            column_iter_to_arrays(vec![pages], vec![primitive], field.clone(), None).expect("pages").0
        });
        let chunks: Vec<_> = chunks.collect();
        if chunks.is_empty() {
            return Series::new_empty(field.name.clone(), &DataType::from_arrow_field(field)).into_column();
        }
        Series::try_from((field, chunks)).expect("a column").into_column()
    });
    DataFrame::new(footer.num_rows, columns.collect()).expect("columns of one length")
}

/// A table as CSV: nulls are empty fields.
///
/// # Panics
/// Where a column cannot be text.
#[must_use]
pub fn csv(table: &DataFrame) -> String {
    let cells: Vec<StringChunked> = table.columns().iter().map(cells_of).collect();
    let names: Vec<&str> = table.columns().iter().map(|column| column.name().as_str()).collect();
    let mut text = names.join(",") + "\n";
    for row in 0..table.height() {
        let fields: Vec<Cow<'_, str>> =
            cells.iter().map(|column| quoted(column.get(row).unwrap_or_default())).collect();
        text.push_str(&fields.join(","));
        text.push('\n');
    }
    text
}

fn quoted(field: &str) -> Cow<'_, str> {
    if field.contains([',', '"', '\n', '\r']) {
        Cow::Owned(format!("\"{}\"", field.replace('"', "\"\"")))
    } else {
        Cow::Borrowed(field)
    }
}

fn cells_of(column: &Column) -> StringChunked {
    let text = column.cast(&DataType::String).expect("a column as text");
    text.str().expect("text").clone()
}
