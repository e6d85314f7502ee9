"""The inputs of a model that `train models export --onnx` wrote, from a table: what its graph takes instead of types and missing values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ._columns import MICROSECONDS_PER_DAY, TEMPORAL, Column, numbers
from ._errors import DataError
from ._frames import read_column
from ._matrix import Encoder

if TYPE_CHECKING:
    from ._model import Model

#: What stands for a missing date, time or duration: numpy's NaT as an integer.
MISSING_INSTANT = np.iinfo(np.int64).min
_MICROSECONDS = {"D": MICROSECONDS_PER_DAY, "ms": 1_000, "us": 1}


def inputs(model: Model, encoder: Encoder, frame: Any) -> dict[str, np.ndarray]:
    """One array of rows × 1 for each column that means something to the model."""
    arrays: dict[str, np.ndarray] = {}
    for feature in model.metadata["features"]:
        sources = feature.get("inputs") or {feature.get("column", feature["name"]): feature["type"]}
        for name, learnt in sources.items():
            if name not in arrays and learnt != "null":
                arrays[name] = _array(encoder.fitting(read_column(frame, name), learnt), learnt).reshape(-1, 1)
    return arrays


def _array(column: Column, learnt: str) -> np.ndarray:
    if learnt == "text":
        found = ["" if gone else value for value, gone in zip(column.values, column.missing)]
        if any(not gone and value == "" for value, gone in zip(column.values, column.missing)):
            raise DataError(f'column "{column.name}" holds the empty text, which stands for what is missing in ONNX: predict with the model itself')
        return np.array(found, dtype=object)
    if learnt in TEMPORAL:
        return _microseconds(column)
    return numbers(column)


def _microseconds(column: Column) -> np.ndarray:
    if column.kind == "null":
        return np.full(len(column), MISSING_INSTANT)
    values = column.values
    whole = values // 1_000 if column.unit == "ns" else values * _MICROSECONDS[column.unit]
    return np.where(column.missing, MISSING_INSTANT, whole).astype(np.int64)
