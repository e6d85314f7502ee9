"""Held-out R² of `train` with nothing tuned against the defaults of Python's XGBoost, LightGBM and CatBoost.

    benches/accuracy/run [--seeds 1,2] [--threads N] [--train PATH] [--write docs/accuracy.md] [TABLE …]

With `--write` every split's figures are kept beside the document, in accuracy.json, and the table is made of all of them.

Every table is split once per seed into 80 % to train on and 20 % held out; all four see the same rows. The figures of the
libraries are kept beside the split; delete the folder `tables` of the cache to measure them again.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import baselines
import tables

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "benches"))
from bench.results import circumstances  # noqa: E402

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
    searched = sum(trial["seconds"] for trial in metrics["trials"])
    members = [(member["scheme"]["name"], round(member["weight"], 3), member["rounds"]) for member in metrics["members"]]
    heaviest = max(metrics["members"], key=lambda member: member["weight"])
    return {
        "members": members,
        "r2": metrics["r2"], "seconds": seconds, "search": searched, "rounds": metrics["rounds"],
        "encoding": heaviest["scheme"]["name"], "params": heaviest["params"], "cut_by_clock": metrics["budget"]["cut_by_clock"],
    }  # fmt: skip


def rows_of(name, seed):
    (train, _), _ = tables.load(name, seed)
    return len(train), train.shape[1]


def keep(file, result):
    """Puts a split's figures among those that were measured before."""
    kept = json.loads(file.read_text()) if file.exists() else {}
    kept[f"{result['table']}/{result['seed']}"] = result
    file.write_text(json.dumps(dict(sorted(kept.items())), indent=1) + "\n")
    return list(kept.values())


def line_of_split(result):
    scores = {"train": result["train"], **result["python"]}
    figures = ", ".join(f"{name} {one['r2']:.4f} in {one['seconds']:.1f} s" for name, one in scores.items())
    return f"{result['table']}, split {result['seed']}: {figures}: {difference(result):+.4f};"


def difference(result, libraries=LIBRARIES):
    """R² of `train` less that of the best of these."""
    return result["train"]["r2"] - max(result["python"][library]["r2"] for library in libraries)


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def markdown(results):
    """A line for each table: means over its splits."""
    lines = [
        "| table | role | splits | rows × columns | `train` | XGBoost | LightGBM | CatBoost | to the best, each split | s: `train` (search) | s: XGB, LGBM, CatBoost |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    by_table = {name: [result for result in results if result["table"] == name] for name in tables.MAKERS}
    for name, of_table in by_table.items():
        if not of_table:
            continue
        of_table.sort(key=lambda result: result["seed"])
        python = {library: [result["python"][library] for result in of_table] for library in LIBRARIES}
        scores = " | ".join(f"{mean(one['r2'] for one in python[library]):.4f}" for library in LIBRARIES)
        seconds = ", ".join(f"{mean(one['seconds'] for one in python[library]):.1f}" for library in LIBRARIES)
        mine = {key: mean(result["train"][key] for result in of_table) for key in ("r2", "seconds", "search")}
        to_best = ", ".join(f"{difference(result):+.4f}" for result in of_table)
        lines.append(
            f"| {name} | {tables.ROLE[name]} | {len(of_table)} | {of_table[0]['rows']:,} × {of_table[0]['columns']} "
            f"| **{mine['r2']:.4f}** | {scores} | {to_best} | {mine['seconds']:.1f} ({mine['search']:.1f}) | {seconds} |"
        )
    return "\n".join(lines) + "\n"


def summary(results):
    to_best = [difference(result) for result in results]
    to_xgboost = [difference(result, ["xgboost"]) for result in results]
    within = sum(value >= -0.002 for value in to_best)
    measured = sorted({(result["measured"]["date"], result["measured"]["machine"]) for result in results})
    return (
        f"{within} of {len(results)} splits of {len({result['table'] for result in results})} tables are within 0.002 of the best of the "
        f"three or above it; mean difference to the best {mean(to_best):+.4f}, median {sorted(to_best)[len(to_best) // 2]:+.4f}, worst "
        f"{min(to_best):+.4f}. Against XGBoost alone: mean {mean(to_xgboost):+.4f}, above it on {sum(value > 0 for value in to_xgboost)} "
        f"splits, worst {min(to_xgboost):+.4f}. Measured on {'; '.join(f'{machine}, {date}' for date, machine in measured)}.\n"
    )


def write_page(page, results):
    start, end = "<!-- table: benches/accuracy/run -->\n", "<!-- end of table -->"
    before, rest = page.read_text().split(start)
    page.write_text(before + start + "\n" + markdown(results) + "\n" + summary(results) + "\n" + end + rest.split(end)[1])


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seeds", default="1")
    arguments.add_argument("--threads", type=int, default=os.cpu_count())
    arguments.add_argument("--train", required=True)
    arguments.add_argument("--write", type=Path)
    arguments.add_argument("tables", nargs="*", default=list(tables.MAKERS))
    arguments = arguments.parse_args()
    results, kept = [], arguments.write and arguments.write.with_suffix(".json")
    for name in arguments.tables:
        for seed in map(int, arguments.seeds.split(",")):
            python = baselines.measure(name, seed, arguments.threads)
            mine = ours(name, seed, arguments.threads, arguments.train)
            rows, columns = rows_of(name, seed)
            python = {library: python[library] for library in LIBRARIES}
            result = {"table": name, "seed": seed, "rows": rows, "columns": columns, "train": mine, "python": python}
            result["measured"] = circumstances()
            print(line_of_split(result), mine["encoding"], mine["params"], mine["rounds"], flush=True)
            results = keep(kept, result) if kept else [*results, result]
            if arguments.write:
                write_page(arguments.write, results)
    print(markdown(results) + "\n" + summary(results))


if __name__ == "__main__":
    main()
