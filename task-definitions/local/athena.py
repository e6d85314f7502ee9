"""Athena's statements on this machine: parsed as Athena's dialect, executed by DuckDB on the objects in S3, as the caller.

What is played: SELECT, UNLOAD, external tables and their partitions, result reuse, client tokens, the workgroup's scan limit
and output location. Iceberg, INSERT, CTAS, MERGE and Lake Formation are not: the pipeline uses none of them.
"""

import glob
import io
import re
import struct
import sysconfig
import threading
import time
import uuid
from dataclasses import dataclass, field

import duckdb
import pyarrow
import sqlglot
import xxhash
from sqlglot import exp

from catalogue import Catalogue, Table, parquet_table
from cloudformation import ACCOUNT, REGION, Stack
from iam import Denied
from s3 import SECRET, client_of
from server import Server, ServiceError, rpc

DIALECT = "athena"
# DuckDB's names of types in Hive's notation (of tables) and in Trino's (of results).
HIVE = {"VARCHAR": "string", "DOUBLE": "double", "BIGINT": "bigint", "INTEGER": "int", "SMALLINT": "smallint", "TINYINT": "tinyint", "FLOAT": "float",
        "BOOLEAN": "boolean", "DATE": "date", "TIMESTAMP": "timestamp", "TIMESTAMP WITH TIME ZONE": "timestamp", "BLOB": "binary", "HUGEINT": "decimal(38,0)",
        "UBIGINT": "decimal(20,0)", "UINTEGER": "bigint"}
TRINO = HIVE | {"VARCHAR": "varchar", "INTEGER": "integer", "BLOB": "varbinary", "TIMESTAMP WITH TIME ZONE": "timestamp with time zone"}


class Failed(Exception):
    """A query that ends as FAILED, with Athena's reason."""


@dataclass
class Query:
    """A query execution."""

    identity: str
    text: str
    database: str
    caller: str
    token: str | None
    started: float
    state: str = "RUNNING"
    reason: str = ""
    columns: list = field(default_factory=list)
    rows: list = field(default_factory=list)
    scanned: int = 0
    reused: bool = False
    has_header: bool = True


def quoted(text: str) -> str:
    """A text as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


def type_in(names: dict, kind: str) -> str:
    """DuckDB's type by the names of another."""
    return names.get(kind, kind.lower())


class Athena:
    """StartQueryExecution, GetQueryExecution, GetQueryResults, StopQueryExecution. `faults` are failures of coming queries, for tests:
    triples of a pattern of the text, a reason, and whether the statement leaves its files behind."""

    def __init__(self, stack: Stack, catalogue: Catalogue, s3_endpoint: str):
        self.stack, self.catalogue, self.authorizer, self.s3_endpoint = stack, catalogue, catalogue.authorizer, s3_endpoint
        self.workgroups = {resource["Properties"]["Name"]: resource["Properties"]["WorkGroupConfiguration"]
                           for resource in stack.resources("AWS::Athena::WorkGroup").values()}
        self.queries, self.faults, self.engines, self.lock = {}, [], {}, threading.RLock()
        self.server = Server(rpc({"StartQueryExecution": self.start, "GetQueryExecution": self.get, "GetQueryResults": self.results,
                                  "StopQueryExecution": self.stop}))
        self.endpoint = self.server.endpoint

    # The API

    def start(self, caller: str, asked: dict) -> dict:
        """Starts a query, or gives the one that had the same client token."""
        workgroup = asked.get("WorkGroup", "primary")
        self._allowed(caller, "athena:StartQueryExecution", workgroup)
        if workgroup not in self.workgroups:
            raise ServiceError("InvalidRequestException", f"WorkGroup {workgroup} is not found.")
        token, text = asked.get("ClientRequestToken"), asked["QueryString"]
        database = asked.get("QueryExecutionContext", {}).get("Database", "default")
        if token is not None and not 32 <= len(token) <= 128:
            raise ServiceError("InvalidRequestException", "ClientRequestToken must have 32 to 128 characters")
        with self.lock:
            known = next((query for query in self.queries.values() if token and query.token == token), None)
            if known and known.text != text:
                raise ServiceError("InvalidRequestException", "Idempotent parameters do not match")
            if known:
                return {"QueryExecutionId": known.identity}
            query = Query(str(uuid.uuid4()), text, database, caller, token, time.time())
            reuse = asked.get("ResultReuseConfiguration", {}).get("ResultReuseByAgeConfiguration", {})
            if reuse.get("Enabled") and re.match(r"\s*(SELECT|WITH)\b", text, re.I):
                self._reuse(query, 60 * reuse.get("MaxAgeInMinutes", 60))
            self.queries[query.identity] = query
        if not query.reused:
            threading.Thread(target=self._work, args=(query, self.workgroups[workgroup]), daemon=True).start()
        return {"QueryExecutionId": query.identity}

    def _allowed(self, caller: str, action: str, workgroup: str) -> None:
        self.authorizer.check(caller, action, f"arn:aws:athena:{REGION}:{ACCOUNT}:workgroup/{workgroup}")

    def _reuse(self, query: Query, seconds: float) -> None:
        for old in self.queries.values():
            if (old.text, old.database, old.state) == (query.text, query.database, "SUCCEEDED") and time.time() - old.started < seconds:
                query.columns, query.rows, query.reused, query.state = old.columns, old.rows, True, "SUCCEEDED"

    def _query(self, caller: str, action: str, asked: dict) -> Query:
        query = self.queries.get(asked["QueryExecutionId"])
        if query is None:
            raise ServiceError("InvalidRequestException", f"QueryExecution {asked['QueryExecutionId']} was not found")
        self._allowed(caller, action, next(iter(self.workgroups)))
        return query

    def get(self, caller: str, asked: dict) -> dict:
        """How a query stands."""
        query = self._query(caller, "athena:GetQueryExecution", asked)
        status = {"State": query.state, "SubmissionDateTime": query.started}
        if query.state == "FAILED":
            status |= {"StateChangeReason": query.reason, "AthenaError": {"ErrorCategory": 2, "ErrorType": 1, "Retryable": False, "ErrorMessage": query.reason}}
        return {"QueryExecution": {"QueryExecutionId": query.identity, "Query": query.text, "Status": status, "Statistics": {
            "DataScannedInBytes": query.scanned, "ResultReuseInformation": {"ReusedPreviousResult": query.reused}}}}

    def results(self, caller: str, asked: dict) -> dict:
        """A page of a query's rows; the first row of a SELECT is its header."""
        query = self._query(caller, "athena:GetQueryResults", asked)
        if query.state != "SUCCEEDED":
            raise ServiceError("InvalidRequestException", f"Query did not finish successfully. Final query state: {query.state}")
        # Athena reads what it has written, as the caller.
        location = next(iter(self.workgroups.values()))["ResultConfiguration"]["OutputLocation"].removeprefix("s3://").rstrip("/")
        self.authorizer.check(caller, "s3:GetObject", f"arn:aws:s3:::{location}/{query.identity}.csv")
        rows = ([[name for name, _ in query.columns]] if query.has_header else []) + query.rows
        first, limit = int(asked.get("NextToken") or 0), min(asked.get("MaxResults", 1000), 1000)
        page = [{"Data": [{} if value is None else {"VarCharValue": _text(value)} for value in row]} for row in rows[first:first + limit]]
        more = {"NextToken": str(first + limit)} if first + limit < len(rows) else {}
        info = [{"Name": name, "Type": kind.split("(")[0], "CatalogName": "hive", "Nullable": "UNKNOWN"} for name, kind in query.columns]
        return {"UpdateCount": 0, "ResultSet": {"Rows": page, "ResultSetMetadata": {"ColumnInfo": info}}} | more

    def stop(self, caller: str, asked: dict) -> dict:
        """Cancels a query."""
        query = self._query(caller, "athena:StopQueryExecution", asked)
        if query.state == "RUNNING":
            query.state = "CANCELLED"
        return {}

    # The work

    def _work(self, query: Query, workgroup: dict) -> None:
        try:
            fault = self._fault(query.text)
            if fault and not fault[2]:
                raise Failed(fault[1])
            query.columns, query.rows = Statement(self, query).run()
            limit = int(workgroup.get("BytesScannedCutoffPerQuery", 0))
            if limit and query.scanned > limit:
                raise Failed("Bytes scanned limit was exceeded")
            if fault:
                raise Failed(fault[1])
            self._keep_result(query, workgroup)
        except Denied as denied:
            self._end(query, f"PERMISSION_DENIED: {denied}")
        except Failed as failed:
            self._end(query, str(failed))
        except ServiceError as error:
            self._end(query, f"{error.name}: {error.message}")
        except sqlglot.errors.SqlglotError as error:
            self._end(query, f"SYNTAX_ERROR: line 1:1: {error}")
        except Exception as error:  # noqa: BLE001: whatever DuckDB says is the query's failure
            self._end(query, f"GENERIC_USER_ERROR: {error}")
        else:
            self._end(query, "")

    def _end(self, query: Query, reason: str) -> None:
        query.reason = reason
        if query.state == "RUNNING":
            query.state = "FAILED" if reason else "SUCCEEDED"

    def _fault(self, text: str):
        with self.lock:
            for fault in self.faults:
                if re.search(fault[0], text, re.S):
                    self.faults.remove(fault)
                    return fault
        return None

    def _keep_result(self, query: Query, workgroup: dict) -> None:
        location = workgroup["ResultConfiguration"]["OutputLocation"]
        bucket, _, prefix = location.removeprefix("s3://").partition("/")
        client = client_of(self.s3_endpoint, query.caller)
        client.get_bucket_location(Bucket=bucket)
        body = io.StringIO("\n".join(",".join(_text(value) for value in row) for row in query.rows[:1000]))
        client.put_object(Bucket=bucket, Key=f"{prefix.rstrip('/')}/{query.identity}.csv", Body=body.getvalue().encode())

    def engine(self, role: str) -> duckdb.DuckDBPyConnection:
        """A DuckDB that reads S3 as a role. It may also put a table of this machine into the catalogue."""
        with self.lock:
            if role not in self.engines:
                self.engines[role] = _engine(self.s3_endpoint, role)
            return self.engines[role].cursor()


def _text(value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def _each(function, kind):
    def column(values):
        return pyarrow.array([None if value is None else function(value) for value in values.to_pylist()], kind)
    return column


def _engine(endpoint: str, role: str) -> duckdb.DuckDBPyConnection:
    extension, = glob.glob(f"{sysconfig.get_paths()['purelib']}/duckdb_extension_httpfs/**/*.duckdb_extension", recursive=True)
    engine = duckdb.connect(config={"threads": 2, "allow_unsigned_extensions": "false"})
    engine.execute(f"LOAD '{extension}'")
    for name, value in {"endpoint": endpoint.removeprefix("http://"), "url_style": "path", "access_key_id": role, "secret_access_key": SECRET, "region": REGION}.items():
        engine.execute(f"SET GLOBAL s3_{name}={quoted(value)}")
    engine.execute("SET GLOBAL s3_use_ssl=false; SET GLOBAL enable_object_cache=false; SET GLOBAL TimeZone='UTC'")
    # By whole columns: called row by row they take a millisecond each while other threads run.
    engine.create_function("xxhash64", _each(lambda value: struct.pack(">Q", xxhash.xxh64_intdigest(value)), pyarrow.binary()), ["BLOB"], "BLOB", type="arrow")
    engine.create_function("from_big_endian_64", _each(lambda value: struct.unpack(">q", value)[0], pyarrow.int64()), ["BLOB"], "BIGINT", type="arrow")
    # Trino's functions that DuckDB has by other names. A bucket counts how many of the bounds are at or below the value.
    engine.execute("""
        CREATE MACRO to_utf8(x) AS encode(x);
        CREATE MACRO is_infinite(x) AS isinf(x);
        CREATE MACRO is_finite(x) AS isfinite(x);
        CREATE MACRO width_bucket(x, bounds) AS len(list_filter(bounds, lambda bound: bound <= x));
        """)
    return engine


class Statement:
    """One statement of a query, executed."""

    def __init__(self, athena: Athena, query: Query):
        self.athena, self.query, self.catalogue = athena, query, athena.catalogue
        self.engine = athena.engine(query.caller)
        self.client = client_of(athena.s3_endpoint, query.caller)

    def run(self) -> tuple:
        """The columns, as pairs of name and type, and the rows."""
        text = self.query.text.strip().rstrip(";").strip()
        # Whatever a statement names: its database, the one called default, and the list of them (user guide, access to the Glue data catalogue).
        for database in (self.query.database, "default"):
            self.catalogue.allowed(self.query.caller, "glue:GetDatabase", database)
        self.catalogue.allowed(self.query.caller, "glue:GetDatabases", self.query.database)
        for pattern, method in DDL:
            if found := re.match(pattern, text, re.I | re.S):
                self.query.has_header = False
                return method(self, found)
        tree = sqlglot.parse_one(text, read=DIALECT)
        if isinstance(tree, exp.Create):
            self.query.has_header = False
            return self._create(tree)
        if not isinstance(tree, exp.Query):
            raise Failed(f"NOT_SUPPORTED: a statement that is not played here: {text[:80]}")
        return self._select(tree)

    def _select(self, tree) -> tuple:
        sql = self.translated(tree)
        described = self.engine.execute(f"DESCRIBE {sql}").fetchall()
        rows = self.engine.execute(sql).fetchall()
        return [(name, type_in(TRINO, kind)) for name, kind, *_ in described], [list(row) for row in rows]

    def translated(self, tree) -> str:
        """A query in DuckDB's SQL, with every table of the catalogue replaced by a read of its objects."""
        tree = tree.copy()
        for table in list(tree.find_all(exp.Table)):
            if not table.db and self._is_local(table):
                continue
            database = table.db or self.query.database
            alias = table.alias or table.name
            table.replace(sqlglot.parse_one(f'SELECT * FROM ({self.relation(database, table.name)}) AS "{alias}"', read="duckdb").find(exp.Subquery))
        return tree.sql("duckdb")

    @staticmethod
    def _is_local(table) -> bool:
        """Whether the name is that of a WITH around it."""
        node = table
        while node is not None:
            if any(cte.alias.lower() == table.name.lower() for cte in getattr(node, "ctes", [])):
                return True
            node = node.parent
        return False

    def relation(self, database: str, name: str) -> str:
        """A table of the catalogue as a query. A column's name is lower case, as everywhere in Athena."""
        self.catalogue.allowed(self.query.caller, "glue:GetDatabase", database)
        self.catalogue.allowed(self.query.caller, "glue:GetTable", database, name)
        try:
            table = self.catalogue.find(database, name)
        except ServiceError as error:
            raise Failed(f"TABLE_NOT_FOUND: line 1:15: Table 'awsdatacatalog.{database}.{name}' does not exist") from error
        parts = [((), table.location)]
        if table.keys:
            # Which of the three it takes depends on the condition.
            for action in ("glue:GetPartition", "glue:GetPartitions", "glue:BatchGetPartition"):
                self.catalogue.allowed(self.query.caller, action, database, name)
            parts = list(table.partitions.items())
        reads = [self._read(table, values, files) for values, location in parts if (files := self.objects(location))]
        if not reads:
            columns = ", ".join(f'CAST(NULL AS {_duck(kind)}) AS "{column.lower()}"' for column, kind in table.columns + table.keys)
            return f"SELECT {columns} WHERE false"
        return " UNION ALL ".join(reads)

    def _read(self, table: Table, values: tuple, files: list) -> str:
        source = f"read_parquet([{', '.join(map(quoted, files))}], union_by_name=true, hive_partitioning=false)"
        present = {row[0].lower(): row[0] for row in self.engine.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()}
        columns = [f'CAST("{present[column.lower()]}" AS {_duck(kind)}) AS "{column.lower()}"' if column.lower() in present
                   else f'CAST(NULL AS {_duck(kind)}) AS "{column.lower()}"' for column, kind in table.columns]
        columns += [f'CAST({quoted(value)} AS {_duck(kind)}) AS "{key.lower()}"' for (key, kind), value in zip(table.keys, values, strict=True)]
        return f"SELECT {', '.join(columns)} FROM {source}"

    def objects(self, location: str) -> list:
        """The objects that Athena reads at a location: all whose name begins with neither `_` nor `.`."""
        bucket, _, prefix = location.removeprefix("s3://").partition("/")
        found = []
        for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix.rstrip("/") + "/"):
            for item in page.get("Contents", []):
                if item["Size"] and not item["Key"].rsplit("/", 1)[1].startswith(("_", ".")):
                    found.append(f"s3://{bucket}/{item['Key']}")
                    self.query.scanned += item["Size"]
        return found

    def unload(self, found) -> tuple:
        """UNLOAD (query) TO 'location' WITH (…): one object without an extension, into a folder that must be empty."""
        location, codec = found[2], re.search(r"compression\s*=\s*'(\w+)'", found[3], re.I)
        if self.objects(location):
            raise Failed(f"HIVE_PATH_ALREADY_EXISTS: Target directory for table already exists: {location}")
        sql = self.translated(sqlglot.parse_one(found[1], read=DIALECT))
        name = f"{time.strftime('%Y%m%d_%H%M%S')}_00000_{uuid.uuid4().hex[:5]}_{uuid.uuid4()}"
        count = self.engine.execute(f"COPY ({sql}) TO {quoted(location.rstrip('/') + '/' + name)} (FORMAT PARQUET, ROW_GROUP_SIZE 4096, COMPRESSION {codec[1] if codec else 'gzip'})").fetchone()[0]
        return [("rows", "bigint")], [[count]]

    def _create(self, tree) -> tuple:
        if not isinstance(tree.this, exp.Schema) or tree.find(exp.LocationProperty) is None:
            raise Failed("NOT_SUPPORTED: only external tables are made here")
        target = tree.this.this
        database, name = target.db or self.query.database, target.name
        self.catalogue.allowed(self.query.caller, "glue:GetDatabase", database)
        self.catalogue.allowed(self.query.caller, "glue:GetTable", database, name)
        self.catalogue.allowed(self.query.caller, "glue:GetTables", database, name)
        self.catalogue.allowed(self.query.caller, "glue:CreateTable", database, name)
        partitioned = tree.find(exp.PartitionedByProperty)
        columns = [(column.name, _hive(column)) for column in tree.this.expressions]
        keys = [(column.name, _hive(column)) for column in partitioned.this.expressions] if partitioned else []
        try:
            self.catalogue.create(database, parquet_table(name.lower(), columns, tree.find(exp.LocationProperty).this.name, keys))
        except ServiceError as error:
            if not tree.args.get("exists"):
                raise Failed(f"AlreadyExistsException: Table {name} already exists") from error
        return [], []

    def _named(self, text: str) -> tuple:
        parts = [part.strip("`\"") for part in text.split(".")]
        return (parts[0], parts[1].lower()) if len(parts) == 2 else (self.query.database, parts[0].lower())

    def drop(self, found) -> tuple:
        """DROP TABLE: the catalogue's entry, never its objects."""
        database, name = self._named(found[2])
        for action in ("glue:GetDatabase", "glue:GetTable", "glue:DeleteTable"):
            self.catalogue.allowed(self.query.caller, action, database, None if action == "glue:GetDatabase" else name)
        with self.catalogue.lock:
            if self.catalogue.databases.get(database, {}).pop(name, None) is None and not found[1]:
                raise Failed(f"EntityNotFoundException: Table {name} not found")
        return [], []

    def add_partition(self, found) -> tuple:
        """ALTER TABLE … ADD PARTITION."""
        database, name = self._named(found[1])
        self.catalogue.allowed(self.query.caller, "glue:GetDatabase", database)
        self.catalogue.allowed(self.query.caller, "glue:GetTable", database, name)
        self.catalogue.allowed(self.query.caller, "glue:GetPartition", database, name)
        self.catalogue.allowed(self.query.caller, "glue:BatchCreatePartition", database, name)
        table, given = self.catalogue.find(database, name), dict(re.findall(r"[`\"]?(\w+)[`\"]?\s*=\s*'([^']*)'", found[3]))
        values = tuple(given[key] for key, _ in table.keys)
        with self.catalogue.lock:
            if values in table.partitions and not found[2]:
                raise Failed("AlreadyExistsException: Partition already exists.")
            table.partitions.setdefault(values, found[4])
        return [], []

    def add_columns(self, found) -> tuple:
        """ALTER TABLE … ADD COLUMNS."""
        database, name = self._named(found[1])
        self.catalogue.allowed(self.query.caller, "glue:GetDatabase", database)
        self.catalogue.allowed(self.query.caller, "glue:GetTable", database, name)
        self.catalogue.allowed(self.query.caller, "glue:UpdateTable", database, name)
        tree = sqlglot.parse_one(f"CREATE EXTERNAL TABLE x ({found[2]}) LOCATION 's3://x/'", read="hive")
        table = self.catalogue.find(database, name)
        with self.catalogue.lock:
            known = {column for column, _ in table.columns}
            for column in tree.this.expressions:
                if column.name.lower() in known:
                    raise Failed(f"Duplicate column name {column.name}")
                table.input["StorageDescriptor"]["Columns"].append({"Name": column.name.lower(), "Type": _hive(column)})
            table.version += 1
        return [], []

    def show_tables(self, found) -> tuple:
        """SHOW TABLES IN database 'pattern'."""
        database, pattern = (found[1] or self.query.database).strip("`\""), (found[2] or "*")
        self.catalogue.allowed(self.query.caller, "glue:GetDatabase", database)
        self.catalogue.allowed(self.query.caller, "glue:GetTables", database, "*")
        names = sorted(self.catalogue.databases.get(database, {}))
        expression = ".*".join(map(re.escape, pattern.split("*")))
        return [("tab_name", "string")], [[name] for name in names if re.fullmatch(expression, name)]


def _duck(kind: str) -> str:
    return exp.DataType.build(kind, dialect="hive").sql("duckdb")


def _hive(column) -> str:
    return column.args["kind"].sql("hive").lower()


DDL = [
    (r"^UNLOAD\s*\((.*)\)\s*TO\s*'([^']+)'\s*WITH\s*\((.*)\)$", Statement.unload),
    (r"^DROP\s+TABLE\s+(IF\s+EXISTS\s+)?([\w.`\"]+)$", Statement.drop),
    (r"^ALTER\s+TABLE\s+([\w.`\"]+)\s+ADD\s+(IF\s+NOT\s+EXISTS\s+)?PARTITION\s*\((.*?)\)\s*LOCATION\s*'([^']+)'$", Statement.add_partition),
    (r"^ALTER\s+TABLE\s+([\w.`\"]+)\s+ADD\s+COLUMNS\s*\((.*)\)$", Statement.add_columns),
    (r"^SHOW\s+TABLES(?:\s+IN\s+([\w`\"]+))?(?:\s+'([^']*)')?$", Statement.show_tables),
]
