use polars::prelude::NamedFrom;
use proptest::prelude::*;

use super::*;
use crate::csv::CsvFormat;
use crate::{CsvTyping, Dataset, LoadableTable};
use storage::Location;

fn read(keys: &[&str]) -> Result<Partitions> {
    Partitions::of_keys(keys, "/data")
}

/// Name, kind and whether it is constant, of each column.
fn columns(keys: &[&str]) -> Vec<(String, ColumnKind, bool)> {
    let read = read(keys).unwrap();
    read.columns().iter().map(|column| (column.name.clone(), column.kind, column.is_constant)).collect()
}

fn column(name: &str, kind: ColumnKind, is_constant: bool) -> (String, ColumnKind, bool) {
    (name.to_owned(), kind, is_constant)
}

#[test]
fn folders_are_columns_in_the_order_of_their_nesting() {
    let keys = ["region=n/year=2024/a.csv", "region=s/year=2025/x/b.csv"];
    let expected = [column("region", ColumnKind::Text, false), column("year", ColumnKind::Integer, false)];
    assert_eq!(columns(&keys), expected);
    assert_eq!(columns(&["x/a.csv", "b.csv", "=y/c.csv", "z=1.csv"]), []);
    let values = read(&keys).unwrap().of_object(1);
    assert_eq!(values.column("year", 2).unwrap(), Series::new("year".into(), [2025_i64, 2025]));
    assert_eq!(values.column("region", 1).unwrap(), Series::new("region".into(), ["s"]));
    assert_eq!(values.column("region", 0).unwrap().len(), 0);
    assert!(values.column("month", 2).is_none());
    let swapped = read(&["a=1/b=2/x.csv", "b=3/a=4/y.csv"]).unwrap();
    assert_eq!(swapped.of_object(1).column("a", 1).unwrap(), Series::new("a".into(), [4_i64]));
}

#[test]
fn only_integers_as_hive_writes_them_are_numbers() {
    let kind = |values: &[&str]| {
        let keys: Vec<String> = values.iter().map(|value| format!("k={value}/a.csv")).collect();
        columns(&keys.iter().map(String::as_str).collect::<Vec<_>>())[0].1
    };
    assert_eq!(kind(&["0", "7", "9223372036854775807", NULL]), ColumnKind::Integer);
    for text in ["01", "-1", "+1", "1.0", "1e3", " 1", "9223372036854775808", "2024-01-01", "true", "x", "١"] {
        assert_eq!(kind(&["1", text]), ColumnKind::Text, "{text}");
    }
    assert_eq!(kind(&[NULL, ""]), ColumnKind::Null);
}

#[test]
fn names_and_values_are_decoded() {
    let keys = ["my%20key=a%2Fb%3D%25/x.csv", "my key=ä+%C3%A4/y.csv"];
    let read = read(&keys).unwrap();
    assert_eq!(read.columns()[0].name, "my key");
    assert_eq!(read.of_object(0).column("my key", 1).unwrap().str().unwrap().get(0), Some("a/b=%"));
    assert_eq!(read.of_object(1).column("my key", 1).unwrap().str().unwrap().get(0), Some("ä+ä"));
    assert_eq!(columns(&["k=%FF%zz/x.csv"]), [column("k", ColumnKind::Text, true)]);
}

#[test]
fn a_value_that_is_the_same_everywhere_is_constant() {
    assert_eq!(columns(&["run=7/a.csv", "run=7/b.csv"]), [column("run", ColumnKind::Integer, true)]);
    let with_null = ["k=7/a.csv", "k=__HIVE_DEFAULT_PARTITION__/b.csv"];
    assert_eq!(columns(&with_null), [column("k", ColumnKind::Integer, false)]);
    assert_eq!(columns(&["k=/a.csv"]), [column("k", ColumnKind::Null, true)]);
}

#[test]
fn folders_that_only_some_objects_have_are_refused() {
    for (keys, said) in [
        (["a.csv", "r=n/b.csv"], ["a.csv lies in no folder \"r=…\"", "r=n/b.csv"]),
        (["r=n/a.csv", "b.csv"], ["b.csv lies in no folder \"r=…\"", "r=n/a.csv"]),
        (["r=n/m=1/a.csv", "r=n/b.csv"], ["r=n/b.csv lies in no folder \"m=…\"", "r=n/m=1/a.csv"]),
        (["r=n/a.csv", "R=n/b.csv"], ["R=n/b.csv lies in no folder \"r=…\"", "r=n/a.csv"]),
        (["a=1/b=2/a.csv", "b=2/c=3/b.csv"], ["b=2/c=3/b.csv lies in no folder \"a=…\"", "a=1/b=2/a.csv"]),
        (["a=1/a=2/a.csv", "a=1/a=3/b.csv"], ["a=1/a=2/a.csv lies in two folders \"a=…\"", "/data"]),
    ] {
        let error = read(&keys).unwrap_err();
        assert_eq!(error.exit_code(), 4);
        said.iter().for_each(|said| assert!(error.to_string().contains(said), "{error}"));
    }
}

#[test]
fn columns_become_what_was_learnt_where_their_values_are_that() {
    let adopted = |values: &[&str], learnt: ColumnKind| {
        let keys: Vec<String> = values.iter().map(|value| format!("k={value}/a.csv")).collect();
        let mut read = read(&keys.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
        read.adopt_kinds(|_| Some(learnt));
        (read.columns()[0].kind, read.of_object(0).column("k", 1).unwrap().dtype().clone())
    };
    assert_eq!(adopted(&["12"], ColumnKind::Text), (ColumnKind::Text, DataType::String));
    assert_eq!(adopted(&["03", "11"], ColumnKind::Integer), (ColumnKind::Integer, DataType::Int64));
    assert_eq!(adopted(&["0.5"], ColumnKind::Float), (ColumnKind::Float, DataType::Float64));
    assert_eq!(adopted(&["7"], ColumnKind::Float), (ColumnKind::Integer, DataType::Int64));
    let date = DataType::Datetime(TimeUnit::Microseconds, None);
    assert_eq!(adopted(&["2024-01-31", NULL], ColumnKind::Date), (ColumnKind::Date, date));
    assert_eq!(adopted(&["03", "x"], ColumnKind::Integer), (ColumnKind::Text, DataType::String));
    assert_eq!(adopted(&[NULL], ColumnKind::Integer).0, ColumnKind::Null);
    // Every object has the column's type, also where its own value would do with another one.
    assert_eq!(adopted(&["7", "0.5"], ColumnKind::Float), (ColumnKind::Float, DataType::Float64));
    let fine = ["2024-01-31 00:00:00.123456789"];
    assert_eq!(adopted(&fine, ColumnKind::Date), (ColumnKind::Text, DataType::String));
}

fn stored(folder: &str) -> PartitionValues {
    let mut read = read(&[&format!("{folder}/a.csv")]).unwrap();
    read.mark_stored(|_| true);
    read.of_object(0)
}

#[test]
fn a_column_of_the_object_must_agree_with_its_folder() {
    let name = || "k".into();
    let day = Series::new(name(), [19_783_i32]).cast(&DataType::Date).unwrap();
    let texts = |values: &[Option<&str>]| Series::new(name(), values);
    for (folder, column) in [
        ("k=3", Series::new(name(), [3_i64, 3])),
        ("k=03", Series::new(name(), [3_u8])),
        ("k=3", Series::new(name(), [3.0])),
        ("k=0.1", Series::new(name(), [0.1_f32])),
        ("k=9007199254740993", Series::new(name(), [9_007_199_254_740_993_i64])),
        ("k=1e999", Series::new(name(), [f64::INFINITY])),
        ("k=nan", Series::new(name(), [f64::NAN])),
        ("k=n", texts(&[Some("n"), Some("n")])),
        ("k=True", Series::new(name(), [true])),
        ("k=2024-03-01", day.clone()),
        ("k=2024-03-01 00:00:00", day.clone()),
        ("k=__HIVE_DEFAULT_PARTITION__", texts(&[None, Some("")])),
        ("other=1", texts(&[Some("x")])),
        ("k=3", Series::new_empty(name(), &DataType::Int64)),
    ] {
        stored(folder).check(&column, "/data/a.csv").unwrap_or_else(|error| panic!("{folder}: {error}"));
    }
    for (folder, column, there) in [
        ("k=3", Series::new(name(), [3_i64, 4]), "\"4\""),
        ("k=9007199254740993", Series::new(name(), [9_007_199_254_740_992_i64]), "\"9007199254740992\""),
        ("k=3", texts(&[Some("03")]), "\"03\""),
        ("k=n", texts(&[Some("n"), None]), "no value"),
        ("k=3", Series::new(name(), [f64::NAN]), "no value"),
        ("k=2024-03-02", day, "\"2024-03-01\""),
        ("k=__HIVE_DEFAULT_PARTITION__", texts(&[Some("n")]), "\"n\""),
    ] {
        let error = stored(folder).check(&column, "/data/a.csv").unwrap_err();
        assert_eq!(error.exit_code(), 4);
        for said in ["/data/a.csv: column \"k\"", there, folder] {
            assert!(error.to_string().contains(said), "{error}");
        }
    }
}

#[test]
fn cells_agree_as_what_they_stand_for_and_malformed_rows_do_not_count() {
    let cells = |values: &[Option<&str>]| {
        MemoryColumns::text_cells(values.len(), vec![Series::new("k".into(), values)], Default::default())
    };
    let complete = |folder: &str, values: &[Option<&str>], malformed: &[usize]| {
        stored(folder).complete(cells(values), &["k".to_owned()], malformed, "a.csv")
    };
    assert!(complete("k=03", &[Some("3"), Some("3.0"), Some("03")], &[]).is_ok());
    assert!(complete("k=2024-01-31", &[Some("2024-01-31T00:00:00Z")], &[]).is_ok());
    assert!(complete("k=3", &[Some("3"), None], &[1]).is_ok());
    for (folder, cell) in [("k=3", Some("4")), ("k=3", None), ("k=n", Some("N"))] {
        assert!(complete(folder, &[cell], &[]).unwrap_err().to_string().contains("a.csv"), "{folder}");
    }
    let of_folders = read(&["k=03/a.csv"]).unwrap().of_object(0);
    let completed = of_folders.complete(cells(&[Some("x"), None]), &["k".to_owned()], &[], "a.csv").unwrap();
    assert_eq!(completed.column("k").unwrap(), Series::new("k".into(), ["03", "03"]));
    assert_eq!((completed.rows(), completed.cell_format("k")), (2, Some(Default::default())));
}

/// How numbers are written in cells says nothing about the names of folders.
#[test]
fn a_decimal_comma_is_one_of_cells_and_not_of_folders() {
    let comma = CellFormat { decimal: b',' };
    let complete = |partitions: &PartitionValues, name: &str, values: &[Option<&str>]| {
        let cells = MemoryColumns::text_cells(values.len(), vec![Series::new(name.into(), values)], comma);
        partitions.complete(cells, &[name.to_owned(), "k".to_owned()], &[], "a.csv")
    };
    let of_folders = read(&["k=1.5/a.csv"]).unwrap().of_object(0);
    let completed = complete(&of_folders, "x", &[Some("2,5")]).unwrap();
    let format = |name: &str| completed.cell_format(name);
    assert_eq!((format("k"), format("x")), (Some(CellFormat::default()), Some(comma)));
    let narrowed = completed.narrowed(0..1);
    assert_eq!((narrowed.cell_format("k"), narrowed.cell_format("x")), (format("k"), format("x")));
    for (folder, cell, is_sound) in
        [("k=1.5", "1,5", true), ("k=1.50", "1,5", true), ("k=1.5", "1,6", false), ("k=1,5", "1.6", false)]
    {
        assert_eq!(complete(&stored(folder), "k", &[Some(cell)]).is_ok(), is_sound, "{folder}: {cell}");
    }
}

#[test]
fn timestamps_agree_to_the_nanosecond() {
    let cells = |cell: &str| MemoryColumns::text_cells(1, vec![Series::new("k".into(), [cell])], Default::default());
    let complete =
        |cell: &str| stored("k=2024-01-01 00:00:00.123456789").complete(cells(cell), &["k".to_owned()], &[], "a.csv");
    assert!(complete("2024-01-01T00:00:00.123456789Z").is_ok());
    assert!(complete("2024-01-01T00:00:00.123456111Z").is_err());
}

/// An object with nothing in it takes no place among those that have rows.
#[tokio::test]
async fn rows_behind_an_empty_object_have_the_values_of_their_own_folders() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut packed, text.as_bytes()).unwrap();
        std::fs::write(path, packed.finish().unwrap()).unwrap();
    };
    for (value, text) in [("a", ""), ("b", "x\n1\n2\n"), ("c", ""), ("d", "x\n3\n"), ("e", "")] {
        write(&format!("p={value}/f.csv.gz"), text);
    }
    // Of an object without rows it does not matter where it lies.
    write("f.csv.gz", "");
    let dataset = open(folder.path()).await.unwrap();
    assert_eq!((dataset.objects.len(), dataset.empty_objects.len()), (2, 4));
    let table = LoadableTable::open(dataset, &CsvTyping::default()).await.unwrap();
    let columns = table.columns(&["x".to_owned(), "p".to_owned()], 1).await.unwrap();
    assert_eq!(columns, [Series::new("x".into(), [1_i64, 2, 3]), Series::new("p".into(), ["b", "b", "d"])]);
    // Their values say nothing about the column either.
    write("p=7/f.csv.gz", "x\n4\n");
    for value in ["b", "d"] {
        write(&format!("p={value}/f.csv.gz"), "");
    }
    let dataset = open(folder.path()).await.unwrap();
    assert_eq!(
        dataset.partitions.columns(),
        [PartitionColumn { name: "p".to_owned(), kind: ColumnKind::Integer, is_constant: true, is_stored: false }]
    );
}

/// A folder of Parquet files of `rows` rows each, which have the columns `x` and, where `inner` says so, `k`.
fn lake(keys: &[&str], rows: usize, inner: Option<&[i64]>) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (object, key) in keys.iter().enumerate() {
        let first = (object * rows) as i64;
        let mut columns = vec![Series::new("x".into(), (first..first + rows as i64).collect::<Vec<_>>()).into()];
        columns.extend(inner.map(|values| Series::new("k".into(), vec![values[object]; rows]).into()));
        let table = polars::prelude::DataFrame::new(rows, columns).unwrap();
        testkit::tables::write_parquet(&table, &folder.path().join(key));
    }
    folder
}

async fn open(folder: &std::path::Path) -> Result<Dataset> {
    let location = Location::parse(&folder.display().to_string()).unwrap();
    Dataset::open(&location, CsvFormat::default()).await
}

#[tokio::test]
async fn row_groups_and_row_ranges_have_the_columns_of_their_folders() {
    let folder = lake(&["k=7/r=a/0.parquet", "k=8/r=b/0.parquet"], 90, None);
    let dataset = open(folder.path()).await.unwrap();
    let names: Vec<String> = dataset.schema.columns().iter().map(|column| column.name.clone()).collect();
    assert_eq!((names.as_slice(), dataset.stored_columns()), (["x", "k", "r"].map(str::to_owned).as_slice(), 1));
    let object = &dataset.objects[1];
    let file = object.parquet.as_ref().unwrap();
    let eights = |rows| Series::new("k".into(), vec![8_i64; rows]);
    let group = file.fetch(dataset.store.as_ref(), &object.meta, 0, &names).await.unwrap();
    let group_rows = group.rows();
    assert_eq!(group.column("k").unwrap(), eights(group_rows));
    let part = group.narrowed(10..17);
    assert_eq!((part.column("k").unwrap(), part.column("x").unwrap().len()), (eights(7), 7));
    // None of its bytes are needed for the names of folders.
    let only = ["r".to_owned()];
    let group = file.fetch(dataset.store.as_ref(), &object.meta, 0, &only).await.unwrap();
    assert_eq!(group.column("r").unwrap(), Series::new("r".into(), vec!["b"; group_rows]));
    for columns in [&names[..], &only] {
        let mut reader = file.page_reader(&dataset.store, &object.meta, 0, columns).unwrap();
        assert!(reader.is_of(file, 0, columns));
        for rows in [0..11, 11..group_rows] {
            let range = reader.read(rows.clone()).await.unwrap();
            assert_eq!(range.column("r").unwrap().len(), rows.len());
            if columns.len() > 1 {
                assert_eq!(range.column("k").unwrap(), eights(rows.len()));
                assert_eq!(range.column("x").unwrap().len(), rows.len());
            }
        }
    }
    file.page_overhead(dataset.store.as_ref(), &object.meta, 0, &names).await.unwrap();
    let table = LoadableTable::open(dataset, &CsvTyping::default()).await.unwrap();
    let columns = table.columns(&names, 1).await.unwrap();
    assert_eq!(
        (columns[0].len(), columns[1].get(0).unwrap(), columns[1].get(179).unwrap()),
        (180, 7_i64.into(), 8_i64.into())
    );
}

#[tokio::test]
async fn one_object_and_what_lies_above_it_have_no_such_columns() {
    let folder = lake(&["k=7/0.parquet", "k=8/0.parquet"], 5, None);
    for below in ["k=7", "k=7/0.parquet"] {
        let dataset = open(&folder.path().join(below)).await.unwrap();
        assert_eq!((dataset.schema.columns().len(), dataset.schema.get("k")), (1, None));
    }
    let dataset = open(folder.path()).await.unwrap();
    assert!(!dataset.schema.is_constant_partition("k"));
    let alone = lake(&["k=7/0.parquet", "k=7/1.parquet"], 5, None);
    assert!(open(alone.path()).await.unwrap().schema.is_constant_partition("k"));
}

#[tokio::test]
async fn a_column_that_disagrees_is_found_where_it_is_read() {
    let keys = ["k=07/0.parquet", "k=8/0.parquet"];
    let sound = lake(&keys, 20, Some(&[7, 8]));
    let dataset = open(sound.path()).await.unwrap();
    assert_eq!(dataset.schema.get("k").unwrap().dtype, DataType::Int64, "the file's type is the column's");
    let table = LoadableTable::open(dataset, &CsvTyping::default()).await.unwrap();
    let names = ["x".to_owned(), "k".to_owned()];
    assert_eq!(table.columns(&names, 1).await.unwrap()[1].len(), 40);
    let wrong = lake(&keys, 20, Some(&[7, 9]));
    let table = LoadableTable::open(open(wrong.path()).await.unwrap(), &CsvTyping::default()).await.unwrap();
    table.columns(&names[..1], 1).await.unwrap();
    let error = table.columns(&names, 1).await.unwrap_err();
    assert_eq!(error.exit_code(), 4);
    for said in ["k=8/0.parquet: column \"k\" has \"9\"", "the folder \"k=8\""] {
        assert!(error.to_string().contains(said), "{error}");
    }
}

fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    let bytes = text.bytes();
    bytes.map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

proptest! {
    /// What a writer lays out is read back, whatever names and values have in them.
    #[test]
    fn what_is_written_is_read(
        names in proptest::collection::btree_set("\\PC{1,5}", 1..4),
        rows in proptest::collection::vec(proptest::collection::vec(proptest::option::of("\\PC{1,5}|[0-9]{1,20}"), 3), 1..6),
    ) {
        let names: Vec<String> = names.into_iter().collect();
        let folder = |(name, value): (&String, &Option<String>)| {
            format!("{}={}/", encoded(name), value.as_deref().map_or(NULL.to_owned(), encoded))
        };
        let keys: Vec<String> =
            rows.iter().map(|row| names.iter().zip(row).map(folder).collect::<String>() + "part.parquet").collect();
        let read = Partitions::of_keys(&keys.iter().map(String::as_str).collect::<Vec<_>>(), "/data").unwrap();
        for (object, row) in rows.iter().enumerate() {
            for (name, value) in names.iter().zip(row) {
                let column = read.of_object(object).column(name, 1).unwrap();
                prop_assert_eq!(column.name().as_str(), name);
                let text = canonical_text(&column).unwrap();
                prop_assert_eq!(text.get(0), value.as_deref());
            }
        }
    }

    /// Any keys are read or refused in one line; columns are the same for all objects.
    #[test]
    fn any_keys_are_read_or_refused(keys in proptest::collection::vec("([a-b]{0,1}=?[0-9%]{0,2}\\PC?/){0,3}\\PC{0,2}", 0..5)) {
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        match Partitions::of_keys(&keys, "/data") {
            Ok(read) => for object in 0..keys.len() {
                for column in read.columns() {
                    let values = read.of_object(object).column(&column.name, 2).unwrap();
                    prop_assert_eq!(values.dtype(), &column.schema().dtype);
                }
            },
            Err(error) => prop_assert!(error.exit_code() == 4 && !error.to_string().contains('\n')),
        }
    }
}
