"""The design's rules of attempt, touch and scan, by brute force.

Simple on purpose: all touches of a subject are kept, and every frame evaluates all of them again.
"""

import dataclasses

import flows

HORIZON_NS = flows.HORIZON_NS
WINDOW_NS = 60_000_000_000
JOIN_NS = 30_000_000_000

# The kinds of scan, in the order in which they are reported.
KINDS = ("port_scan", "host_sweep", "stealth_scan", "udp_scan", "slow_scan")


@dataclasses.dataclass(frozen=True)
class Limits:
    """How many ports or hosts make a scan; all but `slow` within 60 s, `slow` within 8 h."""

    ports: int = 4
    hosts: int = 5
    stealth: int = 3
    udp: int = 10
    slow: int = 10


# The sensor's defaults, but for `hosts`: `--sweep-hosts 5`, so that captures may be small.
DEFAULTS = Limits()
# Fewer, so that real captures hold some.
FEW = Limits(stealth=2, udp=3, slow=4)
SLOW_WINDOW_NS = 8 * 3600 * 1_000_000_000
# slow_scan looks at so many (host, port) of a source: those touched last.
SLOW_KEPT = 12
# The first of those that failed is to be so much older than the last touch.
SLOW_SPAN_NS = 60_000_000_000
SLOW_UNANSWERED_NS = 5_000_000_000

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
    """SYN rows: whole ones, and joined ones."""
    return [row for row in merged(rows) if row["kind"] == "syn"]


def merged(rows):
    """All rows, with SYNs that are joined from a head of 8 to 13 bytes and the fragment at offset 8, in either
    order, at the frame that completes the pair; without these pieces.

    A pair is used up when it is complete; a newer head or tail replaces an older one.
    """
    out, heads, tails = [], {}, {}
    for row in rows:
        if row["kind"] not in ("syn", "head", "tail"):
            out.append(row)
            continue
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
            more = {"kind": "syn", "joined": True, "flags": flags, "ack": 0, "len": 0}
            out.append(row | header(head) | more)
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


def rising_edges(seen, subject, item, least):
    """Touches at which `least` items of one subject come to lie within a window, with the items.
    `subject` and `item` are names of fields."""
    touches, true_until, out = {}, {}, []
    for one in seen:
        who = tuple(one[name] for name in subject)
        touches.setdefault(who, []).append((one["ts"], one[item]))
        newest = newest_by_item(touches[who])
        latest = max(newest.values())
        within = sorted(each for each, ts in newest.items() if latest - ts < WINDOW_NS)
        if len(within) < least:
            continue
        if who not in true_until or latest >= true_until[who] + WINDOW_NS:
            out.append((one, within))
        nth = sorted(newest.values(), reverse=True)[least - 1]
        true_until[who] = nth + WINDOW_NS
    return out


def of_pair(seen, least):
    """Frames at which a rule fires that counts the ports of a source and a destination."""
    edges = rising_edges(seen, ("src", "dst"), "dport", least)
    names = ("frame", "ts", "src", "dst")
    return [{name: one[name] for name in names} | {"ports": ports} for one, ports in edges]


def port_scans(syns, least=DEFAULTS.ports):
    """Frames at which port_scan fires for a pair of source and destination."""
    return of_pair(syns, least)


def host_sweeps(syns, least=DEFAULTS.hosts):
    """Frames at which host_sweep fires for a source and a port."""
    edges = rising_edges(syns, ("src", "dport"), "dst", least)
    names = ("frame", "ts", "src", "dst", "dport")
    return [{name: syn[name] for name in names} | {"hosts": len(hosts)} for syn, hosts in edges]


def stealth_scans(events, least=DEFAULTS.stealth):
    """Frames at which stealth_scan fires for a pair of source and destination."""
    probes = [one for one in events if one["what"] == "probe" or one.get("probe")]
    return of_pair(probes, least)


def udp_scans(events, least=DEFAULTS.udp):
    """Frames at which udp_scan fires for a pair of source and destination."""
    return of_pair([one for one in events if one["what"] == "udp_opened"], least)


class SlowSource:
    """The (destination, port) that one source touched last, and what became of them."""

    def __init__(self):
        # (destination, port) -> [newest touch, was answered, was refused]
        self.kept = {}
        self.latest = None
        # The N-th newest failure at the last touch at which the rule held.
        self.nth = None

    def on_outcome(self, outcome, item):
        """An attempt to an item that is kept was answered or refused."""
        if item in self.kept:
            self.kept[item][1 if outcome == "answered" else 2] = True

    def failed(self, item, ts):
        """No attempt was answered: one was refused, or the last touch is 5 s older than the one at `ts`."""
        newest, answered, refused = self.kept[item]
        return not answered and (refused or ts - newest >= SLOW_UNANSWERED_NS)

    def on_touch(self, ts, item, least):
        """The items that failed, if this touch makes a scan of them; else None."""
        element = self.kept.setdefault(item, [ts, False, False])
        element[0] = max(element[0], ts)
        if len(self.kept) > SLOW_KEPT:
            del self.kept[min(self.kept, key=lambda one: self.kept[one][0])]
        self.latest = max(ts, self.latest if self.latest is not None else ts)
        within = [
            one for one in self.kept
            if self.failed(one, ts) and self.latest - self.kept[one][0] < SLOW_WINDOW_NS
        ]
        times = sorted((self.kept[one][0] for one in within), reverse=True)
        if len(within) < least or self.latest - times[-1] < SLOW_SPAN_NS:
            return None
        armed = self.nth is None or self.latest >= self.nth + 2 * SLOW_WINDOW_NS
        self.nth = times[least - 1]
        return sorted(within) if armed else None


def slow_scans(events, least=DEFAULTS.slow):
    """Frames at which slow_scan fires for a source."""
    sources, out = {}, []
    for one in events:
        source = sources.setdefault(one["src"], SlowSource())
        item = (one["dst"], one["dport"])
        if one["what"] in ("answered", "refused"):
            source.on_outcome(one["what"], item)
        elif one["what"] == "touch":
            items = source.on_touch(one["ts"], item, least)
            if items is not None:
                names = ("frame", "ts", "src", "dst")
                out.append({name: one[name] for name in names} | {"items": items})
    return out


def judge(extracted, links=None, limits=DEFAULTS):
    """Attempts and rising edges of all rules of one capture; `links` limits the encapsulations (None: all)."""
    rows = [row for row in extracted["rows"] if links is None or row["encap"] in links]
    rows = merged(rows)
    syns = [row for row in rows if row["kind"] == "syn"]
    events = flows.events(rows, extracted["clock"])
    wanted = ("frame", "ts", "src", "sport", "dst", "dport", "isn", "joined")
    return {
        "frames": extracted["frames"],
        "error": extracted["error"],
        "encaps": extracted["encaps"],
        "touches": len(syns),
        "attempts": [{name: syn[name] for name in wanted} for syn in attempts(syns)],
        "scans": {
            "port_scan": port_scans(syns, limits.ports),
            "host_sweep": host_sweeps(syns, limits.hosts),
            "stealth_scan": stealth_scans(events, limits.stealth),
            "udp_scan": udp_scans(events, limits.udp),
            "slow_scan": slow_scans(events, limits.slow),
        },
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
