#!/usr/bin/env python3
"""Writes sql/athena and sql/clickhouse anew from the portable SQL. Needs sqlglot; a test holds the files against this."""

import pathlib
import re
import sys

import sqlglot

sys.path.append(str(pathlib.Path(__file__).parent))
# What is installed comes first.
from synledger_fleet.queries import QUERIES, source  # noqa: E402
from synledger_fleet.schema import columns_clickhouse, columns_sql  # noqa: E402

FOLDER = pathlib.Path(__file__).parent / "sql"
_HEAD = "-- Made from sql/{name} by generate.py: change that one. Words that begin with param_ are for you to fill in;\n" \
        "-- synledger-fleet QUERY PLACE --show-sql {dialect} prints it with all of them filled in.\n"
_ATHENA_TABLE = """-- Made by generate.py. Athena reads the files where they lie; new partitions are found by MSCK REPAIR TABLE records.
CREATE EXTERNAL TABLE IF NOT EXISTS records (
{columns}
)
PARTITIONED BY (`date` STRING, `hour` STRING, sensor STRING)
STORED AS PARQUET
LOCATION 's3://BUCKET/PREFIX/';
"""
_CLICKHOUSE_TABLE = """-- Made by generate.py. Partition columns come from the path, as text; conditions on them prune files before they are read.
CREATE VIEW records AS
SELECT
    *,
    extract(_path, 'date=([^/]+)') AS date,
    extract(_path, 'hour=([^/]+)') AS hour,
    extract(_path, 'sensor=([^/]+)') AS sensor
FROM s3(
    'https://BUCKET.s3.REGION.amazonaws.com/PREFIX/*/*/*/*.parquet',
    'Parquet',
    '{columns}'
)
SETTINGS use_hive_partitioning = 0;
"""


def bare(sql: str) -> str:
    """Without comments: sqlglot moves them about."""
    return re.sub(r"(?m)^ *--[^\n]*\n", "", sql)


def marked(text: str, portable: str) -> str:
    """With the marks of what is computed once, which are comments, too."""
    for name in re.findall(r"(?m)^ *-- stage: (\w+)$", portable):
        text = re.sub(rf"(\), |WITH ){name} AS \(", rf"\1\n-- stage: {name}\n{name} AS (", text)
    return re.sub(r" +\n", "\n", text)


def generated() -> dict[str, str]:
    """All files by their name below sql/."""
    made = {
        "athena/records.sql": _ATHENA_TABLE.format(columns=columns_sql().replace('"', "`")),
        "clickhouse/records.sql": _CLICKHOUSE_TABLE.format(columns=columns_clickhouse().replace(", ", ",\n     ")),
    }
    for name in QUERIES:
        tree = sqlglot.parse_one(bare(source(name)), read="spark")
        for dialect in ("athena", "clickhouse"):
            text = tree.sql(dialect=dialect, pretty=True)
            if dialect == "clickhouse":
                text = marked(text, source(name))
            made[f"{dialect}/{name}.sql"] = _HEAD.format(name=f"{name}.sql", dialect=dialect) + text + "\n"
    return made


if __name__ == "__main__":
    for path, text in generated().items():
        (FOLDER / path).parent.mkdir(exist_ok=True)
        (FOLDER / path).write_text(text)
        print(path)
