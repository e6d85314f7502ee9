"""What a careful engineer writes in Python to score a table: polars and XGBoost, row group by row group.

usage: peer.py INPUT_FOLDER MODEL_FOLDER OUTPUT_FOLDER THREADS
"""

import json
import os
import sys

INPUT, MODEL, OUTPUT, THREADS = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
os.environ["POLARS_MAX_THREADS"] = str(THREADS)

import numpy as np
import polars as pl
import xgboost as xgb

BATCH_ROWS = 262_144


def encoded(batch, feature):
    """A column as the numbers that the model was trained on."""
    column = batch[feature.get("column") or feature["name"]]
    if feature["kind"] == "number":
        return column.cast(pl.Float32).fill_null(float("nan")).to_numpy()
    if feature["kind"] in ("category", "encoded"):
        numbers = feature.get("values") or list(range(len(feature["levels"])))
        known = pl.DataFrame({"level": feature["levels"], "number": np.asarray(numbers, dtype=np.float32)})
        codes = column.to_frame("level").join(known, on="level", how="left", maintain_order="left")["number"]
        return codes.fill_null(feature.get("default", float("nan"))).to_numpy()
    raise SystemExit(f"peer.py does not know features of kind {feature['kind']}")


def score(booster, metadata, batch):
    matrix = np.column_stack([encoded(batch, feature) for feature in metadata["features"]])
    predictions = booster.inplace_predict(matrix).astype(np.float64)
    if metadata.get("clip"):
        predictions = predictions.clip(*metadata["clip"])
    return pl.DataFrame(
        {metadata["id"]: batch[metadata["id"]], "prediction": predictions},
    ).with_columns(model_version=pl.lit(metadata["model_version"]))


def main():
    with open(f"{MODEL}/metadata.json") as file:
        metadata = json.load(file)
    booster = xgb.Booster({"nthread": THREADS})
    booster.load_model(f"{MODEL}/model.ubj")
    os.makedirs(OUTPUT, exist_ok=True)
    seen = []
    part = 0
    for name in sorted(os.listdir(INPUT)):
        rows = pl.scan_parquet(f"{INPUT}/{name}").select(pl.len()).collect().item()
        for start in range(0, rows, BATCH_ROWS):
            batch = pl.scan_parquet(f"{INPUT}/{name}").slice(start, BATCH_ROWS).collect()
            seen.append(batch[metadata["id"]])
            score(booster, metadata, batch).write_parquet(f"{OUTPUT}/part-{part:05d}.parquet", compression="snappy")
            part += 1
    if pl.concat(seen).n_unique() != sum(map(len, seen)):
        raise SystemExit("repeated ids")


if __name__ == "__main__":
    main()
