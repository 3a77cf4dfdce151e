"""The queries: their SQL, parameters and defaults."""

import dataclasses
import functools
import importlib.resources
import pathlib
import re

from .errors import BadInput

_INCLUDE = re.compile(r"^( *)-- include: (\w+)$", re.MULTILINE)
_PARAMETER = re.compile(r"\bparam_(\w+)\b")
# Fragments that queries include.
FRAGMENTS = ("period", "attempts", "tried_places", "episodes", "books")
DIALECTS = ("portable", "athena", "clickhouse")


@dataclasses.dataclass(frozen=True)
class Query:
    """A query and what a person may set."""

    name: str
    title: str
    # Parameters with their defaults; times in nanoseconds.
    defaults: dict[str, int | str] = dataclasses.field(default_factory=dict)


_WINDOW_60S = 60 * 10**9
_HOUR_NS = 3600 * 10**9
QUERIES = {query.name: query for query in (
    Query("top_syn", "sources by attempts: failed connections, ports, hosts"),
    Query("port_scans", "sources that tried many ports of one destination within a window",
          {"window_ns": _WINDOW_60S, "at_least": 4, "per_sensor": 0}),
    Query("sweeps", "sources that tried one port of many destinations within a window",
          {"window_ns": _WINDOW_60S, "at_least": 25, "per_sensor": 0}),
    Query("slow_scans", "sources nearly all of whose connections fail, over days",
          {"window_ns": 72 * _HOUR_NS, "at_least": 10, "per_sensor": 0, "span_ns": _HOUR_NS, "failed_percent": 83}),
    Query("distributed", "destinations of whose ports many sources each try a few",
          {"window_ns": _WINDOW_60S, "at_least": 20, "per_sensor": 0, "sources": 3}),
    Query("connections", "connections of one host, newest first", {"host": ""}),
    Query("first_seen", "sources, destinations or services seen for the first time in the period",
          {"of": "source", "new_since_ns": 0}),
    Query("coverage", "what each sensor's books cover, lost and did not watch",
          {"gap_ns": 10**9, "from_ns": 0, "to_ns": 0}),
    Query("coverage_gaps", "each time that a sensor was not watching or lost something",
          {"gap_ns": 10**9, "from_ns": 0, "to_ns": 0}),
    Query("activity", "attempts of each sensor over time", {"step_ns": _HOUR_NS}),
    Query("proofs", "sources that completed a handshake"),
)}


def sql_folder():
    """Where the SQL lies: in the package, or beside it in a working tree."""
    inside = importlib.resources.files("synledger_fleet") / "sql"
    return inside if inside.is_dir() else pathlib.Path(__file__).parent.parent / "sql"


@functools.cache
def source(name: str) -> str:
    """The portable SQL of a query, with its fragments put in."""
    return _expanded((sql_folder() / f"{name}.sql").read_text())


def _expanded(text: str) -> str:
    def fragment(match: re.Match) -> str:
        inner = _expanded((sql_folder() / f"{match[2]}.sql").read_text())
        return "\n".join(match[1] + line if line else line for line in inner.rstrip("\n").split("\n"))
    return _INCLUDE.sub(fragment, text)


@functools.cache
def dialect_source(name: str, dialect: str) -> str:
    """The SQL of a query in a dialect."""
    if dialect == "portable":
        return source(name)
    return (sql_folder() / dialect / f"{name}.sql").read_text()


def literal(value: int | str) -> str:
    """A value as SQL writes it in every dialect."""
    if isinstance(value, int):
        return str(value)
    # A backslash is an escape in ClickHouse and Spark, and none elsewhere: no parameter needs one.
    if "\\" in value or not value.isprintable():
        raise BadInput("a value in a query", value, "text without backslashes and control characters")
    return "'" + value.replace("'", "''") + "'"


def filled(sql: str, parameters: dict[str, int | str]) -> str:
    """The SQL with its parameters as literals."""
    return _PARAMETER.sub(lambda match: literal(parameters[match[1]]), sql)
