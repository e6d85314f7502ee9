//! The predictions of a run, measured by one query over its partition.

use serde::{Deserialize, Serialize};
use storage::Location;
use table::Dataset;
use table::csv::CsvFormat;

use super::history::RunFigures;
use super::samples::Sample;
use crate::athena::Table;
use crate::athena::text::{literal, name};
use crate::context::Invocation;
use crate::failure::{Failure, Result};
use crate::objects;
use crate::tables::full_name;

/// Bins of the predictions.
const BINS: usize = 10;

/// Where a run's predictions are found.
#[derive(Debug)]
pub(super) struct Predictions {
    /// `(SELECT …)` of the run's rows.
    rows: String,
    model_version: String,
}

/// What the predictions of a run are like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) rows: u64,
    /// Different ids; null is none.
    pub(crate) ids: u64,
    pub(crate) nulls: u64,
    /// Neither null nor finite.
    pub(crate) infinite: u64,
    pub(crate) of_other_models: u64,
    pub(crate) mean: Option<f64>,
    pub(crate) std: Option<f64>,
    /// Upper edges of the bins but the last: deciles, nearly.
    pub(crate) edges: Vec<f64>,
    /// Predictions in each bin.
    pub(crate) counts: Vec<u64>,
    /// Predictions in each bin of the last run.
    pub(crate) in_last_bins: Option<Vec<u64>>,
}

impl Predictions {
    /// Finds the id's column in the predictions themselves, where it is the first.
    pub(super) async fn find(invocation: &Invocation<'_>) -> Result<Self> {
        let settings = invocation.settings;
        let folder = invocation.event.folder("predictions", settings)?;
        let location = Location::S3 { bucket: settings.bucket.clone(), prefix: folder.prefix };
        let dataset = Dataset::open(&location, CsvFormat::default()).await?;
        let id = dataset.schema.columns().first().map(|column| column.name.clone());
        let id =
            id.ok_or_else(|| Failure::settings(format!("{location} has no columns: it is no output of predict")))?;
        let (id, table) = (name(&id), full_name(invocation, &settings.predictions_table));
        let run = literal(invocation.event.run_id.as_str());
        let rows = format!("SELECT {id} AS id, prediction, model_version FROM {table} WHERE run_id = {run}");
        let output = settings.output.open().await?;
        let key = format!("runs/{}/manifest.json", invocation.event.run_id);
        let manifest: Option<serde_json::Value> = objects::read(output.as_ref(), &key).await?;
        let model_version = manifest.as_ref().and_then(|manifest| manifest["model"]["version"].as_str());
        Ok(Self { rows, model_version: model_version.unwrap_or_default().to_owned() })
    }

    /// Measures them.
    pub(super) async fn measure(&self, invocation: &Invocation<'_>, last: Option<&RunFigures>) -> Result<Figures> {
        let sql = self.sql(last);
        let table = invocation.queries.rows("measuring the predictions", &sql).await?;
        Figures::read(&table, last)
    }

    /// The aggregate query.
    fn sql(&self, last: Option<&RunFigures>) -> String {
        let shares: Vec<String> = (1..BINS).map(|bin| format!("{:.1}", bin as f64 / BINS as f64)).collect();
        let mut columns = vec![
            "count(*) AS row_count".to_owned(),
            "count(DISTINCT id) AS id_count".to_owned(),
            "count_if(prediction IS NULL) AS null_count".to_owned(),
            "count_if(is_nan(prediction) OR is_infinite(prediction)) AS infinite_count".to_owned(),
            format!("count_if(model_version IS DISTINCT FROM {}) AS other_count", literal(&self.model_version)),
            "avg(usable) AS mean".to_owned(),
            "stddev_pop(usable) AS std".to_owned(),
            "count(usable) AS usable_count".to_owned(),
        ];
        for bin in 1..BINS {
            columns.push(format!("arbitrary(edges[{bin}]) AS edge_{bin}"));
            columns.push(format!("count_if(usable <= edges[{bin}]) AS below_{bin}"));
        }
        for (bin, edge) in last.map(|last| last.edges.as_slice()).unwrap_or_default().iter().enumerate() {
            columns.push(format!("count_if(usable <= {edge:e}) AS last_below_{}", bin + 1));
        }
        format!(
            "WITH rows_of_run AS ({}), \
             usable_rows AS (SELECT *, CASE WHEN NOT is_nan(prediction) AND NOT is_infinite(prediction) THEN prediction END AS usable FROM rows_of_run), \
             bins AS (SELECT approx_percentile(usable, ARRAY[{}]) AS edges FROM usable_rows) \
             SELECT {} FROM usable_rows CROSS JOIN bins",
            self.rows,
            shares.join(", "),
            columns.join(", ")
        )
    }

    /// Draws the sample.
    pub(super) async fn sample(&self, invocation: &Invocation<'_>) -> Result<Sample> {
        let table = invocation.queries.rows("drawing samples", &Sample::sql(&self.rows)).await?;
        Sample::read(&table)
    }
}

impl Figures {
    fn read(table: &Table, last: Option<&RunFigures>) -> Result<Self> {
        let usable: u64 = table.needed(0, "usable_count")?;
        let edges =
            (1..BINS).map(|bin| table.value(0, &format!("edge_{bin}"))).collect::<Result<Option<Vec<f64>>>>()?;
        let below = (1..BINS).map(|bin| table.needed(0, &format!("below_{bin}"))).collect::<Result<Vec<u64>>>()?;
        let in_last_bins = last.filter(|last| !last.edges.is_empty()).map(|last| {
            let below = (1..=last.edges.len()).map(|bin| table.needed(0, &format!("last_below_{bin}")));
            below.collect::<Result<Vec<u64>>>().map(|below| in_bins(&below, usable))
        });
        Ok(Self {
            rows: table.needed(0, "row_count")?,
            ids: table.needed(0, "id_count")?,
            nulls: table.needed(0, "null_count")?,
            infinite: table.needed(0, "infinite_count")?,
            of_other_models: table.needed(0, "other_count")?,
            mean: table.value(0, "mean")?,
            std: table.value(0, "std")?,
            counts: edges.as_ref().map(|_| in_bins(&below, usable)).unwrap_or_default(),
            edges: edges.unwrap_or_default(),
            in_last_bins: in_last_bins.transpose()?,
        })
    }
}

/// Counts in bins, from the counts at or below each edge.
fn in_bins(below: &[u64], all: u64) -> Vec<u64> {
    let mut before = 0;
    below.iter().chain([&all]).map(|&here| here.saturating_sub(std::mem::replace(&mut before, here))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_are_differences() {
        assert_eq!(in_bins(&[2, 2, 5], 9), [2, 0, 3, 4]);
        assert_eq!(in_bins(&[], 3), [3]);
    }
}
