"""The newest complete predictions, as a frame."""

from __future__ import annotations

import importlib.util
import io
import os
import sys
from typing import Any, Literal

from ._errors import DataError, SettingsError
from ._store import Store, open_store, read_json, sha256

Library = Literal["pandas", "polars"]


def latest(output: str | os.PathLike[str], *, frames: Library | None = None) -> Any:
    """The predictions of the newest complete run below `output`, the location that `predict --output` was given, on disk or on S3.

    `frames` is "pandas" or "polars"; by default it is the one that is imported already, else the one that is installed. Ids come in the
    type that they were given in; those of CSV are text.

    Every part is checked against the manifest's SHA-256, so what is returned is what the run wrote, whole.
    """
    library = choose_library(frames)
    store = open_store(output)
    pointer = read_json(store, "latest.json", range(1, 2), DataError)
    if pointer is None or "rows" not in pointer:
        raise DataError(f"{store.location} has no complete predictions: there is no latest.json of predictions")
    manifest_path = f"runs/{pointer['run_id']}/manifest.json"
    manifest = read_json(store, manifest_path, range(1, 2), DataError)
    if manifest is None:
        raise DataError(f"{store.location}/{manifest_path} does not exist, though latest.json names that run: predict again")
    frame = _joined([_part(store, part, library) for part in manifest["parts"]], library)
    if len(frame) != pointer["rows"]:
        raise DataError(f"{store.location}: the parts have {len(frame)} rows where latest.json says {pointer['rows']}: predict again")
    return frame


def _part(store: Store, part: dict[str, Any], library: Library) -> Any:
    path = part["path"]
    data = store.read(path)
    if data is None:
        raise DataError(f"{store.location}/{path} does not exist, though the manifest names it: predict again")
    if sha256(data) != part["sha256"]:
        raise DataError(f"{store.location}/{path} is not what was written (its SHA-256 differs): predict again")
    return _parsed(data, path.endswith(".csv"), library)


def _parsed(data: bytes, is_csv: bool, library: Library) -> Any:
    if library == "polars":
        import polars

        if not is_csv:
            return polars.read_parquet(io.BytesIO(data))
        numbers = {name: polars.Float64 for name in _header(data) if _is_number(name)}
        cells = polars.read_csv(io.BytesIO(data), infer_schema=False)
        return cells.with_columns(polars.col(name).cast(dtype) for name, dtype in numbers.items())
    import pandas

    if not is_csv:
        return pandas.read_parquet(io.BytesIO(data))
    texts = pandas.read_csv(io.BytesIO(data), dtype="str", keep_default_na=False, na_values=[""])
    # Python's own reading of numbers keeps every bit.
    return texts.astype({name: "float64" for name in _header(data) if _is_number(name)})


def _header(data: bytes) -> list[str]:
    import csv

    return next(csv.reader(io.StringIO(data.decode())), [])


def _is_number(name: str) -> bool:
    return name in ("prediction", "prediction_low", "prediction_high") or (name.startswith("reason_") and name.endswith("_contribution"))


def _joined(parts: list[Any], library: Library) -> Any:
    if library == "polars":
        import polars

        return polars.concat(parts) if parts else polars.DataFrame()
    import pandas

    return pandas.concat(parts, ignore_index=True) if parts else pandas.DataFrame()


def choose_library(wanted: Library | None) -> Library:
    """The library that results are given in: the wanted one, else the one that is imported already, else one that is installed."""
    if wanted is not None:
        if wanted not in ("pandas", "polars"):
            raise SettingsError(f'frames are "pandas" or "polars", not {wanted!r}')
        return wanted
    known: tuple[Library, Library] = ("pandas", "polars")
    for library in known:
        if library in sys.modules:
            return library
    for library in known:
        if importlib.util.find_spec(library) is not None:
            return library
    raise SettingsError("a frame needs pandas or polars: pip install polars")
