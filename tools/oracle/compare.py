#!/usr/bin/env python3
"""Compares the sensor's EVE records of captures with the oracle's findings. See README.md.

Exit status: 0 no difference (or nothing to compare with: `skipped: why`), 1 differences.
"""

import argparse
import collections
import concurrent.futures
import dataclasses
import datetime
import json
import ipaddress
import pathlib
import random
import re
import shutil
import subprocess
import sys
import time

import extract
import flows
import known
import rules

OUTPUT = "eve:-,events=connection+alert"
SHOWN = 5
PROBE_WORKERS = (1, 2, 8)
# tshark guesses the format of a file that is shorter than this header.
FILE_HEADER_BYTES = 24
# tshark's error for a link type that it does not know; it then reads no frame.
UNKNOWN_LINK = re.compile(r"network type (\d+ unknown or unsupported|reserved field not zero)")
# The sensor's errors for a file whose link type it does not read, or of whose link headers none leads on.
UNREAD_LINK = re.compile(r"none of its frames \(\d+\) could be read: link type \d+ \(.*\) is not read$")
UNREAD_HEADERS = re.compile(r"none of its frames \(\d+\) could be read: the headers of link type \d+ \(.*\) are cut or damaged$")


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


def of_alert(event):
    """The kind of an EVE record of a scan that starts, and the scan as a sortable tuple."""
    scan = event["synledger"]["scan"]
    # What ends behind the last frame has no frame.
    kind, source = scan["kind"], (event.get("pcap_cnt", flows.AT_END), address(event["src_ip"]))
    if kind == "host_sweep":
        return kind, (*source, address(event["dest_ip"]), event["dest_port"], scan["hosts"])
    if kind == "slow_scan":
        return kind, source
    return kind, (*source, address(event["dest_ip"]), ports_of(scan["port_list"]))


def from_eve(text, kinds):
    """Attempts, and scans of these kinds, of an EVE stream, as sortable tuples."""
    attempts, scans = [], {kind: [] for kind in kinds}
    for line in text.splitlines():
        event = json.loads(line)
        own, kind = event.get("synledger", {}), event.get("event_type")
        if kind == "new_connection":
            ends = (address(event["src_ip"]), event["src_port"])
            ends += (address(event["dest_ip"]), event["dest_port"])
            stamp = microseconds(event["timestamp"])
            attempts.append((event["pcap_cnt"], stamp, *ends, own["isn"]))
        elif kind == "alert":
            scan = own.get("scan", {})
            # The oracle knows no networks of IPv6.
            if "src_prefix" in scan:
                continue
            if scan.get("phase") == "started" and scan["kind"] in scans:
                kind, found = of_alert(event)
                scans[kind].append(found)
    return attempts, scans


def from_oracle(found):
    """The same tuples from the oracle's findings; EVE has microseconds."""
    names = ("src", "sport", "dst", "dport", "isn")
    attempts = [
        (a["frame"], a["ts"] // 1000, *(a[name] for name in names)) for a in found["attempts"]
    ]
    scans = {}
    for kind, these in found["scans"].items():
        if kind == "host_sweep":
            names = ("frame", "src", "dst", "dport", "hosts")
            scans[kind] = [tuple(s[name] for name in names) for s in these]
        elif kind == "slow_scan":
            scans[kind] = [(s["frame"], s["src"]) for s in these]
        else:
            scans[kind] = [(s["frame"], s["src"], s["dst"], tuple(s["ports"])) for s in these]
    return attempts, scans


def differences(what, ours, theirs, last):
    """Lines for each tuple that only one side has, in frames up to `last`."""
    ours = collections.Counter(item for item in ours if item[0] <= last)
    theirs = collections.Counter(item for item in theirs if item[0] <= last)
    out = [(item, f"{what}: only the sensor: {item}") for item in (ours - theirs).elements()]
    out += [(item, f"{what}: only the oracle: {item}") for item in (theirs - ours).elements()]
    return [line for _, line in sorted(out)]


@dataclasses.dataclass
class Outcome:
    """The sensor's output for one file."""

    frames: int
    damage: str | None
    attempts: list
    scans: dict


@dataclasses.dataclass(frozen=True)
class Setting:
    """What the sensor is asked for, and with how many workers, one run for each number."""

    kinds: tuple = rules.KINDS
    limits: rules.Limits = rules.FEW
    workers: tuple = (1,)

    def flags(self):
        """The sensor's flags for these rules."""
        limits = self.limits
        out = ["--scan-ports", str(limits.ports), "--sweep-hosts", str(limits.hosts)]
        for kind, value in (
            ("stealth_scan", f"{limits.stealth}/60s"),
            ("udp_scan", f"{limits.udp}/60s"),
            ("slow_scan", f"{limits.slow}/8h"),
        ):
            if kind in self.kinds:
                out += [f"--{kind.replace('_', '-')}", value]
        return out


def run_sensor(binary, path, workers, setting):
    """Runs `read` on one file. The books on standard error have the number of frames; if it could
    read none it prints only why, and exits with 1. Raises ValueError on anything else."""
    # The oracle takes frames in the file's order, and numbers them so.
    command = [str(binary), "read", "--workers", str(workers), "--reorder", "0", *setting.flags()]
    command += ["--output", OUTPUT, str(path)]
    done = subprocess.run(command, capture_output=True, check=False, timeout=120)
    errors = done.stderr.decode("utf-8", "replace")
    last = (errors.strip().splitlines() or [""])[-1]
    if done.returncode not in (0, 1):
        raise ValueError(f"exit status {done.returncode}: {last}")
    read = re.search(r"^(\d+) frames? read$", errors, re.MULTILINE)
    if read is None and done.returncode == 0:
        raise ValueError("no line 'N frames read' on standard error")
    found = from_eve(done.stdout.decode("utf-8", "replace"), setting.kinds)
    frames = int(read[1]) if read else 0
    return Outcome(frames, last if done.returncode else None, *found)


def frame_differences(sensor, found, named):
    """Lines for differences in damage and in the number of frames; and the rule that explains a difference,
    or None. `named`: the difference that known_differences.md names for this file, or ''."""
    if found["error"] is not None and UNKNOWN_LINK.search(found["error"]) and found["frames"] == 0:
        return [], "link types that tshark does not know" if sensor.frames else None
    out = []
    says = sensor.damage or ""
    known_link = any(int(encap) in rules.LINKS for encap in found["encaps"])
    if UNREAD_LINK.search(says) and not known_link or UNREAD_HEADERS.search(says) and not found["touches"]:
        sensor = dataclasses.replace(sensor, damage=None)
    if (sensor.damage is None) != (found["error"] is None):
        ours = sensor.damage or "it is whole"
        out.append(f"damage: the sensor: {ours}; the oracle: {found['error'] or 'it is whole'}")
    counts = f"sensor {sensor.frames}, tshark {found['frames']}"
    if sensor.frames != found["frames"] and counts == named:
        return out, "named in known_differences.md"
    if sensor.frames != found["frames"]:
        out.append(f"frames: {counts}")
    elif named:
        out.append(f"frames: {counts}, but known_differences.md says {named}")
    return out, None


def compare_one(binary, path, cache, setting, named=""):
    """Compares one file: the oracle's findings, a line for each difference, and the rule that explains
    another number of frames. Attempts and scans must be equal up to the last frame that both read."""
    found = rules.judge(extract.cached(path, cache), rules.LINKS, setting.limits)
    out, explained = [], None
    for workers in setting.workers:
        try:
            sensor = run_sensor(binary, path, workers, setting)
        except (subprocess.TimeoutExpired, ValueError, KeyError, TypeError) as why:
            lines = [f"sensor: {type(why).__name__}: {why}"]
        else:
            lines, explained = frame_differences(sensor, found, named)
            last = min(sensor.frames, found["frames"])
            attempts, scans = from_oracle(found)
            lines += differences("attempt", sensor.attempts, attempts, last)
            for kind in setting.kinds:
                lines += differences(kind, sensor.scans[kind], scans[kind], last)
        who = f"{workers} workers: " if workers > 1 else ""
        out += [who + line for line in lines]
    return found, out, explained


def pieces_of_attempts(path, cache):
    """Number of SYNs and of pieces of cut headers in a file."""
    return sum(row["kind"] in extract.SYN_KINDS for row in extract.cached(path, cache)["rows"])


def cut_copies(paths, folder, count, cache):
    """Writes `count` seeded prefixes of files with attempts; files with more are drawn more often."""
    rng = random.Random(1)
    weights = {path: min(50, pieces_of_attempts(path, cache)) for path in paths}
    holding = [path for path in paths if weights[path]]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    out = []
    for number in range(count if holding else 0):
        (path,) = rng.choices(holding, [weights[path] for path in holding])
        whole = path.read_bytes()
        out.append(folder / f"{number:03}-{path.name}")
        out[-1].write_bytes(whole[: rng.randrange(FILE_HEADER_BYTES, len(whole))])
    return out


@dataclasses.dataclass
class Report:
    """Totals and differences of the files compared."""

    files: int = 0
    differing: int = 0
    totals: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    explained: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    lines: list = dataclasses.field(default_factory=list)

    def add(self, path, found, out, explained):
        """Counts one file."""
        self.files += 1
        self.totals["frames"] += found["frames"]
        self.totals["attempts"] += len(found["attempts"])
        self.totals.update({kind: len(scans) for kind, scans in found["scans"].items()})
        self.totals["damaged"] += found["error"] is not None
        self.explained[explained] += explained is not None
        self.differing += bool(out)
        self.lines += [f"{path}: {line}" for line in out[:SHOWN]]
        if len(out) > SHOWN:
            self.lines.append(f"{path}: and {len(out) - SHOWN} more")

    def print_summary(self, what, kinds, took):
        names = ("damaged", "frames", "attempts", *kinds)
        totals = " ".join(f"{name}={self.totals[name]}" for name in names)
        print(f"{what}: files={self.files} {totals} differing_files={self.differing} ({took:.1f} s)")
        for rule, files in sorted((+self.explained).items()):
            print(f"{what}: {files} files with another number of frames: {rule}")


def setting_of(what, args):
    """Crafted probes lie at the borders of the defaults, and are read with several numbers of workers."""
    if what == "probes":
        return Setting(args.kinds, rules.DEFAULTS, PROBE_WORKERS)
    return Setting(args.kinds)


def compare_all(what, binary, paths, args):
    """Compares files and prints what differs; true if nothing does."""
    report, start, setting = Report(), time.monotonic(), setting_of(what, args)
    frames = {name: differs for name, (differs, _) in known.table("Frames").items()}

    def one(path):
        inside = args.corpus is not None and path.is_relative_to(args.corpus)
        name = str(path.relative_to(args.corpus)) if inside else ""
        return compare_one(binary, path, args.cache, setting, frames.get(name, ""))

    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for path, outcome in zip(paths, pool.map(one, paths)):
            report.add(path, *outcome)
    if what == "corpus" and args.limit is None:
        gone = [name for name in frames if not (args.corpus / name).is_file()]
        report.lines += [f"{name}: named in known_differences.md, but not there" for name in gone]
        report.differing += len(gone)
    for line in report.lines[:200]:
        print(f"differs: {line}")
    report.print_summary(what, args.kinds, time.monotonic() - start)
    return report.differing == 0


def kinds_of(text):
    """`port_scan,udp_scan` as kinds, in the order of the rules."""
    words = text.split(",")
    unknown = [word for word in words if word not in rules.KINDS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]}: none of {', '.join(rules.KINDS)}")
    return tuple(kind for kind in rules.KINDS if kind in words)


def arguments(words):
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=pathlib.Path, metavar="FILE|DIR")
    parser.add_argument("--binary", default="target/release/synledger", type=pathlib.Path)
    parser.add_argument("--corpus", type=pathlib.Path, metavar="DIR", help="real captures")
    parser.add_argument("--crafted", type=pathlib.Path, metavar="DIR", help="crafted captures")
    parser.add_argument("--probes", type=pathlib.Path, metavar="DIR",
                        help="crafted captures of the family probes: default limits; 1, 2 and 8 workers")
    parser.add_argument("--kinds", type=kinds_of, default=rules.KINDS, metavar="KIND,…",
                        help=f"scans to compare: {', '.join(rules.KINDS)} (all)")
    parser.add_argument("--cuts", type=int, default=0, metavar="N", help="also N of them, cut short")
    parser.add_argument("--cut-dir", type=pathlib.Path, default="target/cut", metavar="DIR",
                        help="folder for the cut copies; emptied first")
    parser.add_argument("--cache", metavar="DIR", help="cache of tshark's output, by content")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="files at a time (2)")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N files of each")
    return parser.parse_args(words)


def groups(args):
    """{what: captures} of each place named; prints `skipped: why` for a place that is missing."""
    places = {"named": args.files}
    for what in ("corpus", "crafted", "probes"):
        folder = getattr(args, what)
        if folder is not None and not folder.is_dir():
            print(f"skipped: {what} captures: {folder} is not there")
        elif folder is not None:
            places[what] = [folder]
    found = {what: extract.captures_under(where)[: args.limit] for what, where in places.items()}
    for what in places:
        if not found[what] and places[what]:
            print(f"skipped: {what} captures: none found")
    return {what: paths for what, paths in found.items() if paths}


def main(words=None):
    args = arguments(words)
    if shutil.which("tshark") is None:
        print("skipped: comparison with the oracle: tshark is not installed")
        return 0
    if shutil.which(str(args.binary.absolute())) is None:
        print(f"compare: no program at {args.binary} (--binary)", file=sys.stderr)
        return 1
    binary, found = args.binary.resolve(), groups(args)
    same = [compare_all(what, binary, paths, args) for what, paths in found.items()]
    if args.cuts and found:
        paths = [path for group in found.values() for path in group]
        cut = cut_copies(paths, args.cut_dir, args.cuts, args.cache)
        same.append(compare_all("cut short", binary, cut, args))
    return 0 if all(same) else 1


if __name__ == "__main__":
    sys.exit(main())
