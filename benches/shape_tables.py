"""Makes tables of the shapes that other systems leave: the same rows, lying otherwise.

usage: shape_tables.py SHAPE FOLDER

SHAPE is row-groups:N, files:N, csv, csv.gz, csv-text, wide:N, nested-files, texts, carried, ids:KIND (mixed, half, sorted),
dictionary:WRITER (polars, pyarrow, plain), or one of them behind train- for a table to train on.
"""

import gzip
import os
import shutil
import sys

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from tables import rows_of

FIRST_ID_TO_TRAIN = 1_000_000_000
ROWS = 1_000_000
LEVELS = 100_000
TRAINED_ROWS = {"wide": 6_000, "texts": 200_000, "dictionary": 30_000}


def usual(rows, features=18, first_id=0, target=False):
    return rows_of(rows, first_id, np.random.default_rng(7 + first_id), features, target)


def with_texts(table, count, distinct, seed, text):
    random = np.random.default_rng(seed)
    texts = np.array([text.format(number) for number in range(distinct)])
    drawn = [pl.Series(f"text{column:02}", texts[random.integers(0, distinct, len(table))]) for column in range(count)]
    return table.with_columns(drawn)


def with_uuids(table, file, kind):
    random = np.random.default_rng(100 + (file % 5 if kind == "half" else file))
    ids = [f"{high:016x}{low:016x}" for high, low in random.integers(0, 2**63, (len(table), 2)).tolist()]
    if kind == "sorted":
        # Files follow one another as their ids do.
        ids = sorted(f"{file:02x}{number[2:]}" for number in ids)
    uuids = pl.Series(ids).str.replace(r"^(.{8})(.{4})(.{4})(.{4})(.{12})$", "$1-$2-$3-$4-$5")
    return table.with_columns(customer_id=uuids)


def write_csv(table, path):
    table.write_csv(path)
    if path.endswith(".gz.csv"):
        packed = path.removesuffix(".gz.csv") + ".csv.gz"
        with open(path, "rb") as plain, gzip.open(packed, "wb", compresslevel=6) as file:
            shutil.copyfileobj(plain, file)
        os.remove(path)


def of_few_values(rows, first_id, target):
    """Forty columns of integers and twenty of texts that repeat, some of them often, some null in places."""
    random = np.random.default_rng(first_id + 11)
    columns = {"customer_id": np.arange(first_id, first_id + rows)}
    for number in range(40):
        values = pl.Series(random.integers(0, [2, 7, 50, 300, 2_000][number % 5], rows))
        columns[f"i{number:02}"] = values.set(pl.Series(random.random(rows) < 0.1), None) if number % 4 == 1 else values
    for number in range(20):
        count = [3, 12, 60, 300, 2_000][number % 5]
        texts = np.array([f"level {level:04} of {number}" for level in range(count)])
        columns[f"t{number:02}"] = texts[np.minimum(random.exponential(count / 6, rows).astype(int), count - 1)]
    table = pl.DataFrame(columns)
    if not target:
        return table
    signal = pl.col("i02") * 0.1 + pl.col("i03") * 0.01 + pl.col("t01").str.slice(6, 4).cast(pl.Float64) * 0.3
    return table.with_columns(engagement=signal + pl.Series(random.normal(size=rows)))


def made(shape, detail, folder, first_id, target):
    """Writes the files of a shape."""
    file = f"{folder}/part-{{:06}}.parquet".format
    rows = TRAINED_ROWS.get(shape, 200_000) if target else ROWS
    if shape == "row-groups":
        rows = ROWS if target and detail != "1" else rows
        usual(rows, 18, first_id, target).write_parquet(file(0), row_group_size=max(rows // int(detail), 1))
    elif shape == "files":
        table = usual(ROWS)
        size = ROWS // int(detail)
        for number in range(int(detail)):
            table[number * size : (number + 1) * size].write_parquet(file(number))
    elif shape == "nested-files":
        table = usual(ROWS, 70)
        for number in range(100):
            table[number * 10_000 : (number + 1) * 10_000].write_parquet(file(number), row_group_size=400)
    elif shape == "wide":
        table = usual(rows if target else 60_000, int(detail) - 2, first_id, target)
        table.write_parquet(file(0), row_group_size=1_000)
    elif shape == "csv":
        write_csv(usual(5_000_000), f"{folder}/part.csv")
    elif shape == "csv.gz":
        write_csv(usual(2_000_000), f"{folder}/part.gz.csv")
    elif shape == "csv-text":
        write_csv(with_texts(usual(ROWS), 3, 1_000, 5, 'Some note, "{}" with words'), f"{folder}/part.csv")
    elif shape == "texts":
        random = np.random.default_rng(first_id + 9)
        table = pl.DataFrame({"customer_id": np.arange(first_id, first_id + rows)})
        table = with_texts(table, 20, LEVELS, first_id + 3, "level-{:06}-of-some-text")
        if target:
            place = pl.col("text00").str.slice(6, 6).cast(pl.Float64) / LEVELS
            table = table.with_columns(engagement=place + pl.Series(random.normal(size=rows) / 3))
        table.write_parquet(file(0))
    elif shape == "dictionary":
        table = of_few_values(rows, first_id, target)
        if target or detail == "polars":
            table.write_parquet(file(0))
        else:
            pq.write_table(table.to_arrow(), file(0), use_dictionary=detail != "plain")
    elif shape == "carried":
        with_texts(usual(ROWS), 5, 50_000, 6, "some note {} of words of a customer").write_parquet(file(0))
    elif shape == "ids":
        for number in range(10):
            with_uuids(usual(ROWS, 10, number * ROWS), number, detail).write_parquet(file(number))
    else:
        raise SystemExit(f"there is no shape {shape}")


def main():
    name, folder = sys.argv[1:]
    target = name.startswith("train-")
    shape, _, detail = name.removeprefix("train-").partition(":")
    os.makedirs(folder, exist_ok=True)
    made(shape, detail, folder, FIRST_ID_TO_TRAIN if target else 0, target)


if __name__ == "__main__":
    main()
