"""Ends with an error unless two folders of parts hold the same predictions for the same ids, bit for bit.

usage: same.py FOLDER FOLDER
"""

import sys

import polars as pl

# An id of a CSV is text, as it stands there; Python makes a number of it.
left, right = (pl.read_parquet(f"{folder}/*.parquet").with_columns(pl.first().cast(pl.String)) for folder in sys.argv[1:])
if not left.equals(right):
    raise SystemExit(f"the predictions differ: {left.shape} {right.shape}\n{left.head()}\n{right.head()}")
