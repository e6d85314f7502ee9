//! CSV that is damaged, misquoted or something else: a row is never swallowed, and what a file is instead is said.

use std::fs;
use std::io::Write;

use serde_json::json;
use testkit::tables::{csv, customers, without};

use super::{ROWS, Workshop, text};
use testkit::tables::read_parquet;

/// The customers to score as CSV, with `rows` of them replaced.
fn scoring(replaced: &[(usize, &str)]) -> String {
    let mut lines: Vec<String> =
        csv(&without(&customers(400, 100_000, 8), "score")).lines().map(str::to_owned).collect();
    for (row, line) in replaced {
        (*line).clone_into(&mut lines[row + 1]);
    }
    lines.join("\n") + "\n"
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(content).unwrap();
    packed.finish().unwrap()
}

/// `predict` on a folder with one object ends with exit 4, says `parts`, and publishes nothing.
#[track_caller]
fn predict_refuses(workshop: &Workshop, name: &str, content: impl AsRef<[u8]>, parts: &[&str]) {
    workshop.write(&format!("csv/{name}"), content);
    let all = [&[name], parts].concat();
    workshop.predict_on("csv").args(["--max-reject-fraction", "1"]).run().failed(4, &all);
    workshop.assert_no_predictions();
    fs::remove_dir_all(workshop.path("csv")).unwrap();
}

#[track_caller]
fn train_refuses(name: &str, content: impl AsRef<[u8]>, parts: &[&str]) {
    let workshop = Workshop::new();
    workshop.write(&format!("train/{name}"), content);
    workshop.train().run().failed(4, &[&[name], parts].concat());
    workshop.assert_nothing_published();
}

#[test]
fn an_unclosed_quote_ends_both_programs_with_row_and_byte() {
    let workshop = Workshop::with_model();
    let content = scoring(&[(100, "100100,\"5 inch,7,basic,true,2014-05-06")]);
    let byte = content.find('"').unwrap();
    let said =
        format!("data row 101: the cell in column \"spend\" that opens with the quote at byte {byte} is never closed");
    predict_refuses(&workshop, "part.csv", &content, &[&said]);
    let unpacked = format!("byte {byte} of the unpacked text is never closed");
    predict_refuses(&workshop, "part.csv.gz", gzip(content.as_bytes()), &["data row 101", &unpacked]);
    predict_refuses(&workshop, "part.csv", format!("\"{content}"), &["the header", "byte 0"]);
    let training = csv(&customers(200, 1, 7)).replacen("\n100,", "\n\"100,", 1);
    train_refuses("part.csv", &training, &["data row 100", "column \"customer_id\"", "is never closed"]);
    workshop.write("csv/part.csv", &content);
    workshop.predict_on("csv").arg("prepare").run().failed(4, &["data row 101"]);
}

#[test]
fn rows_in_the_cell_of_another_row_end_both_programs() {
    let workshop = Workshop::with_model();
    for last in [101, 102, 300] {
        let ends = format!("100{last},50.5,7,6 inch\",true,2014-05-06");
        let content = scoring(&[(100, "100100,50.5,7,\"5 inch,true,2014-05-06"), (last, &ends)]);
        let lines = format!("column \"plan\" that opens with the quote at byte {}", content.find('"').unwrap());
        predict_refuses(&workshop, "part.csv", &content, &["data row 101", &lines, "holds what looks like rows"]);
    }
    // What closes the quote opens another cell: the quoting itself is wrong.
    let content =
        scoring(&[(100, "100100,50.5,7,\"5 inch,true,2014-05-06"), (150, "100150,50.5,7,\"a\",true,2014-05-06")]);
    predict_refuses(&workshop, "part.csv", &content, &["data row 101", "behind the closing quote"]);
    let mut lines: Vec<String> = csv(&customers(200, 1, 7)).lines().map(str::to_owned).collect();
    lines[100] = "100,50.5,7,\"5 inch,true,2014-05-06,50".to_owned();
    lines[150] = "150,50.5,7,6 inch\",true,2014-05-06,50".to_owned();
    train_refuses("part.csv", lines.join("\n"), &["data row 100", "goes over 51 lines and holds what looks like rows"]);
}

#[test]
fn text_over_several_lines_is_read_and_carried_as_it_is() {
    let workshop = Workshop::with_model();
    let texts = [
        "12 Main St, Apt 4\nSpringfield, IL",
        "{\n  \"a\": [1, 2],\n  \"b\": null\n}",
        "first, second\r\n\r\nthird, \"fourth\", fifth",
        "1, 2\n3, 4\n5, 6\n7, 8\n9, 10",
    ];
    let mut content = "customer_id,spend,visits,note,plan,member,since\n".to_owned();
    for row in 0..60 {
        let note = format!("\"{}\"", texts[row % 4].replace('"', "\"\""));
        content += &format!("{row},50.5,7,{},basic,true,2014-05-06\n", if row % 3 == 0 { &note } else { "none" });
    }
    workshop.write("csv/part.csv", content);
    let call = workshop.predict_on("csv").args(["--run-id", "r1", "--columns", "note", "--max-reject-fraction", "0"]);
    assert_eq!(call.run().succeeded()["rows_predicted"], 60);
    let part = read_parquet(&fs::read(workshop.path("output/predictions/run_id=r1/part-00000.parquet")).unwrap());
    let notes = part.column("note").unwrap().str().unwrap().clone();
    for row in 0..60 {
        assert_eq!(notes.get(row), Some(if row % 3 == 0 { texts[row % 4] } else { "none" }));
    }
}

#[test]
fn a_cell_that_may_hold_a_row_is_named_in_a_warning() {
    let workshop = Workshop::with_model();
    let row = "\"12 Main St, Apt 4\nSpringfield, IL\",,,,,,\n";
    workshop.write("csv/part.csv", format!("note,customer_id,spend,visits,plan,member,since\n{row}"));
    let ended = workshop.predict_on("csv").args(["--max-reject-fraction", "1"]).run();
    assert_eq!(ended.succeeded()["rows_read"], 1);
    assert!(!ended.stderr.contains("may hold a row"), "of another shape: {}", ended.stderr);
    let header = "customer_id,spend,visits,since,member,plan,note,code\n";
    let rows = "a1,,,,,basic,plain,x\n".repeat(3) + "a2,,,,,basic,\"as above, y\na3,,,,,family,below\",z\n";
    workshop.write("csv/part.csv", format!("{header}{rows}"));
    let call = workshop.predict_on("csv").args(["--max-reject-fraction", "1", "--duplicates", "allow"]);
    let ended = call.run();
    assert_eq!(ended.succeeded()["rows_read"], 4);
    for said in ["data row 4", "column \\\"note\\\"", "goes over 2 lines and may hold a row, but was read as text"] {
        assert!(ended.stderr.contains(said), "{said}: {}", ended.stderr);
    }
}

#[test]
fn rows_that_cannot_be_read_say_why() {
    let workshop = Workshop::with_model();
    let content = scoring(&[(7, "100007,50.5,7"), (9, "100009")]);
    workshop.write("csv/part.csv", &content);
    let ended = workshop.predict_on("csv").args(["--max-reject-fraction", "1"]).run();
    assert_eq!(ended.succeeded()["rows_rejected"], 2);
    let said = "data row 8 has 3 fields where the header has 6";
    assert!(ended.stderr.contains(said) && !ended.stderr.contains("data row 10"), "{}", ended.stderr);
    let training = csv(&customers(50, 1, 7));
    train_refuses("part.csv", format!("{training}51,1.0,2\n"), &["data row 51 has 3 fields where the header has 7"]);
    let latin = [training.as_bytes(), b"51,1.0,2,caf\xe9,true,2014-05-06,50\n"].concat();
    train_refuses("part.csv", latin, &["data row 51 is not UTF-8 text in column \"plan\"", "0xE9", "Latin-1"]);
}

#[test]
fn compressed_data_is_read_whole_or_refused() {
    let workshop = Workshop::with_model();
    let whole = scoring(&[]);
    let (first, second) = whole.split_at(whole.len() / 2);
    let members = [gzip(first.as_bytes()), gzip(second.as_bytes())].concat();
    workshop.write("csv/part.csv.gz", [&members[..], &[0; 1_024]].concat());
    assert_eq!(workshop.predict_on("csv").run().succeeded()["rows_predicted"], 400);
    fs::remove_dir_all(workshop.path("output")).unwrap();
    fs::remove_dir_all(workshop.path("csv")).unwrap();
    let cut = &members[..members.len() - 9];
    predict_refuses(&workshop, "part.csv.gz", cut, &["its gzip data is cut off"]);
    let trailing = [&members[..], b"100400,1,2,basic,true,2014-05-06\n"].concat();
    predict_refuses(&workshop, "part.csv.gz", trailing, &["something that is not gzip stands behind its gzip data"]);
    predict_refuses(&workshop, "part.csv.gz", &whole, &["is not gzip-compressed: name it .csv"]);
    predict_refuses(&workshop, "part.csv", &members, &["is gzip-compressed, not CSV: name it .csv.gz"]);
    train_refuses("part.csv.gz", &gzip(csv(&customers(200, 1, 7)).as_bytes())[..900], &["its gzip data is cut off"]);
}

#[test]
fn known_kinds_of_file_are_named_whatever_they_are_called() {
    let workshop = Workshop::with_model();
    let xlsx = [&b"PK\x03\x04\x14\0\x06\0\x08\0\0\0!\0"[..], &[7; 12], b"\x13\0\x08\x02[Content_Types].xml"].concat();
    let parquet = testkit::tables::parquet_bytes(&customers(50, 1, 7));
    let utf_16: Vec<u8> = "customer_id,spend\n1,2\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let kinds: [(&[u8], &str); 8] = [
        (&xlsx, "a workbook (xlsx, ods)"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0\0\0", "an old Excel workbook (xls)"),
        (b"\x28\xb5\x2f\xfd\x04\0\0\0\0\0", "compressed with zstd"),
        (b"Obj\x01\x04\x14avro.codec", "Avro"),
        (b"SQLite format 3\0\x10\0\x01\x01", "an SQLite database"),
        (&utf_16, "UTF-16 text"),
        (b"[{\"customer_id\": 1}]\n", "JSON"),
        (b"<!DOCTYPE html>\n<html></html>\n", "an HTML page"),
    ];
    for (content, what) in kinds {
        for name in ["part.csv", "000000_0_unload", "part.txt"] {
            predict_refuses(&workshop, name, content, &[&format!("is {what}, not CSV: ")]);
        }
        predict_refuses(&workshop, "part.parquet", content, &[&format!("is not Parquet but is {what}: ")]);
        train_refuses("part.csv", content, &[what]);
    }
    predict_refuses(&workshop, "part.csv", &parquet, &["is Parquet, not CSV: name it .parquet"]);
    predict_refuses(&workshop, "part.parquet", scoring(&[]), &["is not Parquet but seems to be CSV: name it .csv"]);
    predict_refuses(
        &workshop,
        "part.parquet",
        &parquet[..parquet.len() / 2],
        &["not a readable Parquet file", "cut off"],
    );
}

#[test]
fn objects_that_are_no_data_are_named_and_those_of_other_endings_are_read() {
    let workshop = Workshop::with_model();
    for name in ["part.csv.metadata", "manifest", "unload.manifest", "part.csv.crc", "README.txt", "run.log"] {
        workshop.write("csv/part.csv", scoring(&[]));
        let said = format!("{name} is no data by its name: remove it");
        predict_refuses(&workshop, name, "customer_id,spend\n1,2\n", &[&said]);
    }
    for name in ["x.json", "x.jsonl", "x.ndjson"] {
        workshop.write("csv/part.csv", scoring(&[]));
        let said = "is JSON, not CSV: export it as Parquet or CSV, or remove it where it lies beside the data";
        predict_refuses(&workshop, name, "{\"customer_id\": 1}\n", &[said]);
    }
    for (number, name) in
        ["part.tsv", "part.txt", "part.dat", "part.data", "part.psv", "0000_part_00"].iter().enumerate()
    {
        workshop.write(&format!("csv{number}/{name}"), scoring(&[]));
        let result = workshop.predict_on(&format!("csv{number}")).run().succeeded();
        assert_eq!(result["rows_predicted"], 400, "{name}");
    }
}

#[test]
fn empty_objects_are_left_out_with_a_warning() {
    let workshop = Workshop::with_model();
    workshop.write("csv/a.csv", "");
    workshop.write("csv/b.csv", scoring(&[]));
    workshop.write("csv/c.csv.gz", gzip(b""));
    let call = || workshop.predict_on("csv").args(["--run-id", "r1"]);
    let ended = call().run();
    let result = ended.succeeded();
    assert_eq!((&result["rows_predicted"], &result["rows_rejected"]), (&json!(400), &json!(0)));
    for name in ["a.csv is empty (0 bytes) and is left out", "c.csv.gz is empty and is left out"] {
        assert!(ended.stderr.contains(name), "{name}: {}", ended.stderr);
    }
    let manifest = workshop.json("output/runs/r1/manifest.json");
    let keys: Vec<&str> = manifest["input"].as_array().unwrap().iter().map(|object| text(object, "key")).collect();
    assert_eq!(keys, ["b.csv", "c.csv.gz"]);
    assert_eq!(call().run().succeeded()["rows_predicted"], 400, "the same input again");
    fs::remove_dir_all(workshop.path("output")).unwrap();
    fs::remove_dir_all(workshop.path("csv")).unwrap();
    predict_refuses(&workshop, "a.csv", "", &["a.csv is empty (0 bytes), and there is no other object"]);

    let workshop = Workshop::with_data();
    workshop.write("train/empty.parquet", "");
    let call = || workshop.train().args(["--run-id", "t1"]);
    let trained = call().run();
    assert!(trained.stderr.contains("empty.parquet is empty (0 bytes) and is left out"), "{}", trained.stderr);
    let trained = trained.succeeded();
    assert_eq!(trained["rows_train"].as_u64().unwrap() + trained["rows_test"].as_u64().unwrap(), ROWS as u64);
    assert_eq!(call().run().succeeded()["r2"], trained["r2"], "the same input again");
}

#[test]
fn a_file_without_a_header_is_suspected() {
    let workshop = Workshop::new();
    let content = csv(&customers(200, 1, 7));
    let (header, rows) = content.split_once('\n').unwrap();
    workshop.write("train/part.csv", rows);
    let ended = workshop.train().run();
    let said = "of 7 column names look like values, such as";
    ended.failed(4, &["column \"customer_id\" is missing", said, "if the file has no header row"]);
    assert!(ended.stderr.contains(said) && ended.stderr.contains("if the file has no header row"), "{}", ended.stderr);
    workshop.write("train/part.csv", format!("{}\n{rows}", header.replace("visits", "0.5").replace("plan", "0.5")));
    workshop.train().run().failed(4, &["two columns are called \"0.5\"", "if the file has no header row"]);
    workshop.write("train/part.csv", &content);
    let ended = workshop.train().run();
    assert!(!ended.stderr.contains("no header row"), "{}", ended.stderr);
}

#[test]
fn another_delimiter_gives_the_same_model_and_predictions() {
    let commas = Workshop::new();
    commas.write("train/part.csv", csv(&customers(ROWS, 1, 7)));
    commas.write("csv/part.csv", scoring(&[]));
    let expected = commas.train().run().succeeded();
    let scored = commas.predict_on("csv").args(["--run-id", "r"]).run().succeeded();
    let part = |workshop: &Workshop| fs::read(workshop.path("output/predictions/run_id=r/part-00000.parquet")).unwrap();
    for (setting, sign) in [(";", ";"), ("tab", "\t"), ("\\t", "\t"), ("|", "|"), (" ", " "), ("\u{1}", "\u{1}")] {
        println!("{setting:?}");
        let workshop = Workshop::new();
        workshop.write("train/part.csv", csv(&customers(ROWS, 1, 7)).replace(',', sign));
        workshop.write("csv/part.csv", scoring(&[]).replace(',', sign));
        let trained = workshop.train().args(["--delimiter", setting]).run().succeeded();
        assert_eq!((&trained["model_sha256"], &trained["r2"]), (&expected["model_sha256"], &expected["r2"]));
        let prepared = workshop.predict_on("csv").arg("prepare").env("DELIMITER", setting).run().succeeded();
        assert_eq!(prepared["sample"]["unreadable_rows"], 0);
        let call = workshop.predict_on("csv").args(["--run-id", "r"]).env("DELIMITER", setting);
        assert_eq!(call.run().succeeded()["mean_prediction"], scored["mean_prediction"]);
        assert_eq!(part(&workshop), part(&commas));
    }
}

#[test]
fn delimiter_and_decimal_identify_a_run_where_they_are_not_the_default() {
    let workshop = Workshop::new();
    workshop.write("train/part.csv", csv(&customers(ROWS, 1, 7)));
    workshop.write("csv/part.csv", scoring(&[]));
    let train = |run: &str| workshop.train().args(["--run-id", run]);
    train("t1").run().succeeded();
    let settings = &workshop.json("models/engagement/v1/t1/metrics.json")["settings"];
    assert!(settings["seed"].is_number() && settings["delimiter"].is_null() && settings["decimal"].is_null());
    train("t1").args(["--delimiter", ",", "--decimal", "."]).run().succeeded();
    train("t1").args(["--delimiter", ";"]).run().failed(2, &["--run-id", "t1", "other settings"]);
    train("t1").env("DECIMAL", ",").run().failed(2, &["--run-id", "t1", "other settings"]);
    let predict = |run: &str| workshop.predict_on("csv").args(["--run-id", run, "--max-reject-fraction", "1"]);
    predict("p1").run().succeeded();
    assert!(workshop.json("output/runs/p1/plan.json")["settings"]["delimiter"].is_null());
    predict("p1").args(["--delimiter", "|"]).run().failed(2, &["--run-id", "p1", "other settings"]);
    predict("p2").args(["--decimal", ","]).run().succeeded();
    assert_eq!(workshop.json("output/runs/p2/plan.json")["settings"]["decimal"], ",");
    predict("p2").run().failed(2, &["--run-id", "p2", "other settings"]);
    for wrong in ["", "a", "7", "\"", ".", "\n", "  ", ";;", "é", "comma"] {
        train("t2").args(["--delimiter", wrong]).run().failed(2, &["--delimiter"]);
        predict("p3").args(["--delimiter", wrong]).run().failed(2, &["--delimiter"]);
    }
    train("t2").args(["--decimal", ";"]).run().failed(2, &["--decimal", "must be . or ,"]);
    predict("p3").args(["--decimal", "x"]).run().failed(2, &["--decimal", "must be . or ,"]);
    train("t3").env("DELIMITER", "").env("DECIMAL", "").run().succeeded();
}

#[test]
fn a_header_of_another_separator_names_the_setting() {
    let workshop = Workshop::with_model();
    for (sign, setting) in [(";", "--delimiter ';'"), ("\t", "--delimiter tab"), ("|", "--delimiter '|'")] {
        let content = scoring(&[]).replace(',', sign);
        predict_refuses(&workshop, "part.csv", &content, &["seem to be separated by", setting, "DELIMITER"]);
    }
    workshop.write("csv/part.csv", scoring(&[]));
    let call = workshop.predict_on("csv").args(["--delimiter", ";"]);
    call.run().failed(4, &["separated by ','", "not by ';'", "--delimiter ','"]);
    let excel = format!("sep=;\n{}", scoring(&[]).replace(',', ";"));
    predict_refuses(&workshop, "part.csv", excel, &["\"sep=;\"", "remove that line", "--delimiter ';'"]);
}
