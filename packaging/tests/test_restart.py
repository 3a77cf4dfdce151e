"""`systemctl restart` on a booted machine: the next process goes on with the rings of the one before.

SYNLEDGER_FUZZ=full restarts 20 times under 200,000 packets/s instead of three times under few.
"""

import collections
import json
import os
import time

import lab

# Sends SYNs of ever new connections, one in so many packets, among data of one connection: sender.py NAME RATE ONE_IN.
# Ends with the file NAME.stop; writes how many SYNs and packets that were.
SENDER = r"""
import os, socket, struct, sys, time
name, rate, one_in = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
host = int(name)
mac = bytes.fromhex(open("/sys/class/net/eth0/address").read().replace(":", ""))
far = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
far.bind(("far", 0))
def frame(source, port, target_port, flags, seq):
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 1, 0, 64, 6, 0, source, socket.inet_aton("192.0.2.1"))
    tcp = struct.pack("!HHIIHHHH", port, target_port, seq, 1, 0x5000 | flags, 1024, 0, 0)
    return mac + bytes(5) + b"\1\x08\x00" + ip + tcp
data = frame(bytes([10, host, 255, 255]), 5000, 443, 0x10, 7)
start, packets, syns = time.monotonic(), 0, 0
while not os.path.exists(name + ".stop"):
    due = int((time.monotonic() - start) * rate)
    while packets < due:
        if packets % one_in == 0:
            source = bytes([10, host, syns >> 8 & 255, syns & 255])
            far.send(frame(source, 1024 + (syns >> 16), 443, 2, syns))
            syns += 1
        else:
            far.send(data)
        packets += 1
    time.sleep(0.0005)
print(syns, packets, time.monotonic() - start)
"""
# One SYN: touch.py SOURCE PORT.
TOUCH = r"""
import socket, struct, sys
mac = bytes.fromhex(open("/sys/class/net/eth0/address").read().replace(":", ""))
far = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
far.bind(("far", 0))
source, target = socket.inet_aton(sys.argv[1]), socket.inet_aton("192.0.2.1")
for port in map(int, sys.argv[2:]):
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 1, 0, 64, 6, 0, source, target)
    tcp = struct.pack("!HHIIHHHH", 40000 + port, port, port, 0, 0x5002, 1024, 0, 0)
    far.send(mac + bytes(5) + b"\1\x08\x00" + ip + tcp)
"""
EVE = "/var/log/synledger/eve.json"
CONFIG = """preset = "ledger"
capture = "headers"
interface = ["eth0"]
memory-mib = {memory_mib}
scan-scope = "all"
fold = 0
# Behind by a second, a worker would shed data until it has caught up.
shed = "off"
workers = 2
ring-mib = {ring_mib}
output = ["eve:{eve},events=connection+alert+stats+lifecycle"]
"""
FULL = os.environ.get("SYNLEDGER_FUZZ") == "full"


class Restart(lab.Lab):
    def start(self, ring_mib: int) -> lab.Machine:
        machine = self.installed()
        machine.path("/etc/synledger/synledger.toml").write_text(CONFIG.format(ring_mib=ring_mib, memory_mib=ring_mib, eve=EVE))
        machine.path("/srv/sender.py").write_text(SENDER)
        machine.path("/srv/touch.py").write_text(TOUCH)
        # Nothing here answers: every frame is the test's own.
        machine.ok("ip addr flush dev eth0; systemctl start synledger || { journalctl --unit synledger; false; }")
        return machine

    def records(self, machine: lab.Machine) -> list:
        return [json.loads(line) for line in machine.path(EVE).read_text().splitlines()]

    def events(self, machine: lab.Machine) -> collections.Counter:
        lifecycle = (one for one in self.records(machine) if one["event_type"] == "lifecycle")
        return collections.Counter(one["synledger"]["event"] for one in lifecycle)

    def test_a_restart_loses_nothing_doubles_nothing_and_goes_on_with_scans(self):
        restarts, senders, rate, one_in = (20, 4, 50_000, 100) if FULL else (3, 1, 4_000, 4)
        machine = self.start(256 if FULL else 64)
        for name in range(1, senders + 1):
            machine.ok(f"cd /srv && (python3 sender.py {name} {rate} {one_in} >{name}.sent 2>&1 &)")
        processes = {machine.state("MainPID")}
        for number in range(restarts):
            machine.ok(f"python3 /srv/touch.py 203.0.113.{number} 80 81")
            time.sleep(0.3)
            machine.ok("systemctl restart synledger")
            processes.add(machine.state("MainPID"))
            machine.ok(f"python3 /srv/touch.py 203.0.113.{number} 82 83 84 85")
            time.sleep(0.3)
        self.assertEqual(len(processes), restarts + 1)
        machine.ok(f"cd /srv && touch {' '.join(f'{name}.stop' for name in range(1, senders + 1))}")
        sent = lambda: [machine.path(f"/srv/{name}.sent").read_text().split() for name in range(1, senders + 1)]
        self.wait_for("end of the senders", lambda: all(sent()))
        time.sleep(1)
        machine.ok("systemctl stop synledger")
        syns, packets = (sum(int(one[at]) for one in sent()) for at in (0, 1))
        pace = sum(int(one[1]) / float(one[2]) for one in sent())
        all_records = self.records(machine)
        lifecycle = [one["synledger"] for one in all_records if one["event_type"] == "lifecycle"]
        unread = [round(one["unread_ms"]) for one in lifecycle if one["event"] == "taken_over"]
        print(f"\npackages: {packets} packets, {pace:.0f} a second, {restarts} restarts, nobody read for {unread} ms")
        self.assertEqual(len(unread), restarts, lifecycle)
        seen = [(one["src_ip"], one["src_port"], one["dest_port"], one["synledger"]["isn"]) for one in all_records
                if one["event_type"] == "new_connection"]
        self.assertEqual(len(seen), len(set(seen)), "logged twice")
        self.assertEqual(len(seen), syns + 6 * restarts, "missing")
        scans = [one for one in all_records if one["event_type"] == "alert"
                 and (one["synledger"]["scan"]["kind"], one["synledger"]["scan"]["phase"]) == ("port_scan", "started")]
        found = {one["src_ip"]: one["synledger"]["scan"]["port_list"] for one in scans}
        self.assertEqual(found, {f"203.0.113.{number}": "80-83" for number in range(restarts)})
        self.assertEqual(len(scans), restarts)
        counts = self.events(machine)
        for event in ("not_watched", "handover_failed", "loss_began", "books_open"):
            self.assertEqual(counts[event], 0, event)
        journal = machine.ok("journalctl --unit synledger --no-pager")
        self.assertIn(f"{packets + 6 * restarts} frames offered by the kernel: {packets + 6 * restarts} read, "
                      "0 dropped by full rings", journal)
        self.assertIn("the books close", journal)

    def test_after_stop_and_start_or_a_kill_the_gap_is_named(self):
        machine = self.start(64)
        machine.ok("systemctl restart synledger")
        machine.ok("systemctl stop synledger && systemctl start synledger")
        self.assertEqual(self.events(machine)["taken_over"], 1, "a stop empties the store")
        self.assertEqual(self.events(machine)["not_watched"], 1)
        self.assertEqual(machine.state("NFileDescriptorStore"), "0", "nothing stays there")
        machine.ok("systemctl restart synledger")
        self.assertEqual(machine.state("NFileDescriptorStore"), "0", "nothing stays there")
        machine.ok("systemctl kill --signal=KILL synledger")
        self.wait_for("start", lambda: self.events(machine)["not_watched"] == 2)
        self.assertEqual(self.events(machine)["taken_over"], 2)

    def test_with_other_settings_it_starts_anew_and_says_so(self):
        machine = self.start(64)
        config = machine.path("/etc/synledger/synledger.toml")
        config.write_text(config.read_text().replace("workers = 2", "workers = 1"))
        machine.ok("systemctl restart synledger")
        journal = machine.ok("journalctl --unit synledger --no-pager")
        self.assertIn("nothing is taken over from the process before: it has other settings: --workers", journal)
        self.assertIn("starting anew", journal)
        self.assertEqual(self.events(machine)["taken_over"], 0)
        self.assertEqual(self.events(machine)["not_watched"], 1)
        self.assertEqual(machine.state("NFileDescriptorStore"), "0")


if __name__ == "__main__":
    lab.unittest.main()
