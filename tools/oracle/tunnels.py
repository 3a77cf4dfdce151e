#!/usr/bin/env python3
"""Compares `read --decap all` and `read --checksums verify` with tshark over captures: the connections inside tunnels,
and the frames with bad checksums. See README.md.

Exit status: 0 every difference is explained, 1 one is not, 2 no tshark or no capture.
"""

import argparse
import collections
import csv
import json
import pathlib
import shutil
import subprocess
import sys

import extract

# Layers that the sensor follows up to TCP; a tunnel of another kind explains a difference.
FOLLOWED = set("eth ethertype ip ipv6 gre vxlan geneve udp tcp vlan sll ieee8021ad nvgre data raw null loop llc".split())
FOLLOWED |= {"ipv6.hopopts", "ipv6.dstopts", "ipv6.routing", "ipv6.fraghdr", "pppoes", "ppp", "mpls", "ah", "geneve.option"}
CHECKED = [word for name in ("ip", "tcp", "udp") for word in ("-o", f"{name}.check_checksum:TRUE")]
STATUS = ("ip.checksum.status", "tcp.checksum.status", "udp.checksum.status")
BAD = {"0", "4"}


def sensor(binary, path, *flags):
    """The attempts of the log, and the last books."""
    words = [binary, "read", "--output", "eve:-,events=connection+stats", *flags, path]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    new = [one for one in records if one["event_type"] == "new_connection"]
    keys = {(one["src_ip"], one["src_port"], one["dest_ip"], one["dest_port"], one["synledger"]["isn"]) for one in new}
    books = [one["synledger"]["books"] for one in records if one["event_type"] == "stats"]
    return keys, books[-1] if books else {}


def tshark(path):
    """SYNs without ACK of the innermost packets, each with its layers."""
    found = {}
    for number, row in extract.packets(path, occurrence="a"):
        layers = row["frame.protocols"].split(":") if number is not None else []
        if not layers or not row["tcp.flags"] or {"icmp", "icmpv6"} & set(layers):
            continue
        last = {name: value.split(",")[-1] for name, value in row.items()}
        flags = int(last["tcp.flags"], 16)
        if not flags & extract.SYN or flags & extract.ACK or not last["tcp.seq_raw"]:
            continue
        family = [layer for layer in layers if layer in ("ip", "ipv6")][-1]
        key = (last[f"{family}.src"], int(last["tcp.srcport"]), last[f"{family}.dst"], int(last["tcp.dstport"]),
               int(last["tcp.seq_raw"]))
        found.setdefault(key, layers[:layers.index("tcp") + 1] if layers.count("tcp") == 1 else layers)
    return found


def explained(layers):
    """Why the sensor does not have a connection behind these layers, or None."""
    odd = [layer for layer in layers if layer not in FOLLOWED]
    twice = [layer for layer in ("gre", "vxlan", "geneve") if layers.count(layer) > 1]
    return next((f"{layer} is not opened" for layer in odd), next((f"two of {layer}" for layer in twice), None))


def compare_tunnels(binary, path, totals):
    ours, _ = sensor(binary, path, "--decap", "all")
    plain, _ = sensor(binary, path)
    theirs = tshark(path)
    inside = {key for key, layers in theirs.items() if any(word in layers for word in ("gre", "vxlan", "geneve"))
              or sum(layers.count(word) for word in ("ip", "ipv6")) > 1}
    totals["inside, tshark"] += len(inside)
    totals["inside, synledger"] += len(ours & inside)
    totals["opened"] += len(ours - plain)
    for key in sorted((theirs.keys() ^ ours) - (theirs.keys() ^ plain), key=str) + sorted(inside - ours, key=str):
        why = explained(theirs[key]) if key in theirs else None
        totals["explained" if why else "NOT EXPLAINED"] += 1
        print(f"{path}: {key}: {'tshark' if key in theirs else 'synledger'} alone: {why or 'NOT EXPLAINED'}")


def bad_frames(path):
    """Frames whose outermost headers have a bad checksum, by tshark: of IP, of TCP, of UDP."""
    fields = [word for name in ("frame.protocols", *STATUS) for word in ("-e", name)]
    words = ["tshark", "-n", "-r", path, *CHECKED, "-o", "ip.defragment:FALSE", "-o", "ipv6.defragment:FALSE", "-T", "fields",
             "-E", "occurrence=f", "-E", "separator=/t", *fields]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    bad = [0, 0, 0]
    for line in done.stdout.splitlines():
        protocols, *status = (line.split("\t") + [""] * 4)[:4]
        transport = extract.outer(protocols)[1]
        if status[0] in BAD:
            bad[0] += 1
        elif transport == "tcp" and status[1] in BAD:
            bad[1] += 1
        elif transport == "udp" and status[2] in BAD:
            bad[2] += 1
    return bad


def compare_checksums(binary, path, totals):
    _, books = sensor(binary, path, "--checksums", "verify")
    unread = books.get("unread_frames", {})
    ours = [unread.get(f"bad_{name}_checksum", 0) for name in ("ip", "tcp", "udp")]
    theirs = bad_frames(path)
    for name, one, other in zip(("ip", "tcp", "udp"), ours, theirs):
        totals[f"bad {name}, synledger"] += one
        totals[f"bad {name}, tshark"] += other
    if ours != theirs:
        totals["captures that differ in checksums"] += 1
        print(f"{path}: bad ip, tcp, udp: synledger {ours}, tshark {theirs}")


def with_tunnels(folder):
    """The captures of a folder in which its truth.csv has tunnels."""
    with open(folder / "truth.csv", newline="", encoding="utf-8") as file:
        return [folder / row["path"] for row in csv.DictReader(file) if row["tunnels"] or int(row["syn_in_tunnel"] or 0)]


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=pathlib.Path, metavar="FILE")
    parser.add_argument("--corpus", type=pathlib.Path, metavar="DIR", help="also the captures there in which DIR/truth.csv has tunnels")
    parser.add_argument("--binary", default="target/release/synledger", type=pathlib.Path)
    parser.add_argument("--checksums", action="store_true", help="compare bad checksums instead of tunnels")
    args = parser.parse_args(words)
    if args.corpus is not None and not (args.corpus / "truth.csv").is_file():
        print(f"skipped: tunnels of the corpus: there is no {args.corpus / 'truth.csv'}")
        return 0
    files = args.files + (with_tunnels(args.corpus) if args.corpus is not None else [])
    if not files:
        parser.error("name a FILE, or --corpus")
    if shutil.which("tshark") is None:
        print("tunnels: tshark is not installed: apt-get install tshark", file=sys.stderr)
        return 2
    totals = collections.Counter(captures=len(files))
    for path in files:
        (compare_checksums if args.checksums else compare_tunnels)(args.binary.resolve(), path, totals)
    captures = totals.pop("captures")
    print(f"tunnels: files={captures}", *(f"{name.replace(', ', '-').replace(' ', '-')}={count}" for name, count in totals.items()))
    return 1 if totals["NOT EXPLAINED"] else 0


if __name__ == "__main__":
    sys.exit(main())
