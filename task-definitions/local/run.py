#!/usr/bin/env python3
"""Runs the whole pipeline once on this machine and says what it did: the states with their seconds, the message, the checks, the files.

    run.py --programs FOLDER                                     the credit card sample
    run.py --programs FOLDER --shards 2                          the same, with two tasks that learn and two that score together
    run.py --programs FOLDER --sql SQL --data DATA --id ID --target TARGET [--features FILE]

SQL is a folder with training.sql and customers.sql; DATA has one folder or file (Parquet, CSV) for each table, which the two
statements read as source.NAME. `make pipeline` calls this with the programs built. Everything is left in --into.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True

import source  # noqa: E402
from machine import BUCKET, Machine  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import cost  # noqa: E402


def settings(arguments: list) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--programs", required=True, help="folder of train, predict and functions")
    parser.add_argument("--engine", default="none", choices=["auto", "docker", "podman", "none"], help="run them in containers, from the images engagement-ml/*")
    parser.add_argument("--into", type=Path, default=Path("run/pipeline"))
    parser.add_argument("--sql", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--features", type=Path)
    parser.add_argument("--id")
    parser.add_argument("--target")
    parser.add_argument("--model-version", default="v1.2.0")
    parser.add_argument("--shards", type=int, default=1, help="tasks that learn together, and that score together")
    parser.add_argument("--minutes", type=float, default=60, help="when to give up")
    chosen = parser.parse_args(arguments)
    if bool(chosen.sql) != bool(chosen.data):
        parser.error("--sql and --data (SQL and DATA) belong together")
    if chosen.sql and not (chosen.id and chosen.target):
        parser.error("with --sql and --data give --id and --target (ID and TARGET)")
    return chosen


def engine_of(chosen: str) -> str | None:
    """Docker or podman, if it runs and has the images; one that was named has to."""
    for engine in () if chosen == "none" else ("docker", "podman") if chosen == "auto" else (chosen,):
        if shutil.which(engine) and all(
                subprocess.run([engine, "image", "inspect", f"engagement-ml/{name}"], capture_output=True, check=False).returncode == 0 for name in ("train", "predict", "functions")):
            return engine
    if chosen not in ("auto", "none"):
        raise SystemExit(f"{chosen} does not run or has no images engagement-ml/train, predict and functions: make image")
    return None


def programs_of(chosen: argparse.Namespace) -> dict:
    """Paths, or names of images."""
    names = ("train", "predict", "functions")
    if chosen.engine:
        return {name: f"engagement-ml/{name}" for name in names}
    found = {name: str(Path(chosen.programs).resolve() / name) for name in names}
    missing = [path for path in found.values() if not Path(path).exists()]
    if missing:
        raise SystemExit(f"{', '.join(missing)} does not exist: cargo build --release --workspace")
    return found


def keep(machine: Machine, into: Path) -> None:
    """Copies the bucket into plain files, since the server that has it ends."""
    for key in machine.keys():
        file = into / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(machine.get(key))


def table(rows: list, headers: list) -> str:
    """Rows as aligned text."""
    texts = [headers] + [["" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value) for value in row] for row in rows]
    widths = [max(len(row[column]) for row in texts) for column in range(len(headers))]
    return "\n".join("  " + "  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)).rstrip() for row in texts)


def dollars(machine: Machine, outcome) -> str:
    """What the same run would cost, from the seconds measured here."""
    words = []
    for state in ("Training", "Inference"):
        if seconds := sum(visit.seconds for visit in outcome.visits if visit.name == state):
            words += ["--task", f"{seconds:.3f}"]
    words += [word for visit in outcome.visits if visit.name == "InferenceShard" for word in ("--task", f"{visit.seconds:.3f}")]
    names = {"PreCleanup": "pre-cleanup", "DataPreparation": "data-prep", "InferencePrep": "inference-prep", "CreateQATable": "create-qa-table",
             "CreateResultsTable": "create-results-table", "UpdateBedrockKB": "update-kb"}
    words += [word for visit in outcome.visits if visit.name in names for word in ("--function", f"{names[visit.name]}={visit.seconds:.3f}")]
    queries = [query for query in machine.athena.queries.values() if query.scanned]
    documents = sum(len(machine.get(key)) for key in machine.keys("knowledge/") if key.endswith(".md"))
    # About four characters are a token.
    chosen = cost.settings([*words, "--transitions", str(len(outcome.visits)), "--queries", str(len(queries)), "--scanned-mb", str(sum(query.scanned for query in queries) / 1e6),
                            "--tokens", str(documents // 4)])
    return cost.table_of_a_run(cost.parts_of_a_run(chosen.task, chosen))


def report(machine: Machine, outcome, into: Path) -> None:
    """What the run did."""
    print("\nThe way through the states (seconds):")
    for visit in outcome.visits:
        print(f"  {visit.seconds:8.2f}  {visit.name}")
    print(f"\n{outcome.status} after {outcome.seconds:.1f} s, {len(outcome.visits)} states entered")
    for message in outcome.messages:
        print("\nThe message on pipeline-notifications:\n" + json.dumps(message, indent=2))
    checks = machine.checks(outcome.name)
    if checks:
        print("\nThe checks (table qa):\n" + table(checks[1], checks[0]))
    if outcome.status == "SUCCEEDED":
        rows = machine.select("SELECT count(*) FROM results_latest")
        print(f"\nresults_latest: {rows[0][0]:,} customers")
    print("\nAt AWS's list prices, the tasks at 2 vCPU and 4 GB with 10 s of image pull:\n" + dollars(machine, outcome))
    print("\nWhere everything lies:")
    for what, where in {"results": "bucket/results", "checks": "bucket/qa", "predictions and reports": "bucket/scoring", "models and reports": "bucket/models",
                        "documents for the knowledge base": "bucket/knowledge", "logs of the tasks": "tasks", "logs of the functions": "functions"}.items():
        if (into / where).exists():
            print(f"  {what:34}{into / where}")


def main() -> int:
    """The command line."""
    chosen = settings(sys.argv[1:])
    chosen.engine = engine_of(chosen.engine)
    programs, into = programs_of(chosen), chosen.into.resolve()
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    tables = source.own(chosen.sql, chosen.data, chosen.features, chosen.id.lower(), chosen.target.lower()) if chosen.sql else source.sample()
    print(f"The programs run {'in containers of ' + chosen.engine if chosen.engine else 'as processes'}.")
    print("Starting Step Functions, S3 and the stand-ins …", flush=True)
    machine = Machine(into, programs, tables.parameters(BUCKET) | {"KnowledgeBaseId": "KB1", "DataSourceId": "DS1", "PredictShards": chosen.shards, "TrainShards": chosen.shards}, chosen.engine)
    try:
        source.install(machine, tables)
        print("engagement-ml-pipeline runs …", flush=True)
        execution = machine.start(f"local-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}", {"model_version": chosen.model_version, "environment": "prod"})
        shown = set()

        def show(running: str) -> None:
            for visit in machine.visits(running):
                if (visit.name, visit.at) not in shown:
                    shown.add((visit.name, visit.at))
                    print(f"  {visit.name}", flush=True)
        outcome = machine.outcome(execution, 60 * chosen.minutes, show)
        keep(machine, into / "bucket")
        report(machine, outcome, into)
    finally:
        machine.stop()
    return int(outcome.status != "SUCCEEDED")


if __name__ == "__main__":
    sys.exit(main())
