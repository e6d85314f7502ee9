//! The functions of the subset, and what to say of all others.

use sqlparser::ast::{Expr, Function as SqlFunction, FunctionArg, FunctionArgExpr, FunctionArguments};

use super::Converter;
use crate::derive::calendar::{DatePart, DateUnit};
use crate::derive::error::Problem;
use crate::derive::node::{Function, Literal, Node, Unary};

const AGGREGATES: &[&str] = &[
    "ANY_VALUE",
    "APPROX_DISTINCT",
    "APPROX_PERCENTILE",
    "ARBITRARY",
    "ARRAY_AGG",
    "AVG",
    "BOOL_AND",
    "BOOL_OR",
    "CORR",
    "COUNT",
    "COUNT_IF",
    "FIRST",
    "LAST",
    "LISTAGG",
    "MAX",
    "MAX_BY",
    "MEAN",
    "MEDIAN",
    "MIN",
    "MIN_BY",
    "MODE",
    "QUANTILE",
    "STDDEV",
    "STDDEV_POP",
    "STDDEV_SAMP",
    "STRING_AGG",
    "SUM",
    "VARIANCE",
    "VAR_POP",
    "VAR_SAMP",
];
const WINDOWS: &[&str] = &[
    "CUME_DIST",
    "DENSE_RANK",
    "FIRST_VALUE",
    "LAG",
    "LAST_VALUE",
    "LEAD",
    "NTH_VALUE",
    "NTILE",
    "PERCENT_RANK",
    "RANK",
    "ROW_NUMBER",
];
const RANDOM: &[&str] = &["GEN_RANDOM_UUID", "NEWID", "RAND", "RANDN", "RANDOM", "SETSEED", "SHUFFLE", "UUID"];
const CLOCKS: &[&str] = &[
    "CLOCK_TIMESTAMP",
    "CURRENT_DATE",
    "CURRENT_TIME",
    "CURRENT_TIMESTAMP",
    "CURRENT_TIMEZONE",
    "GETDATE",
    "LOCALTIME",
    "LOCALTIMESTAMP",
    "NOW",
    "SYSDATE",
    "TODAY",
    "TRANSACTION_TIMESTAMP",
    "UNIX_TIMESTAMP",
    "UTC_TIMESTAMP",
];

const FUNCTIONS: &str = "the functions are COALESCE, NULLIF, LEAST, GREATEST, ABS, LN, EXP, SQRT, POWER, FLOOR, CEIL, ROUND, \
DATE_DIFF, EXTRACT and the date parts YEAR, QUARTER, MONTH, WEEK, DAY, DAY_OF_WEEK, DAY_OF_YEAR, HOUR, MINUTE, SECOND";

/// Converts a call of a function.
pub(super) fn convert(converter: &mut Converter, function: SqlFunction) -> Result<Node, Problem> {
    let name = function.name.to_string().to_uppercase();
    if function.over.is_some() || WINDOWS.contains(&name.as_str()) {
        return Err(not_row_by_row(&name, "a window function"));
    }
    if let Some(what) = forbidden(&name) {
        return Err(what);
    }
    let function_has_more = function.filter.is_some()
        || function.null_treatment.is_some()
        || !function.within_group.is_empty()
        || function.uses_odbc_syntax
        || function.parameters != FunctionArguments::None;
    if function_has_more {
        return Err(Problem::Unsupported(format!("{name} takes arguments in parentheses and nothing else")));
    }
    let arguments = plain_arguments(&name, function.args)?;
    if let Some(part) = DatePart::named(&name) {
        let [date] = exactly(&name, arguments)?;
        return Ok(Node::Part(part, converter.boxed(date)?));
    }
    match name.as_str() {
        "DATE_DIFF" => date_difference(converter, exactly(&name, arguments)?),
        _ => call(converter, &name, arguments),
    }
}

fn call(converter: &mut Converter, name: &str, arguments: Vec<Expr>) -> Result<Node, Problem> {
    let (function, allowed) = match name {
        "COALESCE" => (Function::Coalesce, 1..=usize::MAX),
        "LEAST" => (Function::Least, 1..=usize::MAX),
        "GREATEST" => (Function::Greatest, 1..=usize::MAX),
        "NULLIF" => (Function::NullIf, 2..=2),
        "POWER" | "POW" => (Function::Power, 2..=2),
        "ABS" => (Function::Unary(Unary::Abs), 1..=1),
        "LN" => (Function::Unary(Unary::Ln), 1..=1),
        "EXP" => (Function::Unary(Unary::Exp), 1..=1),
        "SQRT" => (Function::Unary(Unary::Sqrt), 1..=1),
        "FLOOR" => (Function::Unary(Unary::Floor), 1..=1),
        "CEIL" | "CEILING" => (Function::Unary(Unary::Ceil), 1..=1),
        "ROUND" => (Function::Unary(Unary::Round), 1..=1),
        _ => return Err(unknown(name)),
    };
    if !allowed.contains(&arguments.len()) {
        let wanted = if *allowed.start() == 1 && *allowed.end() > 1 {
            "at least 1".to_owned()
        } else {
            allowed.start().to_string()
        };
        return Err(wrong_count(name, &wanted, arguments.len()));
    }
    let arguments = arguments.into_iter().map(|argument| converter.convert(argument));
    Ok(Node::Call(function, arguments.collect::<Result<_, _>>()?))
}

fn date_difference(converter: &mut Converter, [unit, earlier, later]: [Expr; 3]) -> Result<Node, Problem> {
    let unit = match converter.convert(unit)? {
        Node::Literal(Literal::Text(name)) => DateUnit::named(&name.to_lowercase()),
        _ => None,
    };
    let unit = unit.ok_or_else(|| {
        Problem::unsupported(
            "DATE_DIFF takes a unit first: 'millisecond', 'second', 'minute', 'hour', 'day', 'week', 'month', 'quarter' or 'year'",
        )
    })?;
    Ok(Node::DateDifference(unit, converter.boxed(earlier)?, converter.boxed(later)?))
}

/// The arguments of `f(a, b)`, without what aggregates may have there.
fn plain_arguments(name: &str, arguments: FunctionArguments) -> Result<Vec<Expr>, Problem> {
    let list = match arguments {
        FunctionArguments::None => return Ok(Vec::new()),
        FunctionArguments::Subquery(_) => {
            return Err(Problem::Unsupported(format!("{name} of a subquery is not supported")));
        }
        FunctionArguments::List(list) => list,
    };
    if list.duplicate_treatment.is_some() || !list.clauses.is_empty() {
        return Err(Problem::Unsupported(format!("{name} takes plain values only")));
    }
    let plain = list.args.into_iter().map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => Ok(expression),
        other => Err(Problem::Unsupported(format!("{name} takes plain values, not `{other}`"))),
    });
    plain.collect()
}

fn exactly<const COUNT: usize>(name: &str, arguments: Vec<Expr>) -> Result<[Expr; COUNT], Problem> {
    <[Expr; COUNT]>::try_from(arguments).map_err(|given| wrong_count(name, &COUNT.to_string(), given.len()))
}

fn wrong_count(name: &str, wanted: &str, given: usize) -> Problem {
    let plural = if wanted.ends_with('1') { "" } else { "s" };
    Problem::Unsupported(format!("{name} takes {wanted} argument{plural}, not {given}"))
}

/// What a feature must not use, whatever its arguments are.
fn forbidden(name: &str) -> Option<Problem> {
    if AGGREGATES.contains(&name) {
        return Some(not_row_by_row(name, "an aggregate"));
    }
    if RANDOM.contains(&name) {
        return Some(Problem::Unsupported(format!(
            "{name} is random: a derived feature must be the same whenever it is computed"
        )));
    }
    CLOCKS.contains(&name).then(|| {
        Problem::Unsupported(format!(
            "{name} reads the clock: a derived feature must be the same whenever it is computed; write a fixed DATE '…'"
        ))
    })
}

fn not_row_by_row(name: &str, what: &str) -> Problem {
    Problem::Unsupported(format!(
        "{name} is {what}: a derived feature is computed row by row, from columns of the same row"
    ))
}

fn unknown(name: &str) -> Problem {
    let hint = match name {
        "LOG" | "LOG10" | "LOG2" => "; LN is the natural logarithm",
        "IFNULL" | "NVL" | "ISNULL" => "; use COALESCE",
        "IF" | "IIF" | "DECODE" => "; use CASE WHEN … THEN … ELSE … END",
        "DATEDIFF" | "DATE_SUB" | "TIMESTAMPDIFF" => "; use DATE_DIFF('day', earlier, later)",
        "DATE" | "TO_DATE" | "DATE_PARSE" | "FROM_UNIXTIME" | "FROM_ISO8601_DATE" => {
            "; dates come as date columns or as DATE 'yyyy-mm-dd'"
        }
        "DATE_PART" => "; use EXTRACT(YEAR FROM d) or YEAR(d)",
        _ => "",
    };
    Problem::Unsupported(format!("the function {name} is not supported{hint}; {FUNCTIONS}"))
}

pub(super) fn unknown_part(name: &str) -> Problem {
    Problem::Unsupported(format!(
        "EXTRACT of {name} is not supported; the date parts are YEAR, QUARTER, MONTH, WEEK, DAY, DAY_OF_WEEK (DOW, 1 = Monday), \
         DAY_OF_YEAR (DOY), HOUR, MINUTE and SECOND"
    ))
}
