#!/usr/bin/env python3
"""Tests of install-test-deps: where a package comes from, and that one which cannot be had leaves the others in. apt,
root and the programs sought are stubs; nothing is installed."""

import os
import pathlib
import subprocess
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
# What the script itself runs; all else on PATH is a stub.
REAL = ("bash", "cat", "env", "awk", "grep", "paste", "head", "mkdir", "mv", "touch")

# Suites of packages: `apt-cache madison NAME`. The backports' appear once their source is written.
APT_CACHE = """#!/bin/bash
case $2 in
  {nowhere}) exit ;;
  suricata) [ -e {root}/source ] || exit 0; echo "$2 | 2 | http://mirror/debian bookworm-backports/main amd64 Packages" ;;
  *) echo "$2 | 1 | http://mirror/debian bookworm/main amd64 Packages"
     echo "$2 | 2 | http://mirror/debian bookworm-backports/main amd64 Packages" ;;
esac
echo "$2 | 3 | http://mirror/debian sid/main Sources"
"""
# Fails for every call that has a package of `held`.
APT_GET = """#!/bin/bash
case $1 in
  indextargets) echo http://mirror/debian/ ;;
  download)
    for word in "${{@:3}}"; do
      echo "$word" >>{root}/downloads; [ "$word" != {nowhere} ] && touch "$word"_1_all.deb || exit 100
    done ;;
  install)
    echo "$*" >>{root}/calls
    for word; do
      case $word in {held}) echo "W: not this"; echo "E: Unable to correct problems, of $word." >&2; exit 100 ;; esac
    done ;;
esac
"""


class InstallTestDeps(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        for name in REAL:
            found = next(path for path in ("/usr/bin", "/bin") if os.access(f"{path}/{name}", os.X_OK))
            (self.root / name).symlink_to(f"{found}/{name}")
        # It unpacks beside its own folder.
        self.script = self.root / "repository/tools/install-test-deps"
        self.script.parent.mkdir(parents=True)
        # Without the folders of this system that it adds to PATH.
        text = (HERE / "install-test-deps").read_text()
        self.script.write_text(text.replace("export PATH=$PATH:/usr/sbin:/sbin\n", ""))
        self.program("dpkg", "#!/bin/bash\n[ -e \"$2\" ] && echo \"$2\" >\"$3/files\"\n")
        self.program("id", "#!/bin/bash\necho 0\n")
        self.program("rm", f"#!/bin/bash\necho \"$*\" >>{self.root}/removed\n"
                     f"case $* in *{self.root}/repository/*) exec /bin/rm \"$@\" ;; esac\n")
        self.program("chmod", "#!/bin/bash\n")
        self.program("tee", f"#!/bin/bash\ncase $1 in *.list) cat >{self.root}/source ;; *) cat >/dev/null ;; esac\n")
        # The release's name is bookworm, whatever runs the test.
        self.program("sed", "#!/bin/bash\ncase $2 in *VERSION*) echo bookworm ;; *) exec /usr/bin/sed \"$@\" ;; esac\n")

    def program(self, name, text):
        path = self.root / name
        path.write_text(text)
        path.chmod(0o755)

    def install(self, which, held="none", nowhere="none"):
        """Runs it with PATH stubbed; gives status, output and apt's calls to install."""
        self.program("apt-cache", APT_CACHE.format(root=self.root, nowhere=nowhere))
        self.program("apt-get", APT_GET.format(root=self.root, held=held, nowhere=nowhere))
        done = subprocess.run(["bash", self.script, which], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, env={"PATH": str(self.root)}, check=False)
        calls = self.root / "calls"
        return done.returncode, done.stdout, calls.read_text().splitlines() if calls.exists() else []

    def test_only_what_the_release_lacks_comes_from_its_backports(self):
        status, output, calls = self.install("load")
        self.assertEqual(status, 0, output)
        self.assertEqual(len(calls), 2, calls)
        self.assertIn(" nfdump", calls[0])
        self.assertNotIn("suricata", calls[0])
        self.assertNotIn(" -t ", calls[0])
        self.assertTrue(calls[1].endswith(" -t bookworm-backports suricata"), calls)
        self.assertEqual((self.root / "source").read_text(), "deb http://mirror/debian/ bookworm-backports main\n")
        self.assertIn("synledger-backports.list", (self.root / "removed").read_text())

    def test_backports_that_are_a_source_already_are_used_as_such(self):
        (self.root / "source").touch()
        status, output, calls = self.install("load")
        self.assertEqual(status, 0, output)
        self.assertTrue(calls[1].endswith(" -t bookworm-backports suricata"), calls)

    def test_one_that_cannot_be_had_is_named_with_apts_reason_and_leaves_the_others_in(self):
        status, output, calls = self.install("load", held="suricata|nfdump")
        self.assertEqual(status, 0, output)
        for name in ("suricata", "nfdump"):
            self.assertIn(f"load: apt does not install {name}: Unable to correct problems, of {name}.\n", output)
        self.assertNotIn("W:", output)
        self.assertNotIn("does not install wrk", output)
        self.assertTrue(any(call.endswith("recommends wrk") for call in calls), calls)

    def test_one_that_no_suite_has_is_named(self):
        status, output, calls = self.install("load", nowhere="wrk")
        self.assertEqual(status, 0, output)
        self.assertIn("load: apt has no wrk for bookworm", output)
        self.assertNotIn("wrk", " ".join(calls))

    def test_what_peers_need_is_no_need_of_the_tests(self):
        status, output, calls = self.install("peers", held="suricata")
        self.assertEqual(status, 0, output)
        self.assertIn("peers: apt does not install suricata: Unable to correct problems, of suricata.\n", output)
        self.assertFalse(any("nginx" in call for call in calls), calls)

    def test_what_the_tests_need_and_apt_does_not_install_is_a_failure(self):
        status, output, calls = self.install("tests", held="curl")
        self.assertEqual(status, 1, output)
        self.assertIn("tests: apt does not install curl: ", output)
        self.assertTrue(any(call.endswith("recommends groff-base") for call in calls), calls)

    def test_what_would_start_with_the_system_is_unpacked_and_not_installed(self):
        status, output, calls = self.install("tests")
        self.assertEqual(status, 0, output)
        names = ["crowdsec", "fail2ban", "nfdump", "prometheus", "rsyslog", "softflowd"]
        self.assertFalse(any(name in call for call in calls for name in names), calls)
        unpacked = self.root / "repository/target/unpacked"
        self.assertEqual(sorted(path.name for path in unpacked.iterdir()), names)
        self.assertTrue((unpacked / "fail2ban/files").read_text().endswith("fail2ban_1_all.deb\n"))
        self.install("tests")
        downloads = (self.root / "downloads").read_text().split()
        self.assertEqual(sorted(downloads), sorted([*names, "libestr0", "libfastjson4"]))

    def test_what_cannot_be_downloaded_leaves_nothing_half(self):
        status, output, _ = self.install("tests", nowhere="crowdsec")
        self.assertEqual(status, 0, output)
        self.assertIn("tests: apt does not download crowdsec; tests that need it are skipped\n", output)
        unpacked = self.root / "repository/target/unpacked"
        rest = ["fail2ban", "nfdump", "prometheus", "rsyslog", "softflowd"]
        self.assertEqual(sorted(path.name for path in unpacked.iterdir()), rest)


if __name__ == "__main__":
    unittest.main()
