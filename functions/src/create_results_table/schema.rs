//! The columns of the results: the customers' own, and what is known of each from predicting.

use std::collections::HashSet;

use columns::ColumnSchema;
use polars::prelude::DataType;
use table::Dataset;

use super::run_all;
use crate::athena::Table;
use crate::context::Invocation;
use crate::failure::{Failure, Result};
use crate::tables::{create, definitions, full_name, hive_type};

/// The table with a partition for each run, and the one that people read.
const RESULTS: &str = "results";
const LATEST: &str = "results_latest";
/// Where the second one lies until something is published: nothing is there.
const NOTHING_YET: &str = "results/_nothing/";

/// The columns of a run.
#[derive(Debug)]
pub(super) struct Schema {
    /// The id's name.
    pub(super) id: String,
    /// What the id holds.
    pub(super) id_type: DataType,
    /// The customers' columns: name, type of Hive, and name in the results.
    pub(super) customers: Vec<(String, String, String)>,
    /// All columns of the predictions.
    pub(super) predictions: Vec<(String, String)>,
    /// Those of them that become columns of the results, but for `model_version`.
    pub(super) beside: Vec<(String, String)>,
}

impl Schema {
    /// The columns of what customers and predictions hold by their footers.
    pub(super) fn of(customers: &Dataset, predictions: &Dataset) -> Result<Self> {
        let typed = |column: &ColumnSchema| -> Result<(String, String)> {
            Ok((column.name.clone(), hive_type(&column.name, &column.dtype)?))
        };
        let all = |dataset: &Dataset| dataset.schema.columns().iter().map(typed).collect::<Result<Vec<_>>>();
        let of_predictions = all(predictions)?;
        let id = of_predictions.first().map(|(name, _)| name.clone()).unwrap_or_default();
        let missing = || {
            let (output, input) = (&predictions.location, &customers.location);
            Failure::settings(format!(
                "{output} begins with column \"{id}\", which {input} has not: they are of different runs"
            ))
        };
        let id_type = customers.schema.get(&id).map(|column| column.dtype.clone()).ok_or_else(missing)?;
        let of_customers = all(customers)?;
        let lower = |name: &str| name.to_lowercase();
        let known: HashSet<String> = of_customers.iter().map(|(name, _)| lower(name)).collect();
        let is_own =
            |name: &str| name == "prediction" || name.starts_with("prediction_") || name.starts_with("reason_");
        let is_beside =
            |name: &str| *name != id && name != "model_version" && (is_own(name) || !known.contains(&lower(name)));
        let beside: Vec<_> = of_predictions.iter().filter(|(name, _)| is_beside(name)).cloned().collect();
        let mut taken: HashSet<String> = beside.iter().map(|(name, _)| lower(name)).collect();
        taken.extend(["decile", "model_version", "status", "run_id"].map(str::to_owned));
        let mut renamed = Vec::with_capacity(of_customers.len());
        for (name, kind) in of_customers {
            let mut shown = name.clone();
            while !taken.insert(lower(&shown)) {
                shown = format!("customer_{shown}");
            }
            renamed.push((name, kind, shown));
        }
        Ok(Self { id, id_type, customers: renamed, predictions: of_predictions, beside })
    }

    /// The columns of the results, as Hive has them.
    pub(super) fn columns(&self) -> Vec<(String, String)> {
        let customers = self.customers.iter().map(|(_, kind, shown)| (shown.clone(), kind.clone()));
        let ours = [("decile", "int"), ("model_version", "string"), ("status", "string")];
        let ours = ours.map(|(name, kind)| (name.to_owned(), kind.to_owned()));
        customers.chain(self.beside.iter().cloned()).chain(ours).collect()
    }

    /// Makes `results` and `results_latest` where there are none, and adds the columns that `results` does not have yet.
    pub(super) async fn make_tables(&self, invocation: &Invocation<'_>) -> Result<()> {
        let columns = self.columns();
        let (results, latest) = (full_name(invocation, RESULTS), full_name(invocation, LATEST));
        let place = |key: &str| invocation.settings.location_of(key);
        run_all(
            invocation,
            vec![
                (format!("making table {RESULTS}"), create(&results, &columns, true, &place("results/"))),
                (format!("making table {LATEST}"), create(&latest, &columns, false, &place(NOTHING_YET))),
            ],
        )
        .await?;
        let sql = format!("SELECT * FROM {results} LIMIT 0");
        let known = invocation.queries.rows(&format!("looking at table {RESULTS}"), &sql).await?;
        let new = new_columns(&columns, &known)?;
        if new.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = new.iter().map(|(name, _)| name.as_str()).collect();
        tracing::info!("table {RESULTS} gets new columns: {}", names.join(", "));
        let sql = format!("ALTER TABLE {results} ADD COLUMNS ({})", definitions(&new));
        invocation.queries.run(&format!("adding columns to {RESULTS}"), &sql).await.map(drop)
    }
}

/// The columns that a table does not have; one of another type is refused, since earlier runs hold it so.
fn new_columns(columns: &[(String, String)], known: &Table) -> Result<Vec<(String, String)>> {
    let mut new = Vec::new();
    for (name, kind) in columns {
        match known.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name)) {
            None => new.push((name.clone(), kind.clone())),
            Some(column) if base(&column.kind) != base(kind) => {
                return Err(Failure::settings(format!(
                    "column \"{name}\" of table {RESULTS} is {} by earlier runs and {kind} in this one: cast it in config/customers.sql, or drop \
                     the table (its data stays)",
                    column.kind
                )));
            }
            Some(_) => {}
        }
    }
    Ok(new)
}

/// A type without its parameters, under one name for Hive and Trino.
fn base(kind: &str) -> &str {
    match kind.split(['(', '<']).next().unwrap_or(kind) {
        "varchar" | "char" => "string",
        "integer" => "int",
        "real" => "float",
        "varbinary" => "binary",
        "row" => "struct",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::athena::Column;

    #[test]
    fn columns_are_added_and_never_changed() {
        let known = |pairs: &[(&str, &str)]| Table {
            columns: pairs
                .iter()
                .map(|(name, kind)| Column { name: (*name).to_owned(), kind: (*kind).to_owned() })
                .collect(),
            rows: Vec::new(),
        };
        let wanted = [("ID".to_owned(), "int".to_owned()), ("b".to_owned(), "string".to_owned())];
        let new = new_columns(&wanted, &known(&[("id", "integer")])).unwrap();
        assert_eq!(new, [("b".to_owned(), "string".to_owned())]);
        assert!(new_columns(&wanted, &known(&[("id", "integer"), ("b", "varchar(5)")])).unwrap().is_empty());
        let failure = new_columns(&wanted, &known(&[("id", "varchar")])).unwrap_err();
        assert!(failure.message.contains("is varchar by earlier runs and int in this one"), "{failure}");
    }
}
