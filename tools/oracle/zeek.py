#!/usr/bin/env python3
"""Compares the sensor's Zeek logs with its EVE, over a seeded sample of captures, and reads every row with two
third-party readers of Zeek logs.

Exit status: 0 no difference (or nothing to compare: `skipped: why`), 1 differences.
"""

import argparse
import collections
import concurrent.futures
import gzip
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

import compare
import extract

READERS = ("zat==0.4.9", "parsezeeklogs==3.0.1")
TIMEOUT_S, INSTALL_S, SHOWN = 120, 120, 20
LOCAL = {"in": ("F", "T"), "out": ("T", "F"), "local": ("T", "T"), "transit": ("F", "F")}
PROTO = {"TCP": "tcp", "UDP": "udp", "ICMP": "icmp", "IPv6-ICMP": "icmp"}
# zat reads an unset value as the zero of its type, but an unset time or string as it is.
ZAT_UNSET = {"bool": False, "count": 0, "port": 0, "double": 0.0, "interval": 0}
READ = {
    "zat": """
import json, sys
from zat.zeek_log_reader import ZeekLogReader
plain = lambda v: round(v.timestamp() * 1e6) if hasattr(v, "timestamp") else round(v.total_seconds() * 1e6)
rows = list(ZeekLogReader(sys.argv[1], strict=True).readrows())
json.dump(rows, open(sys.argv[2], "w"), default=plain)
""",
    "parsezeeklogs": """
import json, sys
from parsezeeklogs import ZeekLog
def failed(number, line, why): raise ValueError(f"line {number}: {why}")
json.dump(list(ZeekLog(sys.argv[1], on_error=failed)), open(sys.argv[2], "w"), default=str)
""",
}


def columns(path):
    """What zeek-cut uses: names and types of the header, rows by name. ValueError if the format is wrong."""
    # Rotated files are compressed.
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    lines = data.decode("ascii").split("\n")
    if lines.pop() != "" or not lines[-1].startswith("#close\t"):
        raise ValueError(f"{path.name}: #close is not its last line")
    head = dict(line.split("\t", 1) for line in lines if line.startswith("#") and "\t" in line)
    names, types = head["#fields"].split("\t"), head["#types"].split("\t")
    if len(names) != len(types) or len(set(names)) != len(names):
        raise ValueError(f"{path.name}: {len(names)} #fields, {len(types)} #types")
    rows = [line.split("\t") for line in lines if not line.startswith("#")]
    bad = [row for row in rows if len(row) != len(names)]
    if bad:
        raise ValueError(f"{path.name}: a row of {len(bad[0])} columns, not {len(names)}: {bad[0]}")
    return dict(zip(names, types)), [dict(zip(names, row)) for row in rows]


def micros(text):
    """Seconds with six decimals as microseconds; None where unset."""
    if text == "-":
        return None
    if len(text.partition(".")[2]) != 6:
        raise ValueError(f"{text}: not six decimals")
    return extract.nanoseconds(text) // 1000


def flow_of(row):
    """The fields of a row of conn.log that EVE has, too."""
    names = ("id.orig_h", "id.resp_h", "proto", "conn_state", "orig_pkts", "resp_pkts", "community_id", "missed_bytes",
             "orig_ip_bytes", "resp_ip_bytes")
    out = {name: row[name] for name in names} | {"ts": micros(row["ts"]), "history": row["history"]}
    out["local"] = (row["local_orig"], row["local_resp"])
    if row["proto"] in ("tcp", "udp"):
        out["ports"] = (row["id.orig_p"], row["id.resp_p"])
    lasted = (row["duration"], row["orig_bytes"], row["resp_bytes"])
    return out, lasted


def flow_in(event):
    """The same fields of a flow record of EVE."""
    flow, own = event["flow"], event["synledger"]
    start, end = (compare.microseconds(flow[name]) for name in ("start", "end"))
    history = "".join(c for c in own["history"] if c == "^" or c.isascii() and c.isalpha())
    proto = PROTO.get(event["proto"], "unknown_transport")
    out = {"id.orig_h": event["src_ip"], "id.resp_h": event["dest_ip"], "proto": proto,
           "conn_state": own["conn_state"], "orig_pkts": str(flow["pkts_toserver"]),
           "resp_pkts": str(flow["pkts_toclient"]), "community_id": event.get("community_id"),
           "ts": start, "history": history or "-", "local": LOCAL.get(own["direction"], ("-", "-"))}
    if proto in ("tcp", "udp"):
        out["ports"] = (str(event["src_port"]), str(event["dest_port"]))
    ways = ("toserver", "toclient")
    # By sequence numbers: what was sent again counts once, what is missing counts.
    own_bytes = tuple(str(own[f"payload_bytes_{way}"] - own.get(f"retransmitted_bytes_{way}", 0)
                          + own.get(f"missed_bytes_{way}", 0)) for way in ways)
    missed = 0 if own["midstream"] else sum(own.get(f"missed_bytes_{way}", 0) for way in ways)
    out |= {"missed_bytes": str(missed), "orig_ip_bytes": str(own["ip_bytes_toserver"]),
            "resp_ip_bytes": str(own["ip_bytes_toclient"])}
    return out, (end - start, *own_bytes)


def flow_differences(row, event):
    """Lines for the differences of a flow."""
    (ours, lasted), (theirs, wanted) = flow_of(row), flow_in(event)
    out = [f"{name}: {ours.get(name)}, EVE {theirs[name]}" for name in theirs if ours.get(name) != theirs[name]]
    # EVE truncates two times to microseconds, `duration` is truncated once: it may be one less.
    unset = lasted == ("-", "-", "-") and wanted[0] <= 0
    if not unset and not (wanted[0] - (micros(lasted[0]) or 0) in (0, 1) and lasted[0] != "-" and lasted[1:] == wanted[1:]):
        out.append(f"duration and bytes: {lasted}, EVE {wanted}")
    return out


FLOODS = ("syn_flood", "rst_flood", "udp_flood", "icmp_flood")
# What `n` counts.
COUNTED = {"ports": ("port_scan", "stealth_scan", "udp_scan", "distributed_scan"), "hosts": ("host_sweep",),
           "places": ("slow_scan",), "packets": FLOODS}
NOTES = {"port_scan": "Scan::Port_Scan", "host_sweep": "Scan::Address_Scan", "stealth_scan": "Scan::Stealth_Scan",
         "udp_scan": "Scan::UDP_Scan", "slow_scan": "Scan::Slow_Scan", "distributed_scan": "Scan::Distributed_Scan",
         "syn_flood": "Flood::SYN_Flood", "rst_flood": "Flood::RST_Flood", "udp_flood": "Flood::UDP_Flood",
         "icmp_flood": "Flood::ICMP_Flood"}


def notice_differences(row, event):
    """Lines for the differences of a detection."""
    scan = event["synledger"]["scan"]
    kind = scan["kind"]
    counted = next(name for name in ("packets", "places", "hosts", "ports") if name in scan and kind in COUNTED[name])
    wanted = {"note": NOTES[kind], "src": event.get("src_ip", "-"), "dst": event["dest_ip"],
              "p": str(event.get("dest_port", "-")), "n": str(scan[counted]), "proto": event["proto"].lower()}
    out = [f"{name}: {row[name]}, EVE {want}" for name, want in wanted.items() if row[name] != want]
    if micros(row["ts"]) != compare.microseconds(event["timestamp"]):
        out.append(f"ts: {row['ts']}, EVE {event['timestamp']}")
    return out + (["msg: empty"] if row["msg"] in ("", "-", "(empty)") else [])


def eve_differences(logs, eve):
    """conn.log and notice.log against the records of EVE, in order."""
    out = []
    for name, kind, differ in (("conn", "flow", flow_differences), ("notice", "alert", notice_differences)):
        events = [event for event in eve if event["event_type"] == kind]
        rows = logs.get(name, (None, []))[1]
        if len(rows) != len(events):
            out.append(f"{name}: {len(rows)} rows, EVE has {len(events)}")
        for number, (row, event) in enumerate(zip(rows, events), 1):
            out += [f"{name} row {number}: {line}" for line in differ(row, event)]
    return out


def as_zat(kind, text):
    """A value as zat reads it."""
    if text == "-":
        return ZAT_UNSET.get(kind, "-")
    return as_typed(kind, text, micros)


def as_typed(kind, text, seconds):
    """A value of a type; `seconds` converts times and intervals."""
    typed = {"count": int, "port": int, "double": float, "bool": "T".__eq__, "time": seconds, "interval": seconds}
    return typed.get(kind, str)(text)


def as_parsezeeklogs(kind, text):
    """A value as parsezeeklogs reads it: None if unset."""
    if text == "-":
        return None
    if kind.startswith("set["):
        return [] if text == "(empty)" else text.split(",")
    return as_typed(kind, "" if text == "(empty)" else text, float)


def reader_differences(reader, types, rows, read):
    """Lines for rows that a reader read otherwise."""
    expect = {"zat": as_zat, "parsezeeklogs": as_parsezeeklogs}[reader]
    out = [] if len(rows) == len(read) else [f"{reader}: {len(read)} rows of {len(rows)}"]
    for number, (row, got) in enumerate(zip(rows, read), 1):
        for name, text in row.items():
            want, has = expect(types[name], text), got.get(name, "no such field")
            if reader == "zat" and types[name] == "time" and text == "-" or want == has:
                continue
            out.append(f"{reader}: row {number}: {name}: {has!r}, not {want!r}")
    return out


def install(folder):
    """Installs the readers into a folder; returns why that failed, or None."""
    marker = folder / "installed"
    if marker.is_file() and marker.read_text() == " ".join(READERS):
        return None
    if os.environ.get("NO_INSTALL"):
        return "NO_INSTALL is set"
    # zat's reader does not need the dependencies of the package (pandas and more).
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--upgrade", "--target", str(folder), *READERS]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=INSTALL_S)
    except subprocess.TimeoutExpired:
        return f"pip took more than {INSTALL_S} s"
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["pip failed"])[-1]
    marker.write_text(" ".join(READERS))
    return None


def read_by(reader, path, readers):
    """The rows of a log, read by a reader."""
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder, "rows")
        environment = os.environ | {"PYTHONPATH": str(readers), "TZ": "UTC"}
        command = [sys.executable, "-c", READ[reader], str(path), str(out)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
        if done.returncode:
            raise ValueError(f"{reader}: {path.name}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
        return json.loads(out.read_text())


def sensor(binary, path, folder, workers, more="", outputs=()):
    """Runs `read`; {name: file} of its logs."""
    folder.mkdir()
    # Zeek takes frames in the file's order.
    command = [str(binary), "read", "-q", "--reorder", "0", "--workers", str(workers), "--sensor", "corpus"]
    for output in (f"zeek:{folder}{more}", *outputs):
        command += ["--output", output]
    done = subprocess.run([*command, str(path)], capture_output=True, check=False, timeout=TIMEOUT_S)
    if done.returncode not in (0, 1):
        raise ValueError(f"exit status {done.returncode}: {done.stderr[-200:]!r}")
    return {file.name: file for file in sorted(folder.iterdir())}


def union_differences(logs, rotated):
    """Rows of all rotated files against those of unrotated ones; each is {log name: rows}."""
    out = []
    for name in sorted(logs.keys() | rotated.keys()):
        whole, parts = (collections.Counter(map(str, side.get(name, []))) for side in (logs, rotated))
        if whole != parts:
            out.append(f"{name}: rotated, {sum((parts - whole).values())} rows more and {sum((whole - parts).values())} fewer")
    return out


def byte_differences(workers, one, other):
    """Files of one worker against those of several."""
    same = {name: file.read_bytes() for name, file in one.items()} == {name: file.read_bytes() for name, file in other.items()}
    return [] if same else [f"{workers} workers write other bytes than one"]


def compare_one(binary, path, readers):
    """Number of rows compared, and lines for the differences."""
    with tempfile.TemporaryDirectory() as place:
        place = pathlib.Path(place)
        eve = place / "eve"
        try:
            files = sensor(binary, path, place / "1", 1, outputs=[f"eve:{eve},events=alert+flow"])
            logs = {name.removesuffix(".log"): columns(file) for name, file in files.items()}
            events = [json.loads(line) for line in eve.read_text().splitlines()] if eve.is_file() else []
            out = eve_differences(logs, events)
            for reader in READ if readers else ():
                for name, (types, rows) in logs.items():
                    out += reader_differences(reader, types, rows, read_by(reader, files[f"{name}.log"], readers))
            for workers in (2, 8):
                out += byte_differences(workers, files, sensor(binary, path, place / str(workers), workers))
            rotated = collections.defaultdict(list)
            for name, file in sensor(binary, path, place / "rotated", 1, ",rotate=1m").items():
                rotated[name.split(".")[0]] += columns(file)[1]
            out += union_differences({name: rows for name, (_, rows) in logs.items()}, rotated)
        except (ValueError, KeyError, subprocess.TimeoutExpired) as why:
            return 0, [f"{type(why).__name__}: {why}"]
    return sum(len(rows) for _, rows in logs.values()), out


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", default="target/release/synledger", type=pathlib.Path)
    parser.add_argument("--corpus", type=pathlib.Path, metavar="DIR", help="real captures")
    parser.add_argument("--crafted", type=pathlib.Path, metavar="DIR", help="crafted captures")
    parser.add_argument("--sample", type=int, default=60, metavar="N", help="size of the seeded sample of real captures (60)")
    parser.add_argument("--readers", default="target/zeek-readers", type=pathlib.Path, metavar="DIR", help="where the readers are installed")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="files at a time (2)")
    args = parser.parse_args(words)
    paths = []
    for what, folder, most in (("corpus", args.corpus, args.sample), ("crafted", args.crafted, None)):
        found = extract.captures_under([folder]) if folder is not None and folder.is_dir() else []
        if folder is not None and not found:
            print(f"skipped: zeek logs of {what} captures: {folder} has none")
        paths += found if most is None else random.Random(1).sample(found, min(most, len(found)))
    if not paths:
        return 0
    missing, readers = install(args.readers), args.readers.resolve()
    if missing:
        print(f"skipped: readers of Zeek logs: {missing}")
        readers = None
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        found = list(pool.map(lambda path: compare_one(args.binary.resolve(), path.resolve(), readers), paths))
    lines = [f"differs: {path}: {line}" for path, (_, out) in zip(paths, found) for line in out[:SHOWN]]
    print("\n".join(lines[:200]), end="\n" if lines else "")
    rows, differing = sum(rows for rows, _ in found), sum(bool(out) for _, out in found)
    if rows == 0:
        print("differs: no row was compared")
    print(f"zeek: files={len(paths)} rows={rows} differing={differing}")
    return 1 if differing or rows == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
