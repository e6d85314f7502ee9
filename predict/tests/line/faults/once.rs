//! Bad moments that a plan of faults does not have: input that is replaced while it is read, a clock that jumps, a disk that
//! is full, a server that stands still.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use testkit::faults::{Fault, FaultProxy};
use testkit::program::Invocation;
use testkit::s3::S3Server;
use testkit::tables::{customers, parquet_bytes, without};

use super::super::places::{Files, Place, assert_models_are_whole, assert_predictions_are_whole, json};
use super::super::{ROWS, Workshop};

/// Tests whose machine lacks something say so where people see it: Cargo keeps what tests print.
fn skipped(what: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {what}");
}

fn with_data(bucket: &str) -> Arc<Place> {
    let place = Place::bucket(bucket);
    place.write("train/part.parquet", parquet_bytes(&customers(ROWS, 1, 7)));
    for file in 0..3 {
        place.write(&format!("customers/part-{file}.parquet"), scored_later(file));
    }
    Arc::new(place)
}

/// Rows of a file that [`scored_later`] gives.
const LATER: usize = 8_000;

/// A file that is too large to come with its footer in one request.
fn scored_later(file: i64) -> Vec<u8> {
    parquet_bytes(&without(&customers(LATER, 100_000 + 10_000 * file, 8), "score"))
}

/// A proxy that calls `act` just before the `moment`-th request (from 0) whose path ends with `object` and that reads it.
fn acting(object: &'static str, moment: usize, act: impl Fn() + Send + Sync + 'static) -> FaultProxy {
    let seen = AtomicUsize::new(0);
    FaultProxy::before(&S3Server::shared(), move |request| {
        let is_it = request.method == "GET" && request.path.ends_with(object);
        if is_it && seen.fetch_add(1, Ordering::Relaxed) == moment {
            act();
        }
        None
    })
}

/// Replaced before its footer, its rows or (were there more requests) anything later is read: an error or, before anything
/// of it was read, the new content; never a mixture.
#[test]
fn input_that_is_replaced_while_it_is_read_is_never_mixed() {
    let place = with_data("replaced");
    place.train().env("RUN_ID", "model").run().succeeded();
    let mut refused = 0;
    for moment in 0..4 {
        place.write("customers/part-1.parquet", scored_later(1));
        let replace = Arc::clone(&place);
        let proxy = acting("/customers/part-1.parquet", moment, move || {
            replace.write("customers/part-1.parquet", scored_later(7));
        });
        let run_id = format!("at-{moment}");
        let call = || place.predict().env("RUN_ID", &run_id);
        let ended = call().env("AWS_ENDPOINT_URL_S3", proxy.endpoint()).run();
        let output = place.files("output");
        assert_predictions_are_whole(&output);
        if ended.status.code() == Some(0) {
            assert_eq!(ended.succeeded()["rows_predicted"], 3 * LATER as u64);
            continue;
        }
        refused += 1;
        ended.failed(5, &["s3://replaced/customers/part-1.parquet", "replaced"]);
        assert!(!output.contains_key(&format!("runs/{run_id}/manifest.json")), "{:?}", output.keys());
        let began = output.contains_key(&format!("runs/{run_id}/plan.json"));
        let again = call().run();
        if began {
            again.failed(4, &["customers"]);
        } else {
            again.succeeded();
        }
    }
    assert!(refused >= 2, "replaced before its footer and before its rows: {refused}");

    place.write("train/part.parquet", parquet_bytes(&customers(LATER, 1, 7)));
    let replace = Arc::clone(&place);
    let proxy = acting("/train/part.parquet", 1, move || {
        replace.write("train/part.parquet", parquet_bytes(&customers(LATER, 1, 9)));
    });
    let ended = place.train().env("RUN_ID", "at-1").env("AWS_ENDPOINT_URL_S3", proxy.endpoint()).run();
    ended.failed(5, &["s3://replaced/train/part.parquet", "replaced"]);
    assert_eq!(json(&place.files("models"), "engagement/latest.json")["run_id"], "model");
}

const FAKETIME: [&str; 2] =
    ["/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1", "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1"];

/// The call, under a clock that a file sets.
fn under_clock(call: Invocation, library: &str, clock: &Path) -> Invocation {
    let call = call.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", clock.as_os_str());
    // As when somebody sets a machine's clock: time spans are still measured right.
    call.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
}

/// A clock that is set by years amid a run: results are the same, and durations are not taken from it.
#[test]
fn a_clock_that_jumps_does_no_harm() {
    let Some(library) = FAKETIME.into_iter().find(|path| Path::new(path).exists()) else {
        return skipped("no libfaketime: apt-get install faketime");
    };
    let place = with_data("clock");
    place.train().env("RUN_ID", "usual").run().succeeded();
    place.predict().env("RUN_ID", "usual").run().succeeded();
    let usual = (place.files("models"), place.files("output"));
    for (number, jump) in ["+400d", "-400d", "+1h", "-10"].into_iter().enumerate() {
        let clock = place.workshop.path("clock");
        std::fs::write(&clock, "+0").unwrap();
        let run_id = format!("jump-{number}");
        let jumping = |object: &'static str| {
            let clock = clock.clone();
            acting(object, 1, move || std::fs::write(&clock, jump).unwrap())
        };
        let proxy = jumping("/train/part.parquet");
        let train = place.train().env("RUN_ID", &run_id).env("AWS_ENDPOINT_URL_S3", proxy.endpoint());
        let ended = under_clock(train, library, &clock).run();
        let trained = ended.succeeded();
        let seconds = trained["training_seconds"].as_f64().unwrap();
        assert!((0.0..60.0).contains(&seconds), "{seconds} s after {jump}");
        let models = place.files("models");
        assert_models_are_whole(&models);
        let model = |files: &Files, run_id: &str| files[&format!("engagement/v1/{run_id}/model.ubj")].clone();
        assert!(model(&models, &run_id) == model(&usual.0, "usual"), "another model after {jump}");

        std::fs::write(&clock, "+0").unwrap();
        let proxy = jumping("/customers/part-1.parquet");
        let predict = place.predict().env("RUN_ID", &run_id).env("AWS_ENDPOINT_URL_S3", proxy.endpoint());
        let predicted = under_clock(predict, library, &clock).run().succeeded();
        assert!((0.0..60.0).contains(&predicted["seconds"].as_f64().unwrap()), "{predicted} after {jump}");
        let output = place.files("output");
        assert_predictions_are_whole(&output);
        assert_eq!(json(&output, "latest.json")["run_id"], run_id, "after {jump}");
        let part =
            |files: &Files, run_id: &str| files[&format!("predictions/run_id={run_id}/part-00000.parquet")].clone();
        assert!(part(&output, &run_id) == part(&usual.1, "usual"), "other predictions after {jump}");
    }
}

/// A file system of its own in a folder of a workshop, of a size that is set; unmounted at the end.
struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    /// None where this user may not mount.
    fn new(folder: &Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(folder).unwrap();
        let options = format!("size={size}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder).output().ok()?;
        mounted.status.success().then(|| Self { folder: folder.to_owned() })
    }

    fn grow(&self, size: &str) {
        let options = format!("remount,size={size}");
        let grown = Command::new("mount").args(["-o", &options]).arg(&self.folder).status().unwrap();
        assert!(grown.success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
    }
}

/// Disks on which less and less fits: exit 8, nothing published, and the same run id ends well once there is room.
#[test]
fn a_full_disk_is_said_and_leaves_nothing_half_written() {
    let workshop = Workshop::with_model();
    let customers = without(&customers(60_000, 1, 8), "score");
    testkit::tables::write_parquet(&customers, &workshop.path("many/part.parquet"));
    let scored =
        |run_id: &str, output: &str| workshop.predict_on("many").args(["--run-id", run_id, "--output", output]);
    scored("usual", "usual").run().succeeded();
    let part = |output: &str, run_id: &str| {
        std::fs::read(workshop.path(&format!("{output}/predictions/run_id={run_id}/part-00000.parquet"))).unwrap()
    };
    let mut full = 0;
    for (number, size) in ["4k", "8k", "16k", "64k", "256k", "600k", "900k", "1m"].into_iter().enumerate() {
        let output = format!("disk-{number}");
        let Some(disk) = SmallDisk::new(&workshop.path(&output), size) else {
            return skipped("a full disk, which only root can make here (mount -t tmpfs)");
        };
        let ended = scored("run", &output).run();
        if ended.status.code() != Some(0) {
            full += 1;
            ended.failed(8, &[&output]);
            let files = workshop.files(&output);
            let published = |file: &&String| file.ends_with("latest.json") || file.ends_with("manifest.json");
            assert_eq!(files.iter().find(published), None, "{size}: {files:?}");
            disk.grow("20m");
            scored("run", &output).run().succeeded();
        }
        assert!(part(&output, "run") == part("usual", "usual"), "{size}: other predictions");

        let models = format!("models-{number}");
        let disk = SmallDisk::new(&workshop.path(&models), size).unwrap();
        let train = || workshop.train().args(["--run-id", "run", "--models", &models]);
        let ended = train().run();
        if ended.status.code() != Some(0) {
            full += 1;
            ended.failed(8, &[&models]);
            let files = workshop.files(&models);
            assert!(!files.iter().any(|file| file.ends_with("latest.json")), "{size}: {files:?}");
            disk.grow("20m");
            train().run().succeeded();
        }
        let model = std::fs::read(workshop.path(&format!("{models}/engagement/v1/run/model.ubj"))).unwrap();
        assert!(model == std::fs::read(workshop.path(&format!("{}/model.ubj", workshop.model_folder()))).unwrap());
    }
    assert!(full >= 6, "{full} of 16 disks were too small");
}

/// Longer than the client waits for a body or an answer. Takes half a minute: part of `make faults`.
#[test]
#[ignore = "takes half a minute"]
fn a_server_that_stands_still_is_asked_again() {
    let place = with_data("still");
    place.train().env("RUN_ID", "usual").run().succeeded();
    let usual = place.files("models")["engagement/v1/usual/model.ubj"].clone();
    let once = AtomicUsize::new(0);
    // A table so small comes with its footer, in one request.
    let proxy = FaultProxy::before(&S3Server::shared(), move |request| {
        let is_it = request.method == "GET" && request.path.ends_with("/train/part.parquet");
        (is_it && once.fetch_add(1, Ordering::Relaxed) == 0).then_some(Fault::Stall(Duration::from_secs(60)))
    });
    let ended = place.train().env("RUN_ID", "still").env("AWS_ENDPOINT_URL_S3", proxy.endpoint()).run();
    ended.succeeded();
    assert!(proxy.story().contains("Stall"), "nothing stood still");
    assert!(ended.took > Duration::from_secs(5) && ended.took < Duration::from_secs(60), "{:?}", ended.took);
    assert!(place.files("models")["engagement/v1/still/model.ubj"] == usual);
}
