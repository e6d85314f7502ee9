"""Makes the tables of the benchmarks: features of several types, the same rows in every run.

usage: tables.py ROWS FOLDER [FIRST_ID] [--features N] [--target]

Of N features (70) two are texts, two booleans, one in eleven of the others small integers, the rest floats.
"""

import argparse
import os

import numpy as np
import polars as pl

FILE_ROWS = 1_000_000
CHANNELS = np.array(["web", "ios", "android", "tv"])
REGIONS = np.array([f"r{number:02d}" for number in range(40)])


def rows_of(count, first_id, random, features, with_target):
    """Floats (some rounded, some missing), small integers, two booleans, two texts; one id."""
    integers = max(1, round((features - 4) / 11))
    base = random.normal(size=count)
    columns = {"customer_id": np.arange(first_id, first_id + count)}
    for number in range(features - 4 - integers):
        values = random.normal(size=count) + (0.3 * base if number % 3 == 0 else 0)
        if number % 4 == 1:
            values = np.round(np.exp(values) * 10)
        if number % 5 == 2:
            values = np.where(random.random(count) < 0.1, np.nan, values)
        columns[f"n{number:02d}"] = values
    for number in range(integers):
        columns[f"i{number}"] = random.integers(0, 100, count)
    for number in range(2):
        columns[f"b{number}"] = random.random(count) < 0.3
    columns["channel"] = CHANNELS[random.integers(0, len(CHANNELS), count)]
    columns["region"] = REGIONS[random.integers(0, len(REGIONS), count)]
    if with_target:
        noise = random.normal(size=count) * 0.5
        columns["engagement"] = base * 2 + columns["n00"] + np.sin(columns["n03"]) + columns["i0"] / 150 + noise
    return pl.DataFrame(columns).with_columns(pl.col("^n.*$").fill_nan(None))


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("rows", type=int)
    arguments.add_argument("folder")
    arguments.add_argument("first_id", type=int, nargs="?", default=0)
    arguments.add_argument("--features", type=int, default=70, choices=range(10, 5_001), metavar="10..5000")
    arguments.add_argument("--target", action="store_true")
    given = arguments.parse_args()
    os.makedirs(given.folder, exist_ok=True)
    random = np.random.default_rng(7 + given.first_id)
    for file, start in enumerate(range(0, given.rows, FILE_ROWS)):
        count = min(FILE_ROWS, given.rows - start)
        table = rows_of(count, given.first_id + start, random, given.features, given.target)
        table.write_parquet(f"{given.folder}/part-{file:05d}.parquet")


if __name__ == "__main__":
    main()
