"""How often intervals of 90 % hold and how wide they are, beside MAPIE's split conformal with the same models and splits.

    benches/intervals [--seeds 1,2,3] [--threads N] [--time-budget S] [--write docs/intervals.md] [TABLE …]

Tables and splits are those of benches/accuracy: 80 % of the rows are trained on, 20 % held out. Ours is `train` and `predict --interval
0.9`. MAPIE (SplitConformalRegressor, prefit) has no rows to calibrate but those that it takes from training: it is given `train`'s model of
four fifths of the training rows, and calibrates on the others. Expected errors are looked at on held-out rows drawn again, so that a feature
shifts and its relation to the target does not.

With --write every split's figures are kept in intervals.json beside the document, and its table is made of all of them.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
# Before this folder, which has a module `tables` too.
sys.path.insert(0, str(HERE / "accuracy"))
import tables  # noqa: E402

LEVEL = 0.9
# Held-out rows for which tenths of the prediction are looked at: those of a table of 100,000 rows, of which one in five is held out.
ROWS_FOR_TENTHS = 19_500
START, END = "<!-- table: benches/intervals -->\n", "<!-- end of table -->"


def call(program, *arguments):
    """The result of a run."""
    command = [str(part) for part in (program, *arguments, "--log-format", "json")]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}: {done.stdout[-800:]}{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


class Workshop:
    """A folder with a model store and an output."""

    def __init__(self, folder, options):
        self.folder, self.options = Path(folder), options

    def train(self, train, test, label):
        options = self.options
        call(
            options.programs / "train", "--train-data", train, "--test-data", test, "--id", tables.ID, "--target", "target",
            "--models", self.folder / "models", "--model-version", label, "--run-id", label, "--min-r2", -1e9,
            "--threads", options.threads, *(["--time-budget", options.time_budget] if options.time_budget else []),
        )  # fmt: skip
        return json.loads((self.folder / f"models/engagement/{label}/{label}/metrics.json").read_text())

    def predict(self, label, rows, run_id, *more):
        """The frame of the predictions, in the order of the rows, and the result."""
        import pandas

        result = call(
            self.options.programs / "predict", "--input", rows, "--models", self.folder / "models", "--model-version", label,
            "--output", self.folder / "output", "--run-id", run_id, "--threads", self.options.threads, *more,
        )  # fmt: skip
        predicted = pandas.read_parquet(self.folder / f"output/predictions/run_id={run_id}")
        order = pandas.read_parquet(rows, columns=[tables.ID])
        return order.merge(predicted.drop(columns=["run_id"], errors="ignore"), on=tables.ID, how="left", validate="1:1"), result


class Known:
    """An estimator whose only feature is what was predicted already."""

    def fit(self, _features, _target):
        return self

    def predict(self, features):
        return features[:, 0]

    def __sklearn_is_fitted__(self):
        return True


def by_mapie(calibration, actual, test):
    """Lower and upper ends."""
    from mapie.regression import SplitConformalRegressor
    from sklearn.base import BaseEstimator, RegressorMixin

    estimator = type("KnownEstimator", (Known, RegressorMixin, BaseEstimator), {})()
    mapie = SplitConformalRegressor(estimator, confidence_level=LEVEL, prefit=True)
    mapie.conformalize(calibration.reshape(-1, 1), actual)
    _, ends = mapie.predict_interval(test.reshape(-1, 1))
    return ends[:, 0, 0], ends[:, 1, 0]


def shifted(test, seed):
    """Held-out rows drawn again, those with a high value of the number that goes most with the target more often."""
    import numpy

    numbers = test.select_dtypes("number").drop(columns=[tables.ID, "target"])
    strongest = numbers.corrwith(test["target"], method="spearman").abs().fillna(0.0)
    if strongest.empty:
        return None
    ranks = test[strongest.idxmax()].rank(pct=True).fillna(0.5).to_numpy()
    odds = numpy.exp(2.0 * ranks)
    drawn = numpy.random.default_rng(seed).choice(len(test), len(test), p=odds / odds.sum())
    frame = test.iloc[drawn].reset_index(drop=True)
    frame[tables.ID] = range(len(frame))
    return frame


def measure(name, seed, options):
    import numpy
    import pandas
    from scipy.stats import spearmanr

    folder = tables.make(name, seed)
    train, test = (pandas.read_parquet(folder / f"{part}.parquet") for part in ("train", "test"))
    with tempfile.TemporaryDirectory() as scratch:
        workshop = Workshop(scratch, options)
        metrics = workshop.train(folder / "train.parquet", folder / "test.parquet", "ours")
        predicted, _ = workshop.predict("ours", folder / "test.parquet", "ours", "--interval", LEVEL)
        actual = test["target"].to_numpy(dtype="float64")
        low, high = (predicted[f"prediction_{end}"].to_numpy() for end in ("low", "high"))
        covered, width = float(((low <= actual) & (actual <= high)).mean()), float((high - low).mean())
        errors = numpy.abs(actual - predicted["prediction"].to_numpy())

        calibrates = numpy.random.default_rng(1000 + seed).random(len(train)) < 0.2
        train[~calibrates].to_parquet(workshop.folder / "fit.parquet", index=False)
        train[calibrates].to_parquet(workshop.folder / "calibrate.parquet", index=False)
        theirs = workshop.train(workshop.folder / "fit.parquet", folder / "test.parquet", "mapie")
        known, _ = workshop.predict("mapie", workshop.folder / "calibrate.parquet", "calibrate")
        there, _ = workshop.predict("mapie", folder / "test.parquet", "test")
        their_low, their_high = by_mapie(
            known["prediction"].to_numpy(), train[calibrates]["target"].to_numpy(dtype="float64"), there["prediction"].to_numpy()
        )
        result = {
            "table": name, "seed": seed, "rows": len(test), "calibrated": metrics["intervals"]["rows_calibrated"],
            "coverage": covered, "mapie": float(((their_low <= actual) & (actual <= their_high)).mean()),
            "width": width, "mapie_width": float((their_high - their_low).mean()),
            "rank_correlation": float(spearmanr(high - low, errors).statistic),
            "tenths": [tenth["coverage"] for tenth in metrics["intervals"]["tenths"]],
            "time_budget": options.time_budget,
            "cut_by_clock": metrics["budget"]["cut_by_clock"], "cut_by_clock_mapie": theirs["budget"]["cut_by_clock"],
            "choices": [
                f"{of['what']}: {of['chosen']}, {of['decided_by']}" for of in metrics["choices"]
                if of["what"] in ("rounds", "errors of the model of all rows", "members")
            ],
        }  # fmt: skip
        if (moved := shifted(test, seed)) is not None:
            moved.to_parquet(workshop.folder / "moved.parquet", index=False)
            frame, run = workshop.predict("ours", workshop.folder / "moved.parquet", "moved", "--interval", LEVEL)
            result["expected_mae"] = run["expected_mae"]
            result["mae"] = float(numpy.abs(moved["target"].to_numpy() - frame["prediction"].to_numpy()).mean())
    return result


def line(result):
    expected = f", expected error {result['expected_mae'] / result['mae']:.3f} of the real one" if "mae" in result else ""
    return (
        f"{result['table']}, split {result['seed']}: {result['coverage']:.4f} covered, MAPIE {result['mapie']:.4f}; width "
        f"{result['width'] / result['mapie_width']:.3f} of MAPIE's; rank correlation {result['rank_correlation']:.2f}{expected}"
    )


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def beyond_three_errors(result, more_rows=None):
    """Whether the coverage is further from the level than three standard errors of the held-out rows, or of these and others."""
    rows = 1 / result["rows"] + (1 / more_rows if more_rows else 0)
    return abs(result["coverage"] - LEVEL) > 3 * math.sqrt(LEVEL * (1 - LEVEL) * rows)


def of_tenths(results):
    """What tenths of the prediction cover where enough rows are held out to tell."""
    tenths = [coverage for one in results if one["rows"] >= ROWS_FOR_TENTHS for coverage in one["tenths"]]
    if not tenths:
        return ""
    off = sum(abs(coverage - LEVEL) > 0.05 for coverage in tenths)
    return (
        f" Where about 20,000 rows or more are held out, {len(tenths)} tenths of the prediction cover {min(tenths):.1%} to {max(tenths):.1%}, "
        f"{off} of them further than 5 % from nominal."
    )


def document(results):
    """A line for each table: means over its splits."""
    lines = [
        "| table | splits | held-out rows | covered | MAPIE | width to MAPIE's | rank correlation | expected error to real, shifted rows |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name in sorted({result["table"] for result in results}):
        of = [result for result in results if result["table"] == name]
        known = [result["expected_mae"] / result["mae"] for result in of if "mae" in result]
        lines.append(
            f"| {name} | {len(of)} | {of[0]['rows']:,} | {mean(one['coverage'] for one in of):.2%} | {mean(one['mapie'] for one in of):.2%} "
            f"| {mean(one['width'] / one['mapie_width'] for one in of):.3f} | {mean(one['rank_correlation'] for one in of):.2f} "
            f"| {f'{mean(known):.2f}' if known else '–'} |"
        )
    ratios = [result["width"] / result["mapie_width"] for result in results]
    by_table = {name: [one for one in results if one["table"] == name and "mae" in one] for name in {one["table"] for one in results}}
    near = [abs(mean(one["expected_mae"] / one["mae"] for one in of) - 1) <= 0.15 for of in by_table.values() if of]
    lines += [
        "",
        f"{len(results)} splits of {len(by_table)} tables: {mean(one['coverage'] for one in results):.2%} covered on average (MAPIE "
        f"{mean(one['mapie'] for one in results):.2%}), {sum(map(beyond_three_errors, results))} splits further from 90 % than three standard errors "
        f"of their held-out rows (MAPIE {sum(beyond_three_errors({**one, 'coverage': one['mapie']}) for one in results)}), "
        f"{sum(beyond_three_errors(one, one['calibrated']) for one in results)} further than three of held-out and calibrating rows together; width {mean(ratios):.3f} of "
        f"MAPIE's on average, at most {max(ratios):.3f}; rank correlation of width and error {mean(one['rank_correlation'] for one in results):.2f} (MAPIE's "
        f"widths are all the same). The expected error is within 15 % of the real one, on rows drawn again so that a feature shifts, on {sum(near)} of "
        f"{len(near)} tables.{of_tenths(results)} The clock cut the search of {sum(bool(one['cut_by_clock']) for one in results)} splits.",
        "",
    ]
    return "\n".join(lines)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--programs", type=Path, required=True)
    arguments.add_argument("--seeds", default="1")
    arguments.add_argument("--threads", type=int, default=os.cpu_count())
    arguments.add_argument("--time-budget", type=int, help="nothing set: the one of train")
    arguments.add_argument("--write", type=Path)
    arguments.add_argument("tables", nargs="*", default=list(tables.MAKERS))
    options = arguments.parse_args()
    kept_in = options.write and options.write.with_suffix(".json")
    kept = json.loads(kept_in.read_text()) if kept_in and kept_in.exists() else {}
    for seed in map(int, options.seeds.split(",")):
        for name in options.tables:
            result = measure(name, seed, options)
            print(line(result), flush=True)
            kept[f"{name}/{seed}"] = result
            if kept_in:
                kept_in.write_text(json.dumps(dict(sorted(kept.items())), indent=1) + "\n")
    text = document(list(kept.values()))
    print(text)
    if options.write:
        before, rest = options.write.read_text().split(START)
        options.write.write_text(before + START + "\n" + text + "\n" + END + rest.split(END)[1])


if __name__ == "__main__":
    main()
