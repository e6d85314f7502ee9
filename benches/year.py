#!/usr/bin/env python3
"""A year of weekly runs on a real table, with the real programs: trained, predicted, and evaluated a week later.

    benches/year.py --programs FOLDER [--into run/year] [--weeks 52] [--drift 30] [--at-once 100]

Each Monday at 03:00 `train` learns from the newest eight weeks of the credit card sample's 30,000 real customers, drawn week by week, `predict`
scores the week's, and `predict evaluate` compares the predictions of the week before with what happened. In the week `--drift` the world
changes: customers under 30 pay in another way, and the bank raises the limits, so that features move and the relation, too; models learn it
as the new weeks come into the window.
At last `--at-once` runs end at once (on as many processes as the machine bears, 8). What must hold is checked, and the exit code says so:
the metric RealizedAccuracy falls below the gate (the alarm Low Realized Accuracy fires) for the week of the drift and for none before, the page marks it,
and the page is whole after all.

`faketime` (apt-get install faketime) moves the programs' clocks, so that the pages show weeks; without it they show minutes.
Needs Python with pandas and pyarrow (scripts/setup-python prints one).
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

PROJECT = Path(__file__).resolve().parent.parent
SAMPLE = PROJECT / "samples/credit-card"
GATE = 0.75
ROWS = 2_500
WINDOW = 8
BEGIN = datetime(2025, 12, 1, 3)
TARGET = "BILL_AMT1"


class Year:
    """The folder of a year, and the programs that work in it."""

    def __init__(self, programs: Path, into: Path, drift: int):
        self.programs, self.into, self.drift = programs.resolve(), into.resolve(), drift
        tables = [pd.read_parquet(path) for part in ("train", "test") for path in sorted((SAMPLE / part).glob("*.parquet"))]
        self.pool = pd.concat(tables, ignore_index=True)
        # The library itself: its wrapper keeps a semaphore by process id, which fails now and then.
        self.clock = next(map(str, Path("/usr/lib").glob("**/faketime/libfaketime.so.1")), None)

    def week(self, number: int) -> pd.DataFrame:
        """The customers of a week with what happened to them."""
        chance = np.random.default_rng(1_000 + number)
        rows = self.pool.iloc[chance.choice(len(self.pool), ROWS, replace=False)].copy()
        rows["ID"] = np.arange(ROWS) + number * 100_000
        if number >= self.drift:
            rows["LIMIT_BAL"] = rows["LIMIT_BAL"] * 3
            # They pay their bill down, and owe little where they owed much: a model that has seen it can learn it.
            other = rows["AGE"] < 30
            rows.loc[other, TARGET] = (rows.loc[other, "LIMIT_BAL"] / 3 - rows.loc[other, TARGET]).clip(lower=0).round()
        return rows.astype({TARGET: self.pool[TARGET].dtype, "LIMIT_BAL": self.pool["LIMIT_BAL"].dtype})

    def run(self, moment: datetime, program: str, *arguments, expected=(0,)) -> subprocess.CompletedProcess:
        """A program at a moment of the year."""
        words = [str(self.programs / program), *map(str, arguments)]
        environment = os.environ | {"LOG_FORMAT": "json", "TZ": "UTC", "THREADS": "2"}
        if self.clock:
            environment |= {"LD_PRELOAD": self.clock, "FAKETIME": f"@{moment:%Y-%m-%d %H:%M:%S}", "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1"}
        ended = subprocess.run(words, capture_output=True, text=True, cwd=self.into, env=environment, check=False)
        if ended.returncode not in expected:
            raise SystemExit(f"{' '.join(words)} ended with {ended.returncode}:\n{ended.stderr[-2000:]}")
        return ended

    def train(self, moment: datetime, number: int) -> float:
        """Learns from the newest weeks; a model below the gate is not published. Gives R² on held-out rows."""
        rows = pd.concat([self.week(past) for past in range(number - WINDOW, number)])
        (self.into / "rows").mkdir(parents=True, exist_ok=True)
        rows.to_parquet(self.into / "rows/train.parquet")
        ended = self.run(moment, "train", "--train-data", "rows/train.parquet", "--features", SAMPLE / "features.toml", "--models", "models", "--model-version", "v1",
                         "--run-id", f"train-{moment:%Y-%m-%d}", "--min-r2", GATE, "--rounds", 80, expected=(0, 3))
        return json.loads(ended.stdout.splitlines()[-1])["r2"]

    def predict(self, moment: datetime, number: int) -> None:
        """Scores the customers of the week."""
        self.week(number).drop(columns=[TARGET]).to_parquet(self.into / "rows/customers.parquet")
        self.run(moment, "predict", "--input", "rows/customers.parquet", "--models", "models", "--output", "output", "--run-id", self.run_id(number))

    def evaluate(self, moment: datetime, number: int) -> tuple:
        """Compares a week's predictions with what happened: the metric that the alarm watches, and R² when trained."""
        self.week(number)[["ID", TARGET]].to_parquet(self.into / "rows/actuals.parquet")
        ended = self.run(moment, "predict", "evaluate", "--actuals", "rows/actuals.parquet", "--models", "models", "--output", "output", "--run-id", self.run_id(number))
        lines = [json.loads(line) for line in ended.stdout.splitlines()]
        metric, = [line["RealizedAccuracy"] for line in lines if "RealizedAccuracy" in line]
        return metric, lines[-1]["r2_when_trained"]

    def run_id(self, number: int) -> str:
        """The run that scores a week."""
        return f"week-{BEGIN + timedelta(weeks=number):%Y-%m-%d}"

    def page(self, folder: str) -> str:
        """A page, which has to be whole."""
        page = (self.into / folder / "index.html").read_text()
        assert page.startswith("<!doctype html>") and page.endswith("</main></body></html>\n"), folder
        return page


def at_once(year: Year, count: int, moment: datetime) -> None:
    """So many runs, eight at a time; all of them are on the page in the end."""
    ids = [f"at-once-{number}" for number in range(count)]

    def run(run_id):
        return year.run(moment, "predict", "--input", "rows/customers.parquet", "--models", "models", "--output", "crowd", "--run-id", run_id)
    began = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        ended = list(pool.map(run, ids))
    late = sum("does not show this run yet" in one.stderr for one in ended)
    year.page("crowd")
    shown = len(json.loads((year.into / "crowd/history.json").read_text())["runs"])
    print(f"{count} runs at once: all ended with 0 after {time.monotonic() - began:.1f} s; {late} had to leave the page to others, which showed {shown} then")
    year.run(moment, "predict", "history", "--output", "crowd")
    history = json.loads((year.into / "crowd/history.json").read_text())
    known = {run["run_id"] for run in history["runs"]} | {path.split("/")[1] for month in history["months"] for path in month["runs"]}
    assert known == set(ids), sorted(set(ids) - known)[:5]
    print(f"after `predict history`: {len(known)}")


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--programs", type=Path, required=True, help="folder of train and predict")
    parser.add_argument("--into", type=Path, default=PROJECT / "run/year")
    parser.add_argument("--weeks", type=int, default=52)
    parser.add_argument("--drift", type=int, default=30, help="the week in which the world changes")
    parser.add_argument("--at-once", type=int, default=100)
    chosen = parser.parse_args()
    shutil.rmtree(chosen.into, ignore_errors=True)
    year = Year(chosen.programs, chosen.into, chosen.drift)
    below, trained = [], []
    for number in range(chosen.weeks):
        moment = BEGIN + timedelta(weeks=number)
        if number:
            metric, before = year.evaluate(moment, number - 1)
            marked = f"What run {year.run_id(number - 1)} predicted came out" in year.page("output")
            print(f"week {number - 1:2}  when trained {before:.3f}  as it came out {metric:.3f}{'  below the gate' if metric < GATE else ''}{'  marked' if marked else ''}", flush=True)
            below += [number - 1] if metric < GATE else []
            assert marked or metric >= GATE, "the page does not say what the alarm says"
        trained.append(year.train(moment + timedelta(minutes=10), number))
        year.predict(moment + timedelta(minutes=40), number)
    print(f"RealizedAccuracy was below {GATE} in the weeks {below}; the world changed in week {chosen.drift}")
    assert below and min(below) == chosen.drift, "the alarm Low Realized Accuracy would not have fired in that week first"
    for folder, runs in (("output", chosen.weeks), ("models/engagement", chosen.weeks)):
        year.page(folder)
        assert len(json.loads((year.into / folder / "history.json").read_text())["runs"]) == min(runs, 104), folder
    if chosen.at_once:
        at_once(year, chosen.at_once, moment)
    return 0


if __name__ == "__main__":
    sys.exit(main())
