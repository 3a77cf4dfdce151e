"""A capture as tshark dissects it: one row for each frame that can matter to the rules.

Only fields that tshark prints are used; no packet byte is parsed here, except the first 14 bytes of
TCP headers cut by fragmentation, which tshark prints as data.
"""

import concurrent.futures
import hashlib
import ipaddress
import json
import pathlib
import shutil
import subprocess

# Part of the cache key: raise it when the meaning of a row changes.
VERSION = 7

FIELDS = (
    "frame.number frame.time_epoch frame.encap_type frame.protocols ip.src ip.dst ip.id "
    "ip.frag_offset ip.flags.mf ip.proto ipv6.src ipv6.dst ipv6.fraghdr.ident "
    "ipv6.fraghdr.offset ipv6.fraghdr.more ipv6.fraghdr.nxt tcp.srcport tcp.dstport "
    "tcp.seq_raw tcp.seq tcp.ack_raw tcp.len tcp.flags udp.srcport udp.dstport udp.length "
    "icmp.type icmp.code icmpv6.type icmpv6.code data.data"
).split()

# What may stand between the IP header and TCP without being a tunnel. AH is no tunnel in either
# family: it hides nothing.
EXTENSIONS = {"ipv6.hopopts", "ipv6.dstopts", "ipv6.routing", "ipv6.fraghdr", "ah"}

SYN, ACK = 0x02, 0x10
TCP_PROTO = "6"
# Rows that are attempts, or become some: see `rules.joined`.
SYN_KINDS = ("syn", "head", "tail")


class Unavailable(Exception):
    """tshark is not installed."""


def tshark_rows(path, extra=(), occurrence="f"):
    """Yields one dict a frame, and at the end the error text (or None) as a string row.

    `occurrence` says which of a field's values is printed: the first (f) or all (a)."""
    if shutil.which("tshark") is None:
        raise Unavailable("tshark is not installed")
    command = ["tshark", "-n", "-Q", "-o", "ip.defragment:FALSE", "-o", "ipv6.defragment:FALSE"]
    command += ["-o", "tcp.desegment_tcp_streams:FALSE", *extra, "-r", str(path)]
    command += ["-T", "fields", "-E", f"occurrence={occurrence}", "-E", "separator=/t"]
    for field in FIELDS:
        command += ["-e", field]
    done = subprocess.run(command, capture_output=True, check=False)
    for line in done.stdout.decode("utf-8", "replace").split("\n"):
        cells = line.split("\t")
        if len(cells) == len(FIELDS):
            yield dict(zip(FIELDS, cells))
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    errors = [line for line in lines if line and "Running as user" not in line]
    yield (" ".join(errors) or f"exit {done.returncode}") if done.returncode else None


def nanoseconds(text):
    """'1700000000.000000001' as an exact integer of nanoseconds."""
    sign = -1 if text.startswith("-") else 1
    whole, _, fraction = text.lstrip("-").partition(".")
    return sign * (int(whole) * 1_000_000_000 + int((fraction + "000000000")[:9]))


def outer(protocols):
    """The first IP layer ('ip', 'ipv6' or None) and what it carries, extension headers skipped."""
    layers = protocols.split(":")
    for i, layer in enumerate(layers):
        if layer in ("ip", "ipv6"):
            break
    else:
        return None, None
    if layers[:i].count("eth") > 1 and "ieee8021ah" not in layers[:i]:
        # Ethernet in MPLS, for example: a tunnel below IP. 802.1ah (MAC in MAC) is no tunnel:
        # providers wrap a frame with it as they tag it.
        return None, None
    rest = [name for name in layers[i + 1 :] if name not in EXTENSIONS]
    return layer, (rest[0] if rest else None)


def fragment_of(row, family):
    """(id, offset in bytes, more) of a fragment that carries TCP, else None."""
    if family == "ip":
        ident, offset, more = row["ip.id"], row["ip.frag_offset"], row["ip.flags.mf"]
        proto = row["ip.proto"]
    else:
        ident, offset = row["ipv6.fraghdr.ident"], row["ipv6.fraghdr.offset"]
        more, proto = row["ipv6.fraghdr.more"], row["ipv6.fraghdr.nxt"]
    if not ident or not offset or proto != TCP_PROTO:
        return None
    more = more in ("1", "True")
    if offset == "0" and not more:
        return None
    return int(ident, 16), int(offset) * 8, more


def quoted(values, protocols, family):
    """What an ICMP error quotes, as {src, sport, dst, dport, seq}, if that is TCP in the error's own IP
    version; else None. `values`: all values of each field; the quote's addresses are the second ones."""
    layers = protocols.split(":")
    quote = layers[layers.index("icmp" if family == "ip" else "icmpv6") + 1 :]
    addresses = [values[f"{family}.{end}"] for end in ("src", "dst")]
    if outer(":".join(quote)) != (family, "tcp") or min(map(len, addresses)) < 2:
        return None
    ports = [values[f"tcp.{end}port"] for end in ("src", "dst")]
    # Of a quote of 8 bytes tshark prints the raw sequence number as tcp.seq, and no tcp.seq_raw.
    seq = values["tcp.seq_raw"] or values["tcp.seq"]
    if not all(ports):
        return None
    src, dst = (str(ipaddress.ip_address(address[1])) for address in addresses)
    return {"src": src, "sport": int(ports[0][0]), "dst": dst, "dport": int(ports[1][0]),
            "seq": int(seq[0]) if seq else None}


def icmp_row(row, values, out, family):
    """A destination unreachable, but for "fragmentation needed", that quotes TCP; else None."""
    name = "icmp" if family == "ip" else "icmpv6"
    if not row[f"{name}.type"]:
        return None
    kind, code = int(row[f"{name}.type"]), int(row[f"{name}.code"] or 0)
    if not (kind == 3 and code != 4 if family == "ip" else kind == 1):
        return None
    quote = quoted(values, row["frame.protocols"], family)
    return None if quote is None else out | {"kind": "icmp", "quoted": quote}


def segment_row(row, out, flags):
    """A TCP segment: a SYN without ACK (kind `syn`), or any other."""
    is_syn = flags & SYN and not flags & ACK
    return out | {
        "kind": "syn" if is_syn else "segment",
        "sport": int(row["tcp.srcport"]), "dport": int(row["tcp.dstport"]),
        "isn" if is_syn else "seq": int(row["tcp.seq_raw"]),
        "flags": flags, "ack": int(row["tcp.ack_raw"] or 0), "len": int(row["tcp.len"] or 0),
    }


def relevant(every, frame, ts):
    """The row for the rules, or None: a TCP segment, a piece of a cut TCP header, a UDP datagram, or an
    ICMP error. `every`: the fields of a frame with all their values."""
    values = {name: value.split(",") if value else [] for name, value in every.items()}
    row = {name: (each or [""])[0] for name, each in values.items()}
    family, carried = outer(row["frame.protocols"])
    if family is None or not row[f"{family}.src"] or not row[f"{family}.dst"]:
        return None
    out = {
        "frame": frame,
        "ts": ts,
        "encap": int(row["frame.encap_type"] or -1),
        "src": str(ipaddress.ip_address(row[f"{family}.src"])),
        "dst": str(ipaddress.ip_address(row[f"{family}.dst"])),
    }
    flags = int(row["tcp.flags"] or "0x0", 16)
    fragment = fragment_of(row, family)
    if carried == "tcp" and row["tcp.flags"]:
        # tshark dissects TCP only at offset 0; fail if it ever does otherwise.
        assert fragment is None or fragment[1] == 0, row
        return segment_row(row, out, flags)
    if carried == "udp" and row["udp.dstport"] and (fragment is None or fragment[1] == 0):
        ports = {"sport": int(row["udp.srcport"]), "dport": int(row["udp.dstport"])}
        return out | ports | {"kind": "udp", "len": int(row["udp.length"] or 0)}
    if carried == ("icmp" if family == "ip" else "icmpv6"):
        return icmp_row(row, values, out, family)
    # Any other layer here is a tunnel or an ICMP error, and the fragment header may be an inner one.
    if carried not in ("tcp", "data", None) or fragment is None or fragment[1] not in (0, 8):
        return None
    kind = "head" if fragment[1] == 0 else "tail"
    return out | {"kind": kind, "id": fragment[0], "data": row["data.data"].replace(":", "")}


def packets(path, extra=(), occurrence="f"):
    """Yields (number, row) of each packet, and at the end (None, error text or None).

    tshark also numbers pcapng blocks that hold no packet (custom blocks, for example). Those rows
    have no encapsulation and are left out, so that numbers count packets.
    """
    number = 0
    for row in tshark_rows(path, extra, occurrence):
        if not isinstance(row, dict):
            yield None, row
        elif row["frame.encap_type"]:
            number += 1
            yield number, row


def extract(path):
    """Reads one capture: totals, the relevant rows with the packet time at each, and the clock: [frame, packet
    time] of each frame that moves packet time forward."""
    rows, frames, encaps, latest, error, clock = [], 0, {}, None, None, []
    for number, row in packets(path, occurrence="a"):
        if number is None:
            error = row
            continue
        frames = number
        # A simple packet block has no time: it takes the packet time reached so far.
        ts = nanoseconds(row["frame.time_epoch"]) if row["frame.time_epoch"] else latest or 0
        if latest is None or ts > latest:
            latest = ts
            clock.append([number, ts])
        encaps[row["frame.encap_type"]] = encaps.get(row["frame.encap_type"], 0) + 1
        kept = relevant(row, number, ts)
        if kept is not None:
            rows.append(kept | {"now": latest})
    if any(row["kind"] == "head" for row in rows):
        add_heads(path, rows)
    return {"frames": frames, "error": error, "encaps": encaps, "rows": rows, "clock": clock}


def add_heads(path, rows):
    """tshark's TCP dissector gives up before the sequence number of a tiny first fragment, so a
    second run with TCP switched off shows those bytes as data."""
    heads = {row["frame"]: row for row in rows if row["kind"] == "head"}
    for number, row in packets(path, extra=("--disable-protocol", "tcp")):
        if number in heads:
            heads[number]["data"] = row["data.data"].replace(":", "")


def inner_syns(path):
    """SYNs without ACK of the innermost packet of tunnels, as rows for the rules.

    Only for truth.csv, which has columns for them. Quotes in ICMP errors do not count.
    """
    rows = []
    for number, row in packets(path, occurrence="a"):
        if number is None or not row["tcp.flags"]:
            continue
        layers = row["frame.protocols"].split(":")
        families = [layer for layer in layers if layer in ("ip", "ipv6")]
        if outer(row["frame.protocols"])[1] == "tcp" or {"icmp", "icmpv6"} & set(layers):
            continue
        last = {name: value.split(",")[-1] for name, value in row.items()}
        flags = int(last["tcp.flags"], 16)
        if not flags & SYN or flags & ACK:
            continue
        rows.append({
            "frame": number, "ts": nanoseconds(row["frame.time_epoch"]),
            "src": last[f"{families[-1]}.src"], "dst": last[f"{families[-1]}.dst"],
            "sport": int(last["tcp.srcport"]), "dport": int(last["tcp.dstport"]),
            "isn": int(last["tcp.seq_raw"]),
        })
    return rows


def cache_file(path, cache):
    """The cache file for a capture of this content."""
    digest = hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()
    return pathlib.Path(cache, f"{digest}-v{VERSION}.json")


def cached(path, cache):
    """`extract`, cached by the file's content."""
    kept = cache_file(path, cache) if cache else None
    if kept is not None and kept.exists():
        return json.loads(kept.read_text())
    out = extract(path)
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        fresh = kept.with_suffix(f".{hashlib.sha1(str(path).encode()).hexdigest()[:8]}.tmp")
        fresh.write_text(json.dumps(out))
        fresh.replace(kept)
    return out


def extract_all(paths, cache=None, jobs=2):
    """Yields (path, extract) in the order of `paths`, `jobs` tsharks at a time."""
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        yield from zip(paths, pool.map(lambda path: cached(path, cache), paths))


def captures_under(places):
    """Files named, and every capture below the folders named, sorted."""
    suffixes = {".pcap", ".pcapng", ".trace", ".cap"}
    out = []
    for place in map(pathlib.Path, places):
        if place.is_dir():
            found = (p for p in place.rglob("*") if p.suffix in suffixes and p.is_file())
            out.extend(sorted(found))
        else:
            out.append(place)
    return out
