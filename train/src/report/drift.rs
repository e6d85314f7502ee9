//! How far the training rows have moved since the model that is `latest` now was trained: statistics against statistics.

use std::collections::BTreeMap;

use error::{Error, Result};
use features::encode::Feature;
use features::quality::{Statistics, drift_between};
use registry::{Metadata, ModelRun, ModelStore, Selector, describe_run, resolve};
use serde::Serialize;

/// The training rows of this run against those of the current latest model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Drift {
    /// That model, as `label/run_id`.
    pub previous: String,
    /// The R² that it was published with, on held-out rows of its own.
    pub previous_r2: Option<f64>,
    /// Index of the target.
    pub target_psi: Option<f64>,
    /// Index of each feature that both models have, the largest first.
    pub features: Vec<FeatureDrift>,
    /// Features that only this model has.
    pub added: Vec<String>,
    /// Features that only the previous model has.
    pub removed: Vec<String>,
    /// Features of another kind in both models: numbers in one, categories in the other.
    pub changed: Vec<String>,
    /// Why the previous model cannot be compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
}

/// One feature.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FeatureDrift {
    /// Its column, or the name of a derived feature.
    pub feature: String,
    /// Population stability index.
    pub psi: f64,
}

/// Compares with the current latest model. None where nothing was published yet. A latest model that cannot be read is
/// no reason to fail: the one that is being trained may be there to replace it.
///
/// # Errors
/// Storage errors as they are.
pub(super) async fn against_latest(models: &ModelStore, metadata: &Metadata) -> Result<Option<Drift>> {
    let run = match resolve(models, &Selector::Latest).await {
        Ok(Some(run)) => run,
        Ok(None) => return Ok(None),
        Err(Error::Model(reason)) => return Ok(Some(unreadable("latest".to_owned(), reason))),
        Err(error) => return Err(error),
    };
    match describe_run(models, &run).await {
        Ok(previous) => Ok(Some(compare(&run, &previous.metadata, previous.r2, metadata))),
        Err(Error::Model(reason)) => Ok(Some(unreadable(run.to_string(), reason))),
        Err(error) => Err(error),
    }
}

fn unreadable(previous: String, reason: String) -> Drift {
    tracing::warn!("drift is not known, since the current model cannot be read: {reason}");
    let none = Vec::new;
    Drift {
        previous,
        previous_r2: None,
        target_psi: None,
        features: Vec::new(),
        added: none(),
        removed: none(),
        changed: none(),
        unreadable: Some(reason),
    }
}

fn compare(run: &ModelRun, before: &Metadata, r2: Option<f64>, now: &Metadata) -> Drift {
    let (earlier, later) = (sources(before), sources(now));
    let only_in = |of: &Sources<'_>, other: &Sources<'_>| -> Vec<String> {
        of.keys().filter(|name| !other.contains_key(*name)).map(|name| (*name).to_owned()).collect()
    };
    let (mut features, mut changed) = (Vec::new(), Vec::new());
    for (name, earlier) in &earlier {
        let Some(later) = later.get(name) else { continue };
        match drift_between(*earlier, *later) {
            Some(psi) => features.push(FeatureDrift { feature: (*name).to_owned(), psi }),
            None => changed.push((*name).to_owned()),
        }
    }
    features.sort_by(|left, right| right.psi.total_cmp(&left.psi).then_with(|| left.feature.cmp(&right.feature)));
    let targets = before.target_statistics.as_ref().zip(now.target_statistics.as_ref());
    Drift {
        previous: run.to_string(),
        previous_r2: r2,
        target_psi: targets.and_then(|(before, now)| drift_between((before, None), (now, None))),
        features,
        added: only_in(&later, &earlier),
        removed: only_in(&earlier, &later),
        changed,
        unreadable: None,
    }
}

/// What each feature is made from, with its statistics and levels.
type Sources<'a> = BTreeMap<&'a str, (&'a Statistics, Option<&'a [String]>)>;

/// The columns and derived features behind a model's features, each once: two models may encode a column in other ways.
fn sources(metadata: &Metadata) -> Sources<'_> {
    let mut sources = Sources::new();
    for (feature, statistics) in metadata.features.iter().zip(&metadata.statistics) {
        sources.entry(source(feature)).or_insert((statistics, feature.levels()));
    }
    sources
}

fn source(feature: &Feature) -> &str {
    feature.source_column().unwrap_or(&feature.name)
}
