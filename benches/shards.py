"""What shards of `predict` take, and that they write the bytes of one task: a large table, one task, then N shards one after the other.

usage: shards.py BIN FOLDER [--rows 10000000] [--features 20] [--shards 1,2,4,16] [--memory-mib 400] [--layout files|small|group] [--rounds 100] [--reasons K] [--interval LEVEL]

BIN has `train` and `predict`; FOLDER takes the table and the results, and is emptied of them in the end. Every process runs alone, with
two threads, with --memory, and, where this process may make control groups, in one that the kernel holds to the same memory. Ids come in no order,
and the last thousand are those of the first rows. From the seconds of all processes come three slopes by least squares:

    seconds = fixed + rows scored * a + rows of which only ids were read * b

and from those, with `cost.py`, what 100 million and 1 billion rows would take. Ends with 1 where bytes differ or memory was exceeded.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
import tables
from control_groups import MIB, group_of

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "task-definitions"))
import cost  # noqa: E402

REPEATED = 1000
LAYOUTS = {"files": 1_000_000, "small": 50_000, "group": None}


def settings():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--features", type=int, default=20)
    parser.add_argument("--shards", default="1,2,4,16")
    parser.add_argument("--memory-mib", type=int, default=400)
    parser.add_argument("--layout", choices=LAYOUTS, default="files", help="files of 1,000,000 rows, small ones of 50,000, or one row group")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--reasons", type=int, default=0)
    parser.add_argument("--interval", type=float)
    return parser.parse_args()


def make_tables(given):
    """Rows to train on, and those to score, whose ids are shuffled."""
    random = np.random.default_rng(7)
    ids = random.permutation(given.rows)
    ids[-REPEATED:] = ids[:REPEATED]
    (given.folder / "train").mkdir(parents=True)
    (given.folder / "input").mkdir()
    tables.rows_of(50_000, given.rows, random, given.features, True).write_parquet(given.folder / "train/part.parquet")
    step = LAYOUTS[given.layout] or given.rows
    for number, start in enumerate(range(0, given.rows, step)):
        some = min(step, given.rows - start)
        table = tables.rows_of(some, start, random, given.features, False).with_columns(pl.Series("customer_id", ids[start : start + some]))
        size = {"row_group_size": given.rows} if given.layout == "group" else {}
        table.write_parquet(given.folder / f"input/part-{number:05d}.parquet", **size)
    return sum(file.stat().st_size for file in (given.folder / "input").iterdir())


def run(given, program, group, **environment):
    """Seconds, the result and the metrics of a process."""
    folder = given.folder
    variables = {"MODELS": folder / "models", "THREADS": 2, "LOG_FORMAT": "json", "TMPDIR": folder} | environment

    def enter():
        if group:
            (group / "cgroup.procs").write_text(str(os.getpid()))

    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as log:
        child = subprocess.Popen([given.programs / program], env={**os.environ, **{name: str(value) for name, value in variables.items()}},
                                 stdout=output, stderr=log, preexec_fn=enter)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.monotonic() - started
        child.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        log.seek(0)
        lines, said = output.read().splitlines(), log.read()
    if child.returncode:
        raise SystemExit(f"{program} {environment} ended with {child.returncode}:\n{lines[-1:]}\n{said[-3000:]}")
    lines = [json.loads(line) for line in lines]
    peak = max(line["PeakMemory"] for line in lines if "PeakMemory" in line)
    return {"seconds": seconds, "cpu": usage.ru_utime + usage.ru_stime, "peak_mib": peak / MIB, "result": lines[-1], "on_disk": "compared by way of" in said}


def written(output):
    """What a run wrote: the hash of each part, and of the manifest but for its time."""
    files = sorted(file for folder in ("predictions", "rejected") for file in (output / folder).rglob("*") if file.is_file())
    hashes = {str(file.relative_to(output)): hashlib.file_digest(file.open("rb"), "sha256").hexdigest() for file in files}
    manifest = json.loads((output / "runs/the-run/manifest.json").read_text())
    del manifest["started_at"]
    return hashes | {"manifest": json.dumps(manifest)}


def described(scored, ids, took):
    """The three slopes, by least squares, how well they fit, and what they mean for more rows."""
    matrix = np.stack([np.ones(len(took)), scored / 1e6, ids / 1e6], axis=1)
    found = np.linalg.lstsq(matrix, took, rcond=None)[0]
    off = np.abs(matrix @ found - took)
    words = [f"{found[0]:.2f} fixed, {found[1]:.3f} a million rows scored, {found[2]:.3f} a million rows of ids "
             f"({len(took)} processes; off by {off.mean():.2f} on average, {off.max():.2f} at most)"]
    slopes = cost.Slopes(*found)
    for rows in (1e8, 1e9):
        for shards in (1, 4, 16, 40):
            each = slopes.shard_seconds(rows, shards)
            words.append(f"  {rows:,.0f} rows, {shards} shards: the last {each[-1]:,.0f}, together {sum(each):,.0f}, ${cost.run_dollars(each):.2f} (extrapolated)")
    return "\n".join(words)


def main():
    """Everything; Markdown comes out."""
    given = settings()
    given.folder = given.folder.resolve()
    bytes_of_input = make_tables(given)
    # Each value as a 64-bit float, which is what the columns hold.
    bytes_of_rows = given.rows * (given.features + 1) * 8
    group = group_of("predict", given.memory_mib)
    run(given, "train", None, TRAIN_DATA=given.folder / "train", ID_COLUMN="customer_id", TARGET_COLUMN="engagement", MODEL_VERSION="v1", ROUNDS=given.rounds, MIN_R2=0,
        **({"INTERVAL_FOLDS": 3} if given.interval else {}))
    common = {"INPUT_DATA": given.folder / "input", "RUN_ID": "the-run", "MEMORY": f"{given.memory_mib}m"}
    common |= ({"REASONS": given.reasons} if given.reasons else {}) | ({"INTERVAL": given.interval} if given.interval else {})

    def of(output, **more):
        return run(given, "predict", group, OUTPUT=given.folder / output, **common, **more)

    one = of("one")
    expected = written(given.folder / "one")
    shutil.rmtree(given.folder / "one")
    print(f"{given.rows:,} rows x {given.features} features, {given.layout}, {bytes_of_input / MIB:,.0f} MiB of Parquet, {bytes_of_rows / MIB:,.0f} MiB as 64-bit values; "
          f"{given.memory_mib} MiB for each process{', held to by the kernel' if group else ''}; a model of {given.rounds} rounds, {given.reasons} reasons, "
          f"{f'intervals of {given.interval}' if given.interval else 'no intervals'}")
    print("\n| shards | seconds of each | slowest | together | CPU together | ids on disk | peak MiB | same bytes |\n|---|---|---|---|---|---|---|---|")
    print(f"| one task | | {one['seconds']:.2f} | {one['seconds']:.2f} | {one['cpu']:.2f} | {int(one['on_disk'])} | {one['peak_mib']:.0f} | |")
    points, wrong, peaks = [(given.rows, 0, one["seconds"], one["cpu"])], 0, [one["peak_mib"]]
    assert one["result"]["rows_rejected"] == REPEATED, one["result"]
    for count in [int(text) for text in given.shards.split(",")]:
        runs = [of("shards", SHARD=f"{shard}/{count}") for shard in range(count)]
        shares = [json.loads((given.folder / f"shards/runs/the-run/shards/{shard}.json").read_text())["totals"]["rows_read"] for shard in range(count)]
        same = written(given.folder / "shards") == expected and sum(shares) == given.rows
        shutil.rmtree(given.folder / "shards")
        seconds, cpu = [one_run["seconds"] for one_run in runs], [one_run["cpu"] for one_run in runs]
        # A shard without rows reads no ids.
        points += [(share, sum(shares[:shard]) if share else 0, *took) for shard, (share, *took) in enumerate(zip(shares, seconds, cpu, strict=True))]
        peaks += [one_run["peak_mib"] for one_run in runs]
        wrong += not same
        listed = ", ".join(f"{second:.2f}" for second in seconds)
        print(f"| {count} | {listed} | {max(seconds):.2f} | {sum(seconds):.2f} | {sum(cpu):.2f} | {sum(one_run['on_disk'] for one_run in runs)} | {max(one_run['peak_mib'] for one_run in runs):.0f} | {'yes' if same else '**no**'} |", flush=True)
    scored, ids, seconds, cpu = (np.array(column, dtype=float) for column in zip(*points, strict=True))
    for what, took in (("Seconds", seconds), ("CPU seconds", cpu)):
        print(f"\n{what}: {described(scored, ids, took)}")
    if max(peaks) > given.memory_mib or max(peaks) * MIB > bytes_of_rows:
        wrong += 1
        print(f"a process held {max(peaks):.0f} MiB")
    if group:
        group.rmdir()
    for name in ("train", "input", "models"):
        shutil.rmtree(given.folder / name)
    print("\n" + json.dumps({"points": points, "peaks": peaks}))
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
