#!/usr/bin/env python3
"""Stands in for the sensor in tests of compare.py: prints the oracle's findings as EVE.

FAKE_FAULT plants a fault: `drop` leaves out the last attempt, `isn` changes one, `ports` alters a scan's list,
`scan` invents a scan, `sweep` hides a sweep, `stealth`, `udp` and `slow` hide the scans of that kind
(`stealth-of-8` and so on only with 8 workers), `probe` takes a port from a stealth scan's list, `crash` exits
with 101, `stop` gives up half way, `mute` does not report a damaged file, `books` prints no books. FAKE_CACHE
names the oracle's cache.
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
    for kind in ("port_scan", "stealth_scan", "udp_scan"):
        for s in found["scans"][kind]:
            yield alert(s, {"kind": kind, "port_list": ranges(s["ports"])})
    for s in found["scans"]["host_sweep"]:
        yield alert(s, {"kind": "host_sweep", "hosts": s["hosts"]}) | {"dest_port": s["dport"]}
    for s in found["scans"]["slow_scan"]:
        yield alert(s, {"kind": "slow_scan"})


def alert(s, scan):
    """The EVE record of a scan that starts."""
    return {
        "timestamp": stamp(s["ts"]), "event_type": "alert", "src_ip": s["src"], "dest_ip": s["dst"],
        "synledger": {"scan": scan | {"phase": "started"}}, "pcap_cnt": s["frame"],
    }


def value_of(flag, default):
    """The number of a flag such as `--udp-scan 3/60s`."""
    if flag not in sys.argv:
        return default
    return int(sys.argv[sys.argv.index(flag) + 1].split("/")[0])


def limits():
    """The limits that the command line sets."""
    return rules.Limits(
        ports=value_of("--scan-ports", 4), hosts=value_of("--sweep-hosts", 25),
        stealth=value_of("--stealth-scan", 3), udp=value_of("--udp-scan", 10),
        slow=value_of("--slow-scan", 10),
    )


def plant(found, fault):
    """Plants one fault in the findings."""
    scans = found["scans"]
    if fault == "drop" and found["attempts"]:
        found["attempts"].pop()
    elif fault == "isn" and found["attempts"]:
        found["attempts"][0]["isn"] ^= 1
    elif fault == "ports" and scans["port_scan"]:
        scans["port_scan"][0]["ports"][0] += 1
    elif fault == "probe" and scans["stealth_scan"]:
        scans["stealth_scan"][0]["ports"].pop()
    elif fault == "sweep" and scans["host_sweep"]:
        scans["host_sweep"].pop()
    elif fault in ("stealth", "udp", "slow"):
        scans[f"{fault}_scan"].clear()
    elif fault in ("stealth-of-8", "udp-of-8", "slow-of-8") and value_of("--workers", 1) == 8:
        scans[fault.replace("-of-8", "_scan")].clear()
    elif fault == "scan" and found["attempts"]:
        first = found["attempts"][0]
        scans["port_scan"].append(first | {"ports": [1, 2, 3, 4]})
    elif fault == "stop":
        found["frames"] //= 2
        found["attempts"] = [one for one in found["attempts"] if one["frame"] <= found["frames"]]
        for kind, these in scans.items():
            scans[kind] = [one for one in these if one["frame"] <= found["frames"]]
    elif fault == "mute":
        found["error"] = None
    elif fault == "crash":
        sys.exit(101)


def main():
    path, fault = sys.argv[-1], os.environ.get("FAKE_FAULT")
    found = rules.judge(extract.cached(path, os.environ.get("FAKE_CACHE")), rules.LINKS, limits())
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
