"""A published model, loaded and ready to predict: no process is started."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from ._errors import ModelError, SettingsError
from ._store import Store, open_store, parse_json, read_json, sha256

if TYPE_CHECKING:
    import numpy
    import xgboost

#: Layouts of `metadata.json` that are read, and of pointers.
METADATA_FORMATS, POINTER_FORMATS = range(1, 3), range(1, 2)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclasses.dataclass(frozen=True)
class Contributions:
    """What moved each prediction, in units of the margin (the prediction itself for squared error)."""

    #: Source columns and derived features: what `predict --reasons` names.
    names: list[str]
    #: A row for each row, a column for each name.
    values: numpy.ndarray
    #: What each row starts from: base and contributions add up to the margin.
    base: numpy.ndarray
    #: The model's output before it becomes a prediction.
    margins: numpy.ndarray


class Model:
    """A model whose bytes are what its run published, and that predicts its golden rows here as it did there."""

    #: `metadata.json`, as it is.
    metadata: dict[str, Any]
    #: XGBoost's own model.
    booster: xgboost.Booster

    def __init__(self, metadata: dict[str, Any], model: bytes, location: str, scale: bytes | None = None) -> None:
        from ._matrix import Encoder, check_features

        self.metadata, self.location = metadata, location
        check_features(metadata["features"], location)
        self._encoder = Encoder(metadata["features"], metadata["format_version"])
        self.booster = _booster(metadata, model, location)
        self._scale = scale
        self._check_golden_rows()

    def __repr__(self) -> str:
        return f"<engagement_ml.Model {self.location}: {self.target} from {len(self.features)} features>"

    @property
    def id(self) -> str:
        """The column that identifies a row; predicting does not need it."""
        return str(self.metadata["id"])

    @property
    def target(self) -> str:
        """The column that is predicted."""
        return str(self.metadata["target"])

    @property
    def model_version(self) -> str:
        """The label that the model was trained under."""
        return str(self.metadata["model_version"])

    @property
    def run_id(self) -> str:
        """The run that trained it."""
        return str(self.metadata["run_id"])

    @property
    def features(self) -> list[str]:
        """Names of the features, in matrix order."""
        return [feature["name"] for feature in self.metadata["features"]]

    @property
    def input_columns(self) -> list[str]:
        """The columns that a table must have, each once."""
        sources = (feature.get("inputs") or [feature.get("column", feature["name"])] for feature in self.metadata["features"])
        return list(dict.fromkeys(name for names in sources for name in names))

    def matrix(self, frame: Any) -> numpy.ndarray:
        """What XGBoost sees of a table: 32-bit floats, a column for each feature, NaN where a value is missing."""
        from ._frames import library_of, read_column

        rows = frame.num_rows if library_of(frame) == "pyarrow" else len(frame)
        return self._encoder.matrix(lambda name: read_column(frame, name), rows)

    def predict(self, frame: Any) -> numpy.ndarray:
        """The prediction of each row of a table (DataFrame of pandas or polars, Table of pyarrow), in its order: the same 64-bit floats that
        `predict` writes.

        Columns are found by name and may be of any type that holds what training saw; others are ignored. Rows that `predict` would
        reject (a null or repeated id) are predicted too.
        """
        return self._clipped(self._output(self.matrix(frame)).astype("float64"))

    def _clipped(self, values: numpy.ndarray) -> numpy.ndarray:
        clip = self.metadata.get("clip")
        return values.clip(*clip) if clip else values

    def intervals(self, frame: Any, level: float = 0.9) -> tuple[numpy.ndarray, numpy.ndarray]:
        """Lower and upper ends of the intervals of each row, between which this share of actual values lies: the same 64-bit floats that
        `predict --interval` writes."""
        import numpy
        import xgboost

        intervals = self.metadata.get("intervals")
        if intervals is None or self._scale is None:
            raise ModelError(f"{self.location}: the model has no intervals: train without --rounds, or with --interval-folds")
        quantiles = dict(zip(intervals["levels"], intervals["quantiles"], strict=True))
        if level not in quantiles:
            raise SettingsError(f"{level} is no level of the model's intervals, which go from 0.5 to {max(quantiles, default=0.5)} in steps of 0.005")
        matrix = self.matrix(frame)
        outputs = self._output(matrix)
        if len(outputs) == 0:
            return numpy.empty(0), numpy.empty(0)
        columns = numpy.column_stack([matrix[:, intervals["columns"]], outputs]).astype(numpy.float32)
        types = ["c" if self.metadata["features"][place]["kind"] == "category" else "q" for place in intervals["columns"]] + ["q"]
        names = [str(place) for place in range(len(types))]
        booster = xgboost.Booster(model_file=bytearray(self._scale))
        scales = booster.predict(xgboost.DMatrix(columns, feature_names=names, feature_types=types, enable_categorical=True))
        predictions, half = self._clipped(outputs.astype("float64")), quantiles[level] * scales.astype("float64")
        return self._clipped(predictions - half), self._clipped(predictions + half)

    def onnx_inputs(self, frame: Any) -> dict[str, numpy.ndarray]:
        """What a session of onnxruntime is given to predict a table with the file of `train models export --onnx`: an array of rows × 1 for each
        column, with the file's own signs for what is missing. Dates finer than a microsecond lose what is beyond it."""
        from ._onnx import inputs

        return inputs(self, self._encoder, frame)

    def contributions(self, frame: Any) -> Contributions:
        """Exact contributions (SHAP values) of the columns to each prediction, by XGBoost: what `predict --reasons` takes its reasons from."""
        import numpy

        rows = self._dmatrix(self.matrix(frame))
        of_features = self._predicted(rows, pred_contribs=True).astype(numpy.float64)
        names: list[str] = []
        places: dict[tuple[str, str], int] = {}
        of_source = []
        for feature in self.metadata["features"]:
            key = ("sql", feature["sql"]) if "sql" in feature else ("column", feature.get("column", feature["name"]))
            if key not in places:
                places[key] = len(names)
                names.append(feature["name"] if "sql" in feature else key[1])
            of_source.append(places[key])
        by_source = numpy.zeros((len(of_features), len(names)))
        for place, source in enumerate(of_source):
            by_source[:, source] += of_features[:, place]
        margins = self._predicted(rows, output_margin=True).astype(numpy.float64)
        return Contributions(names, by_source, of_features[:, -1], margins)

    def _dmatrix(self, matrix: numpy.ndarray) -> xgboost.DMatrix:
        import xgboost

        types = ["c" if feature["kind"] == "category" else "q" for feature in self.metadata["features"]]
        # Without names: XGBoost's Python package refuses some that the program takes, such as those with brackets.
        return xgboost.DMatrix(matrix, feature_types=types, enable_categorical=True)

    def _predicted(self, rows: xgboost.DMatrix, **what: Any) -> numpy.ndarray:
        return self.booster.predict(rows, validate_features=False, **what)

    def _output(self, matrix: numpy.ndarray) -> numpy.ndarray:
        import numpy

        if len(matrix) == 0:
            return numpy.empty(0, dtype=numpy.float32)
        return self._predicted(self._dmatrix(matrix))

    def _check_golden_rows(self) -> None:
        """A library or a machine that computes otherwise is refused before it predicts anything."""
        import numpy

        golden = self.metadata["golden"]
        rows = numpy.array([[numpy.nan if value is None else value for value in row] for row in golden["rows"]], dtype=numpy.float32)
        if rows.size == 0:
            return
        here, there = self._output(rows), numpy.array(golden["predictions"], dtype=numpy.float32)
        differ = (here.view(numpy.uint32) != there.view(numpy.uint32)).nonzero()[0]
        if len(differ):
            row = int(differ[0])
            raise ModelError(
                f"{self.location}: golden row {row} is predicted as {here[row]} here and was {there[row]} when the model was trained: this "
                "machine or library computes otherwise, so nothing is predicted with it"
            )


def _booster(metadata: dict[str, Any], model: bytes, location: str) -> xgboost.Booster:
    try:
        import xgboost
    except ImportError as error:
        needed = metadata["xgboost_version"]
        raise ModelError(f"{location}: predicting needs XGBoost: pip install 'xgboost-cpu>={needed}' (or xgboost)") from error
    trained_by = str(metadata["xgboost_version"])
    if _version(xgboost.__version__) < _version(trained_by):
        raise ModelError(
            f"{location} was trained by XGBoost {trained_by}, and XGBoost {xgboost.__version__} is installed, which may read it without an error "
            f"and predict something else: pip install 'xgboost-cpu>={trained_by}'"
        )
    try:
        return xgboost.Booster(model_file=bytearray(model))
    except xgboost.core.XGBoostError as error:
        raise ModelError(f"{location}/model.ubj cannot be loaded: {error}") from error


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:3])


def load(location: str | os.PathLike[str], *, model_name: str = "engagement", model_version: str = "latest") -> Model:
    """Loads a published model from a model's folder or from a model store, on disk or on S3 (`s3://bucket/prefix`).

    In a store `model_version` is what `predict --model-version` takes: `latest`, a label, or `label/run_id`. Every byte is checked against
    what was published, the model's gate must have passed, and its golden rows must come out as they did when it was trained.
    """
    store = open_store(location)
    if store.read("metadata.json") is not None:
        return _load_run(store, "", None)
    folder, pointer = _resolve(store, model_name, model_version)
    return _load_run(store, folder + "/", pointer)


def _resolve(store: Store, name: str, version: str) -> tuple[str, dict[str, Any] | None]:
    """The folder of the run that is meant, and the pointer that names it."""
    parts = version.split("/")
    if not all(_NAME.fullmatch(part) for part in (name, *parts)) or len(parts) > 2:
        raise SettingsError(f"{name}, {version}: a model is named by its name and by latest, a label, or label/run_id")
    if len(parts) == 2:
        return f"{name}/{version}", None
    path = f"{name}/latest.json" if version == "latest" else f"{name}/{version}/latest.json"
    pointer = read_json(store, path, POINTER_FORMATS)
    if pointer is None:
        raise ModelError(f'{store.location}: no model "{name}" is published as "{version}": train one, or see `train models list`')
    run = PurePosixPath(str(pointer.get("path")))
    if len(run.parts) != 2 or not all(_NAME.fullmatch(part) for part in run.parts):
        raise ModelError(f"{store.location}/{path} is damaged: it names {run}, which is no model's folder")
    return f"{name}/{run}", pointer


def _load_run(store: Store, folder: str, pointer: dict[str, Any] | None) -> Model:
    where = f"{store.location}/{folder}".rstrip("/")
    read: Callable[[str], bytes | None] = lambda name: store.read(folder + name)
    result = read("result.json")
    if result is None:
        raise ModelError(f"{where} is not a complete model: it has no result.json")
    outcome = parse_json(result, f"{where}/result.json", range(0))
    if outcome.get("gate") != "passed":
        reason = "was rejected by its gate" if outcome.get("gate") else f"is not complete ({outcome.get('error_message', '')})"
        raise ModelError(f"{where} {reason} and is never used to predict")
    files = outcome.get("files") or {}
    metadata_bytes, model = read("metadata.json"), read("model.ubj")
    if metadata_bytes is None or model is None:
        raise ModelError(f"{where} lacks metadata.json or model.ubj: promote another model or train again")
    metadata = parse_json(metadata_bytes, f"{where}/metadata.json", METADATA_FORMATS)
    published = [
        ("metadata.json", metadata_bytes, files.get("metadata.json") or outcome.get("metadata_sha256")),
        ("model.ubj", model, files.get("model.ubj") or outcome.get("model_sha256")),
        ("model.ubj", model, metadata.get("model_sha256")),
    ]
    if pointer is not None:
        published += [("model.ubj", model, pointer.get("sha256")), ("metadata.json", metadata_bytes, pointer.get("metadata_sha256"))]
    for name, data, expected in published:
        if expected is not None and sha256(data) != expected:
            raise ModelError(f"{where}/{name} is not what was published (its SHA-256 differs): promote another model or train again")
    intervals = metadata.get("intervals")
    scale = read("scale.ubj") if intervals else None
    if intervals and (scale is None or sha256(scale) != intervals.get("scale_sha256")):
        raise ModelError(f"{where}/scale.ubj is not what was published (its SHA-256 differs): promote another model or train again")
    try:
        return Model(metadata, model, where, scale)
    except (KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{where}/metadata.json is damaged: {error!r}; promote another model or train again") from error


