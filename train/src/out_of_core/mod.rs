//! Training on more rows than fit into memory.
//!
//! Two numbers per row stay in memory: its place and its target. What has to be learnt before the model (levels,
//! statistics, how to encode, parameters and rounds) is learnt from a sample of the training rows, drawn by a hash of their
//! ids, by the same code that otherwise sees all of them; only the means of the target that stand for levels are made of
//! all training rows. Then rows are read, encoded and handed to XGBoost in batches, as many times as it asks for them, and
//! the held-out rows are predicted batch by batch. Where the bins of all rows do not fit either, each booster of the model learns
//! from a part of the rows (pasting: Breiman 1999, "Pasting small votes for classification in large databases and on-line"), or
//! the bins lie on disk.

mod batches;
mod encoded;
mod rows;
mod shared;

use std::borrow::Borrow;
use std::ops::Range;
use std::sync::Arc;

use error::{Error, Result};
use evaluation::Gate;
use evaluation::split::{CrossFolds, RowKeys};
use features::clip::final_prediction;
use features::encode::Feature;
use features::spec::Spec;
use machine::{Limits, RunId, Shutdown};
use ndarray::{Array2, ShapeBuilder};
use table::LoadableTable;
use tempfile::TempDir;
use tokio::runtime::Handle;
use xgboost::{BatchSource, Booster, Column, DMatrix, Params, QuantileOptions};

use self::batches::{Batches, Job, Side};
use self::encoded::{EncodedBatch, MatrixColumns};
use self::rows::scan;
use self::shared::SharedBatches;
use crate::config::TrainConfig;
use crate::encodings::{EncodingScheme, visible};
use crate::evaluate::{Evaluation, Predictor};
use crate::features::Features;
use crate::fit::{Choice, FitContext, Fitted, Member, TargetScale, fit_with, matrix_features};
use crate::plan_memory::{MemoryPlan, Mode, scratch};
use crate::read::{
    Opened, Roles, Rows, SplitOutcome, TrainingData, check_rows, check_same_columns, fingerprint_of, gap, hold_out,
    is_of_other_type, nothing_left, time_kind,
};
use crate::shards::peers::Peers;
use crate::shards::share::Share;

/// Held-out rows that the model is explained on come from so many of them.
const KEPT_TEST_ROWS: usize = 20_000;

/// What may end a run while its rows are read.
#[derive(Debug, Clone)]
pub struct Stop {
    /// Whether it was asked to stop.
    pub shutdown: Shutdown,
    /// Its id, for the message.
    pub run_id: RunId,
}

impl Stop {
    /// Ends a step early when the run was asked to stop.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub fn check(&self) -> Result<()> {
        self.shutdown.check(&self.run_id)
    }
}

/// The rows of a run, in the way that the memory plan says.
#[derive(Debug)]
pub enum Input {
    /// All of them in memory.
    InMemory(Arc<TrainingData>),
    /// In batches.
    Batches(Box<BatchData>),
}

impl Input {
    /// Reads ids, targets and weights.
    ///
    /// # Errors
    /// As [`crate::read::read`].
    pub async fn read(
        config: &TrainConfig,
        limits: &Limits,
        opened: Opened,
        plan: &MemoryPlan,
        stop: &Stop,
    ) -> Result<Self> {
        if plan.mode == Mode::InMemory {
            return Ok(Self::InMemory(Arc::new(crate::read::read(config, limits, opened).await?)));
        }
        Ok(Self::Batches(Box::new(read(config, opened, plan, stop).await?)))
    }

    /// All rows.
    #[must_use]
    pub fn all(&self) -> &Arc<TrainingData> {
        match self {
            Self::InMemory(data) => data,
            Self::Batches(data) => &data.all,
        }
    }

    /// The rows that features, parameters and rounds are learnt from.
    #[must_use]
    pub fn learning(&self) -> &Arc<TrainingData> {
        match self {
            Self::InMemory(data) => data,
            Self::Batches(data) => &data.sample,
        }
    }

    /// What is to say about ids on both sides of the split, where [`Input::learning`] does not show it.
    #[must_use]
    pub fn shared_ids(&self) -> Option<&str> {
        match self {
            Self::InMemory(_) => None,
            Self::Batches(data) => data.shared_ids.as_deref(),
        }
    }

    /// What reads the rows, where they are read in batches. Called on the runtime that reads them.
    #[must_use]
    pub fn reader<'a>(
        &'a self,
        spec: &'a Spec,
        plan: &'a MemoryPlan,
        threads: usize,
        stop: &Stop,
    ) -> Option<Reader<'a>> {
        match self {
            Self::InMemory(_) => None,
            Self::Batches(data) => Some(Reader::new(data, spec, plan, threads, stop.clone())),
        }
    }
}

/// The tables of a run whose rows are read in batches.
#[derive(Debug)]
pub struct BatchData {
    /// All rows, without their ids.
    pub all: Arc<TrainingData>,
    /// The sample that a model is chosen on: with ids, and without held-out rows.
    pub sample: Arc<TrainingData>,
    /// The folds of the training rows, for means of the target.
    folds: Arc<CrossFolds>,
    /// A sentence about ids that are on both sides of the split, where there are any.
    pub shared_ids: Option<String>,
}

/// Reads ids, targets and weights: which rows are used, which of them are held out, which make the sample.
///
/// # Errors
/// As [`crate::read::read`].
pub async fn read(config: &TrainConfig, opened: Opened, plan: &MemoryPlan, stop: &Stop) -> Result<BatchData> {
    let (id, target) = (config.id.clone(), config.target.clone());
    let train_schema = opened.train.schema.clone();
    let test = opened.test.map(|mut test| {
        test.adopt_partition_kinds(|name| train_schema.get(name).map(|column| column.kind));
        test.untype_empty_columns(|column| is_of_other_type(column, &train_schema));
        test
    });
    let tables: Vec<Arc<LoadableTable>> =
        std::iter::once(opened.train).chain(test).map(LoadableTable::of_footers).map(Arc::new).collect();
    check_rows(&tables[0])?;
    if let Some(test) = tables.get(1) {
        check_rows(test)?;
        check_same_columns(&tables[0], test, config)?;
    }
    let id_type = tables[0].schema().require(&id, &config.train_data.to_string())?.kind;
    let roles = Roles::of(config);
    let time_kind = time_kind(&tables[0], &roles);
    let keys = RowKeys::of_split(roles.time.is_some(), roles.group.is_some());
    let wanted = rows::Wanted {
        hold_out: hold_out(config),
        keys: RowKeys { gap: gap(config, time_kind)?, ..keys },
        sample_rows: plan.sample_rows,
        seed: u64::from(config.seed),
    };
    let (of_tables, runtime, stop) = (tables.clone(), Handle::current(), stop.clone());
    let work = move || scan(&of_tables, &roles, &wanted, &runtime, &stop);
    let scanned = machine::tasks::blocking(work).await??;
    if scanned.train.is_empty() || scanned.sample.is_empty() {
        return Err(nothing_left(&tables[0], &scanned.dropped, config, scanned.test.len()));
    }
    let objects_sha256 = fingerprint_of(&tables);
    let split = SplitOutcome { time_kind, cut_off: scanned.cut_off, neither: scanned.neither };
    let data = |train: Rows, test: Rows| TrainingData {
        tables: tables.clone(),
        train,
        test,
        dropped: scanned.dropped,
        id: id.clone(),
        id_type,
        target: target.clone(),
        objects_sha256: objects_sha256.clone(),
        split,
    };
    let no_test = scanned.test.emptied();
    Ok(BatchData {
        sample: Arc::new(data(scanned.sample, no_test)),
        all: Arc::new(data(scanned.train, scanned.test)),
        folds: Arc::new(scanned.folds),
        shared_ids: scanned.shared_ids,
    })
}

/// XGBoost's matrix of all training rows, and the files it lies in.
#[derive(Debug)]
pub struct Training {
    /// The matrix.
    pub matrix: DMatrix,
    /// The folder of its files, removed after the matrix.
    _scratch: Option<TempDir>,
}

impl Borrow<DMatrix> for Training {
    fn borrow(&self) -> &DMatrix {
        &self.matrix
    }
}

/// What a model's predictions are made with, besides its trees.
#[derive(Debug, Clone, Copy)]
pub struct ModelForm<'a> {
    /// The features, in matrix order.
    pub features: &'a [Feature],
    /// The feature spec that the model was trained with.
    pub spec: &'a Spec,
    /// Bounds that predictions are held inside.
    pub clip: Option<(f64, f64)>,
}

/// Reads training rows as a model's matrix and held-out rows as its predictions.
#[derive(Debug)]
pub struct Reader<'a> {
    data: &'a BatchData,
    spec: &'a Spec,
    plan: &'a MemoryPlan,
    threads: usize,
    stop: Stop,
    runtime: Handle,
    /// What this task reads, where it is one of several.
    share: Option<Share>,
}

/// What a model says of some held-out rows.
#[derive(Debug)]
pub(crate) struct Outputs {
    /// Its outputs, one for each row.
    pub(crate) values: Vec<f32>,
    /// How wide their intervals are, where the model has any.
    pub(crate) scales: Option<Vec<f32>>,
    /// The first rows of the matrix, as many as explaining the model takes.
    pub(crate) kept: Array2<f32>,
}

impl<'a> Reader<'a> {
    /// A reader of the rows of a run. Called on the runtime that reads them.
    #[must_use]
    pub fn new(data: &'a BatchData, spec: &'a Spec, plan: &'a MemoryPlan, threads: usize, stop: Stop) -> Self {
        Self { data, spec, plan, threads, stop, runtime: Handle::current(), share: None }
    }

    /// The same for one of several tasks, which reads its share of the rows to train with and to judge by.
    #[must_use]
    pub(crate) fn sharing(self, share: Share) -> Self {
        Self { share: Some(share), ..self }
    }

    /// The matrix of all training rows, or of the part that a member learns from. `features` were learnt from the sample and
    /// encoded as its scheme says; means of the target in them are replaced by those over all training rows. With `peers` the
    /// matrix has this task's share of the rows, and the bins and means of all. For a thread that may block.
    ///
    /// # Errors
    /// What reading fails with; [`Error::Resources`] where the scratch disk is full; what XGBoost refuses.
    pub(crate) fn training(
        &self,
        context: &FitContext<'_>,
        params: &Params,
        features: &mut [Feature],
        member: &Member,
        peers: Option<&Peers<'_>>,
    ) -> Result<Training> {
        let columns = self.learn_means(features, &member.scheme, peers)?;
        let job = self.job(columns, Side::Training);
        let batches = Batches::new(Job { part: member.part, scale: context.scale, ..job });
        match peers {
            None => self.matrix(context, params, features, batches),
            Some(peers) => self.matrix(context, params, features, SharedBatches::new(batches, peers)),
        }
    }

    fn matrix(
        &self,
        context: &FitContext<'_>,
        params: &Params,
        features: &[Feature],
        mut batches: impl BatchSource,
    ) -> Result<Training> {
        let names = matrix_features(features);
        let options = QuantileOptions { max_bin: params.max_bin(), threads: context.threads, reference: None };
        if self.plan.mode != Mode::External {
            let matrix = DMatrix::quantile_from(&names, &mut batches, &options)?;
            return Ok(Training { matrix, _scratch: None });
        }
        let folder = tempfile::Builder::new().prefix("train-").tempdir_in(scratch());
        let folder = folder.map_err(|error| scratch_failed(&error))?;
        let matrix = DMatrix::external(&names, &mut batches, &options, &folder.path().join("bins"));
        let matrix = matrix.map_err(|error| self.full_disk(error.into()))?;
        Ok(Training { matrix, _scratch: Some(folder) })
    }

    /// Fits a model to all training rows. `features` were learnt from the sample and encoded as chosen; of their matrix
    /// nothing is left.
    ///
    /// # Errors
    /// As `Reader::training` and `fit::fit_with`.
    pub fn fit(&self, context: &FitContext<'_>, choice: Choice, features: Features) -> Result<(Features, Fitted)> {
        let no_rows = Array2::zeros((0, features.features.len()).f());
        let (learnt, fitted) = self.fit_features(context, choice, &features.features, None)?;
        Ok((Features { train: no_rows, features: learnt, ..features }, fitted))
    }

    /// The same of the features alone; with `peers` together with the other tasks, all of which come to the same.
    ///
    /// # Errors
    /// As [`Reader::fit`]; [`Error::Storage`] where another task was lost.
    pub(crate) fn fit_features(
        &self,
        context: &FitContext<'_>,
        choice: Choice,
        chosen: &[Feature],
        peers: Option<&Peers<'_>>,
    ) -> Result<(Vec<Feature>, Fitted)> {
        let mut features = chosen.to_vec();
        let fitted = fit_with(context, choice, chosen, peers, |member, params, places| {
            let mut of_member: Vec<Feature> = places.iter().map(|&place| chosen[place].clone()).collect();
            let training = self.training(context, params, &mut of_member, member, peers)?;
            for (&place, feature) in places.iter().zip(of_member) {
                features[place] = feature;
            }
            Ok(training)
        })?;
        Ok((features, fitted))
    }

    /// Predicts the held-out rows as `predict` will, and compares with their targets. Of their matrix `features` get as
    /// many rows as explaining the model takes.
    ///
    /// # Errors
    /// As [`Reader::predict`] and [`Predictor::evaluate`].
    pub fn evaluate(&self, gate: &Gate, predictor: &Predictor<'_>, features: &mut Features) -> Result<Evaluation> {
        let Outputs { values, scales, kept } = self.outputs(predictor, &features.features)?;
        features.test = kept;
        predictor.compare(gate, &values, scales.as_deref(), &self.data.all.test)
    }

    /// What the model says of the held-out rows, or of this task's share of them.
    ///
    /// # Errors
    /// As [`Reader::predict`].
    pub(crate) fn outputs(&self, predictor: &Predictor<'_>, features: &[Feature]) -> Result<Outputs> {
        let (mut kept, mut scales) = (Vec::new(), predictor.scale.map(|_| Vec::new()));
        let form = ModelForm { features, spec: self.spec, clip: predictor.clip };
        let share = self.share.as_ref().map(|share| share.test.clone());
        let values = self.predict_each(&form, share, |batch| {
            let outputs = predictor.outputs(&batch.cells)?;
            if kept.is_empty() {
                kept = batch.cells.iter().map(|cells| cells[..cells.len().min(KEPT_TEST_ROWS)].to_vec()).collect();
            }
            if let (Some(scale), Some(scales)) = (predictor.scale, &mut scales) {
                scales.extend(scale.scales(&batch.cells, &outputs)?);
            }
            Ok(outputs)
        })?;
        let rows = kept.first().map_or(0, Vec::len);
        let matrix = Array2::from_shape_vec((rows, features.len()).f(), kept.concat());
        let kept = matrix.map_err(|error| Error::Defect(error.to_string()))?;
        Ok(Outputs { values, scales, kept })
    }

    /// The predictions of all held-out rows by a model of this form, as `predict` would write them. For a thread that may
    /// block.
    ///
    /// # Errors
    /// What reading fails with; what XGBoost refuses.
    pub fn predict(&self, booster: &Booster, form: &ModelForm<'_>) -> Result<Vec<f64>> {
        let outputs = self.predict_each(form, None, |batch| {
            let columns: Vec<Column<'_>> = batch.cells.iter().map(|cells| Column::from(cells.as_slice())).collect();
            Ok(booster.predict_columns(&columns, 0..0)?)
        })?;
        Ok(outputs.into_iter().map(|value| final_prediction(value, form.clip)).collect())
    }

    fn predict_each(
        &self,
        form: &ModelForm<'_>,
        share: Option<Range<usize>>,
        mut predict: impl FnMut(&EncodedBatch) -> Result<Vec<f32>>,
    ) -> Result<Vec<f32>> {
        let columns = MatrixColumns::of(form.features, form.spec)?;
        let mut batches = Batches::new(Job { share, ..self.job(columns, Side::HeldOut) });
        let mut outputs = Vec::with_capacity(self.data.all.test.len());
        while let Some(batch) = batches.advance()? {
            outputs.extend(predict(batch)?);
        }
        Ok(outputs)
    }

    /// The columns of the matrix, where means of the target are learnt from all training rows, in one pass over them: with `peers`
    /// each task goes through its share.
    fn learn_means(
        &self,
        features: &mut [Feature],
        scheme: &EncodingScheme,
        peers: Option<&Peers<'_>>,
    ) -> Result<MatrixColumns> {
        let are_means = scheme.are_target_means();
        let mut columns = MatrixColumns::for_means(features, &are_means, self.spec, visible(&self.data.folds))?;
        if columns.has_means() {
            let count = || {
                let mut sums = columns.sums();
                let mut batches = Batches::new(self.job(columns.codes_alone(self.spec)?, Side::Training));
                while let Some(batch) = batches.advance()? {
                    sums.add(batch, &self.data.all.train, &self.data.folds);
                }
                Ok(sums)
            };
            let sums = match peers {
                None => count()?,
                Some(peers) => {
                    let mut sums = peers.together(count)?;
                    sums.each_mut(|values| peers.sum(values))?;
                    sums
                }
            };
            columns.take(sums, features);
        }
        Ok(columns)
    }

    fn job(&self, columns: MatrixColumns, side: Side) -> Job {
        Job {
            data: Arc::clone(&self.data.all),
            side,
            part: None,
            share: self.share.as_ref().filter(|_| side == Side::Training).map(|share| share.train.clone()),
            folds: Arc::clone(&self.data.folds),
            columns: Arc::new(columns),
            scale: TargetScale::default(),
            batch_rows: self.plan.batch_rows,
            threads: self.threads,
            runtime: self.runtime.clone(),
            stop: self.stop.clone(),
        }
    }

    /// XGBoost does not always say why its files could not be written.
    fn full_disk(&self, error: Error) -> Error {
        let is_full = machine::usage::free_disk(&scratch()).is_ok_and(|free| free < self.plan.scratch_bytes / 100);
        match error {
            Error::Defect(text) if is_full => Error::Resources(format!(
                "the scratch disk ({}) is full: {text}; training takes {} MiB there: give the task more ephemeral storage",
                scratch().display(),
                self.plan.scratch_bytes >> 20
            )),
            other => other,
        }
    }
}

fn scratch_failed(error: &std::io::Error) -> Error {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    let text = format!("no folder can be made on the scratch disk ({}): {error}", scratch().display());
    match error.kind() {
        StorageFull | QuotaExceeded => Error::Resources(format!("{text}: give the task more ephemeral storage")),
        _ => Error::Access(format!("{text}: set TMPDIR to a folder that can be written")),
    }
}
