"""Running the programs, reading what they wrote, and the classes of their exit codes."""

import shutil

import polars
import pandas
import pytest

import engagement_ml


def test_results_and_the_newest_predictions(line):
    assert line.trained["gate"] == "passed" and line.trained["run_id"] == "m1"
    assert line.predicted["rows_predicted"] == 700
    as_polars, as_pandas = (engagement_ml.latest(line.output, frames=library) for library in ("polars", "pandas"))
    assert as_polars.columns == list(as_pandas.columns) == ["customer", "prediction", "model_version", "plan"]
    assert (as_polars["prediction"].to_numpy() == as_pandas["prediction"].to_numpy()).all()
    assert isinstance(engagement_ml.latest(line.output), (pandas.DataFrame, polars.DataFrame))


def test_predictions_as_csv_keep_every_bit(line, tmp_path):
    engagement_ml.predict(input=line.customers, models=line.models, output=tmp_path, format="csv")
    expected = engagement_ml.latest(line.output, frames="polars")["prediction"].to_numpy()
    for library in ("polars", "pandas"):
        frame = engagement_ml.latest(tmp_path, frames=library)
        assert (frame["prediction"].to_numpy() == expected).all()
        assert frame["customer"][0] == "2000000"


def test_predictions_that_were_altered_are_refused(line, tmp_path):
    output = tmp_path / "output"
    with pytest.raises(engagement_ml.DataError, match="no complete predictions"):
        engagement_ml.latest(output)
    shutil.copytree(line.output, output)
    (part,) = output.glob("predictions/run_id=p1/*")
    part.write_bytes(part.read_bytes() + b"x")
    with pytest.raises(engagement_ml.DataError, match="SHA-256 differs"):
        engagement_ml.latest(output)
    part.unlink()
    with pytest.raises(engagement_ml.DataError, match="does not exist"):
        engagement_ml.latest(output)


def test_exit_codes_are_classes(line, tmp_path):
    data = {"train_data": line.folder / "train", "models": tmp_path, "model_version": "v1", "features": line.folder / "features.toml", "rounds": 3}
    with pytest.raises(engagement_ml.GateFailed) as failed:
        engagement_ml.train(**data, min_r2=0.9999)
    assert failed.value.exit_code == 3 and failed.value.result["gate"] == "failed" and failed.value.log
    with pytest.raises(engagement_ml.SettingsError, match="no-such-flag"):
        engagement_ml.train(**data, no_such_flag=1)
    with pytest.raises(engagement_ml.SettingsError):
        engagement_ml.train(**data, param={"max_depht": 3})
    with pytest.raises(engagement_ml.DataError, match="nothing"):
        engagement_ml.train(**{**data, "target": "nothing"})
    with pytest.raises(engagement_ml.ModelError):
        engagement_ml.predict(input=line.customers, models=tmp_path, output=tmp_path / "output")
    assert issubclass(engagement_ml.GateFailed, engagement_ml.EngagementError)


def test_the_log_comes_line_by_line(line, tmp_path):
    lines = []
    engagement_ml.predict(input=line.customers, models=line.models, output=tmp_path, on_log=lines.append)
    assert lines and all(text.startswith("{") for text in lines)
