"""The one schema of rows. Partition columns stand in the path: date=YYYY-MM-DD/hour=HH/sensor=NAME/."""

import pyarrow as pa

_TEXT = pa.string()
_BIG = pa.int64()
_INT = pa.int32()

FIELDS: list[tuple[str, pa.DataType]] = [
    ("ts_ns", _BIG), ("kind", _TEXT), ("first_ns", _BIG), ("last_ns", _BIG),
    ("src_ip", _TEXT), ("dst_ip", _TEXT), ("src_port", _INT), ("dst_port", _INT), ("proto", _INT),
    ("attempts", _BIG), ("interface", _TEXT), ("reply_interface", _TEXT),
    ("vlan_outer", _INT), ("vlan_inner", _INT), ("isn", _BIG), ("odd", pa.bool_()),
    ("flow_id", _BIG), ("community_id", _TEXT), ("service", _TEXT),
    ("conn_state", _TEXT), ("history", _TEXT), ("reason", _TEXT), ("duration_ns", _BIG),
    ("orig_pkts", _BIG), ("resp_pkts", _BIG), ("orig_bytes", _BIG), ("resp_bytes", _BIG),
    ("orig_ip_bytes", _BIG), ("resp_ip_bytes", _BIG),
    ("retransmitted_pkts", _BIG), ("retransmitted_bytes", _BIG), ("missed_bytes", _BIG),
    ("tcp_flags_orig", _INT), ("tcp_flags_resp", _INT),
    ("midstream", pa.bool_()), ("tunnel", pa.bool_()), ("interim", pa.bool_()), ("part", _BIG),
    ("alert", _TEXT), ("severity", _INT), ("distinct", _BIG), ("window_ns", _BIG), ("evidence", _TEXT),
    ("lost", _BIG), ("not_watched_ns", _BIG),
]
SCHEMA = pa.schema([pa.field(name, kind, nullable=name not in ("ts_ns", "kind")) for name, kind in FIELDS])
# Read with every column nullable: a reader must not rely on what a file of another writer promises.
READ_SCHEMA = pa.schema(FIELDS)
PARTITIONS = ("date", "hour", "sensor")
LAYOUT = "date=YYYY-MM-DD/hour=HH/sensor=NAME/FILE.parquet"

_SQL = {_TEXT: "STRING", _BIG: "BIGINT", _INT: "INT", pa.bool_(): "BOOLEAN"}
_CLICKHOUSE = {_TEXT: "String", _BIG: "Int64", _INT: "Int32", pa.bool_(): "Bool"}


def columns_sql() -> str:
    """The columns as a CREATE TABLE has them, in portable words; quoted, as `distinct` is a word of SQL."""
    return ",\n".join(f'    "{name}" {_SQL[kind]}' for name, kind in FIELDS)


def columns_clickhouse() -> str:
    """The structure that ClickHouse reads the files with."""
    return ", ".join(f"`{name}` Nullable({_CLICKHOUSE[kind]})" for name, kind in FIELDS)
