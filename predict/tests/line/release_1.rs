//! Models of format version 1 still load and score to the same bits. `predict/tests/fixtures/format_version_1/make.py` made
//! the fixture with the last program that wrote that version.

use std::fs;

use super::{Workshop, copy_folder, repository};

#[test]
fn models_of_format_version_1_score_to_the_same_bytes() {
    let fixture = repository().join("predict/tests/fixtures/format_version_1");
    for format in ["parquet", "csv"] {
        let workshop = Workshop::new();
        copy_folder(&fixture.join("models"), &workshop.path("models"));
        copy_folder(&fixture.join(format), &workshop.path("customers"));
        let call = workshop.predict().args(["--model-name", format, "--format", "csv", "--run-id", "r1"]);
        let ended = call.run();
        assert_eq!(ended.succeeded()["rows_predicted"], 400);
        let predicted = fs::read(workshop.path("output/predictions/run_id=r1/part-00000.csv")).unwrap();
        let expected = fs::read(fixture.join(format!("predicted-{format}-{format}.csv"))).unwrap();
        assert!(predicted == expected, "{format}: other predictions than those of the release");
    }
}

/// What reads otherwise than in that release is said.
#[test]
fn csv_for_a_model_of_format_version_1_is_told_how_markers_read_now() {
    let fixture = repository().join("predict/tests/fixtures/format_version_1");
    let workshop = Workshop::new();
    copy_folder(&fixture.join("models"), &workshop.path("models"));
    let table = fs::read_to_string(fixture.join("csv/table.csv")).unwrap();
    let (header, rows) = table.split_once('\n').unwrap();
    let row = rows.lines().next().unwrap();
    let (id, rest) = row.split_once(',').unwrap();
    let (_, rest) = rest.split_once(',').unwrap();
    workshop.write("customers/a.csv", format!("{header}\n{id},NA,{rest}\n"));
    let ended = workshop.predict().args(["--model-name", "csv"]).run();
    assert_eq!(ended.succeeded()["rows_predicted"], 1, "its release rejected such a row");
    assert!(ended.stderr.contains("format version 1"), "{}", ended.stderr);
}
