"""`predict` and `train` beside Python on tables of the shapes that other systems leave: many row groups, many files, many columns,
CSV, texts, text ids."""

import shutil
import sys

from . import data, predict, train
from .measure import paired, run
from .settings import BENCHES, FOLDER, THREADS

TREES = 200
# What a model was trained on, by the shape that it scores.
TRAINED_ON = {"texts": "train-texts", "wide": "train-wide:{}", "dictionary": "train-dictionary"}
# What is asked of predict besides, and whether its predictions can be compared: Python checks no ids.
ARGUMENTS = {
    "carried": (["--columns", ",".join(f"text{number:02}" for number in range(5)), "--format", "csv"], False),
    "ids": (["--max-reject-fraction", "1"], True),
}


def table(name):
    """The folder of a table; renamed when complete."""
    folder = FOLDER / f"shape-{name.replace(':', '-')}"
    if not folder.exists():
        part = folder.with_name(folder.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        run([sys.executable, BENCHES / "shape_tables.py", name, part])
        part.rename(folder)
    return folder


def model_store(shape, detail):
    """A store whose latest model knows the columns of a shape."""
    if shape == "nested-files":
        return data.model_store()
    if shape == "ids":
        return data.model_store(10)
    trained_on = TRAINED_ON.get(shape, "train-row-groups:1").format(detail)
    store = FOLDER / f"models-{trained_on.replace(':', '-')}"
    if not (store / "engagement" / "latest.json").exists():
        shutil.rmtree(store, ignore_errors=True)
        run(data.train_command(table(trained_on), None, store, TREES, min_r2=-1))
    return store


def beside_python(name, repeats):
    """Figures of both, and what the plan says; the predictions must be the same bits."""
    shape, _, detail = name.partition(":")
    store, folder, results = model_store(shape, detail), table(name), {}
    arguments, is_compared = ARGUMENTS.get(shape, ([], True))
    is_compared = is_compared and detail != "half"

    def ours():
        figures, results["ours"] = predict.score(folder, store, *arguments)
        return figures

    def theirs():
        shutil.rmtree(FOLDER / "theirs", ignore_errors=True)
        peer = [sys.executable, BENCHES / "bench" / "peer_shapes.py", folder, data.model_folder(store), FOLDER / "theirs", THREADS]
        figures, _ = run([*peer, *[argument for argument in arguments if argument not in ("--max-reject-fraction", "1")]])
        if is_compared:
            parts = FOLDER / "ours" / "predictions" / f"run_id={results['ours']['run_id']}"
            run([sys.executable, BENCHES / "bench" / "same.py", parts, FOLDER / "theirs"])
        return figures

    figures = paired(repeats, ours, theirs)
    return figures | {"planned_mib": predict.prepared(folder, store, *arguments[:2])["total_bytes"] / 2**20}


def files_on_s3(files, repeats):
    """The same with the table on a local S3 server; models and results are local, and polars reads it by its own client of S3."""
    store, folder, results = model_store("files", files), table(f"files:{files}"), {}
    with predict.S3() as server:
        predict.upload(server, folder, "table")

        def ours():
            figures, results["ours"] = predict.score("s3://bench/table", store, environment=server.environment)
            return figures

        def theirs():
            shutil.rmtree(FOLDER / "theirs", ignore_errors=True)
            peer = [sys.executable, BENCHES / "bench" / "peer_shapes.py", "s3://bench/table", data.model_folder(store), FOLDER / "theirs", THREADS]
            figures, _ = run(peer, server.environment)
            parts = FOLDER / "ours" / "predictions" / f"run_id={results['ours']['run_id']}"
            run([sys.executable, BENCHES / "bench" / "same.py", parts, FOLDER / "theirs"])
            return figures

        figures = paired(repeats, ours, theirs)
        planned = predict.prepared("s3://bench/table", store, environment=server.environment)
    return figures | {"planned_mib": planned["total_bytes"] / 2**20}


def training(groups, repeats):
    """`train` on a million rows in so many row groups."""
    folder, test = table(f"train-row-groups:{groups}"), data.table(20_000, 18, data.FIRST_ID_TO_TEST, target=True)
    return train.beside_python_on(folder, test, 20, repeats)
