"""The queries by brute force: plain Python over the rows, every touch kept, every item looked at."""

from made import BEGIN, HOUR

FAILED = ("S0", "REJ", "RSTOS0", "SH")
PROVEN = ("SF", "S1", "S2", "S3", "RSTO", "RSTR")
FOREVER = 2**63 - 1


def inside(rows: list[dict], since: int = 0, until: int = FOREVER) -> list[dict]:
    """Those of the period."""
    return [row for row in rows if since <= row["ts_ns"] < until]


def _is_tcp(row: dict) -> bool:
    return row.get("proto") == 6 and None not in (row.get("src_ip"), row.get("dst_ip"), row.get("dst_port"))


def attempts(rows: list[dict], per_sensor: bool, since: int = 0) -> list[dict]:
    """Touches: watch, sensor, addresses, port, time."""
    found = []
    for row in rows:
        if row["kind"] in ("connection", "fold") and _is_tcp(row):
            base = {name: row[name] for name in ("sensor", "src_ip", "dst_ip", "dst_port")}
            base["watch"] = row["sensor"] if per_sensor else ""
            found.append(base | {"ts_ns": row["ts_ns"]})
            if row["kind"] == "fold" and row["first_ns"] >= since:
                found.append(base | {"ts_ns": row["first_ns"]})
    return found


def tried(rows: list[dict], per_sensor: bool) -> list[dict]:
    """Ended connections at their first packet."""
    return [{"watch": row["sensor"] if per_sensor else "", "sensor": row["sensor"], "src_ip": row["src_ip"],
             "dst_ip": row["dst_ip"], "dst_port": row["dst_port"], "ts_ns": row["first_ns"],
             "failed": row.get("conn_state") in FAILED}
            for row in rows if row["kind"] == "flow" and _is_tcp(row) and not row.get("interim")]


def fires(touches: list[tuple], at_least: int, window: int) -> list[tuple[int, int]]:
    """Start and end of each episode, from (time, item), as the sensor's rule is worded."""
    newest: dict = {}
    found: list[list[int]] = []
    until = None
    for ts_ns, item in sorted(touches):
        newest[item] = max(newest.get(item, ts_ns), ts_ns)
        held = [t for t in newest.values() if ts_ns - t < window]
        if len(held) < at_least:
            continue
        if until is None or ts_ns >= until + window:
            found.append([ts_ns, 0])
        until = sorted(newest.values())[-at_least] + window
        found[-1][1] = until
    return [tuple(one) for one in found]


def episodes(touches: list[dict], subject, item, at_least: int, window: int) -> list[dict]:
    """All episodes with what was touched in them."""
    by_subject: dict = {}
    for touch in touches:
        by_subject.setdefault((touch["watch"], *subject(touch)), []).append(touch)
    found = []
    for key, own in by_subject.items():
        for start, until in fires([(touch["ts_ns"], item(touch)) for touch in own], at_least, window):
            of_it = [touch for touch in own if start - window < touch["ts_ns"] < until]
            items = sorted({item(touch) for touch in of_it})
            found.append({"key": key, "start_ns": start, "until_ns": until, "items": len(items), "attempts": len(of_it),
                          "lowest": items[0], "highest": items[-1], "touches": of_it,
                          "first_ns": min(touch["ts_ns"] for touch in of_it),
                          "last_ns": max(touch["ts_ns"] for touch in of_it),
                          "sensors": len({touch["sensor"] for touch in of_it}),
                          "sensor": min(touch["sensor"] for touch in of_it)})
    return found


def _row(episode: dict, **more) -> dict:
    names = ("start_ns", "until_ns", "attempts", "first_ns", "last_ns", "sensors", "sensor")
    return {name: episode[name] for name in names} | more


def port_scans(rows, at_least=4, window=60 * 10**9, per_sensor=False, since=0):
    """Of pairs."""
    found = episodes(attempts(rows, per_sensor, since), lambda t: (t["src_ip"], t["dst_ip"]), lambda t: t["dst_port"],
                     at_least, window)
    return [_row(one, src_ip=one["key"][1], dst_ip=one["key"][2], ports=one["items"], lowest_port=one["lowest"],
                 highest_port=one["highest"]) for one in found]


def sweeps(rows, at_least=25, window=60 * 10**9, per_sensor=False, since=0):
    """Of a source and a port."""
    found = episodes(attempts(rows, per_sensor, since), lambda t: (t["src_ip"], t["dst_port"]), lambda t: t["dst_ip"],
                     at_least, window)
    return [_row(one, src_ip=one["key"][1], dst_port=one["key"][2], hosts=one["items"], lowest_host=one["lowest"],
                 highest_host=one["highest"]) for one in found]


def slow_scans(rows, at_least=10, window=72 * HOUR, per_sensor=False, span=HOUR, percent=83):
    """Of sources."""
    def place(touch: dict) -> str:
        return f"{touch['dst_ip']} {touch['dst_port']}"
    all_tried = tried(rows, per_sensor)
    found = episodes([t for t in all_tried if t["failed"]], lambda t: (t["src_ip"],), place, at_least, window)
    out = []
    for one in found:
        places = {place(t) for t in all_tried if (t["watch"], t["src_ip"]) == one["key"]
                  and one["start_ns"] - window < t["ts_ns"] < one["until_ns"]}
        if one["last_ns"] - one["first_ns"] >= span and one["items"] * 100 >= len(places) * percent:
            out.append(_row(one, src_ip=one["key"][1], places_failed=one["items"], places_tried=len(places)))
    return out


def distributed(rows, at_least=20, window=60 * 10**9, per_sensor=False, sources=3):
    """Of destinations."""
    failed = [t for t in tried(rows, per_sensor) if t["failed"]]
    out = []
    for one in episodes(failed, lambda t: (t["dst_ip"],), lambda t: t["dst_port"], at_least, window):
        by_port: dict = {}
        for touch in one["touches"]:
            by_port.setdefault(touch["dst_port"], set()).add(touch["src_ip"])
        crowd = set().union(*by_port.values())
        alone = max(sum(who == {source} for who in by_port.values()) for source in crowd)
        if len(crowd) >= sources and alone * 2 <= one["items"]:
            out.append(_row(one, dst_ip=one["key"][1], ports=one["items"], sources=len(crowd),
                            most_ports_of_one_source=alone))
    return out


def top_syn(rows):
    """By source."""
    by_source: dict = {}
    for row in rows:
        if row["kind"] in ("connection", "fold", "flow") and row.get("proto") == 6 and not row.get("interim"):
            by_source.setdefault(row["src_ip"], []).append(row)
    out = []
    for source, own in by_source.items():
        tries = [row for row in own if row["kind"] != "flow"]
        flows = [row for row in own if row["kind"] == "flow"]
        if sum(row["attempts"] for row in tries) > 0:
            out.append({"src_ip": source, "attempts": sum(row["attempts"] for row in tries), "ended": len(flows),
                        "failed": sum(row.get("conn_state") in FAILED for row in flows),
                        "ports": len({row.get("dst_port") for row in tries} - {None}),
                        "hosts": len({row.get("dst_ip") for row in tries} - {None}),
                        "sensors": len({row["sensor"] for row in own}),
                        "first_ns": min(row["ts_ns"] for row in own), "last_ns": max(row["ts_ns"] for row in own)})
    return out


def connections(rows, host):
    """Of a host."""
    own = [row for row in rows if row["kind"] in ("connection", "fold", "flow") and not row.get("interim")
           and host in (row.get("src_ip"), row.get("dst_ip"))]
    ended = {(row["sensor"], row["flow_id"]) for row in own if row["kind"] == "flow" and row.get("flow_id") is not None}
    out = []
    for row in own:
        if row["kind"] == "connection" and (row["sensor"], row["flow_id"]) in ended:
            continue
        start = row.get("first_ns")
        entry = {"start_ns": row["ts_ns"] if start is None else start, "attempts": row.get("attempts", 1)}
        for name, missing in (("src_port", -1), ("dst_ip", ""), ("dst_port", -1), ("proto", -1), ("service", ""),
                              ("conn_state", ""), ("duration_ns", 0), ("orig_bytes", 0), ("resp_bytes", 0)):
            value = row.get(name)
            entry[name] = missing if value is None else value
        out.append(entry | {name: row[name] for name in ("kind", "src_ip", "sensor")})
    return out


def first_seen(rows, of, new_since=BEGIN):
    """What is new."""
    seen: dict = {}
    for row in rows:
        counts = (row["kind"] == "flow" and row.get("conn_state") in PROVEN) if of == "service" \
            else row["kind"] in ("connection", "fold")
        if counts and _is_tcp(row):
            key = (row["src_ip"] if of == "source" else row["dst_ip"], row["dst_port"] if of == "service" else -1)
            seen.setdefault(key, []).append((row["ts_ns"], row["sensor"]))
    return [{"address": address, "port": port, "first_ns": min(own)[0], "first_sensor": min(own)[1],
             "sensors": len({sensor for _, sensor in own}), "records": len(own), "last_ns": max(own)[0]}
            for (address, port), own in seen.items() if min(own)[0] >= new_since]


def _stretches(rows, since, until):
    clipped = [(row["sensor"], max(row["first_ns"], since), min(row["last_ns"], until), row["lost"], row["not_watched_ns"])
               for row in rows if row["kind"] == "books" and row["last_ns"] >= since and row["first_ns"] < until]
    begin, end = min(one[1] for one in clipped), max(one[2] for one in clipped)
    by_sensor: dict = {}
    for one in sorted(clipped):
        by_sensor.setdefault(one[0], []).append(one[1:])
    return begin, end, by_sensor


def coverage_gaps(rows, since=0, until=FOREVER, gap=10**9):
    """Each time that something is missing."""
    begin, end, by_sensor = _stretches(rows, since, until)
    out = []

    def add(sensor, start, stop, what, lost, not_watched):
        out.append({"sensor": sensor, "from_ns": start, "to_ns": stop, "what": what, "lost": lost,
                    "not_watched_ns": not_watched})
    for sensor, own in by_sensor.items():
        reached = begin
        for start, stop, lost, not_watched in own:
            if start - reached > gap:
                add(sensor, reached, start, "missing", 0, start - reached)
            if lost:
                add(sensor, start, stop, "lost", lost, 0)
            if not_watched:
                add(sensor, start, stop, "not_watched", 0, not_watched)
            reached = max(reached, stop)
        if end - reached > gap:
            add(sensor, reached, end, "missing", 0, end - reached)
    return out


def coverage(rows, since=0, until=FOREVER, gap=10**9):
    """By sensor."""
    begin, end, by_sensor = _stretches(rows, since, until)
    gaps = coverage_gaps(rows, since, until, gap)
    out = []
    for sensor, own in by_sensor.items():
        missing = [one["not_watched_ns"] for one in gaps if one["sensor"] == sensor and one["what"] == "missing"]
        out.append({"sensor": sensor, "first_ns": min(one[0] for one in own), "last_ns": max(one[1] for one in own),
                    "period_ns": end - begin, "missing_ns": sum(missing), "gaps": len(missing),
                    "not_watched_ns": sum(one[3] for one in own), "lost": sum(one[2] for one in own)})
    return out


def activity(rows, step=HOUR):
    """Attempts by sensor and step."""
    sums: dict = {}
    for row in rows:
        if row["kind"] in ("connection", "fold"):
            key = (row["sensor"], row["ts_ns"] - row["ts_ns"] % step)
            sums[key] = sums.get(key, 0) + row["attempts"]
    return [{"sensor": sensor, "step_ns": at, "attempts": count} for (sensor, at), count in sums.items()]


def proofs(rows):
    """Sources that completed a handshake."""
    by_source: dict = {}
    for row in rows:
        is_flow = (row["kind"] == "flow" and row.get("proto") == 6 and row.get("conn_state") in PROVEN
                   and not row.get("midstream"))
        if is_flow or row["kind"] == "alert" and '"proof":"handshake"' in row["evidence"]:
            by_source.setdefault(row["src_ip"], []).append(row["ts_ns"])
    return [{"src_ip": source, "proofs": len(own), "last_ns": max(own)} for source, own in by_source.items()]
