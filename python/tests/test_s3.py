"""Stores on S3: the same models and predictions, by way of boto3 and a real server."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import boto3
import polars
import pytest

import engagement_ml

sys.path.append(str(Path(__file__).resolve().parents[2] / "task-definitions/local"))

from ports import free_ports  # noqa: E402

SERVER = os.environ.get("ENGAGEMENT_ML_S3_SERVER")
KEY, SECRET = "AKIAENGAGEMENT", "secret-of-the-tests"
START_SECONDS = 60


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    """SeaweedFS, as the project's other tests start it, and a bucket `tests`."""
    if not SERVER:
        pytest.skip("ENGAGEMENT_ML_S3_SERVER is not set (scripts/test-python sets it)")
    folder = tmp_path_factory.mktemp("s3")
    (folder / "data").mkdir()
    identity = {"name": "admin", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    ports = free_ports(8)
    names = ["s3.port", "s3.port.grpc", "master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc"]
    options = [f"-{name}={port}" for name, port in zip(names, ports)]
    options += [f"-dir={folder}/data", f"-s3.config={folder}/s3.json", f"-filer.localSocket={folder}/f.sock", f"-s3.localSocket={folder}/s.sock"]
    options += ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3", "-master.telemetry=false", "-master.electionTimeout=1s", "-volume.max=10000"]
    options += ["-master.heartbeatInterval=100ms", "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.autoCreateBucket=false"]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([SERVER, "-logtostderr=true", "server", *options], stdout=log, stderr=log, cwd=folder, env={"NO_PROXY": "*"})
    os.environ.update(
        AWS_ENDPOINT_URL_S3=f"http://127.0.0.1:{ports[0]}", AWS_ACCESS_KEY_ID=KEY, AWS_SECRET_ACCESS_KEY=SECRET, AWS_REGION="us-east-1", AWS_DEFAULT_REGION="us-east-1"
    )  # fmt: skip
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                client = boto3.client("s3")
                client.create_bucket(Bucket="tests")
                client.put_object(Bucket="tests", Key="ready", Body=b"x")
                break
            except Exception as error:
                if server.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((folder / "log").read_text()[-2000:]) from error
                time.sleep(0.2)
        yield client
    finally:
        server.terminate()
        server.wait()
        for name in ("AWS_ENDPOINT_URL_S3", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_DEFAULT_REGION"):
            os.environ.pop(name, None)


def test_models_and_predictions_on_s3(line, endpoint):
    for file in line.models.rglob("*"):
        if file.is_file():
            endpoint.upload_file(str(file), "tests", f"a/models/{file.relative_to(line.models)}")
    engagement_ml.predict(input=line.customers, models="s3://tests/a/models", output="s3://tests/a/output")
    written = engagement_ml.latest("s3://tests/a/output/", frames="polars")
    here = engagement_ml.latest(line.output, frames="polars")
    assert (written["prediction"] == here["prediction"]).all()
    frame = polars.read_parquet(line.customers / "part.parquet")
    for location in ("s3://tests/a/models", "s3://tests/a/models/engagement/v1/m1"):
        assert (engagement_ml.load(location).predict(frame) == written["prediction"].to_numpy()).all()


def test_a_model_on_s3_is_exported(line, endpoint, tmp_path):
    for file in line.models.rglob("*"):
        if file.is_file():
            endpoint.upload_file(str(file), "tests", f"b/models/{file.relative_to(line.models)}")
    for place, models in (("here", line.models), ("there", "s3://tests/b/models")):
        command = [engagement_ml.program("train"), "models", "export", "v1", "--models", models, "--mlflow", tmp_path / place]
        ended = subprocess.run(command, capture_output=True, text=True)
        # This table has columns that MLflow has no type for, which the model has to be read for.
        assert ended.returncode == 6 and '\\"clock\\" (times of day)' in ended.stdout and '\\"length\\" (durations)' in ended.stdout, ended.stdout
    assert not list(tmp_path.iterdir())


def test_what_is_wrong_on_s3_is_said(endpoint, monkeypatch):
    with pytest.raises(engagement_ml.DataError, match="no complete predictions"):
        engagement_ml.latest("s3://tests/nothing")
    with pytest.raises(engagement_ml.ModelError, match="no model"):
        engagement_ml.load("s3://tests/nothing")
    with pytest.raises(engagement_ml.SettingsError, match="NoSuchBucket"):
        engagement_ml.load("s3://no-such-bucket/models")
    with pytest.raises(engagement_ml.SettingsError, match="names no bucket"):
        engagement_ml.load("s3://")
    with pytest.raises(engagement_ml.SettingsError, match="locations are"):
        engagement_ml.load("gs://bucket/models")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(engagement_ml.SettingsError):
        engagement_ml.load("s3://tests/a/models")
