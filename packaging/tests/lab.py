"""What the tests of packages share: the results of `make dist`, and a machine to install them on."""

import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import unittest

TESTS = pathlib.Path(__file__).resolve().parent
PACKAGING = TESTS.parent
ROOT = PACKAGING.parent
DIST = ROOT / "target/dist"
VERSION = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
PATIENCE_S = 60

sys.dont_write_bytecode = True
sys.path.insert(0, str(PACKAGING))


class Lab(unittest.TestCase):
    """A test that skips, in the words that tools/run-tests counts, where something is missing."""

    def need(self, *programs: str) -> None:
        missing = [name for name in programs if shutil.which(name) is None]
        if missing:
            self.skip(f"{', '.join(missing)} not installed")

    def need_root(self) -> None:
        if subprocess.run(["id", "-u"], capture_output=True, text=True, check=True).stdout.strip() != "0":
            self.skip("needs root for namespaces")

    def skip(self, why: str) -> None:
        print(f"\nskipped: {why}", file=sys.stderr)
        self.skipTest(why)

    def made(self, ending: str) -> pathlib.Path:
        """The result of `make dist` with this ending."""
        found = [path for path in DIST.glob("*") if path.name.endswith(ending) and VERSION in path.name]
        if not found:
            self.skip("no target/dist: make dist")
        self.assertEqual(len(found), 1, found)
        return found[0]

    def installed(self) -> "Machine":
        """A machine with the package."""
        machine = Machine(self)
        machine.copy(self.made(".deb"), "/srv/synledger.deb")
        machine.ok("dpkg --install /srv/synledger.deb")
        return machine

    def folder(self) -> pathlib.Path:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        return pathlib.Path(folder.name)

    def run_ok(self, *command, **more) -> str:
        """Runs a command that must succeed; gives its output, both streams."""
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
                              timeout=300, **more)
        self.assertEqual(done.returncode, 0, f"{command}\n{done.stdout}")
        return done.stdout

    def wait_for(self, what: str, happened) -> None:
        give_up = time.monotonic() + PATIENCE_S
        while not happened():
            self.assertLess(time.monotonic(), give_up, f"no {what} in {PATIENCE_S} s")
            time.sleep(0.1)


class Machine:
    """This system once more, booted by systemd in namespaces of its own, with an interface that has a default route."""

    SETUP = """set -e
rm -rf /etc/synledger /var/log/synledger /var/lib/synledger
ip link set lo up
for name in all default; do echo 1 >/proc/sys/net/ipv6/conf/$name/disable_ipv6; done
ip link add eth0 type veth peer name far
ip link set eth0 up
ip link set far up
ip addr add 192.0.2.1/24 dev eth0
ip route add default via 192.0.2.9
"""

    def __init__(self, test: Lab):
        self.test = test
        test.need_root()
        test.need("unshare", "nsenter", "ip", "dpkg")
        if not pathlib.Path("/lib/systemd/systemd").exists():
            test.skip("systemd not installed")
        self.folder = test.folder()
        self.log = self.folder / "console"
        command = ["unshare", "--mount", "--pid", "--fork", "--net", "--uts", "--ipc", "--cgroup", "--kill-child",
                   TESTS / "boot", self.folder / "machine"]
        (self.folder / "machine").mkdir()
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        test.addCleanup(self.end)
        test.wait_for("first process", lambda: self.first() is not None)
        test.wait_for("boot", lambda: self.run("systemctl is-system-running").stdout.strip() in ("running", "degraded"))
        self.ok(self.SETUP)

    def first(self) -> str | None:
        """The machine's first process, once it is systemd."""
        test = self.test
        test.assertIsNone(self.process.poll(), f"the machine does not boot:\n{self.log.read_text()}")
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        comm = pathlib.Path(f"/proc/{children[0]}/comm").read_text().strip() if children else ""
        return children[0] if comm == "systemd" else None

    def run(self, script: str) -> subprocess.CompletedProcess:
        """Runs this script in the machine."""
        command = ["nsenter", "--target", self.first() or "0", "--all", "sh", "-c", script]
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
                              timeout=300, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})

    def ok(self, script: str) -> str:
        """Runs a script that must succeed; gives its output."""
        done = self.run(script)
        self.test.assertEqual(done.returncode, 0, f"{script}\n{done.stdout}")
        return done.stdout.strip()

    def path(self, inside: str) -> pathlib.Path:
        """A path of the machine, as this system has it."""
        return pathlib.Path("/proc", self.first() or "0", "root", inside.lstrip("/"))

    def copy(self, file: pathlib.Path, to: str) -> None:
        """Copies a file, or a folder with everything in it."""
        (shutil.copytree if file.is_dir() else shutil.copy)(file, self.path(to))

    def state(self, name: str) -> str:
        """A property of the service."""
        return self.ok(f"systemctl show --property {name} --value synledger.service")

    def end(self) -> None:
        # --kill-child: the kernel ends the first process, and with it all others.
        self.process.kill()
        self.process.wait()
