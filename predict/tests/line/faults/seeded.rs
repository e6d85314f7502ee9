//! Many seeds, several at a time: a bad line makes a program wait rather than work.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use testkit::faults::Fault;

use super::case::{Bench, Line, Program, Summary};

/// Seeds in `make test`.
const CASES: u64 = 50;
/// Among so many every kind of fault is met.
const MANY_CASES: usize = 500;
const AT_ONCE: usize = 12;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}: '{text}' is no number")))
}

#[test]
fn a_bad_line_never_gives_a_wrong_result() {
    let bench = Bench::new("faults");
    if let Some(seed) = number("FAULT_SEED") {
        println!("{:?}", bench.run(seed, true));
        return;
    }
    let first = number("FAULT_FIRST").unwrap_or(0);
    let end = first + number("FAULT_CASES").unwrap_or(CASES);
    let (next, summaries, failed) = (AtomicU64::new(first), Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    match catch_unwind(AssertUnwindSafe(|| bench.run(seed, false))) {
                        Ok(summary) => summaries.lock().unwrap().push(summary),
                        Err(_) => failed.lock().unwrap().push(seed),
                    }
                }
            });
        }
    });
    let (summaries, mut failed) = (summaries.into_inner().unwrap(), failed.into_inner().unwrap());
    print_statistics(&summaries);
    failed.sort_unstable();
    let replay = "FAULT_SEED=SEED cargo test --release --locked -p predict --test line faults::seeded -- --nocapture";
    assert!(failed.is_empty(), "seeds that failed: {failed:?}. One of them again:\n    {replay}");
    assert_something_happened(&summaries);
}

fn print_statistics(summaries: &[Summary]) {
    let mut counts: BTreeMap<_, (usize, usize, usize)> = BTreeMap::new();
    for summary in summaries {
        let (good, bad, faults) = counts.entry((summary.line, summary.program)).or_default();
        *good += summary.exit_codes.iter().filter(|code| **code == 0).count();
        *bad += summary.exit_codes.iter().filter(|code| **code != 0).count();
        *faults += summary.faults.len();
    }
    println!("{:12} {:18} exit 0  other  faults", "line", "program");
    for ((line, program), (good, bad, faults)) in counts {
        println!("{:12} {:18} {good:6} {bad:6} {faults:7}", format!("{line:?}"), format!("{program:?}"));
    }
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for fault in summaries.iter().flat_map(|summary| &summary.faults) {
        *kinds.entry(kind(fault)).or_default() += 1;
    }
    let kinds: Vec<String> = kinds.into_iter().map(|(kind, times)| format!("{kind} {times}")).collect();
    println!("{}", kinds.join(", "));
}

/// What a fault is called, without where and how much.
fn kind(fault: &Fault) -> String {
    let text = format!("{fault:?}");
    match fault {
        Fault::Refuse(..) | Fault::DoAndRefuse(..) | Fault::List(_) => text,
        _ => text.split('(').next().unwrap_or_default().to_owned(),
    }
}

/// A plan without faults, or runs that all end the same way, would test nothing.
fn assert_something_happened(summaries: &[Summary]) {
    let codes: Vec<i32> = summaries.iter().flat_map(|summary| summary.exit_codes.iter().copied()).collect();
    assert!(codes.contains(&0) && codes.contains(&5), "{codes:?}");
    let despite_faults = summaries.iter().any(|summary| summary.faults.len() > 3 && summary.exit_codes.contains(&0));
    assert!(despite_faults, "no run met faults and ended well");
    assert!(summaries.iter().any(|summary| summary.line == Line::Corrupting && !summary.faults.is_empty()));
    if summaries.len() < MANY_CASES {
        return;
    }
    let odd = || summaries.iter().filter(|summary| summary.line == Line::Odd);
    let met: BTreeSet<String> = odd().flat_map(|summary| &summary.faults).map(kind).collect();
    for expected in [
        "Refuse(200, \"InternalError\")",
        "NeverEnd",
        "Trickle",
        "List(BreaksOff)",
        "List(Astray)",
        "List(Twice)",
        "Resize",
    ] {
        assert!(met.contains(expected), "no run met {expected}: {met:?}");
    }
    let in_parts = odd().any(|summary| summary.program == Program::PredictMany && !summary.faults.is_empty());
    assert!(in_parts, "no run that sends a part in several requests met an error inside of a 200");
}
