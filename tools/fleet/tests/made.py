"""Rows of simulated sensors, as Parquet in the layout of the schema. Seeded: the same seed, the same rows."""

import dataclasses
import datetime
import pathlib
import random

import pyarrow as pa
import pyarrow.parquet as pq

import tree  # noqa: F401
from synledger_fleet.schema import FIELDS, SCHEMA

SECOND = 10**9
HOUR = 3600 * SECOND
DAY = 24 * HOUR
# 2026-11-02T00:00:00Z
BEGIN = 1_793_577_600 * SECOND
W = 60 * SECOND
HOSTILE = "http\x1b[2J\u202e<script>alert(1)</script>\n"
_ORDER = ("kind", "src_ip", "dst_ip", "dst_port", "ts_ns")


@dataclasses.dataclass
class Made:
    """What was made: the rows with their sensors, and where they lie."""

    rows: list[dict]
    folder: pathlib.Path


def partition(row: dict) -> tuple[str, str, str]:
    """Date, hour and sensor of a row."""
    moment = datetime.datetime.fromtimestamp(row["ts_ns"] // SECOND, datetime.UTC)
    return moment.strftime("%Y-%m-%d"), moment.strftime("%H"), row["sensor"]


def store(rows: list[dict], folder: pathlib.Path) -> None:
    """Writes them, sorted as the schema says."""
    files: dict[tuple, list[dict]] = {}
    for row in rows:
        files.setdefault(partition(row), []).append(row)
    for (date, hour, sensor), inside in files.items():
        inside.sort(key=lambda row: [(row.get(name) is not None, row.get(name)) for name in _ORDER])
        path = folder / f"date={date}" / f"hour={hour}" / f"sensor={sensor}"
        path.mkdir(parents=True, exist_ok=True)
        used = set().union(*inside)
        columns = {name: pa.array([row.get(name) for row in inside], kind) if name in used else pa.nulls(len(inside), kind)
                   for name, kind in FIELDS}
        pq.write_table(pa.table(columns, schema=SCHEMA), path / f"{date}T{hour}-0.parquet", compression="zstd",
                       use_dictionary=["kind", "src_ip", "dst_ip", "conn_state", "service"])


class Maker:
    """Makes rows."""

    def __init__(self, seed: int, sensors: int):
        self.random = random.Random(seed)
        # A name that looks like a number is none.
        self.sensors = ["007", *(f"edge-{number:03d}" for number in range(1, sensors))]
        self.rows: list[dict] = []
        self.flows = 0

    def attempt(self, sensor: str, ts_ns: int, src: str, dst: str, port: int, **more) -> None:
        """A SYN; with `state`, the flow that it became, ended up to 2 s later."""
        state = more.pop("state", None)
        self.flows += 1
        source_port = self.random.randrange(32_768, 61_000)
        both = {"sensor": sensor, "src_ip": src, "dst_ip": dst, "src_port": source_port, "dst_port": port, "proto": 6,
                "flow_id": self.flows}
        self.rows.append(both | {"kind": "connection", "ts_ns": ts_ns, "attempts": 1, "odd": False,
                                 "isn": self.random.randrange(2**32)} | more)
        if state:
            length = self.random.randrange(2 * SECOND)
            self.rows.append(both | {
                "kind": "flow", "ts_ns": ts_ns + length, "first_ns": ts_ns, "last_ns": ts_ns + length,
                "duration_ns": length, "conn_state": state, "history": "S", "interim": False, "midstream": False,
                "service": self.random.choice([None, "ssl", HOSTILE]),
                "orig_bytes": self.random.randrange(9000), "resp_bytes": self.random.randrange(9000)})

    def background(self, sensor: str, number: int) -> None:
        """Clients of a server at each sensor, in one hour of three days."""
        day, hour = self.random.randrange(3), self.random.randrange(8, 10)
        for _ in range(30):
            at = BEGIN + day * DAY + hour * HOUR + self.random.randrange(HOUR)
            client = f"203.0.113.{self.random.randrange(40)}"
            server = f"198.51.100.{number % 250}" if self.random.random() < 0.8 else f"2001:db8::{number:x}"
            client = client if ":" not in server else f"2001:db8:c::{self.random.randrange(9):x}"
            self.attempt(sensor, at, client, server, self.random.choice([22, 80, 443, 8443]),
                         state=self.random.choice(["SF", "SF", "SF", "S1", "RSTO", "REJ", "S0", None]))

    def boundaries(self) -> None:
        """Scans whose fourth port comes W-1, W and W+1 ns after the first; scans that come again at and around W."""
        at = BEGIN + 9 * HOUR
        for number, last in enumerate((W - 1, W, W + 1)):
            for port, ts_ns in enumerate((0, SECOND, 2 * SECOND, last)):
                self.attempt("edge-001", at + ts_ns, f"192.0.2.{number + 1}", "198.51.100.1", 1000 + port, state="S0")
        for number, gap in enumerate((W - 1, W, W + 1)):
            # True until at + W: it fires again if the next rise is a window later than that, or more.
            source = f"192.0.2.{number + 11}"
            for begin in (0, W + gap):
                for port in range(4):
                    self.attempt("edge-002", at + begin, source, "198.51.100.2", 2000 + port, state="REJ")
        # The oldest touch is renewed at the very moment at which it is too old.
        for ts_ns, port in ((0, 1), (1, 2), (2, 3), (3, 4), (W, 1), (W + 1, 2), (W + 2, 5), (2 * W, 3)):
            self.attempt("edge-003", at + ts_ns, "192.0.2.21", "198.51.100.3", port, state="S0")
        for number, last in enumerate((W - 1, W, W + 1)):
            for host in range(25):
                self.attempt(self.sensors[host % 7], at + (last if host == 24 else host), f"192.0.2.{number + 31}",
                             f"198.51.100.{host}", 445, state="S0")

    def scanners(self) -> None:
        """Random touches of few ports by few sources, so that windows open and close often."""
        for number in range(40):
            sensor, at = self.random.choice(self.sensors[:20]), BEGIN + self.random.randrange(3) * DAY + 8 * HOUR
            for _ in range(self.random.randrange(5, 60)):
                at += self.random.choice([0, 1, SECOND, 7 * SECOND, 15 * SECOND, 20 * SECOND, W - 1, W, 2 * W])
                # One target in two is seen by two sensors.
                seen_by = [sensor] if number % 2 else [sensor, self.random.choice(self.sensors[:20])]
                for one in seen_by:
                    self.attempt(one, at, f"192.0.2.{100 + number}", f"198.51.100.{self.random.choice([200, 201])}",
                                 self.random.randrange(1, 9), state=self.random.choice(["S0", "REJ", "SF", None]))
        for number in range(6):
            at = BEGIN + DAY + 8 * HOUR
            for host in range(self.random.randrange(20, 90)):
                at += self.random.choice([0, SECOND, 2 * SECOND, 5 * SECOND])
                self.attempt(self.random.choice(self.sensors[:20]), at, f"192.0.2.{150 + number}", f"198.51.100.{host % 60}", 23)

    def slow(self) -> None:
        """Sources that try a place every few hours; some of theirs answer."""
        for number, (share, places) in enumerate(((1.0, 10), (1.0, 9), (0.9, 24), (0.6, 24), (1.0, 30))):
            for place in range(places):
                at = BEGIN + place * (3 * DAY - HOUR) // places + self.random.randrange(SECOND)
                state = "S0" if self.random.random() < share else "SF"
                self.attempt(self.random.choice(self.sensors[:4]), at, f"192.0.2.{200 + number}",
                             f"198.51.100.{self.random.randrange(250)}", 1 + place, state=state)

    def crowds(self) -> None:
        """Destinations whose ports are shared out among sources; in one case one source does most."""
        for number, (sources, mine) in enumerate(((5, 0.2), (2, 0.5), (10, 0.9), (3, 0.34), (40, 0.0))):
            at = BEGIN + 2 * DAY + 9 * HOUR
            for port in range(30):
                at += self.random.randrange(2 * SECOND)
                first = self.random.random() < mine
                source = 0 if first else self.random.randrange(sources)
                self.attempt(self.sensors[5], at, f"192.0.2.{210 + source}", f"198.51.100.{220 + number}", 3000 + port,
                             state=self.random.choice(["S0", "REJ"]))

    def others(self) -> None:
        """Folds, interim records, alerts, records of other protocols."""
        at = BEGIN + DAY + 9 * HOUR
        for port in range(5):
            self.rows.append({"kind": "fold", "sensor": "edge-004", "ts_ns": at + port + W, "first_ns": at + port,
                              "last_ns": at + port + W, "src_ip": "192.0.2.251", "dst_ip": "198.51.100.4",
                              "dst_port": 7000 + port, "proto": 6, "attempts": 500 + port})
        self.rows.append({"kind": "fold", "sensor": "edge-004", "ts_ns": at, "first_ns": at - SECOND, "last_ns": at,
                          "src_ip": "192.0.2.252", "proto": 6, "attempts": 70_000})
        self.rows.append({"kind": "flow", "sensor": "edge-004", "ts_ns": at, "first_ns": at - SECOND, "last_ns": at,
                          "src_ip": "192.0.2.253", "dst_ip": "198.51.100.4", "src_port": 5353, "dst_port": 53, "proto": 17,
                          "conn_state": "SF", "interim": False})
        self.rows.append({"kind": "flow", "sensor": "edge-004", "ts_ns": at, "first_ns": at - SECOND, "last_ns": at,
                          "src_ip": "192.0.2.253", "dst_ip": "198.51.100.4", "src_port": 1, "dst_port": 22, "proto": 6,
                          "conn_state": "S1", "interim": True, "part": 0})
        self.rows.append({"kind": "alert", "sensor": "edge-004", "ts_ns": at, "src_ip": "192.0.2.1", "dst_ip": "198.51.100.1",
                          "alert": "port_scan", "severity": 2, "distinct": 4, "window_ns": W,
                          "evidence": '{"refused":4,"proof":"handshake"}', "interface": HOSTILE})

    def books(self) -> None:
        """A row for each hour that has records; some sensors lose something, some miss hours."""
        hours = sorted({(row["sensor"], row["ts_ns"] // HOUR) for row in self.rows})
        for sensor, hour in hours:
            number = self.sensors.index(sensor)
            if number % 17 == 3 and hour % 2 == 0:
                continue
            begin, end = hour * HOUR, (hour + 1) * HOUR
            self.rows.append({"kind": "books", "sensor": sensor, "ts_ns": end, "first_ns": begin, "last_ns": end,
                              "lost": 11 if number % 13 == 1 else 0,
                              "not_watched_ns": 5 * SECOND if number % 11 == 2 else 0})


def make(folder: pathlib.Path, seed: int = 1, sensors: int = 200) -> Made:
    """A few days of so many sensors."""
    maker = Maker(seed, sensors)
    for number, sensor in enumerate(maker.sensors):
        maker.background(sensor, number)
    for part in (maker.boundaries, maker.scanners, maker.slow, maker.crowds, maker.others, maker.books):
        part()
    store(maker.rows, folder)
    return Made(maker.rows, folder)
