"""chDB: ClickHouse, in this process."""

import os
import shutil
import tempfile

import pyarrow as pa
from chdb import session

from ..errors import FleetError
from ..places import Place, Store
from ..queries import literal
from ..schema import columns_clickhouse
from ..stages import next_stage

# Joins give NULL for what is missing, as SQL says. The partition columns are made from the path, as text:
# ClickHouse would read a sensor named 007 as a number.
SETTINGS = "SETTINGS join_use_nulls = 1, use_hive_partitioning = 0"


def partition_columns() -> str:
    """The partition columns from the path of a file; conditions on them prune files before they are opened."""
    return ", ".join(f"extract(_path, '{name}=([^/]+)') AS {name}" for name in ("date", "hour", "sensor"))


class Engine:
    """A session of chDB in a folder of its own."""

    dialect = "clickhouse"

    def __init__(self, place: Place):
        self.folder = tempfile.mkdtemp(prefix="synledger-fleet-")
        self.session = session.Session(os.path.join(self.folder, "chdb"))
        structure = literal(columns_clickhouse())
        if place.is_s3:
            store = Store.read()
            endpoint = store.endpoint or f"https://s3.{store.region}.amazonaws.com"
            url = f"{endpoint.rstrip('/')}/{place.bucket}/{place.prefix + '/' if place.prefix else ''}*/*/*/*.parquet"
            given = [url, store.key, store.secret, *([store.token] if store.token else []), "Parquet"]
            source = f"s3({', '.join(literal(value) for value in given)}, {structure})"
        else:
            source = f"file({literal(place.text + '/*/*/*/*.parquet')}, 'Parquet', {structure})"
        self._run(f"CREATE VIEW records AS SELECT *, {partition_columns()} FROM {source}", "CSV")

    def _run(self, sql: str, form: str):
        try:
            return self.session.query(sql, form)
        except Exception as error:
            raise FleetError(f"chDB: {error}") from None

    def query(self, sql: str) -> pa.Table:
        """The answer."""
        names = []
        try:
            # ClickHouse computes a common table expression anew wherever it is named.
            while staged := next_stage(sql):
                names.append(f"staged_{staged.name}")
                self._run(f"CREATE TABLE {names[-1]} ENGINE = Memory AS {staged.sql}\n{SETTINGS}", "CSV")
                sql = staged.rest
            return self._rows(sql)
        finally:
            for name in names:
                self._run(f"DROP TABLE IF EXISTS {name}", "CSV")

    def _rows(self, sql: str) -> pa.Table:
        answer = self._run(f"SELECT * FROM (\n{sql.rstrip().rstrip(';')}\n)\n{SETTINGS}", "Arrow")
        data = answer.bytes()
        if not data:
            raise FleetError("chDB: the query gave no table")
        return pa.ipc.open_file(data).read_all()

    def close(self) -> None:
        """Ends the session and removes its folder."""
        self.session.close()
        shutil.rmtree(self.folder, ignore_errors=True)
