"""Runs `train` and `predict` and gives their results; an exit code becomes an exception."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypedDict, Union, cast

from ._errors import BY_EXIT_CODE, Defect, ResourcesError, SettingsError

Location = Union[str, "os.PathLike[str]"]
Setting = Union[None, bool, int, float, Location, Iterable[str], Mapping[str, Any]]

_HERE = Path(__file__).resolve().parent


class TrainResult(TypedDict, total=False):
    """What `train` says at its end, as `result.json` has it."""

    run_id: str
    model_name: str
    model_version: str
    model_location: str
    r2: float
    rmse: float
    mae: float
    rows_train: int
    rows_test: int
    rounds: int
    gate: str
    training_seconds: float
    data_quality_score: float


class PredictResult(TypedDict, total=False):
    """What `predict` says at its end, as `result.json` has it."""

    run_id: str
    model_version: str
    model_run_id: str
    output_location: str
    rows_read: int
    rows_predicted: int
    rows_rejected: int
    parts: int
    seconds: float
    data_quality_score: float
    max_drift: float
    expected_mae: float
    mean_prediction: float


def train(
    *,
    train_data: Location,
    models: Location,
    model_version: str,
    features: Location | None = None,
    test_data: Location | None = None,
    id: str | None = None,
    target: str | None = None,
    min_r2: float | None = None,
    run_id: str | None = None,
    on_log: Callable[[str], object] | None = None,
    **settings: Setting,
) -> TrainResult:
    """Trains a model and publishes it if it passes its gate.

    Every flag of `train` is a setting here: `test_fraction=0.3`, `rounds=200`, `slice=["region", "plan"]` (a list repeats the flag),
    `param={"max_depth": 6}`, `strict=True`; what is not given has the program's default, or that of its environment variable. Locations
    may be on S3. `on_log` is given each line of the log, a JSON object, as it comes.

    Raises GateFailed where the model is not good enough (its report is at `error.result["model_location"]`), and otherwise the class of
    the exit code.
    """
    given: dict[str, Setting] = {
        "train_data": train_data, "models": models, "model_version": model_version, "features": features, "test_data": test_data,
        "id": id, "target": target, "min_r2": min_r2, "run_id": run_id,
    }  # fmt: skip
    return cast(TrainResult, _run("train", given | settings, on_log))


def predict(
    *,
    input: Location,
    models: Location,
    output: Location,
    model_version: str | None = None,
    columns: Iterable[str] | None = None,
    run_id: str | None = None,
    on_log: Callable[[str], object] | None = None,
    **settings: Setting,
) -> PredictResult:
    """Scores every row of a table with a published model; `latest(output)` reads the predictions.

    Every flag of `predict` is a setting here, as for `train`: `reasons=3`, `format="csv"`, `max_drift=0.2`.
    """
    given: dict[str, Setting] = {
        "input": input, "models": models, "output": output, "model_version": model_version,
        "columns": ",".join(columns) if columns is not None and not isinstance(columns, str) else columns, "run_id": run_id,
    }  # fmt: skip
    return cast(PredictResult, _run("predict", given | settings, on_log))


def program(name: str) -> Path:
    """Where the program `train` or `predict` is: in this package, else in the folder ENGAGEMENT_ML_PROGRAMS, else on PATH."""
    packaged = _HERE / "programs/bin" / name
    if packaged.exists():
        return packaged
    folder = os.environ.get("ENGAGEMENT_ML_PROGRAMS")
    found = shutil.which(name, path=folder) if folder else shutil.which(name)
    if found is None:
        raise SettingsError(f"the program {name} is not here: install the wheel of engagement_ml, or set ENGAGEMENT_ML_PROGRAMS to its folder")
    return Path(found)


def _command(name: str) -> list[str]:
    """How a program is started: in this package both are one file."""
    both = _HERE / "programs/bin/engagement-ml"
    return [str(both), name] if both.exists() else [str(program(name))]


def sample() -> Path:
    """The folder of the sample: train/, test/, customers/ and features.toml of 30,000 credit card customers."""
    for folder in (_HERE / "sample", _HERE.parents[1] / "samples/credit-card"):
        if folder.is_dir():
            return folder
    raise SettingsError("the sample is not installed")


def _arguments(settings: Mapping[str, Setting]) -> list[str]:
    """Settings as flags: `--train-data=…`, so that no value is taken for a flag."""
    arguments = []
    for name, value in settings.items():
        flag = "--" + name.replace("_", "-")
        if value is None or value is False:
            continue
        if value is True:
            arguments.append(flag)
        elif isinstance(value, Mapping):
            arguments += [f"{flag}={key}={_text(each)}" for key, each in value.items()]
        elif isinstance(value, (str, int, float, os.PathLike)):
            arguments.append(f"{flag}={_text(value)}")
        else:
            arguments += [f"{flag}={_text(each)}" for each in value]
    return arguments


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return os.fspath(value) if isinstance(value, os.PathLike) else str(value)


def _run(name: str, settings: Mapping[str, Setting], on_log: Callable[[str], object] | None) -> dict[str, Any]:
    command = [*_command(name), *_arguments({**settings, "log_format": "json"})]
    process = subprocess.Popen(
        command, env=_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace"
    )
    log: list[str] = []

    def collect() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            log.append(line)
            if on_log is not None:
                on_log(line.rstrip("\n"))

    reader = threading.Thread(target=collect, daemon=True)
    reader.start()
    try:
        assert process.stdout is not None
        said = process.stdout.read()
        code = process.wait()
        reader.join()
    except BaseException:
        # Ctrl-C in a notebook: the program ends in order, and its run id continues.
        process.terminate()
        process.wait()
        raise
    result = _last_object(said)
    if code == 0:
        return result
    raise _failure(name, code, result, "".join(log))


def _environment() -> dict[str, str]:
    """This process's variables, without the width of a terminal, which pytest and some shells export under the name of a setting."""
    return {name: value for name, value in os.environ.items() if name != "COLUMNS" or not value.isdigit()}


def _last_object(said: str) -> dict[str, Any]:
    for line in reversed(said.splitlines()):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict) and "event" in found:
            return found
    return {}


def _failure(name: str, code: int, result: dict[str, Any], log: str) -> Exception:
    message = result.get("error_message")
    if code < 0:
        killed = signal.Signals(-code).name
        likely = ", usually because memory ran out" if killed == "SIGKILL" else ""
        return (ResourcesError if killed == "SIGKILL" else Defect)(f"{name} was ended by {killed}{likely}", result=result, log=log)
    if not message:
        # What is wrong with the arguments is said before there is a run.
        message = next((line.strip() for line in reversed(log.splitlines()) if line.strip()), f"{name} ended with exit code {code}")
    return BY_EXIT_CODE.get(code, Defect)(str(message), result=result, log=log)


def _become(name: str) -> None:
    """The commands `train` and `predict` of the environment: this process becomes the program."""
    command = _command(name)
    os.execv(command[0], [*command, *sys.argv[1:]])


def run_train() -> None:
    """The command `train`."""
    _become("train")


def run_predict() -> None:
    """The command `predict`."""
    _become("predict")
