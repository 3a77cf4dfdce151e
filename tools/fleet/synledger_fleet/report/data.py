"""What the page shows."""

import dataclasses

from .. import __version__
from ..asking import Fleet, extent
from ..period import FOREVER_NS, Period

_ALL = FOREVER_NS - 2
# A chart of so many steps is as fine as a screen shows.
_STEPS = 120
_STEP_SIZES_S = (60, 300, 900, 3600, 3 * 3600, 6 * 3600, 86_400, 7 * 86_400)
# Most sensors with a colour of their own; the others are one.
_SENSORS = 7
_ROWS = 500
_TALKERS = 15


@dataclasses.dataclass
class Data:
    """The members are those of the page's JSON."""

    made: str
    since: int
    until: int
    step: int
    series: list[dict]
    talkers: list[dict]
    scans: list[dict]
    # There are more than are shown.
    scans_cut: bool
    coverage: list[dict]
    gaps: list[dict]
    totals: dict


def step_ns(period: Period) -> int:
    """The smallest handy step that makes no more than so many."""
    length_s = (period.until_ns - period.since_ns) // 10**9
    return next((size for size in _STEP_SIZES_S if length_s <= size * _STEPS), _STEP_SIZES_S[-1]) * 10**9


def _ms(ns: int) -> int:
    # A number of JavaScript holds no nanoseconds since 1970.
    return ns // 1_000_000


def series_of(rows: list[dict], period: Period, step: int) -> list[dict]:
    """Attempts by step: of the busiest sensors, and of all others."""
    begin = period.since_ns - period.since_ns % step
    count = (period.until_ns - begin + step - 1) // step
    sums: dict[str, int] = {}
    for row in rows:
        sums[row["sensor"]] = sums.get(row["sensor"], 0) + row["attempts"]
    best = sorted(sums, key=lambda name: (-sums[name], name))[:_SENSORS]
    others = len(sums) - len(best)
    lines = {name: [0] * count for name in [*best, None]}
    for row in rows:
        at = (row["step_ns"] - begin) // step
        if 0 <= at < count:
            lines[row["sensor"] if row["sensor"] in best else None][at] += row["attempts"]
    named = [{"name": name, "values": lines[name]} for name in best]
    return named + ([{"name": f"{others} more sensors", "values": lines[None]}] if others > 0 else [])


def _scans(fleet: Fleet, period: Period) -> tuple[list[dict], bool]:
    kinds = (("port_scans", "port scan", "ports", lambda row: row["dst_ip"]),
             ("sweeps", "host sweep", "hosts", lambda row: f"port {row['dst_port']}"),
             ("slow_scans", "slow scan", "places_failed", lambda row: "many"),
             ("distributed", "distributed scan", "ports", lambda row: row["dst_ip"]))
    found, cut = [], False
    for query, kind, counted, target in kinds:
        answer = fleet.ask(query, period, _ROWS)
        cut |= answer.cut
        for row in answer.rows:
            source = row["src_ip"] if "src_ip" in row else f"{row['sources']} sources"
            found.append({"kind": kind, "source": source, "target": target(row), "count": row[counted],
                          "attempts": row["attempts"], "first": _ms(row["first_ns"]), "last": _ms(row["last_ns"]),
                          "sensors": row["sensors"], "sensor": row["sensor"]})
    found.sort(key=lambda row: (row["first"], row["kind"], row["source"], row["target"]))
    return found, cut


def collect(fleet: Fleet, period: Period, made: str) -> Data:
    """Asks all queries of the page."""
    shown = extent(fleet, period) or Period(0, 86_400 * 10**9)
    step = step_ns(shown)
    activity = fleet.ask("activity", shown, _ALL, {"step_ns": step}).rows
    busy = [row["step_ns"] for row in activity]
    if busy:
        # Whole days without attempts at either end are cut off.
        shown = Period(max(shown.since_ns, min(busy)), min(shown.until_ns, max(busy) + step))
    talkers = fleet.ask("top_syn", shown, _TALKERS).rows
    coverage = fleet.ask("coverage", shown, _ALL).rows
    gaps = fleet.ask("coverage_gaps", shown, _ALL).rows
    scans, cut = _scans(fleet, shown)
    totals = {"sensors": len({row["sensor"] for row in activity} | {row["sensor"] for row in coverage}),
              "attempts": sum(row["attempts"] for row in activity), "scans": len(scans),
              "sources": len({row["source"] for row in scans if row["kind"] != "distributed scan"}),
              "lost": sum(row["lost"] for row in coverage)}
    return Data(
        made=f"{made}, synledger-fleet {__version__}", since=_ms(shown.since_ns), until=_ms(shown.until_ns),
        step=_ms(step), series=series_of(activity, shown, step),
        talkers=[{name: row[name] for name in ("src_ip", "attempts", "ended", "failed", "ports", "hosts", "sensors")}
                 for row in talkers],
        scans=scans, scans_cut=cut,
        coverage=[{"sensor": row["sensor"], "missing": _ms(row["missing_ns"]), "lost": row["lost"],
                   "unwatched": _ms(row["not_watched_ns"]), "period": _ms(row["period_ns"])} for row in coverage],
        gaps=[{"sensor": row["sensor"], "from": _ms(row["from_ns"]), "to": _ms(row["to_ns"]), "what": row["what"],
               "lost": row["lost"], "unwatched": _ms(row["not_watched_ns"])} for row in gaps],
        totals=totals)
