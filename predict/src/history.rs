//! `predict history`: the page of an output's runs, written again.

use ::history::{HISTORY, Pages};
use error::Result;
use telemetry::{Outcome, Summary, Telemetry};

use crate::settings::HistorySettings;
use app::Context;

/// Writes the page from the files of all runs. Every failure is in the outcome.
pub async fn run(settings: HistorySettings, context: Context) -> (Outcome, Telemetry) {
    let mut summary = Summary::new(&context.run_id);
    let written = tokio::select! {
        written = rewrite(&settings, &mut summary) => written,
        stopped = context.shutdown.stopped(&context.run_id) => Err(stopped),
    };
    let outcome = match written {
        Ok(()) => summary.succeeded(),
        Err(error) => summary.failed(&error),
    };
    (outcome, context.telemetry)
}

async fn rewrite(settings: &HistorySettings, summary: &mut Summary) -> Result<()> {
    let pages = Pages::of_predictions(settings.output.open().await?);
    let history = pages.rewrite().await?;
    summary.set("page", pages.location()).set("runs", history.runs.len()).set("months", history.months.len());
    tracing::info!("{} and {HISTORY} beside it show {} runs one by one", pages.location(), history.runs.len());
    Ok(())
}
