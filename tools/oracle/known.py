"""The tables of known_differences.md: expected differences with their causes."""

import pathlib

PATH = pathlib.Path(__file__).with_name("known_differences.md")


def table(heading, text=None):
    """File name → (what differs, cause), from the table whose heading starts with `heading`."""
    text = PATH.read_text(encoding="utf-8") if text is None else text
    sections = [part for part in text.split("\n## ")[1:] if part.startswith(heading)]
    assert len(sections) == 1, f"{len(sections)} sections start with {heading!r}"
    cells = [line.split("|") for line in sections[0].splitlines() if line.startswith("| `")]
    return {row[1].strip().strip("`"): (row[2].strip(), row[3].strip()) for row in cells}
