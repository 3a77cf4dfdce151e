#!/usr/bin/env python3
"""Counts the new connections of a capture three ways: by the sensor, by the oracle from tshark's fields, and by a
line of shell that anybody can run. Prints each connection that not all of them have, and why. See README.md.

Exit status: 0 every difference is explained, 1 one is not, 2 wrong arguments or no tshark.
"""

import argparse
import collections
import ipaddress
import pathlib
import shlex
import shutil
import subprocess
import sys

import compare
import extract
import rules

SHOWN = 20
FIELDS = "ip.src ipv6.src tcp.srcport ip.dst ipv6.dst tcp.dstport tcp.seq_raw".split()
KEY = "src sport dst dport isn".split()
# tshark's own settings, as the line of shell has them.
AS_SHIPPED = [word for name in ("ip.defragment", "ipv6.defragment", "tcp.desegment_tcp_streams")
              for word in ("-o", f"{name}:TRUE")]


def pipeline(path):
    """The line of shell: SYNs without ACK, each address, port and sequence number once."""
    fields = " ".join(f"-e {field}" for field in FIELDS)
    return (f"tshark -n -r {shlex.quote(str(path))} -Y 'tcp.flags.syn == 1 && tcp.flags.ack == 0 && !icmp && !icmpv6' "
            f"-T fields -E occurrence=f {fields} | sort -u | wc -l")


def by_hand(path):
    """Connection → (frame, layers) of its first SYN, as the line of shell counts them."""
    out = {}
    for number, row in extract.packets(path, AS_SHIPPED):
        if number is None or not row["tcp.flags"]:
            continue
        flags, layers = int(row["tcp.flags"], 16), row["frame.protocols"].split(":")
        if flags & extract.SYN and not flags & extract.ACK and not {"icmp", "icmpv6"} & set(layers):
            ends = tuple(row[field] for field in FIELDS)
            out.setdefault(ends, (number, row["frame.protocols"], row["frame.encap_type"]))
    return {spelled(ends): where for ends, where in out.items()}


def spelled(ends):
    """Fields of the line of shell as the oracle spells a connection."""
    source4, source6, sport, target4, target6, dport, isn = ends
    one = lambda *given: str(ipaddress.ip_address(next(filter(None, given))))  # noqa: E731
    return one(source4, source6), int(sport), one(target4, target6), int(dport), int(isn)


def shown(key):
    """A connection for a person."""
    src, sport, dst, dport, isn = key
    ends = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in ((src, sport), (dst, dport))]
    return f"{ends[0]} -> {ends[1]} isn {isn}"


def of_hand_alone(where):
    """Why the line of shell counts a connection that the sensor does not, or None."""
    frame, layers, encap = where
    if int(encap) not in rules.LINKS:
        return f"frame {frame}: its link type is not read"
    if extract.outer(layers)[1] != "tcp":
        return f"frame {frame}: inside a tunnel ({layers}); the sensor counts outer headers"
    return None


def differences(sensor, oracle, hand):
    """(line, explained) of each connection that not all three have. `sensor`: connections with repetition; `oracle`:
    attempts; `hand`: what `by_hand` gives."""
    ours = collections.Counter(sensor)
    theirs = collections.Counter(tuple(attempt[name] for name in KEY) for attempt in oracle)
    joined = {tuple(attempt[name] for name in KEY) for attempt in oracle if attempt["joined"]}
    for key in sorted(ours.keys() | theirs.keys() | hand.keys()):
        counts = f"{shown(key)}: synledger {ours[key]}, tshark {theirs[key]}, by hand {int(key in hand)}"
        if ours[key] != theirs[key]:
            yield f"{counts}: NOT EXPLAINED", False
        elif ours[key] > 1:
            yield f"{counts}: its SYN came again {rules.HORIZON_NS // 1_000_000_000} s or more after the first", True
        elif ours[key] and key not in hand:
            yield f"{counts}: {'its SYN came in fragments' if key in joined else 'NOT EXPLAINED'}", key in joined
        elif not ours[key]:
            why = of_hand_alone(hand[key])
            yield f"{counts}: {why or 'NOT EXPLAINED'}", why is not None


def prove(binary, path):
    """Prints the counts and the differences of a capture; false if one is not explained."""
    sensor = compare.run_sensor(binary, path, 1, compare.Setting())
    found = rules.judge(extract.extract(path), rules.LINKS)
    hand, line = by_hand(path), pipeline(path)
    pasted = subprocess.run(["sh", "-c", line], capture_output=True, check=True, text=True).stdout.strip()
    print(f"{path}")
    print(f"  synledger  {len(sensor.attempts)} new connections in {sensor.frames} frames")
    print(f"  tshark     {len(found['attempts'])} by the sensor's rules in {found['frames']} frames")
    print(f"  by hand    {pasted}: {line}")
    for who, why in (("synledger", sensor.damage), ("tshark", found["error"])):
        if why is not None:
            print(f"  damaged    {who}: {why}")
    # As EVE has them: frame, time, then the connection.
    all_found = list(differences([attempt[2:] for attempt in sensor.attempts], found["attempts"], hand))
    open_ones = [text for text, explained in all_found if not explained]
    # What is not explained stands first.
    listed = open_ones + [text for text, explained in all_found if explained]
    print(f"  differ     {len(all_found)}, of these not explained {len(open_ones)}")
    for text in listed[:SHOWN]:
        print(f"    {text}")
    if len(listed) > SHOWN:
        print(f"    and {len(listed) - SHOWN} more")
    if int(pasted) != len(hand):
        print(f"  NOT EXPLAINED: the line of shell counts {pasted}, its frames one by one give {len(hand)}")
    return not open_ones and int(pasted) == len(hand)


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=pathlib.Path, metavar="FILE")
    parser.add_argument("--binary", default="target/release/synledger", type=pathlib.Path)
    args = parser.parse_args(words)
    if shutil.which("tshark") is None:
        print("prove: tshark is not installed: apt-get install tshark", file=sys.stderr)
        return 2
    for path in [args.binary, *args.files]:
        if not path.is_file():
            print(f"prove: {path}: no such file", file=sys.stderr)
            return 2
    try:
        same = [prove(args.binary.resolve(), path) for path in args.files]
    except (ValueError, subprocess.SubprocessError) as why:
        print(f"prove: {why}", file=sys.stderr)
        return 1
    return 0 if all(same) else 1


if __name__ == "__main__":
    sys.exit(main())
