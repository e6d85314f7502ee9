//! Members of a collective that are threads of this process: the communicator is a thread's own.

use std::time::{Duration, Instant};

use super::collective::{Communicator, Membership, Tracker};
use super::tests::{Table, options, params, rmse, trained};
use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// Does `work` in so many members at once and gives what each came to.
fn members<T: Send>(count: u32, work: impl Fn(Communicator) -> T + Sync) -> Vec<T> {
    let tracker = Tracker::start("127.0.0.1", 0, count, PATIENCE).unwrap();
    let port = tracker.port();
    let (work, host) = (&work, "127.0.0.1".to_owned());
    let done = std::thread::scope(|scope| {
        // Ranks do not depend on who comes first.
        let threads: Vec<_> = (0..count)
            .rev()
            .map(|rank| {
                let membership = Membership { host: host.clone(), port, rank, members: count, patience: PATIENCE };
                scope.spawn(move || work(Communicator::join(&membership, || ()).unwrap()))
            })
            .collect();
        threads.into_iter().rev().map(|thread| thread.join().unwrap()).collect()
    });
    tracker.end(PATIENCE).unwrap();
    done
}

#[test]
fn members_add_up_and_hear_of_each_other() {
    for count in [1, 2, 5] {
        let heard = members(count, |one| {
            assert_eq!(one.members(), count);
            let mut largest = [i64::from(one.rank()), -i64::from(one.rank())];
            one.max(&mut largest).unwrap();
            let mut sums = [1.0, f64::from(one.rank())];
            one.sum(&mut sums).unwrap();
            let mut text = vec![u8::try_from(one.rank()).unwrap(); 3];
            one.broadcast(&mut text, count - 1).unwrap();
            let rank = one.rank();
            one.leave().unwrap();
            (rank, largest, sums, text)
        });
        let last = count - 1;
        let sums = [f64::from(count), f64::from(count * last / 2)];
        for (rank, heard) in (0..).zip(heard) {
            let text = vec![u8::try_from(last).unwrap(); 3];
            assert_eq!(heard, (rank, [i64::from(last), 0], sums, text));
        }
    }
}

#[test]
fn members_learn_one_model_from_what_each_has() {
    let (all, valid) = (Table::new(3000, 1), Table::new(600, 2));
    let features = Table::features(true);
    let given = params(&[("max_depth", "4"), ("subsample", "0.8"), ("colsample_bynode", "0.7")]);
    let learn = || {
        members(3, |one| {
            // Of very different sizes.
            let bounds = [0, 100, 1400, 3000];
            let rank = one.rank() as usize;
            let own = all.rows(bounds[rank], bounds[rank + 1]);
            let matrix = DMatrix::quantile(&features, &own.batch(), &options(1)).unwrap();
            let model = trained(&given, &matrix, 30).save().unwrap();
            one.leave().unwrap();
            model
        })
    };
    let models = learn();
    assert!(models.iter().all(|model| *model == models[0]), "members come to different models");
    assert!(learn() == models, "another run came to another model");
    let matrix = DMatrix::quantile(&features, &all.batch(), &options(1)).unwrap();
    let alone = trained(&given, &matrix, 30);
    let together = super::tests::load(&models[0]);
    let error = |booster: &Booster| rmse(&booster.predict_columns(&valid.columns(), 0..0).unwrap(), &valid);
    assert!(error(&together) < 1.1 * error(&alone), "{} {}", error(&together), error(&alone));
    assert!(
        alone.predict_columns(&valid.columns(), 0..0).unwrap()
            != together.predict_columns(&valid.columns(), 0..0).unwrap()
    );
}

#[test]
fn a_member_that_does_not_come_ends_the_wait_of_the_others() {
    let tracker = Tracker::start("127.0.0.1", 0, 2, PATIENCE).unwrap();
    let (port, patience) = (tracker.port(), Duration::from_secs(2));
    let membership = Membership { host: "127.0.0.1".to_owned(), port, rank: 0, members: 2, patience };
    let started = Instant::now();
    let error = Communicator::join(&membership, || ()).unwrap_err();
    assert!(matches!(error, XgboostError::Collective { .. }), "{error}");
    assert!(started.elapsed() >= patience && started.elapsed() < 3 * patience, "{:?}", started.elapsed());
    let nobody = Membership { port: 1, ..membership };
    let error = ::error::Error::from(Communicator::join(&nobody, || ()).unwrap_err());
    assert_eq!((error.exit_code(), error.to_string().contains("Connection refused")), (5, true), "{error}");
}

#[test]
fn a_port_that_is_taken_is_an_error() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let error = Tracker::start("127.0.0.1", port, 2, PATIENCE).unwrap_err().to_string();
    assert!(error.contains("Address already in use"), "{error}");
    let error = Tracker::start("203.0.113.1", 0, 2, PATIENCE).unwrap_err().to_string();
    assert!(error.contains("Cannot assign requested address"), "{error}");
}

/// What the test below does in a process of its own.
const ENDS: &str = "ENGAGEMENT_COLLECTIVE_TEST_ENDS";

#[test]
fn where_xgboost_ends_the_process_last_words_say_how() {
    use std::os::unix::process::ExitStatusExt;
    let name = "collective_tests::where_xgboost_ends_the_process_last_words_say_how";
    match std::env::var(ENDS).as_deref() {
        Err(_) => {}
        Ok(moment) => {
            let tracker = Tracker::start("127.0.0.1", 0, 1, PATIENCE).unwrap();
            let port = tracker.port();
            let membership = Membership { host: "127.0.0.1".to_owned(), port, rank: 0, members: 1, patience: PATIENCE };
            let one = Communicator::join(&membership, || std::process::abort()).unwrap();
            if moment == "after" {
                one.leave().unwrap();
            }
            // As XGBoost does on a thread of its own.
            std::thread::spawn(|| std::process::exit(255)).join().unwrap();
        }
    }
    let ended = |moment: &str| {
        let mut program = std::process::Command::new(std::env::current_exe().unwrap());
        program.args(["--exact", name]).env(ENDS, moment).output().unwrap().status
    };
    assert_eq!(ended("while joined").signal(), Some(6));
    assert_eq!(ended("after").code(), Some(255));
}
