"""The Debian package and its unit on a booted machine."""

import re

import lab

# Sends SYNs to six ports of the machine from outside.
SCAN = """python3 - <<'END'
import socket, struct
def sum16(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xffff) + (total >> 16)
    return ~(total + (total >> 16)) & 0xffff
source, target = socket.inet_aton("198.51.100.7"), socket.inet_aton("192.0.2.1")
mac = bytes.fromhex(open("/sys/class/net/eth0/address").read().replace(":", ""))
far = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
far.bind(("far", 0))
for port in range(20, 26):
    tcp = struct.pack("!HHIIHHHH", 40000, port, port, 0, 0x5002, 1024, 0, 0)
    check = sum16(source + target + struct.pack("!HH", 6, len(tcp)) + tcp)
    tcp = tcp[:16] + struct.pack("!H", check) + tcp[18:]
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 1, 0, 64, 6, 0, source, target)
    ip = ip[:10] + struct.pack("!H", sum16(ip)) + ip[12:]
    far.send(mac + bytes(5) + b"\\1\\x08\\x00" + ip + tcp)
END
"""
CAP_NET_RAW = 1 << 13
EVE = "/var/log/synledger/eve.json"


class Service(lab.Lab):
    def copy_with_version(self, machine: lab.Machine, version: str) -> str:
        """Puts the same package with another version on the machine."""
        folder = self.folder()
        self.run_ok("dpkg-deb", "--raw-extract", self.made(".deb"), folder / "tree")
        control = folder / "tree/DEBIAN/control"
        text, changed = re.subn("(?m)^Version: .*$", f"Version: {version}", control.read_text())
        self.assertEqual(changed, 1)
        control.write_text(text)
        self.run_ok("dpkg-deb", "-Zgzip", "--build", "--root-owner-group", folder / "tree", folder / "new.deb")
        machine.copy(folder / "new.deb", f"/srv/{version}.deb")
        return f"/srv/{version}.deb"

    def assert_active(self, machine: lab.Machine) -> str:
        """Gives the number of its process."""
        journal = machine.run("journalctl --unit synledger --no-pager").stdout
        self.assertEqual(machine.state("ActiveState"), "active", journal)
        self.assertEqual(machine.state("StatusText"), "watching eth0", journal)
        return machine.state("MainPID")

    def test_the_package_is_installed_upgraded_downgraded_removed_and_purged(self):
        machine = self.installed()
        self.assertEqual(machine.state("ActiveState"), "inactive", "an installation starts nothing")
        self.assertEqual(machine.run("systemctl is-enabled synledger").stdout.strip(), "disabled")
        machine.ok("systemctl enable --now synledger")
        first = self.assert_active(machine)
        machine.ok(SCAN)
        self.wait_for("alert", lambda: '"event_type":"alert"' in machine.run(f"cat {EVE}").stdout)
        self.assertEqual(machine.ok(f"stat --format '%U %G %a' {EVE}"), "synledger synledger 640")
        self.assertEqual(machine.ok("curl --silent --show-error http://127.0.0.1:9477/healthz"), "ok")
        machine.ok("echo '# by hand' >>/etc/synledger/synledger.toml")

        machine.ok(f"dpkg --install {self.copy_with_version(machine, '99.0')}")
        second = self.assert_active(machine)
        self.assertNotEqual(first, second, "an upgrade restarts what runs")
        machine.ok(f"dpkg --install {self.copy_with_version(machine, '0.0.1')}")
        self.assertNotEqual(self.assert_active(machine), second)
        self.assertIn("# by hand", machine.ok("cat /etc/synledger/synledger.toml"))
        self.assertEqual(machine.ok("systemctl is-enabled synledger"), "enabled")

        files = machine.ok("dpkg --listfiles synledger").split()
        machine.ok("dpkg --remove synledger")
        self.assertEqual(machine.run("pgrep -x synledger").stdout, "")
        self.assertEqual(machine.ok("find /etc/systemd -name 'synledger*'"), "")
        machine.ok(f"test -s {EVE} -a -s /etc/synledger/synledger.toml")
        machine.ok("dpkg --purge synledger")
        self.assertIn("/etc/synledger/synledger.toml", files)
        paths = [path for path in files if "synledger" in path] + ["/var/log/synledger", "/var/lib/synledger"]
        left = machine.run(f"ls --directory {' '.join(paths)}")
        self.assertEqual([line for line in left.stdout.splitlines() if "cannot access" not in line], [])

    def test_the_service_has_only_what_it_needs(self):
        machine = self.installed()
        unit = "/usr/lib/systemd/system/synledger.service"
        self.assertEqual(machine.ok(f"systemd-analyze verify {unit}"), "")
        said = machine.ok(f"systemd-analyze security --offline=yes {unit} | tail -n 1")
        print(f"packages: {said}")
        exposure = re.search(r"synledger\.service: ([0-9.]+) ", said)
        self.assertLessEqual(float(exposure[1]), 2.0)
        machine.ok("systemctl start synledger")
        status = machine.ok(f"cat /proc/{self.assert_active(machine)}/status")
        value = lambda name: re.search(rf"(?m)^{name}:\t(.*)$", status)[1]
        user = machine.ok("id --user synledger")
        self.assertEqual(value("Uid"), "\t".join([user] * 4))
        # What the unit gives; the sensor's sandbox takes away what a child could have.
        wanted = {"CapInh": 0, "CapPrm": CAP_NET_RAW, "CapEff": CAP_NET_RAW, "CapBnd": CAP_NET_RAW, "CapAmb": 0}
        for name, capabilities in wanted.items():
            self.assertEqual(int(value(name), 16), capabilities, name)
        self.assertIn("system calls by thread (seccomp)", machine.ok("journalctl --unit synledger --no-pager"))
        self.assertEqual((value("NoNewPrivs"), value("Seccomp")), ("1", "2"))

    def test_the_watchdog_ends_a_sensor_that_stands_still_and_it_comes_back(self):
        machine = self.installed()
        machine.ok("mkdir --parents /run/systemd/system/synledger.service.d")
        machine.ok("printf '[Service]\\nWatchdogSec=3s\\nRestartSec=100ms\\n' "
                   ">/run/systemd/system/synledger.service.d/test.conf && systemctl daemon-reload")
        machine.ok("systemctl start synledger")
        first = self.assert_active(machine)
        machine.ok("sleep 5")
        self.assertEqual(self.assert_active(machine), first, "signs of life are given")
        machine.ok(f"kill -STOP {first}")
        self.wait_for("new process", lambda: machine.state("NRestarts") == "1")
        self.wait_for("start", lambda: machine.state("ActiveState") == "active")
        self.assertNotEqual(self.assert_active(machine), first)
        self.assertIn("synledger.service: Watchdog timeout", machine.ok("journalctl --unit synledger --no-pager"))

        machine.ok(f"mv {EVE} {EVE}.1 && systemctl reload synledger")
        self.wait_for("new file", lambda: machine.run(f"test -e {EVE}").returncode == 0)
        self.assert_active(machine)
        files = lambda: machine.run(f"readlink /proc/{machine.state('MainPID')}/fd/*").stdout.split()
        self.wait_for("reopened file", lambda: EVE in files() and f"{EVE}.1" not in files())
        # The sensor's own: what an earlier run left is compressed, with the least priority.
        old = f"{EVE}.20200101T000000Z"
        machine.ok(f"systemctl stop synledger && echo old >{old} && chown synledger: {old} && systemctl start synledger")
        self.wait_for("compressed file", lambda: machine.run(f"test -e {old}.gz && ! test -e {old}").returncode == 0)
        threads = machine.ok("cat /proc/$(systemctl show -P MainPID synledger)/task/*/stat")
        nice = [line.split()[18] for line in threads.splitlines() if "(archiver)" in line]
        self.assertEqual(nice, ["19"])
        machine.ok("systemctl stop synledger")
        self.assertEqual(machine.state("Result"), "success")
        self.assertIn("the books close", machine.ok("journalctl --unit synledger --no-pager"))

    def test_with_the_drop_in_it_blocks(self):
        machine = self.installed()
        machine.ok("install -D -m 644 /usr/share/doc/synledger/examples/block.conf "
                   "/etc/systemd/system/synledger.service.d/block.conf && systemctl daemon-reload")
        for method in ("nft", "xdp"):
            machine.ok("sed --in-place '/^block = /d' /etc/synledger/synledger.toml && "
                       f"echo 'block = \"{method}\"' >>/etc/synledger/synledger.toml && systemctl restart synledger")
            self.assert_active(machine)
            machine.ok("synledger block add 203.0.113.9")
            self.assertIn("203.0.113.9 ", machine.ok("synledger block list"))
            found = machine.ok("nft list tables") if method == "nft" else machine.ok("ip link show eth0")
            self.assertIn("inet synledger" if method == "nft" else "prog/xdp", found)
            machine.ok("systemctl stop synledger")
            self.assertNotIn("inet synledger", machine.ok("nft list tables"))
            self.assertNotIn("prog/xdp", machine.ok("ip link show eth0"))


if __name__ == "__main__":
    lab.unittest.main()
