#!/usr/bin/env python3
"""Attempts and scans of captures, from tshark's fields alone. See README.md.

Exit status: 1 where --truth finds a difference that known_differences.md does not name, or misses one
that it names.
"""

import argparse
import json
import pathlib
import shutil
import sys
import time

import extract
import rules
import truth


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("places", nargs="*", type=pathlib.Path, metavar="FILE|DIR",
                        help="captures, or folders of them (with --truth: its folder)")
    parser.add_argument("--json", action="store_true", help="one JSON object a file, on one line")
    parser.add_argument("--cache", metavar="DIR", help="cache of tshark's output, by content")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="tsharks at a time (2)")
    parser.add_argument("--truth", type=pathlib.Path, metavar="CSV",
                        help="compare with this truth.csv; paths in it are relative to its folder")
    parser.add_argument("--supported-links", action="store_true",
                        help="only frames of link types that the sensor reads")
    return parser.parse_args()


def skipped(args):
    """Why the oracle cannot run, or None."""
    if shutil.which("tshark") is None:
        return "tshark is not installed"
    if args.truth is not None and not args.truth.is_file():
        return f"{args.truth} is not there"
    return None


def judged(args, paths):
    """Yields (path, extract); prints findings with --json, and totals at the end."""
    links = rules.LINKS if args.supported_links else None
    totals = dict.fromkeys(("files", "damaged", "frames", "touches", "attempts", *rules.KINDS), 0)
    start = time.monotonic()
    for path, extracted in extract.extract_all(paths, args.cache, args.jobs):
        found = rules.judge(extracted, links)
        totals["files"] += 1
        totals["damaged"] += found["error"] is not None
        for name in ("frames", "touches"):
            totals[name] += found[name]
        totals["attempts"] += len(found["attempts"])
        for kind, scans in found["scans"].items():
            totals[kind] += len(scans)
        if args.json:
            print(json.dumps({"file": str(path)} | found))
        yield path, extracted
    took = time.monotonic() - start
    print(" ".join(f"{k}={v}" for k, v in totals.items()) + f" ({took:.1f} s)", file=sys.stderr)


def main():
    args = arguments()
    why = skipped(args)
    if why is not None:
        print(f"skipped: the oracle: {why}")
        return 0
    places = args.places or ([args.truth.parent] if args.truth else [])
    extracted = judged(args, extract.captures_under(places))
    if args.truth is None:
        for _ in extracted:
            pass
        return 0
    report = truth.report(extracted, args.truth, whole=not args.places)
    for line in report.lines:
        print(f"known: {line}")
    for line in report.wrong:
        print(f"differs: {line}")
    print(report.summary())
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
