"""Answers for people and for programs."""

import csv
import io
import json
import sys
import unicodedata

from .period import shown_length, shown_ns

# Categories that could steer a terminal or hide text: controls, formats (bidi), surrogates, unassigned, separators.
_UNSAFE = {"Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"}
_CELL_MAX = 60


def printable(text: str) -> str:
    """Text without anything that a terminal would obey: such characters as \\u{1b}."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(f"\\u{{{ord(char):x}}}" if unicodedata.category(char) in _UNSAFE else char for char in text)


def cell(name: str, value: object) -> str:
    """A value in a table."""
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        if name in ("not_watched_ns", "missing_ns", "period_ns", "duration_ns"):
            return shown_length(value)
        if name.endswith("_ns"):
            return shown_ns(value)
        return str(value)
    text = printable(str(value))
    return text if len(text) <= _CELL_MAX else text[: _CELL_MAX - 1] + "…"


def table(columns: list[str], rows: list[dict]) -> str:
    """Aligned columns under their names; numbers to the right."""
    body = [[cell(name, row[name]) for name in columns] for row in rows]
    head = [printable(name.removesuffix("_ns")) for name in columns]
    widths = [max([len(head[at]), *(len(line[at]) for line in body)]) for at in range(len(columns))]
    right = [bool(rows) and all(isinstance(row[name], int | None) for row in rows) for name in columns]

    def line(cells: list[str]) -> str:
        padded = (text.rjust(width) if to_right else text.ljust(width)
                  for text, width, to_right in zip(cells, widths, right, strict=True))
        return "  ".join(padded).rstrip()
    return "\n".join([line(head), *map(line, body)]) + "\n"


def as_csv(columns: list[str], rows: list[dict]) -> str:
    """RFC 4180 with a line of names. What a spreadsheet would calculate begins with an apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([printable(name) for name in columns])
    for row in rows:
        writer.writerow([_csv_cell(row[name]) for name in columns])
    return out.getvalue()


def _csv_cell(value: object) -> object:
    if not isinstance(value, str):
        return value
    text = printable(value)
    return "'" + text if text[:1] in ("=", "+", "-", "@") else text


def as_json(rows: list[dict]) -> str:
    """One array, a row a line; ASCII only."""
    lines = ",\n".join(json.dumps(row, default=str) for row in rows)
    return f"[\n{lines}\n]\n" if rows else "[]\n"


def write(text: str) -> None:
    """To standard output; who closes it is no error."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # Python would report the same again at exit.
        sys.stdout = open("/dev/null", "w")  # noqa: SIM115
