#!/usr/bin/env python3
"""Compares the sensor's conn.log with those that Zeek's own test suite expects (testing/btest/Baseline), row by row.

Captures lie in the collection, the expected logs in Zeek's repository (--zeek: a clone, with or without a work tree).
Each difference has a cause from CAUSES, or is `unexplained`. Exit status: 0 none is unexplained (or nothing to
compare: `skipped: why`), 1 some are.
"""

import argparse
import collections
import concurrent.futures
import pathlib
import re
import subprocess
import sys
import tempfile

import extract
import zeek

TESTS = "testing/btest"
ENDS = ("id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p")
# Which of these an expected log has.
KEY = (*ENDS, "proto", "ip_proto")
FIELDS = ("conn_state", "history", "duration", "orig_bytes", "resp_bytes", "missed_bytes", "orig_pkts", "orig_ip_bytes",
          "resp_pkts", "resp_ip_bytes")
# Tests whose scripts change what Zeek counts.
SCRIPTS = {"scripts.base.frameworks.netcontrol.packetfilter", "scripts.base.protocols.ftp.gridftp"}
TRACE = re.compile(r"-r\s+\$\{?TRACES\}?/(\S+)")
TIMEOUT_S = 120
SHOWN = 40
CAUSES = {
    "not_here": "Zeek's row has no counterpart: a connection inside a tunnel, or one that Zeek splits",
    "only_here": "ours has none: a packet that Zeek ignores (bad checksum, tunnel, martian), or one connection that we split",
    "turned": "Zeek turned the direction round, by ports that servers are known to have",
    "checksums": "Zeek ignores packets with bad checksums",
    "letters": "letters that the sensor does not have: w, c, x, or f, h, r, s for another number, g and w a second time",
    "close": "Zeek's times and counts end with the close; the sensor's with the last packet",
    "gaps": "gaps that nobody acknowledged, or data that only an ACK tells of",
    "length_0": "segments whose IP length is 0 (a sender's own capture, TSO): Zeek counts no IP bytes of theirs",
    "script": "the test's script stops following a connection, or filters it (SCRIPTS)",
    "begin": "Zeek's state of a connection whose beginning it did not see",
}


def git(clone, *words):
    """What git says of a clone."""
    done = subprocess.run(["git", "-C", str(clone), *words], capture_output=True, check=False)
    if done.returncode:
        raise ValueError(done.stderr.decode("utf-8", "replace").strip())
    return done.stdout.decode("utf-8", "replace")


def cases(clone):
    """(name of a test, its capture, path of its conn.log) for each test that reads one capture and expects a conn.log."""
    files = git(clone, "ls-tree", "-r", "--name-only", "HEAD", TESTS).split()
    known = {pathlib.PurePosixPath(file).with_suffix("").as_posix(): file for file in files if "/Baseline" not in file}
    for file in files:
        found = re.fullmatch(TESTS + r"/Baseline/([^/]+)/conn\.log[^/]*", file)
        if found is None:
            continue
        # A test's later parts are NAME-2, NAME-3 …
        name = re.sub(r"-\d+$", "", found[1]) if f"{TESTS}/{found[1].replace('.', '/')}" not in known else found[1]
        test = known.get(f"{TESTS}/{name.replace('.', '/')}")
        traces = set(TRACE.findall(git(clone, "show", f"HEAD:{test}"))) if test else set()
        if len(traces) == 1 and name == found[1]:
            yield name, traces.pop(), file


def rows_of(text):
    """The rows of an expected log by column; None if it has no ends, or no field to compare."""
    lines = text.split("\n")
    names = next((line.removeprefix("#fields\t") for line in lines if "id.orig_h\t" in line), "").split("\t")
    if not set(ENDS) <= set(names) or not set(FIELDS) & set(names):
        return None
    lines = [line for line in lines if "id.orig_h\t" not in line]
    return [dict(zip(names, line.split("\t"))) for line in lines if line and not line.startswith("#")]


def ours(binary, path):
    """The sensor's rows."""
    with tempfile.TemporaryDirectory() as folder:
        files = zeek.sensor(binary, path, pathlib.Path(folder, "zeek"), 1)
        return zeek.columns(files["conn.log"])[1] if "conn.log" in files else []


def cause_of(name, theirs, own):
    """The cause of a difference in one field of a pair of rows."""
    history, mine = theirs.get("history", own["history"]), own["history"]
    state = theirs.get("conn_state", own["conn_state"])
    if set("Cc") & set(history):
        return "checksums"
    if name == "history":
        letters = [re.sub("[WwXx]", "", text) for text in (history, mine)]
        # Once each, in the same order.
        once = ["".join(dict.fromkeys(text)) for text in letters]
        if once[0] == once[1]:
            return "letters"
        if sorted(re.sub("[GgTt]", "", text) for text in once[:1]) == sorted(re.sub("[GgTt]", "", text) for text in once[1:]):
            return "gaps"
    packets = name.replace("ip_bytes", "pkts")
    if name.endswith("_ip_bytes") and theirs.get(packets) == own[packets] and int(theirs[name]) < int(own[name]):
        return "length_0"
    counts = ("orig_pkts", "resp_pkts", "orig_ip_bytes", "resp_ip_bytes")
    closed = state in ("SF", "RSTO", "RSTR", "RSTRH", "REJ", "RSTOS0", "S2", "S3")
    if closed and (name == "duration" or name in counts):
        return "close"
    if name in ("missed_bytes", "orig_bytes", "resp_bytes") and (theirs.get("missed_bytes", "0"), own["missed_bytes"]) != ("0", "0"):
        return "gaps"
    if name in ("conn_state", "orig_bytes", "resp_bytes") and not history.startswith("S"):
        return "begin"
    return "unexplained"


def differences(theirs, own):
    """(cause, line) for each difference between the rows of both."""
    if not theirs:
        return
    names = [name for name in KEY if name in theirs[0]]
    by_key = collections.defaultdict(list)
    for row in own:
        by_key[tuple(row[name] for name in names)].append(row)
    for row in theirs:
        key = tuple(row[name] for name in names)
        back = (key[2], key[3], key[0], key[1], *key[4:])
        found, history = by_key.get(key), row.get("history", "-")
        other = found.pop(0) if found else None
        if other is None and by_key.get(back):
            yield "turned", f"{' '.join(key)}: {history}"
            by_key[back].pop(0)
            continue
        if other is None:
            yield "not_here", f"{' '.join(key)}: {history}"
            continue
        for name in (name for name in FIELDS if name in row):
            same = row[name] == other[name]
            if name == "duration" and not same and "-" not in (row[name], other[name]):
                same = abs(float(row[name]) - float(other[name])) < 2e-6
            if not same:
                yield cause_of(name, row, other), f"{' '.join(key)}: {name}: {other[name]}, Zeek {row[name]} ({history})"
    for key, left in by_key.items():
        for row in left:
            yield "only_here", f"{' '.join(key)}: {row['conn_state']} {row['history']}"


def found_in(test, theirs, own):
    """As `differences`, with the causes that only the test knows."""
    for cause, line in differences(theirs, own):
        yield "script" if cause == "unexplained" and test in SCRIPTS else cause, line


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/synledger", type=pathlib.Path)
    parser.add_argument("--corpus", type=pathlib.Path, metavar="DIR", required=True, help="real captures")
    parser.add_argument("--zeek", type=pathlib.Path, metavar="CLONE", help="a clone of Zeek's repository")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="files at a time (2)")
    parser.add_argument("--all", action="store_true", help="show every difference, not only unexplained ones")
    args = parser.parse_args(words)
    if args.zeek is None or not args.zeek.is_dir():
        print("skipped: Zeek's baselines: no clone of its repository (--zeek)")
        return 0
    traces = args.corpus.resolve() / "zeek+zeek" / TESTS / "Traces"
    known = {path.relative_to(traces).as_posix(): path for path in extract.captures_under([traces])} if traces.is_dir() else {}
    found = [(name, known[trace], file) for name, trace, file in cases(args.zeek) if trace in known]
    if not found:
        print(f"skipped: Zeek's baselines: none of its captures at {traces}")
        return 0
    binary = args.binary.resolve()

    def one(case):
        name, path, file = case
        theirs = rows_of(git(args.zeek, "show", f"HEAD:{file}"))
        return None if theirs is None else (name, len(theirs), list(found_in(name, theirs, ours(binary, path))))

    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        results = [result for result in pool.map(one, found) if result is not None]
    causes = collections.Counter(cause for _, _, lines in results for cause, _ in lines)
    wanted = [(cause, f"{cause}: {name}: {line}") for name, _, lines in results for cause, line in lines]
    shown = [line for cause, line in wanted if args.all or cause == "unexplained"]
    print("\n".join(shown if args.all else shown[:SHOWN]), end="\n" if shown else "")
    for cause, count in sorted(causes.items()):
        print(f"{cause}={count}: {CAUSES.get(cause, 'to be looked at')}")
    equal = sum(not lines for _, _, lines in results)
    rows = sum(count for _, count, _ in results)
    print(f"zeek baselines: captures={len(results)} equal={equal} rows={rows} unexplained={causes['unexplained']}")
    return 1 if causes["unexplained"] or not results else 0


if __name__ == "__main__":
    sys.exit(main())
