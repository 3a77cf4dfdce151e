#!/usr/bin/env python3
"""Stands in for the sensor in tests of compare.py: prints the oracle's findings as EVE.

FAKE_FAULT plants a fault: `drop` leaves out the last attempt, `isn` changes one, `ports` alters
a scan's list, `scan` invents a scan, `sweep` hides a sweep, `crash` exits with 101, `stop` gives up half way, `mute`
does not report a damaged file, `books` prints no books. FAKE_CACHE names the oracle's cache.
"""

import datetime
import json
import os
import sys

import extract
import rules


def stamp(ts_ns):
    """An EVE timestamp."""
    moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=ts_ns // 1000)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f+0000")


def ranges(ports):
    """(80, 81, 82, 99) as '80-82,99'."""
    runs = []
    for port in ports:
        if runs and runs[-1][1] == port - 1:
            runs[-1][1] = port
        else:
            runs.append([port, port])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def events(found):
    """EVE events in the order of frames."""
    for a in found["attempts"]:
        yield {
            "timestamp": stamp(a["ts"]), "event_type": "new_connection", "proto": "TCP",
            "src_ip": a["src"], "src_port": a["sport"], "dest_ip": a["dst"],
            "dest_port": a["dport"], "synledger": {"isn": a["isn"]}, "pcap_cnt": a["frame"],
        }
    for s in found["scans"]:
        scan = {"kind": "port_scan", "phase": "started", "port_list": ranges(s["ports"])}
        yield {
            "timestamp": stamp(s["ts"]), "event_type": "alert", "src_ip": s["src"],
            "dest_ip": s["dst"], "synledger": {"scan": scan}, "pcap_cnt": s["frame"],
        }
    for s in found["sweeps"]:
        scan = {"kind": "host_sweep", "phase": "started", "hosts": s["hosts"]}
        yield {
            "timestamp": stamp(s["ts"]), "event_type": "alert", "src_ip": s["src"],
            "dest_ip": s["dst"], "dest_port": s["dport"], "synledger": {"scan": scan},
            "pcap_cnt": s["frame"],
        }


def plant(found, fault):
    """Plants one fault in the findings."""
    if fault == "drop" and found["attempts"]:
        found["attempts"].pop()
    elif fault == "isn" and found["attempts"]:
        found["attempts"][0]["isn"] ^= 1
    elif fault == "ports" and found["scans"]:
        found["scans"][0]["ports"][0] += 1
    elif fault == "sweep" and found["sweeps"]:
        found["sweeps"].pop()
    elif fault == "scan" and found["attempts"]:
        first = found["attempts"][0]
        found["scans"].append(first | {"ports": [1, 2, 3, 4]})
    elif fault == "stop":
        found["frames"] //= 2
        for what in ("attempts", "scans", "sweeps"):
            found[what] = [one for one in found[what] if one["frame"] <= found["frames"]]
    elif fault == "mute":
        found["error"] = None
    elif fault == "crash":
        sys.exit(101)


def main():
    path, fault = sys.argv[-1], os.environ.get("FAKE_FAULT")
    found = rules.judge(extract.cached(path, os.environ.get("FAKE_CACHE")), rules.LINKS)
    plant(found, fault)
    for event in sorted(events(found), key=lambda event: event["pcap_cnt"]):
        print(json.dumps(event))
    if fault != "books":
        print(f"{found['frames']} frames read", file=sys.stderr)
    if found["error"] is not None:
        print(f"synledger: {path}: cut short", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
