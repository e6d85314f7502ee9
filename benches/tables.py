"""Makes the tables that benches/predict scores: 70 features of several types, the same rows in every run.

usage: tables.py ROWS FOLDER [FIRST_ID] [--target]
"""

import os
import sys

import numpy as np
import polars as pl

FILE_ROWS = 1_000_000
CHANNELS = np.array(["web", "ios", "android", "tv"])
REGIONS = np.array([f"r{number:02d}" for number in range(40)])


def rows_of(count, first_id, random, with_target):
    """Sixty floats (some rounded, some missing), six small integers, two booleans, two texts; one id."""
    base = random.normal(size=count)
    columns = {"customer_id": np.arange(first_id, first_id + count)}
    for number in range(60):
        values = random.normal(size=count) + (0.3 * base if number % 3 == 0 else 0)
        if number % 4 == 1:
            values = np.round(np.exp(values) * 10)
        if number % 5 == 2:
            values = np.where(random.random(count) < 0.1, np.nan, values)
        columns[f"n{number:02d}"] = values
    for number in range(6):
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
    arguments = [argument for argument in sys.argv[1:] if argument != "--target"]
    rows, folder = int(arguments[0]), arguments[1]
    first_id = int(arguments[2]) if len(arguments) > 2 else 0
    os.makedirs(folder, exist_ok=True)
    random = np.random.default_rng(7)
    for file, start in enumerate(range(0, rows, FILE_ROWS)):
        count = min(FILE_ROWS, rows - start)
        table = rows_of(count, first_id + start, random, "--target" in sys.argv)
        table.write_parquet(f"{folder}/part-{file:05d}.parquet")


main()
