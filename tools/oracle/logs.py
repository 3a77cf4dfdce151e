#!/usr/bin/env python3
"""Compares the hash of every capture's log with the recorded one in log_hashes.csv.

`--record` rewrites that file, after an intended change; the commit's message gives the reason.
Exit status: 0 no difference (or nothing to compare: `skipped: why`), 1 differences.
"""

import argparse
import concurrent.futures
import csv
import hashlib
import pathlib
import subprocess
import sys
import tempfile

import extract

RECORD = pathlib.Path(__file__).parent / "log_hashes.csv"
KINDS = ("text", "eve")
EVENTS = "events=connection+alert+flow"
SHOWN = 20


def hashes_of(binary, corpus, path):
    """Hashes of the text and of the EVE log of one capture; '-' where nothing was written."""
    with tempfile.TemporaryDirectory() as folder:
        logs = [pathlib.Path(folder, kind) for kind in KINDS]
        command = [binary, "read", "-q", "--workers", "1", "--sensor", "corpus"]
        for kind, log in zip(KINDS, logs):
            command += ["--output", f"{kind}:{log},{EVENTS}"]
        command.append(str(path.relative_to(corpus)))
        done = subprocess.run(command, cwd=corpus, capture_output=True, check=False, timeout=120)
        if done.returncode not in (0, 1):
            return [f"exit {done.returncode}"] * len(KINDS)
        written = [log.read_bytes() if log.is_file() else b"" for log in logs]
    return [hashlib.sha256(text).hexdigest()[:16] if text else "-" for text in written]


def recorded():
    """{path of a capture: its hashes}."""
    if not RECORD.is_file():
        return {}
    with RECORD.open(newline="", encoding="utf-8") as file:
        return {row["path"]: [row[kind] for kind in KINDS] for row in csv.DictReader(file)}


def record(found):
    """Rewrites log_hashes.csv."""
    with RECORD.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["path", *KINDS])
        out.writerows([path, *hashes] for path, hashes in sorted(found.items()))


def differences(found, known):
    """A line for each log that differs, and for each capture that only one side has."""
    out = []
    for path in sorted(found.keys() | known.keys()):
        if path not in found:
            out.append(f"{path}: recorded, but not there")
        elif path not in known:
            out.append(f"{path}: not recorded (--record)")
        else:
            pairs = zip(KINDS, found[path], known[path])
            out += [f"{path}: {kind}: {now}, was {was}" for kind, now, was in pairs if now != was]
    return out


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", default="target/release/synledger", type=pathlib.Path)
    parser.add_argument("--corpus", type=pathlib.Path, metavar="DIR", required=True)
    parser.add_argument("--record", action="store_true", help="record the current hashes as expected")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="files at a time (2)")
    args = parser.parse_args(words)
    if not args.corpus.is_dir():
        print(f"skipped: log hashes: {args.corpus} is not there")
        return 0
    binary, corpus = str(args.binary.resolve()), args.corpus.resolve()
    paths = extract.captures_under([corpus])
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        all_hashes = pool.map(lambda path: hashes_of(binary, corpus, path), paths)
        found = {str(path.relative_to(corpus)): one for path, one in zip(paths, all_hashes)}
    changed = differences(found, recorded())
    for line in changed[:SHOWN]:
        print(f"differs: {line}")
    print(f"logs: files={len(found)} differing={len(changed)}")
    if args.record:
        record(found)
        print(f"logs: recorded in {RECORD.name}")
        return 0
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main())
