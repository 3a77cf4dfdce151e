"""Query engines read the Parquet files of captures and must agree with brute force over the EVE log of the same run.

    engines.py --binary target/release/synledger --corpus CAPTURES [--captures N] [--s3 URL --bucket NAME]

synledger-parquet must lie beside the binary. Engines: DuckDB, DataFusion and chDB, as far as they are installed (at least one). With
--s3 the files also go to that server (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), from which DataFusion and chDB read them.
"""

import argparse
import collections
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

KINDS = {"new_connection": "connection", "new_connections": "fold", "flow": "flow", "alert": "alert", "stats": "books"}

QUERIES = {
    "rows by kind": "select kind, count(*) from T group by kind",
    "connections": "select src_ip, dst_ip, dst_port, sum(attempts), sum(flow_id), min(community_id) from T "
    "where kind = 'connection' group by src_ip, dst_ip, dst_port",
    "flows by state": "select conn_state, reason, count(*), sum(orig_pkts), sum(resp_pkts), sum(orig_bytes), sum(resp_bytes) "
    "from T where kind = 'flow' group by conn_state, reason",
    "flows by source": "select src_ip, count(*), max(history), min(proto), sum(part) from T where kind = 'flow' group by src_ip",
    "flows by flags": "select tcp_flags_orig, tcp_flags_resp, count(*) from T where proto = 6 and kind = 'flow' "
    "group by tcp_flags_orig, tcp_flags_resp",
    "alerts": 'select alert, severity, count(*), sum("distinct"), min(window_ns) from T where kind = \'alert\' group by alert, severity',
    "folds": "select dst_ip, dst_port, sum(attempts) from T where kind = 'fold' group by dst_ip, dst_port",
}


def tally(rows, key, values):
    """Groups rows by key and adds up their values."""
    groups = collections.defaultdict(lambda: [0] * values)
    for row in rows:
        name, more = key(row)
        for at, value in enumerate(more):
            groups[name][at] += value
    return groups


def brute_force(records):
    """The answers of all queries from EVE records."""
    of = collections.defaultdict(list)
    for record in records:
        if record["event_type"] in KINDS:
            of[KINDS[record["event_type"]]].append(record)
    flows, connections = of["flow"], of["connection"]
    ours = lambda record: record["synledger"]
    answers = {"rows by kind": [(kind, len(all_)) for kind, all_ in of.items() if all_]}

    groups = collections.defaultdict(list)
    for one in connections:
        groups[(one["src_ip"], one["dest_ip"], one["dest_port"])].append(one)
    answers["connections"] = [
        (*key, len(some), sum(one["flow_id"] for one in some), min(one["community_id"] for one in some))
        for key, some in groups.items()
    ]
    counts = lambda one: [
        1,
        one["flow"]["pkts_toserver"],
        one["flow"]["pkts_toclient"],
        ours(one)["payload_bytes_toserver"],
        ours(one)["payload_bytes_toclient"],
    ]
    key = lambda one: (ours(one)["conn_state"], ours(one)["end_reason"])
    answers["flows by state"] = [(*name, *sums) for name, sums in tally(flows, lambda one: (key(one), counts(one)), 5).items()]

    groups = collections.defaultdict(list)
    for one in flows:
        groups[one["src_ip"]].append(one)
    protos = {"TCP": 6, "UDP": 17, "ICMP": 1, "IPv6-ICMP": 58, "SCTP": 132}
    proto = lambda one: protos.get(one["proto"]) or int(one["proto"])
    answers["flows by source"] = [
        (src, len(some), max((ours(one)["history"] or None for one in some), key=lambda text: text or ""), min(map(proto, some)), 0)
        for src, some in groups.items()
    ]
    flags = lambda one: (int(one["tcp"]["tcp_flags_ts"], 16), int(one["tcp"]["tcp_flags_tc"], 16))
    tcp = [one for one in flows if "tcp" in one]
    answers["flows by flags"] = [(*name, *sums) for name, sums in tally(tcp, lambda one: (flags(one), [1]), 1).items()]

    groups = collections.defaultdict(list)
    for one in of["alert"]:
        groups[(ours(one)["scan"]["kind"], one["alert"]["severity"])].append(ours(one)["scan"])

    def distinct(scan):
        for name in ("packets", "places"):
            if name in scan:
                return scan[name]
        return scan["hosts"] if scan["ports"] == 1 and "port_list" not in scan else scan["ports"]

    answers["alerts"] = [
        (*name, len(some), sum(map(distinct, some)), round(min(scan["window_s"] for scan in some) * 1e9))
        for name, some in groups.items()
    ]
    target = lambda one: (one.get("dest_ip"), one.get("dest_port"))
    folds = tally(of["fold"], lambda one: (target(one), [ours(one)["fold"]["count"]]), 1)
    answers["folds"] = [(*name, *sums) for name, sums in folds.items()]
    return answers


class DuckDb:
    """Reads folders only: its extension for S3 is a download of its own."""

    def __init__(self):
        import duckdb

        self.connection = duckdb.connect()

    def ask(self, query, place):
        table = f"read_parquet('{place}/*/*/*/*.parquet', hive_partitioning = true)"
        return self.connection.sql(query.replace("from T", f"from {table}")).fetchall()


class DataFusion:
    def __init__(self):
        import datafusion

        self.module = datafusion

    def ask(self, query, place):
        context = self.module.SessionContext()
        if place.startswith("s3://"):
            from datafusion.object_store import AmazonS3

            bucket = place.split("/")[2]
            store = AmazonS3(
                bucket_name=bucket,
                endpoint=os.environ["AWS_ENDPOINT_URL"],
                region="us-east-1",
                access_key_id=os.environ["AWS_ACCESS_KEY_ID"],
                secret_access_key=os.environ["AWS_SECRET_ACCESS_KEY"],
                allow_http=True,
            )
            context.register_object_store("s3://", store, bucket)
        context.register_parquet("T", f"{place}/", file_extension=".parquet")
        rows = context.sql(query).to_arrow_table().to_pylist()
        return [tuple(row.values()) for row in rows]


class ChDb:
    def __init__(self):
        import chdb

        self.module = chdb

    def ask(self, query, place):
        if place.startswith("s3://"):
            bucket, prefix = place.removeprefix("s3://").split("/", 1)
            keys = (os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"))
            arguments = (f"{os.environ['AWS_ENDPOINT_URL']}/{bucket}/{prefix}/**.parquet", *keys, "Parquet")
            table = f"s3({', '.join(repr(one) for one in arguments)})"
        else:
            table = f"file('{place}/*/*/*/*.parquet', 'Parquet')"
        text = query.replace("from T", f"from {table}")
        answer = str(self.module.query(text, "JSONCompactEachRow"))
        number = lambda value: int(value) if isinstance(value, str) and value.lstrip("-").isdigit() else value
        return [tuple(map(number, json.loads(line))) for line in answer.splitlines()]


def patient(engine, query, place):
    """The engine's answer. A server that is away is waited for: that is no fault of the engine."""
    for left in reversed(range(30)):
        try:
            return engine.ask(query, place)
        except Exception:
            if not (left and place.startswith("s3://")):
                raise
            time.sleep(1)


def plain(rows):
    """Sorted rows of whole numbers and texts."""
    plain_one = lambda value: int(value) if isinstance(value, bool) or hasattr(value, "as_integer_ratio") else value
    return sorted((tuple(map(plain_one, row)) for row in rows), key=lambda row: [(value is None, str(value)) for value in row])


def engines():
    found = {}
    for name, make in {"DuckDB": DuckDb, "DataFusion": DataFusion, "chDB": ChDb}.items():
        try:
            found[name] = make()
        except ImportError:
            print(f"skipped: {name} is not installed (pip install {name.lower()})")
    return found or sys.exit("no engine is installed")


def captures(corpus, most):
    """So many captures, evenly taken from all folders; of many, those from 100 kB to 20 MB: smaller ones hold a flow or two."""
    files = [path for path in pathlib.Path(corpus).rglob("*") if path.suffix in (".pcap", ".pcapng", ".cap") and path.is_file()]
    files.sort()
    if len(files) > most:
        files = [path for path in files if 100_000 <= path.stat().st_size <= 20_000_000]
    step = max(1, len(files) // most)
    return files[::step][:most]


def read(binary, capture, folder, to):
    """EVE records of a capture; its Parquet files go to `to`."""
    eve = folder / "eve.json"
    spool = f",spool-dir={folder}/spool" if to.startswith("s3://") else ""
    command = [binary, "read", capture, "--output", f"eve:{eve}", "--output", f"parquet:{to},sensor=probe{spool}"]
    run = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if run.returncode not in (0, 1):
        sys.exit(f"{capture}: {run.stderr}")
    return [json.loads(line) for line in eve.read_text().splitlines()]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", required=True, type=pathlib.Path)
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--captures", type=int, default=20)
    parser.add_argument("--s3", metavar="URL")
    parser.add_argument("--bucket", default="synledger")
    args = parser.parse_args()
    if args.s3:
        os.environ.update(AWS_ENDPOINT_URL=args.s3, AWS_ALLOW_HTTP="true", AWS_REGION="us-east-1")
    asked, wrong, rows = 0, 0, 0
    for at, capture in enumerate(captures(args.corpus, args.captures)):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            to = f"s3://{args.bucket}/{at}" if args.s3 else f"{folder}/to"
            (folder / "to").mkdir()
            expected = brute_force(read(args.binary, capture, folder, to))
            total = sum(count for _, count in expected["rows by kind"])
            rows += total
            for engine, it in engines().items() if total else ():
                if args.s3 and engine == "DuckDB":
                    continue
                for name, query in QUERIES.items():
                    asked += 1
                    answer, good = plain(patient(it, query, to)), plain(expected[name])
                    if answer != good:
                        wrong += 1
                        print(f"{capture}: {engine}: {name}: {len(answer)} rows, {len(good)} expected")
                        for row in [row for row in answer if row not in good][:3] + [row for row in good if row not in answer][:3]:
                            print(f"    {row}")
            print(f"{capture}: {total} rows")
    print(f"{asked} queries over {rows} rows, {wrong} with another answer")
    sys.exit(wrong > 0 or asked == 0)


if __name__ == "__main__":
    main()
