"""What a careful engineer writes in Python to train on a table: polars and XGBoost's quantile matrix.

usage: peer_train.py TRAIN_FOLDER TEST_FOLDER OUTPUT_FOLDER ROUNDS THREADS [pandas]

Prints R² on the test rows. With `pandas` the table is read by pandas instead.
"""

import os
import sys

TRAIN, TEST, OUTPUT, ROUNDS, THREADS = sys.argv[1:6]
os.environ["POLARS_MAX_THREADS"] = THREADS
READER = sys.argv[6] if len(sys.argv) > 6 else "polars"

import numpy as np
import xgboost as xgb

ID, TARGET = "customer_id", "engagement"


def polars_frames():
    """Both tables; text columns as categories that both know."""
    import polars as pl

    train, test = (pl.read_parquet(f"{folder}/*.parquet") for folder in (TRAIN, TEST))
    if not set(train[ID]).isdisjoint(test[ID]):
        raise SystemExit("ids on both sides of the split")
    if train[ID].n_unique() != train.height or test[ID].n_unique() != test.height:
        raise SystemExit("repeated ids")
    levels = {name: pl.Enum(train[name].drop_nulls().unique().sort()) for name, kind in train.schema.items() if kind == pl.String}
    for frame in (train, test):
        target = frame[TARGET].to_numpy()
        yield frame.drop(ID, TARGET).with_columns(pl.col(name).cast(kind, strict=False) for name, kind in levels.items()), target


def pandas_frames():
    import pandas as pd

    train, test = (pd.read_parquet(folder) for folder in (TRAIN, TEST))
    if train[ID].isin(test[ID]).any():
        raise SystemExit("ids on both sides of the split")
    if not train[ID].is_unique or not test[ID].is_unique:
        raise SystemExit("repeated ids")
    texts = [name for name in train.columns if train[name].dtype.kind == "O" or str(train[name].dtype) in ("str", "string")]
    levels = {name: pd.CategoricalDtype(sorted(train[name].dropna().unique())) for name in texts}
    for frame in (train, test):
        yield frame.drop(columns=[ID, TARGET]).astype(levels), frame[TARGET].to_numpy()


def main():
    (train, train_target), (test, test_target) = pandas_frames() if READER == "pandas" else polars_frames()
    threads = int(THREADS)
    matrix = xgb.QuantileDMatrix(train, train_target, enable_categorical=True, nthread=threads)
    del train
    params = {"max_depth": 6, "eta": 0.1, "objective": "reg:squarederror", "tree_method": "hist", "nthread": threads, "seed": 42}
    booster = xgb.train(params, matrix, int(ROUNDS))
    os.makedirs(OUTPUT, exist_ok=True)
    booster.save_model(f"{OUTPUT}/model.ubj")
    predictions = booster.predict(xgb.DMatrix(test, enable_categorical=True, nthread=threads))
    residuals, spread = test_target - predictions, test_target - test_target.mean()
    print(1 - np.square(residuals).sum() / np.square(spread).sum())


main()
