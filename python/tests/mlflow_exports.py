#!/usr/bin/env python3
"""Tries the exports of real models with the real mlflow and onnxruntime (scripts/test-mlflow makes the environment and the models):

    mlflow_exports.py FOLDER

Below FOLDER lies for each table what real_tables.py keeps: models/, input/ and output/. mlflow.pyfunc must give the bits that `predict` wrote, without
engagement_ml installed; so must `mlflow models predict` and a version in a local registry, and Spark where pyspark is installed. How far onnxruntime is
apart is printed.
"""

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import numpy
import onnxruntime
import pandas

PROGRAM = Path(os.environ["ENGAGEMENT_ML_PROGRAMS"]) / "train"
#: Of the predictions' range.
MOST_APART = 3e-6


def export(table: Path) -> dict:
    """Exports the table's model in both forms, or says why not."""
    made = {}
    for form, target in (("mlflow", table / "mlflow"), ("onnx", table / "model.onnx")):
        command = [PROGRAM, "models", "export", "--models", table / "models", f"--{form}", target]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode == 0:
            made[form] = target
        elif done.returncode == 6:
            print(f"{table.name}: {form} refuses: {json.loads(done.stdout.splitlines()[-1])['error_message']}")
        else:
            sys.exit(f"{table.name}: {done.stdout}{done.stderr}")
    return made


def fitted(frame: pandas.DataFrame, model) -> pandas.DataFrame:
    """Whole numbers as floats where the signature says so, which MLflow leaves to its callers."""
    types = {column.name: column.type.name for column in model.metadata.get_input_schema().inputs}
    double = [name for name, kind in types.items() if kind == "double" and frame[name].dtype.kind in "iu"]
    return frame.astype(dict.fromkeys(double, "float64"))


def must_equal(what: str, found, written) -> None:
    found = numpy.asarray(found, dtype=numpy.float64).reshape(-1)
    if found.shape != written.shape or not (found == written).all():
        sys.exit(f"{what}: {found.shape} predictions, {(found != written).sum() if found.shape == written.shape else 'as many'} differ")


def predict_by_command(folder: Path, frame: pandas.DataFrame) -> list:
    """`mlflow models predict` on JSON."""
    rows = json.loads(frame.to_json(orient="split", date_format="iso", double_precision=15, index=False))
    exact = [[None if value != value else value for value in row] for row in frame.astype(object).where(frame.notna(), None).to_numpy().tolist()]
    for place, name in enumerate(frame.columns):
        if frame[name].dtype.kind != "M":
            for row, values in zip(rows["data"], exact):
                row[place] = values[place]
    (folder.parent / "rows.json").write_text(json.dumps({"dataframe_split": rows}))
    command = [sys.executable, "-m", "mlflow", "models", "predict", "-m", folder, "-i", folder.parent / "rows.json", "-t", "json"]
    command += ["-o", folder.parent / "predictions.json", "--env-manager", "local"]
    subprocess.run(command, check=True, env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"})
    return json.loads((folder.parent / "predictions.json").read_text())["predictions"]


def predict_by_spark(uri: str, frame: pandas.DataFrame, model) -> list:
    from pyspark.sql import SparkSession

    # The workers are to have the same packages.
    os.environ["PYSPARK_PYTHON"] = sys.executable
    spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
    names = [column.name for column in model.metadata.get_input_schema().inputs]
    rows = spark.createDataFrame(frame.assign(place=range(len(frame))))
    score = mlflow.pyfunc.spark_udf(spark, uri, result_type="double", env_manager="local")
    found = rows.withColumn("prediction", score(*names)).orderBy("place").select("prediction").collect()
    spark.stop()
    return [row.prediction for row in found]


def check(table: Path, is_first: bool) -> None:
    frame = pandas.read_parquet(table / "input")
    (part,) = table.glob("output/predictions/*/*.parquet")
    written = pandas.read_parquet(part)["prediction"].to_numpy()
    made = export(table)
    if "mlflow" in made:
        start = time.monotonic()
        model = mlflow.pyfunc.load_model(str(made["mlflow"]))
        loaded = time.monotonic() - start
        given = fitted(frame, model)
        must_equal(f"{table.name}: mlflow.pyfunc", model.predict(given), written)
        example = model.input_example
        assert example is not None and numpy.isfinite(numpy.asarray(model.predict(example))).all()
        print(f"{table.name}: mlflow.pyfunc gives the same bits for {len(written):,} rows (loaded in {loaded:.2f} s)", flush=True)
    if "mlflow" in made and is_first:
        few = given.head(500)
        must_equal(f"{table.name}: mlflow models predict", predict_by_command(made["mlflow"], few[model.metadata.get_input_schema().input_names()]), written[:500])
        print(f"{table.name}: mlflow models predict gives the same bits for 500 rows of JSON")
        mlflow.set_tracking_uri(f"sqlite:///{table}/registry.db")
        mlflow.set_registry_uri(f"sqlite:///{table}/registry.db")
        version = mlflow.register_model(made["mlflow"].as_uri(), table.name)
        registered = mlflow.pyfunc.load_model(f"models:/{table.name}/{version.version}")
        must_equal(f"{table.name}: the registered model", registered.predict(given), written)
        print(f"{table.name}: registered as version {version.version} of a local registry, the same bits")
        if importlib.util.find_spec("pyspark"):
            must_equal(f"{table.name}: spark_udf", predict_by_spark(f"models:/{table.name}/{version.version}", few, model), written[:500])
            print(f"{table.name}: spark_udf gives the same bits for 500 rows")
        else:
            print("pyspark is not installed: spark_udf was not tried (SPARK=1)")
    if "onnx" in made:
        # The module that the MLflow folder carries makes the arrays.
        from engagement_ml import load

        session = onnxruntime.InferenceSession(str(made["onnx"]), providers=["CPUExecutionProvider"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        of_one_thread = onnxruntime.InferenceSession(str(made["onnx"]), options, providers=["CPUExecutionProvider"])
        inputs = load(table / "models").onnx_inputs(frame)
        start = time.monotonic()
        (found,) = session.run(None, inputs)
        took = time.monotonic() - start
        (in_order,) = of_one_thread.run(None, inputs)
        same = (in_order[:, 0] == written).mean()
        apart = numpy.abs(found[:, 0] - written)
        spread = written.max() - written.min()
        print(
            f"{table.name}: onnxruntime is at most {apart.max() / spread:.1e} of the predictions' range apart, {(apart == 0).mean():.0%} of {len(written):,} rows "
            f"equal to the bit, {same:.2%} on one thread ({made['onnx'].stat().st_size / 2**20:.1f} MiB, {len(written) / took:,.0f} rows a second)",
            flush=True,
        )
        if apart.max() / spread > MOST_APART:
            sys.exit(f"{table.name}: onnxruntime is further apart than {MOST_APART}")
    if not made:
        sys.exit(f"{table.name}: nothing could be exported")


def main() -> None:
    if importlib.util.find_spec("engagement_ml"):
        sys.exit("engagement_ml is installed here: the folder's own code would not be tried")
    tables = sorted(folder for folder in Path(sys.argv[1]).iterdir() if (folder / "models").is_dir())
    for place, table in enumerate(tables):
        check(table.resolve(), place == 0)


if __name__ == "__main__":
    main()
