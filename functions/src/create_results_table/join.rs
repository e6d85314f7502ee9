//! The join: every customer once, with the prediction or why there is none.

use polars::prelude::DataType;

use super::run_tables::RunTables;
use super::schema::Schema;
use crate::athena::text::name;

/// Tenths of the predictions; 10 is the highest.
const DECILES: u32 = 10;

/// What is joined.
#[derive(Debug)]
pub(super) struct Join<'run> {
    pub(super) schema: &'run Schema,
    pub(super) tables: &'run RunTables,
}

impl Join<'_> {
    /// The rows of the results.
    pub(super) fn select(&self) -> String {
        let Schema { customers, beside, .. } = self.schema;
        let mut columns: Vec<String> =
            customers.iter().map(|(column, _, shown)| format!("c.{} AS {}", name(column), name(shown))).collect();
        columns.extend(beside.iter().map(|(column, _)| format!("p.{0} AS {0}", name(column))));
        columns.push("d.decile AS decile".to_owned());
        columns.push("p.model_version AS model_version".to_owned());
        columns.push(format!("{} AS status", self.status()));
        let (columns, from, deciles) = (columns.join(", "), self.from(), self.deciles());
        format!("SELECT {columns} {from} LEFT JOIN ({deciles}) d ON p.prediction = d.prediction")
    }

    /// How many rows there are, and how many customers have a prediction.
    pub(super) fn counts(&self) -> String {
        let id = name(&self.schema.id);
        let from = self.from();
        format!(
            "SELECT count(*) AS row_count, \
             count(DISTINCT CASE WHEN p.model_version IS NOT NULL THEN c.{id} END) AS scored_count {from}"
        )
    }

    fn from(&self) -> String {
        let id = name(&self.schema.id);
        let RunTables { customers, predictions, .. } = self.tables;
        let (text, rejects) = (self.text_of_id(), self.rejects());
        format!(
            "FROM {customers} c LEFT JOIN {predictions} p ON c.{id} = p.{id} LEFT JOIN ({rejects}) r ON {text} = r.id"
        )
    }

    /// Rows that were rejected, by id; an id that was rejected twice counts once, so that the join multiplies nothing.
    fn rejects(&self) -> String {
        format!("SELECT id, min(reason) AS reason FROM {} WHERE id IS NOT NULL GROUP BY id", self.tables.rejected)
    }

    /// The tenth of every prediction, exactly: equal predictions are in the same one.
    fn deciles(&self) -> String {
        format!(
            "SELECT prediction, cast(least({DECILES}, 1 + floor({DECILES} * cast(before_count AS double) / cast(all_count AS double))) AS integer) AS decile \
             FROM (SELECT prediction, sum(n) OVER (ORDER BY prediction) - n AS before_count, sum(n) OVER () AS all_count \
             FROM (SELECT prediction, count(*) AS n FROM {} WHERE prediction IS NOT NULL GROUP BY prediction) AS counted) AS ranked",
            self.tables.predictions
        )
    }

    /// A customer without a prediction was rejected: as many have one as were predicted. The reason is unknown only where an id's text is
    /// another one to Athena than to `predict`.
    fn status(&self) -> String {
        let id = name(&self.schema.id);
        format!(
            "CASE WHEN p.model_version IS NOT NULL THEN 'scored' WHEN c.{id} IS NULL THEN 'null_id' \
             WHEN r.reason IS NOT NULL THEN r.reason ELSE 'rejected' END"
        )
    }

    /// The text that `predict` names a rejected row by.
    fn text_of_id(&self) -> String {
        let id = format!("c.{}", name(&self.schema.id));
        match &self.schema.id_type {
            DataType::String | DataType::Categorical(..) | DataType::Enum(..) => id,
            DataType::Float32 | DataType::Float64 => {
                let whole = format!("{id} = floor({id}) AND abs({id}) < 1e15");
                format!("CASE WHEN {whole} THEN cast(cast({id} AS bigint) AS varchar) ELSE cast({id} AS varchar) END")
            }
            _ => format!("cast({id} AS varchar)"),
        }
    }
}
