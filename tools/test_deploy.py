"""The configurations of tools/deploy/vector and tools/deploy/fluent-bit can be read, and name only what is there."""

import importlib.util
import pathlib
import unittest

DEPLOY = pathlib.Path(__file__).parent / "deploy"
DESTINATIONS = ("kafka", "nats", "loki", "elastic")


def read(shipper, name):
    """One file."""
    import yaml

    return yaml.safe_load((DEPLOY / shipper / f"{name}.yaml").read_text(encoding="utf-8"))


@unittest.skipIf(importlib.util.find_spec("yaml") is None, "PyYAML is not installed (Debian: python3-yaml)")
class ConfigurationsTest(unittest.TestCase):
    def test_sinks_of_vector_have_inputs_that_are_there(self):
        inputs = read("vector", "inputs")
        known = {*inputs["sources"], *inputs["transforms"]}
        for transform in inputs["transforms"].values():
            self.assertLessEqual(set(transform["inputs"]), known)
        for name in DESTINATIONS:
            (sink,) = read("vector", name)["sinks"].values()
            self.assertEqual(set(sink["inputs"]), {"synledger_eve", "synledger_syslog"}, name)
            self.assertLessEqual(set(sink["inputs"]), known)

    def test_outputs_of_fluent_bit_match_each_tag(self):
        inputs = read("fluent-bit", "inputs")
        parsers = {parser["name"] for parser in inputs["parsers"]}
        for one in inputs["pipeline"]["inputs"]:
            self.assertIn(one["parser"], parsers)
            self.assertTrue(one["tag"].startswith("synledger."))
        for name in DESTINATIONS:
            config = read("fluent-bit", name)
            self.assertEqual(config["includes"], ["inputs.yaml"])
            (output,) = config["pipeline"]["outputs"]
            self.assertEqual(output["match"], "synledger.*")

    def test_both_read_the_same_file_and_port(self):
        vector = read("vector", "inputs")["sources"]
        tail, syslog = read("fluent-bit", "inputs")["pipeline"]["inputs"]
        self.assertEqual(vector["synledger_eve_lines"]["include"], [tail["path"]])
        self.assertEqual(vector["synledger_syslog"]["address"], f"{syslog['listen']}:{syslog['port']}")


if __name__ == "__main__":
    unittest.main()
