"""Columns of a table of pandas, polars or pyarrow. None of them is imported here unless the caller's table is one of its own."""

from __future__ import annotations

import datetime
import sys
import uuid
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from ._columns import Column, Kind
from ._errors import DataError

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow


def library_of(frame: Any) -> str:
    """Which library a table is of."""
    kind = type(frame)
    library, name = kind.__module__.partition(".")[0], kind.__name__
    for base in kind.__mro__:
        known = (base.__module__.partition(".")[0], base.__name__)
        if known in (("pandas", "DataFrame"), ("polars", "DataFrame"), ("pyarrow", "Table")):
            return known[0]
    if (library, name) == ("polars", "LazyFrame"):
        raise DataError("a LazyFrame has no rows yet: give frame.collect()")
    raise DataError(f"a table is a DataFrame of pandas or polars, or a Table of pyarrow, not a {library}.{name}")


def read_column(frame: Any, name: str) -> Column:
    """One column of a table."""
    library = library_of(frame)
    if library == "polars":
        if name not in frame.columns:
            raise missing(frame.columns, name)
        return _of_polars(name, frame[name])
    if library == "pyarrow":
        return _of_arrow(name, _only(name, [frame.column(place) for place in _places(frame.column_names, name)]))
    return _of_pandas(name, _only(name, [frame.iloc[:, place] for place in _places(list(frame.columns), name)]))


def missing(names: Any, name: str) -> DataError:
    """The error of a table that lacks a column."""
    close = [str(other) for other in names if str(other).lower() == name.lower()]
    hint = f' (there is "{close[0]}": names are compared with their case)' if close else ""
    return DataError(f'the table has no column "{name}", which the model needs{hint}')


def _places(names: list[Any], name: str) -> list[int]:
    places = [place for place, other in enumerate(names) if other == name]
    if not places:
        raise missing(names, name)
    return places


def _only(name: str, found: list[Any]) -> Any:
    if len(found) > 1:
        raise DataError(f'the table has {len(found)} columns "{name}"')
    return found[0]


def _unfit(name: str, dtype: Any) -> DataError:
    return DataError(f'column "{name}" has the type {dtype}, which can be no feature: convert it, or train again without it')


def _null(name: str, rows: int) -> Column:
    return Column(name, "null", np.zeros(rows), np.ones(rows, dtype=bool))


# ── polars ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _of_polars(name: str, series: polars.Series) -> Column:
    polars = sys.modules["polars"]
    dtype: Any = series.dtype
    gone = series.is_null().to_numpy()
    if dtype == polars.Null:
        return _null(name, len(series))
    if dtype in (polars.String, polars.Categorical, polars.Enum):
        return Column(name, "text", _objects(series.cast(polars.String).to_list()), gone)
    if dtype == polars.Binary:
        return _of_bytes(name, series.to_list(), gone)
    if dtype == polars.Boolean:
        return Column(name, "boolean", series.fill_null(False).to_numpy(), gone)
    if dtype == polars.Decimal:
        return Column(name, "integer" if dtype.scale == 0 else "float", _objects(series.to_list()), gone)
    if dtype == polars.Date:
        return Column(name, "date", _polars_integers(series), gone, "D")
    if dtype == polars.Datetime:
        return Column(name, "date", _polars_integers(series), gone, dtype.time_unit)
    if dtype == polars.Duration:
        return Column(name, "duration", _polars_integers(series), gone, dtype.time_unit)
    if dtype == polars.Time:
        return Column(name, "time", _polars_integers(series), gone, "ns")
    if dtype.is_integer():
        wide = str(dtype) in ("Int128", "UInt128")
        return Column(name, "integer", _objects(series.to_list()) if wide else series.fill_null(0).to_numpy(), gone)
    if dtype.is_float():
        values = series.fill_null(0).to_numpy()
        return Column(name, "float", values.astype(np.float32) if values.dtype == np.float16 else values, gone)
    raise _unfit(name, dtype)


def _polars_integers(series: polars.Series) -> np.ndarray:
    return series.to_physical().fill_null(0).to_numpy().astype(np.int64)


def _objects(values: Any) -> np.ndarray:
    result = np.empty(len(values), dtype=object)
    result[:] = values
    return result


def _of_bytes(name: str, values: Any, gone: np.ndarray) -> Column:
    try:
        decoded = [None if value is None else value.decode() for value in values]
    except UnicodeDecodeError as error:
        raise DataError(f'column "{name}" holds bytes that are no UTF-8: {error}') from error
    return Column(name, "text", _objects(decoded), gone)


# ── pandas ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _of_pandas(name: str, series: pandas.Series) -> Column:
    pandas = sys.modules["pandas"]
    dtype: Any = series.dtype
    if isinstance(dtype, pandas.ArrowDtype):
        return _of_arrow(name, sys.modules["pyarrow"].chunked_array([series.array.__arrow_array__()]))
    gone = series.isna().to_numpy(dtype=bool)
    if isinstance(dtype, pandas.CategoricalDtype):
        return _of_categories(name, series, gone)
    if isinstance(dtype, pandas.StringDtype):
        return Column(name, "text", _objects([None if is_gone else value for value, is_gone in zip(series, gone)]), gone)
    if isinstance(dtype, pandas.DatetimeTZDtype):
        series = series.dt.tz_convert("UTC").dt.tz_localize(None)
        dtype = series.dtype
    if isinstance(dtype, np.dtype):
        return _of_numpy(name, series.to_numpy(), gone)
    # Numbers and booleans of pandas' own that may be missing.
    numpy_dtype = getattr(dtype, "numpy_dtype", None)
    if numpy_dtype is not None and numpy_dtype.kind in "biuf":
        return _of_numpy(name, series.fillna(False if numpy_dtype.kind == "b" else 0).to_numpy(dtype=numpy_dtype), gone)
    raise _unfit(name, dtype)


def _of_categories(name: str, series: pandas.Series, gone: np.ndarray) -> Column:
    """A category of pandas is the values of its categories."""
    categories = _of_pandas(name, series.cat.categories.to_series())
    codes = series.cat.codes.to_numpy()
    if len(categories) == 0:
        return _null(name, len(series))
    places = np.where(gone, 0, codes)
    return Column(name, categories.kind, categories.values[places], gone | categories.missing[places], categories.unit)


def _of_numpy(name: str, values: np.ndarray, gone: np.ndarray) -> Column:
    kind = values.dtype.kind
    if kind == "b":
        return Column(name, "boolean", values, gone)
    if kind in "iu":
        return Column(name, "integer", values, gone)
    if kind == "f" and values.dtype.itemsize <= 8:
        return Column(name, "float", values.astype(np.float32) if values.dtype == np.float16 else values, gone)
    if kind in "mM":
        unit = np.datetime_data(values.dtype)[0]
        if unit == "s":
            values, unit = values.astype(f"{kind}8[ms]"), "ms"
        if unit not in ("D", "ms", "us", "ns"):
            raise _unfit(name, values.dtype)
        whole = np.where(gone, 0, values.astype(np.int64))
        if kind == "m" and unit == "D":
            raise _unfit(name, values.dtype)
        return Column(name, "date" if kind == "M" else "duration", whole, gone, unit)
    if kind == "O":
        return _of_objects(name, values, gone)
    raise _unfit(name, values.dtype)


def _of_objects(name: str, values: np.ndarray, gone: np.ndarray) -> Column:
    """A column of Python objects, which are all of one kind or cannot serve."""
    kinds = {type(value) for value, is_gone in zip(values, gone) if not is_gone}
    if not kinds:
        return _null(name, len(values))

    def all_are(*allowed: type) -> bool:
        return all(issubclass(kind, allowed) for kind in kinds)

    if all_are(str):
        return Column(name, "text", values, gone)
    if all_are(bool, np.bool_):
        return Column(name, "boolean", np.array([bool(value) and not is_gone for value, is_gone in zip(_filled(values, gone, False), gone)]), gone)
    if all_are(int, np.integer) and not any(issubclass(kind, (bool, np.bool_)) for kind in kinds):
        return Column(name, "integer", _objects([int(value) for value in _filled(values, gone, 0)]), gone)
    if all_are(int, float, np.integer, np.floating) and bool not in kinds:
        return Column(name, "float", np.array([float(value) for value in _filled(values, gone, 0.0)]), gone)
    if all_are(Decimal):
        whole = all(value.as_tuple().exponent == 0 for value, is_gone in zip(values, gone) if not is_gone)
        return Column(name, "integer" if whole else "float", values, gone)
    if all_are(bytes):
        return _of_bytes(name, [None if is_gone else value for value, is_gone in zip(values, gone)], gone)
    if all_are(datetime.datetime):
        return _of_datetimes(name, values, gone)
    if all_are(datetime.date):
        days = [value.toordinal() - 719_163 for value in _filled(values, gone, datetime.date(1970, 1, 1))]
        return Column(name, "date", np.array(days, dtype=np.int64), gone, "D")
    if all_are(datetime.time):
        return Column(name, "time", np.array([_of_day(value) for value in _filled(values, gone, datetime.time())], dtype=np.int64), gone, "ns")
    if all_are(datetime.timedelta):
        zero = datetime.timedelta()
        spans = [value // datetime.timedelta(microseconds=1) for value in _filled(values, gone, zero)]
        return Column(name, "duration", np.array(spans, dtype=np.int64), gone, "us")
    if all_are(uuid.UUID):
        return Column(name, "text", _objects([None if is_gone else str(value) for value, is_gone in zip(values, gone)]), gone)
    raise DataError(f'column "{name}" mixes values of {", ".join(sorted(kind.__name__ for kind in kinds))}: give it one type')


def _filled(values: np.ndarray, gone: np.ndarray, filler: Any) -> list[Any]:
    return [filler if is_gone else value for value, is_gone in zip(values, gone)]


def _of_datetimes(name: str, values: np.ndarray, gone: np.ndarray) -> Column:
    epoch = datetime.datetime(1970, 1, 1)
    micros = []
    for value in _filled(values, gone, epoch):
        if value.tzinfo is not None:
            value = value.astimezone(datetime.timezone.utc).replace(tzinfo=None)
        nanoseconds = getattr(value, "nanosecond", 0)
        if nanoseconds:
            raise DataError(f'column "{name}" holds nanoseconds as Python objects: give it a datetime type (pandas.to_datetime)')
        micros.append((value - epoch) // datetime.timedelta(microseconds=1))
    return Column(name, "date", np.array(micros, dtype=np.int64), gone, "us")


def _of_day(value: datetime.time) -> int:
    return (((value.hour * 60 + value.minute) * 60 + value.second) * 1_000_000 + value.microsecond) * 1_000


# ── pyarrow ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _of_arrow(name: str, column: pyarrow.ChunkedArray) -> Column:
    import pyarrow
    import pyarrow.compute as compute

    types = pyarrow.types
    dtype = column.type
    if types.is_dictionary(dtype):
        column = column.cast(dtype.value_type)
        dtype = column.type
    if isinstance(dtype, pyarrow.BaseExtensionType):
        column = pyarrow.chunked_array([chunk.storage for chunk in column.chunks], type=dtype.storage_type)
        if dtype.extension_name == "arrow.uuid":
            found = [None if value is None else str(uuid.UUID(bytes=value)) for value in column.to_pylist()]
            return Column(name, "text", _objects(found), np.array([value is None for value in found], dtype=bool))
        dtype = column.type
    gone = compute.is_null(column).to_numpy().astype(bool)

    def whole(kind: Kind, unit: str) -> Column:
        wide = column.cast(pyarrow.int32()) if types.is_date32(dtype) or types.is_time32(dtype) else column
        return Column(name, kind, wide.cast(pyarrow.int64()).fill_null(0).to_numpy().astype(np.int64), gone, unit)

    if types.is_null(dtype):
        return _null(name, len(column))
    if types.is_boolean(dtype):
        return Column(name, "boolean", column.fill_null(False).to_numpy().astype(bool), gone)
    if types.is_integer(dtype):
        return Column(name, "integer", column.fill_null(0).to_numpy(), gone)
    if types.is_floating(dtype):
        if types.is_float16(dtype):
            column = column.cast(pyarrow.float32())
        return Column(name, "float", column.fill_null(0.0).to_numpy(), gone)
    if types.is_decimal(dtype):
        return Column(name, "integer" if dtype.scale == 0 else "float", _objects(column.to_pylist()), gone)
    if types.is_string(dtype) or types.is_large_string(dtype) or str(dtype) == "string_view":
        return Column(name, "text", _objects(column.to_pylist()), gone)
    if types.is_binary(dtype) or types.is_large_binary(dtype) or types.is_fixed_size_binary(dtype):
        return _of_bytes(name, column.to_pylist(), gone)
    if types.is_date(dtype):
        return whole("date", "D" if types.is_date32(dtype) else "ms")
    if types.is_timestamp(dtype) or types.is_duration(dtype):
        kind: Kind = "date" if types.is_timestamp(dtype) else "duration"
        if dtype.unit == "s":
            finer = pyarrow.timestamp("ms", tz=dtype.tz) if kind == "date" else pyarrow.duration("ms")
            column = column.cast(finer)
        return whole(kind, "ms" if dtype.unit == "s" else dtype.unit)
    if types.is_time(dtype):
        factor = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}[dtype.unit]
        counted = whole("time", "ns")
        return Column(name, "time", counted.values * factor, gone, "ns")
    raise _unfit(name, dtype)
