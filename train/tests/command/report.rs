//! `report.html` as `train` writes it: whole, self-contained, safe with hostile names, bounded, and there for every outcome.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Output;

use clap::CommandFactory;
use serde_json::Value;

use super::{Workshop, json, succeeded};

/// Elements without an end.
const VOID: [&str; 1] = ["meta"];
/// The only address in the page: the name of a namespace, which nobody fetches.
const SVG_NAMESPACE: &str = "http://www.w3.org/2000/svg";

fn train(workshop: &Workshop, run_id: &str, data: &Path, more: &[&str]) -> Output {
    workshop.call(run_id, data).env("THREADS", "2").args(more).output().unwrap()
}

fn trained(workshop: &Workshop, run_id: &str, data: &Path, more: &[&str]) -> Run {
    succeeded(&train(workshop, run_id, data, more));
    Run::of(workshop, run_id)
}

struct Run {
    page: String,
    metrics: Value,
}

impl Run {
    fn of(workshop: &Workshop, run_id: &str) -> Self {
        let folder = workshop.run_folder(run_id);
        Self {
            page: std::fs::read_to_string(folder.join("report.html")).unwrap(),
            metrics: json(&folder.join("metrics.json")),
        }
    }

    fn assert_whole(&self) {
        assert_well_formed(&self.page);
        let without_namespace = self.page.replace(SVG_NAMESPACE, "");
        let lower = without_namespace.to_lowercase();
        // `data` of hostile names may say these words, but never as markup: quotes and brackets are escaped there.
        for foreign in [
            "<script", "<link", "<img", "<iframe", "<a ", "src=\"", "href=\"", "@import", "url(", "http://", "https://",
        ] {
            assert!(!lower.contains(foreign), "{foreign} in the page");
        }
        assert!(self.page.contains("default-src 'none'"));
        assert!(
            !self.page.contains("NaN") && !self.page.contains("None"),
            "a value that is none of a reader's business"
        );
    }

    fn headings(&self) -> Vec<&str> {
        self.page.split("<h2>").skip(1).map(|rest| rest.split("</h2>").next().unwrap()).collect()
    }
}

/// Every element that begins ends, in order.
fn assert_well_formed(page: &str) {
    let (before_style, rest) = page.split_once("<style>").unwrap();
    let (_, after_style) = rest.split_once("</style>").unwrap();
    let markup = format!("{before_style}{after_style}");
    let mut open: Vec<&str> = Vec::new();
    for piece in markup.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').unwrap_or_else(|| panic!("a tag that does not end: {piece}"));
        assert!(!text.contains('>'), "a bare > in {text}");
        let name = tag.split([' ', '\n']).next().unwrap();
        if tag.starts_with('!') || tag.ends_with('/') || VOID.contains(&name) {
            continue;
        }
        match name.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name), "ends here: {piece}"),
            None => open.push(name),
        }
    }
    assert!(open.is_empty(), "{open:?} do not end");
}

/// A number, a date, a yes or no, few levels, many levels; some cells are missing.
fn table(rows: usize, shift: f64) -> String {
    let mut csv = String::from("id,x,joined,member,plan,town,target\n");
    for row in 0..rows {
        let noise = ((row * 7_919) % 101) as f64 / 101.0;
        let (x, plan, town) = (((row * 37) % 83) as f64 / 83.0 + shift, row % 3, (row * 13) % 80);
        let target = 2.0 * x + plan as f64 + (town as f64 / 20.0).floor() + noise;
        let x = if row % 10 == 3 { String::new() } else { x.to_string() };
        let (month, member) = (1 + row % 12, row % 4 == 0);
        writeln!(csv, "{row},{x},2024-{month:02}-15,{member},plan-{plan},town-{town:03},{target}").unwrap();
    }
    csv
}

#[test]
fn the_page_tells_everything_in_one_file() {
    let workshop = Workshop::new();
    let data = workshop.write("table.csv", &table(1_500, 0.0));
    let run = trained(&workshop, "first", &data, &["--slice", "plan", "--slice", "member"]);
    run.assert_whole();
    let expected = [
        "The gate",
        "Warnings",
        "The data",
        "Validation",
        "How it learnt",
        "How good the predictions are",
        "What it looks at",
        "Slices",
        "Since the previous model",
        "How it was made",
    ];
    assert_eq!(run.headings(), expected);
    assert!(run.page.contains("validate with --time joined"), "which months there are says which plans");
    assert!(run.page.contains("✓ passed") && run.page.contains("2024-06-15"), "dates are dates");
    for caption in ["Learning curve", "Predicted against actual", "Residuals", "Residuals by prediction"] {
        assert!(run.page.contains(&format!("<figcaption>{caption}</figcaption>")), "{caption}");
    }
    assert!(run.page.contains("the first of its name"));
    // Every setting, named by its flag.
    let page = run.page.as_str();
    for argument in train::settings::Arguments::command().get_arguments().filter(|argument| !argument.is_hide_set()) {
        let Some(flag) = argument.get_long().filter(|flag| !["help", "version"].contains(flag)) else { continue };
        assert!(page.contains(&format!(">--{flag}</td>")), "--{flag} is not in the report");
    }
}

#[test]
fn importance_agrees_with_the_data_and_stands_in_metrics_json() {
    let workshop = Workshop::new();
    let mut csv = String::from("id,strong,weak,noise,target\n");
    for row in 0..2_000_u64 {
        let draw = |salt: u64| xxhash_rust::xxh3::xxh3_64_with_seed(&row.to_le_bytes(), salt) as f64 / 2_f64.powi(64);
        let (strong, weak, noise) = (draw(1), draw(2), draw(3));
        writeln!(csv, "{row},{strong},{weak},{noise},{}", 10.0 * strong + weak).unwrap();
    }
    let data = workshop.write("table.csv", &csv);
    let run = trained(&workshop, "r", &data, &["--rounds", "50"]);
    let importance = &run.metrics["importance"];
    let features = importance["features"].as_array().unwrap();
    let names: Vec<&str> = features.iter().map(|feature| feature["feature"].as_str().unwrap()).collect();
    assert_eq!(names, ["strong", "weak", "noise"]);
    let shap = |index: usize| features[index]["shap"].as_f64().unwrap();
    // The mean distance of a uniform variable from its mean is a quarter of its width.
    assert!((2.3..2.7).contains(&shap(0)) && (0.2..0.3).contains(&shap(1)) && shap(2) < 0.05, "{features:?}");
    let gain: f64 = features.iter().map(|feature| feature["gain"].as_f64().unwrap()).sum();
    assert!((gain - 1.0).abs() < 1e-6);
    assert_eq!((importance["unit"].as_str(), features[0]["effects"].as_array()), (Some("target"), None));
    assert!(importance["rows"].as_u64().unwrap() > 300);
    assert!(run.page.contains("as --rounds (ROUNDS) asked"));
}

#[test]
fn hostile_names_and_values_stay_text() {
    let workshop = Workshop::new();
    let names = [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "a&b</td></table>",
        "' onmouseover='alert(1)",
        "\u{202e}txet",
        "{{7*7}}${7*7}",
    ];
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let mut csv = String::from("id,target");
    names.iter().for_each(|name| write!(csv, ",{}", quoted(name)).unwrap());
    for row in 0..400 {
        write!(csv, "\n{row},{}", row % 7).unwrap();
        for (place, name) in names.iter().enumerate() {
            // The first three columns hold numbers, the others hostile levels.
            let cell = if place < 3 { (row % (7 + place)).to_string() } else { quoted(&format!("{name}{}", row % 7)) };
            write!(csv, ",{cell}").unwrap();
        }
    }
    let data = workshop.write("table.csv", &csv);
    let spec = "categorical = [\"a&b</td></table>\"]\n[ranges]\n\"<script>alert(1)</script>\" = { max = 3 }\n";
    let spec = workshop.write("features.toml", spec);
    let more = ["--features", spec.to_str().unwrap(), "--slice", names[3], "--slice", names[4], "--rounds", "20"];
    let run = trained(&workshop, "r", &data, &more);
    run.assert_whole();
    for shown in [
        "&lt;script&gt;alert(1)&lt;/script&gt;",
        "&quot;&gt;&lt;img src=x onerror=alert(1)&gt;",
        "a&amp;b&lt;/td&gt;&lt;/table&gt;",
        "&#39; onmouseover=&#39;alert(1)",
        "\\u{202e}txet",
        "{{7*7}}${7*7}",
    ] {
        assert!(run.page.contains(shown), "{shown}");
    }
    assert!(!run.page.contains('\u{202e}'), "a mark that turns the text around");
}

#[test]
fn a_thousand_features_and_two_thousand_levels_make_a_page_of_bounded_size() {
    let workshop = Workshop::new();
    let mut csv = String::from("id,town,group,target");
    (0..1_000).for_each(|column| write!(csv, ",{}{column}", "long_name_".repeat(20)).unwrap());
    for row in 0..2_000_usize {
        write!(csv, "\n{row},town {row},group {},{}", row % 400, (row * 31 % 977) as f64 / 9.0).unwrap();
        (0..1_000).for_each(|column| write!(csv, ",{}", (row * (column + 3)) % 10).unwrap());
    }
    let data = workshop.write("table.csv", &csv);
    let run = trained(&workshop, "r", &data, &["--rounds", "3", "--slice", "group", "--param", "max_depth=3"]);
    run.assert_whole();
    assert!(run.page.len() < 400_000, "{} bytes", run.page.len());
    for rest in ["columns more, in metadata.json", "features more, in metrics.json", "values more, in metrics.json"] {
        assert!(run.page.contains(rest), "{rest}");
    }
    assert_eq!(run.metrics["importance"]["features"].as_array().unwrap().len(), 1_002);
}

#[test]
fn ten_thousand_levels_make_a_small_page() {
    let workshop = Workshop::new();
    let mut csv = String::from("id,product,x,target\n");
    for row in 0..40_000_usize {
        let product = (row * 7_919) % 10_000;
        let effect = (product % 97) as f64;
        writeln!(
            csv,
            "{row},\"a product with a long name, number {product:05}\",{},{}",
            row % 13,
            effect + (row % 7) as f64
        )
        .unwrap();
    }
    let data = workshop.write("table.csv", &csv);
    // The levels as they are, then the means that stand for them.
    let native = ["--rounds", "5", "--slice", "product", "--test-fraction", "0.05"];
    let spec = workshop.write("features.toml", "[encoding]\nproduct = \"target\"\n");
    let encoded = [native.as_slice(), &["--features", spec.to_str().unwrap()]].concat();
    for (run_id, more) in [("native", native.to_vec()), ("encoded", encoded)] {
        let run = trained(&workshop, run_id, &data, &more);
        run.assert_whole();
        assert!(run.page.len() < 300_000, "{run_id}: {} bytes", run.page.len());
        assert!(run.page.contains("10,000"), "how many levels there are");
        let metadata = json(&workshop.run_folder(run_id).join("metadata.json"));
        let product = metadata["features"].as_array().unwrap().iter().find(|feature| feature["name"] == "product");
        assert_eq!(product.unwrap()["levels"].as_array().unwrap().len(), 10_000);
    }
}

#[test]
fn tables_at_the_edge_have_a_page_too() {
    let workshop = Workshop::new();
    let two = workshop.write("two.csv", "id,empty,constant,target\n1,,5,0.0\n2,,5,1.0\n");
    let one = workshop.write("one.csv", "id,empty,constant,target\n9,,5,3.0\n");
    let two_path = two.to_str().unwrap();
    let run = trained(&workshop, "few", &one, &["--test-data", two_path]);
    run.assert_whole();
    assert!(run.page.contains("too few rows"), "one row cannot choose how to learn");
    assert!(run.page.contains("has no value in any training row"));

    let mut extreme = String::from("id,huge,tiny,target\n");
    for row in 0..300_i32 {
        writeln!(extreme, "{row},{}e300,{}e-40,{}e15", row % 3, row % 5, row % 7).unwrap();
    }
    let extreme = workshop.write("extreme.csv", &extreme);
    trained(&workshop, "extreme", &extreme, &["--rounds", "5"]).assert_whole();
}

#[test]
fn drift_against_the_latest_model_names_what_moved() {
    let workshop = Workshop::new();
    let first = workshop.write("first.csv", &table(1_500, 0.0));
    trained(&workshop, "first", &first, &["--rounds", "10"]);
    let same = trained(&workshop, "same", &first, &["--rounds", "10"]);
    let drift = &same.metrics["drift"];
    assert_eq!(drift["previous"], "v1/first");
    let largest = |drift: &Value| drift["features"][0]["psi"].as_f64().unwrap();
    assert!(largest(drift) < 1e-9 && drift["target_psi"].as_f64().unwrap() < 1e-9, "{drift}");

    let renamed = table(1_500, 0.4).replacen(",member,", ",is_member,", 1);
    let moved = workshop.write("moved.csv", &renamed);
    let run = trained(&workshop, "moved", &moved, &["--rounds", "10"]);
    run.assert_whole();
    let drift = &run.metrics["drift"];
    assert_eq!(drift["features"][0]["feature"], "x");
    assert!(largest(drift) > 0.2 && drift["features"][1]["psi"].as_f64().unwrap() < 1e-9, "{drift}");
    assert_eq!((&drift["added"][0], &drift["removed"][0]), (&"is_member".into(), &"member".into()));
    for said in ["Compared with v1/same", "New: is_member.", "Gone: member."] {
        assert!(run.page.contains(said), "{said}");
    }
}

#[test]
fn a_latest_model_that_cannot_be_read_is_said_and_does_not_stop_its_successor() {
    let workshop = Workshop::new();
    let data = workshop.write("table.csv", &table(400, 0.0));
    trained(&workshop, "first", &data, &["--rounds", "5"]);
    std::fs::write(workshop.run_folder("first").join("metadata.json"), "{}").unwrap();
    let run = trained(&workshop, "second", &data, &["--rounds", "5"]);
    run.assert_whole();
    assert!(run.page.contains("The latest model, v1/first, cannot be read"));
    assert!(run.metrics["drift"]["unreadable"].as_str().unwrap().contains("SHA-256"));
}

#[test]
fn a_rejected_model_has_the_same_page_and_it_says_why() {
    let workshop = Workshop::new();
    let data = workshop.write("table.csv", &table(1_500, 0.0));
    let passed = trained(&workshop, "passed", &data, &["--rounds", "10", "--slice", "plan"]);
    let more =
        ["--rounds", "10", "--slice", "plan", "--min-r2", "0.9999", "--min-slice-r2", "0.9999", "--max-r2-drop", "0.1"];
    let done = train(&workshop, "rejected", &data, &more);
    assert_eq!(done.status.code(), Some(3));
    let rejected = Run::of(&workshop, "rejected");
    rejected.assert_whole();
    assert_eq!(passed.headings(), rejected.headings());
    for said in ["✗ rejected", "Not published", "is below the minimum 0.9999", "slices are below", "--max-r2-drop"] {
        assert!(rejected.page.contains(said), "{said}");
    }
}

#[test]
fn the_same_run_gives_the_same_page() {
    let workshop = Workshop::new();
    let data = workshop.write("table.csv", &table(600, 0.0));
    let lines = |run: &Run| -> BTreeSet<String> {
        let of_the_run = |line: &&str| !line.contains("passed") && !line.contains("<h2>How it was made");
        run.page.lines().filter(of_the_run).map(str::to_owned).collect()
    };
    let first = trained(&workshop, "first", &data, &["--rounds", "10"]);
    let other = Workshop::new();
    let copied = other.write("table.csv", &table(600, 0.0));
    let second = trained(&other, "second", &copied, &["--rounds", "10"]);
    let without_folder = |lines: BTreeSet<String>, workshop: &Workshop| -> BTreeSet<String> {
        let folder = workshop.folder().to_str().unwrap().to_owned();
        lines.into_iter().map(|line| line.replace(&folder, "")).collect()
    };
    assert_eq!(without_folder(lines(&first), &workshop), without_folder(lines(&second), &other));
}
