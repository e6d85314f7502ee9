"""The same as peer_predict.py for tables of every shape: all files at once, as polars reads them best, and no check of repeated ids.

usage: peer_shapes.py INPUT MODEL_FOLDER OUTPUT_FOLDER THREADS [--format csv] [--columns NAME,NAME]
"""

import argparse
import json
import os
import sys

from peer_predict import MODEL, OUTPUT, THREADS, encoded

import numpy as np
import polars as pl
import xgboost as xgb

BATCH_ROWS = 1_048_576


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("input", "model", "output", "threads"):
        arguments.add_argument(name)
    arguments.add_argument("--format", default="parquet", choices=["parquet", "csv"])
    arguments.add_argument("--columns", default="")
    given = arguments.parse_args()
    with open(f"{MODEL}/metadata.json") as file:
        metadata = json.load(file)
    booster = xgb.Booster({"nthread": THREADS})
    booster.load_model(f"{MODEL}/model.ubj")
    os.makedirs(OUTPUT, exist_ok=True)
    is_csv = not given.input.startswith("s3://") and not sorted(os.listdir(given.input))[0].endswith(".parquet")
    scan = pl.scan_csv if is_csv else pl.scan_parquet
    carried = [name for name in given.columns.split(",") if name]
    needed = [metadata["id"], *[feature.get("column") or feature["name"] for feature in metadata["features"]], *carried]
    table = scan(f"{given.input}/*").select(list(dict.fromkeys(needed))).collect()
    for part, start in enumerate(range(0, len(table), BATCH_ROWS)):
        batch = table.slice(start, BATCH_ROWS)
        matrix = np.column_stack([encoded(batch, feature) for feature in metadata["features"]])
        predictions = booster.inplace_predict(matrix).astype(np.float64)
        if metadata.get("clip"):
            predictions = predictions.clip(*metadata["clip"])
        scored = pl.DataFrame({metadata["id"]: batch[metadata["id"]], "prediction": predictions})
        scored = scored.with_columns(model_version=pl.lit(metadata["model_version"])).hstack(batch.select(carried))
        if given.format == "csv":
            scored.write_csv(f"{OUTPUT}/part-{part:05d}.csv")
        else:
            scored.write_parquet(f"{OUTPUT}/part-{part:05d}.parquet", compression="snappy")


if __name__ == "__main__":
    main()
    sys.stdout.flush()
