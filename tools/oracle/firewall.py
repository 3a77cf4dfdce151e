"""Lines that a Linux firewall logs about a capture: what psad reads.

The firewall stands where the sensor does, between all hosts of the capture. It lets pass what belongs to a connection
(`-m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT`) and logs the rest (`-j LOG`). One that knows the services also
lets pass, before it logs, what opens a connection to a port that answers anywhere in the capture. TCP and UDP only.

A plain model of the kernel's connection tracking with its default time-outs. Of the fields that a capture has and its
rows lack, LEN is computed without options, and TTL, ID, TOS and WINDOW are the same in each line.
"""

import dataclasses
import ipaddress
import time

import flows
import rules

SECOND = flows.SECOND
# nf_conntrack_*_timeout of Linux: udp, udp_stream, tcp_syn_sent, tcp_established, tcp_close, tcp_time_wait.
UDP_NS, UDP_ANSWERED_NS = 30 * SECOND, 120 * SECOND
TCP_NS, TCP_ANSWERED_NS = 120 * SECOND, 5 * 86400 * SECOND
TCP_RESET_NS, TCP_CLOSED_NS = 10 * SECOND, 120 * SECOND
FLAGS = (("URG", flows.URG), ("ACK", flows.ACK), ("PSH", flows.PSH), ("RST", flows.RST), ("SYN", flows.SYN),
         ("FIN", flows.FIN))
HEADERS = {"tcp": 20, "udp": 8}


@dataclasses.dataclass
class Entry:
    """A tracked connection."""

    ends: tuple
    now: int
    answered: bool = False
    reset: bool = False
    # Sides that sent FIN: 0 the opener, 1 the other.
    fins: set = dataclasses.field(default_factory=set)

    def over_at(self, protocol):
        """Packet time at which it is forgotten if nothing more comes."""
        if protocol == "udp":
            return self.now + (UDP_ANSWERED_NS if self.answered else UDP_NS)
        if self.reset:
            return self.now + TCP_RESET_NS
        if len(self.fins) == 2:
            return self.now + TCP_CLOSED_NS
        return self.now + (TCP_ANSWERED_NS if self.answered else TCP_NS)


def protocol_of(row):
    """`tcp` or `udp`; None for rows of neither."""
    return {"syn": "tcp", "segment": "tcp", "udp": "udp"}.get(row["kind"])


def state_of_unknown(row):
    """What connection tracking says of a packet of no connection: `new` or `invalid`."""
    if row["kind"] == "udp":
        return "new"
    flags = row["flags"] & (flows.SYN | flows.ACK | flows.RST | flows.FIN)
    # Data and acknowledgments may belong to a connection that began unseen (nf_conntrack_tcp_loose).
    return "new" if flags in (flows.SYN, flows.ACK) else "invalid"


class Tracking:
    """The kernel's connection tracking."""

    def __init__(self):
        self.entries = {}

    def state(self, row):
        """`new`, `invalid` or `established`; takes the packet in."""
        protocol, ends, now = protocol_of(row), flows.ends_of(row), row["now"]
        key = (protocol, flows.either_way(ends))
        entry = self.entries.get(key)
        if entry is not None and now >= entry.over_at(protocol):
            entry = None
        syn = row["kind"] == "syn"
        if entry is not None and syn and (entry.reset or len(entry.fins) == 2):
            entry = None
        if entry is None:
            state = state_of_unknown(row)
            if state == "new":
                self.entries[key] = Entry(ends, now)
            return state
        side = 0 if ends == entry.ends else 1
        entry.now = max(entry.now, now)
        entry.answered |= side == 1
        if protocol == "tcp":
            entry.reset |= bool(row["flags"] & flows.RST)
            if row["flags"] & flows.FIN:
                entry.fins.add(side)
        return "established" if entry.answered else "new"


def services(rows):
    """(protocol, address, port) that answer in a capture: a SYN+ACK, or a datagram to one who asked."""
    out, asked = set(), set()
    both = flows.SYN | flows.ACK
    for row in rows:
        src, sport, dst, dport = flows.ends_of(row) if protocol_of(row) else (None,) * 4
        if row["kind"] == "segment" and row["flags"] & both == both:
            out.add(("tcp", src, sport))
        elif row["kind"] == "udp":
            if (dst, dport, src, sport) in asked:
                out.add(("udp", src, sport))
            else:
                asked.add((src, sport, dst, dport))
    return out


def logged(rows, knows_services):
    """The rows that the firewall logs."""
    rows = rules.merged(rows)
    allowed = services(rows) if knows_services else ()
    tracking, out = Tracking(), []
    for row in rows:
        protocol = protocol_of(row)
        if protocol is None:
            continue
        state = tracking.state(row)
        opens = state == "new" and (row["kind"] in ("syn", "udp"))
        if state != "established" and not (opens and (protocol, row["dst"], row["dport"]) in allowed):
            out.append(row)
    return out


def line(row):
    """One line of the kernel's log, as syslog writes it."""
    protocol = protocol_of(row)
    stamp = time.strftime("%b %d %H:%M:%S", time.gmtime(row["ts"] // SECOND))
    src, dst = (ipaddress.ip_address(row[end]) for end in ("src", "dst"))
    length = row.get("len", 0) + (HEADERS["tcp"] if protocol == "tcp" else 0)
    if src.version == 4:
        network = f"LEN={length + 20} TOS=0x00 PREC=0x00 TTL=64 ID=1"
    else:
        network = f"LEN={length + 40} TC=0 HOPLIMIT=64 FLOWLBL=0"
    out = f"{stamp} sensor kernel: DROP IN=eth0 OUT=eth1 SRC={src.exploded} DST={dst.exploded} {network} "
    out += f"PROTO={protocol.upper()} SPT={row['sport']} DPT={row['dport']} "
    if protocol == "udp":
        return out + f"LEN={row['len']}"
    flags = "".join(f"{name} " for name, bit in FLAGS if row["flags"] & bit)
    return out + f"WINDOW=1024 RES=0x00 {flags}URGP=0"
