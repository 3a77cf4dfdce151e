#!/usr/bin/env python3
"""Tests of run-tests and .ci/run: no failure stays hidden. Both run in a copy of the tree, where cargo, sudo and
the Makefile are stubs with the output and status that a test wants."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent

MAKEFILE = """
test: ; @eval "$$stub_deps" && tools/run-tests
build: ; @$${CARGO:-cargo} build
flood man: ;
check bench-check test-tools test-corpus: ; @eval "$$stub_$(subst -,_,$@)"
"""
CARGO = """#!/bin/bash
case "$*" in
  build*) eval "$stub_build" ;;
  *--no-run*) eval "$stub_no_run" ;;
  *--release*) eval "$stub_shipped" ;;
  test*) eval "$stub_cargo" ;;
  bench*) eval "$stub_guard_test" ;;
esac
"""
RESULT = "test result: {}. {} passed; {} failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s"


def prints(*lines, status=0):
    """A command that prints these lines and exits with this status."""
    return "; ".join([f"echo '{line}'" for line in lines] + [f"exit {status}"])


GOOD = {
    "deps": "true", "check": prints("all is well"), "build": "true", "no_run": "true",
    "cargo": prints("running 2 tests", "test a ... ok", "test b ... ok", RESULT.format("ok", 2, 0)),
    "shipped": prints(RESULT.format("ok", 1, 0)),
    "bench_check": prints("decode: 5 instructions, recorded 5"),
    "guard_test": prints("instructions: 1 workloads, counted twice"),
    "test_tools": prints("Ran 3 tests in 0.1s", "OK"),
    "test_corpus": prints("truth.csv: files=1", "corpus: files=9", "crafted: files=9", "cut short: files=9"),
}


class Runner(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        for name in ("tools", ".ci", "bin"):
            (self.root / name).mkdir()
        for name in ("tools/run-tests", "tools/as-root", ".ci/run"):
            shutil.copy(HERE.parent / name, self.root / name)
        (self.root / "Makefile").write_text(MAKEFILE)
        self.program("cargo", CARGO)

    def program(self, name, text):
        """Writes a program into the first folder of PATH."""
        path = self.root / "bin" / name
        path.write_text(text)
        path.chmod(0o755)

    def runs(self, command, environment=None, **changes):
        """Runs a command; every step passes except for these changes."""
        inherited = {name: os.environ[name] for name in os.environ if not name.startswith(("CARGO", "CLOSING_LINE", "M"))}
        stubs = {f"stub_{name}": command for name, command in (GOOD | changes).items()}
        variables = inherited | stubs | (environment or {})
        variables["PATH"] = f"{self.root / 'bin'}:{os.environ['PATH']}"
        return subprocess.run(command, env=variables, cwd=self.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, check=False)

    def ran(self, environment=None, **changes):
        """Exit status and lines of `.ci/run`; every step passes except for these changes."""
        done = self.runs([self.root / ".ci/run"], environment, **changes)
        return done.returncode, done.stdout.splitlines()

    def fails(self, closing, **changes):
        """Asserts that `.ci/run` fails and ends with this line."""
        status, lines = self.ran(**changes)
        self.assertNotEqual(status, 0, lines)
        self.assertEqual(lines[-1], closing, lines)

    def test_a_run_without_failures_ends_with_the_totals(self):
        # check, build, 2 of cargo, 1 of it in release, 1 workload, its own test, 3 of python, 4 comparisons.
        status, lines = self.ran()
        self.assertEqual((status, lines[-1]), (0, "14 passed, 0 failed, 0 skipped"), lines)
        self.assertEqual(lines.count(lines[-1]), 1, lines)
        steps = [line for line in lines if re.fullmatch(r"tests: [a-z-]+: \d+ passed, 0 failed, 0 skipped, \d+ s", line)]
        self.assertEqual(len(steps), 8, lines)
        self.assertTrue(any(line.startswith("tests: cargo: 2 passed, 0 failed, 0 skipped, ") for line in steps), lines)
        self.assertIn("tests: corpus: files=9", lines)

    def test_each_step_says_how_long_it_took(self):
        _, lines = self.ran(test_tools=f"sleep 2; {GOOD['test_tools']}", build="sleep 1", no_run="sleep 1")
        seconds = {line.split(":")[1].strip(): int(line.split()[-2]) for line in lines if line.endswith(" s")}
        self.assertGreaterEqual(seconds["tools"], 2, lines)
        self.assertGreaterEqual(seconds["build"], 2, lines)

    def test_make_test_alone_ends_with_the_totals_too(self):
        done = self.runs(["make", "--no-print-directory", "test"])
        self.assertEqual(done.stdout.splitlines()[-1], "14 passed, 0 failed, 0 skipped", done)
        self.assertEqual(done.stdout.count("14 passed"), 1, done)

    def test_the_totals_come_once_and_last_after_make_reports_a_failure(self):
        done = self.runs([self.root / ".ci/run"], cargo="exit 3")
        lines = done.stdout.splitlines()
        self.assertIn("make: ***", done.stdout)
        self.assertEqual((lines[-1], lines.count(lines[-1])), ("12 passed, 1 failed, 0 skipped", 1), done)

    def test_a_log_that_reports_a_failure_fails_the_run(self):
        result = RESULT.format("ok", 2, 0)
        for words in ("decode: 9 instructions: MORE THAN IT MAY", "thread x panicked at src/a.rs:1:2:"):
            with self.subTest(words):
                status, lines = self.ran(cargo=prints(words, result))
                self.assertEqual((status, lines[-1]), (2, "14 passed, 1 failed, 0 skipped"), lines)
                alarms = [line for line in lines if line.startswith("tests: alarms: ")]
                self.assertEqual(alarms, [f"tests: alarms: no test failed, but a log reports a failure: target/tests/cargo.log:1:{words}"])

    def test_output_that_is_not_printed_is_no_failure(self):
        quiet = prints("running 1 test", "test a ... ok", "", RESULT.format("ok", 1, 0))
        self.assertEqual(self.ran(cargo=quiet)[0], 0)

    def test_each_step_that_fails_without_output_is_a_failure(self):
        for step, passed in (("check", 13), ("bench_check", 13), ("guard_test", 13), ("test_corpus", 10), ("test_tools", 11),
                             ("cargo", 12), ("shipped", 13)):
            with self.subTest(step):
                self.fails(f"{passed} passed, 1 failed, 0 skipped", **{step: "exit 3"})

    def test_a_build_that_fails_is_a_failure_and_no_older_build_is_tested(self):
        for step in ("build", "no_run"):
            with self.subTest(step):
                self.fails("10 passed, 1 failed, 0 skipped", **{step: "exit 101"})

    def test_each_step_that_succeeds_without_output_is_a_failure(self):
        for step, passed in (("bench_check", 13), ("guard_test", 13), ("test_corpus", 10), ("test_tools", 11), ("cargo", 12),
                             ("shipped", 13)):
            with self.subTest(step):
                self.fails(f"{passed} passed, 1 failed, 0 skipped", **{step: "true"})

    def test_failures_are_counted_by_cargo_and_python(self):
        cargo = prints(RESULT.format("FAILED", 5, 2), RESULT.format("ok", 1, 0), status=101)
        self.fails("18 passed, 2 failed, 0 skipped", cargo=cargo)
        python = prints("Ran 9 tests in 0.1s", "FAILED (failures=1, errors=2)", status=1)
        self.fails("17 passed, 3 failed, 0 skipped", test_tools=python)

    def test_what_failed_is_named_just_above_the_totals(self):
        cargo = prints("test a ... ok", "failures:", "    flow::b", "", "failures:", "    flow::b", RESULT.format("FAILED", 5, 1),
                       status=101)
        python = prints("FAIL: test_c (test_d.E)", "Ran 9 tests in 0.1s", "FAILED (failures=1)", status=1)
        grown = "shard: 9 instructions, recorded 5: MORE THAN IT MAY"
        guard = prints("decode: 5 instructions, recorded 5", grown, status=1)
        _, lines = self.ran(check=prints("error: unused", status=101), cargo=cargo, bench_check=guard, guard_test="exit 3",
                            test_tools=python, test_corpus=prints("skipped: no tshark"))
        named = [line.removeprefix("tests: failed: ") for line in lines if line.startswith("tests: failed: ")]
        self.assertEqual(named, ["check: error: unused", "cargo: flow::b", f"guard: {grown}", "guard-test: no output",
                                 "tools: test_c (test_d.E)"])
        self.assertLess(lines.index("tests: skipped: no tshark (1)"), lines.index(f"tests: failed: {named[0]}"), lines)

    def test_a_program_that_dies_after_passed_tests_is_a_failure(self):
        self.fails("14 passed, 1 failed, 0 skipped", cargo=prints(RESULT.format("ok", 2, 0), status=134))

    def test_a_comparison_that_differs_is_a_failure(self):
        self.fails("11 passed, 1 failed, 0 skipped", test_corpus=prints("corpus: files=9", status=2))

    def test_workloads_that_grew_are_counted_as_failures(self):
        grown = prints("decode: 5 instructions, recorded 5", "shard: 9 instructions, recorded 5: MORE THAN IT MAY", status=1)
        self.fails("14 passed, 1 failed, 0 skipped", bench_check=grown)

    def test_skips_are_counted_with_their_reason_and_not_as_passed(self):
        skips = ("test a ... okskipped: no root", "skipped: no root", RESULT.format("ok", 5, 0))
        status, lines = self.ran(cargo=prints(*skips), test_corpus=prints("skipped: no tshark"))
        self.assertEqual((status, lines[-1]), (0, "11 passed, 0 failed, 3 skipped"), lines)
        self.assertIn("tests: skipped: no root (2)", lines)
        self.assertIn("tests: skipped: no tshark (1)", lines)

    def test_without_python_its_steps_are_skipped(self):
        self.program("python3", "#!/bin/sh\nexit 127\n")
        status, lines = self.ran()
        self.assertEqual((status, lines[-1]), (0, "7 passed, 0 failed, 2 skipped"), lines)

    def test_another_cargo_is_used_throughout(self):
        shutil.copy(self.root / "bin/cargo", self.root / "bin/other")
        self.program("cargo", "#!/bin/sh\nexit 1\n")
        done = self.ran({"CARGO": "other"})
        self.assertEqual(done[0], 0, done)

    def test_a_folder_of_captures_that_is_missing_is_named_before_anything_runs(self):
        for there, folder in ((False, "/no/such"), (True, str(self.root))):
            status, lines = self.ran({"SYNLEDGER_CAPTURES": folder})
            self.assertEqual(status, 0, lines)
            self.assertEqual(folder in lines[0] and "will be skipped" in lines[0], not there, lines)

    def test_prove_asks_for_a_capture_before_it_builds(self):
        done = subprocess.run(["make", "--no-print-directory", "prove", "CARGO=echo built; false"], cwd=HERE.parent,
                              capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stdout), (2, ""), done)
        self.assertIn("make prove PCAP=FILE", done.stderr)

    def test_help_and_unknown_arguments_start_nothing(self):
        for word, status in (("--help", 0), ("--nosuch", 2)):
            done = subprocess.run([self.root / "tools/run-tests", word], capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, status, done)
            self.assertIn("--help" if status else "SYNLEDGER_CAPTURES", done.stdout + done.stderr)
            self.assertFalse((self.root / "target").exists())

    def test_a_failure_before_the_tests_is_a_failure(self):
        self.fails("0 passed, 1 failed, 0 skipped", deps="false")

    def other_host(self, sudo):
        """Runs without root, on another architecture, with a sudo of this exit status."""
        self.program("id", "#!/bin/sh\necho 1000\n")
        self.program("sudo", f"#!/bin/sh\nexit {sudo}\n")
        self.program("rustc", "#!/bin/sh\necho host: aarch64-unknown-linux-gnu.2\n")
        runner = "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_2_RUNNER"
        return self.ran(cargo=f"echo runner: ${runner}; {GOOD['cargo']}")

    def test_the_runner_is_named_after_this_host(self):
        status, lines = self.other_host(sudo=0)
        self.assertEqual(status, 0, lines)
        self.assertIn("runner: tools/as-root", lines)

    def test_without_root_and_sudo_the_tests_run_and_a_line_reports_it(self):
        status, lines = self.other_host(sudo=1)
        self.assertEqual(status, 0, lines)
        self.assertIn("tests: neither root nor sudo: tests that need root are skipped", lines)
        self.assertIn("runner: ", [line + " " for line in lines if line.startswith("runner:")])


if __name__ == "__main__":
    unittest.main()
