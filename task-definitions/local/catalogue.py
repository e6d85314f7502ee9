"""The Glue data catalogue: tables and partitions in memory, and the calls that the state machine makes of it."""

import copy
import threading
from dataclasses import dataclass, field

from cloudformation import ACCOUNT, REGION, Stack
from iam import Authorizer
from server import Server, ServiceError, rpc

PARQUET = {"InputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
           "OutputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
           "SerdeInfo": {"SerializationLibrary": "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"}}


@dataclass
class Table:
    """A table: what Glue calls its TableInput, its version, and its partitions by their values."""

    database: str
    input: dict
    version: int = 0
    partitions: dict = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its name."""
        return self.input["Name"]

    @property
    def columns(self) -> list:
        """Pairs of name and Hive type."""
        return [(column["Name"], column["Type"]) for column in self.input["StorageDescriptor"]["Columns"]]

    @property
    def keys(self) -> list:
        """The partition columns, as pairs."""
        return [(column["Name"], column["Type"]) for column in self.input.get("PartitionKeys", [])]

    @property
    def location(self) -> str:
        """Where its objects lie."""
        return self.input["StorageDescriptor"]["Location"]


def parquet_table(name: str, columns: list, location: str, keys: list = ()) -> dict:
    """A TableInput over Parquet."""
    described = [{"Name": column.lower(), "Type": kind} for column, kind in columns]
    return {"Name": name, "TableType": "EXTERNAL_TABLE", "Parameters": {"EXTERNAL": "TRUE"},
            "PartitionKeys": [{"Name": column.lower(), "Type": kind} for column, kind in keys],
            "StorageDescriptor": {"Columns": described, "Location": location} | copy.deepcopy(PARQUET)}


class Catalogue:
    """Databases and their tables. A call asks for a permission on catalogue, database and table, as Glue does."""

    def __init__(self, stack: Stack, authorizer: Authorizer):
        self.authorizer, self.lock = authorizer, threading.RLock()
        self.databases = {resource["Properties"]["DatabaseInput"]["Name"]: {} for resource in stack.resources("AWS::Glue::Database").values()}
        for name, resource in stack.resources("AWS::Glue::Table").items():
            properties = resource["Properties"]
            self.databases.setdefault(properties["DatabaseName"], {})[stack.physical_name(name)] = Table(properties["DatabaseName"], properties["TableInput"])
        self.server = Server(rpc({"GetTable": self.get_table, "CreatePartition": self.create_partition, "UpdateTable": self.update_table,
                                  "GetPartition": self.get_partition}))
        self.endpoint = self.server.endpoint

    def allowed(self, caller: str, action: str, database: str, table: str | None = None) -> None:
        """Asks for one permission on everything that Glue asks it on."""
        arn = f"arn:aws:glue:{REGION}:{ACCOUNT}"
        for resource in [f"{arn}:catalog", f"{arn}:database/{database}"] + ([f"{arn}:table/{database}/{table}"] if table else []):
            self.authorizer.check(caller, action, resource)

    def find(self, database: str, name: str) -> Table:
        """A table, or Glue's error."""
        with self.lock:
            table = self.databases.get(database, {}).get(name.lower())
        if table is None:
            raise ServiceError("EntityNotFoundException", f"Table {name} not found.")
        return table

    def create(self, database: str, table_input: dict) -> None:
        """A new table."""
        with self.lock:
            tables = self.databases.setdefault(database, {})
            if table_input["Name"] in tables:
                raise ServiceError("AlreadyExistsException", "Table already exists.")
            tables[table_input["Name"]] = Table(database, table_input)

    def get_table(self, caller: str, asked: dict) -> dict:
        """GetTable."""
        self.allowed(caller, "glue:GetTable", asked["DatabaseName"], asked["Name"])
        table = self.find(asked["DatabaseName"], asked["Name"])
        return {"Table": copy.deepcopy(table.input) | {"DatabaseName": table.database, "VersionId": str(table.version), "CreateTime": 0, "CatalogId": ACCOUNT}}

    def update_table(self, caller: str, asked: dict) -> dict:
        """UpdateTable, refused where the table has another version than the caller saw."""
        name = asked["TableInput"]["Name"]
        self.allowed(caller, "glue:UpdateTable", asked["DatabaseName"], name)
        with self.lock:
            table = self.find(asked["DatabaseName"], name)
            if asked.get("VersionId", str(table.version)) != str(table.version):
                raise ServiceError("ConcurrentModificationException", "Update table failed due to concurrent modifications.")
            table.input, table.version = copy.deepcopy(asked["TableInput"]), table.version + 1
        return {}

    def create_partition(self, caller: str, asked: dict) -> dict:
        """CreatePartition."""
        self.allowed(caller, "glue:CreatePartition", asked["DatabaseName"], asked["TableName"])
        values = tuple(asked["PartitionInput"]["Values"])
        with self.lock:
            table = self.find(asked["DatabaseName"], asked["TableName"])
            if values in table.partitions:
                raise ServiceError("AlreadyExistsException", "Partition already exists.")
            table.partitions[values] = asked["PartitionInput"]["StorageDescriptor"]["Location"]
        return {}

    def get_partition(self, caller: str, asked: dict) -> dict:
        """GetPartition."""
        self.allowed(caller, "glue:GetPartition", asked["DatabaseName"], asked["TableName"])
        table = self.find(asked["DatabaseName"], asked["TableName"])
        values = tuple(asked["PartitionValues"])
        if values not in table.partitions:
            raise ServiceError("EntityNotFoundException", "Cannot find partition.")
        return {"Partition": {"Values": list(values), "StorageDescriptor": table.input["StorageDescriptor"] | {"Location": table.partitions[values]}}}
