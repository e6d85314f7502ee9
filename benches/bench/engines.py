"""The same model in every scoring engine that a user could install: speed, time to load, and how far predictions are from XGBoost's."""

import json
import os
import shutil
import signal
import subprocess

import numpy as np

from .measure import built, run
from .settings import BENCHES, FOLDER, THREADS

PEER = BENCHES / "bench" / "peer_engines.py"
# XGBoost first: the others are compared with its predictions.
PEERS = ["xgboost", "onnxruntime", "gtil", "tl2cgen", "daal4py"]
# Passes are repeated for so long.
SECONDS = 1
# Loading a model includes compiling it. gcc takes minutes for thousands of trees.
LOAD_LIMIT = 75


def beside_engines(model):
    """Figures of every engine for a model of `peer_engines.py prepare`."""
    python = subprocess.run([BENCHES / "setup-peers", "engines"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    example, folder = built("engine_speed"), prepared(python)
    values, predictions = folder / f"{model}.npy", folder / "predictions"
    shutil.rmtree(predictions, ignore_errors=True)
    predictions.mkdir()
    engines = {}
    for name in PEERS:
        engines[name] = peer([python, PEER, name, folder / f"{model}.ubj", values, predictions / name, SECONDS, LOAD_LIMIT])
        print(f"    {name}: {engines[name]}", flush=True)
    n_rows, n_columns = np.load(values, mmap_mode="r").shape
    command = [example, folder / f"{model}.ubj", folder / f"{model}.columns", n_columns, predictions / "ours", SECONDS]
    for line in run(command)[1].splitlines():
        figures = json.loads(line)
        ours = engines.setdefault(f"ours.{figures['instructions']}", {"load_seconds": figures["load_seconds"], "threads": {}})
        ours["threads"][str(figures["threads"])] = {"rows_per_second": figures["rows_per_second"]}
    compare(engines, predictions)
    return {"rows": n_rows, "engines": engines}


def prepared(python):
    """The folder of models and matrices, made once; renamed when complete."""
    folder = FOLDER / "engines"
    if not folder.exists():
        part = folder.with_name("engines.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        run([python, PEER, "prepare", part, THREADS])
        part.rename(folder)
    return folder


def peer(command):
    """What an engine's process printed, or how it ended if it printed nothing. In a process group of its own, which it ends when it is late."""
    words = [str(word) for word in command]
    child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        output, log = child.communicate()
    except BaseException:
        os.killpg(child.pid, signal.SIGKILL)
        raise
    lines = [line for line in output.splitlines() if line.startswith("{")]
    if lines:
        return json.loads(lines[-1])
    return {"failed": f"ended with {child.returncode}: {log.strip()[-300:]}"}


def compare(engines, predictions):
    """Adds how many rows have other bits than XGBoost's on one thread, and the largest difference in units of the range of its predictions."""
    expected = np.fromfile(predictions / "xgboost.1", dtype=np.float32)
    for name, engine in engines.items():
        for threads, figures in engine.get("threads", {}).items():
            predicted = np.fromfile(predictions / f"{name}.{threads}", dtype=np.float32)
            # A slow engine has scored only the first rows.
            same_rows = expected[: len(predicted)]
            difference = np.abs(predicted.astype(np.float64) - same_rows).max()
            figures["rows"] = len(predicted)
            figures["different_rows"] = int((predicted.view(np.int32) != same_rows.view(np.int32)).sum())
            figures["largest_difference"] = float(difference / np.ptp(expected))
