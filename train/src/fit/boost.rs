//! Boosting, round after round: from where an earlier attempt stopped, and so that another one can go on from here.

use common::Result;
use common::telemetry::Progress;
use common::xgboost::{Booster, DMatrix, Params};
use serde::Serialize;

use super::{FitContext, new_booster};
use crate::checkpoint::Snapshots;

/// A booster after its rounds, and the round that it was taken up at if an earlier attempt had begun it.
#[derive(Debug)]
pub(super) struct Boosted {
    pub(super) booster: Booster,
    pub(super) resumed_from: Option<u32>,
}

/// Trains `rounds` rounds. `name` is what snapshots are called, `made_from` all that the booster depends on besides the
/// rows and settings of the run.
///
/// # Errors
/// [`common::Error::Stopped`] when the run was asked to stop; what XGBoost refuses.
pub(super) fn boost(
    context: &FitContext<'_>,
    name: &str,
    made_from: &impl Serialize,
    params: &Params,
    training: &DMatrix,
    rounds: u32,
    progress: &Progress,
) -> Result<Boosted> {
    let belongs_to = context.checkpoint.binding(made_from)?;
    let mut snapshots = Snapshots::new(context.checkpoint, name, belongs_to, params.resumes_exactly());
    let earlier = snapshots.earlier(rounds)?;
    let resumed_from = earlier.as_ref().map(|(_, done)| *done);
    let (mut booster, done) = match earlier {
        Some(earlier) => earlier,
        None => (new_booster(context, params, &[training])?, 0),
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
