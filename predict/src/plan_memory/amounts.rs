//! What rows, objects and trees take, in bytes, from the shape of the input, the model and the settings.

use columns::ColumnKind;
use machine::Limits;
use registry::load::{MODEL_FACTOR, XGBOOST_FACTOR};
use table::parquet::FooterRoom;
use table::{DataObject, Dataset, Format};

use super::{BASE, usable};
use crate::load::{Engine, Model};
use crate::reasons::REASON_BYTES;
use crate::settings::Settings;
use crate::write::RejectedRows;

/// An object of the listing and of the plan.
const OBJECT: u64 = 2048;
/// How much smaller gzip can make anything: <https://zlib.net/zlib_tech.html>.
const DEFLATE_MOST: u64 = 1032;
/// A text value with its view, where nothing tells how long texts are.
pub(crate) const TEXT_BYTES: u64 = 48;

/// What a row takes on its way.
#[derive(Debug, Clone, Copy)]
pub(super) struct RowBytes {
    /// Codes or numbers of all features.
    pub(super) features: u64,
    /// The text of all cells that are read, for CSV.
    pub(super) cells: u64,
    /// The columns of the output.
    pub(super) output: u64,
    /// Texts of the output that are longer than usual, in the row group where they are longest.
    pub(super) long_texts: u64,
}

/// Objects of the listing and the plan, and what is known of their row groups.
pub(crate) fn listing_bytes(dataset: &Dataset) -> u64 {
    dataset.objects.len() as u64 * OBJECT + dataset.held_bytes()
}

/// What the trees of a model and of its intervals take, by what holds them.
pub(super) fn trees_bytes(model: &Model) -> u64 {
    let factor = match model.engine {
        Engine::Compiled(_) => MODEL_FACTOR,
        Engine::Xgboost(_) => XGBOOST_FACTOR,
    };
    model.bytes * factor + model.interval.as_ref().map_or(0, |interval| interval.bytes) * MODEL_FACTOR
}

/// What the footers of the input may take: all that is left beside the program and the model.
#[must_use]
pub(crate) fn room_for_footers(limits: &Limits, model: Option<&Model>) -> FooterRoom {
    let others = BASE + model.map_or(0, trees_bytes);
    FooterRoom::beside(others, usable(limits), limits.memory_bytes.value)
}

pub(super) fn engine_row_bytes(settings: &Settings, model: &Model) -> u64 {
    /// A cell of XGBoost's own matrix (its column and value), and its contribution twice: there and here.
    const EXPLAINED_CELL: u64 = 8 + 2 * size_of::<f32>() as u64;
    match &model.engine {
        Engine::Compiled(compiled) => compiled.scorer.row_bytes() as u64,
        Engine::Xgboost(_) => {
            let explained = if settings.reasons > 0 { EXPLAINED_CELL } else { 0 };
            (model.encoder.len() as u64 + 1) * (size_of::<f32>() as u64 * 2 + explained)
        }
    }
}

/// The most rows that CSV can have: a row has at least as many bytes as columns.
pub(super) fn csv_rows_most(dataset: &Dataset) -> u64 {
    let bytes = |object: &DataObject| match object.format {
        Format::CsvGz => object.meta.size.saturating_mul(DEFLATE_MOST),
        Format::Csv | Format::Parquet => object.meta.size,
    };
    let all = dataset.objects.iter().map(bytes).fold(0, u64::saturating_add);
    all / dataset.stored_columns().max(1) as u64
}

/// Bytes of a decoded value of a column.
pub(super) fn column_bytes(dataset: &Dataset, name: &str) -> u64 {
    match dataset.schema.get(name).map(|column| column.kind) {
        Some(ColumnKind::Text) | None => TEXT_BYTES,
        Some(_) => 8,
    }
}

/// A row is predicted (id, prediction, the model's version as a view, and what is carried over) or rejected.
pub(super) fn output_row_bytes(settings: &Settings, dataset: &Dataset, model: &Model) -> u64 {
    let carried: u64 = settings.columns.iter().map(|name| column_bytes(dataset, name)).sum();
    let reasons = u64::from(settings.reasons) * REASON_BYTES;
    let interval = if settings.interval.is_some() { 2 * 8 } else { 0 };
    column_bytes(dataset, &model.metadata.id) + (8 + 16 + interval + reasons + carried).max(RejectedRows::ROW_BYTES)
}
