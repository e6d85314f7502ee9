//! A hundred rows of each quarter of the predictions, for people to look at. They have a table of their own: Athena reads every
//! object of a partition, so they may not lie beside the checks.

use polars::prelude::{Column, DataFrame};
use storage::Store;

use crate::athena::Table;
use crate::failure::{Failure, Result};

/// The columns of the table `qa_samples`.
pub(super) const COLUMNS: [(&str, &str); 4] =
    [("id", "string"), ("prediction", "double"), ("quartile", "int"), ("model_version", "string")];
/// Rows of each quarter.
const ROWS: usize = 100;

/// The rows.
#[derive(Debug, Default)]
pub(super) struct Sample {
    ids: Vec<Option<String>>,
    predictions: Vec<Option<f64>>,
    quartiles: Vec<i32>,
    model_versions: Vec<Option<String>>,
}

impl Sample {
    /// The query: in each quarter the rows whose ids have the lowest hashes, so that they are the same each time.
    pub(super) fn sql(rows: &str) -> String {
        format!(
            "WITH rows_of_run AS ({rows}), \
             bins AS (SELECT approx_percentile(prediction, ARRAY[0.25, 0.5, 0.75]) AS edges FROM rows_of_run WHERE NOT is_nan(prediction)), \
             quarters AS (SELECT cast(id AS varchar) AS id, prediction, model_version, \
             CASE WHEN prediction <= edges[1] THEN 1 WHEN prediction <= edges[2] THEN 2 WHEN prediction <= edges[3] THEN 3 ELSE 4 END AS quartile \
             FROM rows_of_run CROSS JOIN bins WHERE prediction IS NOT NULL), \
             ranked AS (SELECT *, row_number() OVER (PARTITION BY quartile ORDER BY xxhash64(to_utf8(coalesce(id, ''))), id) AS place FROM quarters) \
             SELECT id, prediction, quartile, model_version FROM ranked WHERE place <= {ROWS} ORDER BY quartile, place"
        )
    }

    pub(super) fn read(table: &Table) -> Result<Self> {
        let mut sample = Self::default();
        for row in 0..table.rows.len() {
            sample.ids.push(table.value(row, "id")?);
            sample.predictions.push(table.value(row, "prediction")?);
            sample.quartiles.push(table.needed(row, "quartile")?);
            sample.model_versions.push(table.value(row, "model_version")?);
        }
        Ok(sample)
    }
}

/// Writes the rows as the run's partition.
pub(super) async fn write(store: &dyn Store, run_id: &str, sample: &Sample) -> Result<()> {
    let columns = vec![
        Column::new("id".into(), &sample.ids),
        Column::new("prediction".into(), &sample.predictions),
        Column::new("quartile".into(), &sample.quartiles),
        Column::new("model_version".into(), &sample.model_versions),
    ];
    let mut frame = DataFrame::new(sample.ids.len(), columns).map_err(Failure::defect)?;
    let content = table::write::to_parquet(&mut frame)?;
    store.put(&format!("qa_samples/run_id={run_id}/samples.parquet"), content).await?;
    Ok(())
}
