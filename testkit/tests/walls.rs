//! The walls between the crates: an edge that ARCHITECTURE.md does not list, or a library in a crate that must not know it,
//! fails here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use testkit::project;

type Names = BTreeSet<String>;

/// The crates that are programs.
const PROGRAMS: [&str; 4] = ["train", "predict", "functions", "bundle"];
/// A program without a library: the others in one file.
const BUNDLE: &str = "bundle";

/// The crates of the workspace by name, with what they depend on outside of tests.
fn crates() -> BTreeMap<String, Names> {
    let mut manifests: Vec<_> = PROGRAMS.iter().map(|name| project().join(name).join("Cargo.toml")).collect();
    let folders = fs::read_dir(project().join("common")).unwrap();
    manifests
        .extend(folders.map(|folder| folder.unwrap().path().join("Cargo.toml")).filter(|manifest| manifest.exists()));
    manifests.iter().map(|manifest| dependencies(&fs::read_to_string(manifest).unwrap())).collect()
}

/// The name and the dependencies of a manifest, all of which are given as `name.workspace = true`.
fn dependencies(manifest: &str) -> (String, Names) {
    let mut section = "";
    let (mut name, mut dependencies) = (String::new(), Names::new());
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
            assert!(!section.contains("dependencies."), "a dependency of its own section is not seen here: {section}");
        } else if section == "[package]"
            && let Some(value) = line.strip_prefix("name = ")
        {
            name = value.trim_matches('"').to_owned();
        } else if matches!(section, "[dependencies]" | "[build-dependencies]") && line.contains('=') {
            let dependency = line.split(['.', ' ']).next().unwrap();
            dependencies.insert(dependency.to_owned());
        }
    }
    (name, dependencies)
}

/// The table of ARCHITECTURE.md: each crate and which of ours it may use.
fn allowed() -> BTreeMap<String, Names> {
    let document = fs::read_to_string(project().join("ARCHITECTURE.md")).unwrap();
    let table = document
        .split("| crate | what it is | uses | what it must not know |")
        .nth(1)
        .expect("the table of the crates");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let names = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Names>();
        (names(cells[1]).pop_first().expect("a crate's name"), names(cells[3]))
    };
    rows.map(row).collect()
}

#[test]
fn every_edge_between_the_crates_is_in_the_architecture() {
    let (crates, allowed) = (crates(), allowed());
    let ours: Names = crates.keys().cloned().collect();
    for (name, dependencies) in &crates {
        let edges: Names = dependencies.intersection(&ours).cloned().collect();
        assert_eq!(Some(&edges), allowed.get(name), "ARCHITECTURE.md, the edges of `{name}`");
    }
    assert_eq!(ours, allowed.keys().cloned().collect::<Names>());
}

#[test]
fn a_library_is_known_only_where_it_belongs() {
    // What a library's name begins with, and the only crates that may name it.
    let walls: &[(&str, &[&str])] = &[
        ("aws-sdk-athena", &["functions"]),
        ("aws-sdk-s3", &["storage"]),
        ("aws-config", &["storage"]),
        ("aws-smithy", &["storage"]),
        ("aws-types", &["storage"]),
        ("aws-credential", &["storage"]),
        ("lambda_runtime", &["functions"]),
        ("xgboost_lib-sys", &["xgboost"]),
        ("clap", &["app", "train", "predict", "bundle"]),
        ("polars-parquet", &["table"]),
        ("csv", &["table"]),
        ("sqlparser", &["features", "functions"]),
        ("tracing-subscriber", &["telemetry"]),
        ("plotters", &["train"]),
    ];
    let is_pure = ["columns", "error", "evaluation", "features", "scoring"];
    for (name, dependencies) in crates() {
        for dependency in &dependencies {
            for (prefix, owners) in walls {
                let is_theirs = !dependency.starts_with(prefix) || owners.contains(&name.as_str());
                assert!(is_theirs, "`{name}` must not know {dependency}");
            }
            let does_io = ["tokio", "futures", "storage", "reqwest", "async-trait"].contains(&dependency.as_str());
            assert!(!(does_io && is_pure.contains(&name.as_str())), "`{name}` is pure and must not know {dependency}");
        }
    }
}

/// What cargo prints of everything that is built for some packages, a line each.
fn tree(selection: &[&str], about: &[&str]) -> Names {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["tree", "--offline", "--locked", "--prefix", "none"]).args(about).args(selection);
    let output = command.current_dir(project()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| line.trim_end_matches("(*)").trim_end().to_owned()).collect()
}

/// Everything that a crate is built from, with its versions left out.
fn built_from(package: &str) -> Names {
    let lines = tree(&["-p", package], &["-e", "normal"]);
    lines.iter().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

/// What is compiled with other features is compiled again: polars and the SDK, for minutes, between `make run` and `make test`.
#[test]
fn each_program_alone_is_built_with_the_features_of_all_together() {
    let features = ["-e", "normal,build", "--format", "{p} {f}"];
    let together = tree(&["--workspace"], &features);
    for program in PROGRAMS {
        let again: Vec<_> = tree(&["-p", program], &features).difference(&together).cloned().collect();
        assert!(
            again.is_empty(),
            "building `{program}` alone compiles these again: add what is missing to the features in Cargo.toml, or name the crate \
             in a manifest, as that of `storage` does: {again:#?}"
        );
    }
}

#[test]
fn scoring_is_built_from_nothing_but_the_standard_library() {
    assert_eq!(built_from("scoring"), Names::from(["scoring".to_owned()]));
}

#[test]
fn features_are_built_without_the_sdk_and_storage() {
    let tree = built_from("features");
    assert!(tree.contains("columns") && tree.contains("polars-core"), "{tree:?}");
    let foreign: Vec<_> =
        tree.iter().filter(|name| name.starts_with("aws") || *name == "storage" || *name == "hyper").collect();
    assert!(foreign.is_empty(), "{foreign:?}");
}

#[test]
fn unsafe_code_is_forbidden_outside_of_the_binding_and_the_kernels() {
    for name in crates()
        .keys()
        .filter(|name| !["xgboost", "scoring", BUNDLE].contains(&name.as_str()) && !PROGRAMS.contains(&name.as_str()))
    {
        let root = fs::read_to_string(project().join(format!("common/{name}/src/lib.rs"))).unwrap();
        assert!(root.contains("#![forbid(unsafe_code)]"), "`{name}`");
    }
    let of_programs = PROGRAMS
        .iter()
        .filter(|program| **program != BUNDLE)
        .flat_map(|program| ["lib.rs", "main.rs"].map(|root| (*program, root)));
    for (program, root) in of_programs.chain([(BUNDLE, "main.rs")]) {
        let root = fs::read_to_string(project().join(program).join("src").join(root)).unwrap();
        assert!(root.contains("#![forbid(unsafe_code)]"), "`{program}`");
    }
}

/// `make fuzz-targets` builds with `--locked`, and nothing of the gate builds them.
#[test]
fn the_lock_of_the_fuzz_targets_has_what_the_crates_depend_on() {
    let lock = fs::read_to_string(project().join("fuzz/Cargo.lock")).unwrap();
    let names = |text: &str| {
        let quoted = text.split('"').skip(1).step_by(2);
        quoted.map(|name| name.split(' ').next().unwrap().to_owned()).collect::<Names>()
    };
    let package = |text: &str| {
        let (about, list) = text.split_once("dependencies = [").unwrap_or((text, ""));
        let name = about.lines().find_map(|line| line.strip_prefix("name = ")).unwrap();
        (name.trim_matches('"').to_owned(), names(list))
    };
    let locked: BTreeMap<String, Names> = lock.split("[[package]]").skip(1).map(package).collect();
    let testkit = dependencies(&fs::read_to_string(project().join("testkit/Cargo.toml")).unwrap());
    let mut looked_at = 0;
    for (name, dependencies) in crates().into_iter().chain([testkit]) {
        let Some(locked) = locked.get(&name) else { continue };
        let in_the_lock = |name: &String| if name == "polars" { "polars-core".to_owned() } else { name.clone() };
        let dependencies: Names = dependencies.iter().map(in_the_lock).collect();
        assert_eq!(
            *locked, dependencies,
            "{name}: run `cargo metadata --manifest-path fuzz/Cargo.toml` and keep the lock"
        );
        looked_at += 1;
    }
    assert!(looked_at > 15, "{looked_at} crates");
}

#[test]
fn the_log_knows_every_crate() {
    let logs = fs::read_to_string(project().join("common/telemetry/src/logs.rs")).unwrap();
    for name in crates().keys() {
        let name = if name == BUNDLE { "engagement_ml" } else { name };
        assert!(
            logs.contains(&format!("\"{name}\",")),
            "a line that `{name}` logs at level info is not shown: OUR_CRATES"
        );
    }
}
