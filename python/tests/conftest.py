"""A table of every kind of column, a model of it and its predictions, made once by the real programs."""

import datetime
import decimal
import os
import sys
from pathlib import Path

import numpy
import pyarrow
import pyarrow.parquet
import pytest

sys.dont_write_bytecode = True
if os.environ.get("ENGAGEMENT_ML_INSTALLED") is None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import engagement_ml

ROWS = 700
UTC = datetime.timezone.utc
SPEC = """
id = "customer"
target = "score"
categorical = ["visits", "k_f32", "k_f64", "k_bool", "k_time", "k_day", "k_decimal", "k_instant", "k_length", "k_large"]
as_of = "2020-01-01"
clip = true
[derived]
rate = "spend / NULLIF(visits, 0)"
log_spend = "LN(spend) + EXP(wait / 100) + POWER(spend, 0.3)"
weekday = "EXTRACT(DOW FROM seen) * 10 + WEEK(joined)"
since = "seen - joined"
months = "DATE_DIFF('month', joined, DATE '2021-03-31')"
is_late = "seen > TIMESTAMP '2017-08-01 12:00:00' AND NOT active"
bracket = "CASE WHEN spend < 25 THEN 'low' WHEN spend < 75 THEN plan ELSE 'high' END"
least = "LEAST(spend, wait, COALESCE(narrow, 3))"
"""


def table(rows: int, seed: int, with_target: bool = True) -> pyarrow.Table:
    """Columns of all types that can be a feature, a tenth of the values missing."""
    random = numpy.random.default_rng(seed)

    def some(values, kind):
        gone = random.random(rows) < 0.1
        return pyarrow.array([None if is_gone else value for value, is_gone in zip(values, gone)], type=kind)

    whole = [int(value) for value in random.integers(0, 40, rows)]
    micros = [int(value) for value in random.integers(1_400_000_000_000_000, 1_600_000_000_000_000, rows)]
    spend = [float(value) for value in random.random(rows) * 100]
    spend[:4] = [0.0, float("inf"), float("-inf"), 1e300]
    days = [int(value) for value in random.integers(15_000, 19_000, rows)]
    quarters = [decimal.Decimal(value % 7) / 4 for value in whole]
    large = [[9_007_199_254_740_993, 2**62, -5][value % 3] for value in whole]
    floats = [[0.1, 123_456_792.0, 1.1e20, -2.0927e21, 7e-10][value % 5] for value in whole]
    columns = {
        "customer": pyarrow.array(range(seed * 1_000_000, seed * 1_000_000 + rows)),
        "visits": some(whole, pyarrow.int16()),
        "spend": some(spend, pyarrow.float64()),
        "narrow": some(spend, pyarrow.float32()),
        "wait": some([value % 1000 for value in micros], pyarrow.uint32()),
        "active": some([value % 3 == 0 for value in whole], pyarrow.bool_()),
        "plan": some([["basic", "gold", "", "größe", "student"][value % 5] for value in whole], pyarrow.string()),
        "coded": some([f"c{value % 9}" for value in whole], pyarrow.string()).dictionary_encode(),
        "joined": some(days, pyarrow.int32()).cast(pyarrow.date32()),
        "seen": some(micros, pyarrow.int64()).cast(pyarrow.timestamp("us")),
        "seen_ms": some([value // 1000 for value in micros], pyarrow.int64()).cast(pyarrow.timestamp("ms", tz="Europe/Berlin")),
        "seen_ns": some([value * 1000 + 123 for value in micros], pyarrow.int64()).cast(pyarrow.timestamp("ns")),
        "length": some([value * 1_234 - 20_000 for value in whole], pyarrow.int64()).cast(pyarrow.duration("ms")),
        "clock": some([value % 86_400_000_000 for value in micros], pyarrow.int64()).cast(pyarrow.time64("us")),
        "amount": some([decimal.Decimal(value).scaleb(-2) for value in whole], pyarrow.decimal128(12, 2)),
        "k_f32": some(floats, pyarrow.float32()),
        "k_f64": some(floats, pyarrow.float64()),
        "k_bool": some([value % 2 == 0 for value in whole], pyarrow.bool_()),
        "k_time": some([value % 3 * 43_200_250_000 % 86_400_000_000 for value in whole], pyarrow.int64()).cast(pyarrow.time64("us")),
        "k_day": some([18_000 + value % 4 for value in whole], pyarrow.int32()).cast(pyarrow.date32()),
        "k_decimal": some(quarters, pyarrow.decimal128(9, 4)),
        "k_instant": some([1_500_000_000_000_000 + value % 3 * 43_200_250_000 for value in whole], pyarrow.int64()).cast(pyarrow.timestamp("us")),
        "k_length": some([value % 3 * 1_500 - 1_500 for value in whole], pyarrow.int64()).cast(pyarrow.duration("ms")),
        "k_large": some(large, pyarrow.int64()),
        "empty": pyarrow.nulls(rows, pyarrow.string()),
    }
    if with_target:
        shown = [0.0 if value != value or abs(value) > 1e6 else value for value in spend]
        noise = random.random(rows)
        levels = [(value % 5) * 9 + (day % 7) * 3 + micro % 11 for value, day, micro in zip(whole, days, micros)]
        columns["score"] = pyarrow.array([50 + a + 0.2 * b + c for a, b, c in zip(levels, shown, noise)])
    return pyarrow.table(columns)


class Line:
    """A folder in which a model was trained and has predicted."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.models, self.output, self.customers = folder, folder / "models", folder / "output", folder / "customers"
        for name, rows, seed in (("train", 3 * ROWS, 1), ("customers", ROWS, 2)):
            (folder / name).mkdir()
            pyarrow.parquet.write_table(table(rows, seed, name == "train"), folder / name / "part.parquet")
        (folder / "features.toml").write_text(SPEC)
        self.trained = engagement_ml.train(
            train_data=folder / "train", models=self.models, model_version="v1", features=folder / "features.toml", min_r2=0, rounds=60,
            run_id="m1", threads=2,
        )  # fmt: skip
        self.predicted = engagement_ml.predict(input=self.customers, models=self.models, output=self.output, run_id="p1", columns=["plan"])

    @property
    def model_folder(self) -> Path:
        return self.models / "engagement/v1/m1"


@pytest.fixture(scope="session")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    """The model and predictions of the table of every kind."""
    return Line(tmp_path_factory.mktemp("line"))
