"""Evaluates derived features over columns: `features::derive` in numpy, to the bit.

Numbers and dates (days since 1970-01-01) are 64-bit floats with NaN for what is missing, which what is not finite is at once;
booleans are 1, 0 and -1 for missing; texts are objects with None.
"""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Callable
from typing import Any, cast

import numpy as np

from ._columns import FIRST_DAY, LAST_DAY, MICROSECONDS_PER_DAY, civil, days_of
from ._sql import Node, SqlError, parse

_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq, "<>": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}
_FIXED = {"millisecond": 1_000, "second": 10**6, "minute": 60 * 10**6, "hour": 3_600 * 10**6, "day": MICROSECONDS_PER_DAY,
          "week": 7 * MICROSECONDS_PER_DAY}  # fmt: skip
_MONTHS = {"month": 1, "quarter": 3, "year": 12}


@dataclasses.dataclass(frozen=True)
class Vector:
    """A value per row: `kind` is number, date, boolean, text or null (missing in every row, of whatever type is wanted)."""

    kind: str
    values: np.ndarray

    def missing(self) -> np.ndarray:
        """Which rows are missing."""
        if self.kind == "null":
            return np.ones(len(self.values), dtype=bool)
        if self.kind == "boolean":
            return self.values < 0
        if self.kind == "text":
            return np.array([value is None for value in self.values], dtype=bool)
        return np.isnan(self.values)

    def as_kind(self, kind: str) -> np.ndarray:
        """The values, of a type that training checked them to be of."""
        if self.kind == kind:
            return self.values
        if self.kind != "null":
            raise SqlError(f"there is a {self.kind} where a {kind} should be")
        rows = len(self.values)
        if kind == "text":
            return np.full(rows, None, dtype=object)
        return np.full(rows, -1, dtype=np.int8) if kind == "boolean" else np.full(rows, np.nan)


def evaluate(sql: str, column: Callable[[str], Vector], rows: int) -> Vector:
    """The feature of a table of `rows` rows, whose columns `column` gives."""
    with np.errstate(all="ignore"):
        return _Evaluator(column, rows).of(parse(sql))


def finite(values: np.ndarray) -> np.ndarray:
    """What is not finite is missing."""
    return np.where(np.isfinite(values), values, np.nan)


class _Evaluator:
    def __init__(self, column: Callable[[str], Vector], rows: int) -> None:
        self._get, self._rows = column, rows

    def of(self, node: Node) -> Vector:
        return cast(Vector, getattr(self, "_" + node.form)(node))

    def _operand(self, node: Node, place: int = 0) -> Vector:
        operand = node.operands[place]
        if operand is None:
            raise SqlError("an operand is missing")
        return self.of(operand)

    def _column(self, node: Node) -> Vector:
        found = self._get(node.value)
        return Vector(found.kind, finite(found.values)) if found.kind in ("number", "date") else found

    def _full(self, kind: str, value: Any, dtype: Any) -> Vector:
        return Vector(kind, np.full(self._rows, value, dtype=dtype))

    def _binary(self, node: Node) -> Vector:
        left, right, sign = self._operand(node), self._operand(node, 1), node.value
        if sign == "AND":
            return _boolean(_and(left.as_kind("boolean"), right.as_kind("boolean")))
        if sign == "OR":
            return _boolean(_or(left.as_kind("boolean"), right.as_kind("boolean")))
        if sign in _COMPARE:
            return _boolean(_compare(sign, left, right))
        if sign == "-" and left.kind == "date":
            return Vector("number", _days_between(left.values, right.as_kind("date")))
        return Vector("number", finite(_ARITHMETIC[sign](left.as_kind("number"), right.as_kind("number"))))

    def _negate(self, node: Node) -> Vector:
        return Vector("number", finite(-self._operand(node).as_kind("number")))

    def _not(self, node: Node) -> Vector:
        return _boolean(_negated(self._operand(node).as_kind("boolean")))

    def _is_null(self, node: Node) -> Vector:
        return _boolean((self._operand(node).missing() != node.value).astype(np.int8))

    def _between(self, node: Node) -> Vector:
        value = self._operand(node)
        holds = _and(_compare(">=", value, self._operand(node, 1)), _compare("<=", value, self._operand(node, 2)))
        return _boolean(_negated(holds) if node.value else holds)

    def _in(self, node: Node) -> Vector:
        value = self._operand(node)
        found = np.zeros(self._rows, dtype=np.int8)
        for place in range(1, len(node.operands)):
            found = _or(found, _compare("=", value, self._operand(node, place)))
        return _boolean(_negated(found) if node.value else found)

    def _case(self, node: Node) -> Vector:
        operand = None if node.operands[0] is None else self._operand(node, 0)
        result = self._null(node) if node.operands[1] is None else self._operand(node, 1)
        for place in range(len(node.operands) - 2, 1, -2):
            condition = self._operand(node, place)
            holds = condition.as_kind("boolean") if operand is None else _compare("=", operand, condition)
            result = _choose(holds == 1, self._operand(node, place + 1), result)
        return result

    def _call(self, node: Node) -> Vector:
        name = node.value
        if name == "nullif":
            value = self._operand(node)
            return _choose(_compare("=", value, self._operand(node, 1)) != 1, value, self._null(node))
        if name in ("coalesce", "least", "greatest"):
            result = self._operand(node)
            for place in range(1, len(node.operands)):
                result = _FOLDS[name](result, self._operand(node, place))
            return result
        if name == "power":
            base, exponent = self._operand(node).as_kind("number"), self._operand(node, 1).as_kind("number")
            return Vector("number", finite(_each(_power, base, exponent)))
        return Vector("number", finite(_UNARY[name](self._operand(node).as_kind("number"))))

    def _part(self, node: Node) -> Vector:
        return Vector("number", _part(node.value, self._operand(node).as_kind("date")))

    def _date_diff(self, node: Node) -> Vector:
        return Vector("number", _date_diff(node.value, self._operand(node).as_kind("date"), self._operand(node, 1).as_kind("date")))

    def _null(self, _: Node) -> Vector:
        return Vector("null", np.empty(self._rows))

    def _number(self, node: Node) -> Vector:
        return self._full("number", node.value, np.float64)

    def _date(self, node: Node) -> Vector:
        return self._full("date", node.value, np.float64)

    def _boolean(self, node: Node) -> Vector:
        return self._full("boolean", int(node.value), np.int8)

    def _text(self, node: Node) -> Vector:
        return self._full("text", node.value, object)


def _boolean(values: np.ndarray) -> Vector:
    return Vector("boolean", values)


def _negated(values: np.ndarray) -> np.ndarray:
    return np.where(values < 0, values, 1 - values).astype(np.int8)


def _and(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    is_false = (left == 0) | (right == 0)
    return np.where(is_false, 0, np.where((left < 0) | (right < 0), -1, 1)).astype(np.int8)


def _or(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    is_true = (left == 1) | (right == 1)
    return np.where(is_true, 1, np.where((left < 0) | (right < 0), -1, 0)).astype(np.int8)


def _common(left: Vector, right: Vector) -> str:
    return right.kind if left.kind == "null" else left.kind


def _compare(sign: str, left: Vector, right: Vector) -> np.ndarray:
    kind, compare = _common(left, right), _COMPARE[sign]
    one, other = left.as_kind(kind), right.as_kind(kind)
    if kind == "null":
        return np.full(len(one), -1, dtype=np.int8)
    if kind == "text":
        pairs = ((-1 if a is None or b is None else int(compare(a, b))) for a, b in zip(one, other))
        return np.fromiter(pairs, dtype=np.int8, count=len(one))
    gone = (one < 0) | (other < 0) if kind == "boolean" else np.isnan(one) | np.isnan(other)
    return np.where(gone, -1, compare(one, other)).astype(np.int8)


def _choose(mask: np.ndarray, left: Vector, right: Vector) -> Vector:
    """Row by row `left` where the mask is true, else `right`."""
    kind = _common(left, right)
    return Vector(kind, np.where(mask, left.as_kind(kind), right.as_kind(kind)))


def _extreme(sign: str, left: Vector, right: Vector) -> Vector:
    """The lesser or the greater of two; missing where either is."""
    takes_left = _compare(sign, left, right)
    chosen = _choose(takes_left == 1, left, right)
    if chosen.kind == "null":
        return chosen
    return _choose(takes_left >= 0, chosen, Vector("null", np.empty(len(takes_left))))


_FOLDS: dict[str, Callable[[Vector, Vector], Vector]] = {
    "coalesce": lambda left, right: _choose(~left.missing(), left, right),
    "least": lambda left, right: _extreme("<=", left, right),
    "greatest": lambda left, right: _extreme(">=", left, right),
}


def _each(function: Callable[..., float], *columns: np.ndarray) -> np.ndarray:
    """A function of the C library, which the programs call too; numpy's own differ in the last bit on some processors."""

    def value(*numbers: float) -> float:
        if any(number != number for number in numbers):
            return math.nan
        try:
            return function(*numbers)
        except (ValueError, OverflowError, ZeroDivisionError):
            return math.nan

    return np.fromiter(map(value, *(column.tolist() for column in columns)), dtype=np.float64, count=len(columns[0]))


def _power(base: float, exponent: float) -> float:
    return math.pow(base, exponent)


def _round(values: np.ndarray) -> np.ndarray:
    """Halves go away from zero."""
    whole = np.trunc(values)
    return whole + np.where(np.abs(values - whole) >= 0.5, np.copysign(1.0, values), 0.0)


_UNARY: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "abs": np.abs, "sqrt": np.sqrt, "floor": np.floor, "ceil": np.ceil, "round": _round,
    "ln": lambda values: _each(math.log, values), "exp": lambda values: _each(math.exp, values),
}  # fmt: skip


def _micros(days: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Microseconds since 1970-01-01, and where there are some."""
    micros = _round(days * MICROSECONDS_PER_DAY)
    known = np.abs(micros) < 4.6e18
    return np.where(known, micros, 0).astype(np.int64), known


def _instants(days: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same, inside the calendar."""
    micros, known = _micros(days)
    day = micros // MICROSECONDS_PER_DAY
    return micros, known & (day >= FIRST_DAY) & (day <= LAST_DAY)


def _days_between(later: np.ndarray, earlier: np.ndarray) -> np.ndarray:
    (to, to_known), (since, since_known) = _micros(later), _micros(earlier)
    return np.where(to_known & since_known, (to - since) / MICROSECONDS_PER_DAY, np.nan)


def _part(part: str, days: np.ndarray) -> np.ndarray:
    micros, known = _instants(days)
    day, of_day = np.divmod(micros, MICROSECONDS_PER_DAY)
    year, month, day_of_month = civil(day)
    day_of_week = (day + 3) % 7 + 1
    day_of_year = day - days_of(year, 1, 1) + 1
    parts: dict[str, Callable[[], np.ndarray]] = {
        "year": lambda: year, "quarter": lambda: (month - 1) // 3 + 1, "month": lambda: month, "day": lambda: day_of_month,
        "day_of_week": lambda: day_of_week, "day_of_year": lambda: day_of_year, "hour": lambda: of_day // 3_600_000_000,
        "minute": lambda: of_day // 60_000_000 % 60, "second": lambda: of_day // 1_000_000 % 60,
        # The week of a day is that of its Thursday, of whose year it is counted.
        "week": lambda: _week(day + 4 - day_of_week),
    }  # fmt: skip
    return np.where(known, parts[part](), np.nan)


def _week(thursday: np.ndarray) -> np.ndarray:
    year, _, _ = civil(thursday)
    return (thursday - days_of(year, 1, 1)) // 7 + 1


def _date_diff(unit: str, earlier: np.ndarray, later: np.ndarray) -> np.ndarray:
    if unit in _FIXED:
        (since, since_known), (to, to_known) = _micros(earlier), _micros(later)
        count = _towards_zero(to - since, _FIXED[unit])
    elif unit in _MONTHS:
        (since, since_known), (to, to_known) = _instants(earlier), _instants(later)
        backwards = to < since
        months = _complete_months(np.where(backwards, to, since), np.where(backwards, since, to))
        count = _towards_zero(np.where(backwards, -months, months), _MONTHS[unit])
    else:
        raise SqlError(f"the unit {unit} is not known")
    return np.where(since_known & to_known, count.astype(np.float64), np.nan)


def _towards_zero(values: np.ndarray, divisor: int) -> np.ndarray:
    return np.where(values >= 0, values // divisor, -(-values // divisor))


def _complete_months(since: np.ndarray, to: np.ndarray) -> np.ndarray:
    """The last day of a shorter month completes a month that began on a day it does not have."""
    (from_day, from_time), (to_day, to_time) = np.divmod(since, MICROSECONDS_PER_DAY), np.divmod(to, MICROSECONDS_PER_DAY)
    (from_year, from_month, from_date), (to_year, to_month, to_date) = civil(from_day), civil(to_day)
    months = (to_year - from_year) * 12 + to_month - from_month
    last = days_of(to_year + (to_month == 12), to_month % 12 + 1, 1) - days_of(to_year, to_month, 1)
    day = np.minimum(from_date, last)
    return months - ((day > to_date) | ((day == to_date) & (from_time > to_time)))
