"""Held-out R² and seconds of Python's XGBoost, LightGBM and CatBoost with their defaults, kept in a JSON file per split.

    baselines.py [--seed N] [--threads N] [TABLE …]
"""

import argparse
import json
import time

import tables


def as_categories(train, test):
    """Text as pandas categories with the levels of the training rows, as XGBoost and LightGBM take it."""
    import pandas

    train, test = train.copy(), test.copy()
    for column in text_columns(train):
        levels = pandas.Index(train[column].dropna().unique()).sort_values()
        for frame in (train, test):
            frame[column] = pandas.Categorical(frame[column].where(frame[column].isin(levels)), categories=levels)
    return train, test


def text_columns(frame):
    return [name for name in frame if frame[name].dtype in ("str", "object")]


def xgboost_model(threads, **params):
    from xgboost import XGBRegressor

    return XGBRegressor(enable_categorical=True, n_jobs=threads, **params)


def lightgbm_model(threads):
    from lightgbm import LGBMRegressor

    return LGBMRegressor(n_jobs=threads, verbose=-1)


def predictions(library, train, target, test, threads):
    if library == "catboost":
        from catboost import CatBoostRegressor

        text = text_columns(train)
        train, test = train.copy(), test.copy()
        for frame in (train, test):
            frame[text] = frame[text].astype(object).fillna("missing")
        model = CatBoostRegressor(verbose=0, thread_count=threads, allow_writing_files=False)
        return model.fit(train, target, cat_features=text).predict(test)
    train, test = as_categories(train, test)
    if library == "lightgbm":
        # LightGBM refuses some characters in names.
        train.columns = test.columns = [f"f{index}" for index in range(train.shape[1])]
        model = lightgbm_model(threads)
    elif library == "xgboost":
        model = xgboost_model(threads)
    else:
        model = xgboost_model(threads, n_estimators=200, max_depth=6, learning_rate=0.1)
    return model.fit(train, target).predict(test)


LIBRARIES = ("xgboost", "xgboost-200", "lightgbm", "catboost")


def measure(name, seed, threads):
    """The scores of a table, from the file where they were measured before."""
    from sklearn.metrics import r2_score

    path = tables.split_folder(name, seed) / "baselines.json"
    if path.exists():
        return json.loads(path.read_text())
    (train, train_target), (test, test_target) = tables.load(name, seed)
    scores = {}
    for library in LIBRARIES:
        start = time.perf_counter()
        predicted = predictions(library, train, train_target, test, threads)
        scores[library] = {"r2": r2_score(test_target, predicted), "seconds": time.perf_counter() - start}
        print(name, seed, library, scores[library], flush=True)
    path.write_text(json.dumps(scores))
    return scores


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("tables", nargs="*", default=list(tables.MAKERS))
    arguments = arguments.parse_args()
    for name in arguments.tables:
        measure(name, arguments.seed, arguments.threads)


if __name__ == "__main__":
    main()
