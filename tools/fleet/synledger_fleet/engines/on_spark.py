"""Spark: a cluster by --master spark://HOST:PORT, else local threads."""

import os

import pyarrow as pa
from pyspark.sql import SparkSession
from pyspark.sql import types

from ..errors import FleetError
from ..places import Place, Store
from ..schema import FIELDS, PARTITIONS

_TYPES = {pa.string(): types.StringType(), pa.int64(): types.LongType(), pa.int32(): types.IntegerType(),
          pa.bool_(): types.BooleanType()}


class Engine:
    """A session of Spark."""

    dialect = "portable"

    def __init__(self, place: Place, master: str | None):
        builder = (SparkSession.builder.appName("synledger-fleet").master(master or "local[*]")
                   # A sensor may be named 007.
                   .config("spark.sql.sources.partitionColumnTypeInference.enabled", "false")
                   .config("spark.sql.session.timeZone", "UTC")
                   .config("spark.sql.execution.arrow.pyspark.enabled", "true")
                   .config("spark.ui.enabled", "false")
                   .config("spark.ui.showConsoleProgress", "false")
                   .config("spark.sql.shuffle.partitions", os.environ.get("SYNLEDGER_FLEET_SHUFFLE", "200")))
        if host := os.environ.get("SPARK_LOCAL_IP"):
            builder = builder.config("spark.driver.host", host).config("spark.driver.bindAddress", host)
        if place.is_s3:
            builder = self._reaching_s3(builder)
        names = [(name, _TYPES[kind]) for name, kind in FIELDS] + [(name, types.StringType()) for name in PARTITIONS]
        schema = types.StructType([types.StructField(name, kind) for name, kind in names])
        try:
            self.session = builder.getOrCreate()
            self.session.sparkContext.setLogLevel("ERROR")
            path = place.text.replace("s3://", "s3a://")
            self.session.read.schema(schema).parquet(path).createOrReplaceTempView("records")
        except Exception as error:
            raise FleetError(f"Spark ({master or 'local'}): {error}") from None

    @staticmethod
    def _reaching_s3(builder):
        store = Store.read()
        settings = {"access.key": store.key, "secret.key": store.secret, "session.token": store.token,
                    "endpoint": store.endpoint, "path.style.access": "true" if store.endpoint else None}
        for name, value in settings.items():
            if value:
                builder = builder.config(f"spark.hadoop.fs.s3a.{name}", value)
        return builder

    def query(self, sql: str) -> pa.Table:
        """The answer."""
        try:
            return self.session.sql(sql).toArrow()
        except Exception as error:
            raise FleetError(f"Spark: {error}") from None

    def close(self) -> None:
        """Ends the session, not the cluster."""
        self.session.stop()
