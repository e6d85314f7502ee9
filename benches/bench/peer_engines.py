"""Scores a matrix with one engine and prints its figures as JSON; a process for each engine, since their thread pools disturb one another.

usage: peer_engines.py ENGINE MODEL_FILE MATRIX_FILE PREDICTIONS_FILE SECONDS LOAD_LIMIT
       peer_engines.py prepare FOLDER THREADS

Predictions are written as 32-bit floats to PREDICTIONS_FILE.THREADS. What an engine raises is printed as {"failed": …}, and so is that it
took more than LOAD_LIMIT seconds to load the model, which ends the whole process group. `prepare` makes the models and matrices.
"""

import importlib
import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import xgboost as xgb

COLUMNS = 70
CATEGORICAL_COLUMNS = 8
TRAINING_ROWS = 20_000
THREADS = [1, 2]
# The models, and the rows of the matrix that each scores: XGBoost takes a second or two on one core.
ROWS = {200: 100_000, 2_300: 20_000, 6_000: 10_000}
ROWS_WITH_CATEGORIES = 10_000
TREES_WITH_CATEGORIES = 50
BATCHES = [1_000, 10_000, 1_000_000]
# Passes over the matrix at least, of which the fastest counts.
MIN_PASSES = 2
PASS_SECONDS = 2
# An engine's process ends then, whatever it does.
SCORING_LIMIT = 120


def matrix(rows, seed):
    """Floats (some rounded, some missing) and small integers, as benches/tables.py makes them; and a target."""
    random = np.random.default_rng(seed)
    base = random.normal(size=rows)
    values = random.normal(size=(rows, COLUMNS))
    for column in range(COLUMNS):
        if column % 3 == 0:
            values[:, column] += 0.3 * base
        if column % 4 == 1:
            values[:, column] = np.round(np.exp(values[:, column]) * 10)
        if column % 11 == 10:
            values[:, column] = random.integers(0, 100, rows)
        if column % 5 == 2:
            values[random.random(rows) < 0.1, column] = np.nan
    target = base * 2 + values[:, 0] + np.sin(values[:, 3]) + values[:, 10] / 150 + random.normal(size=rows) * 0.5
    return values.astype(np.float32), target


def with_categories(values, target):
    """The last columns become codes of 20 levels, on which the target depends; some are missing."""
    random = np.random.default_rng(9)
    codes = random.integers(0, 20, (len(values), CATEGORICAL_COLUMNS)).astype(np.float32)
    target = target + np.sin(codes[:, -1] * 7) + np.cos(codes[:, -2] * 5)
    codes[random.random(codes.shape) < 0.05] = np.nan
    values[:, -CATEGORICAL_COLUMNS:] = codes
    return values, target


def prepare(folder, threads):
    """Models `NAME.ubj`; matrices `NAME.npy` and, column after column as ours takes them, `NAME.columns`."""
    parameters = {"max_depth": 6, "eta": 0.1, "tree_method": "hist", "nthread": threads}
    # The smaller models are the first trees of the largest, which is the only one that has to be trained.
    booster = xgb.train(parameters, xgb.QuantileDMatrix(*matrix(TRAINING_ROWS, 7)), max(ROWS))
    for trees, rows in ROWS.items():
        write(folder, str(trees), booster[:trees], matrix(rows, 8)[0])
    types = ["q"] * (COLUMNS - CATEGORICAL_COLUMNS) + ["c"] * CATEGORICAL_COLUMNS
    training = xgb.QuantileDMatrix(*with_categories(*matrix(TRAINING_ROWS, 7)), feature_types=types, enable_categorical=True)
    booster = xgb.train(parameters, training, TREES_WITH_CATEGORIES)
    write(folder, "categories", booster, with_categories(*matrix(ROWS_WITH_CATEGORIES, 8))[0])


def write(folder, name, booster, values):
    booster.save_model(folder / f"{name}.ubj")
    np.save(folder / f"{name}.npy", values)
    np.ascontiguousarray(values.T).tofile(folder / f"{name}.columns")


# An engine takes the file of a model and gives a function that makes, for a number of threads, the function that predicts.


def xgboost_engine(file):
    booster = xgb.Booster(model_file=file)

    def predictor(threads):
        booster.set_param({"nthread": threads})
        return booster.inplace_predict

    return predictor


def onnx_engine(file):
    import onnxmltools
    import onnxruntime
    from onnxmltools.convert.common.data_types import FloatTensorType

    inputs = [("values", FloatTensorType([None, COLUMNS]))]
    model = onnxmltools.convert_xgboost(xgb.Booster(model_file=file), initial_types=inputs).SerializeToString()

    def session(threads):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def predictor(threads):
        loaded = session(threads)
        return lambda values: loaded.run(None, {"values": values})[0]

    session(1)
    return predictor


def gtil_engine(file):
    import treelite

    model = treelite.frontend.load_xgboost_model(file, format_choice="ubjson")
    return lambda threads: lambda values: treelite.gtil.predict(model, values, nthread=threads)


def tl2cgen_engine(file):
    import tl2cgen
    import treelite

    model = treelite.frontend.load_xgboost_model(file, format_choice="ubjson")
    library = Path(file).with_suffix(".so")
    # The trees in so many files that gcc has something to do on every core. `quantize` was slower with this model.
    tl2cgen.export_lib(model, toolchain="gcc", libpath=library, params={"parallel_comp": 16}, options=["-O3"])

    def predictor(threads):
        compiled = tl2cgen.Predictor(library, nthread=threads)
        return lambda values: compiled.predict(tl2cgen.DMatrix(values, dtype="float32"))

    return predictor


def daal_engine(file):
    import daal4py

    model = daal4py.mb.convert_model(xgb.Booster(model_file=file))

    def predictor(threads):
        daal4py.daalinit(threads)
        return model.predict

    return predictor


# What each engine imports is not a part of loading a model.
ENGINES = {
    "xgboost": (xgboost_engine, []),
    "onnxruntime": (onnx_engine, ["onnxmltools", "onnxruntime"]),
    "gtil": (gtil_engine, ["treelite"]),
    "tl2cgen": (tl2cgen_engine, ["tl2cgen", "treelite"]),
    "daal4py": (daal_engine, ["daal4py.mb"]),
}


def in_batches(predict, values, rows):
    """Predictions of all rows, so many at a time."""
    parts = [predict(values[start : start + rows]) for start in range(0, len(values), rows)]
    return np.concatenate([np.asarray(part, dtype=np.float32).reshape(-1) for part in parts])


def timed(predict, values, rows, seconds, passes=MIN_PASSES):
    """The fastest of some passes, more while there is time; and the predictions."""
    best, done, started = float("inf"), 0, time.perf_counter()
    while done < passes or time.perf_counter() - started < seconds:
        start = time.perf_counter()
        predictions = in_batches(predict, values, rows)
        best = min(best, time.perf_counter() - start)
        done += 1
    return best, predictions


def in_time(predict, values):
    """The first rows, as many as a pass of PASS_SECONDS scores; XGBoost scores all, since the others are compared with it."""
    sample = values[:500]
    per_row = timed(predict, sample, len(sample), 0, 1)[0] / len(sample)
    return values[: max(int(PASS_SECONDS / per_row), 1_000)]


def measured(engine, model, values, predictions_file, seconds):
    """Figures for one number of threads after the other, each with the batch size that is best for it."""
    load, modules = ENGINES[engine]
    for module in modules:
        importlib.import_module(module)
    started = time.perf_counter()
    predictor = load(model)
    figures = {"load_seconds": time.perf_counter() - started, "threads": {}}
    end_after(SCORING_LIMIT, "scoring")
    for threads in THREADS:
        predict = predictor(threads)
        predict(values[:1])
        scored = values if engine == "xgboost" else in_time(predict, values)
        # Chosen on a part of the rows, since the worst may take several times as long as the best.
        part = scored[: max(len(scored) // 5, 4_000)]
        batches = sorted({min(rows, len(scored)) for rows in BATCHES})
        rows = min(batches, key=lambda rows: timed(predict, part, rows, 0, 1)[0]) if len(batches) > 1 else batches[0]
        best, predictions = timed(predict, scored, rows, seconds)
        predictions.tofile(f"{predictions_file}.{threads}")
        figures["threads"][threads] = {"rows_per_second": len(scored) / best, "batch_rows": rows}
    return figures


def end_after(limit, step):
    """Ends this process and the compilers that it started, unless it is called again within so many seconds."""

    def end(*_):
        print(json.dumps({"failed": f"stopped after {limit} s of {step}"}), flush=True)
        os.killpg(os.getpgrp(), signal.SIGKILL)

    signal.signal(signal.SIGALRM, end)
    signal.alarm(limit)


def main():
    if sys.argv[1] == "prepare":
        return prepare(Path(sys.argv[2]), int(sys.argv[3]))
    engine, model, matrix_file, predictions, seconds, limit = sys.argv[1:]
    end_after(int(limit), "loading")
    try:
        figures = measured(engine, model, np.load(matrix_file), predictions, float(seconds))
    # Whatever an engine says of a model that it does not take belongs on the page.
    except Exception as error:
        figures = {"failed": f"{type(error).__name__}: {error}"}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
