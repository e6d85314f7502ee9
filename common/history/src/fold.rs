//! The newest runs stay as they are; older ones become sums of their months.

use std::collections::BTreeSet;

use crate::record::{MOST_RUNS, Month, Run};

/// Sorts runs, newest first, and adds those beyond the newest to `months`.
pub(crate) fn fold(mut runs: Vec<Run>, mut months: Vec<Month>) -> (Vec<Run>, Vec<Month>) {
    runs.sort_by(|one, other| (&other.at, &other.run_id, &other.path).cmp(&(&one.at, &one.run_id, &one.path)));
    for run in runs.split_off(runs.len().min(MOST_RUNS)) {
        let name = run.at.get(..7).unwrap_or_default();
        let place = months.iter().position(|month| month.month == name);
        let place = place.unwrap_or_else(|| {
            months.push(Month { month: name.to_owned(), ..Month::default() });
            months.len() - 1
        });
        if let Some(month) = months.get_mut(place) {
            month.add(&run);
        }
    }
    months.sort_by(|one, other| other.month.cmp(&one.month));
    (runs, months)
}

/// The months whose sums cannot be made again from the runs that are there, because files of some of theirs are gone.
pub(crate) fn lasting(months: &[Month], there: &BTreeSet<&str>) -> Vec<Month> {
    let is_whole = |month: &&Month| month.runs.iter().all(|path| there.contains(path.as_str()));
    months.iter().filter(|month| !is_whole(month)).cloned().collect()
}

impl Month {
    fn add(&mut self, run: &Run) {
        self.runs.push(run.path.clone());
        self.succeeded += u64::from(run.exit_code == 0);
        self.rows += run.rows.unwrap_or(0);
        self.other_rows += run.other_rows.unwrap_or(0);
        self.seconds += run.seconds.unwrap_or(0.0);
        self.dollars += run.dollars.unwrap_or(0.0);
        self.r2_when_trained.add(run.r2_when_trained.map(|r2| r2.value));
        self.realized.add(run.evaluated.as_ref().and_then(|evaluated| evaluated.r2).map(|r2| r2.value));
        self.max_drift.add(run.max_drift);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(week: usize) -> Run {
        let day = 20_000 + 7 * week as i64;
        let at = chrono::DateTime::from_timestamp(day * 86_400, 0).unwrap().format("%Y-%m-%dT%H:%M:%SZ").to_string();
        Run { path: format!("runs/r{week}"), run_id: format!("r{week}"), at, rows: Some(10), ..Run::default() }
    }

    #[test]
    fn no_run_is_lost_or_counted_twice() {
        let (runs, months) = fold((0..300).map(run).collect(), Vec::new());
        assert_eq!(runs.len(), MOST_RUNS);
        assert_eq!(runs.first().unwrap().run_id, "r299");
        assert_eq!(months.iter().map(|month| month.runs.len()).sum::<usize>(), 300 - MOST_RUNS);
        assert_eq!(months.iter().map(|month| month.rows).sum::<u64>(), 10 * (300 - MOST_RUNS as u64));
        assert!(months.is_sorted_by(|one, other| one.month > other.month));
        let mut more = runs;
        more.push(run(300));
        let (runs, later) = fold(more, months);
        assert_eq!(
            (runs.len(), later.iter().map(|month| month.runs.len()).sum::<usize>()),
            (MOST_RUNS, 301 - MOST_RUNS)
        );
    }

    #[test]
    fn sums_of_months_whose_runs_are_gone_last() {
        let (_, months) = fold((0..120).map(run).collect(), Vec::new());
        let all: BTreeSet<&str> = months.iter().flat_map(|month| &month.runs).map(String::as_str).collect();
        assert!(lasting(&months, &all).is_empty());
        let without: BTreeSet<&str> = all.iter().copied().filter(|path| *path != "runs/r0").collect();
        let last = lasting(&months, &without);
        assert_eq!(last.len(), 1);
        assert!(last[0].runs.contains(&"runs/r0".to_owned()));
    }
}
