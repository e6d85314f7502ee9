"""The tables that the two SELECT statements read: the sample's, or a user's own, put into S3 and into the catalogue."""

from dataclasses import dataclass
from pathlib import Path

import duckdb

from athena import HIVE, type_in
from catalogue import parquet_table
from machine import Machine

PROJECT = Path(__file__).resolve().parent.parent.parent
SAMPLE = PROJECT / "samples/credit-card"
DATABASE, SOURCE_BUCKET = "source", "source"


@dataclass
class Source:
    """Tables by name, each as a list of files; the two statements; and what the stack's parameters say of them."""

    tables: dict
    training_sql: str
    customers_sql: str
    features: str
    id_column: str
    target_column: str
    actuals_sql: str = ""

    def parameters(self, bucket: str) -> dict:
        """The stack's parameters for it."""
        spec = {"FeatureSpec": f"s3://{bucket}/config/features.toml"} if self.features else {}
        return spec | {"IdColumn": self.id_column, "IdType": self.id_type(), "TargetColumn": self.target_column,
                       "SourceDatabases": DATABASE, "SourceBuckets": SOURCE_BUCKET}

    def id_type(self) -> str:
        """The type of the id in the customers' table, of those that the predictions table may have."""
        for files in self.tables.values():
            for name, kind in columns_of(files):
                if name.lower() == self.id_column.lower():
                    return {"bigint": "bigint", "int": "int", "smallint": "int", "tinyint": "int"}.get(kind, "string")
        return "string"


def columns_of(files: list) -> list:
    """Pairs of name and Hive type of a table's files."""
    return [(name, type_in(HIVE, kind)) for name, kind, *_ in duckdb.sql(f"DESCRIBE SELECT * FROM {_read(files)}").fetchall()]


def _read(files: list) -> str:
    listed = ", ".join("'" + str(file).replace("'", "''") + "'" for file in files)
    return f"read_parquet([{listed}], union_by_name=true)" if str(files[0]).endswith(".parquet") else f"read_csv([{listed}], union_by_name=true)"


def sample() -> Source:
    """The credit card sample. Athena's columns are lower case, so the spec has to be, too."""
    return Source({"training": sorted(SAMPLE.glob("train/*")) + sorted(SAMPLE.glob("test/*")), "customers": sorted(SAMPLE.glob("customers/*"))},
                  f"SELECT * FROM {DATABASE}.training", f"SELECT * FROM {DATABASE}.customers",
                  (SAMPLE / "features.toml").read_text().lower(), "id", "bill_amt1", f"SELECT id, bill_amt1 FROM {DATABASE}.training")


def own(sql: Path, data: Path, features: Path | None, id_column: str, target_column: str) -> Source:
    """A user's tables: one per folder or file below `data`, Parquet or CSV; `training.sql` and `customers.sql` in `sql`, perhaps `actuals.sql`."""
    tables = {}
    for entry in sorted(data.iterdir()):
        files = sorted(file for file in entry.rglob("*") if file.suffix in (".parquet", ".csv")) if entry.is_dir() else [entry] if entry.suffix in (".parquet", ".csv") else []
        if files:
            tables[entry.stem.lower()] = files
    if not tables:
        raise SystemExit(f"{data} has no table: give a folder with a folder or a file (.parquet, .csv) for each table")
    for file in ("training.sql", "customers.sql"):
        if not (sql / file).exists():
            raise SystemExit(f"{sql / file} does not exist: give a folder with training.sql and customers.sql, which read {DATABASE}.{next(iter(tables))} and so on")
    return Source(tables, (sql / "training.sql").read_text(), (sql / "customers.sql").read_text(), features.read_text() if features else "", id_column, target_column,
                  (sql / "actuals.sql").read_text() if (sql / "actuals.sql").exists() else "")


def install(machine: Machine, source: Source) -> None:
    """Puts the tables and the two statements where the pipeline finds them."""
    machine.s3.create_bucket(Bucket=SOURCE_BUCKET)
    for name, files in source.tables.items():
        for number, file in enumerate(files):
            body = file.read_bytes() if file.suffix == ".parquet" else _as_parquet(file, machine.folder / "converted.parquet")
            machine.s3.put_object(Bucket=SOURCE_BUCKET, Key=f"{name}/part-{number:05}.parquet", Body=body)
        machine.catalogue.create(DATABASE, parquet_table(name, columns_of(files), f"s3://{SOURCE_BUCKET}/{name}/"))
    machine.put("config/training.sql", source.training_sql)
    machine.put("config/customers.sql", source.customers_sql)
    if source.features:
        machine.put("config/features.toml", source.features)
    if source.actuals_sql:
        machine.put("config/actuals.sql", source.actuals_sql)


def _as_parquet(file: Path, into: Path) -> bytes:
    duckdb.sql(f"COPY (SELECT * FROM {_read([file])}) TO '{into}' (FORMAT PARQUET)")
    return into.read_bytes()
