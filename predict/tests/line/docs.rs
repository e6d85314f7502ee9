//! The documentation is true: every command in README.md and docs/ runs, every flag exists, every link leads somewhere.
//!
//! The blocks of a document are run one after the other by bash, in a folder that looks like a clone, with the real programs, a real S3
//! server and Python. `docs/stand-in` stands in for what cannot be had here. A command that ends with something else than 0 fails the
//! test, unless the document says `# exit 3` behind it, which then has to be right.

use std::fmt::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use testkit::s3::{ADMIN, S3Server};
use testkit::tables;

use super::places::Place;
use super::{Workshop, files_below, programs, repository, sample};

/// Options in the text that are other programs' (of Docker, cargo, pip, the AWS CLI, task-definitions/cost.py).
const OPTIONS_OF_OTHERS: [&str; 7] =
    ["--build-arg", "--platform", "--s3-bucket", "--locked", "--pull-seconds", "--jobs", "--ignore-requires-python"];
/// What the documents call the endpoint and the keys of an S3 server.
const ENDPOINT: &str = "http://localhost:9000";
const KEYS: &str = "AWS_ACCESS_KEY_ID=engagement AWS_SECRET_ACCESS_KEY=engagement";

/// A fenced block of code.
#[derive(Debug, PartialEq, Eq)]
struct Block {
    language: String,
    /// Line of its first line of code, from 1.
    line: usize,
    code: String,
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (index, line) in text.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => {
                open = Some(Block { language: language.trim().to_owned(), line: index + 2, code: String::new() });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => writeln!(block.code, "{line}").unwrap(),
            (None, None) => {}
        }
    }
    assert_eq!(open, None, "a block has no end");
    blocks
}

/// The documents that users read, relative to the project.
fn documents() -> Vec<PathBuf> {
    let project = repository();
    let mut documents = vec![PathBuf::from("README.md")];
    for file in files_below(&project.join("docs")) {
        let path = Path::new(&file).strip_prefix(&project).unwrap().to_owned();
        if path.extension().is_some_and(|extension| extension == "md") {
            documents.push(path);
        }
    }
    assert!(documents.len() > 5, "{documents:?}");
    documents
}

fn read(document: &Path) -> String {
    std::fs::read_to_string(repository().join(document)).unwrap()
}

/// A line that ends with `# exit 3` passes with that exit code only. Scripts of the project have tests of their own and may
/// take hours: here they only have to exist.
fn as_tested(code: &str) -> String {
    let mut tested = String::new();
    for line in code.lines() {
        let of_the_project = ["scripts/", "benches/"].iter().any(|folder| line.starts_with(folder));
        match line.rsplit_once("# exit ") {
            Some((command, code)) if code.parse::<u8>().is_ok() => {
                writeln!(tested, "{command} && ended=0 || ended=$?; [ $ended = {code} ]").unwrap();
            }
            _ if of_the_project => writeln!(tested, "[ -x {} ]", line.split(' ').next().unwrap()).unwrap(),
            _ => writeln!(tested, "{line}").unwrap(),
        }
    }
    tested
}

/// A folder like a clone, with the example's tables in it, and everything that commands of the documents find around them.
struct Desk {
    workshop: Workshop,
}

impl Desk {
    fn new() -> Self {
        let desk = Self { workshop: Workshop::new() };
        let project = repository();
        for name in ["Makefile", "README.md", "benches", "docker", "docs", "samples", "scripts", "task-definitions"] {
            std::fs::create_dir_all(desk.workshop.path("clone")).unwrap();
            symlink(project.join(name), desk.workshop.path("clone").join(name)).unwrap();
        }
        let cache = desk.workshop.path("home/.cache/engagement-ml/target");
        std::fs::create_dir_all(&cache).unwrap();
        symlink(Self::programs(), cache.join("release")).unwrap();
        std::fs::create_dir(desk.workshop.path("stand-ins")).unwrap();
        for name in ["docker", "podman", "aws", "make", "pip", "python", "python3"] {
            let script = project.join("predict/tests/line/docs/stand-in");
            symlink(script, desk.workshop.path("stand-ins").join(name)).unwrap();
        }
        desk
    }

    fn programs() -> PathBuf {
        Path::new(env!("CARGO_BIN_EXE_predict")).parent().unwrap().to_owned()
    }

    /// The interpreter's environment, `…/python`.
    fn pandas() -> PathBuf {
        let answer = Command::new(repository().join("scripts/setup-python")).output().unwrap();
        assert!(answer.status.success(), "{answer:?}");
        let interpreter = PathBuf::from(String::from_utf8(answer.stdout).unwrap().trim());
        interpreter.ancestors().nth(2).unwrap().to_owned()
    }

    /// Runs a script to its end: whether all of it went well, and what it said.
    fn run(&self, script: &str) -> (bool, String) {
        let inherited = std::env::var("PATH").unwrap_or_default();
        let folders = [self.workshop.text("stand-ins"), inherited, Self::programs().display().to_string()];
        let mut bash = Command::new("timeout");
        bash.args(["120", "bash", "-euo", "pipefail", "-c", script]).current_dir(self.workshop.path("clone"));
        bash.env_clear().stdin(Stdio::null()).envs(S3Server::shared().env());
        bash.env("PATH", folders.join(":")).env("HOME", self.workshop.path("home")).env("PROJECT", repository());
        bash.env("PROGRAMS", Self::programs()).env("PANDAS", Self::pandas());
        // Choosing a model is tested elsewhere.
        bash.env("ROUNDS", "60").env("THREADS", "1").env("LOG_FORMAT", "text").env("LANG", "C.UTF-8");
        if let Ok(path) = std::env::var("LD_LIBRARY_PATH") {
            bash.env("LD_LIBRARY_PATH", path);
        }
        let output = bash.output().unwrap();
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        (output.status.success(), said.concat())
    }
}

/// Runs every block of shell commands of a document; how many there were.
#[track_caller]
fn run_all(desk: &Desk, document: &Path) -> usize {
    let endpoint = S3Server::shared().endpoint();
    let keys = format!("AWS_ACCESS_KEY_ID={} AWS_SECRET_ACCESS_KEY={}", ADMIN.id, ADMIN.secret);
    let blocks: Vec<Block> = blocks(&read(document))
        .into_iter()
        .filter(|block| ["sh", "bash", "console"].contains(&block.language.as_str()))
        .collect();
    let mut script = String::new();
    for block in &blocks {
        let code = as_tested(&block.code).replace(ENDPOINT, &endpoint).replace(KEYS, &keys);
        writeln!(script, "echo '=== {}, line {}'\n{code}", document.display(), block.line).unwrap();
    }
    let (went_well, said) = desk.run(&script);
    let from = said.rfind("=== ").unwrap_or(0);
    assert!(
        went_well,
        "a command of a document failed. What was said since its block began, and all errors:\n{}",
        &said[from..]
    );
    blocks.len()
}

/// What the example of docs/your-table.md begins with.
fn with_the_example_s_tables() -> Desk {
    let desk = Desk::new();
    let blocks = blocks(&read(Path::new("docs/your-table.md")));
    let maker = blocks.iter().find(|block| block.code.contains("new-flats.csv")).expect("the example's tables");
    let (went_well, said) = desk.run(&maker.code);
    assert!(went_well, "{said}");
    desk
}

#[test]
fn every_command_of_the_readme_runs() {
    let data = Place::bucket("data");
    for part in ["train", "customers"] {
        for (index, file) in files_below(Path::new(&sample(part))).iter().enumerate() {
            data.write(&format!("{part}/part-{index:05}.parquet"), std::fs::read(file).unwrap());
        }
    }
    data.write("features.toml", std::fs::read(sample("features.toml")).unwrap());
    for bucket in ["models", "scores"] {
        S3Server::shared().create_bucket(bucket);
    }
    assert!(run_all(&with_the_example_s_tables(), Path::new("README.md")) >= 6);
}

#[test]
fn every_command_of_the_documents_runs() {
    let server = S3Server::shared();
    server.create_bucket("your-bucket");
    let rows = Workshop::new();
    tables::write_parquet(&tables::customers(300, 1, 7), &rows.path("train.parquet"));
    let train = programs().train().folder(rows.folder.path()).envs(&server.env()).env("ROUNDS", "30");
    let train = train.args(["--train-data", "train.parquet", "--id", "customer_id", "--target", "score"]);
    train.args(["--models", "s3://your-bucket/models", "--model-version", "v1.1.0"]).run().succeeded();
    // The other documents go on from the example.
    let desk = Desk::new();
    let example = Path::new("docs/your-table.md");
    let mut run = run_all(&desk, example);
    for document in documents().iter().filter(|document| *document != example && document.starts_with("docs")) {
        run += run_all(&desk, document);
    }
    assert!(run >= 15, "{run} blocks");
}

/// A test of the test.
#[test]
fn a_wrong_command_is_found() {
    let desk = Desk::new();
    for wrong in [
        "train --no-such-flag",
        "true   # exit 3",
        "false",
        "make no-such-target",
        "scripts/no-such-script",
        "docker run --rm -e NO_SUCH_VARIABLE=1 engagement-ml/train --version",
        "docker run --rm -v \"$PWD/nowhere:/x\" engagement-ml/train --version",
        "docker run --rm no-such-image",
        "docker build --target nobody -f docker/Dockerfile .",
        "aws s3api put-bucket-lifecycle-configuration --lifecycle-configuration file://nowhere.json",
    ] {
        assert!(!desk.run(&as_tested(wrong)).0, "{wrong}");
    }
    let right =
        "train --no-such-flag   # exit 2\nscripts/setup\ndocker run --rm engagement-ml/train --version\nmake run\n";
    let (went_well, said) = desk.run(&as_tested(right));
    assert!(went_well, "{said}");
}

/// `` `--flag …` `` and `` `train … --flag` `` in the text.
fn flags_in(text: &str) -> Vec<String> {
    let mut flags = Vec::new();
    let mut is_block = false;
    for line in text.lines() {
        is_block ^= line.starts_with("```");
        let spans = line.split('`').skip(1).step_by(2).filter(|_| !is_block);
        for span in spans.filter(|span| ["--", "train ", "predict "].iter().any(|start| span.starts_with(start))) {
            let words = span.split(|sign: char| sign.is_whitespace() || sign == '=');
            flags.extend(words.filter(|word| word.starts_with("--") && word.len() > 2).map(str::to_owned));
        }
    }
    flags
}

#[test]
fn every_flag_in_the_documents_exists() {
    let help = |arguments: &[&str]| {
        [programs().train(), programs().predict()].map(|program| program.args(arguments).arg("--help").run().stdout)
    };
    let help =
        [help(&[]), help(&["models", "prune"]), help(&["models", "export"]), help(&["models"]), help(&["evaluate"])]
            .concat()
            .concat();
    let known: Vec<&str> = help.split(|sign: char| !(sign.is_alphanumeric() || sign == '-')).collect();
    let mut found = 0;
    // The contract is ahead of the programs: task-definitions/tests compare it.
    for document in documents().into_iter().filter(|document| !document.ends_with("contract.md")) {
        for flag in flags_in(&read(&document)) {
            let is_known = known.contains(&flag.as_str()) || OPTIONS_OF_OTHERS.contains(&flag.as_str());
            assert!(is_known, "{}: there is no {flag}", document.display());
            found += 1;
        }
    }
    assert!(found > 20, "{found} flags");
}

/// Links and pictures within the project; a fragment must be a heading there.
#[test]
fn every_link_in_the_documents_leads_somewhere() {
    let heading = |text: &str, wanted: &str| {
        text.lines().filter_map(|line| line.strip_prefix('#')).any(|line| {
            let kept = |sign: &char| sign.is_alphanumeric() || [' ', '-', '_'].contains(sign);
            let title: String = line.trim_start_matches('#').trim().to_lowercase().chars().filter(kept).collect();
            title.replace(' ', "-") == wanted
        })
    };
    let mut found = 0;
    let more = ["ARCHITECTURE.md", "CHANGELOG.md", "samples/credit-card/README.md", "task-definitions/README.md"];
    for document in documents().into_iter().chain(more.map(PathBuf::from)) {
        let text = read(&document);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (path, fragment) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { document.clone() } else { document.parent().unwrap().join(path) };
            let file = repository().join(&target);
            assert!(file.exists(), "{}: {link} leads nowhere", document.display());
            let is_there = fragment.is_empty() || heading(&std::fs::read_to_string(&file).unwrap(), fragment);
            assert!(is_there, "{}: {link}: no such heading", document.display());
            found += 1;
        }
    }
    assert!(found > 20, "{found} links");
}
