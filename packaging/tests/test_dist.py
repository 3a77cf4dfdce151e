"""What `make dist` makes: the same bytes from the same inputs, read back by programs that are not ours."""

import hashlib
import json
import os
import pathlib
import re
import subprocess
import tarfile

import lab

EPOCH = "1700000000"


class Archives(lab.Lab):
    def inputs(self) -> pathlib.Path:
        """A program and pages that are quickly packed; what they are does not matter."""
        folder = self.folder()
        pages = folder / "pages"
        pages.mkdir()
        for name in ("synledger.1", "synledger-run.1", "synledger.7", "synledger.bash", "_synledger", "synledger.fish"):
            (pages / name).write_text(f"{name}\n")
        (pages / "synledger.toml").write_bytes((lab.ROOT / "contrib/synledger.toml").read_bytes())
        subprocess.run(["cp", "/bin/true", folder / "program"], check=True)
        return folder

    def dist(self, inputs: pathlib.Path, out: str, **environment) -> dict[str, bytes]:
        self.run_ok("python3", lab.PACKAGING / "dist.py", "--program", inputs / "program", "--man", inputs / "pages",
                    "--target", "x86_64-unknown-linux-musl", "--out", inputs / out,
                    env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "SOURCE_DATE_EPOCH": EPOCH, **environment})
        return {path.name: path.read_bytes() for path in (inputs / out).iterdir()}

    def test_two_runs_give_the_same_bytes_whatever_the_clock_zone_umask_and_file_times(self):
        self.need("objcopy", "cargo")
        inputs = self.inputs()
        first = self.dist(inputs, "first")
        for path in (inputs / "pages").iterdir():
            os.utime(path, (1, 1))
            path.chmod(0o600)
        umask = os.umask(0o077)
        try:
            second = self.dist(inputs, "second", TZ="Asia/Tokyo", LC_ALL="C", PYTHONHASHSEED="7")
        finally:
            os.umask(umask)
        self.assertEqual({name: hashlib.sha256(data).hexdigest() for name, data in first.items()},
                         {name: hashlib.sha256(data).hexdigest() for name, data in second.items()})
        self.assertEqual(len(first), 6)
        other = self.dist(inputs, "third", SOURCE_DATE_EPOCH="1700000001")
        self.assertNotEqual(first["SHA256SUMS"], other["SHA256SUMS"], "the comparison sees a difference")

    def test_a_time_that_is_none_and_an_unknown_machine_are_refused(self):
        inputs = self.inputs()
        for more, environment, words in (
            ([], {"SOURCE_DATE_EPOCH": "now"}, "SOURCE_DATE_EPOCH='now': must be seconds since 1970"),
            (["--target", "vax-unknown-linux-musl"], {}, "--target vax-unknown-linux-musl: must begin with one of x86_64"),
        ):
            done = subprocess.run(
                ["python3", lab.PACKAGING / "dist.py", "--program", inputs / "program", "--man", inputs / "pages",
                 "--target", "x86_64-unknown-linux-musl", "--out", inputs / "out", *more],
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment}, capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn(words, done.stderr)

    def test_the_sums_hold(self):
        folder = self.made(".deb").parent
        self.assertEqual(self.run_ok("sha256sum", "--check", "--strict", "SHA256SUMS", cwd=folder).count(": OK\n"), 5)


class Package(lab.Lab):
    def test_lintian_finds_nothing(self):
        self.need("lintian")
        said = self.run_ok("lintian", "--fail-on", "error,warning", "--tag-display-limit", "0", "--allow-root",
                           self.made(".deb"))
        self.assertEqual(said, "")

    def test_the_configuration_is_that_of_a_service(self):
        folder = self.folder()
        self.run_ok("dpkg-deb", "--extract", self.made(".deb"), folder)
        config = (folder / "etc/synledger/synledger.toml").read_text()
        self.assertEqual(re.findall("(?m)^[^#\n].*", config), ['preset = "edge"'])
        self.assertTrue(config.startswith('# preset = "edge", further down, is in force: '), config[:200])


class Program(lab.Lab):
    def program(self) -> pathlib.Path:
        folder = self.folder()
        with tarfile.open(self.made(".tar.gz")) as archive:
            archive.extractall(folder, filter="data")
        return next(folder.glob("synledger-*"))

    def test_the_tarball_has_a_static_program_every_page_and_completions_that_load(self):
        folder = self.program()
        program = folder / "bin/synledger"
        self.assertIn(f"synledger {lab.VERSION}", self.run_ok(program, "--version"))
        headers = self.run_ok("readelf", "--program-headers", "--dynamic", program)
        self.assertNotIn("INTERP", headers)
        self.assertNotIn("NEEDED", headers)
        pages = sorted(path.name for path in folder.glob("share/man/man*/*"))
        self.assertEqual(pages, ["synledger-block.1", "synledger-check.1", "synledger-read.1", "synledger-run.1",
                                 "synledger-top.1", "synledger.1", "synledger.7"])
        self.run_ok("bash", "-c", ". share/bash-completion/completions/synledger && complete -p synledger", cwd=folder)

    def test_messages_name_no_path_of_the_machine_that_built_it(self):
        data = (self.program() / "bin/synledger").read_bytes()
        self.assertIn(b"/cargo/registry/", data)
        for path in (str(lab.ROOT), str(pathlib.Path.home())):
            self.assertNotIn(path.encode() + b"/", data)


class Bill(lab.Lab):
    def bill(self) -> dict:
        return json.loads(self.made(".cdx.json").read_bytes())

    def test_every_package_with_code_in_the_program_is_listed_with_licence_and_hash(self):
        components = self.bill()["components"]
        listed = {f"{part['name']}-{part['version']}" for part in components}
        # Paths of sources in the debugging information.
        debug = self.made(".debug").read_bytes()
        linked = {name.decode() for name in re.findall(rb"/cargo/registry/src/[^/\0]+/([^/\0]+)/", debug)}
        self.assertGreater(len(linked), 30)
        self.assertLessEqual(linked, listed)
        self.assertEqual([name for name in listed if name.startswith(("proptest-", "tempfile-", "clap_complete-"))], [])
        for part in components:
            self.assertRegex(part["licenses"][0]["expression"], "^[A-Za-z0-9.() -]+$")
            self.assertRegex(part["hashes"][0]["content"], "^[0-9a-f]{64}$")

    def test_every_reference_is_to_a_part(self):
        bill = self.bill()
        parts = {part["bom-ref"] for part in bill["components"]} | {bill["metadata"]["component"]["bom-ref"]}
        self.assertEqual({one["ref"] for one in bill["dependencies"]}, parts)
        self.assertLessEqual({ref for one in bill["dependencies"] for ref in one["dependsOn"]}, parts)
        self.assertRegex(bill["serialNumber"], "^urn:uuid:[0-9a-f-]{36}$")


if __name__ == "__main__":
    lab.unittest.main()
