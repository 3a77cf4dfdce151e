"""The design's rules of attempt, touch, port_scan and host_sweep, by brute force.

Simple on purpose: all touches of a subject are kept, and every frame evaluates all of them again.
"""

HORIZON_NS = 130_000_000_000
WINDOW_NS = 60_000_000_000
JOIN_NS = 30_000_000_000
PORTS = 4
# Fewer than the sensor's default, so that real captures hold some: it is run with --sweep-hosts 5.
HOSTS = 5

# Wireshark's frame.encap_type numbers of the link types that the sensor reads.
LINKS = {
    1: "ethernet",
    4: "ppp",
    5: "fddi",
    6: "fddi, bits swapped",
    28: "cisco hdlc",
    7: "raw",
    15: "null",
    25: "sll",
    19: "ppp with direction",
    139: "pppoe",
    141: "nflog",
    129: "raw ipv4",
    130: "raw ipv6",
    174: "loop",
    210: "sll2",
}


def joined(rows):
    """SYN rows: whole ones, and those joined from a head of 8 to 13 bytes and the fragment at offset 8,
    in either order, at the frame that completes the pair.

    A pair is used up when it is complete; a newer head or tail replaces an older one.
    """
    out, heads, tails = [], {}, {}
    for row in rows:
        if row["kind"] == "syn":
            out.append(row | {"joined": False})
            continue
        data = bytes.fromhex(row["data"])
        key = (row["src"], row["dst"], row["id"])
        if row["kind"] == "head" and 8 <= len(data) <= 13:
            mine, other = heads, tails
        elif row["kind"] == "tail" and len(data) >= 6:
            mine, other = tails, heads
        else:
            continue
        mine[key] = row
        if key not in other or row["now"] - other[key]["now"] >= JOIN_NS:
            continue
        head = bytes.fromhex(heads.pop(key)["data"])
        flags = bytes.fromhex(tails.pop(key)["data"])[5]
        if flags & 0x02 and not flags & 0x10:
            out.append(row | header(head) | {"joined": True})
    return out


def header(head):
    """Ports and sequence number from the first 8 bytes of a TCP header."""
    sport, dport = int.from_bytes(head[0:2]), int.from_bytes(head[2:4])
    return {"sport": sport, "dport": dport, "isn": int.from_bytes(head[4:8])}


def attempts(syns):
    """The first SYN without ACK whose (addresses, ports, initial sequence number) was not seen in
    the 130 s of packet time after its first SYN. Joined SYNs are compared only with joined ones."""
    first, out = {}, []
    for syn in syns:
        key = (syn["src"], syn["sport"], syn["dst"], syn["dport"], syn["isn"], syn["joined"])
        if key in first and syn["now"] - first[key] < HORIZON_NS:
            continue
        first[key] = syn["now"]
        out.append(syn)
    return out


def newest_by_item(touches):
    """For each item its newest touch."""
    newest = {}
    for ts, item in touches:
        newest[item] = max(ts, newest.get(item, ts))
    return newest


def rising_edges(syns, subject, item, least):
    """Touches at which `least` items of one subject come to lie within a window, with the items.
    `subject` and `item` are names of fields."""
    touches, true_until, out = {}, {}, []
    for syn in syns:
        who = tuple(syn[name] for name in subject)
        touches.setdefault(who, []).append((syn["ts"], syn[item]))
        newest = newest_by_item(touches[who])
        latest = max(newest.values())
        within = sorted(one for one, ts in newest.items() if latest - ts < WINDOW_NS)
        if len(within) < least:
            continue
        if who not in true_until or latest >= true_until[who] + WINDOW_NS:
            out.append((syn, within))
        nth = sorted(newest.values(), reverse=True)[least - 1]
        true_until[who] = nth + WINDOW_NS
    return out


def port_scans(syns):
    """Frames at which port_scan fires for a pair of source and destination."""
    edges = rising_edges(syns, ("src", "dst"), "dport", PORTS)
    names = ("frame", "ts", "src", "dst")
    return [{name: syn[name] for name in names} | {"ports": ports} for syn, ports in edges]


def host_sweeps(syns):
    """Frames at which host_sweep fires for a source and a port."""
    edges = rising_edges(syns, ("src", "dport"), "dst", HOSTS)
    names = ("frame", "ts", "src", "dst", "dport")
    return [{name: syn[name] for name in names} | {"hosts": len(hosts)} for syn, hosts in edges]


def judge(extracted, links=None):
    """Attempts and rising edges of both rules of one capture; `links` limits the encapsulations (None: all)."""
    rows = [row for row in extracted["rows"] if links is None or row["encap"] in links]
    syns = joined(rows)
    wanted = ("frame", "ts", "src", "sport", "dst", "dport", "isn", "joined")
    return {
        "frames": extracted["frames"],
        "error": extracted["error"],
        "encaps": extracted["encaps"],
        "touches": len(syns),
        "attempts": [{name: syn[name] for name in wanted} for syn in attempts(syns)],
        "scans": port_scans(syns),
        "sweeps": host_sweeps(syns),
    }


def most_ports_in_window(syns):
    """truth.csv's max_dports_pair_60s: most ports of one pair in any 60 s, whole SYNs only."""
    touches, most = {}, 0
    for syn in syns:
        touches.setdefault((syn["src"], syn["dst"]), []).append((syn["ts"], syn["dport"]))
    for seen in touches.values():
        for start, _ in seen:
            ports = {port for ts, port in seen if 0 <= ts - start < WINDOW_NS}
            most = max(most, len(ports))
    return most


def truth_counts(extracted):
    """The three columns of truth.csv that tshark can check."""
    syns = [row for row in extracted["rows"] if row["kind"] == "syn"]
    distinct = {(s["src"], s["sport"], s["dst"], s["dport"], s["isn"]) for s in syns}
    return {
        "tcp_syn_noack": len(syns),
        "tuples4_plus_isn": len(distinct),
        "max_dports_pair_60s": most_ports_in_window(syns),
    }
