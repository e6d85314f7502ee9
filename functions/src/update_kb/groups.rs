//! Groups of customers: by tenths of the prediction and by the levels of chosen columns.

use features::encode::Kind;
use registry::Metadata;

use super::LEAST_GROUP;
use super::document::number;
use crate::athena::Table;
use crate::athena::text::{literal, name};
use crate::context::Invocation;
use crate::failure::{Failure, Result};
use crate::tables::full_name;

/// Columns that are chosen where none are set, and levels of such a column at most.
const CHOSEN: usize = 5;
const LEVELS_OF_CHOSEN: usize = 50;
/// Levels of a column that are told of.
const LEVELS_TOLD: usize = 100;
/// What the tenths of the prediction are called among the columns.
pub(super) const TENTHS: &str = "decile";

/// A group.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Group {
    /// The column.
    pub(super) column: String,
    /// Its value; `None` is null.
    pub(super) level: Option<String>,
    /// Customers in it.
    pub(super) rows: u64,
    /// Their mean prediction, unless it would tell the least or greatest one.
    pub(super) mean: Option<String>,
}

/// The columns whose levels are told of: those that are set, or the categories that the model gains most from.
pub(super) fn columns(
    invocation: &Invocation<'_>,
    metadata: &Metadata,
    importance: &[(String, f64)],
    known: &[String],
) -> Result<Vec<String>> {
    let find = |wanted: &str| known.iter().find(|column| column.eq_ignore_ascii_case(wanted)).cloned();
    let is_id = |column: &str| column.eq_ignore_ascii_case(&metadata.id);
    let set = &invocation.settings.segments;
    if !set.is_empty() {
        let needed = |column: &String| {
            let problem = format!("SEGMENTS: the results have no column \"{column}\" whose levels could be told of");
            find(column).filter(|column| !is_id(column)).ok_or_else(|| Failure::settings(problem))
        };
        return set.iter().map(needed).collect();
    }
    let is_category = |kind: &Kind| matches!(kind, Kind::Category { .. } | Kind::Encoded { .. });
    let mut chosen = Vec::new();
    for (feature, _) in importance {
        let feature = metadata.features.iter().find(|known| known.name == *feature && is_category(&known.kind));
        let levels = feature.and_then(|feature| feature.levels()).map_or(0, <[String]>::len);
        let column = feature.and_then(|feature| feature.source_column()).and_then(find);
        if let Some(column) = column
            .filter(|column| (1..=LEVELS_OF_CHOSEN).contains(&levels) && !is_id(column) && !chosen.contains(column))
        {
            chosen.push(column);
        }
    }
    chosen.truncate(CHOSEN);
    Ok(chosen)
}

/// Reads the groups of all columns by one query.
pub(super) async fn read(invocation: &Invocation<'_>, columns: &[String]) -> Result<Vec<Group>> {
    let sql = sql(&full_name(invocation, "results"), invocation.event.run_id.as_str(), columns);
    let table = invocation.queries.rows("measuring groups of customers", &sql).await?;
    from_rows(&table)
}

fn sql(results: &str, run_id: &str, columns: &[String]) -> String {
    let run = literal(run_id);
    let all = "SELECT '' AS segment, cast(NULL AS varchar) AS level, count(*) AS row_count, avg(prediction) AS mean, min(prediction) AS least, \
               max(prediction) AS greatest FROM scored"
        .to_owned();
    let of = |column: &str| {
        let (label, column) = (literal(column), name(column));
        format!(
            "SELECT {label} AS segment, cast({column} AS varchar) AS level, count(*) AS row_count, avg(prediction) AS mean, \
             cast(NULL AS double) AS least, cast(NULL AS double) AS greatest FROM scored GROUP BY {column} HAVING count(*) >= {LEAST_GROUP}"
        )
    };
    let groups = [TENTHS].into_iter().chain(columns.iter().map(String::as_str)).map(of);
    let parts: Vec<String> = [all].into_iter().chain(groups).collect();
    let scored = format!("SELECT * FROM {results} WHERE run_id = {run} AND status = 'scored'");
    format!(
        "WITH scored AS ({scored}) SELECT * FROM ({}) AS found ORDER BY segment, row_count DESC, level",
        parts.join(" UNION ALL ")
    )
}

/// The groups that may be told of.
fn from_rows(table: &Table) -> Result<Vec<Group>> {
    let (mut all, mut hidden) = (0, Vec::new());
    let mut groups: Vec<Group> = Vec::new();
    for row in 0..table.rows.len() {
        let column: String = table.value(row, "segment")?.unwrap_or_default();
        let (rows, mean): (u64, Option<f64>) = (table.needed(row, "row_count")?, table.value(row, "mean")?);
        if column.is_empty() {
            all = rows;
            let extremes: [Option<f64>; 2] = [table.value(row, "least")?, table.value(row, "greatest")?];
            hidden = extremes.into_iter().flatten().map(number).collect();
        }
        let mean = mean.map(number).filter(|mean| !hidden.contains(mean));
        groups.push(Group { column, level: table.value(row, "level")?, rows, mean });
    }
    Ok(told(&groups, all))
}

/// Leaves out what is too small, and of each column the smallest group where the rest of the customers is too small: it would be what
/// the others leave.
fn told(groups: &[Group], all: u64) -> Vec<Group> {
    let mut told: Vec<Group> = Vec::new();
    let mut columns: Vec<String> = Vec::new();
    for group in groups {
        if !columns.contains(&group.column) {
            columns.push(group.column.clone());
        }
    }
    for column in columns {
        let mut of_column: Vec<Group> = groups
            .iter()
            .filter(|group| group.column == column && group.rows >= LEAST_GROUP)
            .take(LEVELS_TOLD)
            .cloned()
            .collect();
        let rest = all.saturating_sub(of_column.iter().map(|group| group.rows).sum());
        if (1..LEAST_GROUP).contains(&rest) && !column.is_empty() {
            let smallest = of_column.iter().enumerate().min_by_key(|(_, group)| group.rows).map(|(index, _)| index);
            smallest.map(|index| of_column.remove(index));
        }
        told.extend(of_column);
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(column: &str, level: &str, rows: u64) -> Group {
        Group { column: column.to_owned(), level: Some(level.to_owned()), rows, mean: None }
    }

    #[test]
    fn a_small_group_is_neither_told_of_nor_left_over() {
        let all = group("", "", 150);
        let told = |groups: &[(&str, u64)]| {
            let groups = groups.iter().map(|(level, rows)| group("type", level, *rows));
            let told = told(&[all.clone()].into_iter().chain(groups).collect::<Vec<_>>(), 150);
            told.into_iter().skip(1).filter_map(|group| group.level).collect::<Vec<_>>()
        };
        assert_eq!(told(&[("a", 100), ("b", 50)]), ["a", "b"]);
        assert_eq!(told(&[("a", 100), ("b", 30), ("c", 20)]), ["a", "b", "c"]);
        // 19 are left: with both others told of, they would be known.
        assert_eq!(told(&[("a", 100), ("b", 31), ("c", 19)]), ["a"]);
        assert_eq!(told(&[("a", 100), ("b", 19), ("c", 19)]), ["a"]);
    }

    #[test]
    fn the_least_and_the_greatest_are_not_told() {
        let cell = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let columns = ["segment", "level", "row_count", "mean", "least", "greatest"];
        let table = Table {
            columns: columns.map(|name| crate::athena::Column { name: name.to_owned(), kind: String::new() }).into(),
            rows: [
                ["", "", "100", "0.5", "0", "1"],
                ["decile", "1", "50", "0.0", "", ""],
                ["decile", "2", "50", "0.7", "", ""],
            ]
            .map(|row| row.map(cell).into())
            .into(),
        };
        let means: Vec<_> = from_rows(&table).unwrap().into_iter().map(|group| group.mean).collect();
        assert_eq!(means, [Some("0.500".to_owned()), None, Some("0.700".to_owned())]);
    }
}
