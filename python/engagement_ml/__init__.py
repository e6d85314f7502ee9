"""Gated models and complete predictions, from Python.

    import engagement_ml

    engagement_ml.train(train_data="flats.csv", id="flat", target="rent", models="models", model_version="v1")
    engagement_ml.predict(input="new-flats.csv", models="models", output="scores")
    frame = engagement_ml.latest("scores")                       # the newest complete predictions
    model = engagement_ml.load("models")                         # no process: pandas, polars or pyarrow in, numpy out
    predictions = model.predict(frame_of_features)

Importing this needs nothing but Python; numpy, XGBoost, pandas or polars, and boto3 are imported by what needs them.
"""

from ._errors import (
    DataError,
    Defect,
    EngagementError,
    GateFailed,
    Interrupted,
    ModelError,
    ResourcesError,
    SettingsError,
    StorageError,
)
from ._model import Contributions, Model, load
from ._predictions import latest
from ._programs import PredictResult, TrainResult, predict, program, sample, train

__version__ = "0.1.0"

__all__ = [
    "Contributions",
    "DataError",
    "Defect",
    "EngagementError",
    "GateFailed",
    "Interrupted",
    "Model",
    "ModelError",
    "PredictResult",
    "ResourcesError",
    "SettingsError",
    "StorageError",
    "TrainResult",
    "latest",
    "load",
    "predict",
    "program",
    "sample",
    "train",
]
