//! Every interleaving of a few attempts, crashes and faults of the store, through the code that ships.
//!
//! An attempt is the code of this crate over a store that asks the explorer for every answer. Between two answers it is a
//! deterministic program, so what it will do next depends on the answers alone: each sequence of answers is run once and
//! remembered (`attempts`), and a state is the content of the store and the place of each attempt among these sequences. The
//! explorer walks through all states breadth first, each once, whatever order of steps led to it (`explorer`), and checks what
//! must hold in every state and over every step (`invariants`). A violation is printed as the shortest list of steps that leads to it.
//!
//! `stateright` wants the protocol written as an actor of its own, `shuttle` and `loom` run threads from the start for every
//! schedule: neither remembers states, without which these scenarios take hours.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod attempts;
mod explorer;
mod invariants;
mod scenarios;
mod store;
mod world;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use explorer::explore;

/// More states are not for every run of the tests.
const MOST_STATES: usize = 16_000_000;

#[test]
fn no_order_of_steps_crashes_and_faults_breaks_a_run() {
    let (next, total) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let explore_some = || {
        // Each thread has scenarios of its own: attempts are not sent to another one.
        while let Some(scenario) = scenarios::all().into_iter().nth(next.fetch_add(1, Ordering::Relaxed)) {
            let (name, started) = (scenario.name, Instant::now());
            let explored = explore(scenario);
            total.fetch_add(explored.states, Ordering::Relaxed);
            eprintln!(
                "{name}: {} states, {} steps, {} contents of the store, {} sequences of answers, {:.1} s",
                explored.states,
                explored.steps,
                explored.worlds,
                explored.sequences,
                started.elapsed().as_secs_f64()
            );
        }
    };
    thread::scope(|scope| {
        // Memory is for no more than a few at once.
        for _ in 0..thread::available_parallelism().map_or(1, |threads| threads.get().min(4)) {
            scope.spawn(explore_some);
        }
    });
    // A scenario that ends after a few steps explores nothing.
    let total = total.into_inner();
    assert!(total > 100_000, "{total} states");
    // Counted, since seconds depend on what else the machine does: so many take about half a minute on two idle cores.
    assert!(total < MOST_STATES || scenarios::all_are_asked_for(), "{total} states");
}
