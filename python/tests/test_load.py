"""`load(…).predict(…)` gives the bits that the program wrote, whatever library holds the rows, and refuses what it must not predict with."""

import json
import shutil
import subprocess
import sys

import numpy
import pandas
import polars
import pyarrow
import pyarrow.parquet
import pytest

import engagement_ml


def written(line):
    return engagement_ml.latest(line.output, frames="polars")["prediction"].to_numpy()


def arrow_types(path):
    return pandas.read_parquet(path, dtype_backend="pyarrow")


READERS = {
    "polars": polars.read_parquet,
    "pandas": pandas.read_parquet,
    "pandas with nullable types": lambda path: pandas.read_parquet(path, dtype_backend="numpy_nullable"),
    "pandas with types of Arrow": arrow_types,
    "pyarrow": pyarrow.parquet.read_table,
}


@pytest.mark.parametrize("reader", READERS)
def test_every_kind_of_feature_in_every_library(line, reader):
    frame = READERS[reader](line.customers / "part.parquet")
    if reader.startswith("pandas"):
        # Its default types make floats of integers that are missing somewhere, which these have too many digits for.
        if reader == "pandas":
            exact = arrow_types(line.customers / "part.parquet")
            frame = frame.assign(k_large=exact["k_large"])
    predictions = engagement_ml.load(line.models).predict(frame)
    assert predictions.dtype == numpy.float64
    differ = (predictions != written(line)).nonzero()[0]
    assert len(differ) == 0, f"{len(differ)} rows, first {differ[:3]}"
    assert len(set(predictions)) > 100


def test_categories_objects_and_other_widths_are_the_same_values(line):
    frame = pandas.read_parquet(line.customers / "part.parquet")
    exact = arrow_types(line.customers / "part.parquet")
    frame = frame.assign(k_large=exact["k_large"], plan=frame["plan"].astype("category"), coded=frame["coded"].astype(object))
    frame["joined"] = pandas.to_datetime(frame["joined"])
    frame["seen"] = frame["seen"].astype("datetime64[ns]").dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo")
    frame["k_day"] = frame["k_day"].astype("category")
    frame = frame.sample(frac=1, random_state=3)
    predictions = pandas.Series(engagement_ml.load(line.models).predict(frame), index=frame.index).sort_index()
    assert (predictions.to_numpy() == written(line)).all()


def test_matrix_and_contributions(line):
    model, frame = engagement_ml.load(line.models), polars.read_parquet(line.customers / "part.parquet")
    assert model.matrix(frame).shape == (len(frame), len(model.features))
    assert "spend" in model.input_columns and "score" not in model.input_columns
    found = model.contributions(frame)
    assert numpy.allclose(found.values.sum(axis=1) + found.base, found.margins, rtol=1e-5)
    assert model.predict(frame.head(0)).shape == (0,)


def test_names_that_xgboosts_python_package_refuses(tmp_path):
    random = numpy.random.default_rng(3)
    rows = pandas.DataFrame({"id": range(600), "a[1]": random.random(600), "<b>": random.random(600), "c": random.choice(["x", "y"], 600)})
    rows["y"] = rows["a[1]"] + 2 * rows["<b>"] + (rows["c"] == "x")
    rows.to_parquet(tmp_path / "rows.parquet")
    places = {"models": tmp_path / "models"}
    engagement_ml.train(train_data=tmp_path / "rows.parquet", id="id", target="y", model_version="v1", rounds=20, **places)
    engagement_ml.predict(input=tmp_path / "rows.parquet", output=tmp_path / "output", **places)
    model = engagement_ml.load(tmp_path / "models")
    assert (model.predict(rows) == engagement_ml.latest(tmp_path / "output")["prediction"].to_numpy()).all()
    contributions = model.contributions(rows)
    assert contributions.names == ["a[1]", "<b>", "c"]


def test_columns_that_do_not_fit_are_named(line):
    model, frame = engagement_ml.load(line.models), pandas.read_parquet(line.customers / "part.parquet")
    for columns, message in [
        ({"spend": frame["spend"].map(str)}, '"spend" has text.*trained on numbers'),
        ({"joined": frame["joined"].map(str)}, '"joined" has text.*pandas.to_datetime'),
        ({"plan": 3}, '"plan" has whole numbers.*trained on text'),
        ({"plan": pandas.Series([[1]] * len(frame))}, '"plan"'),
    ]:
        with pytest.raises(engagement_ml.DataError, match=message):
            model.predict(frame.assign(**columns))
    with pytest.raises(engagement_ml.DataError, match='no column "spend".*there is "SPEND"'):
        model.predict(frame.rename(columns={"spend": "SPEND"}))
    with pytest.raises(engagement_ml.DataError, match='2 columns "spend"'):
        model.predict(pandas.concat([frame, frame[["spend"]]], axis=1))
    with pytest.raises(engagement_ml.DataError, match="collect"):
        model.predict(polars.LazyFrame({"spend": [1]}))


def test_models_are_named_as_for_predict(line):
    for location, version in [(line.models, "latest"), (line.models, "v1"), (line.models, "v1/m1"), (line.model_folder, "latest")]:
        assert engagement_ml.load(location, model_version=version).run_id == "m1"
    assert engagement_ml.load(f"file://{line.models}").target == "score"
    for version, kind in [("v2", engagement_ml.ModelError), ("v1/m2", engagement_ml.ModelError), ("../x", engagement_ml.SettingsError)]:
        with pytest.raises(kind):
            engagement_ml.load(line.models, model_version=version)


def edit(path, change):
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def test_what_was_altered_or_rejected_is_refused(line, tmp_path):
    def damaged(damage):
        folder = tmp_path / "model"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(line.model_folder, folder)
        damage(folder)
        with pytest.raises(engagement_ml.ModelError) as error:
            engagement_ml.load(folder)
        return str(error.value)

    def without_hashes(folder):
        edit(folder / "result.json", lambda result: [result.pop(key, None) for key in ("files", "metadata_sha256")])

    def altered(change):
        def damage(folder):
            without_hashes(folder)
            edit(folder / "metadata.json", change)

        return damaged(damage)

    def flip(folder):
        data = bytearray((folder / "model.ubj").read_bytes())
        data[len(data) // 2] ^= 1
        (folder / "model.ubj").write_bytes(data)

    assert "SHA-256 differs" in damaged(flip)
    assert "SHA-256 differs" in damaged(lambda folder: edit(folder / "metadata.json", lambda metadata: metadata.update(seed=1)))
    assert "rejected by its gate" in damaged(lambda folder: edit(folder / "result.json", lambda result: result.update(gate="failed")))
    assert "no result.json" in damaged(lambda folder: (folder / "result.json").unlink())
    assert "format_version 3" in altered(lambda metadata: metadata.update(format_version=3))
    assert "of the kind 'pair'" in altered(lambda metadata: metadata["features"][0].update(kind="pair"))
    assert "has other_column" in altered(lambda metadata: metadata["features"][0].update(other_column="x"))
    assert "does not read" in altered(lambda metadata: metadata["features"][-1].update(sql="SOUNDEX(plan)"))
    assert "golden row 3" in altered(lambda metadata: metadata["golden"]["predictions"].__setitem__(3, 0.5))
    assert "XGBoost 99.0.0" in altered(lambda metadata: metadata.update(xgboost_version="99.0.0"))
    assert "is damaged" in altered(lambda metadata: metadata.pop("golden"))


def test_importing_needs_nothing(tmp_path):
    code = "import sys, engagement_ml; print([name for name in ('numpy', 'pandas', 'polars', 'xgboost', 'boto3', 'pyarrow') if name in sys.modules])"
    source = engagement_ml.__path__[0].removesuffix("/engagement_ml")
    said = subprocess.run([sys.executable, "-B", "-c", code], cwd=source, capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"
