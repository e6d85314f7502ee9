//! `metadata.json`: what the model is made of and what its columns were like.

use columns::ColumnKind;
use error::{Error, Result};
use features::encode::values::as_f32;
use features::golden::GoldenRows;
use features::quality::{ColumnProfile, FeatureTally, Statistics, profile};
use features::spec::Spec;
use machine::{Limits, RunId};
use registry::metadata::{DataFingerprint, FORMAT_VERSION, Intervals, Metadata, SlicedColumn};
use storage::sha256_hex;
use xgboost::Column;

use crate::config::TrainConfig;
use crate::evaluate::Predictor;
use crate::features::Features;
use crate::fit::{Calibration, Fitted, ScaleModel};
use crate::plan::TrainPlan;
use crate::read::TrainingData;

/// What `metadata.json` is made of.
#[derive(Debug, Clone, Copy)]
pub struct ModelParts<'a> {
    /// What the run is asked to do.
    pub config: &'a TrainConfig,
    /// The run.
    pub run_id: &'a RunId,
    /// What it may use.
    pub limits: &'a Limits,
    /// What all attempts of the run keep to.
    pub plan: &'a TrainPlan,
    /// The rows.
    pub data: &'a TrainingData,
    /// The features.
    pub features: &'a Features,
    /// The trees.
    pub fitted: &'a Fitted,
    /// How it predicts.
    pub predictor: &'a Predictor<'a>,
}

/// `metadata.json`, golden rows scored.
///
/// # Errors
/// What XGBoost refuses.
pub fn metadata(parts: &ModelParts<'_>) -> Result<Metadata> {
    let ModelParts { config, run_id, plan, data, features, fitted, predictor, .. } = *parts;
    let spec = &config.spec;
    let mut golden = GoldenRows::draw(&features.features, &features.statistics);
    let cells = golden.columns();
    let columns: Vec<Column<'_>> = cells.iter().map(|column| Column::from(column.as_slice())).collect();
    golden.predictions = fitted.booster.predict_columns(&columns, 0..0)?;
    check_compiled(predictor, &cells, &golden.predictions)?;
    let intervals = predictor.scale.map(|scale| intervals(scale, &cells, &golden.predictions)).transpose()?;
    let (major, minor, patch) = xgboost::version();
    let target_statistics = target_statistics(data);
    let mut profile = profile(&features.features, &features.statistics, &features.tallies);
    profile.push(target_profile(data, spec, &target_statistics));
    Ok(Metadata {
        format_version: FORMAT_VERSION,
        model_name: config.model_name.clone(),
        model_version: config.model_version.to_string(),
        run_id: run_id.to_string(),
        created_at: plan.started_at.clone(),
        features: features.features.clone(),
        id: data.id.clone(),
        id_type: data.id_type,
        target: data.target.clone(),
        spec: spec.clone(),
        params: fitted.params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        rounds: fitted.rounds,
        seed: u64::from(config.seed),
        clip: predictor.clip,
        statistics: features.statistics.clone(),
        target_statistics: Some(target_statistics),
        profile,
        slices: slices(config, data),
        data: DataFingerprint {
            train_data: config.train_data.to_string(),
            test_data: config.test_data.as_ref().map(ToString::to_string),
            objects_sha256: data.objects_sha256.clone(),
            objects: data.tables.iter().map(|table| table.dataset().objects.len()).sum(),
            rows_train: data.train.len() as u64,
            rows_test: data.test.len() as u64,
        },
        model_sha256: sha256_hex(&fitted.model),
        xgboost_version: format!("{major}.{minor}.{patch}"),
        program_version: env!("CARGO_PKG_VERSION").to_owned(),
        golden,
        intervals,
    })
}

/// That compiled trees, by which the held-out rows are judged, say of the golden rows what XGBoost does.
fn check_compiled(predictor: &Predictor<'_>, golden: &[Vec<f32>], by_xgboost: &[f32]) -> Result<()> {
    let compiled = predictor.outputs(golden)?;
    let differs = |(one, other): (&f32, &f32)| one.to_bits() != other.to_bits();
    if compiled.iter().zip(by_xgboost).any(differs) {
        return Err(Error::Defect("the compiled trees predict golden rows otherwise than XGBoost does".to_owned()));
    }
    Ok(())
}

fn slices(config: &TrainConfig, data: &TrainingData) -> Vec<SlicedColumn> {
    let kind = |column: &str| data.schema().get(column).map_or(ColumnKind::Text, |column| column.kind);
    config.slices.iter().map(|column| SlicedColumn { column: column.clone(), kind: kind(column) }).collect()
}

fn intervals(scale: &ScaleModel<'_>, golden: &[Vec<f32>], outputs: &[f32]) -> Result<Intervals> {
    let Calibration { scale: model, columns, rows, errors, mean_error } = scale.calibration();
    Ok(Intervals {
        scale_sha256: sha256_hex(model),
        columns: columns.clone(),
        rows: *rows,
        errors: errors.clone(),
        mean_error: *mean_error,
        golden: scale.scales(golden, outputs)?,
    })
}

fn target_statistics(data: &TrainingData) -> Statistics {
    let narrow: Vec<f32> = data.train.target.iter().map(|&value| as_f32(value)).collect();
    Statistics::of_numbers(&narrow)
}

/// The target's cells are those of the rows that train and judge, and those left out for want of one.
fn target_profile(data: &TrainingData, spec: &Spec, statistics: &Statistics) -> ColumnProfile {
    let range = spec.ranges.get(&data.target).copied().unwrap_or_default();
    let mut tally = FeatureTally::new(None);
    for rows in [&data.train, &data.test] {
        let narrow: Vec<f32> = rows.target.iter().map(|&value| as_f32(value)).collect();
        tally.count_numbers(&rows.target, &narrow, &range);
    }
    tally.rows += data.dropped.bad_target;
    tally.missing += data.dropped.bad_target;
    let kind = data.schema().get(&data.target).map_or(ColumnKind::Float, |column| column.kind);
    ColumnProfile::of_target(&data.target, kind, statistics, &tally)
}
