//! Runs trials one after the other, keeps their reports, and takes over what an earlier attempt of the run did already.

use std::collections::BTreeMap;
use std::time::Instant;

use error::Result;
use telemetry::{Progress, Unit};
use xgboost::{Params, params::monotone_constraints};

use super::FitContext;
use super::budget::{Budget, Stage};
use super::choice::{Decision, TrialReport};
use super::cost::Costs;
use super::fold_matrices::FoldMatrices;
use super::folds::Sample;
use super::journal::{Entry, Journal};
use super::learning_rate::{Tried, eta_of};
use super::ranking::named;
use super::trial::{End, Limits, Outcome, Trial};
use crate::encodings::EncodingScheme;
use crate::features::Features;
use crate::read::Rows;

/// The trials of a search.
pub(super) struct Trials<'a> {
    pub(super) context: &'a FitContext<'a>,
    pub(super) base: &'a Features,
    pub(super) rows: &'a Rows,
    /// Features, without those that only the search has thought of.
    pub(super) features: usize,
    pub(super) budget: Budget,
    pub(super) costs: Costs,
    /// One for each trial, in the order they ran.
    pub(super) reports: Vec<TrialReport>,
    /// What was decided on the way.
    pub(super) decisions: Vec<Decision>,
    journal: Journal<'a>,
    progress: Progress,
}

impl<'a> Trials<'a> {
    pub(super) fn new(context: &'a FitContext<'a>, base: &'a Features, rows: &'a Rows) -> Self {
        let features = EncodingScheme::native(&base.features, &context.config.spec).features();
        let size = (context.fitted_rows.max(rows.len()), features);
        Self {
            context,
            base,
            rows,
            features,
            budget: Budget::new(context.config.time_budget, context.threads, size),
            costs: Costs::of(base),
            reports: Vec::new(),
            decisions: Vec::new(),
            journal: Journal::new(context.checkpoint),
            progress: context.telemetry.progress("choosing", Unit::Items("rounds"), None),
        }
    }

    /// The same after other trials of the run.
    pub(super) fn after(self, reports: Vec<TrialReport>) -> Self {
        Self { reports, ..self }
    }

    /// Notes down something that was decided.
    pub(super) fn decide(&mut self, what: &'static str, chosen: &str, decided_by: &str) {
        tracing::debug!(what, chosen, decided_by, "decided");
        self.decisions.push(Decision {
            what: what.into(),
            chosen: chosen.to_owned(),
            decided_by: decided_by.to_owned(),
        });
    }

    /// Rounds of every fold of a sample that are worth some work.
    pub(super) fn affordable(&self, work: f64, matrices: &FoldMatrices<'_>, params: &Params) -> f64 {
        work / self.costs.round_of_folds(matrices.sample, &matrices.scheme, params).max(1.0)
    }

    /// A sample in an encoding, with the bins of some parameters.
    pub(super) fn matrices<'s>(&self, sample: &'s Sample, scheme: EncodingScheme, bins: &Params) -> FoldMatrices<'s> {
        FoldMatrices::new(self.context, self.base, sample, scheme, bins)
    }

    /// Runs a trial, unless an earlier attempt wrote down what it came to.
    ///
    /// # Errors
    /// [`error::Error::Stopped`] when the run was asked to stop; what XGBoost refuses; storage errors as they are.
    pub(super) fn run(
        &mut self,
        stage: Stage,
        matrices: &mut FoldMatrices<'_>,
        params: &Params,
        limits: &Limits,
    ) -> Result<Outcome> {
        self.context.shutdown.check(self.context.run_id)?;
        let (sample, scheme) = (matrices.sample, &matrices.scheme);
        let mut constrained = params.clone();
        if matrices.signs.iter().any(|sign| *sign != 0) {
            constrained.set("monotone_constraints", &monotone_constraints(&matrices.signs))?;
        }
        let place = self.reports.len();
        let asked = (place, stage.name(), scheme, sample.len(), sample.folds().len(), &constrained, limits);
        let belongs_to = self.context.checkpoint.binding(&asked)?;
        let entry = match self.journal.earlier(place, &belongs_to)? {
            Some(entry) => {
                self.budget.spend(entry.clock);
                entry
            }
            None => {
                let entry = self.try_out(stage, matrices, &constrained, limits)?;
                self.journal.write(place, &belongs_to, &entry)?;
                entry
            }
        };
        // Whether an earlier attempt made them or this one: what is counted is the same.
        if matrices.are_new() {
            self.budget.count(Costs::matrices_of_folds(matrices.sample, &matrices.scheme));
        }
        matrices.clear_after(params);
        let of_round = self.costs.round_of_folds(matrices.sample, &matrices.scheme, params);
        self.budget.count(of_round * entry.outcome.curve.len() as f64);
        self.report(stage, matrices, params, &entry);
        Ok(entry.outcome)
    }

    fn try_out(
        &self,
        stage: Stage,
        matrices: &mut FoldMatrices<'_>,
        params: &Params,
        limits: &Limits,
    ) -> Result<Entry> {
        let started = Instant::now();
        let deadline = self.budget.deadline(stage);
        let folds = matrices.folds(self.context, self.base, self.rows)?;
        let outcome = Trial { context: self.context, params, limits, deadline, progress: &self.progress }.run(folds)?;
        Ok(Entry { outcome, seconds: started.elapsed().as_secs_f64(), clock: self.budget.spent() })
    }

    fn report(&mut self, stage: Stage, matrices: &FoldMatrices<'_>, params: &Params, entry: &Entry) {
        let outcome = &entry.outcome;
        if outcome.end == End::Deadline {
            self.budget.warn_of_deadline(stage);
        }
        let report = TrialReport {
            stage: stage.name().into(),
            encoding: matrices.scheme.name.clone(),
            params: named(params),
            rows: matrices.sample.len(),
            folds: matrices.sample.folds().len(),
            rounds: outcome.rounds,
            expected: outcome.expected_rounds(),
            value: outcome.value.is_finite().then_some(outcome.value),
            metric: outcome.metric.clone(),
            end: outcome.end,
            seconds: entry.seconds,
        };
        let (encoding, value, rounds) = (&report.encoding, report.value, report.rounds);
        tracing::info!(stage = stage.name(), %encoding, value, rounds, "trial");
        self.reports.push(report);
    }

    /// Rounds that trials with these parameters took, or would have taken: the most of those on the sample and on all rows. Of candidates
    /// that did well, some were not tried again with the bins that help the best of them.
    pub(super) fn tried(&self, params: &Params) -> Tried {
        let named_without_bins = |mut named: BTreeMap<String, String>| {
            named.remove("max_bin");
            named
        };
        let named = named_without_bins(named(params));
        let same = self.reports.iter().filter(|trial| named_without_bins(trial.params.clone()) == named);
        Tried { rounds: same.map(|trial| trial.expected).max().unwrap_or(1).max(1), eta: eta_of(params) }
    }

    /// The weights of some rows.
    pub(super) fn weights(&self, rows: &[usize]) -> Vec<f64> {
        let weight = |row: &usize| self.rows.weights.as_ref().map_or(1.0, |weights| f64::from(weights[*row]));
        rows.iter().map(weight).collect()
    }

    /// Ends what is shown of the search.
    pub(super) fn finish(&self) {
        self.progress.finish();
    }
}
