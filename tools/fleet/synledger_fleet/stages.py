"""Common table expressions that are computed once, for an engine that would compute them at each use."""

import dataclasses
import re

_MARK = re.compile(r"^ *-- stage: (\w+)\n", re.MULTILINE)
_TOKEN = re.compile(r"--[^\n]*|'[^']*'|[()]")


@dataclasses.dataclass
class Stage:
    """A query for one expression, and the whole query with the table `staged_NAME` in its place."""

    name: str
    sql: str
    rest: str


def next_stage(sql: str) -> Stage | None:
    """The first expression that a line `-- stage: NAME` marks."""
    mark = _MARK.search(sql)
    if not mark:
        return None
    before, after = sql[: mark.start()], sql[mark.end():]
    begin = after.index("(") + 1
    end = _closing(after, begin)
    name = mark[1]
    alone = f"{before}{after[:end]})\nSELECT * FROM {name}"
    rest = f"{before}{name} AS (SELECT * FROM staged_{name}{after[end:]}"
    return Stage(name, alone, rest)


def _closing(text: str, at: int) -> int:
    """Where the parenthesis that is open at `at` closes; text in quotes and comments has none."""
    depth = 1
    for match in _TOKEN.finditer(text, at):
        depth += {"(": 1, ")": -1}.get(match[0], 0)
        if depth == 0:
            return match.start()
    raise AssertionError("a query of ours has a parenthesis that is not closed")
