//! Boosting, round after round: from where an earlier attempt stopped, and so that another one can go on from here.

use error::{Error, Result};
use scoring::CheckedSnapshot;
use telemetry::Progress;
use xgboost::{Booster, DMatrix, Params};

use super::{FitContext, Member, booster_params};
use crate::checkpoint::Snapshots;
use crate::shards::peers::Peers;

/// A booster after its rounds, and the round that it was taken up at if an earlier attempt had begun it.
#[derive(Debug)]
pub(super) struct Boosted {
    pub(super) booster: Booster,
    pub(super) resumed_from: Option<u32>,
}

/// A member that is to be fitted.
#[derive(Debug, Clone, Copy)]
pub(super) struct MemberFit<'a> {
    /// Its place among the members.
    pub(super) index: usize,
    pub(super) member: &'a Member,
    /// Its own parameters with what depends on the columns, as XGBoost is given them.
    pub(super) params: &'a Params,
}

/// Trains the rounds of a member. Of several tasks the first one keeps the snapshots, and tells the others where to go on.
///
/// # Errors
/// [`error::Error::Stopped`] when the run was asked to stop; what XGBoost refuses.
pub(super) fn boost(
    context: &FitContext<'_>,
    fit: &MemberFit<'_>,
    training: &DMatrix,
    peers: Option<&Peers<'_>>,
    progress: &Progress,
) -> Result<Boosted> {
    let MemberFit { index, member, params } = *fit;
    let rounds = member.rounds;
    let names: Vec<&str> = training.features().iter().map(|feature| feature.name.as_str()).collect();
    let belongs_to = context.checkpoint.binding(&(&member.scheme.encodings, names, params, member.seed, rounds))?;
    let name = format!("boosting-{index}");
    let keeps = params.resumes_exactly() && peers.is_none_or(Peers::is_first);
    let mut snapshots = Snapshots::new(context.checkpoint, &name, belongs_to, keeps);
    let earlier = match peers {
        None => snapshots.earlier(rounds)?,
        Some(peers) => told_earlier(peers, || snapshots.earlier(rounds))?,
    };
    let resumed_from = earlier.as_ref().map(|(_, done)| *done);
    let (mut booster, done) = match earlier {
        Some(earlier) => earlier,
        None => (Booster::new(&booster_params(context, params, context.threads, member.seed), &[training])?, 0),
    };
    if let Some(round) = resumed_from {
        tracing::info!("going on after round {round} of {rounds}");
        progress.advance(u64::from(round));
    }
    for round in done..rounds {
        if context.shutdown.is_requested() {
            if round > 0 {
                snapshots.stop(&mut booster)?;
            }
            context.shutdown.check(context.run_id)?;
        }
        booster.update(round, training)?;
        snapshots.after_round(&mut booster)?;
        progress.advance(1);
    }
    snapshots.end(&mut booster)?;
    Ok(Boosted { booster, resumed_from })
}

/// The booster of an earlier attempt, and its rounds, as the first of several tasks has it.
fn told_earlier(
    peers: &Peers<'_>,
    earlier: impl FnOnce() -> Result<Option<(Booster, u32)>> + Send,
) -> Result<Option<(Booster, u32)>> {
    let written = peers.together(|| match earlier()? {
        Some((mut booster, _)) => Ok(booster.serialize()?),
        None => Ok(Vec::new()),
    })?;
    let told = peers.told_bytes(written)?;
    if told.is_empty() {
        return Ok(None);
    }
    let checked = CheckedSnapshot::check(&told).map_err(|problem| Error::Defect(problem.to_string()))?;
    let mut booster = Booster::unserialize(&checked)?;
    let done = booster.rounds()?;
    Ok(Some((booster, done)))
}
