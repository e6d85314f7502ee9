"""The loader of models that `train models export --mlflow DIR` wrote: MLflow imports it by the name that the folder's MLmodel has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._model import load

if TYPE_CHECKING:
    import numpy


class PyFunc:
    """What `mlflow.pyfunc` calls."""

    def __init__(self, folder: str) -> None:
        self.model = load(folder)
        #: Columns that held nothing in training: they have no meaning, and MLflow leaves out what its signature does not name.
        features = self.model.metadata["features"]
        kinds = [feature.get("inputs") or {feature.get("column", feature["name"]): feature["type"]} for feature in features]
        self._empty = sorted({name for each in kinds for name, kind in each.items() if kind == "null"})

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> numpy.ndarray:
        """The prediction of each row of a pandas DataFrame."""
        absent = [name for name in self._empty if name not in model_input.columns]
        return self.model.predict(model_input.assign(**dict.fromkeys(absent)) if absent else model_input)


def _load_pyfunc(data_path: str) -> PyFunc:
    return PyFunc(data_path)
