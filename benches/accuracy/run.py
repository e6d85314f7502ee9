"""Held-out R² of `train` with nothing tuned against the defaults of Python's XGBoost, LightGBM and CatBoost.

    benches/accuracy/run [--seeds 1,2] [--threads N] [--train PATH] [--only-train] [--write docs/accuracy.md] [TABLE …]

Every table is split once per seed into 80 % to train on and 20 % held out; all four see the same rows. The figures of the
libraries are kept beside the split; delete the folder `tables` of the cache to measure them again.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

import baselines
import tables

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = ("xgboost", "lightgbm", "catboost")


def ours(name, seed, threads, program):
    """R², seconds, encoding, rounds and the seconds of the search, of one run of the whole command."""
    folder = tables.make(name, seed)
    with tempfile.TemporaryDirectory() as models:
        command = [
            program, "--train-data", folder / "train.parquet", "--test-data", folder / "test.parquet",
            "--id", tables.ID, "--target", "target", "--models", models, "--model-version", "v1",
            "--min-r2", "-1000", "--threads", str(threads), "--log-format", "json", "--run-id", "bench",
        ]  # fmt: skip
        start = time.perf_counter()
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
        seconds = time.perf_counter() - start
        if done.returncode != 0:
            raise SystemExit(f"{name}: train ended with {done.returncode}: {done.stderr[-2000:]}")
        metrics = json.loads((Path(models) / "engagement" / "v1" / "bench" / "metrics.json").read_text())
        if keep := os.environ.get("KEEP_METRICS"):
            Path(keep, f"{name}-{seed}.json").write_text(json.dumps(metrics))
    chosen = metrics["trials"][-1] if metrics["trials"] else {"encoding": "native", "params": {}}
    searched = sum(trial["seconds"] for trial in metrics["trials"])
    members = [(member["variant"]["name"], round(member["weight"], 3), member["rounds"]) for member in metrics["members"]]
    return {
        "members": members,
        "r2": metrics["r2"], "seconds": seconds, "search": searched, "rounds": metrics["rounds"],
        "encoding": chosen["encoding"], "params": chosen["params"],
    }  # fmt: skip


def rows_of(name, seed):
    (train, _), _ = tables.load(name, seed)
    return len(train), train.shape[1]


def markdown(results):
    lines = [
        "| table | role | split | rows × columns | `train` | XGBoost | LightGBM | CatBoost | to the best | s: `train` (search) | s: XGB, LGBM, CatBoost |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for result in results:
        python = result["python"]
        best = max(python[library]["r2"] for library in LIBRARIES)
        scores = " | ".join(f"{python[library]['r2']:.4f}" for library in LIBRARIES)
        seconds = ", ".join(f"{python[library]['seconds']:.1f}" for library in LIBRARIES)
        mine = result["train"]
        lines.append(
            f"| {result['table']} | {tables.ROLE[result['table']]} | {result['seed']} | {result['rows']:,} × {result['columns']} "
            f"| **{mine['r2']:.4f}** | {scores} | {mine['r2'] - best:+.4f} | {mine['seconds']:.1f} ({mine['search']:.1f}) | {seconds} |"
        )
    return "\n".join(lines) + "\n"


def summary(results):
    def difference(result, libraries):
        return result["train"]["r2"] - max(result["python"][library]["r2"] for library in libraries)

    to_best = [difference(result, LIBRARIES) for result in results]
    to_xgboost = [difference(result, ["xgboost"]) for result in results]
    within = sum(value >= -0.002 for value in to_best)
    return (
        f"{within} of {len(results)} splits are within 0.002 of the best of the three or above it; mean difference to the best "
        f"{sum(to_best) / len(to_best):+.4f}, worst {min(to_best):+.4f}; mean difference to XGBoost "
        f"{sum(to_xgboost) / len(to_xgboost):+.4f}.\n"
    )


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seeds", default="1")
    arguments.add_argument("--threads", type=int, default=os.cpu_count())
    arguments.add_argument("--train", default=ROOT / "target" / "release" / "train")
    arguments.add_argument("--write", type=Path)
    arguments.add_argument("tables", nargs="*", default=list(tables.MAKERS))
    arguments = arguments.parse_args()
    results = []
    for name in arguments.tables:
        for seed in map(int, arguments.seeds.split(",")):
            python = baselines.measure(name, seed, arguments.threads)
            mine = ours(name, seed, arguments.threads, arguments.train)
            rows, columns = rows_of(name, seed)
            results.append({"table": name, "seed": seed, "rows": rows, "columns": columns, "train": mine, "python": python})
            print(markdown(results[-1:]).splitlines()[-1], mine["encoding"], mine["params"], mine["rounds"], flush=True)
    text = markdown(results) + "\n" + summary(results)
    print(text)
    if arguments.write:
        document = arguments.write.read_text()
        start, end = "<!-- table: benches/accuracy/run -->\n", "<!-- end of table -->"
        before, rest = document.split(start)
        arguments.write.write_text(before + start + "\n" + text + "\n" + end + rest.split(end)[1])


if __name__ == "__main__":
    main()
