"""`train` beside Python: the whole command, from the files to the published model, with the same rounds and parameters."""

import json
import shutil
import sys

from . import data
from .measure import paired, run
from .settings import BENCHES, FOLDER, THREADS

READERS = ("polars", "pandas")


def beside_python(rows, features, rounds, repeats, reader="polars"):
    """Figures of both and the R² that each reports on the same test rows."""
    return beside_python_on(*data.train_and_test(rows, features), rounds, repeats, reader)


def beside_python_on(train, test, rounds, repeats, reader="polars"):
    """The same on given tables."""
    r2 = {}

    def ours():
        shutil.rmtree(FOLDER / "ours-models", ignore_errors=True)
        figures, text = run(data.train_command(train, test, FOLDER / "ours-models", rounds))
        r2["ours"] = json.loads(text.strip().splitlines()[-1])["r2"]
        return figures

    def theirs():
        shutil.rmtree(FOLDER / "theirs-models", ignore_errors=True)
        peer = [sys.executable, BENCHES / "bench" / "peer_train.py", train, test, FOLDER / "theirs-models", rounds, THREADS, reader]
        figures, text = run(peer)
        r2["python"] = float(text.split()[-1])
        return figures

    figures = paired(repeats, ours, theirs)
    for name, value in r2.items():
        figures[name]["r2"] = value
    return figures
