"""Tables of every shape and every writer through `predict`: the same rows must get the same predictions, within the memory
that was planned, or the run must end with a clear error.

usage: shapes.py BIN FOLDER [--large] [NAME ...]

BIN has `train` and `predict`; FOLDER takes the tables and the results. With --large the shapes of millions of rows as well.
NAMEs choose among the cases by a part of their name. Needs pyarrow and polars; DuckDB's writer is left out where it is not
installed. Prints a table in Markdown and ends with 1 where a case went wrong.
"""

import datetime
import decimal
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

try:
    import duckdb
except ImportError:
    duckdb = None

ROWS = 20_000
PLANS = np.array(["basic", "family", "premium", "student", "", "naïve – ü", "x" * 300])
MIB = 1024 * 1024


def base(rows, first_id, seed, with_target=False):
    """A column of every type that can be a feature, with nulls, and some that cannot."""
    random = np.random.default_rng(seed)

    def nulls(values, kind, share=0.1):
        return pa.array(values, kind, mask=random.random(rows) < share)

    spend = random.gamma(2.0, 30.0, rows)
    visits = random.integers(0, 30, rows)
    plan = random.integers(0, len(PLANS), rows)
    days = random.integers(15_000, 20_000, rows)
    micros = days * 86_400_000_000 + random.integers(0, 86_400_000_000, rows)
    columns = {
        "customer_id": pa.array(np.arange(first_id, first_id + rows)),
        "spend": nulls(spend, pa.float64()),
        "narrow": nulls(random.normal(size=rows).astype(np.float32), pa.float32()),
        "i8": nulls(random.integers(-128, 128, rows).astype(np.int8), pa.int8()),
        "i16": nulls(random.integers(-300, 300, rows).astype(np.int16), pa.int16()),
        "visits": nulls(visits.astype(np.int32), pa.int32()),
        "i64": nulls(random.integers(-(2**40), 2**40, rows), pa.int64()),
        "u8": nulls(random.integers(0, 256, rows).astype(np.uint8), pa.uint8()),
        "u16": nulls(random.integers(0, 60_000, rows).astype(np.uint16), pa.uint16()),
        "u32": nulls(random.integers(0, 2**32, rows).astype(np.uint32), pa.uint32()),
        "u64": nulls(random.integers(0, 2**64, rows, dtype=np.uint64), pa.uint64()),
        "member": nulls(random.random(rows) < 0.4, pa.bool_()),
        "plan": nulls(PLANS[plan], pa.string()),
        "city": nulls(np.array([f"city-{number}" for number in random.zipf(1.3, rows) % 3_000]), pa.string()),
        "since": nulls(days.astype("datetime64[D]"), pa.date32()),
        "seen": nulls(micros.astype("datetime64[us]"), pa.timestamp("us")),
        "seen_utc": nulls(micros.astype("datetime64[us]"), pa.timestamp("us", tz="UTC")),
        "price": pa.array(
            [None if number % 17 == 0 else decimal.Decimal(int(number)) / 100 for number in random.integers(0, 10**6, rows)],
            pa.decimal128(12, 2),
        ),
        "nothing": pa.nulls(rows, pa.float64()),
        "odd_list": pa.array([[1, 2], None, []] * (rows // 3) + [None] * (rows % 3), pa.list_(pa.int32())),
        "odd_struct": pa.array([{"a": 1, "b": "x"}] * rows),
        "odd_binary": pa.array([b"\x00\xff"] * rows),
        "odd_map": pa.array([[("k", 1)]] * rows, pa.map_(pa.string(), pa.int32())),
        "odd_time": pa.array([datetime.time(12, 30)] * rows),
    }
    if with_target:
        worth = np.arange(len(PLANS)) * 3.0
        columns["score"] = pa.array(0.2 * spend + visits + worth[plan] + (days - 15_000) / 300 + random.normal(size=rows))
    return pa.table(columns)


ODD = ["odd_list", "odd_struct", "odd_binary", "odd_map", "odd_time"]


class Cases:
    """What is written, by name, and what is expected of it."""

    def __init__(self, folder, large):
        self.folder = folder
        self.cases = {}
        self.table = base(ROWS, 1_000_000, 2)
        self.plain = self.table.drop_columns(ODD)
        self.pyarrow()
        self.polars()
        self.duckdb()
        self.shapes()
        if large:
            self.large()

    def case(self, name, write, arguments=(), same=True, code=0):
        self.cases[name] = (write, list(arguments), same, code)

    def arrow_case(self, name, table=None, **options):
        table = self.table if table is None else table

        def write(folder):
            pq.write_table(table, folder / "part.parquet", **options)

        self.case(name, write)

    def pyarrow(self):
        for codec in ["none", "snappy", "gzip", "zstd", "lz4", "brotli"]:
            for version in ["1.0", "2.0"]:
                self.arrow_case(f"pyarrow {codec}, pages {version}", compression=codec, data_page_version=version)
        for version in ["1.0", "2.4", "2.6"]:
            self.arrow_case(f"pyarrow format {version}", version=version)
        self.arrow_case("pyarrow without dictionaries", use_dictionary=False)
        self.arrow_case("pyarrow pages of 1 KiB", data_page_size=1024, write_batch_size=64)
        self.arrow_case("pyarrow one page a column", data_page_size=2**30, row_group_size=ROWS)
        self.arrow_case("pyarrow dictionaries that overflow", dictionary_pagesize_limit=2000, data_page_size=10_000)
        self.arrow_case("pyarrow page index and checksums", write_page_index=True, write_page_checksum=True)
        self.arrow_case("pyarrow checksums, pages 2.0", write_page_checksum=True, data_page_version="2.0", use_dictionary=False)
        self.arrow_case("pyarrow 7 rows a row group", table=self.table, row_group_size=7)
        self.arrow_case("pyarrow without statistics", write_statistics=False, store_schema=False)
        self.arrow_case("pyarrow timestamps as int96", use_deprecated_int96_timestamps=True)
        self.arrow_case("pyarrow timestamps in ns", coerce_timestamps=None, table=self.cast({"seen": pa.timestamp("ns")}))
        self.arrow_case("pyarrow timestamps in ms", table=self.with_whole_milliseconds())
        self.arrow_case("pyarrow another time zone", table=self.cast({"seen_utc": pa.timestamp("us", tz="America/New_York")}))
        self.arrow_case("pyarrow decimals as integers", store_decimal_as_integer=True)
        encodings = {
            "delta": {
                **dict.fromkeys(["customer_id", "visits", "i64", "u32", "u64"], "DELTA_BINARY_PACKED"),
                "plan": "DELTA_BYTE_ARRAY",
                "city": "DELTA_LENGTH_BYTE_ARRAY",
            },
            "byte stream split": {"spend": "BYTE_STREAM_SPLIT", "narrow": "BYTE_STREAM_SPLIT"},
            "run lengths for booleans": {"member": "RLE"},
        }
        for name, encoding in encodings.items():
            for version in ["1.0", "2.0"]:
                self.arrow_case(f"pyarrow {name}, pages {version}", use_dictionary=False, column_encoding=encoding, data_page_version=version)
        for name, kind in {
            "large strings": pa.large_string(),
            "dictionaries of strings": pa.dictionary(pa.int32(), pa.string()),
            "string views": pa.string_view(),
        }.items():
            self.arrow_case(f"pyarrow {name}", table=self.cast({"plan": kind, "city": kind}))
        self.arrow_case("pyarrow columns in another order", table=self.table.select(self.table.column_names[::-1]))
        self.arrow_case("pyarrow ids as 32-bit integers", table=self.cast({"customer_id": pa.int32()}))
        self.arrow_case("pyarrow wider types", table=self.cast({"i8": pa.int64(), "narrow": pa.float64(), "u8": pa.float64()}))
        self.arrow_case("pyarrow no nulls allowed in ids", table=self.required())

    def cast(self, types):
        table = self.table
        for name, kind in types.items():
            column = table.column(name)
            if pa.types.is_dictionary(kind):
                column = column.dictionary_encode()
            table = table.set_column(table.schema.get_field_index(name), name, column.cast(kind))
        return table

    def with_whole_milliseconds(self):
        # Milliseconds lose what the model saw: only the writer is tried, on values that they hold.
        return self.cast({"since": pa.date64()})

    def required(self):
        index = self.table.schema.get_field_index("customer_id")
        return self.table.set_column(index, pa.field("customer_id", pa.int64(), nullable=False), self.table.column("customer_id"))

    def polars(self):
        frame = pl.from_arrow(self.plain)
        for codec in ["uncompressed", "snappy", "gzip", "zstd", "lz4", "brotli"]:
            self.polars_case(f"polars {codec}", frame, compression=codec)
        self.polars_case("polars 100 rows a row group", frame, row_group_size=100)
        self.polars_case("polars pages of 2 KiB", frame, data_page_size=2048, row_group_size=ROWS)
        categories = frame.with_columns(pl.col("plan", "city").cast(pl.Categorical))
        self.polars_case("polars categories", categories)

    def polars_case(self, name, frame, **options):
        self.case(name, lambda folder: frame.write_parquet(folder / "part.parquet", **options))

    def duckdb(self):
        if duckdb is None:
            return
        table = self.plain
        for codec in ["uncompressed", "snappy", "gzip", "zstd", "lz4", "brotli"]:
            for version in ["V1", "V2"]:

                def write(folder, codec=codec, version=version):
                    connection = duckdb.connect()
                    connection.register("customers", table)
                    connection.execute(
                        f"COPY (SELECT * FROM customers) TO '{folder}/part.parquet' "
                        f"(FORMAT parquet, COMPRESSION {codec}, PARQUET_VERSION {version}, ROW_GROUP_SIZE 4096)"
                    )

                self.case(f"duckdb {codec}, {version}", write)

    def shapes(self):
        def files(count):
            def write(folder):
                step = -(-ROWS // count)
                for file in range(count):
                    pq.write_table(self.plain.slice(file * step, step), folder / f"part-{file:06d}.parquet")

            return write

        def with_empty(folder):
            with pq.ParquetWriter(folder / "part-0.parquet", self.table.schema) as writer:
                for start in (0, ROWS // 2):
                    writer.write_table(self.table.slice(0, 0), row_group_size=1)
                    writer.write_table(self.table.slice(start, ROWS // 2))
                writer.write_table(self.table.slice(0, 0), row_group_size=1)
            pq.write_table(self.table.slice(0, 0), folder / "part-1.parquet")

        def wide(columns):
            def write(folder):
                random = np.random.default_rng(5)
                table = self.table
                for column in range(columns):
                    kind = column % 4
                    values = random.normal(size=ROWS) if kind < 2 else random.integers(0, 1000, ROWS)
                    table = table.append_column(f"more_{column}", pa.array(values if kind < 3 else values.astype(str)))
                pq.write_table(table, folder / "part.parquet")

            return write

        self.case("2,000 files of 10 rows", files(2_000))
        self.case("row groups and files without rows", with_empty)
        self.case("1,000 columns more", wide(1_000))
        self.case("no rows at all", lambda folder: pq.write_table(self.table.slice(0, 0), folder / "part.parquet"), same=False, code=4)
        self.case("no columns", lambda folder: pq.write_table(pa.table({}), folder / "part.parquet"), same=False, code=4)
        self.case(
            "a nested column carried over",
            lambda folder: pq.write_table(self.table, folder / "part.parquet"),
            ["--columns", "odd_list"],
        )

        def csv(folder):
            # Text of floats reads back as the same floats; what CSV cannot say stays away.
            frame = pl.from_arrow(self.plain).with_columns(pl.col("seen_utc").dt.strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00"))
            frame.with_columns(pl.col("seen").dt.strftime("%Y-%m-%dT%H:%M:%S%.6f")).write_csv(folder / "part.csv")

        self.case("CSV", csv, same=False)

    def large(self):
        rows = 5_000_000

        def one_group(write_one):
            def write(folder):
                pieces = [self.numbers(500_000, 1_000_000 + start) for start in range(0, rows, 500_000)]
                write_one(pa.concat_tables(pieces), folder / "part.parquet")

            return write

        arrow = lambda **options: lambda table, path: pq.write_table(table, path, row_group_size=rows, **options)
        one = "one row group of 5 M rows"
        self.case(f"{one}, pyarrow snappy", one_group(arrow()), ["--model", "numbers"], same=False)
        self.case(f"{one}, pyarrow zstd, pages 2.0, checksums", one_group(arrow(compression="zstd", data_page_version="2.0", write_page_checksum=True)), ["--model", "numbers"], same=False)
        self.case(f"{one}, polars", one_group(lambda table, path: pl.from_arrow(table).write_parquet(path, row_group_size=rows)), ["--model", "numbers"], same=False)
        self.case(f"{one}, 600 MiB of memory", one_group(arrow()), ["--model", "numbers", "--memory", "600m"], same=False)
        self.case(f"{one}, one page a column", one_group(arrow(data_page_size=2**30, use_dictionary=False)), ["--model", "numbers"], same=False)

        def texts(folder):
            for file, start in enumerate(range(0, rows, 1_000_000)):
                table = self.numbers(1_000_000, start)
                ids = pa.array([f"customer-{number:012d}-of-the-house" for number in range(start, start + 1_000_000)])
                pq.write_table(table.set_column(0, "customer_id", ids), folder / f"part-{file}.parquet")

        self.case("5 M text ids", texts, ["--model", "numbers"], same=False)
        self.case("5 M text ids, 400 MiB of memory", texts, ["--model", "numbers", "--memory", "400m"], same=False)

        def small_files(folder):
            table = self.numbers(100_000, 0)
            for file in range(10_000):
                pq.write_table(table.slice(file * 10, 10), folder / f"part-{file:06d}.parquet")

        self.case("10,000 files of 10 rows", small_files, ["--model", "numbers"], same=False)

    @staticmethod
    def numbers(rows, first_id, with_target=False):
        random = np.random.default_rng(first_id + 3)
        columns = {"customer_id": np.arange(first_id, first_id + rows)}
        for number in range(40):
            columns[f"n{number}"] = random.normal(size=rows).round(3 if number % 2 else 12)
        columns["plan"] = PLANS[random.integers(0, 4, rows)]
        if with_target:
            columns["score"] = sum(columns[f"n{number}"] for number in range(10)) + random.normal(size=rows)
        return pa.table(columns)


def last_line(output):
    lines = output.strip().splitlines()
    return json.loads(lines[-1]) if lines else {}


def peak_of(output):
    for line in output.splitlines():
        record = json.loads(line)
        if "PeakMemory" in record:
            return record["PeakMemory"]
    return None


def train(binary, folder, name, table, exclude):
    data = folder / f"train-{name}"
    data.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, data / "part.parquet")
    spec = folder / f"{name}.toml"
    spec.write_text(f'id = "customer_id"\ntarget = "score"\nexclude = {json.dumps(exclude)}\n')
    command = [binary / "train", "--train-data", data, "--models", folder / "models", "--model-name", name, "--model-version", "v1"]
    command += ["--features", spec, "--rounds", "60", "--min-r2", "0.1", "--log-format", "json"]
    ended = subprocess.run(command, capture_output=True, text=True)
    if ended.returncode != 0:
        raise SystemExit(f"train {name}: {ended.stdout}{ended.stderr}")


def predictions(folder):
    files = sorted((folder / "predictions").glob("run_id=*/part-*.parquet"))
    return pl.concat([pl.read_parquet(file, columns=["customer_id", "prediction"]) for file in files])


def run_case(binary, folder, name, case, reference):
    write, arguments, same, code = case
    model = "every-type"
    if "--model" in arguments:
        model = arguments.pop(arguments.index("--model") + 1)
        arguments.remove("--model")
    place = folder / "case"
    shutil.rmtree(place, ignore_errors=True)
    (place / "data").mkdir(parents=True)
    write(place / "data")
    size = sum(file.stat().st_size for file in (place / "data").iterdir())
    common = ["--input", place / "data", "--models", folder / "models", "--model-name", model, "--output", place / "output"]
    common += ["--log-format", "json", "--threads", "2", *arguments]
    prepared = subprocess.run([binary / "predict", "prepare", *common], capture_output=True, text=True)
    ended = subprocess.run([binary / "predict", *common], capture_output=True, text=True)
    result = last_line(ended.stdout)
    report = json.loads(next((place / "output" / "runs").glob("*/prepare.json")).read_text())
    planned = (report.get("memory") or {}).get("total_bytes")
    peak = peak_of(ended.stdout)
    problems = []
    if prepared.returncode != ended.returncode:
        problems.append(f"prepare ended with {prepared.returncode}")
    if ended.returncode != code:
        problems.append(f"exit {ended.returncode}: {result.get('error_message') or ended.stderr[-300:]}")
    elif code == 0:
        if planned is None or peak > planned:
            problems.append(f"{peak} bytes of memory, {planned} planned")
        if same:
            found = predictions(place / "output")
            if not found.select(pl.col("customer_id").cast(pl.Int64), "prediction").equals(reference):
                problems.append("other predictions")
        if result["rows_predicted"] + result["rows_rejected"] != result["rows_read"] or result["rows_rejected"]:
            problems.append(f"{result['rows_rejected']} rows rejected")
    elif not result.get("error_message"):
        problems.append("no message")
    figures = [f"{size / MIB:.1f}", f"{result.get('rows_read', 0):,}", f"{result.get('seconds') or 0:.2f}"]
    figures += [f"{(number or 0) / MIB:.0f}" for number in (peak, planned)]
    verdict = "; ".join(problems) or (f"exit {code}: {result['error_message']}" if code else "ok")
    print(f"| {name} | " + " | ".join(figures) + f" | {verdict} |", flush=True)
    return not problems


def main():
    arguments = [argument for argument in sys.argv[1:] if argument != "--large"]
    binary, folder, names = Path(arguments[0]), Path(arguments[1]).absolute(), arguments[2:]
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.pop("RUN_ID", None)
    train(binary, folder, "every-type", base(ROWS, 1, 1, with_target=True), ODD)
    cases = Cases(folder, "--large" in sys.argv)
    if "--large" in sys.argv:
        train(binary, folder, "numbers", Cases.numbers(50_000, 10**9, with_target=True), [])
    reference_place = folder / "reference"
    shutil.rmtree(reference_place, ignore_errors=True)
    (reference_place / "data").mkdir(parents=True)
    pq.write_table(cases.plain, reference_place / "data" / "part.parquet", compression="none", use_dictionary=False)
    command = [binary / "predict", "--input", reference_place / "data", "--models", folder / "models", "--model-name", "every-type"]
    subprocess.run([*command, "--output", reference_place, "--log-format", "json"], check=True, capture_output=True)
    reference = predictions(reference_place).select(pl.col("customer_id").cast(pl.Int64), "prediction")
    print("| table | MiB | rows | s | peak MiB | planned MiB | |\n|---|---|---|---|---|---|---|")
    chosen = {name: case for name, case in cases.cases.items() if not names or any(part in name for part in names)}
    failed = [name for name, case in chosen.items() if not run_case(binary, folder, name, case, reference)]
    shutil.rmtree(folder / "case", ignore_errors=True)
    if duckdb is None:
        print("\nDuckDB is not installed: its writer was not tried.")
    if failed:
        raise SystemExit(f"\n{len(failed)} of {len(chosen)} went wrong: {', '.join(failed)}")
    print(f"\nAll {len(chosen)} as expected.")


main()
