#!/usr/bin/env python3
"""Attempts and port scans of captures, from tshark's fields alone. See README.md."""

import argparse
import csv
import json
import pathlib
import sys
import time

import extract
import rules


def known_differences():
    """File name → cause, from the table in known_differences.md."""
    text = pathlib.Path(__file__).with_name("known_differences.md").read_text()
    cells = [line.split("|") for line in text.splitlines() if line.startswith("| `")]
    return {row[1].strip().strip("`"): row[3].strip() for row in cells}


def truth_differences(path, root, truth, extracted):
    """Lines that say where truth.csv and tshark differ on one file."""
    name = str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
    if name not in truth:
        return [f"{name}: not in truth.csv"]
    ours, out = rules.truth_counts(extracted), []
    for column, value in ours.items():
        if truth[name][column] not in ("", str(value)):
            cause = known_differences().get(name, "CAUSE NOT KNOWN")
            out.append(f"{name}: {column}: truth {truth[name][column]}, tshark {value} ({cause})")
    whole = [syn for syn in rules.joined(extracted["rows"]) if not syn["joined"]]
    if len(rules.attempts(whole)) != ours["tuples4_plus_isn"]:
        # No error: truth.csv counts distinct ones over the whole file.
        out.append(f"{name}: attempts {len(rules.attempts(whole))}, distinct "
                   f"{ours['tuples4_plus_isn']} (the horizon of 130 s)")
    return out


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("places", nargs="+", metavar="FILE|DIR", help="captures, or folders of them")
    parser.add_argument("--json", action="store_true", help="one JSON object a file, on one line")
    parser.add_argument("--cache", metavar="DIR", help="keep what tshark said, by content")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="tsharks at a time (2)")
    parser.add_argument("--truth", metavar="CSV", help="compare with this truth.csv; paths in it "
                        "are relative to its folder")
    parser.add_argument("--supported-links", action="store_true",
                        help="only frames of link types that the sensor reads")
    return parser.parse_args()


def main():
    args = arguments()
    paths = extract.captures_under(args.places)
    links = rules.LINKS if args.supported_links else None
    truth, root = {}, None
    if args.truth:
        root = pathlib.Path(args.truth).parent
        with open(args.truth, newline="", encoding="utf-8") as table:
            truth = {row["path"]: row for row in csv.DictReader(table)}
    totals = dict.fromkeys(("files", "damaged", "frames", "touches", "attempts", "scans"), 0)
    differences, start = [], time.monotonic()
    for path, extracted in extract.extract_all(paths, args.cache, args.jobs):
        found = rules.judge(extracted, links)
        totals["files"] += 1
        totals["damaged"] += found["error"] is not None
        for name in ("frames", "touches"):
            totals[name] += found[name]
        for name in ("attempts", "scans"):
            totals[name] += len(found[name])
        if truth:
            differences += truth_differences(path, root, truth, extracted)
        if args.json:
            print(json.dumps({"file": str(path)} | found))
    for line in differences:
        print(f"differs: {line}", file=sys.stderr)
    took = time.monotonic() - start
    print(" ".join(f"{k}={v}" for k, v in totals.items()) + f" ({took:.1f} s)", file=sys.stderr)
    return 1 if any("CAUSE NOT KNOWN" in line for line in differences) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except extract.Unavailable as why:
        print(f"skipped: {why}")
