"""A column of any table as plain numpy arrays, its numbers, and the texts of its values.

Everything here says again in Python what `columns` and `features::encode::values` say in Rust, to the bit.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Literal

import numpy as np

from ._errors import DataError

Kind = Literal["integer", "float", "boolean", "text", "date", "time", "duration", "null"]

DESCRIBED: dict[str, str] = {
    "integer": "whole numbers", "float": "numbers", "boolean": "true/false", "text": "text", "date": "dates or timestamps",
    "time": "times of day", "duration": "durations", "null": "only nulls",
}  # fmt: skip
NUMBERS = ("integer", "float", "boolean")
TEMPORAL = ("date", "time", "duration")
MICROSECONDS_PER_DAY = 86_400_000_000
NANOSECONDS = {"D": 86_400_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
#: The only 32-bit float, but for its sign, whose shortest digits do not stand for it by way of a 64-bit one.
ODD, ODD_TEXT = np.uint32(363_742_205).view(np.float32), "0.000000000000000000000000070385307"


@dataclasses.dataclass(frozen=True)
class Column:
    """The values of one column. What lies where `missing` is true has no meaning."""

    name: str
    kind: Kind
    #: Integers and floats of any width, booleans, objects (text, Decimal, Python's integers), or 64-bit counts of `unit`.
    values: np.ndarray
    missing: np.ndarray
    #: D, ms, us or ns of dates and durations; times are nanoseconds.
    unit: str = ""

    def __len__(self) -> int:
        return len(self.missing)


def accepts(learnt: str, given: str) -> bool:
    """Whether a column of kind `given` can stand where `learnt` was learnt in training."""
    return given == learnt or "null" in (given, learnt) or (learnt in NUMBERS and given in NUMBERS)


def numbers(column: Column) -> np.ndarray:
    """64-bit floats, NaN where missing: dates and times in days since 1970-01-01, true as 1."""
    values, kind = column.values, column.kind
    if kind == "null":
        return np.full(len(column), np.nan)
    if kind in ("time", "duration") or (kind == "date" and column.unit != "D"):
        result = _microseconds(values, column.unit) / float(MICROSECONDS_PER_DAY)
    elif values.dtype == object:
        result = np.array([np.nan if gone else float(value) for value, gone in zip(values, column.missing)], dtype=np.float64)
    else:
        result = values.astype(np.float64)
    if column.missing.any():
        result = np.where(column.missing, np.nan, result)
    return result


def _microseconds(values: np.ndarray, unit: str) -> np.ndarray:
    """An instant has the same number of them, to the bit, whatever its unit."""
    if unit == "us":
        return values.astype(np.float64)
    if unit == "ms":
        fits = np.abs(values) <= (2**63 - 1) // 1_000
        with np.errstate(over="ignore"):
            return np.where(fits, (values * 1_000).astype(np.float64), values.astype(np.float64) * 1_000.0)
    # Towards zero, as Rust divides.
    whole = np.where(values >= 0, values // 1_000, -(-values // 1_000))
    return whole.astype(np.float64) + (values - whole * 1_000).astype(np.float64) / 1_000.0


def texts(column: Column) -> tuple[list[str | None], np.ndarray]:
    """The text of each distinct value, and for each row the place of its text in that list; the last place is None, what is missing.

    A value has one text, whoever wrote it.
    """
    if column.kind == "null":
        return [None], np.zeros(len(column), dtype=np.int64)
    if column.values.dtype == object:
        distinct: dict[Any, int] = {}
        places = np.fromiter(
            (-1 if gone else distinct.setdefault(value, len(distinct)) for value, gone in zip(column.values, column.missing)),
            dtype=np.int64, count=len(column),
        )  # fmt: skip
        values: Any = list(distinct)
    else:
        values, places = np.unique(column.values, return_inverse=True)
        places = np.where(column.missing, -1, places.reshape(-1))
    found = [_text(column, value, row) for value, row in _present(values, places)]
    # Values that only missing rows have no text is asked of.
    all_texts: list[str | None] = [None] * len(values)
    for place, text in found:
        all_texts[place] = text
    return [*all_texts, None], np.where(places < 0, len(values), places)


def _present(values: Any, places: np.ndarray) -> Iterator[tuple[Any, int]]:
    for place in np.unique(places[places >= 0]):
        yield values[place], int(place)


def _text(column: Column, value: Any, place: int) -> tuple[int, str | None]:
    kind = column.kind
    if kind == "text":
        return place, value
    if kind == "boolean":
        return place, "true" if value else "false"
    if kind in TEMPORAL:
        return place, _temporal_text(column, int(value))
    if isinstance(value, Decimal):
        return place, decimal_text(value)
    if kind == "integer":
        return place, str(int(value))
    return place, float_text(value)


def decimal_text(value: Decimal) -> str:
    """All digits of a decimal, without the zeros that end it."""
    text = format(value, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    if value == 0:
        # A decimal of Parquet has one zero.
        return "0"
    return text


def float_text(value: Any) -> str | None:
    """The fewest digits that read back as the same float of its own width, without an exponent; None for what is not finite."""
    if not np.isfinite(value):
        return None
    if value == 0:
        return "0"
    if isinstance(value, np.float32):
        if abs(value) == ODD:
            return ("-" if value < 0 else "") + ODD_TEXT
        if 2**53 <= abs(float(value)) < 1e38:
            return str(int(float(str(value))))
    elif abs(value) < 1e38 and float(value).is_integer():
        return str(int(value))
    return np.format_float_positional(value, trim="-")


def _temporal_text(column: Column, value: int) -> str:
    nanoseconds = value * NANOSECONDS[column.unit]
    if column.kind == "duration":
        seconds, rest = divmod(abs(nanoseconds), 1_000_000_000)
        return f"PT{'-' if nanoseconds < 0 else ''}{seconds}{_fraction(rest)}S"
    if column.kind == "time":
        return _time_of_day(nanoseconds)
    day, of_day = divmod(nanoseconds, NANOSECONDS["D"])
    if not FIRST_DAY <= day <= LAST_DAY:
        raise DataError(f'column "{column.name}" has a date outside of the calendar: correct it, or leave the column out')
    year, month, day_of_month = (int(part[0]) for part in civil(np.array([day])))
    year_text = f"{year:04}" if 0 <= year <= 9999 else f"{year:+05}"
    date = f"{year_text}-{month:02}-{day_of_month:02}"
    return date if of_day == 0 else f"{date} {_time_of_day(of_day)}"


def _time_of_day(nanoseconds: int) -> str:
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{_fraction(rest)}"


def _fraction(nanoseconds: int) -> str:
    return f".{nanoseconds:09}".rstrip("0") if nanoseconds else ""


def civil(days: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Year, month and day of days since 1970-01-01, in the calendar of today for all times (H. Hinnant's algorithm)."""
    shifted = days.astype(np.int64) + 719_468
    era, of_era = np.divmod(shifted, 146_097)
    year_of_era = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    from_march = (5 * of_year + 2) // 153
    day = of_year - (153 * from_march + 2) // 5 + 1
    month = np.where(from_march < 10, from_march + 3, from_march - 9)
    return year_of_era + era * 400 + (month <= 2), month, day


def days_of(year: Any, month: Any, day: Any) -> Any:
    """Days since 1970-01-01 of a date; the inverse of `civil`."""
    year = year - (np.asarray(month) <= 2)
    era, of_era = np.divmod(year, 400)
    of_year = (153 * (np.asarray(month) + np.where(np.asarray(month) > 2, -3, 9)) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468


#: What the calendar of the programs has.
FIRST_DAY, LAST_DAY = int(days_of(-262_143, 1, 1)), int(days_of(262_142, 12, 31))

_TIMESTAMP = re.compile(
    r"(\d{4})-(\d{1,2})-(\d{1,2})(?:[T ](\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:\.(\d+))?)?)?(?:\s*(?:([Zz])| UTC|([+-])(\d\d):?(\d\d)?))?$", re.ASCII
)


def parse_timestamp(text: str) -> float | None:
    """Days since 1970-01-01 of a date or timestamp in ISO 8601, as literals of expressions are; None where it is none."""
    match = _TIMESTAMP.match(text.strip().replace("t", "T", 1))
    if not match:
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    is_leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    longest = (31, 29 if is_leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    if not 1 <= month <= 12 or not 1 <= day <= longest[month - 1] or hour > 23 or minute > 59 or second > 59:
        return None
    micros = int(days_of(year, month, day)) * MICROSECONDS_PER_DAY + ((hour * 60 + minute) * 60 + second) * 1_000_000
    if match[7]:
        micros += int(match[7].ljust(6, "0")[:6])
    if match[9]:
        offset = (int(match[10]) * 60 + int(match[11] or 0)) * 60_000_000
        micros -= offset if match[9] == "+" else -offset
    return micros / MICROSECONDS_PER_DAY
