"""What came of the sample's predictions, made up from real columns, and the figures that pandas has of them.

write TRAIN OUTPUT FOLDER: actuals in FOLDER/parquet (ids as numbers) and FOLDER/csv (ids as text).
parquet|csv TRAIN OUTPUT FOLDER: compares the run's actuals.json with pandas."""

import glob
import json
import os
import sys

import numpy as np
import pandas as pd

step, train, output, folder = sys.argv[1:]
latest = json.load(open(f"{output}/latest.json"))
predictions = pd.read_parquet(f"{output}/{latest['path']}", partitioning=None)


def write():
    random = np.random.default_rng(7)
    rows = pd.concat([pd.read_parquet(path) for path in sorted(glob.glob(f"{train}/*.parquet"))])
    education = rows.drop_duplicates("ID").set_index("ID")["EDUCATION"]
    actuals = predictions[["ID", "prediction"]].sample(frac=0.8, random_state=3)
    spread = actuals["prediction"].std()
    actuals["outcome"] = actuals.pop("prediction") + spread * random.normal(0.02, 0.3, len(actuals))
    actuals.loc[actuals.index[:500], "outcome"] = np.nan
    others = pd.DataFrame({"ID": np.arange(1_000_000, 1_002_000), "outcome": random.normal(size=2_000)})
    actuals = pd.concat([actuals, others]).sample(frac=1, random_state=5)
    actuals["EDUCATION"] = actuals["ID"].map(education)
    for format in ["parquet", "csv"]:
        os.makedirs(f"{folder}/{format}", exist_ok=True)
        for part in range(5):
            piece = actuals.iloc[part::5]
            path = f"{folder}/{format}/part-{part}.{format}"
            piece.to_parquet(path, row_group_size=1_000) if format == "parquet" else piece.to_csv(path, index=False)


def errors(pairs):
    error = pairs["prediction"] - pairs["outcome"]
    spread = ((pairs["outcome"] - pairs["outcome"].mean()) ** 2).sum()
    return {
        "rows": len(pairs),
        "r2": 1 - (error**2).sum() / spread if spread > 0 else None,
        "rmse": np.sqrt((error**2).mean()),
        "mae": error.abs().mean(),
        "bias": error.mean(),
        "mean_prediction": pairs["prediction"].mean(),
        "mean_actual": pairs["outcome"].mean(),
    }


def same(found, expected, what):
    for name, value in expected.items():
        there = found[name]
        assert (there is None) == (value is None), (what, name, there, value)
        if value is not None:
            assert abs(there - value) <= 1e-9 * max(1, abs(value)), (what, name, there, value)


def compare():
    found = json.load(open(f"{output}/runs/{latest['run_id']}/actuals.json"))
    read = pd.read_parquet if step == "parquet" else pd.read_csv
    actuals = pd.concat([read(path) for path in sorted(glob.glob(f"{folder}/{step}/*"))])
    joined = predictions.merge(actuals, on="ID", how="left", indicator=True)
    pairs = joined[joined["outcome"].notna()]
    assert len(pairs) > 20_000
    expected = errors(pairs)
    assert found["rows_matched"] == expected.pop("rows")
    expected.pop("mean_prediction"), expected.pop("mean_actual")
    same(found, expected, "all")
    assert found["rows_predicted"] == len(predictions)
    assert found["predictions_without_actual"] == (joined["_merge"] == "left_only").sum()
    assert found["predictions_with_null_actual"] == 500
    assert found["actuals"]["rows"] == len(actuals)
    assert found["actuals"]["rows_of_other_ids"] == (~actuals["ID"].isin(predictions["ID"])).sum() == 2_000
    smaller = pairs["prediction"].rank(method="min") - 1
    tenths = 1 + (10 * smaller // len(pairs)).astype(int)
    assert [tenth["tenth"] for tenth in found["tenths"]] == sorted(tenths.unique())
    for tenth in found["tenths"]:
        of_tenth = pairs[tenths == tenth["tenth"]]
        bounds = {"from": of_tenth["prediction"].min(), "to": of_tenth["prediction"].max()}
        same(tenth, errors(of_tenth) | bounds, f"tenth {tenth['tenth']}")
    for column in ["SEX", "EDUCATION"]:
        # 2.0 in CSV is the 2 that training saw.
        text = lambda value: "(missing)" if pd.isna(value) else str(int(value))
        groups = {text(value): group for value, group in pairs.groupby(column, dropna=False)}
        assert sorted(groups) == [slice["value"] for slice in found["slices"][column]], (column, sorted(groups), found["slices"][column])
        for slice in found["slices"][column]:
            same(slice, errors(groups[slice["value"]]), f"{column} {slice['value']}")


write() if step == "write" else compare()
