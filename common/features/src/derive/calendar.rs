//! Dates and times as days since 1970-01-01 (UTC), with fractions for the time of day; NaN is missing.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, Timelike};

const MICROSECONDS_PER_SECOND: i64 = 1_000_000;
const MICROSECONDS_PER_DAY: i64 = 86_400 * MICROSECONDS_PER_SECOND;

/// The days of an instant given in microseconds since 1970-01-01.
///
/// The quotient is the nearest f64, so an instant has the same days whatever unit its column is stored in.
#[must_use]
pub fn days_from_microseconds(microseconds: i64) -> f64 {
    microseconds as f64 / MICROSECONDS_PER_DAY as f64
}

/// Microseconds since 1970-01-01: exact for what [`days_from_microseconds`] made of the years 1821 to 2149.
/// `None` for what is missing or beyond the calendar (some 260,000 years).
fn microseconds(days: f64) -> Option<i64> {
    let microseconds = (days * MICROSECONDS_PER_DAY as f64).round();
    // 2^62 is beyond chrono's last year and leaves room for differences. NaN fails the comparison.
    (microseconds.abs() < 4.6e18).then_some(microseconds as i64)
}

fn date_time(days: f64) -> Option<NaiveDateTime> {
    microseconds(days).and_then(DateTime::from_timestamp_micros).map(|instant| instant.naive_utc())
}

/// `later - earlier` in days; NaN where either is missing.
pub(super) fn days_between(later: f64, earlier: f64) -> f64 {
    match (microseconds(later), microseconds(earlier)) {
        (Some(later), Some(earlier)) => days_from_microseconds(later - earlier),
        _ => f64::NAN,
    }
}

/// Parses `yyyy-mm-dd` into days.
#[must_use]
pub fn parse_date(text: &str) -> Option<f64> {
    (text.len() == "yyyy-mm-dd".len()).then(|| parse_timestamp(text)).flatten()
}

/// Parses `yyyy-mm-dd`, `yyyy-mm-dd hh:mm[:ss[.ffffff]]` (a `T` may stand for the space), or the same with an offset from
/// UTC (`Z`, `+02:00`), into days: what a cell of CSV may hold.
#[must_use]
pub fn parse_timestamp(text: &str) -> Option<f64> {
    let instant = columns::cells::parse_timestamp(&text.replacen('t', "T", 1))?;
    Some(days_from_microseconds(instant.microseconds))
}

/// A part of a date, as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatePart {
    /// The calendar's year.
    Year,
    /// 1 to 4.
    Quarter,
    /// 1 to 12.
    Month,
    /// The week of ISO 8601, 1 to 53.
    Week,
    /// The day of the month.
    Day,
    /// 1 is Monday, 7 is Sunday.
    DayOfWeek,
    /// 1 to 366.
    DayOfYear,
    /// 0 to 23.
    Hour,
    /// 0 to 59.
    Minute,
    /// 0 to 59.
    Second,
}

impl DatePart {
    /// The part called `name`, a function's name or a field of `EXTRACT`, in upper case.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "YEAR" => Self::Year,
            "QUARTER" => Self::Quarter,
            "MONTH" => Self::Month,
            "WEEK" | "WEEK_OF_YEAR" => Self::Week,
            "DAY" | "DAY_OF_MONTH" => Self::Day,
            "DAY_OF_WEEK" | "DOW" => Self::DayOfWeek,
            "DAY_OF_YEAR" | "DOY" => Self::DayOfYear,
            "HOUR" => Self::Hour,
            "MINUTE" => Self::Minute,
            "SECOND" => Self::Second,
            _ => return None,
        })
    }

    /// The part of a date; NaN where it is missing.
    pub(super) fn of(self, days: f64) -> f64 {
        date_time(days).map_or(f64::NAN, |instant| self.of_instant(instant))
    }

    fn of_instant(self, instant: NaiveDateTime) -> f64 {
        match self {
            Self::Year => f64::from(instant.year()),
            Self::Quarter => f64::from(instant.month0() / 3 + 1),
            Self::Month => f64::from(instant.month()),
            Self::Week => f64::from(instant.iso_week().week()),
            Self::Day => f64::from(instant.day()),
            Self::DayOfWeek => f64::from(instant.weekday().number_from_monday()),
            Self::DayOfYear => f64::from(instant.ordinal()),
            Self::Hour => f64::from(instant.hour()),
            Self::Minute => f64::from(instant.minute()),
            Self::Second => f64::from(instant.second()),
        }
    }
}

/// A unit that `DATE_DIFF` counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DateUnit {
    /// A unit of fixed length, in microseconds.
    Fixed(i64),
    /// A unit of so many months.
    Months(i64),
}

impl DateUnit {
    /// The unit called `name`, in lower case.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "millisecond" => Self::Fixed(1_000),
            "second" => Self::Fixed(MICROSECONDS_PER_SECOND),
            "minute" => Self::Fixed(60 * MICROSECONDS_PER_SECOND),
            "hour" => Self::Fixed(3_600 * MICROSECONDS_PER_SECOND),
            "day" => Self::Fixed(MICROSECONDS_PER_DAY),
            "week" => Self::Fixed(7 * MICROSECONDS_PER_DAY),
            "month" => Self::Months(1),
            "quarter" => Self::Months(3),
            "year" => Self::Months(12),
            _ => return None,
        })
    }

    /// Complete units from `earlier` to `later`, negative where they are the other way round; NaN where either is missing.
    pub(super) fn between(self, earlier: f64, later: f64) -> f64 {
        self.count(earlier, later).map_or(f64::NAN, |count| count as f64)
    }

    fn count(self, earlier: f64, later: f64) -> Option<i64> {
        match self {
            Self::Fixed(length) => Some((microseconds(later)? - microseconds(earlier)?) / length),
            Self::Months(months) => Some(complete_months(date_time(earlier)?, date_time(later)?) / months),
        }
    }
}

/// Complete months between two instants, truncated towards zero. The last day of a shorter month completes a month that began
/// on a day it does not have: 31 January to 28 February is one month, as Athena counts.
fn complete_months(from: NaiveDateTime, to: NaiveDateTime) -> i64 {
    if to < from {
        return -complete_months(to, from);
    }
    let months = (i64::from(to.year()) - i64::from(from.year())) * 12 + i64::from(to.month()) - i64::from(from.month());
    let day_in_last_month = from.day().min(days_in_month(to.date()));
    let incomplete = (day_in_last_month, from.time()) > (to.day(), to.time());
    months - i64::from(incomplete)
}

fn days_in_month(date: NaiveDate) -> u32 {
    u32::from(date.num_days_in_month())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> f64 {
        parse_timestamp(text).unwrap()
    }

    #[test]
    fn days_count_from_1970() {
        assert_eq!(at("1970-01-01"), 0.0);
        assert_eq!(at("1969-12-31T12:00:00"), -0.5);
        assert_eq!(at("2000-01-01 06:00"), 10_957.25);
        assert_eq!(at("2024-02-29T00:00:00Z"), 19_782.0);
        assert_eq!(at("2024-02-29T02:00:00+02:00"), 19_782.0);
        for wrong in
            ["", "2024", "24-1-5", "24-01-05 10:00", "2023-02-29", "29.02.2024", "2024-02-29x", "2024-01-01 25:00:00"]
        {
            assert_eq!(parse_timestamp(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_microsecond_survives_the_way_through_days() {
        for text in ["2024-05-06 07:08:09.123456", "1821-01-01 23:59:59.999999", "2149-01-01 00:00:00.000001"] {
            let days = at(text);
            assert_eq!(days_from_microseconds(microseconds(days).unwrap()), days);
            assert!(date_time(days).unwrap().to_string().ends_with(&text[11..]), "{text}");
        }
    }

    #[test]
    fn parts_follow_iso_8601() {
        let sunday = at("2023-01-01 13:14:15.9");
        let expected = [
            (DatePart::Year, 2023.0),
            (DatePart::Quarter, 1.0),
            (DatePart::Month, 1.0),
            (DatePart::Week, 52.0),
            (DatePart::Day, 1.0),
            (DatePart::DayOfWeek, 7.0),
            (DatePart::DayOfYear, 1.0),
            (DatePart::Hour, 13.0),
            (DatePart::Minute, 14.0),
            (DatePart::Second, 15.0),
        ];
        for (part, value) in expected {
            assert_eq!(part.of(sunday), value, "{part:?}");
        }
        assert!(DatePart::Year.of(f64::NAN).is_nan());
        assert!(DatePart::Year.of(1e9).is_nan());
        assert!(DatePart::Year.of(f64::INFINITY).is_nan());
    }

    #[test]
    fn differences_count_complete_units() {
        let month = DateUnit::named("month").unwrap();
        assert_eq!(month.between(at("2024-01-31"), at("2024-02-29")), 1.0);
        assert_eq!(month.between(at("2024-01-31"), at("2024-02-28")), 0.0);
        assert_eq!(month.between(at("2024-02-29"), at("2024-01-31")), -1.0);
        assert_eq!(month.between(at("2024-01-15 12:00"), at("2024-02-15 11:59")), 0.0);
        assert_eq!(DateUnit::named("year").unwrap().between(at("2000-02-29"), at("2024-02-28")), 23.0);
        assert_eq!(DateUnit::named("day").unwrap().between(at("2024-01-01 23:00"), at("2024-01-02 22:00")), 0.0);
        assert_eq!(DateUnit::named("hour").unwrap().between(at("2024-01-02"), at("2024-01-01 22:30")), -1.0);
        assert!(month.between(f64::NAN, 0.0).is_nan());
    }

    #[test]
    fn differences_in_days_are_exact() {
        assert_eq!(days_between(at("2024-05-06 08:00"), at("2024-05-06 07:00")), 1.0 / 24.0);
        assert_eq!(days_between(at("2024-03-01"), at("2024-02-01")), 29.0);
        assert!(days_between(f64::NAN, 0.0).is_nan());
    }
}
