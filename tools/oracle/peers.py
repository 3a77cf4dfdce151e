#!/usr/bin/env python3
"""Gives the same captures to the sensor, Suricata and psad, and prints as Markdown what each finds, misses and
reports without cause. See README.md.

Exit status: 1 where a program failed on a capture.
"""

import argparse
import dataclasses
import datetime
import json
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys

import episodes
import extract
import peer_programs

OPEN, CLOSE = "<!-- peers -->", "<!-- /peers -->"
VERDICTS = peer_programs.VERDICTS


@dataclasses.dataclass
class Group:
    """Captures of one kind, each with its name in the tables and what its truth is made of."""

    name: str
    captures: dict
    truth: object
    tallies: dict = dataclasses.field(default_factory=dict)


def groups(args):
    """The groups whose folders are there; prints `skipped: why` for the others."""
    out = []
    for what in ("probes", "benign", "tools"):
        folder = getattr(args, what)
        if folder is None:
            continue
        if not folder.is_dir():
            print(f"skipped: {what}: {folder} is not there", file=sys.stderr)
            continue
        out.append(GROUPS[what](folder))
    return out


def probes(folder):
    """Crafted captures at the borders of the rules."""
    paths = {path.name: path for path in extract.captures_under([folder])}
    return Group("probes", paths, lambda _, extracted: episodes.by_rules(extracted))


def benign(folder):
    """Traffic without a scanner: what benign.json names."""
    found = json.loads((folder / "benign.json").read_text())
    paths = {one["kind"]: folder / one["file"] for one in found}
    return Group("benign", paths, lambda *_: episodes.Truth())


def tools(folder):
    """Runs of tools that scan."""
    runs = {f"`{run['mode']}`": run for run in json.loads((folder / "runs.json").read_text()) if episodes.is_scan(run)}
    paths = {name: folder / run["file"] for name, run in runs.items()}
    return Group("tools", paths, lambda name, _: episodes.by_tool(runs[name]))


GROUPS = {"probes": probes, "benign": benign, "tools": tools}


def judge(group, programs, cache):
    """Runs the programs over a group; a line for each failure."""
    failures = []
    for program in programs:
        group.tallies |= {row: episodes.Tally() for row in program.rows}
    for name, path in group.captures.items():
        extracted = extract.cached(path, cache)
        truth = group.truth(name, extracted)
        for program in programs:
            try:
                for row, alerts in zip(program.rows, program.alerts(path, extracted["rows"]), strict=True):
                    group.tallies[row].add(name, truth, alerts, VERDICTS)
            except (peer_programs.Failed, subprocess.TimeoutExpired) as why:
                failures.append(f"{group.name}: {name}: {why}")
    return failures


def table(head, rows):
    """A table in Markdown."""
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return "\n".join(lines + [f"| {' | '.join(map(str, row))} |" for row in rows])


def number(row, counts):
    """A number of episodes or sources; of a program with verdicts with those of each, strongest first."""
    parts = " / ".join(str(counts[verdict]) for verdict in reversed(VERDICTS))
    return f"{counts.total()} ({parts})" if row.has_verdicts and counts else str(counts.total())


def summary(found):
    """The table of all groups."""
    rows = []
    for group in found:
        for row, tally in group.tallies.items():
            many = tally.episodes.total()
            found_and_missed = (number(row, tally.verdicts), many - tally.found.total()) if many else ("", "")
            rows.append((group.name, len(tally.false), row.name, many, *found_and_missed,
                         number(row, tally.false_by_verdict())))
    return table(("captures", "number", "program", "scans", "found", "missed", "false: sources"), rows)


def by_kind(group):
    """Found of each kind."""
    first = next(iter(group.tallies.values()))
    kinds = [kind for kind in episodes.rules.KINDS if first.episodes[kind]]
    rows = [(row.name, *(f"{tally.found[kind]} of {tally.episodes[kind]}" for kind in kinds))
            for row, tally in group.tallies.items()]
    return table(("program", *kinds), rows)


def by_capture(group):
    """False sources in each capture."""
    rows = [(name, *(number(row, tally.false[name]) if name in tally.false else "failed"
                     for row, tally in group.tallies.items())) for name in group.captures]
    return table(("capture", *(row.name for row in group.tallies)), rows)


def by_run(group):
    """Whether the scanner of each run was found."""
    rows = [(name, *("found" if name in tally.complete else "" for tally in group.tallies.values()))
            for name in group.captures]
    return table(("run", *(row.name for row in group.tallies)), rows)


DETAILS = {
    "probes": ("Probes, found by kind of scan:", by_kind),
    "benign": ("Benign traffic, sources reported by kind of traffic:", by_capture),
    "tools": ("Tools that scan, each from an address of its own:", by_run),
}


def legend(programs):
    """What each row is of, and what Suricata says of the rules that it does not take."""
    lines = [f"- {row.name}: {row.words}." for program in programs for row in program.rows]
    words = " / ".join(f"`{verdict}`" for verdict in reversed(VERDICTS))
    lines.append(f"- In brackets: by the strongest verdict, {words}.")
    for program in programs:
        for rule, said in getattr(program, "refused", ()):
            lines.append(f"- Not run, since this Suricata does not take it: `{rule}` (`{said}`).")
    return "\n".join(lines)


def machine():
    """CPU, cores, kernel, commit and date, as the other tables have them."""
    model = re.search(r"^model name\s*: (.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    git = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], capture_output=True, check=False, text=True)
    cores, day = len(os.sched_getaffinity(0)), datetime.datetime.now(datetime.UTC).date()
    cpu = model[1] if model else platform.machine()
    return f"{cpu}, {cores} cores; Linux {platform.release()}; commit {git.stdout.strip() or 'unknown'}; {day}"


def markdown(found, programs, failures):
    """All that is printed."""
    parts = [summary(found)]
    parts += [f"{DETAILS[group.name][0]}\n\n{DETAILS[group.name][1](group)}" for group in found if group.tallies]
    parts.append(legend(programs))
    parts += ["\n".join(f"- Failed: {line}" for line in failures)] if failures else []
    parts.append(f"{machine()}. Measured by `make compare-peers`.")
    return "\n\n".join(parts)


def write(path, text):
    """Puts the text between the markers of a file."""
    old = path.read_text()
    if old.count(OPEN) != 1 or old.count(CLOSE) != 1 or old.index(OPEN) > old.index(CLOSE):
        raise SystemExit(f"peers: {path}: needs {OPEN} and behind it {CLOSE}, once each")
    before, rest = old.split(OPEN)
    path.write_text(f"{before}{OPEN}\n\n{text}\n\n{CLOSE}{rest.split(CLOSE)[1]}")


def arguments(words):
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", default="target/release/synledger", type=pathlib.Path)
    parser.add_argument("--probes", type=pathlib.Path, metavar="DIR", help="crafted captures of the family probes")
    parser.add_argument("--benign", type=pathlib.Path, metavar="DIR", help="benign traffic, with benign.json")
    parser.add_argument("--tools", type=pathlib.Path, metavar="DIR",
                        help="runs of scanners, with runs.json (make test-scanners)")
    parser.add_argument("--cache", metavar="DIR", help="cache of tshark's output, by content")
    parser.add_argument("--work", default="target/peers", type=pathlib.Path, metavar="DIR",
                        help="settings and logs of the programs (target/peers)")
    parser.add_argument("--results", type=pathlib.Path, metavar="FILE",
                        help=f"also write the tables into this file, between {OPEN} and {CLOSE}")
    return parser.parse_args(words)


def main(words=None):
    args = arguments(words)
    if shutil.which("tshark") is None:
        print("skipped: comparison with other programs: tshark is not installed", file=sys.stderr)
        return 0
    programs, found, failures = peer_programs.installed(args), groups(args), []
    for group in found:
        failures += judge(group, programs, args.cache)
    text = markdown(found, programs, failures)
    print(text)
    if args.results is not None:
        write(args.results, text)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
