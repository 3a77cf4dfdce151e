"""`synledger-fleet report`: the page from its template, style, script and data."""

import base64
import dataclasses
import hashlib
import html
import importlib.resources
import json
import pathlib
import time

from ..asking import Fleet
from ..blocklist.command import replace
from ..errors import BadInput, Exit
from ..output import printable
from ..period import Period, shown_ns
from .data import Data, collect


def _asset(name: str) -> str:
    return (importlib.resources.files("synledger_fleet.report") / name).read_text()


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def embedded(data: Data) -> str:
    """As JSON that no parser of HTML takes for anything else; hostile names as what they are, in ASCII."""
    text = json.dumps(dataclasses.asdict(data), separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def render(data: Data, title: str) -> str:
    """The page. Its policy allows its own script and style, by their hashes, and nothing from anywhere else."""
    style, script = _asset("page.css"), _asset("page.js")
    policy = f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; base-uri 'none'; form-action 'none'"
    page = _asset("page.html")
    for name, text in (("POLICY", policy), ("TITLE", html.escape(printable(title))), ("STYLE", style), ("SCRIPT", script),
                       # Last: nothing in the data is taken for a place of the template.
                       ("DATA", embedded(data))):
        page = page.replace(f"%{name}%", text)
    return page


def run(arguments) -> Exit:
    """Writes the page."""
    path = pathlib.Path(arguments.html)
    if path.is_dir() or not path.parent.is_dir():
        raise BadInput("--html", arguments.html, "a file in a folder that exists")
    now_ns = time.time_ns()
    period = Period.read(arguments.since, arguments.until, now_ns)
    with Fleet(arguments.place, arguments.engine, arguments.master) as fleet:
        data = collect(fleet, period, shown_ns(now_ns)[:19] + "Z")
    replace(path, render(data, arguments.title))
    return Exit.DONE
