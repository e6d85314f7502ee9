"""Runs commands and says what they took."""

import os
import subprocess
import tempfile
import time
from pathlib import Path

from .settings import PROJECT


def run(command, environment=None):
    """Wall seconds, CPU seconds and peak MiB of a command, and what it printed."""
    started = time.monotonic()
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as log:
        words = [str(word) for word in command]
        child = subprocess.Popen(words, stdout=output, stderr=log, env={**os.environ, **(environment or {})})
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        wall = time.monotonic() - started
        output.seek(0)
        text = output.read().decode()
        if child.returncode != 0:
            log.seek(0)
            raise SystemExit(f"{words} ended with {child.returncode}:\n{text[-2000:]}\n{log.read().decode()[-2000:]}")
    return {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "peak_mib": usage.ru_maxrss / 1024}, text


def fastest(runs):
    """Each figure's best."""
    return {name: min(figures[name] for figures in runs) for name in runs[0]}


def paired(rounds, ours, theirs):
    """Both in turn, so that whatever else the machine does falls on both; the best of each."""
    mine, others = [], []
    for _ in range(rounds):
        mine.append(ours())
        others.append(theirs())
    return {"ours": fastest(mine), "python": fastest(others)}


def built(example):
    """The path of an example. Built as a part of the whole workspace: alone, its dependencies would have other features and be compiled again."""
    command = ["cargo", "build", "--release", "--locked", "-q", "--workspace", "--example", example]
    subprocess.run(command, cwd=PROJECT, check=True)
    return Path(os.environ.get("CARGO_TARGET_DIR", PROJECT / "target")) / "release" / "examples" / example
