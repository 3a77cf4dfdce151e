"""The configurations of tools/deploy/vector and tools/deploy/fluent-bit can be read, and name only what is there."""

import importlib.util
import pathlib
import tomllib
import unittest

DEPLOY = pathlib.Path(__file__).parent / "deploy"
DESTINATIONS = ("kafka", "nats", "loki", "elastic")
HAS_YAML = importlib.util.find_spec("yaml") is not None


def vector(name):
    """A file of Vector."""
    return tomllib.loads((DEPLOY / "vector" / f"{name}.toml").read_text(encoding="utf-8"))


def fluent_bit(name):
    """A file of Fluent Bit."""
    import yaml

    return yaml.safe_load((DEPLOY / "fluent-bit" / f"{name}.yaml").read_text(encoding="utf-8"))


class ConfigurationsTest(unittest.TestCase):
    def test_sinks_of_vector_have_inputs_that_are_there(self):
        inputs = vector("inputs")
        known = {*inputs["sources"], *inputs["transforms"]}
        for transform in inputs["transforms"].values():
            self.assertLessEqual(set(transform["inputs"]), known)
        for name in DESTINATIONS:
            (sink,) = vector(name)["sinks"].values()
            self.assertEqual(set(sink["inputs"]), {"synledger_eve", "synledger_syslog"}, name)
            self.assertLessEqual(set(sink["inputs"]), known)

    @unittest.skipUnless(HAS_YAML, "PyYAML is not installed (Debian: python3-yaml)")
    def test_outputs_of_fluent_bit_match_each_tag(self):
        inputs = fluent_bit("inputs")
        parsers = {parser["name"] for parser in inputs["parsers"]}
        for one in inputs["pipeline"]["inputs"]:
            self.assertIn(one["parser"], parsers)
            self.assertTrue(one["tag"].startswith("synledger."))
        for name in DESTINATIONS:
            config = fluent_bit(name)
            self.assertEqual(config["includes"], ["inputs.yaml"])
            (output,) = config["pipeline"]["outputs"]
            self.assertEqual(output["match"], "synledger.*")

    @unittest.skipUnless(HAS_YAML, "PyYAML is not installed (Debian: python3-yaml)")
    def test_both_read_the_same_file_and_port(self):
        sources = vector("inputs")["sources"]
        tail, syslog = fluent_bit("inputs")["pipeline"]["inputs"]
        self.assertEqual(sources["synledger_eve_lines"]["include"], [tail["path"]])
        self.assertEqual(sources["synledger_syslog"]["address"], f"{syslog['listen']}:{syslog['port']}")


if __name__ == "__main__":
    unittest.main()
