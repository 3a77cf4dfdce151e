#!/usr/bin/env python3
"""How long each query takes: rows, seconds, rows/s, bytes read of those stored, peak memory. Each runs in a process of its own.

usage: scale.py [--rows N] [--engine NAME] [--folder DIR] [QUERY ...]

Default: 1,000,000 rows in a temporary folder, which is removed. `--folder` keeps it, and uses what is there.
Bytes read are those of read calls (rchar of /proc/self/io), so what the page cache gave counts.
"""

import argparse
import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

import made
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import tree  # noqa: F401
from synledger_fleet.asking import Fleet
from synledger_fleet.period import Period
from synledger_fleet.schema import FIELDS, SCHEMA

QUERIES = ("top_syn", "port_scans", "sweeps", "slow_scans", "distributed", "first_seen", "activity", "proofs", "coverage")
ROWS_A_FILE = 250_000
SOURCES = 200_000


def chunk(number: int, rows: int) -> pa.Table:
    """One hour of one sensor: half attempts, half flows; clients at random, a source in a thousand scans."""
    import numpy as np
    random = np.random.default_rng(number)
    half = rows // 2
    begin = made.BEGIN + number // 8 * made.HOUR
    ts_ns = begin + np.sort(random.integers(0, made.HOUR, half))
    # Few sources do most, as on the Internet.
    source = (random.pareto(1.2, half) * 50).astype("int64") % SOURCES
    scans = source % 1000 == 7
    port = np.where(scans, random.integers(1, 1024, half), np.array([22, 80, 443, 8443])[random.integers(0, 4, half)])
    target = np.where(scans, random.integers(0, 4, half), random.integers(0, 250, half))
    addresses = pa.array([f"11.{at >> 16}.{at >> 8 & 255}.{at & 255}" for at in range(SOURCES)])
    targets = pa.array([f"198.51.{number % 8}.{at}" for at in range(250)])
    failed = random.random(half) < np.where(scans, 0.95, 0.1)
    state = pa.array(["SF", "S0"]).take(pa.array(failed.astype("int64")))
    length = random.integers(0, 2 * made.SECOND, half)
    # A flow is stored in the hour in which it ended.
    end = np.minimum(ts_ns + length, begin + made.HOUR - 1)
    flow_id = random.integers(0, 2**62, half)
    both = {"src_ip": addresses.take(pa.array(source)), "dst_ip": targets.take(pa.array(target)),
            "src_port": pa.array(random.integers(32_768, 61_000, half), pa.int32()), "dst_port": pa.array(port, pa.int32()),
            "proto": pa.array(np.full(half, 6), pa.int32()), "flow_id": pa.array(flow_id)}
    attempts = both | {"kind": pa.array(["connection"] * half), "ts_ns": pa.array(ts_ns),
                       "attempts": pa.array(np.ones(half, "int64")), "isn": pa.array(random.integers(0, 2**32, half))}
    flows = both | {"kind": pa.array(["flow"] * half), "ts_ns": pa.array(end), "first_ns": pa.array(ts_ns),
                    "last_ns": pa.array(end), "conn_state": state, "duration_ns": pa.array(end - ts_ns),
                    "orig_bytes": pa.array(random.integers(0, 9000, half)), "resp_bytes": pa.array(random.integers(0, 90_000, half)),
                    "interim": pa.array(np.zeros(half, bool)), "midstream": pa.array(np.zeros(half, bool))}
    book = {"kind": pa.array(["books"]), "ts_ns": pa.array([begin + made.HOUR - 1]), "first_ns": pa.array([begin]),
            "last_ns": pa.array([begin + made.HOUR]), "lost": pa.array([0]), "not_watched_ns": pa.array([0])}
    parts = [pa.table({name: part[name].cast(kind) if name in part else pa.nulls(len(part["kind"]), kind)
                       for name, kind in FIELDS}) for part in (attempts, flows, book)]
    table = pa.concat_tables(parts)
    order = pc.sort_indices(table, [(name, "ascending") for name in ("kind", "src_ip", "dst_ip", "dst_port", "ts_ns")])
    return table.take(order).cast(SCHEMA)


def fill(folder: pathlib.Path, rows: int) -> None:
    """Writes them: eight sensors, an hour a file."""
    for number in range(max(1, rows // ROWS_A_FILE)):
        table = chunk(number, min(rows, ROWS_A_FILE))
        begin = made.BEGIN + number // 8 * made.HOUR
        date, hour, _ = made.partition({"ts_ns": begin, "sensor": ""})
        path = folder / f"date={date}" / f"hour={hour}" / f"sensor=edge-{number % 8}"
        path.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path / f"{number}.parquet", compression="zstd", row_group_size=100_000)


def one(folder: str, engine: str, name: str, hours: int) -> None:
    """Runs a query and prints its figures."""
    period = Period(made.BEGIN, made.BEGIN + hours * made.HOUR) if hours else Period()
    with Fleet(folder, engine) as fleet:
        before = read_bytes()
        begin = time.monotonic()
        answer = fleet.ask(name, period, 10**7)
        figures = {"seconds": time.monotonic() - begin, "answers": len(answer.rows), "read": read_bytes() - before,
                   "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}
    print(json.dumps(figures))


def read_bytes() -> int:
    """What this process has read by calls."""
    return int(pathlib.Path("/proc/self/io").read_text().split("rchar:")[1].split()[0])


def measure(folder: pathlib.Path, engine: str, queries: tuple[str, ...]) -> None:
    """A line of a table for each query, and for one of an hour alone."""
    files = list(folder.rglob("*.parquet"))
    rows = sum(pq.read_metadata(file).num_rows for file in files)
    stored = sum(file.stat().st_size for file in files)
    print(f"{rows:,} rows in {len(files):,} files, {stored / 2**20:,.0f} MiB; {engine}")
    print("| query | answers | seconds | rows/s | MiB read | of stored | peak MiB |\n|---|---|---|---|---|---|---|")
    for name, hours in [*((name, 0) for name in queries), (queries[0], 1)]:
        done = subprocess.run([sys.executable, __file__, "--one", name, "--hours", str(hours), "--engine", engine,
                               "--folder", str(folder)], capture_output=True, text=True)
        if done.returncode:
            print(f"| {name} | failed: {done.stderr.strip().splitlines()[-1]} |")
            continue
        got = json.loads(done.stdout)
        label = f"{name}, first hour" if hours else name
        print(f"| {label} | {got['answers']:,} | {got['seconds']:.1f} | {rows / got['seconds']:,.0f} | {got['read'] / 2**20:,.0f} | "
              f"{got['read'] / stored:.0%} | {got['peak_mib']:,} |", flush=True)


def main() -> None:
    """Reads the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10**6)
    parser.add_argument("--engine", default="datafusion")
    parser.add_argument("--folder", type=pathlib.Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--hours", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("queries", nargs="*", default=QUERIES)
    given = parser.parse_args()
    if given.one:
        return one(str(given.folder), given.engine, given.one, given.hours)
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or pathlib.Path(temporary)
        folder.mkdir(exist_ok=True)
        if not any(folder.iterdir()):
            fill(folder, given.rows)
        measure(folder, given.engine, tuple(given.queries))
    return None


if __name__ == "__main__":
    main()
