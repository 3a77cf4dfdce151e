"""DataFusion, in this process."""

import datafusion
import pyarrow as pa
from datafusion.object_store import AmazonS3

from ..errors import FleetError
from ..places import Place, Store
from ..schema import PARTITIONS, READ_SCHEMA
from ..stages import next_stage


def _empty(schema: pa.Schema) -> list[pa.RecordBatch]:
    return [pa.RecordBatch.from_pylist([], schema=schema)]


class Engine:
    """A session of DataFusion."""

    dialect = "portable"

    def __init__(self, place: Place):
        self.context = datafusion.SessionContext()
        if place.is_s3:
            store = Store.read()
            if store.token:
                raise FleetError("s3: DataFusion's Python package takes no session token: use --engine chdb or spark")
            endpoint = store.endpoint
            bucket = AmazonS3(bucket_name=place.bucket, region=store.region, access_key_id=store.key,
                              secret_access_key=store.secret, endpoint=endpoint,
                              allow_http=bool(endpoint and endpoint.startswith("http://")))
            self.context.register_object_store("s3://", bucket, place.bucket)
        try:
            self.context.register_listing_table(
                "records", place.text + "/", table_partition_cols=[(name, pa.string()) for name in PARTITIONS],
                file_extension=".parquet", schema=READ_SCHEMA)
        except Exception as error:
            raise FleetError(f"DataFusion cannot read {place.text}: {error}") from None
        self.only_read = (datafusion.SQLOptions().with_allow_ddl(False).with_allow_dml(False)
                          .with_allow_statements(False))

    def query(self, sql: str) -> pa.Table:
        """The answer."""
        names = []
        try:
            # DataFusion computes a common table expression anew wherever it is named.
            while staged := next_stage(sql):
                table = self._run(staged.sql)
                names.append(f"staged_{staged.name}")
                self.context.register_record_batches(names[-1], [table.to_batches() or _empty(table.schema)])
                sql = staged.rest
            return self._run(sql)
        except Exception as error:
            raise FleetError(f"DataFusion: {error}") from None
        finally:
            for name in names:
                self.context.deregister_table(name)

    def _run(self, sql: str) -> pa.Table:
        return self.context.sql_with_options(sql, self.only_read).to_arrow_table()

    def close(self) -> None:
        """Nothing is kept open."""
