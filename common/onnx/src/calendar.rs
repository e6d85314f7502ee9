//! Dates in integers: microseconds since 1970-01-01, the calendar's parts, and complete units between two instants.

use features::derive::{DatePart, DateUnit};

use super::graph::{Element, Graph, Tensor};

pub(super) const MICROSECONDS_PER_DAY: i64 = 86_400_000_000;
/// What is further from 1970 is missing, as in `features::derive`.
const MOST_MICROSECONDS: f64 = 4.6e18;
/// The days of the years -262143 to 262142, which the calendar of `features` has.
const FIRST_DAY: i64 = -96_465_292;
const LAST_DAY: i64 = 95_026_236;

/// Instants as integers, and which of them are known.
struct Instants {
    microseconds: Tensor,
    known: Tensor,
}

/// A date of the calendar.
struct Civil {
    year: Tensor,
    month: Tensor,
    day: Tensor,
}

/// Whole numbers, which ONNX divides towards zero.
impl Graph {
    fn plus(&mut self, value: &Tensor, constant: i64) -> Tensor {
        let constant = self.integer(constant);
        self.op("Add", &[value, &constant])
    }

    fn times(&mut self, value: &Tensor, constant: i64) -> Tensor {
        let constant = self.integer(constant);
        self.op("Mul", &[value, &constant])
    }

    fn over(&mut self, value: &Tensor, constant: i64) -> Tensor {
        let constant = self.integer(constant);
        self.op("Div", &[value, &constant])
    }

    /// Quotient and remainder with the quotient rounded down, so that the remainder is not negative.
    fn down(&mut self, value: &Tensor, constant: i64) -> (Tensor, Tensor) {
        let divisor = self.integer(constant);
        let rest = self.op("Mod", &[value, &divisor]);
        let multiple = self.op("Sub", &[value, &rest]);
        (self.op("Div", &[&multiple, &divisor]), rest)
    }

    fn is_at_most(&mut self, value: &Tensor, constant: i64) -> Tensor {
        let constant = self.integer(constant);
        self.op("LessOrEqual", &[value, &constant])
    }

    /// 1 where the condition holds, else 0.
    fn as_integer(&mut self, condition: &Tensor) -> Tensor {
        self.cast(condition, Element::Integer)
    }

    /// 64-bit floats of integers, NaN where they are not known.
    fn known(&mut self, integers: &Tensor, known: &Tensor) -> Tensor {
        let (wide, nothing) = (self.cast(integers, Element::Double), self.number(f64::NAN));
        self.choose(known, &wide, &nothing)
    }
}

fn instants(graph: &mut Graph, days: &Tensor) -> Instants {
    let (day, most, zero) =
        (graph.number(MICROSECONDS_PER_DAY as f64), graph.number(MOST_MICROSECONDS), graph.number(0.0));
    let exact = graph.op("Mul", &[days, &day]);
    let microseconds = graph.round(&exact);
    let size = graph.op("Abs", &[&microseconds]);
    let known = graph.op("Less", &[&size, &most]);
    let plain = graph.choose(&known, &microseconds, &zero);
    Instants { microseconds: graph.cast(&plain, Element::Integer), known }
}

/// The same with what is outside of the calendar unknown.
fn instants_of_the_calendar(graph: &mut Graph, days: &Tensor) -> Instants {
    let Instants { microseconds, known } = instants(graph, days);
    let (day, _) = graph.down(&microseconds, MICROSECONDS_PER_DAY);
    let not_late = graph.is_at_most(&day, LAST_DAY);
    let too_early = graph.is_at_most(&day, FIRST_DAY - 1);
    let not_early = graph.op("Not", &[&too_early]);
    let inside = graph.op("And", &[&not_early, &not_late]);
    Instants { known: graph.op("And", &[&known, &inside]), microseconds }
}

/// `later - earlier` in days.
pub(super) fn days_between(graph: &mut Graph, later: &Tensor, earlier: &Tensor) -> Tensor {
    let (later, earlier) = (instants(graph, later), instants(graph, earlier));
    let known = graph.op("And", &[&later.known, &earlier.known]);
    let difference = graph.op("Sub", &[&later.microseconds, &earlier.microseconds]);
    let microseconds = graph.known(&difference, &known);
    let day = graph.number(MICROSECONDS_PER_DAY as f64);
    graph.op("Div", &[&microseconds, &day])
}

/// A part of a date, as a number.
pub(super) fn part(graph: &mut Graph, part: DatePart, days: &Tensor) -> Tensor {
    let Instants { microseconds, known } = instants_of_the_calendar(graph, days);
    let (day, of_day) = graph.down(&microseconds, MICROSECONDS_PER_DAY);
    let of_time = |graph: &mut Graph, length: i64, count: i64| {
        let whole = graph.over(&of_day, length);
        graph.down(&whole, count).1
    };
    let value = match part {
        DatePart::Year => civil(graph, &day).year,
        DatePart::Month => civil(graph, &day).month,
        DatePart::Day => civil(graph, &day).day,
        DatePart::Quarter => {
            let month = civil(graph, &day).month;
            let from_zero = graph.plus(&month, -1);
            let quarter = graph.over(&from_zero, 3);
            graph.plus(&quarter, 1)
        }
        DatePart::DayOfWeek => day_of_week(graph, &day),
        DatePart::DayOfYear => {
            let date = civil(graph, &day);
            let from_zero = since_new_year(graph, &day, &date.year);
            graph.plus(&from_zero, 1)
        }
        DatePart::Week => week(graph, &day),
        DatePart::Hour => of_time(graph, 3_600_000_000, 24),
        DatePart::Minute => of_time(graph, 60_000_000, 60),
        DatePart::Second => of_time(graph, 1_000_000, 60),
    };
    graph.known(&value, &known)
}

/// 1 is Monday.
fn day_of_week(graph: &mut Graph, day: &Tensor) -> Tensor {
    let from_monday = graph.plus(day, 3);
    let (_, of_week) = graph.down(&from_monday, 7);
    graph.plus(&of_week, 1)
}

/// The week of a day is that of its Thursday, of whose year it is counted.
fn week(graph: &mut Graph, day: &Tensor) -> Tensor {
    let of_week = day_of_week(graph, day);
    let monday = graph.op("Sub", &[day, &of_week]);
    let thursday = graph.plus(&monday, 4);
    let date = civil(graph, &thursday);
    let days = since_new_year(graph, &thursday, &date.year);
    let weeks = graph.over(&days, 7);
    graph.plus(&weeks, 1)
}

fn since_new_year(graph: &mut Graph, day: &Tensor, year: &Tensor) -> Tensor {
    let first = graph.integer(1);
    let new_year = day_of(graph, &Civil { year: year.clone(), month: first.clone(), day: first });
    graph.op("Sub", &[day, &new_year])
}

/// Year, month and day of days since 1970-01-01, in the calendar of today for all times (H. Hinnant's algorithm).
fn civil(graph: &mut Graph, day: &Tensor) -> Civil {
    let shifted = graph.plus(day, 719_468);
    let (era, of_era) = graph.down(&shifted, 146_097);
    let (fours, centuries, eras) =
        (graph.over(&of_era, 1_460), graph.over(&of_era, 36_524), graph.over(&of_era, 146_096));
    let without_fours = graph.op("Sub", &[&of_era, &fours]);
    let with_centuries = graph.op("Add", &[&without_fours, &centuries]);
    let plain = graph.op("Sub", &[&with_centuries, &eras]);
    let year_of_era = graph.over(&plain, 365);
    let days_before = days_before(graph, &year_of_era);
    let of_year = graph.op("Sub", &[&of_era, &days_before]);
    let five = graph.times(&of_year, 5);
    let five = graph.plus(&five, 2);
    let from_march = graph.over(&five, 153);
    let before_month = days_before_month(graph, &from_march);
    let of_month = graph.op("Sub", &[&of_year, &before_month]);
    let is_in_first_year = graph.is_at_most(&from_march, 9);
    let (later, sooner) = (graph.plus(&from_march, 3), graph.plus(&from_march, -9));
    let month = graph.choose(&is_in_first_year, &later, &sooner);
    let eras = graph.times(&era, 400);
    let year = graph.op("Add", &[&year_of_era, &eras]);
    let is_early = graph.is_at_most(&month, 2);
    let one_more = graph.as_integer(&is_early);
    Civil { year: graph.op("Add", &[&year, &one_more]), month, day: graph.plus(&of_month, 1) }
}

/// Days of an era before its year, whose months begin in March.
fn days_before(graph: &mut Graph, year_of_era: &Tensor) -> Tensor {
    let (days, leap, centuries) =
        (graph.times(year_of_era, 365), graph.over(year_of_era, 4), graph.over(year_of_era, 100));
    let with_leap = graph.op("Add", &[&days, &leap]);
    graph.op("Sub", &[&with_leap, &centuries])
}

/// Days of a year before its month, counted from March.
fn days_before_month(graph: &mut Graph, from_march: &Tensor) -> Tensor {
    let days = graph.times(from_march, 153);
    let days = graph.plus(&days, 2);
    graph.over(&days, 5)
}

/// Days since 1970-01-01 of a date; the inverse of [`civil`].
fn day_of(graph: &mut Graph, date: &Civil) -> Tensor {
    let is_early = graph.is_at_most(&date.month, 2);
    let one_less = graph.as_integer(&is_early);
    let year = graph.op("Sub", &[&date.year, &one_less]);
    let (era, year_of_era) = graph.down(&year, 400);
    let (later, sooner) = (graph.plus(&date.month, 9), graph.plus(&date.month, -3));
    let from_march = graph.choose(&is_early, &later, &sooner);
    let before_month = days_before_month(graph, &from_march);
    let before_year = days_before(graph, &year_of_era);
    let of_eras = graph.times(&era, 146_097);
    let days = graph.op("Add", &[&before_month, &before_year]);
    let days = graph.op("Add", &[&days, &of_eras]);
    let days = graph.op("Add", &[&days, &date.day]);
    graph.plus(&days, -719_469)
}

/// Complete units from `earlier` to `later`, negative where they are the other way round.
pub(super) fn difference(graph: &mut Graph, unit: DateUnit, earlier: &Tensor, later: &Tensor) -> Tensor {
    let (since, to) = match unit {
        DateUnit::Fixed(_) => (instants(graph, earlier), instants(graph, later)),
        DateUnit::Months(_) => (instants_of_the_calendar(graph, earlier), instants_of_the_calendar(graph, later)),
    };
    let known = graph.op("And", &[&since.known, &to.known]);
    let count = match unit {
        DateUnit::Fixed(length) => {
            let difference = graph.op("Sub", &[&to.microseconds, &since.microseconds]);
            graph.over(&difference, length)
        }
        DateUnit::Months(months) => {
            let backwards = graph.op("Less", &[&to.microseconds, &since.microseconds]);
            let first = graph.choose(&backwards, &to.microseconds, &since.microseconds);
            let second = graph.choose(&backwards, &since.microseconds, &to.microseconds);
            let complete = complete_months(graph, &first, &second);
            let negative = graph.op("Neg", &[&complete]);
            let signed = graph.choose(&backwards, &negative, &complete);
            graph.over(&signed, months)
        }
    };
    graph.known(&count, &known)
}

/// The last day of a shorter month completes a month that began on a day it does not have.
fn complete_months(graph: &mut Graph, since: &Tensor, to: &Tensor) -> Tensor {
    let ((since_day, since_time), (to_day, to_time)) =
        (graph.down(since, MICROSECONDS_PER_DAY), graph.down(to, MICROSECONDS_PER_DAY));
    let (from, until) = (civil(graph, &since_day), civil(graph, &to_day));
    let years = graph.op("Sub", &[&until.year, &from.year]);
    let of_years = graph.times(&years, 12);
    let months = graph.op("Sub", &[&until.month, &from.month]);
    let months = graph.op("Add", &[&of_years, &months]);
    let last = days_in_month(graph, &until);
    let is_shorter = graph.op("Less", &[&last, &from.day]);
    let day = graph.choose(&is_shorter, &last, &from.day);
    let is_later_day = graph.op("Greater", &[&day, &until.day]);
    let is_same_day = graph.op("Equal", &[&day, &until.day]);
    let is_later_time = graph.op("Greater", &[&since_time, &to_time]);
    let is_later_on_the_day = graph.op("And", &[&is_same_day, &is_later_time]);
    let incomplete = graph.op("Or", &[&is_later_day, &is_later_on_the_day]);
    let one_less = graph.as_integer(&incomplete);
    graph.op("Sub", &[&months, &one_less])
}

fn days_in_month(graph: &mut Graph, date: &Civil) -> Tensor {
    let first = graph.integer(1);
    let begin = day_of(graph, &Civil { year: date.year.clone(), month: date.month.clone(), day: first.clone() });
    let (_, of_year) = graph.down(&date.month, 12);
    let is_december = graph.is_at_most(&of_year, 0);
    let one_more = graph.as_integer(&is_december);
    let year = graph.op("Add", &[&date.year, &one_more]);
    let month = graph.plus(&of_year, 1);
    let end = day_of(graph, &Civil { year, month, day: first });
    graph.op("Sub", &[&end, &begin])
}
