//! Where data lies and where results go: slips in settings, markers of folders, tables whose log decides which files count.

use testkit::program::Invocation;
use testkit::tables::{csv, customers, parquet_bytes, without};

use super::places::Place;
use super::{ROWS, Workshop, programs};

/// Settings that look like a location and are none, and what their messages say to write.
const SLIPS: [(&str, &str); 7] = [
    ("s3:/models/x", "write s3://models/x"),
    ("'s3://models'", "write s3://models"),
    ("s3a://models/x", "write s3://models/x"),
    ("gs://models/x", "gs:// is not supported"),
    ("https://models.s3.amazonaws.com/x", "write s3://models/x"),
    ("file:x", "file:///data/input"),
    ("unheard://x", "unheard:// is not supported"),
];

#[test]
fn a_slip_in_a_location_is_refused_wherever_it_stands() {
    let workshop = Workshop::with_data();
    let spec = ("--features", "FEATURES");
    for (slip, write) in SLIPS {
        for flag in ["--train-data", "--test-data", "--models", spec.0] {
            workshop.train().args([flag, slip]).run().failed(2, &[flag, slip, write]);
        }
        workshop.train().env(spec.1, slip).run().failed(2, &[spec.0, slip, write]);
        for flag in ["--input", "--output", "--models"] {
            workshop.predict().args([flag, slip]).run().failed(2, &[flag, slip, write]);
        }
        workshop.predict().arg("prepare").args(["--output", slip]).run().failed(2, &["--output", slip, write]);
        let call = || programs().train().folder(workshop.folder.path()).args(["models", "list"]);
        call().args(["--models", slip]).run().failed(2, &["--models", slip, write]);
        call().env("MODELS", slip).run().failed(2, &["--models", slip, write]);
    }
    assert_eq!(workshop.files("."), ["customers/part.parquet", "train/part.parquet"], "nothing was written");
}

#[test]
fn blanks_around_values_are_cut_off() {
    let workshop = Workshop::with_data();
    let call =
        programs().train().folder(workshop.folder.path()).env("TRAIN_DATA", " train\n").env("MODELS", "\tmodels ");
    let call = call.env("MODEL_VERSION", " v1").env("ROUNDS", " 30 ").env("TEST_DATA", "  ").env("STRICT", " ");
    let call = call.args(["--id", " customer_id", "--target=score ", "--threads", "1 ", "--run-id", " r1 "]);
    let result = call.run().succeeded();
    assert_eq!((&result["run_id"], &result["rounds"]), (&"r1".into(), &30.into()));
    let call = workshop.predict_on(" customers ").args(["--output", "my output ", "--columns", "plan, visits"]);
    call.args(["--run-id", "p1", "--duplicates", " allow"]).run().succeeded();
    assert!(workshop.files("my output").contains(&"predictions/run_id=p1/part-00000.parquet".to_owned()));
    let call = workshop.train().env("ROUNDS", " many ");
    call.run().failed(2, &["--rounds", "'many'"]);
}

#[test]
fn output_is_not_written_among_what_is_read() {
    let workshop = Workshop::with_model();
    workshop.write("customers/more/part.parquet", parquet_bytes(&without(&customers(9, 1, 8), "score")));
    std::os::unix::fs::symlink(workshop.path("customers"), workshop.path("link")).unwrap();
    let before = workshop.files(".");
    for output in ["customers", "customers/out", "./customers/more/../out", "link/out", "."] {
        let input = if output == "." { "." } else { "customers" };
        let said = ["--output (OUTPUT)", "--input (INPUT_DATA)", "would be read as data"];
        workshop.predict_on(input).args(["--output", output]).run().failed(2, &said);
        workshop.predict_on(input).arg("prepare").args(["--output", output]).run().failed(2, &said);
    }
    workshop.predict_on("output/predictions").run().failed(2, &["--input (INPUT_DATA)", "where this run writes"]);
    for (data, models) in [("train", "train/models"), ("train", "train"), ("models/engagement", "models")] {
        let said = ["--models (MODELS)", "--train-data (TRAIN_DATA)", "would be read as data"];
        workshop.train_on(data).args(["--models", models]).run().failed(2, &said);
    }
    let call = workshop.train().args(["--test-data", "customers", "--models", "customers/more"]);
    call.run().failed(2, &["--models (MODELS)", "--test-data (TEST_DATA)"]);
    assert_eq!(workshop.files("."), before, "nothing was written");
    // What is hidden is not read, and one file holds nothing else.
    for output in ["customers/_out", "customers/.out/deep", "customers-out"] {
        let result = workshop.predict().args(["--output", output]).run().succeeded();
        assert_eq!(result["rows_predicted"], 409, "{output}");
    }
    let file = workshop.predict_on("customers/part.parquet").args(["--output", "customers/out"]);
    assert_eq!(file.run().succeeded()["rows_predicted"], 400);
}

#[test]
fn a_bucket_is_compared_by_its_segments() {
    let place = Place::bucket("overlap");
    place.write("train/part.parquet", parquet_bytes(&customers(ROWS, 1, 7)));
    place.write("customers/part.parquet", parquet_bytes(&without(&customers(400, 100_000, 8), "score")));
    place.train().args(["--models", &place.location("train/models")]).run().failed(2, &["s3://overlap/train/models"]);
    place.train().run().succeeded();
    let output = |name: &str| place.predict().args(["--output", &place.location(name)]).run();
    for name in ["customers", "customers/", "customers/out"] {
        output(name).failed(2, &["s3://overlap/customers", "--output (OUTPUT)"]);
    }
    for name in ["customers-out", "customers/_out"] {
        assert_eq!(output(name).succeeded()["rows_predicted"], 400, "{name}");
    }
}

/// Both programs refuse `data` as a table of that format.
#[track_caller]
fn refused(train: Invocation, predict: Invocation, said: &[&str]) {
    for call in [train, predict] {
        call.run().failed(4, &[said, &["export a snapshot"]].concat());
    }
}

#[test]
fn tables_whose_log_decides_are_refused() {
    let workshop = Workshop::with_model();
    let part = csv(&customers(50, 1, 7));
    for (table, log, format) in [
        ("delta", "_delta_log/00000000000000000000.json", "a Delta table"),
        ("hudi", ".hoodie/hoodie.properties", "a Hudi table"),
        ("iceberg", "metadata/00000-7d2a.metadata.json", "an Iceberg table"),
    ] {
        workshop.write(&format!("lake/{table}/data/region=n/part.csv"), &part);
        workshop.write(&format!("lake/{table}/{log}"), "{}");
        for data in ["", "/data", "/data/region=n"] {
            let data = format!("lake/{table}{data}");
            let said = [format, &format!("lake/{table}")];
            refused(workshop.train_on(&data), workshop.predict_on(&data), &said);
        }
        let said = ["/lake", format];
        refused(workshop.train_on("lake"), workshop.predict_on("lake"), &said);
        std::fs::remove_dir_all(workshop.path(&format!("lake/{table}"))).unwrap();
    }
    // A folder that only has such a name.
    workshop.write("sound/metadata/part.csv", &part);
    workshop.write("sound/data/part.csv", csv(&customers(50, 51, 7)));
    assert_eq!(workshop.predict_on("sound").run().succeeded()["rows_predicted"], 100);
    assert_eq!(workshop.predict_on("sound/data").run().succeeded()["rows_predicted"], 50);
}

#[test]
fn tables_whose_log_decides_are_refused_on_s3() {
    let place = Place::bucket("lake");
    let part = csv(&customers(50, 1, 7)).into_bytes();
    place.write("customers/data/region=n/part.csv", part.clone());
    place.write("train/y=1/part.csv", part);
    place.write("customers/.hoodie/hoodie.properties", b"x".to_vec());
    place.write("train/_delta_log/00000000000000000000.json", b"{}".to_vec());
    place.train().run().failed(4, &["s3://lake/train is a Delta table", "export a snapshot"]);
    let inside = |name: &str| place.train().args(["--train-data", &place.location(name)]).run();
    inside("train/y=1").failed(4, &["s3://lake/train/y=1", "s3://lake/train is a Delta table"]);
    inside("customers").failed(4, &["s3://lake/customers is a Hudi table"]);
    inside("customers/data").failed(4, &["s3://lake/customers is a Hudi table"]);
    inside("customers/data/region=n").failed(4, &["s3://lake/customers is a Hudi table"]);
}

#[test]
fn markers_of_folders_and_empty_files_are_no_data() {
    let workshop = Workshop::with_model();
    let customers = without(&customers(50, 1, 7), "score");
    workshop.write("lake/part.csv", csv(&customers));
    workshop.write("lake/y=1_$folder$", "");
    workshop.write("lake/empty.csv", "");
    let ended = workshop.predict_on("lake").run();
    assert_eq!(ended.succeeded()["rows_predicted"], 50);
    assert!(ended.stderr.contains("empty.csv is empty (0 bytes)"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("$folder$"), "{}", ended.stderr);
    workshop.write("nothing/a_$folder$", "");
    workshop.predict_on("nothing").run().failed(4, &["/nothing holds no data"]);
    workshop.write("nothing/e.csv", "");
    workshop.predict_on("nothing").run().failed(4, &["e.csv is empty (0 bytes)"]);
    workshop.write("hidden/_y=1/part.csv", csv(&customers));
    workshop.write("hidden/part.csv", csv(&customers));
    let ended = workshop.predict_on("hidden").run();
    assert_eq!(ended.succeeded()["rows_predicted"], 50);
    assert!(ended.stderr.contains("\\\"_y=1\\\" is not read"), "{}", ended.stderr);
}

#[test]
fn names_of_the_outputs_columns_are_taken() {
    let workshop = Workshop::with_model();
    for name in ["run_id", "prediction", "prediction_low", "model_version", "reason_1", "reason_12_contribution"] {
        let quoted = format!("\"{name}\"");
        let said = |setting| [quoted.as_str(), "predictions have a column of that name", setting];
        workshop.train_on("nowhere").args(["--id", name]).run().failed(2, &said("--id (ID_COLUMN)"));
        workshop.write("features.toml", format!("id = \"{name}\"\n"));
        let call = workshop.train_on("nowhere").env("ID_COLUMN", "").args(["--features", "features.toml"]);
        call.run().failed(2, &said("feature spec"));
        let call = workshop.predict_on("nowhere").args(["--columns", &format!("plan,{name}")]);
        call.run().failed(2, &said("--columns (COLUMNS)"));
        let call = workshop.predict_on("nowhere").arg("prepare").args(["--columns", name]);
        call.run().failed(2, &said("--columns (COLUMNS)"));
    }
    assert!(workshop.files("output").is_empty());
    workshop.predict_on("nowhere").args(["--columns", "plan,plan"]).run().failed(2, &["names \"plan\" twice"]);
    workshop.predict_on("nowhere").args(["--columns", "customer_id"]).run().failed(2, &["two columns \"customer_id\""]);
}

#[test]
fn what_is_no_file_among_data_is_named() {
    let workshop = Workshop::with_model();
    for name in ["b.parquet", "_hidden.parquet"] {
        std::os::unix::fs::symlink("/nowhere/x.parquet", workshop.path("customers").join(name)).unwrap();
    }
    let ended = workshop.predict().run();
    assert_eq!(ended.succeeded()["rows_predicted"], 400);
    assert!(ended.stderr.contains("customers/b.parquet is a link to nothing and is left out"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("_hidden"), "{}", ended.stderr);
}
