"""DuckDB, in this process."""

import duckdb
import pyarrow as pa

from ..errors import FleetError
from ..places import Place, Store
from ..queries import literal
from ..schema import LAYOUT, PARTITIONS


class Engine:
    """A connection of DuckDB."""

    dialect = "portable"

    def __init__(self, place: Place):
        self.connection = duckdb.connect(":memory:")
        types = ", ".join(f"'{name}': VARCHAR" for name in PARTITIONS)
        pattern = literal(f"{place.text}/*/*/*/*.parquet")
        try:
            if place.is_s3:
                self._reach_s3()
            self.connection.execute(f"CREATE VIEW records AS SELECT * FROM read_parquet({pattern}, "
                                    f"hive_partitioning = true, hive_types = {{{types}}})")
        except duckdb.Error as error:
            raise FleetError(f"DuckDB cannot read {place.text} ({LAYOUT}): {error}") from None

    def _reach_s3(self) -> None:
        store = Store.read()
        endpoint = (store.endpoint or "").split("://")[-1]
        fields = {"KEY_ID": store.key, "SECRET": store.secret, "REGION": store.region, "SESSION_TOKEN": store.token}
        if endpoint:
            fields |= {"ENDPOINT": endpoint, "URL_STYLE": "path"}
        listed = ", ".join(f"{name} {literal(value)}" for name, value in fields.items() if value)
        tls = "false" if (store.endpoint or "").startswith("http://") else "true"
        self.connection.execute("INSTALL httpfs; LOAD httpfs;")
        self.connection.execute(f"CREATE SECRET fleet (TYPE s3, {listed}, USE_SSL {tls})")

    def query(self, sql: str) -> pa.Table:
        """The answer."""
        try:
            return self.connection.sql(sql).to_arrow_table()
        except duckdb.Error as error:
            raise FleetError(f"DuckDB: {error}") from None

    def close(self) -> None:
        """Closes it."""
        self.connection.close()
