//! Whether the two SELECTs can be run and fit together, found out without reading a row.

use std::collections::HashSet;

use crate::athena::{Column, Queries, Table};
use crate::failure::{Failure, Result};
use crate::user_sql::UserSelect;

use super::Selects;
use super::roles::Roles;

/// What Athena's UNLOAD writes to Parquet.
const WRITABLE: [&str; 20] = [
    "array",
    "bigint",
    "binary",
    "boolean",
    "char",
    "date",
    "decimal",
    "double",
    "float",
    "int",
    "integer",
    "map",
    "real",
    "row",
    "smallint",
    "string",
    "timestamp",
    "tinyint",
    "varbinary",
    "varchar",
];

/// Checks id, target and columns of both SELECTs.
pub(super) async fn check(queries: &Queries<'_>, selects: &Selects, roles: &Roles) -> Result<()> {
    let (training, customers) =
        futures::future::join(columns_of(queries, &selects.training), columns_of(queries, &selects.customers)).await;
    let (training, customers) = (training?, customers?);
    Sides { training: (selects.training.file(), &training), customers: (selects.customers.file(), &customers) }
        .check(roles)
}

/// Checks that what happened has the id and the target.
pub(super) async fn check_actuals(queries: &Queries<'_>, select: &UserSelect, roles: &Roles) -> Result<()> {
    let columns = columns_of(queries, select).await?;
    let side = (select.file(), columns.as_slice());
    each_once_and_writable(side.0, side.1)?;
    find(side, &roles.id, "ID_COLUMN")?;
    let target = find(side, &roles.target, "TARGET_COLUMN")?;
    if !matches!(class(&target.kind), "number" | "boolean") {
        return Err(wrong(side.0, target, "is what was predicted, and must be a number"));
    }
    Ok(())
}

async fn columns_of(queries: &Queries<'_>, select: &UserSelect) -> Result<Vec<Column>> {
    let sql = format!("SELECT * FROM {} LIMIT 0", select.as_table());
    let what = format!("check of {}", select.file());
    let Table { columns, .. } = queries.check(&what, &sql, |said| select.explain(said)).await?;
    Ok(columns)
}

/// What a column holds, as far as training and scoring tell it apart.
fn class(kind: &str) -> &str {
    let kind = kind.split('(').next().unwrap_or(kind);
    match kind {
        "tinyint" | "smallint" | "integer" | "int" | "bigint" | "real" | "float" | "double" | "decimal" => "number",
        "varchar" | "char" | "string" => "text",
        "binary" | "varbinary" => "binary",
        "date" | "timestamp" => "date",
        other => other,
    }
}

/// The columns of both files.
struct Sides<'columns> {
    training: (&'columns str, &'columns [Column]),
    customers: (&'columns str, &'columns [Column]),
}

impl Sides<'_> {
    fn check(&self, roles: &Roles) -> Result<()> {
        for (file, columns) in [self.training, self.customers] {
            each_once_and_writable(file, columns)?;
        }
        let id = find(self.training, &roles.id, "ID_COLUMN")?;
        let id_of_customer = find(self.customers, &roles.id, "ID_COLUMN")?;
        let target = find(self.training, &roles.target, "TARGET_COLUMN")?;
        if !matches!(class(&target.kind), "number" | "boolean") {
            return Err(wrong(self.training.0, target, "is predicted, and must be a number"));
        }
        if matches!(class(&id.kind), "array" | "map" | "row" | "binary") {
            return Err(wrong(self.training.0, id, "identifies customers, and must be a text or a number"));
        }
        for (setting, name) in &roles.of_validation {
            let column = find(self.training, name, setting)?;
            let is_time = matches!(class(&column.kind), "date" | "number");
            if *setting == "TIME_COLUMN" && !is_time {
                return Err(wrong(
                    self.training.0,
                    column,
                    "puts rows in order, and must be a date, a timestamp or a number",
                ));
            }
        }
        if class(&id.kind) != class(&id_of_customer.kind) {
            return Err(self.differs(id, id_of_customer));
        }
        for column in self.training.1 {
            let is_free = |columns: &[String]| columns.contains(&column.name);
            if matches!(class(&column.kind), "array" | "map" | "row") && !is_free(&roles.excluded) {
                return Err(wrong(
                    self.training.0,
                    column,
                    "can be no feature: leave it out, or exclude it in the feature spec",
                ));
            }
            if is_free(&roles.only_in_training) {
                continue;
            }
            match self.customers.1.iter().find(|other| other.name == column.name) {
                Some(other) if class(&other.kind) != class(&column.kind) => return Err(self.differs(column, other)),
                Some(_) => {}
                None => {
                    let (file, training) = (self.customers.0, self.training.0);
                    return Err(Failure::settings(format!(
                        "{file} has no column \"{}\", which {training} trains with: select it in both, or exclude it in the feature spec",
                        column.name
                    )));
                }
            }
        }
        Ok(())
    }

    fn differs(&self, one: &Column, other: &Column) -> Failure {
        Failure::settings(format!(
            "column \"{}\" is {} in {} and {} in {}: cast one of them",
            one.name, one.kind, self.training.0, other.kind, self.customers.0
        ))
    }
}

fn each_once_and_writable(file: &str, columns: &[Column]) -> Result<()> {
    let mut seen = HashSet::new();
    for column in columns {
        if !seen.insert(column.name.to_lowercase()) {
            return Err(wrong(file, column, "is there twice: give one of them another name"));
        }
        let kind = column.kind.split('(').next().unwrap_or_default();
        if !WRITABLE.contains(&kind) {
            return Err(wrong(file, column, "cannot be written to Parquet by Athena: cast it"));
        }
    }
    Ok(())
}

fn find<'columns>((file, columns): (&str, &'columns [Column]), name: &str, setting: &str) -> Result<&'columns Column> {
    let similar =
        columns.iter().find(|column| column.name.eq_ignore_ascii_case(name)).map(|column| column.name.as_str());
    let hint = match similar {
        Some(similar) => format!("; it has \"{similar}\": write it so in {setting} or the feature spec"),
        None => format!(": select it, or set {setting} to its name"),
    };
    let missing = || Failure::settings(format!("{file} has no column \"{name}\"{hint}"));
    columns.iter().find(|column| column.name == name).ok_or_else(missing)
}

fn wrong(file: &str, column: &Column, problem: &str) -> Failure {
    Failure::settings(format!("{file}: column \"{}\" ({}) {problem}", column.name, column.kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(text: &str) -> Vec<Column> {
        let column = |pair: &str| {
            let (name, kind) = pair.split_once(' ').unwrap();
            Column { name: name.to_owned(), kind: kind.to_owned() }
        };
        text.split(", ").map(column).collect()
    }

    fn check(training: &str, customers: &str) -> Result<(), String> {
        check_by(&[], training, customers)
    }

    fn check_by(of_validation: &[(&'static str, &str)], training: &str, customers: &str) -> Result<(), String> {
        let roles = Roles {
            id: "id".to_owned(),
            target: "score".to_owned(),
            only_in_training: vec!["score".to_owned(), "later".to_owned()],
            excluded: vec!["later".to_owned()],
            of_validation: of_validation.iter().map(|(setting, name)| (*setting, (*name).to_owned())).collect(),
        };
        let (training, customers) = (columns(training), columns(customers));
        let sides = Sides { training: ("training.sql", &training), customers: ("customers.sql", &customers) };
        sides.check(&roles).map_err(|failure| failure.message)
    }

    #[test]
    fn what_fits_together_passes() {
        check("id bigint, a double, score double, later array", "id bigint, a integer, b varchar").unwrap();
        check("id varchar(20), a decimal(10,2), score boolean", "id char(3), a real").unwrap();
    }

    #[test]
    fn columns_that_rows_are_validated_by_are_needed_in_training() {
        let (training, customers) =
            ("id bigint, month varchar, house bigint, score double", "id bigint, month varchar, house bigint");
        check_by(&[("GROUP_COLUMN", "house")], training, customers).unwrap();
        let wrong = |by, said: &str| {
            let message = check_by(&[by], training, customers).unwrap_err();
            assert!(message.contains(said), "{message}");
        };
        wrong(("TIME_COLUMN", "month"), "column \"month\" (varchar) puts rows in order");
        wrong(("TIME_COLUMN", "day"), "training.sql has no column \"day\": select it, or set TIME_COLUMN");
        wrong(("GROUP_COLUMN", "House"), "write it so in GROUP_COLUMN");
    }

    #[test]
    fn what_does_not_is_named_with_its_file() {
        for (training, customers, said) in [
            ("a double, score double", "id bigint", "training.sql has no column \"id\": select it"),
            ("ID bigint, score double", "ID bigint", "it has \"ID\": write it so"),
            ("id bigint, a double", "id bigint, a double", "training.sql has no column \"score\""),
            ("id bigint, score double", "a double", "customers.sql has no column \"id\""),
            ("id bigint, score varchar", "id bigint", "must be a number"),
            ("id bigint, score double", "id varchar", "is bigint in training.sql and varchar in customers.sql"),
            ("id bigint, a double, score double", "id bigint", "customers.sql has no column \"a\""),
            ("id bigint, a double, score double", "id bigint, a date", "is double in training.sql and date"),
            ("id bigint, a double, A double, score double", "id bigint, a double", "is there twice"),
            ("id bigint, a json, score double", "id bigint, a json", "cast it"),
            ("id bigint, a map, score double", "id bigint, a map", "can be no feature"),
            ("id row, score double", "id row", "must be a text or a number"),
        ] {
            let message = check(training, customers).unwrap_err();
            assert!(message.contains(said), "{message}");
        }
    }
}
