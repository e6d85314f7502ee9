"""Exact SHAP values: rows a second by kernel and by other programs, and how far they are from XGBoost's on real tables.

    benches/reasons [--rows N] [--seconds S] [--no-speed] [--tables] [--write docs/reasons.md]

Models are trained by XGBoost on a made-up table of 70 columns, with missing values. Every program explains with one thread; what counts are rows
to a second of CPU, since the machine may be busy with other things. Ours starts from columns of 32-bit floats and ends with the three
largest contributions to a row; XGBoost starts from its DMatrix, Woodelf from a pandas frame, and both end with all contributions.
With --tables, `train` and `predict --reasons` run on real tables (those of benches/accuracy), and every reason is compared with pred_contribs.
"""

import argparse
import contextlib
import io
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
# Before this folder, which has a module `tables` too.
sys.path.insert(0, str(HERE / "accuracy"))
COLUMNS = 70
TRAINED_ON = 20_000
# Trees, depth, rows that XGBoost explains (it is slow), whether Woodelf is run (it takes memory by the square of 2^depth).
MODELS = [(200, 6, 3_000, True), (2000, 6, 600, False), (200, 9, 600, False)]
SECOND = "## Real tables"
REAL_TABLES = ["bikeshare", "concrete", "credit_card", "diamonds", "movies", "houses"]


def make_table(rows, seed):
    import numpy

    random = numpy.random.default_rng(seed)
    values = random.normal(size=(rows, COLUMNS)).astype(numpy.float32)
    values[:, ::5] = numpy.exp(values[:, ::5])
    values[:, 3::7] = numpy.floor(values[:, 3::7] * 4)
    values[random.random((rows, COLUMNS)) < 0.05] = numpy.nan
    known = numpy.nan_to_num(values)
    weights = numpy.random.default_rng(0).normal(size=COLUMNS) / (1 + numpy.arange(COLUMNS) / 6)
    target = numpy.tanh(known) @ weights + numpy.sin(known[:, 0] * known[:, 1]) + (known[:, 2] > 0) * (known[:, 7] > 0.3) * 2
    return values, target + random.normal(size=rows) * 0.5


def by_xgboost(booster, values):
    """Rows to a second of CPU, and the contributions."""
    import xgboost

    booster.set_param({"nthread": 1})
    rows = xgboost.DMatrix(values, nthread=1)
    start = time.process_time()
    contributions = booster.predict(rows, pred_contribs=True)
    return len(values) / (time.process_time() - start), contributions


def by_woodelf(booster, values):
    import pandas
    from woodelf import WoodelfExplainer

    frame = pandas.DataFrame(values, columns=[f"f{place}" for place in range(COLUMNS)])
    booster.feature_names = list(frame)
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        start = time.process_time()
        WoodelfExplainer(booster).shap_values(frame)
        seconds = time.process_time() - start
    booster.feature_names = None
    return len(values) / seconds


def speed(options, folder):
    import numpy
    import xgboost

    lines = []
    values, _ = make_table(options.rows, 2)
    values.T.astype("<f4").tofile(folder / "columns.f32")
    for trees, depth, few, with_woodelf in MODELS:
        train, target = make_table(TRAINED_ON, 1)
        matrix = xgboost.QuantileDMatrix(train, target, max_bin=256, nthread=options.threads)
        parameters = {"max_depth": depth, "eta": 0.1, "tree_method": "hist", "nthread": options.threads}
        booster = xgboost.train(parameters, matrix, trees)
        model = folder / "model.ubj"
        booster.save_model(model)
        theirs, contributions = by_xgboost(booster, values[:few])
        figures = {"XGBoost `pred_contribs`": (theirs, "")}
        if with_woodelf:
            figures["woodelf-explainer 0.4.8"] = (by_woodelf(booster, values), "")
        for kernel in ("avx512", "avx2", "neon", "portable"):
            command = [options.programs / "examples/explain", model, folder / "columns.f32", options.seconds, kernel, 3, folder / "ours.f32"]
            said = json.loads(subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout)
            if said is None:
                continue
            ours = numpy.fromfile(folder / "ours.f32", "<f4").reshape(COLUMNS, -1).T[:few]
            apart = numpy.abs(ours - contributions[:, :-1]).max() / numpy.ptp(contributions.sum(axis=1))
            note = f"{apart:.1e} of the margins' range apart; {said['points']} points, {said['table_bytes'] / 2**20:.1f} MiB of tables"
            figures[f"ours, {kernel}"] = (said["rows_per_cpu_second"], note)
        for name, (rate, note) in figures.items():
            lines.append(f"| {trees} of depth {depth} | {name} | {rate:,.0f} | {rate / theirs:,.1f} | {note} |")
            print(lines[-1], flush=True)
    head = ["| trees | program | rows / CPU second | × XGBoost | |", "|---|---|---:|---:|---|"]
    return head + lines


def real_table(options, name, folder):
    """The line of a table: `train`, `predict --reasons` with more reasons than sources, and check-model-in-python."""
    import pandas
    import tables

    data = tables.make(name, 1)
    environment = {**os.environ, "MODELS": str(folder / "models"), "OUTPUT": str(folder / "output"), "RUN_ID": "bench"}
    train = ["train", "--train-data", data / "train.parquet", "--test-data", data / "test.parquet", "--id", tables.ID, "--target", "target"]
    train += ["--model-version", "v1", "--min-r2", "-1000", "--time-budget", options.budget]
    rows = folder / "rows"
    rows.mkdir()
    pandas.read_parquet(data / "test.parquet").to_parquet(rows / "part.parquet")
    predict = ["predict", "--input", rows, "--reasons", "200"]
    for command in (train, predict):
        program = [str(options.programs / command[0]), *map(str, command[1:]), "--threads", str(options.threads)]
        done = subprocess.run(program, env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{name}: {command[0]} ended with {done.returncode}: {done.stderr[-2000:]}")
    model = folder / "models/engagement/v1/bench"
    check = [HERE.parent / "scripts/check-model-in-python", model, rows, folder / "output/predictions/run_id=bench"]
    done = subprocess.run([str(part) for part in check], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{name}: {done.stdout[-500:]}{done.stderr[-2000:]}")
    metadata = json.loads((model / "metadata.json").read_text())
    metrics = json.loads((model / "metrics.json").read_text())
    return f"| {name} | {len(metadata['features'])} | {max(1, len(metrics['members']))} | {done.stdout.splitlines()[-1]} |"


def real_tables(options):
    lines = ["| table | columns of the matrix | boosters | |", "|---|---:|---:|---|"]
    for name in REAL_TABLES:
        with tempfile.TemporaryDirectory() as folder:
            lines.append(real_table(options, name, Path(folder)))
        print(lines[-1], flush=True)
    return lines


def processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.machine()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=65_536)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--threads", type=int, default=2, help="for training only")
    parser.add_argument("--budget", type=int, default=10, help="seconds that train plans its search for, with --tables")
    parser.add_argument("--no-speed", dest="speed", action="store_false", help="leave out the first table; with --write it stays as it was")
    parser.add_argument("--tables", action="store_true", help="compare reasons on real tables")
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    import xgboost

    kept = options.write.read_text().split(SECOND) if options.write and options.write.exists() else ["", ""]
    text = ["# Reasons", "", "Made by `benches/reasons`. " + " ".join(__doc__.split("\n\n")[2].split()), ""]
    text += [f"{processor()}, XGBoost {xgboost.__version__}, {options.rows:,} rows.", ""]
    first = kept[0]
    if options.speed:
        with tempfile.TemporaryDirectory() as folder:
            first = "\n".join([*text, *speed(options, Path(folder)), "", ""])
    second = "\n".join(["", "", *real_tables(options), ""]) if options.tables else kept[-1]
    if options.write:
        options.write.write_text(first + SECOND + second)


if __name__ == "__main__":
    main()
