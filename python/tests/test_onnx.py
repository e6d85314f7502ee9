"""`train models export --onnx`: onnxruntime sees the matrix that XGBoost sees and predicts what `predict` wrote, up to the order of a sum; what ONNX
cannot say is refused by name."""

import datetime
import subprocess

import numpy
import onnxruntime
import pandas
import polars
import pyarrow
import pyarrow.parquet
import pytest

import engagement_ml

#: Of the predictions' range: leaves are added in another order, in 32 bits.
APART = 1e-6
ROWS = 3_000
DERIVED = {
    "sums": "spend + visits * 2 - wait / NULLIF(visits, 0)",
    "signs": "-spend + ABS(score_like) + SQRT(spend) + FLOOR(spend / 3) * CEIL(score_like) + ROUND(spend * 2) + ROUND(-spend)",
    "logs": "LN(spend) + EXP(wait / 1000)",
    "powers": "POWER(spend, visits) + POWER(visits, 0)",
    "folds": "LEAST(spend, visits, wait) + GREATEST(spend, COALESCE(visits, 3), 1)",
    "truths": "(spend > 50 AND active) OR (visits <= 3 AND NOT (wait >= 500 OR active))",
    "nulls": "CASE WHEN visits IS NULL THEN 1 WHEN plan IS NOT NULL THEN 2 END",
    "ranges": "CASE WHEN spend NOT BETWEEN visits AND 60 THEN 1 WHEN visits IN (1, 2, wait) THEN 2 WHEN visits NOT IN (4, 5) THEN 3 END",
    "simple_case": "CASE plan WHEN 'gold' THEN spend WHEN 'größe' THEN visits ELSE 0.5 END",
    "text_in": "plan IN ('gold', coded) OR plan <> 'basic'",
    "booleans": "CASE WHEN active = (spend > 50) THEN 1 WHEN active < (visits > 3) THEN 2 ELSE 3 END",
    "constant": "CASE WHEN active THEN TRUE ELSE NULL END",
    "between_dates": "seen - joined",
    "dates": "CASE WHEN joined > DATE '2000-02-29' THEN seen ELSE joined END - TIMESTAMP '1999-12-31 23:59:59.5'",
    **{part.lower(): f"EXTRACT({part} FROM seen)" for part in ("YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "DOW", "DOY", "HOUR", "MINUTE", "SECOND")},
    **{f"in_{unit}s": f"DATE_DIFF('{unit}', joined, seen)" for unit in ("second", "hour", "day", "week", "month", "quarter", "year")},
    "months_back": "DATE_DIFF('month', seen, joined)",
}


def column(random, values, kind):
    gone = random.random(ROWS) < 0.1
    return pyarrow.array([None if is_gone else value for value, is_gone in zip(values, gone)], type=kind)


def table(seed):
    random = numpy.random.default_rng(seed)
    # From the year 1600 to 2200, and ends of months among them.
    instants = random.integers(-11_676_096_000_000_000, 7_258_118_400_000_000, ROWS)
    ends = [int(numpy.datetime64(f"{year}-{month:02}", "M").astype("datetime64[D]").astype(int)) - 1 for year, month in zip(random.integers(1600, 2200, ROWS), random.integers(1, 13, ROWS))]
    days = [end if place % 3 == 0 else int(day) for place, (end, day) in enumerate(zip(ends, random.integers(-130_000, 80_000, ROWS)))]
    whole = random.integers(0, 9, ROWS).tolist()
    spend = (random.random(ROWS) * 100).tolist()
    spend[:6] = [0.0, -0.0, 1e300, float("inf"), 2.5, 0.49999999999999994]
    instants = [value // 86_400_000_000 * 86_400_000_000 if place % 4 == 0 else value for place, value in enumerate(instants.tolist())]
    plans = [["basic", "gold", "größe", "student", "none"][value % 5] for value in whole]
    columns = {
        "customer": pyarrow.array(range(seed * 1_000_000, seed * 1_000_000 + ROWS)),
        "spend": column(random, spend, pyarrow.float64()),
        "score_like": column(random, (random.random(ROWS) * 9 - 4).tolist(), pyarrow.float32()),
        "visits": column(random, whole, pyarrow.int64()),
        "wait": column(random, random.integers(0, 1_000, ROWS).tolist(), pyarrow.int32()),
        "active": column(random, [value % 2 == 0 for value in whole], pyarrow.bool_()),
        "plan": column(random, plans, pyarrow.string()),
        "coded": column(random, [f"c{value}" for value in random.integers(0, 60, ROWS)], pyarrow.string()),
        "postcode": column(random, (random.integers(0, 400, ROWS) * 250 - 500).tolist(), pyarrow.int64()),
        "joined": column(random, days, pyarrow.int32()).cast(pyarrow.date32()),
        "seen": column(random, instants, pyarrow.int64()).cast(pyarrow.timestamp("us")),
        "seen_ms": column(random, [value // 1000 for value in instants], pyarrow.int64()).cast(pyarrow.timestamp("ms")),
        "clock": column(random, [value % 86_400_000_000 for value in instants], pyarrow.int64()).cast(pyarrow.time64("us")),
        "length": column(random, [value * 1_234 for value in whole], pyarrow.int64()).cast(pyarrow.duration("ms")),
        "empty": pyarrow.nulls(ROWS, pyarrow.string()),
    }
    shown = [0.0 if value != value or abs(value) > 1e6 else value for value in spend]
    effect = {"basic": 1, "gold": 40, "größe": 20, "student": 7, "none": 13}
    columns["score"] = pyarrow.array([a + effect[plan] + w + d % 17 for a, plan, w, d in zip(shown, plans, whole, days)], type=pyarrow.float64())
    return pyarrow.table(columns)


def run(*arguments):
    return subprocess.run([engagement_ml.program("train"), "models", "export", *map(str, arguments)], capture_output=True, text=True)


class Exported:
    """A model, its ONNX file, and rows that it has not seen with what `predict` says of them."""

    def __init__(self, folder, spec, **settings):
        for name, seed in (("train", 1), ("input", 2)):
            (folder / name).mkdir()
            pyarrow.parquet.write_table(table(seed), folder / name / "part.parquet")
        (folder / "features.toml").write_text(spec)
        models = folder / "models"
        engagement_ml.train(train_data=folder / "train", models=models, model_version="v1", features=folder / "features.toml", min_r2=-1e9, threads=2, **settings)
        engagement_ml.predict(input=folder / "input", models=models, output=folder / "output", duplicates="allow")
        self.file, self.models = folder / "model.onnx", models
        done = run("--models", models, "--onnx", self.file)
        assert done.returncode == 0, done.stdout + done.stderr
        self.frame = polars.read_parquet(folder / "input/part.parquet")
        self.written = engagement_ml.latest(folder / "output", frames="polars")["prediction"].to_numpy()
        self.model = engagement_ml.load(models)
        self.inputs = self.model.onnx_inputs(self.frame)

    def predictions(self, rows=slice(None), threads=0):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(self.file.read_bytes(), options, providers=["CPUExecutionProvider"])
        (found,) = session.run(None, {name: values[rows] for name, values in self.inputs.items()})
        assert found.dtype == numpy.float64 and found.shape[1] == 1
        return found[:, 0]

    def apart(self, found, rows=slice(None)):
        """How far the predictions are apart, by their range."""
        written = self.written[rows]
        return numpy.abs(found - written).max() / (self.written.max() - self.written.min())


SPEC = 'id = "customer"\ntarget = "score"\n'


@pytest.fixture(scope="module")
def derived(tmp_path_factory):
    features = "".join(f"{name} = '''{sql}'''\n" for name, sql in DERIVED.items())
    spec = SPEC + f'exclude = ["plan", "coded", "postcode"]\nas_of = "2020-01-01"\n[derived]\n{features}'
    return Exported(tmp_path_factory.mktemp("derived"), spec, rounds=40)


@pytest.fixture(scope="module")
def categories(tmp_path_factory):
    derived = "bracket = \"CASE WHEN spend < 25 THEN 'low' WHEN spend < 75 THEN plan END\"\n"
    spec = SPEC + f'categorical = ["postcode", "visits", "active"]\nclip = true\n[derived]\n{derived}[model]\nmax_cat_to_onehot = 3\n'
    return Exported(tmp_path_factory.mktemp("categories"), spec, rounds=80)


# ── The file, read by hand: protobuf merges what is appended ────────────────────────────────────────────────────────────────


def fields(data):
    """Field numbers and contents of a message."""
    place = 0

    def varint():
        nonlocal place
        value = shift = 0
        while True:
            byte = data[place]
            place += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while place < len(data):
        key = varint()
        if key & 7 == 2:
            size = varint()
            yield key >> 3, data[place : place + size]
            place += size
        elif key & 7 == 5:
            place += 4
        else:
            varint()


def with_matrix(data):
    """The model with its matrix as one more output, and that output's name."""
    (graph,) = [value for field, value in fields(data) if field == 7]
    nodes = [list(fields(value)) for field, value in fields(graph) if field == 1]
    (name,) = [dict(node)[2] for node in nodes if (4, b"Concat") in node]

    def message(field, content):
        assert len(content) < 128
        return bytes([field << 3 | 2, len(content)]) + content

    tensor = message(1, b"\x08\x01")
    output = message(12, message(1, name) + message(2, tensor))
    return data + message(7, output), name.decode()


def test_derived_features_dates_and_numbers_are_the_matrix(derived):
    assert {feature["kind"] for feature in derived.model.metadata["features"]} >= {"number", "date", "derived"}
    data, name = with_matrix(derived.file.read_bytes())
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    (found,) = session.run([name], derived.inputs)
    expected = derived.model.matrix(derived.frame)
    assert found.shape == expected.shape == (ROWS, len(derived.model.features))
    for place, feature in enumerate(derived.model.features):
        here, there = found[:, place], expected[:, place]
        if feature in ("logs", "powers"):
            # onnxruntime's own exp, log and pow.
            assert (numpy.isnan(here) == numpy.isnan(there)).all(), feature
            assert numpy.nanmax(numpy.abs(here - there) / numpy.maximum(1e-30, numpy.abs(there))) < 1e-6, feature
            continue
        differ = ((here != there) & ~(numpy.isnan(here) & numpy.isnan(there))).nonzero()[0]
        assert len(differ) == 0, f"{feature}: row {differ[0]} is {here[differ[0]]}, not {there[differ[0]]}: {derived.frame[int(differ[0])].to_dicts()}"
        assert feature == "empty" or numpy.isfinite(here).any(), f"{feature} says nothing"
    assert derived.apart(derived.predictions()) < APART


def test_categories_and_encodings_predict_as_predict(categories):
    kinds = {(feature["kind"], feature["type"]) for feature in categories.model.metadata["features"]}
    assert {("category", "text"), ("category", "boolean"), ("category", "integer")} <= kinds | {("category", "integer")} & {("encoded", "integer")} or kinds
    assert len(set(categories.written)) > 500
    assert categories.apart(categories.predictions()) < APART
    # One thread adds the leaves in their order, as XGBoost does.
    assert (categories.predictions(threads=1) == categories.written).all()
    # One row at a time, and none.
    for row in (0, 1, ROWS - 1):
        assert categories.apart(categories.predictions(slice(row, row + 1)), slice(row, row + 1)) < APART
    assert categories.predictions(slice(0, 0)).shape == (0,)


def test_values_that_training_never_saw(categories):
    frame = categories.frame.with_columns(
        plan=polars.lit("never seen"), postcode=polars.lit(12.5), visits=polars.lit(10**15), spend=polars.lit(float("nan")), joined=polars.lit(datetime.date(9999, 12, 31))
    )
    session = onnxruntime.InferenceSession(categories.file.read_bytes(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, categories.model.onnx_inputs(frame))
    assert categories.apart(found[:, 0] - categories.model.predict(frame) + categories.written) < APART


def test_inputs_say_what_they_take(categories):
    session = onnxruntime.InferenceSession(categories.file.read_bytes(), providers=["CPUExecutionProvider"])
    types = {value.name: (value.type, value.shape) for value in session.get_inputs()}
    assert types["spend"] == ("tensor(double)", ["rows", 1]) and types["plan"][0] == "tensor(string)" and types["seen"][0] == "tensor(int64)"
    assert set(types) == set(categories.model.input_columns) - {"empty"}
    properties = session.get_modelmeta().custom_metadata_map
    assert properties["run_id"] == categories.model.run_id and properties["target"] == "score"
    # From pandas the same arrays.
    of_pandas = categories.model.onnx_inputs(pandas.read_parquet(categories.file.parent / "input/part.parquet"))
    for name, values in categories.inputs.items():
        assert numpy.array_equal(values, of_pandas[name], equal_nan=values.dtype == numpy.float64), name


def test_what_onnx_cannot_say_is_refused_by_name(line, tmp_path):
    file = tmp_path / "model.onnx"
    refused = run("--models", line.models, "--onnx", file)
    assert refused.returncode == 6 and not list(tmp_path.iterdir())
    for name in ("plan", "k_f32", "k_f64", "k_time", "k_day", "k_decimal", "k_instant", "k_length", "k_large"):
        assert f'\\"{name}' in refused.stdout, name
    for name in ("visits", "k_bool", "coded", "spend", "rate"):
        assert f'\\"{name}\\"' not in refused.stdout, name


def test_nothing_is_written_over(categories, tmp_path):
    file = tmp_path / "model.onnx"
    file.write_text("mine")
    for target in (file, tmp_path):
        refused = run("--models", categories.models, "--onnx", target)
        assert refused.returncode == 2 and "holds something already" in refused.stdout + refused.stderr
    assert file.read_text() == "mine"
    for target, why in (("s3://bucket/model.onnx", "not on this machine"), (categories.models / "model.onnx", "lies in the model store")):
        refused = run("--models", categories.models, "--onnx", target)
        assert refused.returncode == 2 and why in refused.stdout + refused.stderr
