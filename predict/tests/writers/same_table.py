"""One table, written by many writers with many types: all must train the same model and get the same predictions.

    same_table.py PROGRAMS SEED…        needs the environment of scripts/setup-python; works in a temporary folder

For each seed a table is made up: ids beyond 2^53, numbers, decimals, booleans, dates, timestamps, text, categories that are
numbers or dates, nulls everywhere. Each writer writes it, in its own types, and from each the model is trained with the same
rounds: the bytes of all models must be the same. Then the models of all writers score the tables of all others: every
prediction must be the same bits. Prints a line for each writer and ends with 1 where one differs.
"""

import datetime as dt
import decimal
import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

try:
    import duckdb
except ImportError:
    duckdb = None
try:
    import fastparquet
except ImportError:
    fastparquet = None

# So many that columns are read by their dictionaries.
ROWS = 2_500
SPEC = """
id = "id"
target = "y"
categorical = ["code", "flag", "month", "rate"]

[derived]
per_unit = "amount / NULLIF(units, 0)"
"""


def nulls(random, values, kind, share):
    return pa.array(values, kind, mask=random.random(len(values)) < share)


def table(seed):
    """The table, and its text cells where CSV has another notation for the same value."""
    random = np.random.default_rng(seed)
    rows, share = ROWS, random.choice([0.0, 0.1])
    start = dt.datetime(2023, 1, 1)
    seconds = random.integers(0, 10**7, rows)
    part = np.sort(random.integers(1, 4, rows))
    columns = {
        "id": pa.array(2**53 + 1 + random.permutation(rows * 3)[:rows], pa.int64()),
        "units": nulls(random, random.integers(0, 100, rows), pa.int64(), share),
        "amount": nulls(random, [decimal.Decimal(int(cents)) / 100 for cents in random.integers(0, 10**6, rows)], pa.decimal128(12, 2), share),
        "exact": nulls(random, random.integers(-(2**20), 2**20, rows) / 64, pa.float64(), share),
        "number": nulls(random, random.normal(size=rows), pa.float64(), share),
        "member": nulls(random, random.random(rows) < 0.4, pa.bool_(), share),
        "since": nulls(random, [(start + dt.timedelta(days=int(day))).date() for day in random.integers(0, 900, rows)], pa.date32(), share),
        "seen": nulls(random, [start + dt.timedelta(seconds=int(second)) for second in seconds], pa.timestamp("ms"), share),
        "plan": nulls(random, np.array(["basic", "family", "naïve – ü", "a,b", 'say "x"'])[random.integers(0, 5, rows)], pa.string(), share),
        "code": nulls(random, random.integers(1, 6, rows), pa.int64(), share),
        "flag": nulls(random, random.random(rows) < 0.5, pa.bool_(), share),
        "month": nulls(random, [dt.date(2024, int(month), 1) for month in random.integers(1, 5, rows)], pa.date32(), share),
        "rate": nulls(random, random.integers(1, 5, rows) / 4, pa.float64(), share),
        "y": None,
        "part": pa.array(part, pa.int64()),
    }
    known = {name: pd.Series(array.to_pylist(), dtype=object) for name, array in columns.items() if array is not None}
    codes = sum(pd.factorize(known[name])[0] for name in ("plan", "code", "flag", "month", "rate"))
    y = codes + known["exact"].fillna(0).astype(float) / 2**18 + seconds / 10**7 + part + random.normal(size=rows) / 10
    columns["y"] = pa.array(y.to_numpy(dtype=float))
    return pa.table(columns)


def cast(source, **types):
    for name, kind in types.items():
        column = as_decimals(source[name], kind) if pa.types.is_decimal(kind) else source[name].cast(kind)
        source = source.set_column(source.schema.get_field_index(name), name, column)
    return source


def as_decimals(column, kind):
    """pyarrow's own cast asks for the digits of the widest integer."""
    step = decimal.Decimal(1).scaleb(-kind.scale)
    with decimal.localcontext(decimal.Context(prec=76)):
        return pa.array([None if value is None else decimal.Decimal(value).quantize(step) for value in column.to_pylist()], kind)


def halves(source, folder, one, other, **options):
    """Two objects of different types."""
    middle = ROWS // 2
    pq.write_table(one(source.slice(0, middle)), f"{folder}/part-0.parquet", **options)
    pq.write_table(other(source.slice(middle)), f"{folder}/part-1.parquet", **options)


def text_frame(source, *, missing="", instant="%Y-%m-%d %H:%M:%S", true="true", number=str):
    """Every cell as text, as somebody's export would write it."""
    def cell(value):
        if value is None:
            return missing
        if isinstance(value, bool):
            return true if value else {"true": "false", "True": "False", "TRUE": "FALSE"}[true]
        if isinstance(value, dt.datetime):
            return value.strftime(instant)
        if isinstance(value, float):
            return repr(value)
        return number(value) if isinstance(value, int) else str(value)
    return pd.DataFrame({name: [cell(value) for value in source[name].to_pylist()] for name in source.column_names})


def plain_csv(source, folder, **options):
    text_frame(source, **options).to_csv(f"{folder}/a.csv", index=False)


def csv_with_markers(source, folder):
    """Markers where a column has no text; text and categories leave their cells empty."""
    frame = text_frame(source)
    for name in ("units", "amount", "exact", "number", "member", "since", "seen"):
        frame[name] = frame[name].replace("", np.random.default_rng(0).choice(["NA", "N/A", "null", "None", "\\N", "-", "NaN"]))
    frame.to_csv(f"{folder}/a.csv", index=False)


def compressed_csv(source, folder):
    with gzip.open(f"{folder}/a.csv.gz", "wt") as file:
        text_frame(source, instant="%Y-%m-%dT%H:%M:%SZ").to_csv(file, index=False)


def other_csv(source, folder):
    """Semicolons, decimal commas."""
    frame = text_frame(source)
    for name in ("amount", "exact", "number", "rate", "y"):
        frame[name] = frame[name].str.replace(".", ",", regex=False)
    frame.to_csv(f"{folder}/a.csv", index=False, sep=";")


def pandas_frame(source):
    return source.to_pandas(types_mapper=None)


def by_duckdb(source, folder, options=""):
    with duckdb.connect() as connection:
        connection.register("t", source)
        connection.sql(f"COPY (FROM t) TO '{folder}/a.parquet' (FORMAT parquet {options})")


def by_fastparquet(source, folder, **options):
    frame = cast(source, amount=pa.float64(), since=pa.timestamp("us"), month=pa.timestamp("us")).to_pandas()
    frame = frame.astype({"member": "boolean", "flag": "boolean", "units": "Int64", "code": "Int64"})
    fastparquet.write(f"{folder}/a.parquet", frame, **options)


def partitioned(source, folder):
    pq.write_to_dataset(source, folder, partition_cols=["part"], existing_data_behavior="overwrite_or_ignore")


def partitioned_csv(source, folder):
    frame = text_frame(source)
    for value, rows in frame.groupby("part", sort=True):
        os.makedirs(f"{folder}/part={value}")
        rows.drop(columns="part").to_csv(f"{folder}/part={value}/a.csv", index=False)


def unannotated(source, folder):
    """Text as Impala writes it: bytes without a logical type; INT96; no Arrow schema."""
    pq.write_table(cast(source, plan=pa.binary()), f"{folder}/a.parquet", store_schema=False, use_deprecated_int96_timestamps=True)


def with_odd_dictionaries(source, folder):
    """Entries that no row has, in another order in each row group."""
    order = np.random.default_rng(0)

    def odd(column):
        column = column.combine_chunks().dictionary_encode()
        entries = column.dictionary.to_pylist() + [f"nobody has {number}" for number in range(20)]
        places = order.permutation(len(entries))
        moved = pa.array([entries[place] for place in np.argsort(places)])
        codes = [None if code is None else int(places[code]) for code in column.indices.to_pylist()]
        return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), moved)

    schema = pa.schema([field if field.name != "plan" else pa.field("plan", pa.dictionary(pa.int32(), pa.string())) for field in source.schema])
    with pq.ParquetWriter(f"{folder}/a.parquet", schema) as file:
        for start in range(0, ROWS, 2_100):
            rows = source.slice(start, 2_100)
            file.write_table(rows.set_column(rows.schema.get_field_index("plan"), "plan", odd(rows["plan"])))


def write(**options):
    return lambda source, folder: pq.write_table(source, f"{folder}/a.parquet", **options)


NARROW = {"units": pa.int8(), "code": pa.uint8(), "exact": pa.float32(), "rate": pa.float32(), "part": pa.int16()}
WRITERS = {
    "pyarrow": write(),
    "pyarrow, 1.0, pages of version 2, zstd": write(version="1.0", data_page_version="2.0", compression="zstd"),
    "pyarrow, no dictionary, no compression, small pages": write(use_dictionary=False, compression="none", data_page_size=1000),
    "pyarrow, small row groups, gzip": write(row_group_size=37, compression="gzip"),
    "narrow types": lambda t, f: pq.write_table(cast(t, **NARROW), f"{f}/a.parquet"),
    "unsigned ids, wide types": lambda t, f: pq.write_table(cast(t, id=pa.uint64(), units=pa.uint64(), code=pa.float64(), part=pa.float64()), f"{f}/a.parquet"),
    "decimals": lambda t, f: pq.write_table(cast(t, id=pa.decimal128(38, 0), units=pa.decimal128(10, 0), code=pa.decimal128(12, 3), amount=pa.decimal128(38, 10), rate=pa.decimal128(9, 4)), f"{f}/a.parquet"),
    "wide decimals": lambda t, f: pq.write_table(cast(t, id=pa.decimal256(60, 0), amount=pa.decimal256(50, 6)), f"{f}/a.parquet"),
    "floats for decimals": lambda t, f: pq.write_table(cast(t, amount=pa.float64()), f"{f}/a.parquet"),
    "microseconds, a zone": lambda t, f: pq.write_table(cast(t, seen=pa.timestamp("us", "America/New_York")), f"{f}/a.parquet"),
    "nanoseconds, an offset": lambda t, f: pq.write_table(cast(t, seen=pa.timestamp("ns", "+05:30"), month=pa.timestamp("ns")), f"{f}/a.parquet"),
    "seconds, dates as timestamps": lambda t, f: pq.write_table(cast(t, seen=pa.timestamp("s"), since=pa.timestamp("s"), month=pa.timestamp("ms")), f"{f}/a.parquet"),
    "dictionaries": lambda t, f: pq.write_table(cast(t, plan=pa.dictionary(pa.int32(), pa.string())), f"{f}/a.parquet"),
    "dictionaries with more in them": with_odd_dictionaries,
    "dictionaries that grow too large": write(dictionary_pagesize_limit=40, data_page_size=300, write_batch_size=100),
    "dictionaries of pages of version 2": write(dictionary_pagesize_limit=2_000, data_page_size=900, write_batch_size=64, data_page_version="2.0", compression="zstd"),
    "dictionaries, lz4": write(compression="lz4", data_page_size=2_000, write_batch_size=64),
    "large and view text": lambda t, f: pq.write_table(cast(t, plan=pa.large_string()), f"{f}/a.parquet"),
    "flags as numbers": lambda t, f: pq.write_table(cast(t, member=pa.int8()), f"{f}/a.parquet"),
    "unannotated": unannotated,
    "INT96": write(use_deprecated_int96_timestamps=True),
    "no Arrow schema": write(store_schema=False),
    "pandas": lambda t, f: pandas_frame(t).to_parquet(f"{f}/a.parquet", index=False),
    "pandas, nullable types": lambda t, f: t.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype(), pa.float64(): pd.Float64Dtype(), pa.string(): pd.StringDtype()}.get).to_parquet(f"{f}/a.parquet", index=False),
    "polars": lambda t, f: pl.from_arrow(t).write_parquet(f"{f}/a.parquet"),
    "polars, categorical": lambda t, f: pl.from_arrow(t).with_columns(pl.col("plan").cast(pl.Categorical)).write_parquet(f"{f}/a.parquet", use_pyarrow=False),
    "objects of other widths": lambda t, f: halves(t, f, lambda h: cast(h, **NARROW), lambda h: h),
    "objects, unsigned and signed": lambda t, f: halves(t, f, lambda h: cast(h, id=pa.uint64(), units=pa.uint8()), lambda h: cast(h, id=pa.int64(), units=pa.int16())),
    "objects, decimals, integers and floats": lambda t, f: halves(t, f, lambda h: cast(h, amount=pa.float64(), units=pa.decimal128(5, 0), code=pa.float64()), lambda h: cast(h, code=pa.int32())),
    "objects of other units and zones": lambda t, f: halves(t, f, lambda h: cast(h, seen=pa.timestamp("ns"), since=pa.timestamp("us")), lambda h: cast(h, seen=pa.timestamp("us", "Asia/Tokyo"))),
    "objects, other orders, plain and dictionary text": lambda t, f: halves(t, f, lambda h: cast(h, plan=pa.dictionary(pa.int8(), pa.string())), lambda h: h.select(h.column_names[::-1])),
    "folders": partitioned,
    "CSV": plain_csv,
    "CSV as pandas writes it": lambda t, f: pandas_frame(cast(t, seen=pa.timestamp("us"))).to_csv(f"{f}/a.csv", index=False),
    "CSV as polars writes it": lambda t, f: pl.from_arrow(t).write_csv(f"{f}/a.csv"),
    "CSV as pyarrow writes it": lambda t, f: pyarrow.csv.write_csv(t, f"{f}/a.csv"),
    "CSV, other notations": lambda t, f: plain_csv(t, f, true="TRUE", instant="%Y-%m-%dT%H:%M:%S.000+00:00", missing="NULL"),
    "CSV with markers of missing values": csv_with_markers,
    "CSV, gzip": compressed_csv,
    "CSV, semicolons and decimal commas": other_csv,
    "CSV in folders": partitioned_csv,
}
if duckdb:
    WRITERS["DuckDB"] = by_duckdb
    WRITERS["DuckDB, version 2, zstd"] = lambda t, f: by_duckdb(t, f, ", PARQUET_VERSION v2, COMPRESSION zstd")
if fastparquet:
    WRITERS["fastparquet"] = by_fastparquet
FLAGS = {"CSV, semicolons and decimal commas": ["--delimiter", ";", "--decimal", ","]}


def call(program, *arguments):
    done = subprocess.run([program, *arguments, "--log-format", "json", "--threads", "1"], capture_output=True, text=True, timeout=300)
    last = done.stdout.strip().splitlines()[-1:] or ["{}"]
    return done.returncode, json.loads(last[0]), done.stderr


def predictions(folder):
    parts = sorted(Path(folder).glob("predictions/run_id=*/*.parquet"))
    return pa.concat_tables([pq.read_table(part, partitioning=None, columns=["prediction"]) for part in parts])["prediction"].to_numpy()


def run(programs, seed, names):
    base = table(seed)
    Path("features.toml").write_text(SPEC)
    models, failures = {}, []
    for name in names:
        key = hashlib.sha256(name.encode()).hexdigest()[:8]
        os.makedirs(f"in/{key}", exist_ok=True)
        WRITERS[name](base, f"in/{key}")
        # In the column order of all others: a partition folder's column stands last.
        code, result, log = call(
            f"{programs}/train", "--train-data", f"in/{key}", "--features", "features.toml", "--models", f"models/{key}",
            "--model-version", "v1", "--run-id", "r", "--rounds", "20", "--min-r2", "-100", *FLAGS.get(name, []),
        )
        if code != 0:
            failures.append(f"{name}: train ended with {code}: {result.get('error_message', log[-500:])}")
            continue
        models[name] = hashlib.sha256(Path(f"models/{key}/engagement/v1/r/model.ubj").read_bytes()).hexdigest()
    first = names[0]
    for name, digest in models.items():
        if digest != models.get(first):
            failures.append(f"{name}: another model than {first}'s: {differences(first, name)}")
    expected = None
    for model in models:
        for name in names if model == first else [first, names[(names.index(model) + 7) % len(names)]]:
            of_model, key = (hashlib.sha256(text.encode()).hexdigest()[:8] for text in (model, name))
            shutil.rmtree("out", ignore_errors=True)
            code, result, log = call(
                f"{programs}/predict", "--input", f"in/{key}", "--models", f"models/{of_model}", "--output", "out", *FLAGS.get(name, []),
            )
            if code != 0 or result.get("rows_predicted") != ROWS:
                failures.append(f"{model} scoring {name}: {code}, {result.get('rows_predicted')} rows: {result.get('error_message', '')}")
                continue
            predicted = predictions("out")
            expected = predicted if expected is None else expected
            if predicted.tobytes() != expected.tobytes():
                failures.append(f"{model} scoring {name}: {(predicted != expected).sum()} of {ROWS} predictions differ")
    print(f"seed {seed}: {len(models)} writers, {len(failures)} failures", *failures, sep="\n  ", flush=True)
    return not failures


def differences(one, other):
    """Which features came out otherwise."""
    def features(name):
        key = hashlib.sha256(name.encode()).hexdigest()[:8]
        metadata = json.loads(Path(f"models/{key}/engagement/v1/r/metadata.json").read_text())
        return {f["name"]: (f.get("kind"), f.get("levels"), s) for f, s in zip(metadata["features"], metadata["statistics"])}
    ours, theirs = features(one), features(other)
    if list(ours) != list(theirs):
        return f"{list(ours)} and {list(theirs)}"
    return {name: (str(ours[name])[:200], str(theirs[name])[:200]) for name in ours if ours[name] != theirs[name]}


def main():
    programs, seeds = os.path.abspath(sys.argv[1]), [int(seed) for seed in sys.argv[2:] if seed.isdigit()]
    words = [word for word in sys.argv[2:] if not word.isdigit()]
    names = [name for name in WRITERS if name == "pyarrow" or not words or any(word in name for word in words)]
    good = True
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            good &= run(programs, seed, names)
            os.chdir("/")
    print(f"same_table: {len(names)} writers, {len(seeds)} seeds: {'all the same' if good else 'FAILED'}")
    sys.exit(not good)


if __name__ == "__main__":
    main()
