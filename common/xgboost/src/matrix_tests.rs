//! Matrices from columns of every type, from batches, from sources that fail.

use super::tests::{Table, options, params, rmse, trained};
use super::*;
use ::error::{Error, Result};

#[test]
fn every_type_of_column_and_the_bitmap_mean_the_same() {
    let codes: Vec<u8> = (0..64).map(|row| row % 5).collect();
    let floats: Vec<f32> = codes.iter().map(|code| f32::from(*code)).collect();
    let with_gaps: Vec<f32> = floats.iter().enumerate().map(|(i, v)| if i % 3 == 0 { f32::NAN } else { *v }).collect();
    let bitmap: Vec<u8> =
        (0..8).map(|byte| (0..8).filter(|bit| (byte * 8 + bit) % 3 != 0).map(|bit| 1 << bit).sum()).collect();
    let labels: Vec<f32> = with_gaps.iter().map(|value| if value.is_nan() { 7.0 } else { value * value }).collect();
    let feature = [Feature { name: "x".to_owned(), kind: FeatureKind::Number }];
    let batch = Batch { columns: vec![with_gaps.as_slice().into()], labels: Some(&labels), weights: None };
    let matrix = DMatrix::quantile(&feature, &batch, &options(1)).unwrap();
    let mut booster = trained(&params(&[("lambda", "0")]), &matrix, 5);
    let expected = booster.predict_columns(&batch.columns, 0..0).unwrap();
    let model = booster.save().unwrap();

    let (f64s, i8s): (Vec<f64>, Vec<i8>) = codes.iter().map(|c| (f64::from(*c), i8::try_from(*c).unwrap())).unzip();
    let (i16s, i32s): (Vec<i16>, Vec<i32>) = codes.iter().map(|c| (i16::from(*c), i32::from(*c))).unzip();
    let (i64s, u16s): (Vec<i64>, Vec<u16>) = codes.iter().map(|c| (i64::from(*c), u16::from(*c))).unzip();
    let (u32s, u64s): (Vec<u32>, Vec<u64>) = codes.iter().map(|c| (u32::from(*c), u64::from(*c))).unzip();
    let columns: [Column<'_>; 10] = [
        floats.as_slice().into(),
        f64s.as_slice().into(),
        i8s.as_slice().into(),
        i16s.as_slice().into(),
        i32s.as_slice().into(),
        i64s.as_slice().into(),
        codes.as_slice().into(),
        u16s.as_slice().into(),
        u32s.as_slice().into(),
        u64s.as_slice().into(),
    ];
    for column in columns {
        let column = Column { validity: Some(&bitmap), ..column };
        assert_eq!(booster.predict_columns(&[column], 0..0).unwrap(), expected, "{column:?}");
        let same = Batch { columns: vec![column], ..batch.clone() };
        let matrix = DMatrix::quantile(&feature, &same, &options(1)).unwrap();
        assert_eq!(trained(&params(&[("lambda", "0")]), &matrix, 5).save().unwrap(), model, "{column:?}");
    }
}

/// Batches of a table, with a failure or a panic at will.
struct Batches {
    parts: Vec<Table>,
    at: usize,
    passes: usize,
    fail_in_pass: Option<usize>,
    panic: bool,
}

impl Batches {
    fn of(table: &Table, size: usize) -> Self {
        let rows = table.labels.len();
        let parts = (0..rows).step_by(size).map(|from| table.rows(from, (from + size).min(rows))).collect();
        Self { parts, at: 0, passes: 0, fail_in_pass: None, panic: false }
    }
}

impl BatchSource for Batches {
    fn rewind(&mut self) -> Result<()> {
        self.at = 0;
        self.passes += 1;
        Ok(())
    }

    fn next_batch(&mut self) -> Result<Option<Batch<'_>>> {
        if self.fail_in_pass == Some(self.passes) && self.at == 1 {
            assert!(!self.panic, "the source panics");
            return Err(Error::Data("part-00001 is truncated".to_owned()));
        }
        self.at += 1;
        Ok(self.parts.get(self.at - 1).map(Table::batch))
    }
}

#[test]
fn batches_in_memory_and_on_disk_train_like_the_whole() {
    let table = Table::new(3000, 7);
    let features = Table::features(true);
    let folder = tempfile::tempdir().unwrap();
    let whole = DMatrix::quantile(&features, &table.batch(), &options(1)).unwrap();
    let parts = DMatrix::quantile_from(&features, &mut Batches::of(&table, 700), &options(1)).unwrap();
    let prefix = folder.path().join("cache \"quoted\"");
    let on_disk = DMatrix::external(&features, &mut Batches::of(&table, 700), &options(1), &prefix).unwrap();
    assert_eq!((parts.rows(), on_disk.rows()), (3000, 3000));
    assert!(std::fs::read_dir(folder.path()).unwrap().count() > 0);

    let params = params(&[("subsample", "0.8")]);
    let model = |matrix: &DMatrix| {
        let booster = trained(&params, matrix, 10);
        rmse(&booster.predict_columns(&table.columns(), 0..0).unwrap(), &table)
    };
    let (whole, parts, disk) = (model(&whole), model(&parts), model(&on_disk));
    assert!((whole - parts).abs() < 0.003 && (whole - disk).abs() < 0.003, "{whole} {parts} {disk}");
    drop(on_disk);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_failing_source_hands_back_its_own_error_in_whichever_pass() {
    let table = Table::new(900, 8);
    let folder = tempfile::tempdir().unwrap();
    // Shape, quantiles and bins are a pass each; a rewind ends the first two.
    for pass in [1, 2, 4] {
        let mut source = Batches { fail_in_pass: Some(pass), ..Batches::of(&table, 300) };
        let failed = DMatrix::external(&Table::features(true), &mut source, &options(1), &folder.path().join("c"));

        assert_eq!(failed.unwrap_err(), XgboostError::Source(Error::Data("part-00001 is truncated".to_owned())));
        let mut source = Batches { fail_in_pass: Some(pass), ..Batches::of(&table, 300) };
        let failed = DMatrix::quantile_from(&Table::features(true), &mut source, &options(1));
        assert_eq!(Error::from(failed.unwrap_err()).exit_code(), 4, "pass {pass}");
    }
}

#[test]
fn a_panicking_source_panics_through_the_constructor() {
    let table = Table::new(900, 9);
    let mut source = Batches { fail_in_pass: Some(2), panic: true, ..Batches::of(&table, 300) };
    let built = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        DMatrix::quantile_from(&Table::features(true), &mut source, &options(1)).map(drop)
    }));
    let message = built.unwrap_err();
    assert_eq!(message.downcast_ref::<&str>(), Some(&"the source panics"));
}

#[test]
fn misfits_are_told_before_xgboost_sees_them() {
    let table = Table::new(10, 10);
    let features = Table::features(true);
    let told = |batch: &Batch<'_>| DMatrix::quantile(&features, batch, &options(1)).unwrap_err().to_string();
    let columns = |count: usize| table.columns().into_iter().take(count).collect::<Vec<_>>();
    assert_eq!(told(&Batch { columns: columns(3), ..table.batch() }), "3 columns for 5 features");
    assert_eq!(told(&Batch { labels: Some(&[1.0]), ..table.batch() }), "1 labels for 10 rows");
    assert_eq!(told(&Batch { weights: Some(&[1.0; 11]), ..table.batch() }), "11 weights for 10 rows");
    let short: Column<'_> = table.codes[..9].into();
    let mut uneven = table.columns();
    uneven[2] = short;
    assert_eq!(told(&Batch { columns: uneven.clone(), ..table.batch() }), "column 2 has 9 rows, column 0 has 10");
    uneven[2] = Column { validity: Some(&[255]), ..table.columns()[2] };
    assert!(told(&Batch { columns: uneven, ..table.batch() }).contains("bitmap of column 2"));
    let empty = Table::new(0, 1);
    assert_eq!(told(&empty.batch()), "a matrix needs at least one row");
    assert!(DMatrix::plain(&features, &empty.batch(), 1).is_err());
    let none = DMatrix::quantile_from(&features, &mut Batches::of(&empty, 5), &options(1));
    assert_eq!(none.unwrap_err().to_string(), "a matrix needs at least one row");
    let nul = [Feature { name: "a\0b".to_owned(), kind: FeatureKind::Number }];
    let one = Batch { columns: columns(1), labels: None, weights: None };
    assert!(DMatrix::plain(&nul, &one, 1).unwrap_err().to_string().contains("NUL"));
}

#[test]
fn infinite_values_are_refused_by_a_matrix() {
    let values = [1.0, f32::INFINITY, 3.0];
    let feature = [Feature { name: "x".to_owned(), kind: FeatureKind::Number }];
    let batch = Batch { columns: vec![values.as_slice().into()], labels: None, weights: None };
    assert!(DMatrix::plain(&feature, &batch, 1).unwrap_err().to_string().contains("inf"));
    assert!(DMatrix::quantile(&feature, &batch, &options(1)).unwrap_err().to_string().contains("inf"));
}
