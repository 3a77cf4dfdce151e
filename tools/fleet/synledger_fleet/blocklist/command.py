"""`synledger-fleet blocklist`."""

import dataclasses
import datetime
import json
import os
import pathlib
import re
import tempfile
import time

from .. import output
from ..asking import Fleet
from ..errors import BadInput, Exit
from ..period import SECOND_NS, Period, length_ns
from .candidates import Candidate, find
from .guard import Guard
from .targets import TARGETS, Entry, Listing, Options, end_of

_SHOWN = 10
_LIST_LINE = re.compile(r"# list=[0-9a-f]{64}\n")
# An ending further away is beyond what sensors take.
_EXPIRE_MAX_NS = 365 * 86_400 * SECOND_NS


@dataclasses.dataclass
class Report:
    """What became of each source."""

    listed: list[Entry] = dataclasses.field(default_factory=list)
    # Spared, unproven or over, with the reason.
    not_listed: list[tuple[Candidate, str]] = dataclasses.field(default_factory=list)
    files: list[dict] = dataclasses.field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Everything listed fits everywhere."""
        return not any(file["did_not_fit"] for file in self.files)


def judged(candidates: list[Candidate], guard: Guard, proof: str, expire_ns: int, now_s: int) -> Report:
    """Which of them are listed."""
    report = Report()
    for one in candidates:
        end_s = end_of(one, expire_ns)
        reason = guard.spares(one.net)
        if not reason and proof == "handshake" and not one.proofs:
            reason = "unproven"
        if not reason and end_s <= now_s:
            reason = "over"
        if reason:
            report.not_listed.append((one, reason))
        else:
            until = datetime.datetime.fromtimestamp(end_s, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            report.listed.append(Entry(one, end_s, until))
    return report


def is_same(old: str, new: str) -> bool:
    """Whether a file says the same. Scripts with times that count down are compared by their first line."""
    first_old, first_new = _LIST_LINE.match(old), _LIST_LINE.match(new)
    if first_old and first_new:
        return first_old[0] == first_new[0]
    return old == new


def replace(path: pathlib.Path, text: str) -> bool:
    """Replaces a file atomically if it says something else; says whether it did."""
    try:
        if is_same(path.read_text(encoding="utf-8"), text):
            return False
    except (FileNotFoundError, UnicodeDecodeError):
        pass
    descriptor, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            out.write(text)
            os.fchmod(out.fileno(), 0o644)
            out.flush()
            os.fsync(out.fileno())
        os.replace(beside, path)
    except BaseException:
        pathlib.Path(beside).unlink(missing_ok=True)
        raise
    return True


def _beside(path: pathlib.Path, suffix: str) -> pathlib.Path:
    return path.with_name(path.stem + suffix + path.suffix) if suffix else path


def _write(kind: str, path: pathlib.Path, listings: list[Listing]) -> list[dict]:
    files = []
    for listing in listings:
        target = _beside(path, listing.suffix)
        files.append({"target": kind, "file": str(target), "changed": replace(target, listing.text),
                      "listed": len(listing.fitted),
                      "did_not_fit": [{"net": str(one.net), "why": why} for one, why in listing.left_out]})
    return files


def _targets(arguments) -> list[tuple[str, pathlib.Path]]:
    found = []
    for text in arguments.to:
        kind, _, path = text.partition(":")
        if kind not in TARGETS or not path:
            raise BadInput("--to", text, f"KIND:FILE with KIND one of {', '.join(TARGETS)}")
        folder = pathlib.Path(path).parent
        if not folder.is_dir() or pathlib.Path(path).is_dir():
            raise BadInput("--to", text, "a file in a folder that exists")
        found.append((kind, pathlib.Path(path)))
    return found


def _limits(arguments) -> dict[str, int]:
    limits = {kind: target.limit for kind, target in TARGETS.items()}
    for text in arguments.limit_of:
        kind, _, count = text.partition("=")
        if kind not in limits or not re.fullmatch(r"[1-9]\d{0,6}", count):
            raise BadInput("--limit-of", text, f"KIND=N, KIND one of {', '.join(limits)}, N from 1 to 9999999")
        limits[kind] = int(count)
    return limits


def _checked(arguments) -> tuple[list, dict, Guard, int]:
    """Everything that can be wrong is found before the data are read."""
    if arguments.proof not in ("handshake", "none"):
        raise BadInput("--proof", arguments.proof, "handshake or none")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9._-]{0,23}", arguments.name):
        raise BadInput("--name", arguments.name, "a letter and up to 23 more letters, digits and ._-")
    expire_ns = length_ns("--expire", arguments.expire)
    if expire_ns > _EXPIRE_MAX_NS:
        raise BadInput("--expire", arguments.expire, "at most 365d")
    guard = Guard(arguments.own, arguments.allow, arguments.private)
    return _targets(arguments), _limits(arguments), guard, expire_ns


def run(arguments) -> Exit:
    """Writes the lists and says what became of whom."""
    targets, limits, guard, expire_ns = _checked(arguments)
    now_ns = time.time_ns()
    period = Period.read(arguments.since, arguments.until, now_ns)
    with Fleet(arguments.place, arguments.engine, arguments.master) as fleet:
        candidates = find(fleet, arguments.answers or ["port-scans", "sweeps"], period)
    now_s = now_ns // SECOND_NS
    report = judged(candidates, guard, arguments.proof, expire_ns, now_s)
    for kind, path in targets:
        options = Options(arguments.name, now_s, limits[kind])
        report.files += _write(kind, path, TARGETS[kind].write(report.listed, options))
    output.write(as_json(report) if arguments.json else as_text(report))
    return Exit.DONE if report.is_whole else Exit.DID_NOT_FIT


def as_json(report: Report) -> str:
    """For programs."""
    return json.dumps({
        "listed": [{"net": str(one.net), "until": one.until, "why": one.of.why()} for one in report.listed],
        "not_listed": [{"net": str(one.net), "reason": reason, "why": one.why()} for one, reason in report.not_listed],
        "files": report.files, "changed": any(file["changed"] for file in report.files)}, indent=1) + "\n"


def as_text(report: Report) -> str:
    """For people."""
    lines = [f"{len(report.listed)} sources are listed, {len(report.not_listed)} are not"]
    reasons: dict[str, list[str]] = {}
    for one, reason in report.not_listed:
        reasons.setdefault(reason, []).append(str(one.net.network_address))
    words = {"no_host": "no host has such an address", "own": "of your networks (--own)", "allowed": "allowed (--allow)",
             "link_local": "link-local", "private": "private (--private lists them)", "over": "their time is over (--expire)",
             "unproven": "completed no handshake, so may be spoofed (--proof none lists them)"}
    lines += [f"not listed: {words[reason]}: {_some(nets)}" for reason, nets in sorted(reasons.items())]
    for file in report.files:
        state = "written" if file["changed"] else "unchanged"
        lines.append(f"{file['file']}: {state}: {file['listed']} for {file['target']}")
        whys: dict[str, list[str]] = {}
        for one in file["did_not_fit"]:
            whys.setdefault(re.sub(r"take \d+", "take too many", one["why"]), []).append(one["net"])
        lines += [f"{file['file']}: did not fit: {_some(nets)}: {why}" for why, nets in whys.items()]
    return "".join(output.printable(line) + "\n" for line in lines)


def _some(nets: list[str]) -> str:
    more = f" and {len(nets) - _SHOWN:,} more (--json names all)" if len(nets) > _SHOWN else ""
    return ", ".join(nets[:_SHOWN]) + more
