use std::io::Cursor;
use std::sync::OnceLock;

use proptest::prelude::*;
use testkit::random::Random;

use super::records::{Fault, Records};
use super::*;
use crate::Dataset;
use storage::Location;

/// What reading a text comes to.
#[derive(Debug, Clone, PartialEq)]
struct Table {
    names: Vec<String>,
    /// Cells by row; of malformed rows there are none.
    rows: Vec<Vec<Option<String>>>,
    /// Malformed rows, and what is wrong with the first of each batch.
    malformed: Vec<usize>,
    problems: Vec<(u64, String)>,
    /// Cells that were warned about.
    possible: u64,
}

impl Table {
    fn cell(&self, row: usize, column: usize) -> &str {
        self.rows[row][column].as_deref().unwrap_or_default()
    }
}

/// Reads a file of this name and content by way of a dataset.
fn read_file(name: &str, content: &[u8], csv: CsvFormat) -> Result<Table> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    let runtime = RUNTIME
        .get_or_init(|| tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap());
    let location = Location::parse(&path.display().to_string()).unwrap();
    let dataset = runtime.block_on(Dataset::open(&location, csv))?;
    let names: Vec<String> = dataset.schema.columns().iter().map(|column| column.name.clone()).collect();
    let object = &dataset.objects[0];
    let (store, meta, format) = (Arc::clone(&dataset.store), object.meta.clone(), (object.format, dataset.csv));
    let mut reader = CsvReader::open(store, meta, format, "t.csv", runtime.handle().clone())?;
    let mut table =
        Table { names: names.clone(), rows: Vec::new(), malformed: Vec::new(), problems: Vec::new(), possible: 0 };
    // Batches that end amid everything.
    while let Some(batch) = reader.next_batch(&names, 3)? {
        let columns: Vec<Series> = names.iter().map(|name| column(&batch.columns, name)).collect();
        for row in 0..columns[0].len() {
            let cells = columns.iter().map(|column| column.str().unwrap().get(row).map(str::to_owned));
            table.rows.push(cells.collect());
        }
        let first_row = batch.first_row as usize;
        table.malformed.extend(batch.malformed.into_iter().map(|row| first_row + row));
        table.problems.extend(batch.first_problem.map(|first| (first.row, first.problem.to_string())));
    }
    table.possible = reader.possible;
    Ok(table)
}

fn column(columns: &MemoryColumns, name: &str) -> Series {
    columns::ColumnSource::column(columns, name).unwrap()
}

fn read(content: impl AsRef<[u8]>) -> Result<Table> {
    read_file("t.csv", content.as_ref(), CsvFormat::default())
}

#[track_caller]
fn refused(content: impl AsRef<[u8]>, parts: &[&str]) {
    let error = read(content.as_ref()).expect_err(&String::from_utf8_lossy(content.as_ref()));
    assert_eq!(error.exit_code(), 4, "{error}");
    let text = error.to_string();
    assert!(!text.contains('\n'), "{text}");
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

/// `id,c,x` with as many rows, of which some are replaced.
fn table(rows: usize, replaced: &[(usize, &str)]) -> String {
    let mut text = "id,c,x\n".to_owned();
    for row in 0..rows {
        match replaced.iter().find(|(place, _)| *place == row) {
            Some((_, line)) => text += line,
            None => text += &format!("{row},{},{}.5", ["red", "green", "dark blue"][row % 3], row % 7),
        }
        text += "\n";
    }
    text
}

#[test]
fn a_quote_that_is_never_closed_is_named_with_row_and_byte() {
    let text = table(1_200, &[(300, "300,\"5 inch,0.1")]);
    let byte = text.find('"').unwrap();
    refused(
        &text,
        &[
            "t.csv",
            "data row 301",
            "column \"c\"",
            &format!("the quote at byte {byte} is never closed"),
            "write it twice",
        ],
    );
    refused("id,x\n1,\"abc", &["data row 1", "byte 7 is never closed"]);
    refused("id,x\n1,\"abc\"\"", &["data row 1", "byte 7 is never closed"]);
    refused("id,x\n1,2\n\"", &["data row 2", "byte 9 is never closed"]);
    refused("id,\"x\n1,2\n3,4\n", &["the header", "byte 3 is never closed"]);
    refused("\"id,x\n1,2\n3,4\n", &["the header", "byte 0 is never closed"]);
}

#[test]
fn two_stray_quotes_that_swallow_rows_are_named() {
    for (first, last) in [(300, 500), (300, 303), (300, 302), (300, 301), (0, 1_199), (0, 1), (1_198, 1_199)] {
        let text = table(1_200, &[(first, &format!("{first},\"5 inch,0.1")), (last, &format!("{last},6 inch\",0.2"))]);
        let (row, byte) = (format!("data row {}:", first + 1), format!("byte {}", text.find('"').unwrap()));
        let lines = format!("over {} lines and holds what looks like rows", last - first + 1);
        refused(&text, &[&row, &byte, "column \"c\"", &lines]);
    }
    // In other columns than the one where the quote opened: the record has another width.
    refused(table(50, &[(10, "10,\"5 inch,0.1"), (14, "14,red,7\"")]), &["data row 11", "looks like rows"]);
    refused(table(50, &[(10, "10,red,\"0.1"), (11, "11,5\",0.2")]), &["data row 11", "looks like rows"]);
    // Twice in one record, and a cell over several lines that is one.
    let text = table(50, &[(10, "10,\"a,0.1"), (12, "12,b\",\"0.2"), (14, "14,c,0.3\"")]);
    refused(text, &["data row 11", "looks like rows"]);
    // Rows without a number, but many of them.
    let words = |rows: &str| format!("k,a,b\np,q,r\ns,t,u\n{rows}v,w,x\n");
    refused(words("p1,\"q,r\np2,q,r\np3,q,r\np4,q,r\np5,q\",r\n"), &["data row 3", "over 5 lines"]);
    // Empty cells in quotes, and one row that is itself broken.
    let text = table(50, &[(10, "10,\"a,0.1"), (11, "11,\"\",0.1"), (12, "12,"), (20, "20,b\",0.2")]);
    refused(text, &["data row 11", "over 11 lines"]);
    // Windows line ends and a decimal comma.
    refused(
        table(50, &[(10, "10,\"a,0.1"), (12, "12,b\",0.2")]).replace('\n', "\r\n"),
        &["data row 11", "over 3 lines"],
    );
    let decimal_comma = table(50, &[(10, "10,\"a,0.1"), (12, "12,b\",0.2")]).replace(',', ";").replace('.', ",");
    let csv = CsvFormat { delimiter: b';', cells: CellFormat { decimal: b',' } };
    let error = read_file("t.csv", decimal_comma.as_bytes(), csv).unwrap_err().to_string();
    assert!(error.contains("data row 11") && error.contains("looks like rows"), "{error}");
    // The first row of all: what comes later shows what the columns hold.
    refused(table(30, &[(0, "0,\"a,0.1"), (1, "1,b\",0.2")]), &["data row 1:", "over 2 lines"]);
    // Swallowed by the header.
    let header =
        table(30, &[(3, "3,red,0.1")]).replacen("id,c,x", "id,\"c,x", 1).replacen("2,dark blue", "2,dark\"", 1);
    refused(header, &["the header", "byte 3", "looks like rows"]);
}

/// A table whose columns change on the way: ids and codes are numbers first, later they are not. `x` may be missing then.
fn drifting(has_x: bool, replaced: &[(usize, &str)]) -> String {
    let mut text = "id,note,code,x\n".to_owned();
    for row in 0..1_100 {
        let note = format!("note{}", row % 7);
        match replaced.iter().find(|(place, _)| *place == row) {
            Some((_, line)) => text += line,
            None if row < 400 => text += &format!("{row},{note},{row},0.{row:03}"),
            None if has_x => text += &format!("C{row},{note},K{row},0.{row:04}"),
            None => text += &format!("C{row},{note},K{row},"),
        }
        text += "\n";
    }
    text
}

#[test]
fn rows_are_not_swallowed_where_columns_hold_something_else_by_then() {
    for span in [1, 2, 4, 40, 300] {
        let last = 700 + span;
        let text =
            drifting(true, &[(700, "C700,\"note0,K700,0.700"), (last, &format!("C{last},note1\",K{last},0.701"))]);
        let lines = format!("over {} lines and holds what looks like rows", span + 1);
        refused(&text, &["data row 701", &lines, "where the cell is meant so, write the table as Parquet"]);
    }
    // Where nothing tells rows from text: many rows are refused nevertheless, and few are named.
    for span in [1, 2, 3, 20, 300] {
        let last = 700 + span;
        let text = drifting(false, &[(700, "C700,\"note0,K700,"), (last, &format!("C{last},note1\",K{last},"))]);
        match read(&text) {
            Err(error) => assert!(error.to_string().contains("looks like rows"), "{error}"),
            Ok(table) => assert_eq!((span <= 3, table.possible), (true, 1), "{span}"),
        }
    }
    // One column of which a cell does not fit.
    let of = |x: &str| {
        let rows = (0..800).map(|row| match row {
            700 => "0.7,C700,\"note0\n".to_owned(),
            701 => format!("{x},C701,note1\"\n"),
            _ => format!("0.{row:03},C{row},note{}\n", row % 7),
        });
        "x,id,note\n".to_owned() + &rows.collect::<String>()
    };
    for marker in ["n.a.", "N.A.", "none", "--"] {
        assert_eq!(read(of(marker)).unwrap().possible, 1, "{marker}");
    }
    refused(of("0.5"), &["data row 701", "looks like rows"]);
}

#[test]
fn many_lines_as_wide_as_the_header_are_text_only_where_a_column_has_such_cells_often() {
    let note = format!("\"p,q\n{}r,s,z\"", "t,u,v,w\n".repeat(10));
    let of = |is_note: &dyn Fn(usize) -> bool| {
        let rows = (0..200).map(|row| format!("{row},0.5,{},{row}\n", if is_note(row) { &note } else { "none" }));
        "id,x,note,n\n".to_owned() + &rows.collect::<String>()
    };
    refused(of(&|row| row == 50), &["data row 51", "looks like rows", "write the table as Parquet"]);
    let table = read(of(&|row| row % 20 == 5)).unwrap();
    assert_eq!((table.rows.len(), table.possible), (200, 1));
    assert_eq!(quoted(table.cell(5, 2)), note);
}

#[test]
fn batches_of_long_cells_have_fewer_rows() {
    let rows: String = (0..50).map(|row| format!("{row},{}\n", "x".repeat(1_000))).collect();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("t.csv"), format!("id,note\n{rows}")).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let location = Location::parse(&folder.path().display().to_string()).unwrap();
    let dataset = runtime.block_on(Dataset::open(&location, CsvFormat::default())).unwrap();
    let sizes = |names: &[&str]| {
        let (store, meta) = (Arc::clone(&dataset.store), dataset.objects[0].meta.clone());
        let format = (Format::Csv, CsvFormat::default());
        let reader = CsvReader::open(store, meta, format, "t.csv", runtime.handle().clone()).unwrap();
        let mut reader = reader.with_batch_bytes(10_000);
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let batches = std::iter::from_fn(|| reader.next_batch(&names, 30).unwrap());
        batches.map(|batch| (batch.first_row, columns::ColumnSource::rows(&batch.columns))).collect::<Vec<_>>()
    };
    assert_eq!(sizes(&["id", "note"]), [(0, 10), (10, 10), (20, 10), (30, 10), (40, 10)]);
    assert_eq!(sizes(&["id"]), [(0, 30), (30, 20)]);
}

#[test]
fn text_behind_a_closing_quote_is_refused_only_in_a_record_over_several_lines() {
    let table = read("id,c\n1,\"abc\"def\n2,\"a\" \"b\"\n3,5\" x 6\"\n").unwrap();
    assert_eq!([table.cell(0, 1), table.cell(1, 1), table.cell(2, 1)], ["abcdef", "a \"b\"", "5\" x 6\""]);
    refused("id,c\n1,a\n2,\"abc\ndef\"ghi\n3,b\n", &["data row 2", "text stands at byte 20", "the quote at byte 11"]);
    refused("id,c\n1,\"a\n2,\"b\",x\n", &["data row 1", "text stands at byte 13"]);
    refused("id,c\n1,\"say\nthis: \\\"hi\\\"\"\n2,b\n", &["a quote inside a cell is written \"\", not \\\""]);
    // Blanks are no text.
    assert_eq!(read("id,c,x\n1,\"a\nb\" ,5\n2,b,\"a\nb\" \n").unwrap().cell(1, 2), "a\nb ");
}

/// Tables whose cells over several lines are text; each as `(columns before, text, columns behind)`.
const TEXTS: [&str; 22] = [
    "12 Main St\nSpringfield",
    "12 Main St, Apt 4\nSpringfield, IL",
    "12 Main St,\nApt 4,\nSpringfield",
    "Flat 3, 5 High St\nLondon, N1 7GU\nUnited Kingdom",
    "{\n  \"a\": 1,\n  \"b\": [1, 2, 3]\n}",
    "[\n  1,\n  2\n]",
    "First paragraph, with a comma.\n\nSecond paragraph, with two, of them.",
    "Dear all,\nthanks, and see you, soon.\n\nBest,\nJo",
    "- one\n- two\n- three\n- four\n- five",
    "1. first, as said\n2. second, as said\n3. third, as said\n4. fourth, as said",
    "She said \"no, never\"\nand left, at 5, for good.",
    "line\r\nbreaks, of\r\nWindows",
    "old\rMac, line\rbreaks",
    "\nbegins and ends with one\n",
    "\n",
    "\n\n\n",
    "a,\nb,\nc,\n",
    "x\ty\n1\t2\n3\t4",
    "def f(a, b):\n    return a, b\n",
    "SELECT a, b\nFROM t\nWHERE a > 1, b < 2",
    "größe, é\nünï, 日本語",
    "Ingredients\n2 eggs, beaten\n1 cup flour, sifted\n1 tsp salt, fine\nmilk, warm",
];

/// Quotes a cell as writers do.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

#[test]
fn cells_over_several_lines_that_are_text_are_read_as_they_are() {
    let mut seen = 0;
    for text in TEXTS {
        for (before, behind) in [(1, 0), (1, 1), (1, 2), (2, 1), (3, 3), (1, 8), (4, 0)] {
            // With numbers around it, some of them before the table's first such cell or none.
            for first in [0, 1, 40] {
                let width = before + 1 + behind;
                let names: Vec<String> = (0..width).map(|column| format!("c{column}")).collect();
                let mut content = names.join(",") + "\n";
                for row in 0..60 {
                    let is_text = row >= first && (row - first) % 10 == 0;
                    let cells = (0..width).map(|column| match (column, is_text) {
                        (0, _) => format!("{}", 1_000 + row),
                        (column, true) if column == before => quoted(text),
                        (column, _) if column == before => "none".to_owned(),
                        (column, _) if column % 2 == 0 => format!("{}.25", row * column),
                        _ => "word".to_owned(),
                    });
                    content += &(cells.collect::<Vec<_>>().join(",") + "\n");
                }
                let table =
                    read(&content).unwrap_or_else(|error| panic!("{text:?} in column {before} of {width}: {error}"));
                assert_eq!((table.rows.len(), table.malformed.len()), (60, 0));
                assert_eq!(table.cell(first, before), text);
                assert_eq!(table.cell(first, 0), format!("{}", 1_000 + first));
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 462);
}

#[test]
fn lines_that_fit_by_chance_are_accepted() {
    // The whole table is text: nothing tells.
    let text = "name,address,note\nBo,none,-\nJo,\"12 Main St, Apt 4\nSpringfield, IL\",new\nAl,none,old\n";
    assert_eq!(read(text).unwrap().cell(1, 1), "12 Main St, Apt 4\nSpringfield, IL");
    // A place's coordinates among whole numbers.
    let text = format!("id,at,n\n1,none,3\n2,\"52.5,13\n48.1,11\",4\n{}", "3,none,5\n".repeat(30));
    assert_eq!(read(text).unwrap().cell(1, 1), "52.5,13\n48.1,11");
    // A column of such cells alone.
    let rows: String = (0..50).map(|row| format!("{row},\"a, {row}\nb, {row}\",{row}\n")).collect();
    assert_eq!(read(format!("id,text,n\n{rows}")).unwrap().rows.len(), 50);
    // A table of one column.
    assert_eq!(read("text\n\"a\nb\nc\nd\ne\"\n\"x\"\n").unwrap().cell(0, 0), "a\nb\nc\nd\ne");
    // Headers over several lines.
    assert_eq!(read("id,\"Name\n(last, first)\",\"Size, in\ncm\"\n1,a,2\n").unwrap().names[1], "Name\n(last, first)");
}

#[test]
fn rows_of_another_width_are_malformed_and_say_so() {
    let read = read("a,b,c\n1,2\n1,2,3,4\n1,2,3\n\"1\n2\",3\n").unwrap();
    let said = |fields: usize| {
        format!(
            "has {fields} fields where the header has 3: leave out or add fields, or quote cells that hold the delimiter"
        )
    };
    assert_eq!((read.rows.len(), read.cell(2, 2)), (4, "3"));
    assert_eq!((read.problems, read.malformed), (vec![(1, said(2)), (4, said(2))], vec![0, 1, 3]));
}

#[test]
fn bytes_that_are_no_utf_8_are_named_with_their_column() {
    let table = read(b"id,name\n1,caf\xe9\n2,tea\n3,b\n4,5 \x80\n").unwrap();
    assert_eq!((table.malformed, &table.rows[1][1]), (vec![0, 3], &Some("tea".to_owned())));
    let [(1, latin), (4, windows)] = &table.problems[..] else { panic!("{:?}", table.problems) };
    assert!(latin.starts_with("is not UTF-8 text in column \"name\" (byte 0xE9, probably Latin-1"), "{latin}");
    assert!(windows.contains("byte 0x80, probably Windows-1252"), "{windows}");
    refused(b"id,caf\xe9\n1,2\n", &["header is not UTF-8", "column 2", "0xE9"]);
}

#[test]
fn line_ends_marks_blank_lines_and_zero_bytes() {
    let expected = read("id,x\n1,a\n2,b\n").unwrap();
    for text in [
        "id,x\r\n1,a\r\n2,b\r\n",
        "id,x\r1,a\r2,b\r",
        "id,x\r1,a\n2,b",
        "\n\nid,x\n\n1,a\n\r\n\r2,b\n\n\n",
        "\u{feff}id,x\n1,a\n2,b\n",
        "\u{feff}\"id\",x\n1,a\n2,\"b\"",
        "\u{feff}\u{feff}id,x\r\n\"1\",a\r\n2,b",
        "\"\u{feff}id\",x\n1,a\n2,b\n",
    ] {
        assert_eq!(read(text).unwrap(), expected, "{text:?}");
    }
    let table = read("id,x\n1,a\0b\n\0,\n").unwrap();
    assert_eq!((table.cell(0, 1), table.cell(1, 0)), ("a\0b", "\0"));
    assert_eq!(read("id,x\n").unwrap().rows.len(), 0);
    for text in ["\n", "\r\n\r\n", "\u{feff}\n"] {
        refused(text, &["has no header row"]);
    }
}

#[test]
fn compressed_text_is_read_whole_or_named() {
    let packed = |text: &str| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let read = |content: &[u8]| read_file("t.csv.gz", content, CsvFormat::default());
    let error = |content: &[u8]| read(content).unwrap_err().to_string();
    let rows: String = (0..100_000).map(|row| format!("{row},{}\n", row * 7919 % 1_000)).collect();
    let (first, second) = (packed("id,x\n1,2\n"), packed(&rows));
    assert_eq!(read(&[&first[..], &second].concat()).unwrap().rows.len(), 100_001);
    assert_eq!(read(&[&first[..], &second, &[0; 512]].concat()).unwrap().rows.len(), 100_001);
    for cut in [first.len() + 3, first.len() + second.len() / 2, first.len() + second.len() - 1] {
        let said = error(&[&first[..], &second].concat()[..cut]);
        assert!(said.contains("its gzip data is cut off"), "{cut}: {said}");
    }
    let said = error(&[&first[..], b"3,4\n"].concat());
    assert!(said.contains("something that is not gzip stands behind"), "{said}");
    let said = error(&packed("id,x\n1,2\n3,\"4\n5,6\n"));
    assert!(said.contains("data row 2") && said.contains("byte 11 of the unpacked text is never closed"), "{said}");
    assert!(error(b"id,x\n1,2\n").contains("is not gzip-compressed: name it .csv"));
    assert!(error(b"\x28\xb5\x2f\xfd\0\0").contains("is not gzip-compressed but is compressed with zstd"));
    assert!(error(&packed("{\"a\": 1}")).contains("is JSON inside of its gzip data, not CSV"));
    assert!(error(&packed("")).contains("is empty, and there is no other data"));
}

#[test]
fn a_record_without_an_end_does_not_fill_the_memory() {
    let rows = "1,2,3\n".repeat(12 << 20);
    refused(format!("a,b,c\n1,2,\"{rows}"), &["data row 1", "byte 10 is not closed within 64 MiB"]);
    refused("x".repeat(65 << 20), &["the header is longer than 8 MiB"]);
    let long = "y".repeat(9 << 20);
    assert_eq!(read(format!("a,b\n1,\"{long}\n{long}\"\n2,{long}\n")).unwrap().cell(1, 1).len(), long.len());
}

#[test]
fn other_delimiters_are_as_good_as_commas() {
    for delimiter in [b';', b'\t', b'|', b' ', b'\x01', b'^', b'-'] {
        let sign = char::from(delimiter);
        let content = "id,x,\"a,\"\"b\"\n1,\"p,q\nr\",3\n2,\"\",4\n5,\"c\",6".replace(',', &sign.to_string());
        let csv = CsvFormat { delimiter, ..CsvFormat::default() };
        let table = read_file("t.csv", content.as_bytes(), csv).unwrap();
        assert_eq!(table.names, ["id", "x", &format!("a{sign}\"b")]);
        assert_eq!((table.cell(0, 1), table.cell(1, 2), table.cell(2, 1)), (&*format!("p{sign}q\nr"), "4", "c"));
        assert_eq!((table.rows.len(), table.malformed.len()), (3, 0));
    }
}

/// The records of a text, read from a source that gives out `step` bytes at a time.
fn records_of(text: &[u8], delimiter: u8, step: usize) -> Result<Vec<Vec<Vec<u8>>>, u64> {
    struct Steps(Cursor<Vec<u8>>, usize);
    impl Read for Steps {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let count = buffer.len().min(self.1);
            self.0.read(&mut buffer[..count])
        }
    }
    let mut records = Records::new(Box::new(Steps(Cursor::new(text.to_vec()), step)), delimiter, "t.csv");
    records.head().unwrap();
    let mut all = Vec::new();
    loop {
        match records.advance() {
            Ok(true) => all.push(records.record().cells().map(<[u8]>::to_vec).collect()),
            Ok(false) => return Ok(all),
            Err(Fault::Unclosed(quote)) => return Err(quote.byte),
            Err(other) => panic!("{other:?}"),
        }
    }
}

/// The records as the `csv` crate cuts them.
fn records_of_crate(text: &[u8], delimiter: u8) -> Vec<Vec<Vec<u8>>> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let builder = csv::ReaderBuilder::new().has_headers(false).flexible(true).delimiter(delimiter).from_reader(text);
    let cells = |record: csv::Result<csv::ByteRecord>| record.unwrap().iter().map(<[u8]>::to_vec).collect();
    builder.into_byte_records().map(cells).collect()
}

fn signs() -> impl Strategy<Value = Vec<u8>> {
    let signs: Vec<&'static [u8]> = vec![
        b"\"",
        b"\"",
        b"\"\"",
        b",",
        b",",
        b"\n",
        b"\r\n",
        b"\r",
        b"a",
        b" ",
        b";",
        "é".as_bytes(),
        b"\0",
        b"\xff",
        b"12.5",
    ];
    let sign = prop::sample::select(signs);
    prop::collection::vec(sign, 0..60).prop_map(|signs| signs.concat())
}

/// A cell with all that makes CSV hard.
fn cell() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-z]{1,6}".prop_map(String::from),
        2 => "-?[0-9]{1,5}(\\.[0-9]{1,3})?".prop_map(String::from),
        1 => Just(",".to_owned()), 1 => Just("\"".to_owned()), 1 => Just("\n".to_owned()), 1 => Just("\r\n".to_owned()),
        1 => Just("\r".to_owned()), 1 => Just(" ".to_owned()), 1 => Just("é日\u{1f600}".to_owned()), 1 => Just(";".to_owned()),
    ];
    prop::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Records and cells are those of the `csv` crate, however the text arrives; but where a quote stays open.
    #[test]
    fn records_are_cut_as_the_csv_crate_cuts_them(text in signs(), is_semicolon: bool) {
        let delimiter = if is_semicolon { b';' } else { b',' };
        let expected = records_of_crate(&text, delimiter);
        let whole = records_of(&text, delimiter, usize::MAX);
        prop_assert_eq!(&whole, &records_of(&text, delimiter, 1));
        match whole {
            Ok(records) => prop_assert_eq!(records, expected),
            Err(byte) => {
                prop_assert_eq!(text[byte as usize], b'"');
                // One quote more at the end closes it, and then nothing is behind it.
                let closed = [&text[..], b"\""].concat();
                let records = records_of(&closed, delimiter, usize::MAX);
                prop_assert!(records.is_ok() || text.ends_with(b"\""), "{:?}", records);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// What a writer writes, in any style of quoting, is read back cell by cell: its first column are numbers, and text
    /// never has the shape of rows where it does not hold as many commas in all its lines.
    #[test]
    fn tables_are_read_back_cell_by_cell(
        rows in prop::collection::vec(prop::collection::vec(cell(), 3), 1..30), style in 0..4_usize, is_crlf: bool,
    ) {
        let quoting = [csv::QuoteStyle::Necessary, csv::QuoteStyle::Always, csv::QuoteStyle::NonNumeric, csv::QuoteStyle::Necessary];
        let terminator = if is_crlf { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') };
        let delimiter = if style == 3 { b';' } else { b',' };
        let mut writer = csv::WriterBuilder::new();
        writer.quote_style(quoting[style]).terminator(terminator).delimiter(delimiter);
        let mut writer = writer.from_writer(Vec::new());
        writer.write_record(["id", "a", "b", "c"]).unwrap();
        // Rows of one line show that the first column are numbers.
        let plain: Vec<Vec<String>> = (0..20).map(|_| vec!["w".to_owned(); 3]).collect();
        let all: Vec<&Vec<String>> = plain.iter().chain(&rows).collect();
        for (number, cells) in all.iter().enumerate() {
            writer.write_record(std::iter::once(&number.to_string()).chain(cells.iter())).unwrap();
        }
        let text = writer.into_inner().unwrap();
        let csv = CsvFormat { delimiter, ..CsvFormat::default() };
        let table = match read_file("t.csv", &text, csv) {
            Ok(table) => table,
            // Text that has the shape of rows by chance, numbers in the place of numbers included.
            Err(error) => {
                prop_assert!(error.to_string().contains("looks like rows"), "{}", error);
                return Ok(());
            }
        };
        prop_assert_eq!((table.rows.len(), table.malformed.len()), (all.len(), 0));
        for (row, cells) in all.iter().enumerate() {
            let expected = |cell: &String| Some(cell.clone()).filter(|cell| !cell.is_empty());
            let expected: Vec<_> = std::iter::once(Some(row.to_string())).chain(cells.iter().map(expected)).collect();
            prop_assert_eq!(&table.rows[row], &expected);
        }
    }
}

/// Of a table with rows of one line, one quote put in or taken out anywhere never takes a row away: there is an error, or
/// there are as many rows as before, of which at most the touched one reads otherwise.
#[test]
fn one_quote_more_or_less_never_takes_a_row_away() {
    let original = {
        let mut text = "id,c,x,note\n".to_owned();
        for row in 0..60 {
            let note = ["plain", "\"with, comma\"", "\"say \"\"hi\"\"\"", ""][row % 4];
            text += &format!("{row},{},{}.5,{note}\n", ["red", "\"dark blue\""][row % 2], row % 7);
        }
        text
    };
    let whole = read(&original).unwrap();
    assert_eq!((whole.rows.len(), whole.malformed.len()), (60, 0));
    let (mut errors, mut read_on) = (0, 0);
    for at in 0..=original.len() {
        let mut changes = vec![format!("{}\"{}", &original[..at], &original[at..])];
        if original[at..].starts_with('"') {
            changes.push(format!("{}{}", &original[..at], &original[at + 1..]));
        }
        for changed in changes {
            match read(&changed) {
                Err(error) => {
                    assert_eq!(error.exit_code(), 4, "{error}");
                    errors += 1;
                }
                Ok(table) if table.names != whole.names => read_on += 1,
                Ok(table) => {
                    assert_eq!(table.rows.len(), 60, "a quote at {at}");
                    let differing = table.rows.iter().zip(&whole.rows).filter(|(one, other)| one != other).count();
                    assert!(differing <= 1, "a quote at {at}: {differing} rows differ");
                    read_on += 1;
                }
            }
        }
    }
    assert!(errors > 100 && read_on > 100, "{errors} errors, {read_on} read");
}

/// Two quotes put in anywhere may join rows only to a cell over their lines, which is refused or, where nothing tells rows
/// from text, named in a warning.
#[test]
fn two_quotes_more_never_take_rows_away_silently() {
    let numbers = table(40, &[]);
    let words = |row: usize| ["oak", "elm tree", "ash", "", "yew"][row % 5];
    let all_text: String = (0..40).map(|row| format!("k{row},{},{}\n", words(row), words(row / 5))).collect();
    let sparse: String = (0..40).map(|row| format!("k{row},,{}\n", if row % 3 == 0 { "7.5" } else { "" })).collect();
    let notes = ["plain", "\"a, b\"", "\"a\nb, c\"", "\"say \"\"hi\"\"\nand 5, 6\"", "\"\""];
    let with_notes: String = (0..40).map(|row| format!("{row},{},{},{row}.5\n", words(row), notes[row % 5])).collect();
    let with_notes = format!("k,a,note,x\n{with_notes}");
    for original in [numbers, format!("k,a,b\n{all_text}"), format!("k,a,b\n{sparse}"), with_notes] {
        let whole = read(&original).unwrap();
        let mut random = Random::new(5);
        let (mut errors, mut read_on) = (0, 0);
        for _ in 0..1_000 {
            let mut places =
                [random.below(original.len() as u64) as usize, random.below(original.len() as u64) as usize];
            places.sort_unstable();
            let changed = [&original[..places[0]], &original[places[0]..places[1]], &original[places[1]..]].join("\"");
            match read(&changed) {
                Err(_) => errors += 1,
                Ok(table) => {
                    let is_told = table.possible > 0 || table.names != whole.names;
                    let is_told = is_told || table.rows.len() > 40 && !table.malformed.is_empty();
                    assert!(table.rows.len() == 40 || is_told, "quotes at {places:?}: {} {changed}", table.rows.len());
                    read_on += 1;
                }
            }
        }
        assert!(errors > 100 && read_on > 200, "{errors} errors, {read_on} read");
    }
}
