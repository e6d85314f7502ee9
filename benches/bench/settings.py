"""Where everything lies and what the environment says."""

import os
import tempfile
from pathlib import Path

BENCHES = Path(__file__).resolve().parent.parent
PROJECT = BENCHES.parent
BIN = Path(os.environ["BIN"]) if "BIN" in os.environ else PROJECT / "target" / "release"
FOLDER = Path(os.environ.get("BENCH_FOLDER", Path(tempfile.gettempdir()) / "engagement-bench"))
THREADS = int(os.environ.get("THREADS") or os.cpu_count())


def docs():
    """The folder of the page, its figures and its charts."""
    return Path(os.environ.get("BENCH_DOCS", PROJECT / "docs"))
