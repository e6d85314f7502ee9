#!/usr/bin/env python3
"""Trains on real tables with dates, text, booleans, derived and encoded features, and compares what `engagement_ml.load` predicts with what
`predict` wrote, bit by bit, from frames of pandas and polars:

    ENGAGEMENT_ML_PROGRAMS=folder python/tests/real_tables.py [table …]

With KEEP=folder everything is left there, for scripts/test-mlflow.
The tables are those of benches/accuracy, out of published packages.
"""

import os
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
sys.path[1:1] = [str(PROJECT / "scripts"), str(PROJECT / "benches/accuracy"), str(PROJECT / "python")]
sys.dont_write_bytecode = True
from datasets import enter_environment

# A derived feature of each.
TABLES = {
    "hotel_rates": "DATE_DIFF('day', DATE '2016-01-01', arrival_date) / NULLIF(adults + children, 0)",
    "storms": "CASE WHEN lat > 30 THEN status ELSE name END",
    "superstore": 'LN("Sales") / "Quantity"',
    "deliveries": "POWER(distance, 0.3) * LN(hour)",
    "bird_strikes": "COALESCE(height, 0) / (DAY_OF_YEAR(date) + 1)",
    "lending": "annual_inc / NULLIF(open_il_24m, 0)",
}


def typed(frame):
    """Text that is dates or yes and no as dates and booleans."""
    import polars

    for name in frame.columns:
        if frame[name].dtype != polars.String:
            continue
        values = frame[name].drop_nulls()
        if len(values) and values.is_in(["yes", "no", "Yes", "No", "TRUE", "FALSE", "True", "False"]).all():
            frame = frame.with_columns(polars.col(name).str.to_lowercase().is_in(["yes", "true"]))
        if len(values) and values.str.to_datetime("%Y-%m-%d", strict=False).null_count() == 0:
            frame = frame.with_columns(polars.col(name).str.to_datetime("%Y-%m-%d").dt.cast_time_unit("ms"))
    whole = [name for name in frame.columns if frame[name].dtype == polars.Int64 and frame[name].is_in([0, 1]).all()]
    frame = frame.with_columns(polars.col(name).cast(polars.Boolean) for name in whole)
    if {"year", "month", "day", "hour"} <= set(frame.columns):
        frame = frame.with_columns(seen=polars.datetime("year", "month", "day", "hour"))
    return frame


def check(name, folder):
    import pandas
    import polars
    import tables

    import engagement_ml

    frame, target = getattr(tables, name)()
    frame = frame.copy()
    if name == "bird_strikes":
        frame["date"] = pandas.to_datetime(frame["date"], format="%m/%d/%Y %H:%M:%S")
    for column in frame.columns:
        if frame[column].dtype == object or str(frame[column].dtype) in ("category", "str"):
            frame[column] = frame[column].map(lambda value: None if value is None or value != value else str(value))
    frame = typed(polars.from_pandas(frame.reset_index(drop=True)).drop_nulls(target)).with_row_index("row_id")
    held = frame.filter(polars.col("row_id") % 5 == 0).drop(target).sample(fraction=1.0, seed=1)
    (folder / "train").mkdir(parents=True)
    frame.filter(polars.col("row_id") % 5 != 0).write_parquet(folder / "train/part.parquet")
    (folder / "input").mkdir()
    held.write_parquet(folder / "input/part.parquet")
    spec = f"id = 'row_id'\ntarget = '{target}'\n[derived]\nours = '''{TABLES[name]}'''\n"
    (folder / "features.toml").write_text(spec)
    trained = engagement_ml.train(
        train_data=folder / "train", features=folder / "features.toml", models=folder / "models", model_version="v1", min_r2=-1e9, time_budget=4
    )
    engagement_ml.predict(input=folder / "input", models=folder / "models", output=folder / "output")
    model, written = engagement_ml.load(folder / "models"), engagement_ml.latest(folder / "output", frames="polars")
    for read in (polars.read_parquet, pandas.read_parquet):
        predictions = model.predict(read(folder / "input/part.parquet"))
        if not (predictions == written["prediction"].to_numpy()).all():
            sys.exit(f"{name}: predictions differ ({read.__module__})")
    kinds = sorted({f"{feature['kind']} of {feature['type']}" for feature in model.metadata["features"]})
    print(f"{name}: {len(written):,} predictions equal, R² {trained['r2']:.3f}, {len(model.features)} features: {', '.join(kinds)}", flush=True)


def main():
    with tempfile.TemporaryDirectory() as folder:
        for name in sys.argv[1:] or TABLES:
            check(name, Path(os.environ.get("KEEP") or folder) / name)


if __name__ == "__main__":
    enter_environment()
    main()
