"""The program as a person meets it: forms of answers, errors, hostile values, the page."""

import contextlib
import csv
import io
import json
import pathlib
import re
import sys
import tempfile
import unittest
import unittest.mock

import made
import tree  # noqa: F401

from synledger_fleet import output
from synledger_fleet.cli import main
from synledger_fleet.errors import BadInput
from synledger_fleet.period import Period, length_ns, moment_ns
from synledger_fleet.progress import Progress


def run(*arguments: str, stdin: str = "") -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    out, error = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error), unittest.mock.patch.object(sys, "stdin", io.StringIO(stdin)):
        try:
            code = main(list(arguments))
        except SystemExit as end:
            code = end.code
    return code, out.getvalue(), error.getvalue()


class Program(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.data = str(pathlib.Path(cls.folder.name, "data"))
        maker = made.Maker(5, 8)
        maker.boundaries()
        maker.others()
        for number, sensor in enumerate(maker.sensors):
            maker.background(sensor, number)
        maker.books()
        made.store(maker.rows, pathlib.Path(cls.data))

    def test_forms_agree(self):
        code, text, _ = run("port-scans", self.data)
        self.assertEqual(code, 0)
        rows = json.loads(run("port-scans", self.data, "--json")[1])
        listed = list(csv.DictReader(io.StringIO(run("port-scans", self.data, "--csv")[1])))
        self.assertEqual([row["src_ip"] for row in rows], [row["src_ip"] for row in listed])
        self.assertEqual(len(text.splitlines()), len(rows) + 1)
        self.assertIsInstance(rows[0]["start_ns"], int)
        self.assertIn("192.0.2.1 ", text)

    def test_no_hostile_value_reaches_a_terminal(self):
        for form in ([], ["--json"], ["--csv"]):
            for asked in (["connections", self.data, "--host", "198.51.100.1", "--limit", "100000"],
                          ["sql", self.data, "SELECT DISTINCT service FROM records ORDER BY service"]):
                code, text, error = run(*asked, *form)
                self.assertEqual(code, 0, error)
                self.assertIn("script", text)
                unsafe = [char for char in text if not char.isprintable() and char not in "\n\r"]
                self.assertEqual(unsafe, [], asked)
        code, _, error = run("sql", self.data, "SELECT \x1b[2Jno FROM records")
        self.assertEqual(code, 1)
        self.assertNotIn("\x1b", error)

    def test_a_spreadsheet_calculates_nothing(self):
        self.assertEqual(output.as_csv(["a"], [{"a": "=1+1"}]), "a\r\n'=1+1\r\n")
        self.assertEqual(output.printable("a\u202eb\x9b\x7f"), "a\\u{202e}b\\u{9b}\\u{7f}")

    def test_wrong_arguments_are_named_with_what_is_allowed(self):
        for arguments, words in (
                (["port-scans", "/nowhere"], ["/nowhere", "no such folder"]),
                (["port-scans", self.folder.name + "/data/date=2026-11-02"], ["date=YYYY-MM-DD/hour=HH", "not in this layout"]),
                (["port-scans", "ftp://x"], ["ftp://x", "s3://BUCKET/PREFIX"]),
                (["port-scans", self.data, "--window", "60"], ["--window", '"60"', "60s"]),
                (["port-scans", self.data, "--ports", "1"], ["--ports", "2 to 1000000"]),
                (["port-scans", self.data, "--since", "yesterday"], ["--since", "yesterday", "2026-11-30"]),
                (["port-scans", self.data, "--since", "2026-11-03", "--until", "2026-11-02"], ["--since", "before --until"]),
                (["port-scans", self.data, "--engine", "sqlite"], ["--engine", "datafusion, duckdb, chdb, spark"]),
                (["port-scans", self.data, "--master", "spark://x:1"], ["--master", "--engine spark"]),
                (["port-scans", self.data, "--limit", "0"], ["--limit"]),
                (["port-scans", self.data, "--show-sql", "oracle"], ["--show-sql", "athena"]),
                (["connections", self.data, "--host", "10.0.0.1.5"], ["--host", "IPv4 or IPv6"]),
                (["first-seen", self.data, "--of", "port"], ["--of", "service"]),
                (["sql", self.data, "DROP TABLE records"], ["one SELECT"]),
                (["sql", self.data, "SELECT 1; SELECT 2"], ["semicolon"]),
                (["report", self.data, "--html", "/nowhere/x.html"], ["--html", "a folder that exists"]),
                (["port-scans"], ["PLACE"])):
            code, _, error = run(*arguments)
            self.assertEqual(code, 2, f"{arguments}: {error}")
            for word in words:
                self.assertIn(word, error)

    def test_sql_is_read_from_standard_input_and_only_reads(self):
        code, text, _ = run("sql", self.data, "-", "--csv", stdin="-- mine\nSELECT COUNT(*) AS n FROM records;")
        self.assertEqual(code, 0)
        self.assertRegex(text, r"^n\r\n\d+\r\n$")
        code, _, error = run("sql", self.data, "WITH x AS (SELECT 1) INSERT INTO records SELECT * FROM x")
        self.assertEqual(code, 1, error)

    def test_sql_is_shown_in_each_dialect_with_its_values(self):
        for dialect in ("portable", "athena", "clickhouse"):
            code, text, _ = run("port-scans", "s3://bucket/x", "--show-sql", dialect, "--since", "2026-11-02")
            self.assertEqual(code, 0)
            self.assertNotRegex(re.sub(r"--[^\n]*", "", text), r"\bparam_")
            self.assertIn("'2026-11-02'", text)

    def test_a_cut_answer_says_so(self):
        code, text, error = run("top-syn", self.data, "--limit", "2")
        self.assertEqual((code, len(text.splitlines())), (0, 3))
        self.assertIn("more than these 2 rows", error)

    def test_progress_is_for_terminals_alone(self):
        class Terminal(io.StringIO):
            def isatty(self):
                return True
        terminal, file = Terminal(), io.StringIO()
        for stream in (terminal, file):
            with Progress("reading", stream) as progress:
                progress.ended.wait(0.6)
        self.assertIn("reading: 0 s", terminal.getvalue())
        self.assertEqual(file.getvalue(), "")

    def test_the_page_is_whole_and_takes_nothing_from_the_network(self):
        path = pathlib.Path(self.folder.name, "page.html")
        title = "Fleet </title><script>alert(1)</script>"
        code, _, error = run("report", self.data, "--html", str(path), "--title", title)
        self.assertEqual(code, 0, error)
        page = path.read_text()
        self.assertNotRegex(page, r"%[A-Z]+%")
        self.assertEqual(page.count("<script"), 2, "its data and its own")
        self.assertNotRegex(page.replace("http://www.w3.org/2000/svg", ""), r"https?://|@import|url\(")
        data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])
        scans = json.loads(run("port-scans", self.data, "--json")[1])
        self.assertEqual(sum(one["kind"] == "port scan" for one in data["scans"]), len(scans))
        self.assertEqual(sum(sum(one["values"]) for one in data["series"]), data["totals"]["attempts"])
        self.assertIn("default-src 'none'", page)

    def test_a_report_without_attempts_is_one_too(self):
        path = pathlib.Path(self.folder.name, "empty.html")
        code, _, error = run("report", self.data, "--html", str(path), "--until", "2026-01-01")
        self.assertEqual(code, 0, error)


class Times(unittest.TestCase):
    def test_lengths_and_moments(self):
        self.assertEqual(length_ns("x", "500ms"), 500_000_000)
        self.assertEqual(moment_ns("x", "2026-11-02", 0), made.BEGIN)
        self.assertEqual(moment_ns("x", "2026-11-02T01:00+01:00", 0), made.BEGIN)
        self.assertEqual(moment_ns("x", "2h", made.BEGIN), made.BEGIN - 2 * made.HOUR)
        for wrong in ("", "0s", "1y", "-1s", "99999999999s"):
            with self.assertRaises(BadInput):
                length_ns("x", wrong)
        for wrong in ("1969-12-31", "2300-01-01", "x"):
            with self.assertRaises(BadInput):
                moment_ns("x", wrong, made.BEGIN)

    def test_partitions_of_a_period_are_those_of_its_first_and_last_nanosecond(self):
        period = Period(made.BEGIN + made.HOUR, made.BEGIN + 2 * made.HOUR).parameters()
        self.assertEqual((period["since_hour"], period["until_hour"]), ("01", "01"))
        period = Period(made.BEGIN, made.BEGIN + 2 * made.HOUR + 1).parameters()
        self.assertEqual((period["since_hour"], period["until_hour"]), ("00", "02"))


if __name__ == "__main__":
    unittest.main()
