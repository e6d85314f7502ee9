//! One seeded case: which program on which bad line, and what must be true afterwards.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use serde_json::Value;
use testkit::faults::{Fault, FaultProxy, Kind, Request, SeededPlan};
use testkit::program::{Ended, Invocation};
use testkit::random::Random;
use testkit::s3::S3Server;
use testkit::tables::{csv, customers, parquet_bytes, without};

use super::super::places::{Files, Place, assert_models_are_whole, assert_predictions_are_whole, json};

const TRAINING_ROWS: usize = 600;
const CUSTOMERS_PER_FILE: usize = 150;
const FILES: i64 = 3;
const FEW_CUSTOMERS: usize = CUSTOMERS_PER_FILE * FILES as usize;
/// Rows whose predictions are sent in several requests.
const MANY_CUSTOMERS: usize = 700_000;

/// What a case runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Program {
    Train,
    Predict,
    PredictCsv,
    /// A part of the output is larger than what is sent in one request.
    PredictMany,
    /// Two runs at once, on two bad lines.
    TwoTrains,
    /// The same run id twice at once.
    SamePredictTwice,
}

/// What the line is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Line {
    /// Now and then something fails.
    Rough,
    /// Much fails.
    Bad,
    /// It ends.
    Dying,
    /// Bytes change.
    Corrupting,
    /// The server does what none should.
    Odd,
}

/// Bucket, data, model and what undisturbed runs come to.
pub(super) struct Bench {
    place: Place,
    model: Vec<u8>,
    metadata: Value,
    predictions: Files,
    predictions_of_csv: Files,
    /// What [`Program::PredictMany`] comes to undisturbed, once it is asked for.
    predictions_of_many: OnceLock<Files>,
}

/// What a case came to, for the statistics.
#[derive(Debug)]
pub(super) struct Summary {
    pub(super) program: Program,
    pub(super) line: Line,
    pub(super) exit_codes: Vec<i32>,
    /// What happened, by what it was.
    pub(super) faults: Vec<Fault>,
}

impl Bench {
    pub(super) fn new(bucket: &str) -> Self {
        let place = Place::bucket(bucket);
        place.write("train/part.parquet", parquet_bytes(&customers(TRAINING_ROWS, 1, 7)));
        for file in 0..FILES {
            let table = without(&customers(CUSTOMERS_PER_FILE, 10_000 * (file + 1), 8 + file as u64), "score");
            place.write(&format!("customers/part-{file}.parquet"), parquet_bytes(&table));
            place.write(&format!("customers-csv/part-{file}.csv"), csv(&table).into_bytes());
        }
        run_train(&place, "", "usual").run().succeeded();
        let models = place.files("models");
        let model = models["engagement/v1/usual/model.ubj"].clone();
        let metadata = json(&models, "engagement/v1/usual/metadata.json");
        run_predict(&place, "usual", "usual", "customers").run().succeeded();
        run_predict(&place, "usual", "csv", "customers-csv").run().succeeded();
        let output = place.files("usual/output");
        let (predictions, predictions_of_csv) = (parts(&output, "usual"), parts(&output, "csv"));
        assert!(!predictions.is_empty() && !predictions_of_csv.is_empty());
        let predictions_of_many = OnceLock::new();
        Self { place, model, metadata, predictions, predictions_of_csv, predictions_of_many }
    }

    /// Runs the case of a seed.
    pub(super) fn run(&self, seed: u64, tell: bool) -> Summary {
        let random = &mut Random::new(seed);
        let program = draw(
            random,
            &[
                (Program::Train, 3),
                (Program::Predict, 4),
                (Program::PredictCsv, 1),
                (Program::TwoTrains, 1),
                (Program::SamePredictTwice, 1),
            ],
        );
        let line =
            draw(random, &[(Line::Rough, 4), (Line::Bad, 2), (Line::Dying, 2), (Line::Corrupting, 2), (Line::Odd, 2)]);
        let odd = Kind::ODD[random.below(Kind::ODD.len() as u64) as usize];
        // What S3 itself answers so is the end of an upload in several requests, which few rows do not take.
        let is_in_parts = (program, line, odd) == (Program::Predict, Line::Odd, Kind::ErrorInside);
        let program = if is_in_parts { Program::PredictMany } else { program };
        let attempts = [1, 3, 4][random.below(3) as usize].to_string();
        let runs = if matches!(program, Program::TwoTrains | Program::SamePredictTwice) { 2 } else { 1 };
        let proxies: Vec<FaultProxy> = (0..runs).map(|_| proxy(line.plan(odd, random))).collect();
        let folder = format!("case-{seed}");
        let run_ids: Vec<String> = (0..runs).map(|run| self.run_id(program, run)).collect();
        let started: Vec<_> = proxies
            .iter()
            .zip(&run_ids)
            .map(|(proxy, run_id)| {
                let call = self.call(program, &folder, run_id).env("AWS_ENDPOINT_URL_S3", proxy.endpoint());
                call.env("AWS_MAX_ATTEMPTS", &attempts).start()
            })
            .collect();
        let ended: Vec<Ended> = started.into_iter().map(testkit::program::Running::wait).collect();
        if tell {
            for (ended, proxy) in ended.iter().zip(&proxies) {
                println!("{program:?} {line:?}, {attempts} attempts: {:?}\n{}", ended.status, proxy.story());
                println!("{}{}", ended.stdout, ended.stderr);
            }
        }
        for ((ended, proxy), run_id) in ended.iter().zip(&proxies).zip(&run_ids) {
            let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                self.check(program, line, &folder, run_id, ended);
            }));
            assert!(told.is_ok(), "seed {seed}: {program:?} {line:?}, {attempts} attempts, after\n{}", proxy.story());
        }
        Summary {
            program,
            line,
            exit_codes: ended.iter().filter_map(|ended| ended.status.code()).collect(),
            faults: proxies.iter().flat_map(FaultProxy::requests).filter_map(|(_, fault)| fault).collect(),
        }
    }

    fn run_id(&self, program: Program, run: usize) -> String {
        if program == Program::SamePredictTwice { "same".to_owned() } else { format!("run-{run}") }
    }

    fn call(&self, program: Program, folder: &str, run_id: &str) -> Invocation {
        match program {
            Program::Train | Program::TwoTrains => run_train(&self.place, folder, run_id),
            Program::Predict | Program::SamePredictTwice => run_predict(&self.place, folder, run_id, "customers"),
            Program::PredictCsv => run_predict(&self.place, folder, run_id, "customers-csv"),
            Program::PredictMany => {
                self.predictions_of_many();
                self.predict_many(folder, run_id)
            }
        }
    }

    fn predict_many(&self, folder: &str, run_id: &str) -> Invocation {
        let call = run_predict(&self.place, folder, run_id, "many").args(["--format", "csv"]);
        call.args(["--columns", "spend,visits,plan,since"])
    }

    /// The predictions of many customers, whose rows are made and scored the first time.
    fn predictions_of_many(&self) -> &Files {
        self.predictions_of_many.get_or_init(|| {
            let table = without(&customers(MANY_CUSTOMERS, 1_000_000, 9), "score");
            self.place.write("many/part.parquet", parquet_bytes(&table));
            self.predict_many("usual", "many").run().succeeded();
            parts(&self.place.files("usual/output"), "many")
        })
    }

    /// Nothing half-written is visible; what ended well is complete and correct; what did not says why, and ends well on a
    /// good line.
    fn check(&self, program: Program, line: Line, folder: &str, run_id: &str, ended: &Ended) {
        self.check_all_visible(program, folder);
        match ended.status.code() {
            Some(0) => drop(ended.succeeded()),
            Some(code) => {
                assert!(line.may_end_with().contains(&code), "exit code {code}: {ended:?}");
                ended.failed(code, &[]);
                self.call(program, folder, run_id).run().succeeded();
                self.check_all_visible(program, folder);
            }
            None => panic!("{ended:?}"),
        }
        self.check_result(program, folder, run_id);
    }

    fn check_all_visible(&self, program: Program, folder: &str) {
        match program {
            Program::Train | Program::TwoTrains => {
                let models = self.place.files(&format!("{folder}/models"));
                assert_models_are_whole(&models);
                for (name, bytes) in &models {
                    if name.ends_with("/model.ubj") {
                        assert!(*bytes == self.model, "{name} is another model");
                    }
                }
            }
            _ => assert_predictions_are_whole(&self.place.files(&format!("{folder}/output"))),
        }
    }

    fn check_result(&self, program: Program, folder: &str, run_id: &str) {
        match program {
            Program::Train | Program::TwoTrains => self.check_model(folder, run_id),
            Program::PredictCsv => self.check_predictions(folder, run_id, &self.predictions_of_csv, FEW_CUSTOMERS),
            Program::PredictMany => {
                self.check_predictions(folder, run_id, self.predictions_of_many(), MANY_CUSTOMERS);
            }
            Program::Predict | Program::SamePredictTwice => {
                self.check_predictions(folder, run_id, &self.predictions, FEW_CUSTOMERS);
            }
        }
    }

    fn check_model(&self, folder: &str, run_id: &str) {
        let models = self.place.files(&format!("{folder}/models"));
        let run = format!("engagement/v1/{run_id}");
        assert!(models[&format!("{run}/model.ubj")] == self.model, "another model");
        let metadata = json(&models, &format!("{run}/metadata.json"));
        for field in ["features", "statistics", "golden", "id", "target", "rounds", "model_sha256"] {
            assert_eq!(metadata[field], self.metadata[field], "{field}");
        }
        assert_eq!(json(&models, &format!("{run}/result.json"))["gate"], "passed");
        for pointer in ["engagement/latest.json", "engagement/v1/latest.json"] {
            assert!(models.contains_key(pointer), "{pointer} is missing");
        }
    }

    fn check_predictions(&self, folder: &str, run_id: &str, expected: &Files, rows: usize) {
        let output = self.place.files(&format!("{folder}/output"));
        assert!(parts(&output, run_id) == *expected, "other predictions");
        let manifest = json(&output, &format!("runs/{run_id}/manifest.json"));
        assert_eq!((&manifest["rows_read"], &manifest["rows_predicted"]), (&rows.into(), &rows.into()));
        assert_eq!(json(&output, "latest.json")["run_id"], run_id);
        assert_eq!(json(&output, &format!("runs/{run_id}/result.json"))["rows_predicted"], rows);
    }
}

impl Line {
    /// Over plain HTTP nothing notices other bytes in a part of an object, which has no checksum in S3: only whole objects,
    /// ranges that are whole objects, and what is written are changed here.
    fn plan(self, odd: Kind, random: &mut Random) -> SeededPlan {
        let seed = random.bits();
        match self {
            Self::Rough => SeededPlan::new(seed, &Kind::TRANSPORT, 0.12),
            Self::Bad => SeededPlan::new(seed, &Kind::TRANSPORT, 0.45),
            Self::Dying => {
                let kinds = [Kind::InternalError, Kind::SlowDown, Kind::Reset, Kind::BreakOff];
                SeededPlan::new(seed, &kinds, 0.02).ending_after(random.below(24))
            }
            Self::Corrupting => SeededPlan::new(seed, &[Kind::Corrupt], 0.3),
            // Each of the others takes ten seconds.
            Self::Odd if matches!(odd, Kind::NeverEnd | Kind::Trickle) => SeededPlan::new(seed, &[odd], 0.06),
            Self::Odd => SeededPlan::new(seed, &[odd], 0.3),
        }
    }

    /// Exit codes other than 0: storage that could not be reached.
    fn may_end_with(self) -> &'static [i32] {
        &[5]
    }
}

fn proxy(plan: SeededPlan) -> FaultProxy {
    let server: Arc<S3Server> = S3Server::shared();
    FaultProxy::before(&server, move |request| {
        let fault = plan.next(request)?;
        (!is_unprotected(request, fault)).then_some(fault)
    })
}

/// A part of an object that is read: no checksum covers it.
fn is_unprotected(request: &Request, fault: Fault) -> bool {
    matches!(fault, Fault::Corrupt(_)) && !request.range.is_empty()
}

fn run_train(place: &Place, folder: &str, run_id: &str) -> Invocation {
    let models = place.location(format!("{folder}/models").trim_start_matches('/'));
    place.train().env("MODELS", models).env("ROUNDS", "10").env("MIN_R2", "0.5").env("RUN_ID", run_id)
}

fn run_predict(place: &Place, folder: &str, run_id: &str, input: &str) -> Invocation {
    let call = place.predict().env("INPUT_DATA", place.location(input)).env("RUN_ID", run_id);
    call.env("OUTPUT", place.location(&format!("{folder}/output")))
}

/// The files of a run that Athena would read.
fn parts(output: &Files, run_id: &str) -> Files {
    let of_run = |name: &str| {
        let (kind, rest) = name.split_once('/')?;
        let part = rest.strip_prefix(&format!("run_id={run_id}/"))?;
        ["predictions", "rejected"].contains(&kind).then(|| format!("{kind}/{part}"))
    };
    output.iter().filter_map(|(name, bytes)| Some((of_run(name)?, bytes.clone()))).collect::<BTreeMap<_, _>>()
}

fn draw<Choice: Copy>(random: &mut Random, weighted: &[(Choice, u64)]) -> Choice {
    let mut place = random.below(weighted.iter().map(|(_, weight)| weight).sum());
    for (choice, weight) in weighted {
        match place.checked_sub(*weight) {
            Some(left) => place = left,
            None => return *choice,
        }
    }
    weighted[0].0
}
