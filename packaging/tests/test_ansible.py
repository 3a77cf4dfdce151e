"""The Ansible role on a booted machine, by a connection to itself."""

import json
import re

import lab

# Answers as a sensor whose books do not close.
ILL = """setsid python3 -c '
import http.server
class Ill(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_error(503, "frames: 0 against 3")
http.server.HTTPServer(("127.0.0.1", 9999), Ill).serve_forever()' >/dev/null 2>&1 </dev/null &
"""
HOSTS = """all:
  vars:
    ansible_connection: local
    ansible_python_interpreter: /usr/bin/python3
  hosts:
    canary:
    other:
"""


class Role(lab.Lab):
    def machine(self) -> lab.Machine:
        self.need("ansible-playbook")
        package = self.made(".deb")
        machine = lab.Machine(self)
        machine.copy(package, "/srv/synledger.deb")
        machine.copy(lab.PACKAGING / "ansible", "/srv/ansible")
        hosts = self.folder() / "hosts.yml"
        hosts.write_text(HOSTS)
        machine.copy(hosts, "/srv/hosts.yml")
        return machine

    def play(self, machine: lab.Machine, **variables) -> tuple[int, str, dict[str, dict[str, int]]]:
        """Runs the playbook; gives its status, its output, and the counts of each host."""
        given = json.dumps({"synledger_deb": "/srv/synledger.deb", "synledger_soak_seconds": 1, **variables})
        done = machine.run(f"cd /srv/ansible && ANSIBLE_NOCOLOR=1 HOME=/srv LC_ALL=C.UTF-8 ansible-playbook "
                           f"--inventory /srv/hosts.yml --extra-vars '{given}' deploy.yml")
        recap = done.stdout.rpartition("PLAY RECAP")[2]
        counts = {host: {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", rest)}
                  for host, rest in re.findall(r"(?m)^(\w+) +: (.*)$", recap)}
        return done.returncode, done.stdout, counts

    def test_it_runs_twice_the_second_time_unchanged_and_a_change_restarts_the_service(self):
        machine = self.machine()
        status, said, counts = self.play(machine)
        self.assertEqual(status, 0, said)
        self.assertGreater(counts["canary"]["changed"], 3, said)
        # Both are the same machine here: the canary has done all there is to do.
        self.assertEqual(counts["other"]["changed"], 0, said)
        self.assertEqual(machine.state("StatusText"), "watching eth0")
        self.assertEqual(machine.ok("systemctl is-enabled synledger"), "enabled")
        first = machine.state("MainPID")
        status, said, counts = self.play(machine)
        self.assertEqual((status, counts["canary"]["changed"], counts["other"]["changed"]), (0, 0, 0), said)
        self.assertEqual(machine.state("MainPID"), first)
        status, said, counts = self.play(machine, synledger_config_more={"memory-mib": 128, "alert": "scan"})
        # The file, and the restart.
        self.assertEqual((status, counts["canary"]["changed"]), (0, 2), said)
        self.assertNotEqual(machine.state("MainPID"), first)
        text = machine.ok("cat /etc/synledger/synledger.toml")
        self.assertTrue(text.endswith('\nalert = "scan"\nmemory-mib = 128\npreset = "edge"'), text)

    def test_a_refused_file_and_books_that_do_not_close_stop_it_at_the_canary(self):
        machine = self.machine()
        status, said, counts = self.play(machine, synledger_config_more={"memory-mib": "much"})
        self.assertEqual((status, counts["canary"]["failed"]), (2, 1), said)
        self.assertIn("memory-mib", said)
        self.assertNotIn("much", machine.ok("cat /etc/synledger/synledger.toml"))
        self.assertNotIn("other", counts, "the second host keeps what it has")
        # Each value is one; together they are no run.
        status, said, counts = self.play(machine, synledger_config_more={"block-kib": 512, "ring-mib": 4})
        self.assertEqual((status, counts["canary"]["failed"]), (2, 1), said)
        self.assertIn("--block-kib 512", said)
        self.assertNotIn("block-kib = 512", machine.ok("cat /etc/synledger/synledger.toml"))
        machine.ok(ILL)
        status, said, counts = self.play(machine, synledger_health="http://127.0.0.1:9999/healthz")
        self.assertEqual((status, counts["canary"]["failed"]), (2, 1), said)
        self.assertIn("frames: 0 against 3", said)
        self.assertNotIn("other", counts)

    def test_the_linter_finds_nothing(self):
        self.need("ansible-lint")
        self.run_ok("ansible-lint", "--nocolor", "--offline", cwd=lab.PACKAGING / "ansible")


if __name__ == "__main__":
    lab.unittest.main()
