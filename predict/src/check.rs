//! Step 3: what can be refused before a row is read.

use std::borrow::Cow;
use std::collections::HashSet;

use columns::{ColumnKind, refuse_output_column};
use features::encode::LevelTexts;

use error::{Error, Result};
use machine::Limits;
use polars::prelude::DataType;
use table::Dataset;

use crate::load::Model;
use crate::plan_memory::room_for_footers;
use crate::settings::Settings;

/// The settings without a `COLUMNS` that is a terminal's width: a number of the environment that names no column of the input. Shells export
/// it under this name.
///
/// # Errors
/// As [`Dataset::open_within`], which is asked only where `COLUMNS` is a number.
pub async fn without_terminal_width<'s>(settings: &'s Settings, limits: &Limits) -> Result<Cow<'s, Settings>> {
    if !settings.columns_may_be_a_width {
        return Ok(Cow::Borrowed(settings));
    }
    let room = room_for_footers(limits, None);
    let dataset = Dataset::open_within(&settings.input, Some(&settings.columns), settings.csv_format(), room).await?;
    if settings.columns.iter().all(|column| dataset.schema.get(column).is_some()) {
        return Ok(Cow::Borrowed(settings));
    }
    let width = settings.columns.join(",");
    tracing::warn!(
        "COLUMNS={width} of the environment is taken for the width of a terminal, since the input has no column \"{width}\": no column is \
         carried over; name columns with --columns"
    );
    Ok(Cow::Owned(Settings { columns: Vec::new(), ..settings.clone() }))
}

/// Whether the predictions' columns have different names.
///
/// # Errors
/// [`Error::Setting`] where the predictions would have a column twice.
pub fn check_names(settings: &Settings, model: &Model) -> Result<()> {
    let id = model.metadata.id.as_str();
    refuse_output_column("the id of the model", id)?;
    let mut seen = HashSet::from([id]);
    match settings.columns.iter().find(|name| !seen.insert(name)) {
        None => Ok(()),
        Some(twice) if twice != id => {
            Err(Error::Setting(format!("--columns (COLUMNS) names \"{twice}\" twice: name it once")))
        }
        Some(twice) => Err(Error::Setting(format!(
            "the predictions would have two columns \"{twice}\": leave it out of --columns (COLUMNS), or rename the id column"
        ))),
    }
}

/// Everything about the input that can be refused before a row is read.
///
/// # Errors
/// [`Error::Data`] where rows or columns are missing or of the wrong type.
pub fn check_input(settings: &Settings, dataset: &Dataset, model: &Model) -> Result<()> {
    let (schema, location) = (&dataset.schema, dataset.location.as_str());
    if dataset.row_count() == Some(0) {
        return Err(Error::Data(format!("{location} has columns but no rows: there is nothing to score")));
    }
    if let Some(hint) = schema.header_hint() {
        tracing::warn!("{location}: {hint}");
    }
    let metadata = &model.metadata;
    if dataset.is_csv() && metadata.level_texts() == LevelTexts::Release1 {
        tracing::warn!(
            "the model is of format version 1: markers of missing values such as NA or - are now missing in its columns of \
             numbers and dates, where its release rejected the row"
        );
    }
    let id = schema.require_for("the model, as its id", &metadata.id, location)?;
    if !dataset.is_csv() && id.kind == ColumnKind::Unsupported {
        return Err(Error::Data(format!(
            "{location}: the id column \"{}\" has a type that cannot be an id ({})",
            id.name,
            id.type_text()
        )));
    }
    model.encoder.check_schema(schema, dataset.is_csv(), location)?;
    for column in &settings.columns {
        let carried = schema.require_for("--columns (COLUMNS)", column, location)?;
        if carried.kind == ColumnKind::Unsupported && !is_list_of_values(&carried.dtype) {
            return Err(Error::Data(format!(
                "{location}: column \"{column}\" has a type that cannot be carried over ({}): leave it out of --columns (COLUMNS)",
                carried.type_text()
            )));
        }
    }
    Ok(())
}

/// Whether a type is a list, or a list of lists, of values: one of structures, such as a map, has several columns below it.
fn is_list_of_values(dtype: &DataType) -> bool {
    match dtype {
        DataType::List(inner) => !inner.is_nested() || is_list_of_values(inner),
        _ => false,
    }
}
