//! What is tried with the best candidate alone, once encoding and parameters are compared: derived features, fewer features, finer bins.

use error::Result;
use xgboost::Params;

use super::budget::Stage;
use super::fold_matrices::FoldMatrices;
use super::histograms;
use super::ranking::Ranking;
use super::search::{Search, TrialPlan, planned_bins};
use crate::encodings::{Encoding, EncodingScheme};

/// Of fewer features, trees learn from all.
const FEWEST_TO_CHOOSE_AMONG: usize = 24;
/// Finer bins are worth what every later round costs more if the metric of the validation rows gets better by this share; by less is chance.
const LEAST_GAIN_OF_BINS: f64 = 0.003;

impl Search<'_> {
    /// Tries one after the other with the best candidate, whose matrices these are; each has to win its trial of so many rounds.
    pub(super) fn refine(&mut self, rounds: f64, mut matrices: FoldMatrices<'_>, ranking: &mut Ranking) -> Result<()> {
        let plan = |stage| TrialPlan { stage, rounds, work: None };
        if let Some(with_derived) = self.derived(plan(Stage::Parameters), &matrices, ranking)? {
            matrices = with_derived;
        }
        while let Some(of_foremost) = self.foremost(plan(Stage::Parameters), &matrices, ranking)? {
            matrices = of_foremost;
        }
        if self.trials.context.config.user_params.get("max_bin").is_none() {
            self.finer_bins(plan(Stage::Bins), &matrices, ranking)?;
        }
        Ok(())
    }

    /// The best candidate with the derived features besides: its matrices where they help.
    fn derived<'s>(
        &mut self,
        plan: TrialPlan,
        without: &FoldMatrices<'s>,
        ranking: &mut Ranking,
    ) -> Result<Option<FoldMatrices<'s>>> {
        let best = ranking.candidates.first().filter(|best| best.scheme == without.scheme);
        let Some((params, scheme)) = best.and_then(|best| Some((best.params.clone(), best.scheme.with_derived()?)))
        else {
            return Ok(None);
        };
        let mut matrices = self.trials.matrices(without.sample, scheme, &params);
        let helps = self.compete(plan, &mut matrices, &params, ranking)?;
        let features = without.scheme.encodings.iter().zip(&self.trials.base.features);
        let derived = features.filter(|(encoding, _)| **encoding == Some(Encoding::LEFT_OUT));
        let names: Vec<&str> = derived.map(|(_, feature)| feature.name.as_str()).collect();
        self.decide_by_trials("derived features", &if helps { names.join(", ") } else { "none".to_owned() }, ranking);
        Ok(helps.then_some(matrices))
    }

    /// The best candidate with half of its features, those that its splits gain most by: its matrices where that helps. Trees of a sample
    /// split by what tells nothing, too, where there are many such columns; and each round costs half as much.
    fn foremost<'s>(
        &mut self,
        plan: TrialPlan,
        all: &FoldMatrices<'s>,
        ranking: &mut Ranking,
    ) -> Result<Option<FoldMatrices<'s>>> {
        let Some(best) = ranking.candidates.first().filter(|best| best.scheme == all.scheme) else { return Ok(None) };
        let features = all.scheme.features();
        if !self.chooses_features(&all.scheme) || best.outcome.gains.len() != all.scheme.width() {
            return Ok(None);
        }
        let half = features.div_ceil(2);
        let (params, scheme) = (best.params.clone(), all.scheme.foremost(&best.outcome.gains, half));
        let mut matrices = self.trials.matrices(all.sample, scheme, &params);
        let helps = self.compete(plan, &mut matrices, &params, ranking)?;
        let chosen = if helps { half } else { features };
        self.decide_by_trials("features that trees split by", &format!("{chosen} of {features}"), ranking);
        Ok(helps.then_some(matrices))
    }

    /// Whether trees may learn from a part of the features: where there are many, and all rows are in memory.
    pub(super) fn chooses_features(&self, scheme: &EncodingScheme) -> bool {
        let context = self.trials.context;
        let are_all_rows_here = context.fitted_rows <= self.trials.rows.len() && context.parts == 0;
        self.is_open && scheme.features() >= FEWEST_TO_CHOOSE_AMONG && are_all_rows_here
    }

    /// The numbers of bins beyond XGBoost's own that may be tried: each for which there are values, and all of them room in the histograms.
    fn finer_bins_of(&self, scheme: &EncodingScheme) -> Vec<u32> {
        let bins = |most: u32| self.trials.costs.bins(scheme, most);
        let most = self.most_bins(scheme);
        let mut before = bins(histograms::DEFAULT_BINS);
        let is_tried = |finer: &u32| {
            let finer = bins(*finer);
            let is_finer = finer > before;
            before = finer;
            is_finer && finer <= most as f64
        };
        histograms::MORE_BINS.into_iter().filter(is_tried).collect()
    }

    /// The bins of all columns that the memory plan has room for.
    fn most_bins(&self, scheme: &EncodingScheme) -> u64 {
        if self.trials.context.has_room { histograms::MOST_BINS } else { planned_bins(scheme) }
    }

    /// XGBoost's own number of bins in place of finer ones that the search has chosen for fewer columns.
    pub(super) fn bound_bins(&self, scheme: &EncodingScheme, params: &mut Params) -> Result<()> {
        let is_chosen =
            params.get("max_bin").is_some() && self.trials.context.config.user_params.get("max_bin").is_none();
        if is_chosen && self.trials.costs.bins(scheme, params.max_bin()) > self.most_bins(scheme) as f64 {
            params.set("max_bin", &histograms::DEFAULT_BINS.to_string())?;
        }
        Ok(())
    }

    /// The rounds that may be chosen on all rows, at the least.
    fn affordable_rounds(&self, scheme: &EncodingScheme, params: &Params) -> f64 {
        let learning = self.trials.rows.len() * 4 / 5;
        let folds = f64::from(self.least_folds(learning * scheme.width()));
        self.trials.budget.work(Stage::Rounds) / (folds * self.trials.costs.round(learning, scheme, params))
    }

    /// More bins, with the best candidate alone, as long as that helps: what helps the best is for all of its encoding. Trials of finer bins cost
    /// many times those of others, so parameters are compared without.
    fn finer_bins(&mut self, plan: TrialPlan, coarse: &FoldMatrices<'_>, ranking: &mut Ranking) -> Result<()> {
        let (sample, scheme) = (coarse.sample, &coarse.scheme);
        for bins in self.finer_bins_of(scheme) {
            let Some(first) = ranking.candidates.first() else { break };
            let (best, value) = (first.params.clone(), first.outcome.value);
            let needed = f64::from(first.outcome.expected_rounds());
            let mut finer = best.clone();
            finer.set("max_bin", &bins.to_string())?;
            let affordable = self.affordable_rounds(scheme, &finer);
            if affordable < needed {
                let by = format!("of {bins} bins {affordable:.0} rounds are affordable, and it takes {needed:.0}");
                self.trials.decide("bins", &best.max_bin().to_string(), &by);
                break;
            }
            let mut into = self.trials.matrices(sample, scheme.clone(), &finer);
            let is_first = self.compete(plan, &mut into, &finer, ranking)?;
            let gain = ranking.candidates.first().map_or(0.0, |first| (value - first.outcome.value) / value.abs());
            let helps = is_first && gain >= LEAST_GAIN_OF_BINS;
            let chosen = if helps { &finer } else { &best }.max_bin().to_string();
            if is_first && !helps {
                let by = format!("{bins} bins are better by {:.2} %, which is not worth their cost", 100.0 * gain);
                self.trials.decide("bins", &chosen, &by);
            } else {
                self.decide_by_trials("bins", &chosen, ranking);
            }
            // The same with other bins is no other candidate.
            let loser = if helps { &best } else { &finer };
            ranking.candidates.retain(|one| one.params != *loser || one.scheme != *scheme);
            if !helps {
                break;
            }
            // Encodings of more columns may have no room for as many.
            for one in ranking.candidates.iter_mut().filter(|one| one.scheme == *scheme) {
                one.params.set("max_bin", &bins.to_string())?;
            }
        }
        Ok(())
    }
}
