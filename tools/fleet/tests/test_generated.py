"""The generated SQL is what the generator makes, and other dialects read it."""

import importlib.util
import re
import unittest

import tree

from synledger_fleet.queries import QUERIES, filled, source, sql_folder

HAS_SQLGLOT = importlib.util.find_spec("sqlglot") is not None


@unittest.skipUnless(HAS_SQLGLOT, "sqlglot is not installed")
class Generated(unittest.TestCase):
    def test_the_files_are_what_the_generator_makes(self):
        import sys
        sys.path.insert(0, str(tree.TREE))
        import generate
        made = generate.generated()
        for path, text in made.items():
            self.assertEqual((tree.TREE / "sql" / path).read_text(), text, f"{path}: run generate.py")
        there = {f"{folder.name}/{file.name}" for folder in (tree.TREE / "sql").iterdir() if folder.is_dir()
                 for file in folder.glob("*.sql")}
        self.assertEqual(there, set(made), "files that no query makes any more")

    def test_each_dialect_parses_its_own(self):
        import sqlglot
        for dialect in ("athena", "clickhouse"):
            for path in sorted((tree.TREE / "sql" / dialect).glob("*.sql")):
                trees = sqlglot.parse(path.read_text(), read=dialect)
                self.assertEqual(len([one for one in trees if one]), 1, path)
                self.assertNotIsInstance(trees[0], sqlglot.exp.Command, f"{path}: not understood")
        for name in QUERIES:
            sqlglot.parse_one((tree.TREE / "sql" / "athena" / f"{name}.sql").read_text(), read="trino")


class Sources(unittest.TestCase):
    def test_every_parameter_has_a_value_and_every_value_a_parameter(self):
        of_all = {"since_ns", "until_ns", "since_date", "since_hour", "until_date", "until_hour", "limit"}
        for name, query in QUERIES.items():
            used = set(re.findall(r"\bparam_(\w+)", re.sub(r"--[^\n]*", "", source(name))))
            self.assertEqual(used - of_all, set(query.defaults), name)

    def test_a_value_cannot_leave_its_quotes(self):
        self.assertEqual(filled("x = param_host", {"host": "a'; DROP TABLE x"}), "x = 'a''; DROP TABLE x'")
        for hostile in ("a\\", "a\x00", "a\n"):
            with self.assertRaises(Exception):
                filled("param_host", {"host": hostile})

    def test_no_fragment_is_left(self):
        for path in sql_folder().iterdir():
            if path.name.endswith(".sql"):
                self.assertNotIn("-- include", source(path.name.removesuffix(".sql")), path)


if __name__ == "__main__":
    unittest.main()
