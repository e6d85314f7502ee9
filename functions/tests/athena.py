"""Athena for the functions' tests: the pipeline's own stand-in (task-definitions/local), with everything allowed, and a port to
order faults through.

    athena.py <endpoint of S3> <access key> <secret key>

Prints one line of JSON with both addresses and ends when its standard input does. ATHENA_STAND_IN names another folder of the stand-in.
"""

import json
import os
import re
import signal
import sys
import threading
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, os.environ.get("ATHENA_STAND_IN") or str(PROJECT / "task-definitions/local"))

import athena  # noqa: E402
import s3  # noqa: E402
import sqlglot  # noqa: E402
from catalogue import Catalogue  # noqa: E402
from server import Server, ServiceError, json_answer, rpc  # noqa: E402

DATABASE, BUCKET = "engagement", "lake"
WORKGROUP = {"Name": "primary", "WorkGroupConfiguration": {"ResultConfiguration": {"OutputLocation": f"s3://{BUCKET}/tmp/athena/"}}}


class Account:
    """A stack with nothing in it but a workgroup and a database, whose callers may do everything."""

    @staticmethod
    def resources(kind: str) -> dict:
        """The resources of a kind."""
        return {"AWS::Athena::WorkGroup": {"w": {"Properties": WORKGROUP}},
                "AWS::Glue::Database": {"d": {"Properties": {"DatabaseInput": {"Name": DATABASE}}}}}.get(kind, {})

    @staticmethod
    def physical_name(name: str) -> str:
        """A resource's name."""
        return name

    @staticmethod
    def check(*_args, **_context) -> None:
        """Everything is allowed."""


class Orders:
    """What a test orders: faults, queries that hang, and the end of the caller at a query."""

    def __init__(self, service: athena.Athena):
        self.service, self.hanging, self.kill, self.started = service, [], None, 0
        self.run_statement, athena.Statement.run = athena.Statement.run, lambda statement: self.play(statement)

    def play(self, statement):
        """Runs a statement, unless it is one that hangs until it is stopped."""
        while any(pattern in statement.query.text for pattern in self.hanging) and statement.query.state == "RUNNING":
            time.sleep(0.02)
        if statement.query.state != "RUNNING":
            raise athena.Failed("Query cancelled by user")
        return self.run_statement(statement)

    def start(self, caller: str, asked: dict) -> dict:
        """StartQueryExecution; at the query that was ordered the caller is killed, before or after it is started."""
        self.started += 1
        kill = self.kill if self.kill and self.kill["at"] == self.started else None
        if kill and not kill["after"]:
            os.kill(kill["pid"], signal.SIGKILL)
            raise ServiceError("InternalFailure", "the caller is dead", 500)
        answer = self.service.start(caller, asked)
        if kill:
            os.kill(kill["pid"], signal.SIGKILL)
        return answer

    def order(self, request):
        """One order."""
        asked = request.json()
        return json_answer(getattr(self, f"order_{asked.pop('order')}")(**asked))

    def order_fault(self, pattern: str, reason: str, leaves_files: bool) -> dict:
        """The next query with this pattern fails."""
        self.service.faults.append((pattern, reason, leaves_files))
        return {}

    def order_hang(self, patterns: list) -> dict:
        """Queries with one of these texts hang."""
        self.hanging = patterns
        return {}

    def order_kill(self, pid: int, at: int, after: bool) -> dict:
        """The caller's process is killed at its so-manieth query from here on."""
        self.kill, self.started = {"pid": pid, "at": at, "after": after}, 0
        return {}

    def order_run(self, sql: str) -> dict:
        """Runs a statement of the test's own."""
        query = athena.Query("test", sql, DATABASE, CALLER, None, time.time())
        columns, rows = athena.Statement(self.service, query).run()
        return {"columns": columns, "rows": [[None if value is None else str(value) for value in row] for row in rows]}

    def order_queries(self) -> dict:
        """All queries so far, and what sqlglot has against them as Athena's dialect."""
        def problem(text: str):
            # What sqlglot knows by name only: the query inside of UNLOAD is parsed by itself.
            if unload := re.fullmatch(r"UNLOAD \((.*)\) TO '[^']+' WITH \(format = 'PARQUET', compression = 'SNAPPY'\)", text, re.S):
                return problem(unload[1])
            if re.fullmatch(r"SHOW TABLES IN `\w+` '\w+\*'", text):
                return None
            try:
                trees = sqlglot.parse(text, read="athena")
            except sqlglot.errors.SqlglotError as error:
                return str(error)
            unknown = len(trees) != 1 or isinstance(trees[0], sqlglot.exp.Command)
            return "not one statement that is known" if unknown else None
        return {"queries": [{"text": query.text, "state": query.state, "reason": query.reason, "problem": problem(query.text)}
                            for query in self.service.queries.values()]}

    def order_tables(self) -> dict:
        """The tables there are, with their partitions."""
        tables = self.service.catalogue.databases[DATABASE]
        return {name: {"columns": table.columns, "location": table.location, "partitions": sorted(table.partitions.items())} for name, table in tables.items()}


ENDPOINT, CALLER, SECRET = sys.argv[1], sys.argv[2], sys.argv[3]
s3.SECRET = athena.SECRET = SECRET
SERVICE = athena.Athena(Account, Catalogue(Account, Account), ENDPOINT)
ORDERS = Orders(SERVICE)
ATHENA = Server(rpc({"StartQueryExecution": ORDERS.start, "GetQueryExecution": SERVICE.get, "GetQueryResults": SERVICE.results, "StopQueryExecution": SERVICE.stop}))
CONTROL = Server(ORDERS.order)
print(json.dumps({"athena": ATHENA.endpoint, "control": CONTROL.endpoint}), flush=True)
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
signal.pause()
