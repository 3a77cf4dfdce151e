#!/usr/bin/env python3
"""Compares what the sensor says of captures with the oracle. See README.md.

Exit status: 0 no difference (or nothing to compare with: `skipped: why`), 1 differences.
"""

import argparse
import collections
import concurrent.futures
import datetime
import json
import ipaddress
import pathlib
import shutil
import subprocess
import sys
import time

import extract
import rules

OUTPUT = "eve:-,events=connection+alert"
SHOWN = 5


def microseconds(stamp):
    """'2021-04-28T15:28:05.123456+0000' as an exact integer."""
    moment = datetime.datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%S.%f%z")
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    return (moment - epoch) // datetime.timedelta(microseconds=1)


def ports_of(text):
    """'80-82,99' as (80, 81, 82, 99)."""
    out = []
    for part in filter(None, text.split(",")):
        first, _, last = part.strip().partition("-")
        out.extend(range(int(first), int(last or first) + 1))
    return tuple(out)


def address(text):
    """One spelling for each address."""
    return str(ipaddress.ip_address(text))


def from_eve(text):
    """Attempts and scans that an EVE stream tells of, as sortable tuples."""
    attempts, scans = [], []
    for line in text.splitlines():
        event = json.loads(line)
        own, kind = event.get("synledger", {}), event.get("event_type")
        if kind == "new_connection":
            ends = (address(event["src_ip"]), event["src_port"])
            ends += (address(event["dest_ip"]), event["dest_port"])
            stamp = microseconds(event["timestamp"])
            attempts.append((event["pcap_cnt"], stamp, *ends, own["isn"]))
        elif kind == "alert":
            scan = event.get("scan", {})
            if (scan.get("kind"), scan.get("phase")) == ("port_scan", "started"):
                pair = (address(event["src_ip"]), address(event["dest_ip"]))
                scans.append((event["pcap_cnt"], *pair, ports_of(scan["port_list"])))
    return attempts, scans


def from_oracle(found):
    """The same tuples from the oracle's findings; EVE has microseconds."""
    names = ("src", "sport", "dst", "dport", "isn")
    attempts = [
        (a["frame"], a["ts"] // 1000, *(a[name] for name in names)) for a in found["attempts"]
    ]
    scans = [(s["frame"], s["src"], s["dst"], tuple(s["ports"])) for s in found["scans"]]
    return attempts, scans


def differences(what, ours, theirs, last):
    """Lines for each tuple that only one side has, in frames up to `last`."""
    ours = collections.Counter(item for item in ours if item[0] <= last)
    theirs = collections.Counter(item for item in theirs if item[0] <= last)
    out = [(item, f"{what}: only the sensor: {item}") for item in (ours - theirs).elements()]
    out += [(item, f"{what}: only the oracle: {item}") for item in (theirs - ours).elements()]
    return [line for _, line in sorted(out)]


def run_sensor(binary, path):
    """Exit status, standard output, last line of standard error."""
    command = [str(binary), "read", "--workers", "1", "--output", OUTPUT, str(path)]
    done = subprocess.run(command, capture_output=True, check=False, timeout=120)
    errors = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return done.returncode, done.stdout.decode("utf-8", "replace"), (errors or [""])[-1]


def compare_one(binary, path, cache):
    """Compares one file: the oracle's findings, and lines that say what differs.

    Of a damaged file only what both have read is compared: frames up to the last that tshark read,
    and, if the sensor says so too (exit status 1), up to the last that it wrote of.
    """
    found = rules.judge(extract.cached(path, cache), rules.LINKS)
    try:
        status, text, complaint = run_sensor(binary, path)
        attempts, scans = from_eve(text)
    except (subprocess.TimeoutExpired, ValueError, KeyError, TypeError) as why:
        return found, [f"sensor: {type(why).__name__}: {why}"]
    wanted_attempts, wanted_scans = from_oracle(found)
    last = found["frames"]
    if status not in (0, 1):
        return found, [f"sensor: exit status {status}: {complaint}"]
    if status == 1:
        if found["error"] is None and wanted_attempts:
            return found, [f"sensor: cannot read what tshark can: {complaint}"]
        last = min(last, max((a[0] for a in attempts), default=0))
    out = differences("attempt", attempts, wanted_attempts, last)
    out += differences("port_scan", scans, wanted_scans, last)
    return found, out


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=pathlib.Path, metavar="FILE|DIR")
    parser.add_argument("--binary", default="target/release/synledger", type=pathlib.Path)
    parser.add_argument("--corpus", type=pathlib.Path, metavar="DIR", help="real captures")
    parser.add_argument("--crafted", type=pathlib.Path, metavar="DIR", help="crafted captures")
    parser.add_argument("--cache", metavar="DIR", help="keep what tshark said, by content")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="files at a time (2)")
    parser.add_argument("--limit", type=int, metavar="N", help="the first N files only")
    return parser.parse_args()


def skipped(args):
    """Why there is nothing to compare, or None."""
    if shutil.which("tshark") is None:
        return "tshark is not installed"
    for name in ("corpus", "crafted"):
        folder = getattr(args, name)
        if folder is not None and not folder.is_dir():
            return f"--{name} {folder} is not there"
    return None


def main():
    args = arguments()
    why = skipped(args)
    if why is not None:
        print(f"skipped: {why}")
        return 0
    if shutil.which(str(args.binary.absolute())) is None:
        print(f"compare: no program at {args.binary} (--binary)", file=sys.stderr)
        return 1
    places = [place for place in (*args.files, args.corpus, args.crafted) if place is not None]
    paths = extract.captures_under(places)[: args.limit]
    if not paths:
        print("skipped: no captures were named or found")
        return 0
    binary, start = args.binary.resolve(), time.monotonic()
    totals, differing, lines = collections.Counter(), 0, []
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        results = pool.map(lambda path: compare_one(binary, path, args.cache), paths)
        for path, (found, out) in zip(paths, results):
            totals["frames"] += found["frames"]
            totals["attempts"] += len(found["attempts"])
            totals["scans"] += len(found["scans"])
            totals["damaged"] += found["error"] is not None
            differing += bool(out)
            lines += [f"{path}: {line}" for line in out[:SHOWN]]
            if len(out) > SHOWN:
                lines.append(f"{path}: and {len(out) - SHOWN} more")
    for line in lines[:200]:
        print(line)
    took = time.monotonic() - start
    said = " ".join(f"{name}={totals[name]}" for name in ("damaged", "frames", "attempts", "scans"))
    print(f"files={len(paths)} {said} differing_files={differing} ({took:.1f} s)")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
