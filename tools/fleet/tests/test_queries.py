"""Each query on each engine against brute force, over the rows of 200 simulated sensors."""

import importlib.util
import os
import pathlib
import tempfile
import unittest

import brute
import made
import tree  # noqa: F401
from synledger_fleet.asking import Fleet
from synledger_fleet.period import Period

LIMIT = 10**6
# What is not installed is said, and counted as skipped. Spark has a cluster of its own in test_spark.py.
ENGINES = [name for name in os.environ.get("FLEET_ENGINES", "datafusion duckdb chdb").split()
           if name != "spark"]


def canonical(rows: list[dict]) -> list[tuple]:
    """Rows in an order and a form that do not depend on the engine."""
    return sorted(tuple((name, row[name]) for name in sorted(row)) for row in rows)


class Answers(unittest.TestCase):
    """The checks; a subclass names an engine."""

    engine = ""
    master = None

    @classmethod
    def setUpClass(cls):
        if not cls.engine:
            raise unittest.SkipTest("a base class")
        if cls.engine not in ENGINES and cls.engine != "spark":
            raise unittest.SkipTest(f"{cls.engine}: not asked for (FLEET_ENGINES)")
        module = "pyspark" if cls.engine == "spark" else cls.engine
        if importlib.util.find_spec(module) is None:
            raise unittest.SkipTest(f"{module} is not installed")
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.rows = made.make(pathlib.Path(cls.folder.name)).rows
        cls.fleet = Fleet(cls.folder.name, cls.engine, cls.master)
        cls.addClassCleanup(cls.fleet.engine.close)

    def check(self, name: str, expected: list[dict], given: dict | None = None, period: Period = Period()):
        """The answer equals these rows, and there are some."""
        answer = self.fleet.ask(name, period, LIMIT, given)
        self.assertTrue(expected, f"{name}: nothing would be compared")
        found = canonical(answer.rows)
        wanted = canonical(expected)
        in_answer, in_truth = set(found), set(wanted)
        missing = [row for row in wanted if row not in in_answer][:3]
        extra = [row for row in found if row not in in_truth][:3]
        self.assertEqual((missing, extra, len(found)), ([], [], len(wanted)), name)

    def test_port_scans_are_those_of_the_sensors_rule(self):
        self.check("port_scans", brute.port_scans(self.rows))
        self.check("port_scans", brute.port_scans(self.rows, per_sensor=True), {"per_sensor": 1})
        given = {"at_least": 3, "window_ns": 20 * made.SECOND}
        self.check("port_scans", brute.port_scans(self.rows, 3, 20 * made.SECOND), given)

    def test_a_touch_just_as_old_as_the_window_does_not_count(self):
        found = {row["src_ip"] for row in self.fleet.ask("port_scans", Period(), LIMIT).rows}
        self.assertIn("192.0.2.1", found, "W-1 ns")
        self.assertNotIn("192.0.2.2", found, "W ns")
        self.assertNotIn("192.0.2.3", found, "W+1 ns")
        swept = {row["src_ip"] for row in self.fleet.ask("sweeps", Period(), LIMIT).rows}
        self.assertEqual([f"192.0.2.{number}" in swept for number in (31, 32, 33)], [True, False, False])

    def test_a_scan_that_comes_again_fires_again_a_window_after_it_was_over(self):
        rows = self.fleet.ask("port_scans", Period(), LIMIT).rows
        fires = [sum(row["src_ip"] == f"192.0.2.{number}" for row in rows) for number in (11, 12, 13)]
        self.assertEqual(fires, [1, 2, 2], "W-1, W and W+1 ns after it was over")

    def test_sweeps(self):
        self.check("sweeps", brute.sweeps(self.rows))
        self.check("sweeps", brute.sweeps(self.rows, 7, made.HOUR, True), {"at_least": 7, "window_ns": made.HOUR, "per_sensor": 1})

    def test_slow_scans(self):
        self.check("slow_scans", brute.slow_scans(self.rows))
        given = {"at_least": 5, "window_ns": made.DAY, "failed_percent": 50, "span_ns": 60 * made.SECOND}
        self.check("slow_scans", brute.slow_scans(self.rows, 5, made.DAY, False, 60 * made.SECOND, 50), given)

    def test_distributed(self):
        self.check("distributed", brute.distributed(self.rows))
        self.check("distributed", brute.distributed(self.rows, 10, 30 * made.SECOND, True, 2),
                   {"at_least": 10, "window_ns": 30 * made.SECOND, "sources": 2, "per_sensor": 1})

    def test_top_syn(self):
        self.check("top_syn", brute.top_syn(self.rows))
        best = self.fleet.ask("top_syn", Period(), 2)
        self.assertEqual([row["src_ip"] for row in best.rows], ["192.0.2.252", "192.0.2.251"])
        self.assertTrue(best.cut)

    def test_connections(self):
        for host in ("198.51.100.4", "192.0.2.252", "2001:db8::c0"):
            self.check("connections", brute.connections(self.rows, host), {"host": host})

    def test_first_seen(self):
        since = made.BEGIN + made.DAY
        for of in ("source", "destination", "service"):
            self.check("first_seen", brute.first_seen(self.rows, of), {"of": of})
        self.check("first_seen", brute.first_seen(self.rows, "source", since), {"of": "source"}, Period(since))

    def test_coverage(self):
        self.check("coverage", brute.coverage(self.rows))
        self.check("coverage_gaps", brute.coverage_gaps(self.rows))
        since, until = made.BEGIN + made.DAY + made.HOUR // 2, made.BEGIN + 2 * made.DAY + 9 * made.HOUR + made.HOUR // 3
        self.check("coverage_gaps", brute.coverage_gaps(self.rows, since, until), period=Period(since, until))

    def test_activity_and_proofs(self):
        self.check("activity", brute.activity(self.rows))
        self.check("proofs", brute.proofs(self.rows))

    def test_a_period_is_exact_to_the_nanosecond(self):
        times = sorted(row["ts_ns"] for row in self.rows if row["kind"] == "connection")
        since, until = times[len(times) // 3], times[2 * len(times) // 3]
        for end in (until, until + 1):
            period, own = Period(since, end), brute.inside(self.rows, since, end)
            self.check("top_syn", brute.top_syn(own), period=period)
            self.check("port_scans", brute.port_scans(own, since=since), period=period)

    def test_a_sensor_whose_name_is_a_number_keeps_it(self):
        sensors = {row["sensor"] for row in self.fleet.ask("activity", Period(), LIMIT).rows}
        self.assertIn("007", sensors)


class DataFusion(Answers):
    engine = "datafusion"


class DuckDB(Answers):
    engine = "duckdb"


class ChDB(Answers):
    engine = "chdb"


if __name__ == "__main__":
    unittest.main()
