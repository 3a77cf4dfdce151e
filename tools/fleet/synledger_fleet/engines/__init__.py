"""Engines that run the SQL. Each is one module with a class `Engine`, imported when it is asked for."""

import decimal
import importlib
from typing import Protocol

import pyarrow as pa

from ..errors import BadInput, FleetError
from ..places import Place

ENGINES = {"datafusion": "on_datafusion", "duckdb": "on_duckdb", "chdb": "on_chdb", "spark": "on_spark"}


class Engine(Protocol):
    """A session with a table `records`."""

    # Whose SQL it runs.
    dialect: str

    def query(self, sql: str) -> pa.Table:
        """The answer to one statement that reads."""

    def close(self) -> None:
        """Ends the session."""


def open_engine(word: str, place: Place, master: str | None = None) -> Engine:
    """The engine of this name on this place."""
    if word not in ENGINES:
        raise BadInput("--engine", word, ", ".join(ENGINES))
    if master and word != "spark":
        raise BadInput("--master", master, f"given with --engine spark alone, not with {word}")
    try:
        module = importlib.import_module(f".{ENGINES[word]}", __name__)
    except ImportError as error:
        raise FleetError(f"--engine {word}: {error.name} is not installed: pip install 'synledger-fleet[{word}]'") from None
    return module.Engine(place, master) if word == "spark" else module.Engine(place)


def rows_of(table: pa.Table) -> list[dict]:
    """Rows in plain Python: engines differ in the types of sums and counts."""
    return [{name: _plain(value) for name, value in row.items()} for row in table.to_pylist()]


def _plain(value: object) -> object:
    if isinstance(value, decimal.Decimal) and value == value.to_integral_value():
        return int(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return value
