//! Tables over folders, made by Athena's own DDL.

use polars::prelude::{DataType, Field};

use crate::athena::text::{ddl_name, literal};
use crate::context::Invocation;
use crate::failure::{Failure, Result};

/// A table with a partition for each run.
#[derive(Debug)]
pub struct Partitioned<'table> {
    /// Its name, and the folder of the bucket that it lies over.
    pub name: &'table str,
    /// Its columns: name and type of Hive.
    pub columns: &'table [(&'table str, &'table str)],
}

/// Makes the table where there is none, and the partition of this run.
///
/// # Errors
/// As [`crate::athena::Queries::run`].
pub async fn add_partition(invocation: &Invocation<'_>, table: &Partitioned<'_>) -> Result<()> {
    let Partitioned { name, columns } = table;
    let columns: Vec<(String, String)> =
        columns.iter().map(|(name, kind)| ((*name).to_owned(), (*kind).to_owned())).collect();
    let location = invocation.settings.location_of(&format!("{name}/"));
    let create = create(&full_name(invocation, name), &columns, true, &location);
    invocation.queries.run(&format!("making table {name}"), &create).await?;
    let run_id = &invocation.event.run_id;
    let place = literal(&format!("{location}run_id={run_id}/"));
    let table = full_name(invocation, name);
    let value = literal(run_id.as_str());
    let add = format!("ALTER TABLE {table} ADD IF NOT EXISTS PARTITION (run_id = {value}) LOCATION {place}");
    invocation.queries.run(&format!("adding the partition of {name}"), &add).await.map(drop)
}

/// `database.table`; both are names that need no quotes.
#[must_use]
pub fn full_name(invocation: &Invocation<'_>, table: &str) -> String {
    format!("{}.{table}", invocation.settings.database)
}

/// The statement that makes an external table over Parquet where there is none.
#[must_use]
pub fn create(table: &str, columns: &[(String, String)], is_partitioned: bool, location: &str) -> String {
    let partitions = if is_partitioned { " PARTITIONED BY (`run_id` string)" } else { "" };
    let (columns, location) = (definitions(columns), literal(location));
    format!("CREATE EXTERNAL TABLE IF NOT EXISTS {table} ({columns}){partitions} STORED AS PARQUET LOCATION {location}")
}

/// Columns in a statement of DDL.
#[must_use]
pub fn definitions(columns: &[(String, String)]) -> String {
    columns.iter().map(|(name, kind)| format!("{} {kind}", ddl_name(name))).collect::<Vec<_>>().join(", ")
}

/// The type of Hive that reads a column of Parquet.
///
/// # Errors
/// `BadSettings` where there is none.
pub fn hive_type(column: &str, kind: &DataType) -> Result<String> {
    Ok(match kind {
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int8 => "tinyint".to_owned(),
        DataType::Int16 => "smallint".to_owned(),
        DataType::Int32 | DataType::UInt8 | DataType::UInt16 => "int".to_owned(),
        DataType::Int64 | DataType::UInt32 => "bigint".to_owned(),
        DataType::Float32 => "float".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::String | DataType::Categorical(..) | DataType::Enum(..) => "string".to_owned(),
        DataType::Binary => "binary".to_owned(),
        DataType::Date => "date".to_owned(),
        DataType::Datetime(..) => "timestamp".to_owned(),
        DataType::Decimal(precision, scale) => format!("decimal({precision},{scale})"),
        DataType::List(inner) => format!("array<{}>", hive_type(column, inner.as_ref())?),
        DataType::Struct(fields) => {
            let field = |field: &Field| -> Result<String> {
                Ok(format!("{}:{}", field.name(), hive_type(column, field.dtype())?))
            };
            format!("struct<{}>", fields.iter().map(field).collect::<Result<Vec<_>>>()?.join(","))
        }
        other => {
            let problem =
                format!("column \"{column}\" is {other}, which Athena has no type for: cast it in the SELECT");
            return Err(Failure::settings(problem));
        }
    })
}
