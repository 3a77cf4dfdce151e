#!/usr/bin/env python3
"""Tests of the comparison with other programs: what counts as found, missed and false, what each program's output
says, and what the firewall logs. None of the programs is needed, and no capture."""

import collections
import json
import pathlib
import tempfile
import unittest

import episodes
import firewall
import peer_programs
import peers
from episodes import Episode, Truth
from peer_programs import Alert

SECOND = firewall.SECOND
A, B, C = "192.0.2.1", "198.51.100.2", "198.51.100.3"
A6, B6 = "2001:db8::1", "2001:db8::2"
SYN, ACK, RST, FIN = firewall.flows.SYN, firewall.flows.ACK, firewall.flows.RST, firewall.flows.FIN


def to(*destinations):
    """Destinations of an alert."""
    return frozenset(destinations)


def tcp(at_s, src, sport, dst, dport, flags, length=0):
    """A row of a TCP segment."""
    kind = "syn" if flags & SYN and not flags & ACK else "segment"
    return {"kind": kind, "src": src, "sport": sport, "dst": dst, "dport": dport, "flags": flags, "ack": 0,
            "len": length, "isn" if kind == "syn" else "seq": sport, "frame": 1 + at_s, "encap": 1,
            "ts": at_s * SECOND, "now": at_s * SECOND}


def udp(at_s, src, sport, dst, dport):
    """A row of a UDP datagram of four bytes."""
    return {"kind": "udp", "src": src, "sport": sport, "dst": dst, "dport": dport, "len": 12, "frame": 1 + at_s,
            "encap": 1, "ts": at_s * SECOND, "now": at_s * SECOND}


def logged(rows, knows_services=False):
    """Which of the rows the firewall logs, by their places."""
    out = firewall.logged(rows, knows_services)
    return [place for place, row in enumerate(rows) if any(row | {"joined": False} == one | {"joined": False}
                                                           for one in out)]


class Counting(unittest.TestCase):
    """What is found, missed and false."""

    def tally(self, truth, alerts):
        out = episodes.Tally()
        out.add("capture", truth, alerts, peer_programs.VERDICTS)
        return out

    def test_an_alert_about_another_destination_finds_nothing(self):
        truth = Truth(to(Episode("port_scan", A, B)))
        self.assertEqual(self.tally(truth, [Alert(A, to(C))]).found.total(), 0)
        self.assertEqual(self.tally(truth, [Alert(A, to(C, B))]).found.total(), 1)

    def test_an_alert_without_a_destination_finds_each_scan_of_its_source(self):
        truth = Truth(to(Episode("port_scan", A, B), Episode("port_scan", A, C), Episode("udp_scan", B, A)))
        tally = self.tally(truth, [Alert(A)])
        self.assertEqual((tally.episodes.total(), tally.found.total()), (3, 2))
        self.assertEqual(tally.complete, set())

    def test_a_scan_of_many_destinations_is_found_by_an_alert_about_one(self):
        tally = self.tally(Truth(to(Episode("slow_scan", A))), [Alert(A, to(C))])
        self.assertEqual((tally.found["slow_scan"], tally.complete), (1, {"capture"}))

    def test_a_scan_with_many_alerts_is_found_once_with_the_strongest_verdict(self):
        alerts = [Alert(A, to(B), "suspicious"), Alert(A, to(B), "scan"), Alert(A, to(B), "unproven")]
        tally = self.tally(Truth(to(Episode("port_scan", A, B))), alerts)
        self.assertEqual(tally.found.total(), 1)
        self.assertEqual(tally.verdicts, collections.Counter(scan=1))

    def test_a_source_that_scans_is_never_false_and_any_other_is_once(self):
        alerts = [Alert(A, to(C)), Alert(B), Alert(B, to(A)), Alert(C, to(A))]
        tally = self.tally(Truth(to(Episode("port_scan", A, B))), alerts)
        self.assertEqual(tally.false_by_verdict().total(), 2)

    def test_a_false_source_counts_with_its_strongest_verdict(self):
        alerts = [Alert(A, None, "unproven"), Alert(A, None, "suspicious"), Alert(B, None, "unproven")]
        tally = self.tally(Truth(), alerts)
        self.assertEqual(tally.false_by_verdict(), collections.Counter(suspicious=1, unproven=1))

    def test_an_alert_of_many_sources_is_false_where_nobody_scans(self):
        self.assertEqual(self.tally(Truth(), [Alert(None)]).false_by_verdict().total(), 1)
        truth = Truth(to(Episode("port_scan", A, B)))
        self.assertEqual(self.tally(truth, [Alert(None)]).false_by_verdict().total(), 0)

    def test_an_alert_about_a_network_finds_nothing_and_is_false_where_no_scanner_lies_in_it(self):
        truth = Truth(to(Episode("slow_scan", A6), Episode("slow_scan", A)))
        alerts = [Alert("2001:db8::/64"), Alert("2001:db8:1::/64"), Alert("2001:db8:1::/48")]
        tally = self.tally(truth, alerts)
        self.assertEqual((tally.found.total(), tally.false_by_verdict().total()), (0, 2))

    def test_decoys_are_neither_found_nor_false(self):
        truth = episodes.by_tool({"mode": f"nmap -sS -D {B},{C},ME TARGET", "source": A})
        self.assertEqual(truth.others, to(B, C))
        tally = self.tally(truth, [Alert(B), Alert(C)])
        self.assertEqual((tally.found.total(), tally.false_by_verdict().total()), (0, 0))
        self.assertEqual(tally.episodes.total(), 1)

    def test_a_run_that_floods_is_no_scan(self):
        self.assertFalse(episodes.is_scan({"promised": ["syn_flood"]}))
        self.assertTrue(episodes.is_scan({"promised": []}))

    def test_the_truth_has_the_sensors_default_of_25_hosts(self):
        def truth(hosts):
            rows = [tcp(host, A, 4000 + host, f"203.0.113.{host}", 80, SYN) for host in range(hosts)]
            rows = [row | {"isn": row["sport"]} for row in rows]
            clock = [[row["frame"], row["now"]] for row in rows]
            return episodes.by_rules({"rows": rows, "clock": clock, "frames": hosts, "error": None, "encaps": {"1": hosts}})
        self.assertEqual(truth(24).episodes, frozenset())
        self.assertEqual(truth(25).episodes, to(Episode("host_sweep", A)))


class Outputs(unittest.TestCase):
    """What the output of each program says."""

    def test_the_sensors_record_names_a_destination_only_of_kinds_that_have_one(self):
        def record(kind):
            scan = {"kind": kind, "phase": "started", "verdict": "scan"}
            return json.dumps({"event_type": "alert", "src_ip": A6 + "0", "dest_ip": B, "synledger": {"scan": scan}})
        text = "\n".join([record("udp_scan"), record("host_sweep"), json.dumps({"event_type": "stats"})])
        source = "2001:db8::10"
        self.assertEqual(peer_programs.from_sensor(text), [Alert(source, to(B), "scan"), Alert(source, None, "scan")])

    def test_the_sensors_record_of_a_network_names_it_as_one(self):
        scan = {"kind": "slow_scan", "src_prefix": 64, "verdict": "scan"}
        event = {"event_type": "alert", "src_ip": "2001:db8::", "dest_ip": B6, "synledger": {"scan": scan}}
        self.assertEqual(peer_programs.from_sensor(json.dumps(event)), [Alert("2001:db8::/64", None, "scan")])

    def test_the_sensors_record_of_many_sources_has_none(self):
        event = {"event_type": "alert", "dest_ip": B, "synledger": {"scan": {"kind": "distributed_scan"}}}
        self.assertEqual(peer_programs.from_sensor(json.dumps(event)), [Alert(None, to(B), None)])

    def test_suricatas_alerts_go_to_the_rows_of_their_rules(self):
        events = [{"event_type": "alert", "src_ip": source, "dest_ip": C, "alert": {"signature_id": sid}}
                  for source, sid in ((A, 1), (B, 3), (A, 2))]
        text = "\n".join(map(json.dumps, [*events, {"event_type": "flow"}]))
        self.assertEqual(peer_programs.from_suricata(text, [0, 1, 1], 3), [[Alert(A)], [Alert(B), Alert(A)], []])

    def psad(self, level, found=4, total=4, counted=1):
        """A report of psad about one source."""
        return (f"[+] Found {found} iptables log messages out of {total} total lines.\n"
                f"    Level 1: {counted} IP addresses\n    Level 2: 0 IP addresses\n"
                f"SRC:  2001:0db8:0000:0000:0000:0000:0000:0001 (2001:DB8::1), DL: {level}, Dsts: 2, Pkts: 4\n\n"
                f"    DST: 2001:0db8:0000:0000:0000:0000:0000:0002 (2001:DB8::2)\n"
                f"        Scanned ports: TCP 80-83, Pkts: 2\n    DST: {B}\n")

    def test_psads_report_has_sources_with_a_danger_level_and_their_destinations(self):
        self.assertEqual(peer_programs.from_psad(self.psad(1), 4), [Alert(A6, to(B6, B))])
        self.assertEqual(peer_programs.from_psad(self.psad(0, counted=0), 4), [])

    def test_a_report_of_psad_that_lacks_lines_or_sources_is_a_failure(self):
        for report in (self.psad(1, found=3), self.psad(1, total=5), self.psad(1, counted=2), ""):
            with self.assertRaises(peer_programs.Failed):
                peer_programs.from_psad(report, 4)

    def test_a_program_that_fails_says_why(self):
        with self.assertRaisesRegex(peer_programs.Failed, "exit status 3: no such file$"):
            peer_programs.run(["sh", "-c", "echo more >&2; echo no such file >&2; exit 3"])


class Firewall(unittest.TestCase):
    """What the firewall logs, and how."""

    def test_a_syn_that_comes_again_is_logged_until_it_is_answered(self):
        rows = [tcp(0, A, 4000, B, 80, SYN), tcp(1, A, 4000, B, 80, SYN), tcp(2, B, 80, A, 4000, SYN | ACK),
                tcp(3, A, 4000, B, 80, ACK), tcp(4, A, 4000, B, 80, ACK | FIN)]
        self.assertEqual(logged(rows), [0, 1])

    def test_a_refused_port_is_logged_once_a_try_and_its_refusal_never(self):
        rows = [tcp(0, A, 4000, B, 80, SYN), tcp(0, B, 80, A, 4000, RST | ACK), tcp(1, A, 4000, B, 80, SYN)]
        self.assertEqual(logged(rows), [0, 2])

    def test_what_opens_no_connection_is_logged_each_time_and_its_answer_too(self):
        rows = [tcp(0, A, 4000, B, 80, FIN), tcp(1, B, 80, A, 4000, RST | ACK), tcp(2, A, 4000, B, 80, FIN),
                tcp(3, A, 4001, B, 80, 0), tcp(4, A, 4002, B, 80, ACK | FIN), tcp(5, B, 80, A, 4002, RST),
                tcp(6, A, 4003, B, 80, SYN | ACK), tcp(7, B, 80, A, 4003, RST)]
        self.assertEqual(logged(rows), [0, 1, 2, 3, 4, 5, 6, 7])

    def test_a_connection_that_began_unseen_is_tracked_from_its_first_acknowledgment(self):
        rows = [tcp(0, A, 4000, B, 80, ACK, 10), tcp(1, B, 80, A, 4000, ACK), tcp(2, A, 4000, B, 80, ACK, 10)]
        self.assertEqual(logged(rows), [0])

    def test_an_unanswered_datagram_opens_anew_after_30_s_and_an_answered_one_after_120_s(self):
        rows = [udp(0, A, 4000, B, 53), udp(29, B, 53, A, 4000), udp(148, A, 4000, B, 53), udp(268, A, 4000, B, 53)]
        self.assertEqual(logged(rows), [0, 3])
        self.assertEqual(logged([udp(0, A, 4000, B, 53), udp(30, B, 53, A, 4000)]), [0, 1])

    def test_a_firewall_that_knows_the_services_logs_nothing_to_a_port_that_answers(self):
        rows = [tcp(0, C, 4000, B, 80, SYN), tcp(1, A, 4000, B, 80, SYN), tcp(2, B, 80, A, 4000, SYN | ACK),
                tcp(3, C, 4001, B, 81, SYN), udp(4, C, 4000, B, 53), udp(5, B, 53, C, 4000),
                tcp(6, C, 4002, B, 80, FIN), tcp(7, C, 4003, B, 80, SYN | FIN), udp(8, C, 4000, B, 54),
                udp(9, A, 5000, C, 4000)]
        self.assertEqual(logged(rows), [0, 1, 3, 4, 6, 7, 8, 9])
        self.assertEqual(logged(rows, knows_services=True), [3, 6, 7, 8, 9])

    def test_lines_have_the_form_of_the_kernels_log(self):
        self.assertEqual(
            firewall.line(tcp(61, A, 4000, B, 80, SYN | FIN)),
            "Jan 01 00:01:01 sensor kernel: DROP IN=eth0 OUT=eth1 SRC=192.0.2.1 DST=198.51.100.2 LEN=40 TOS=0x00 "
            "PREC=0x00 TTL=64 ID=1 PROTO=TCP SPT=4000 DPT=80 WINDOW=1024 RES=0x00 SYN FIN URGP=0")
        self.assertEqual(
            firewall.line(udp(0, A6, 4000, B6, 53)),
            "Jan 01 00:00:00 sensor kernel: DROP IN=eth0 OUT=eth1 SRC=2001:0db8:0000:0000:0000:0000:0000:0001 "
            "DST=2001:0db8:0000:0000:0000:0000:0000:0002 LEN=52 TC=0 HOPLIMIT=64 FLOWLBL=0 PROTO=UDP SPT=4000 DPT=53 "
            "LEN=12")


class Stub:
    """A program with two rows that reports the same of each capture, or fails."""

    def __init__(self, alerts):
        self.rows = [peer_programs.Row("stub", "with verdicts", has_verdicts=True), peer_programs.Row("plain", "none")]
        self.answer = alerts

    def alerts(self, path, rows):
        if path.name == "bad.pcap":
            raise peer_programs.Failed("it crashed")
        return [self.answer, []]


class Tables(unittest.TestCase):
    """What is printed."""

    def judged(self, alerts, truth, *names):
        """A group judged with a stub."""
        paths = {name: pathlib.Path(f"{name}.pcap") for name in names}
        group = peers.Group("benign", paths, lambda *_: truth)
        cached, peers.extract.cached = peers.extract.cached, lambda *_: {"rows": []}
        self.addCleanup(setattr, peers.extract, "cached", cached)
        return group, peers.judge(group, [Stub(alerts)], None)

    def test_found_and_missed_add_up_to_the_scans_with_verdicts_apart(self):
        truth = Truth(to(Episode("port_scan", A, B), Episode("port_scan", A, C)))
        group, _ = self.judged([Alert(A, to(B), "scan"), Alert(B, None, "unproven")], truth, "one")
        lines = peers.summary([group]).splitlines()
        self.assertEqual(lines[2:], ["| benign | 1 | stub | 2 | 1 (1 / 0 / 0) | 1 | 1 (0 / 0 / 1) |",
                                     "| benign | 1 | plain | 2 | 0 | 2 | 0 |"])

    def test_a_capture_on_which_a_program_fails_is_named_and_counts_as_none(self):
        group, failures = self.judged([Alert(A, None, "scan")], Truth(), "good", "bad")
        self.assertEqual(failures, ["benign: bad: it crashed"])
        self.assertIn("| bad | failed | failed |", peers.by_capture(group))
        self.assertIn("| good | 1 (1 / 0 / 0) | 0 |", peers.by_capture(group))
        self.assertIn("| benign | 1 | stub | 0 |", peers.summary([group]))

    def test_tables_replace_what_stood_between_the_markers_and_nothing_else(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "RESULTS.md")
            path.write_text(f"# Head\n{peers.OPEN}\nold\n{peers.CLOSE}\nend\n")
            peers.write(path, "new")
            self.assertEqual(path.read_text(), f"# Head\n{peers.OPEN}\n\nnew\n\n{peers.CLOSE}\nend\n")
            path.write_text("no markers")
            with self.assertRaises(SystemExit):
                peers.write(path, "new")


if __name__ == "__main__":
    unittest.main()
