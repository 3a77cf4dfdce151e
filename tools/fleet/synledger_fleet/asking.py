"""A question to an engine: parameters, progress, the answer's rows."""

import dataclasses

from . import queries
from .engines import Engine, open_engine, rows_of
from .period import FOREVER_NS, Period
from .places import check_s3, describe, read_place
from .progress import Progress

# Books are stored when they are closed: up to so much later than the time they cover.
_BOOKS_LATER_NS = 2 * 3600 * 10**9


@dataclasses.dataclass
class Answer:
    """Rows of an answer."""

    columns: list[str]
    rows: list[dict]
    # There are more than the limit.
    cut: bool


class Fleet:
    """The files of many sensors under one engine."""

    def __init__(self, place: str, engine: str = "datafusion", master: str | None = None):
        self.place = read_place(place)
        if self.place.is_s3:
            check_s3(self.place)
        self.word = engine
        with Progress(f"starting {engine}"):
            self.engine: Engine = open_engine(engine, self.place, master)

    def __enter__(self) -> "Fleet":
        return self

    def __exit__(self, *_) -> None:
        self.engine.close()

    def ask(self, name: str, period: Period, limit: int, given: dict | None = None) -> Answer:
        """The answer to one of the queries. `given`: parameters that are not their defaults."""
        parameters = prepared(name, period, limit, given or {})
        sql = queries.filled(queries.dialect_source(name, self.engine.dialect), parameters)
        since = (parameters["since_date"], parameters["since_hour"])
        until = (parameters["until_date"], parameters["until_hour"])
        with Progress(f"{name}: {self.word} reads {describe(self.place, since, until)}"):
            return answer_of(self.engine.query(sql), limit)


def answer_of(table, limit: int | None) -> Answer:
    """The rows of a table of Arrow, no more than the limit."""
    rows = rows_of(table if limit is None else table.slice(0, limit))
    return Answer(table.column_names, rows, limit is not None and table.num_rows > limit)


def prepared(name: str, period: Period, limit: int, given: dict) -> dict[str, int | str]:
    """All parameters of a query."""
    parameters = queries.QUERIES[name].defaults | given | {"limit": limit + 1}
    if name.startswith("coverage"):
        parameters |= {"from_ns": period.since_ns, "to_ns": period.until_ns}
        return parameters | period.parameters(_BOOKS_LATER_NS)
    if name == "first_seen":
        # What was seen before decides what is new.
        parameters["new_since_ns"] = period.since_ns
        history_ns = parameters.pop("history_ns", None)
        since_ns = 0 if history_ns is None else max(0, period.since_ns - history_ns)
        return parameters | Period(since_ns, period.until_ns).parameters()
    return parameters | period.parameters()


def extent(fleet: Fleet, period: Period) -> Period | None:
    """The part of the period in which there are attempts."""
    day_ns = 86_400 * 10**9
    steps = [row["step_ns"] for row in fleet.ask("activity", period, FOREVER_NS - 2, {"step_ns": day_ns}).rows]
    if not steps:
        return None
    return Period(max(period.since_ns, min(steps)), min(period.until_ns, max(steps) + day_ns))
