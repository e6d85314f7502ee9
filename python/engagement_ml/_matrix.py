"""The matrix that a model was trained on, rebuilt from what `metadata.json` says of its features."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ._columns import DESCRIBED, NUMBERS, TEMPORAL, Column, accepts, numbers, texts
from ._errors import DataError, ModelError
from ._expressions import Vector, evaluate
from ._sql import SqlError, parse

KINDS = ("number", "category", "encoded", "date", "derived")
FIELDS = {"name", "kind", "type", "column", "sql", "inputs", "levels", "values", "default", "as_of"}

Read = Callable[[str], Column]


def check_features(features: list[dict[str, Any]], where: str) -> None:
    """Refuses by name what this module cannot rebuild, before anything is predicted."""
    for feature in features:
        name = feature.get("name")

        def refuse(what: str, name: Any = name) -> ModelError:
            return ModelError(f'{where}: the feature "{name}" {what}: install a newer engagement_ml, or score with `predict`')

        unknown = sorted(feature.keys() - FIELDS)
        if unknown:
            raise refuse(f"has {', '.join(unknown)}, which this engagement_ml does not know")
        if feature.get("kind") not in KINDS:
            raise refuse(f"is of the kind {feature.get('kind')!r}, which this engagement_ml does not know")
        if feature.get("type") not in DESCRIBED:
            raise refuse(f"is made of {feature.get('type')!r}, which this engagement_ml does not know")
        if "values" in feature and len(feature["values"]) != len(feature["levels"]):
            raise refuse("has not one value for each level")
        if "sql" in feature:
            try:
                parse(feature["sql"])
            except (SqlError, RecursionError) as error:
                raise refuse(f"is an expression that this engagement_ml does not read ({error})") from error


class Encoder:
    """The features of a model, ready to encode tables."""

    def __init__(self, features: list[dict[str, Any]], format_version: int) -> None:
        self._features, self._is_release_1 = features, format_version == 1
        self._numbers_of_levels = [_numbers_of_levels(feature) for feature in features]

    def matrix(self, read: Read, rows: int) -> np.ndarray:
        """One column for each feature: 32-bit floats, NaN where missing."""
        cache: dict[str, Column] = {}

        def cached(name: str) -> Column:
            if name not in cache:
                cache[name] = read(name)
            return cache[name]

        matrix = np.empty((rows, len(self._features)), dtype=np.float32)
        for place, feature in enumerate(self._features):
            matrix[:, place] = self._encoded(place, feature, cached, rows)
        return matrix

    def _encoded(self, place: int, feature: dict[str, Any], read: Read, rows: int) -> np.ndarray:
        known = self._numbers_of_levels[place]
        if "sql" in feature:
            vector = _derived(feature, lambda name, kind: self.fitting(read(name), kind), rows)
            if known is not None:
                return _looked_up([*vector.as_kind("text")], np.arange(rows), known, feature)
            values = vector.as_kind("number") if vector.kind == "null" else vector.values
            if vector.kind == "boolean":
                values = np.where(values < 0, np.nan, values)
            return _narrow(values.astype(np.float64), feature)
        column = self.fitting(read(feature.get("column", feature["name"])), feature["type"])
        if feature["type"] == "null":
            # It had no value in training, and so has no meaning.
            column = Column(column.name, "null", np.zeros(rows), np.ones(rows, dtype=bool))
        if known is None:
            return _narrow(numbers(column), feature)
        found, places = self._texts(column)
        return _looked_up(_renamed(found, column.kind, feature["type"]), places, known, feature)

    def fitting(self, column: Column, learnt: str) -> Column:
        """The column, if it may stand where `learnt` was learnt in training; without a value it is one of nulls."""
        was_date = self._is_release_1 and learnt == "date" and column.kind in TEMPORAL
        if column.kind != "null" and column.missing.all():
            # pandas gives columns without a value a type that says nothing.
            column = Column(column.name, "null", column.values, column.missing)
        if accepts(learnt, column.kind) or was_date:
            return column
        wanted = DESCRIBED[learnt]
        hint = ""
        if column.kind == "text":
            hint = {"date": " (pandas.to_datetime, parse_dates=[…])"}.get(learnt, " (dtype=… of read_csv)")
        raise DataError(
            f'column "{column.name}" has {DESCRIBED[column.kind]}, but the model was trained on {wanted}: give it as {wanted}{hint}, or train '
            "again on data like this"
        )

    def _texts(self, column: Column) -> tuple[list[str | None], np.ndarray]:
        if self._is_release_1:
            return _texts_of_release_1(column)
        return texts(column)


def _numbers_of_levels(feature: dict[str, Any]) -> dict[str, float] | None:
    """What stands for each level; None where the feature has none."""
    if feature["kind"] not in ("category", "encoded"):
        return None
    values = feature["values"] if feature["kind"] == "encoded" else range(len(feature["levels"]))
    return dict(zip(feature["levels"], map(float, values)))


def _looked_up(found: list[str | None], places: np.ndarray, known: dict[str, float], feature: dict[str, Any]) -> np.ndarray:
    absent = float(feature["default"]) if feature["kind"] == "encoded" else np.nan
    numbers_of = np.array([absent if text is None else known.get(text, absent) for text in found], dtype=np.float32)
    return numbers_of[places] if len(places) else np.empty(0, dtype=np.float32)


def _renamed(found: list[str | None], given: str, learnt: str) -> list[str | None]:
    """True is 1 where numbers were learnt, and 1 is true where booleans were."""
    if learnt == "boolean" and given in ("integer", "float"):
        names = {"1": "true", "0": "false"}
    elif learnt in ("integer", "float") and given == "boolean":
        names = {"true": "1", "false": "0"}
    else:
        return found
    return [None if text is None else names.get(text, text) for text in found]


def _narrow(values: np.ndarray, feature: dict[str, Any]) -> np.ndarray:
    """What XGBoost sees; what is not finite there is missing."""
    if feature.get("as_of") is not None:
        values = feature["as_of"] - values
    with np.errstate(over="ignore", invalid="ignore"):
        narrow = values.astype(np.float32)
    narrow[~np.isfinite(narrow)] = np.nan
    return narrow


def _derived(feature: dict[str, Any], read: Callable[[str, str], Column], rows: int) -> Vector:
    inputs = feature.get("inputs", {})

    def column(name: str) -> Vector:
        if name not in inputs:
            raise SqlError(f"it reads {name}, which is none of its inputs")
        kind = inputs[name]
        return _as_vector(read(name, kind), kind)

    try:
        return evaluate(feature["sql"], column, rows)
    except SqlError as error:
        raise ModelError(f'the derived feature "{feature["name"]}" cannot be computed: {error}') from error


def _as_vector(column: Column, learnt: str) -> Vector:
    rows = len(column)
    if learnt == "text":
        found, places = texts(column)
        known = np.empty(len(found), dtype=object)
        known[:] = found
        return Vector("text", known[places] if rows else np.empty(0, dtype=object))
    values = np.full(rows, np.nan) if learnt == "null" else numbers(column)
    if learnt == "boolean":
        return Vector("boolean", np.where(np.isfinite(values), values != 0, -1).astype(np.int8))
    return Vector("date" if learnt in TEMPORAL else "number", values)


def _texts_of_release_1(column: Column) -> tuple[list[str | None], np.ndarray]:
    """The texts that levels had in models of format version 1: numbers are 64-bit floats whatever they came as."""
    if column.kind in ("date", "time", "duration") and column.unit != "D":
        raise ModelError(
            f'column "{column.name}" is a category of timestamps in a model of format version 1, whose texts only `predict` knows: score '
            "with it, or train again"
        )
    is_decimal = column.kind in NUMBERS and column.values.dtype == object and any(hasattr(value, "as_tuple") for value in column.values)
    if column.kind == "float" or is_decimal:
        return texts(Column(column.name, "float", numbers(column), column.missing))
    return texts(column)


