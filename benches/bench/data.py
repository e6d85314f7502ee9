"""The tables that are scored and trained on, and the models that score: made once, kept in BENCH_FOLDER."""

import json
import shutil
import sys

from .measure import run
from .settings import BENCHES, BIN, FOLDER, THREADS

FEATURES = 70
TREES = 200
FIRST_ID_TO_TRAIN = 1_000_000_000
FIRST_ID_TO_TEST = 2_000_000_000


def table(rows, features=FEATURES, first_id=0, target=False):
    """The folder of a table; renamed when complete."""
    kind = {0: "rows", FIRST_ID_TO_TRAIN: "train", FIRST_ID_TO_TEST: "test"}[first_id]
    width = "" if features == FEATURES else f"-by-{features}"
    folder = FOLDER / f"{kind}-{rows}{width}"
    if not folder.exists():
        part = folder.with_name(folder.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        words = [sys.executable, BENCHES / "tables.py", rows, part, first_id, "--features", features]
        run([*words, "--target"] if target else words)
        part.rename(folder)
    return folder


def train_and_test(rows, features=FEATURES):
    """Rows to train on, and a fifth as many to test on."""
    train = table(rows, features, FIRST_ID_TO_TRAIN, target=True)
    return train, table(max(rows // 5, 200), features, FIRST_ID_TO_TEST, target=True)


def three_times(folder):
    """A table of three times the rows, by links to the files: its ids repeat."""
    thrice = folder.with_name(folder.name + "-thrice")
    shutil.rmtree(thrice, ignore_errors=True)
    thrice.mkdir()
    for copy in range(3):
        for file in sorted(folder.iterdir()):
            (thrice / f"copy-{copy}-{file.name}").hardlink_to(file)
    return thrice


def model_store(features=FEATURES, trees=TREES):
    """A store whose latest model has so many trees, six splits deep."""
    store = FOLDER / f"models-{features}-{trees}"
    if not (store / "engagement" / "latest.json").exists():
        shutil.rmtree(store, ignore_errors=True)
        train, test = train_and_test(100_000, features)
        run(train_command(train, test, store, trees))
    return store


def model_folder(store):
    """The folder of the latest model."""
    latest = json.loads((store / "engagement" / "latest.json").read_text())
    return store / "engagement" / latest["path"]


def train_command(train, test, store, rounds, min_r2=0.01):
    """`train` with the parameters that the peer has too; without a table to test on, on a part of the rows."""
    words = [BIN / "train", "--train-data", train, *(["--test-data", test] if test else []), "--models", store, "--model-version", "bench"]
    words += ["--id", "customer_id", "--target", "engagement", "--rounds", rounds, "--param", "max_depth=6", "--param", "eta=0.1"]
    return [*words, "--min-r2", str(min_r2), "--threads", THREADS, "--log-format", "json"]
