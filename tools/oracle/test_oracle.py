#!/usr/bin/env python3
"""Tests of the oracle's rules and of the comparison, without captures: `python3 test_oracle.py`."""

import collections
import contextlib
import io
import json
import os
import pathlib
import tempfile
import unittest
from unittest import mock

import compare
import eve_schema
import extract
import fake_synledger
import flows
import known
import logs
import rules
import truth

SECOND = 1_000_000_000
W = rules.WINDOW_NS
# Of each capture of `Faults`.
FRAMES = 51


def syn(ns, port=80, isn=1, frame=0, now=None, joined=False):
    """A SYN row of one pair."""
    now = ns if now is None else now
    return {"frame": frame, "ts": ns, "now": now, "src": "192.0.2.1", "sport": 4000,
            "dst": "198.51.100.1", "dport": port, "isn": isn, "joined": joined, "kind": "syn",
            "flags": extract.SYN, "ack": 0, "len": 0}


def edges(*touches):
    """Indexes of the touches (time, port) at which port_scan fires."""
    rows = [syn(ns, port, frame=i) for i, (ns, port) in enumerate(touches)]
    return [edge["frame"] for edge in rules.port_scans(rows)]


def sweeps(*touches):
    """Indexes of the touches (time, host) at which host_sweep fires."""
    rows = [syn(ns, frame=i) | {"dst": f"198.51.100.{host}"} for i, (ns, host) in enumerate(touches)]
    return [edge["frame"] for edge in rules.host_sweeps(rows)]


class Attempts(unittest.TestCase):
    def test_the_horizon_ends_at_130_s_exactly(self):
        for gap, count in ((130 * SECOND - 1, 1), (130 * SECOND, 2), (130 * SECOND + 1, 2)):
            self.assertEqual(len(rules.attempts([syn(0), syn(gap)])), count, gap)

    def test_the_horizon_counts_from_the_first_and_restarts(self):
        seen = [syn(ns * SECOND, frame=ns) for ns in (0, 100, 140, 260, 270)]
        self.assertEqual([a["frame"] for a in rules.attempts(seen)], [0, 140, 270])

    def test_packet_time_decides_not_the_stamp(self):
        late = [syn(0), syn(-5, now=130 * SECOND)]
        self.assertEqual(len(rules.attempts(late)), 2)

    def test_joined_and_whole_are_not_compared_with_each_other(self):
        self.assertEqual(len(rules.attempts([syn(0), syn(1, joined=True), syn(2)])), 2)


class Scans(unittest.TestCase):
    def test_a_touch_of_exactly_60_s_is_outside(self):
        for last, fired in ((W - 1, [3]), (W, []), (W + 1, [])):
            self.assertEqual(edges((0, 1), (1, 2), (2, 3), (last, 4)), fired, last)

    def test_hosts_of_one_port_are_a_sweep_and_ports_of_one_host_are_none(self):
        for last, fired in ((W - 1, [4]), (W, []), (W + 1, [])):
            self.assertEqual(sweeps((0, 1), (1, 2), (2, 3), (3, 4), (last, 5)), fired, last)
        self.assertEqual(sweeps(*((i, i % 4) for i in range(50))), [])
        rows = [syn(i, port=i) | {"dst": f"198.51.100.{i}"} for i in range(9)]
        self.assertEqual(rules.host_sweeps(rows), [])

    def test_three_ports_are_no_scan_however_often(self):
        self.assertEqual(edges(*((i, i % 3) for i in range(50))), [])

    def test_it_rearms_after_a_window_of_false(self):
        first = [(i * SECOND, i) for i in range(4)]  # true until W
        for off, fired in ((-1, [3]), (0, [3, 7]), (1, [3, 7])):
            last = 2 * W + off
            burst = [(last - i, 10 + i) for i in (3, 2, 1, 0)]
            # All four within three nanoseconds: only the fourth makes it true.
            self.assertEqual(edges(*first, *burst), fired, off)

    def test_the_newest_touch_may_come_first(self):
        self.assertEqual(edges((W - 1, 1), (0, 2), (1, 3), (2, 4)), [3])
        self.assertEqual(edges((W, 1), (0, 2), (1, 3), (2, 4)), [])


class Fragments(unittest.TestCase):
    HEAD = "04d2005000000007"
    TAIL = "00000000500203e8"

    def rows(self, gap, reverse=False):
        base = {"src": "::1", "dst": "::2", "id": 9, "encap": 1}
        rows = [base | {"kind": "head", "data": self.HEAD}, base | {"kind": "tail", "data": self.TAIL}]
        rows = rows[::-1] if reverse else rows
        return [row | {"frame": i, "ts": i * gap, "now": i * gap} for i, row in enumerate(rows)]

    def test_they_join_in_either_order_within_30_s(self):
        for reverse in (False, True):
            (made,) = rules.joined(self.rows(30 * SECOND - 1, reverse))
            self.assertEqual((made["frame"], made["sport"], made["dport"], made["isn"]),
                             (1, 1234, 80, 7))
            self.assertEqual(rules.joined(self.rows(30 * SECOND, reverse)), [])

    def test_a_joined_syn_keeps_its_flags_and_other_rows_stay(self):
        rows = self.rows(1)
        rows[1]["data"] = self.TAIL.replace("5002", "5003")
        other = rows[0] | {"kind": "udp", "frame": 9}
        made, kept = rules.merged([*rows, other])
        self.assertEqual((made["kind"], made["flags"], kept), ("syn", 3, other))


class Reading(unittest.TestCase):
    def test_times_are_exact(self):
        self.assertEqual(extract.nanoseconds("1700000000.000000001"), 1_700_000_000_000_000_001)
        self.assertEqual(extract.nanoseconds("-1.5"), -1_500_000_000)
        self.assertEqual(compare.microseconds("2021-04-28T15:28:05.123456+0000"),
                         1_619_623_685_123_456)

    def test_only_the_outer_packet_counts(self):
        cases = {
            "eth:ethertype:ip:tcp:http": ("ip", "tcp"),
            "eth:ethertype:ipv6:ipv6.hopopts:ipv6.fraghdr:tcp": ("ipv6", "tcp"),
            "eth:ethertype:ip:icmp:ip:tcp": ("ip", "icmp"),
            "eth:ethertype:ip:gre:ip:tcp": ("ip", "gre"),
            "eth:ethertype:ip:ipv6:tcp": ("ip", "ipv6"),
            "eth:ethertype:mpls:pwethcw:eth:ethertype:ip:tcp": (None, None),
            # 802.1ah is a link layer, with or without a second Ethernet header in tshark's words.
            "eth:ethertype:vlan:ethertype:ieee8021ah:ethertype:vlan:ethertype:ip:tcp": ("ip", "tcp"),
            "eth:ethertype:ieee8021ah:eth:ethertype:ip:tcp": ("ip", "tcp"),
            "eth:ethertype:arp": (None, None),
        }
        for protocols, want in cases.items():
            self.assertEqual(extract.outer(protocols), want, protocols)

    def test_port_lists_are_read_back(self):
        for ports in ((80,), (80, 81, 82, 99), (1, 3, 5), (0, 65535)):
            self.assertEqual(compare.ports_of(fake_synledger.ranges(ports)), ports)

    def test_frames_of_other_links_count_for_nothing(self):
        rows = [syn(n, 80 + n, isn=n, frame=n) | {"encap": n % 2} for n in range(10)]
        found = rules.judge({"frames": 10, "error": None, "encaps": {}, "rows": rows, "clock": []}, {1})
        self.assertEqual([one["frame"] for one in found["attempts"]], [1, 3, 5, 7, 9])
        self.assertEqual([one["frame"] for one in found["scans"]["port_scan"]], [7])

    def test_a_scan_without_a_frame_starts_behind_the_last_one(self):
        event = {"event_type": "alert", "src_ip": "192.0.2.1", "synledger": {"scan": {"kind": "slow_scan", "phase": "started"}}}
        _, scans = compare.from_eve(json.dumps(event), rules.KINDS)
        self.assertEqual(scans["slow_scan"], [(flows.AT_END, "192.0.2.1")])
        self.assertEqual(compare.differences("x", scans["slow_scan"], [], 2**40), [])

    def test_differences_name_both_sides_and_stop_at_the_last_frame(self):
        lines = compare.differences("x", [(1, "a"), (2, "b"), (9, "c")], [(2, "b"), (3, "d")], 5)
        self.assertEqual(len(lines), 2)
        self.assertIn("only the sensor: (1, 'a')", lines[0])
        self.assertIn("only the oracle: (3, 'd')", lines[1])

    def test_blocks_without_a_packet_have_no_number(self):
        empty = dict.fromkeys(extract.FIELDS, "")
        rows = [empty | {"frame.number": str(n), "frame.encap_type": encap, "frame.protocols": "eth"}
                for n, encap in ((1, ""), (2, "1"), (3, ""), (4, "1"))]
        with mock.patch("extract.tshark_rows", return_value=[*rows, None]):
            self.assertEqual([number for number, _ in extract.packets("x")], [1, 2, None])
            self.assertEqual(extract.extract("x")["frames"], 2)

    def test_the_clock_has_the_frames_that_move_packet_time(self):
        empty = dict.fromkeys(extract.FIELDS, "") | {"frame.encap_type": "1", "frame.protocols": "eth"}
        rows = [empty | {"frame.time_epoch": time} for time in ("5", "5", "4", "7.5", "", "7.6")]
        with mock.patch("extract.tshark_rows", return_value=[*rows, None]):
            clock = extract.extract("x")["clock"]
        self.assertEqual(clock, [[1, 5 * SECOND], [4, 7_500_000_000], [6, 7_600_000_000]])


class Faults(unittest.TestCase):
    """The comparison finds each fault of fake_synledger.py. The oracle's cache is filled by hand, so that
    no tshark is needed."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        for name, error in (("whole.pcap", None), ("damaged.pcap", "cut short")):
            path = self.folder / "captures" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(name)
            rows = [syn(n, 80 + n, isn=n, frame=n) for n in range(1, 6)]
            rows += [syn(n, 80, isn=n, frame=n) | {"dst": f"198.51.100.{n}"} for n in range(6, 11)]
            rows += self.probed()
            rows = [row | {"encap": 1} for row in rows]
            found = {"frames": FRAMES, "error": error, "encaps": {"1": FRAMES}, "rows": rows, "clock": []}
            extract.cache_file(path, self.folder).write_text(json.dumps(found))

    def probed(self):
        """Rows of a stealth scan (frames 11 to 14), a UDP scan (21 to 30), and a slow scan (41 to 51)."""
        base = {"now": 0, "src": "192.0.2.9", "sport": 4000, "dst": "198.51.100.1"}
        rows = [base | {"frame": n, "ts": n, "kind": "segment", "dport": n, "flags": 0, "seq": 1, "ack": 0,
                        "len": 0} for n in range(11, 15)]
        rows += [base | {"frame": n, "ts": n, "kind": "udp", "dport": n, "len": 9} for n in range(21, 31)]
        slow = [syn((n - 40) * 100 * SECOND, n, frame=n) for n in range(41, 52)]
        return rows + [row | {"src": "192.0.2.7"} for row in slow]

    def compared(self, names, fault="", more=()):
        """Exit status and output of `compare.py` over these files, with a sensor that has this fault."""
        fake = pathlib.Path(__file__).with_name("fake_synledger.py")
        files = [str(self.folder / "captures" / name) for name in names]
        words = ["--binary", str(fake), "--cache", str(self.folder), *more, *files]
        environment = {"FAKE_FAULT": fault, "FAKE_CACHE": str(self.folder)}
        output = io.StringIO()
        with mock.patch.dict(os.environ, environment), contextlib.redirect_stdout(output):
            with mock.patch("compare.shutil.which", return_value="somewhere"):
                return compare.main(words), output.getvalue()

    def test_a_sensor_without_faults_passes(self):
        status, output = self.compared(["whole.pcap", "damaged.pcap"])
        self.assertEqual(status, 0, output)
        self.assertIn("files=2 damaged=1 frames=102 attempts=42 port_scan=2 host_sweep=2 stealth_scan=2 "
                      "udp_scan=2 slow_scan=2 differing_files=0", output)

    def test_kinds_that_are_not_named_are_not_compared(self):
        for kind in ("stealth_scan", "udp_scan", "slow_scan"):
            others = ",".join(one for one in rules.KINDS if one != kind)
            for kinds, status in ((others, 0), (kind, 1)):
                found, output = self.compared(["whole.pcap"], kind.removesuffix("_scan"), ("--kinds", kinds))
                self.assertEqual(found, status, output)
        with contextlib.redirect_stderr(io.StringIO()), self.assertRaises(SystemExit):
            compare.arguments(["--kinds", "port_scan,sweep"])

    def test_a_fault_that_only_several_workers_have_is_found_in_probes(self):
        folder = str(self.folder / "captures")
        for fault in ("stealth-of-8", "udp-of-8", "slow-of-8"):
            status, output = self.compared([], fault)
            self.assertEqual((status, output), (0, ""))
            status, output = self.compared([], fault, ("--probes", folder))
            self.assertEqual(status, 1, fault)
            kind = fault.replace("-of-8", "_scan")
            self.assertIn(f"8 workers: {kind}: only the oracle", output)
            self.assertNotIn("2 workers: ", output)

    def test_probes_are_read_with_the_defaults_and_others_with_fewer(self):
        flags = compare.setting_of("probes", compare.arguments([])).flags()
        self.assertEqual(flags[4:], ["--stealth-scan", "3/60s", "--udp-scan", "10/60s", "--slow-scan", "10/8h"])
        setting = compare.setting_of("corpus", compare.arguments(["--kinds", "port_scan,slow_scan"]))
        self.assertEqual(setting.flags()[4:], ["--slow-scan", "4/8h"])
        self.assertEqual(setting.workers, (1,))

    def test_each_fault_fails(self):
        faults = {
            "drop": "attempt: only the oracle", "isn": "attempt: only the sensor", "ports": "port_scan:",
            "scan": "port_scan: only the sensor", "sweep": "host_sweep: only the oracle", "crash": "exit status 101", "stop": "frames: sensor 25",
            "stealth": "stealth_scan: only the oracle", "probe": "stealth_scan: only the sensor",
            "udp": "udp_scan: only the oracle", "slow": "slow_scan: only the oracle",
        }
        for fault, words in faults.items():
            for name in ("whole.pcap", "damaged.pcap"):
                status, output = self.compared([name], fault)
                self.assertEqual(status, 1, (fault, name))
                self.assertIn(words, output, (fault, name))

    def test_a_damaged_file_that_is_called_whole_fails(self):
        status, output = self.compared(["damaged.pcap"], "mute")
        self.assertEqual(status, 1)
        self.assertIn("damage: the sensor: it is whole", output)

    def test_a_sensor_without_books_fails(self):
        status, output = self.compared(["whole.pcap"], "books")
        self.assertEqual(status, 1)
        self.assertIn("frames read", output)

    def test_a_missing_folder_is_skipped_and_the_others_are_not(self):
        output = io.StringIO()
        words = ["--corpus", str(self.folder / "none"), "--crafted", str(self.folder / "captures")]
        with contextlib.redirect_stdout(output):
            found = compare.groups(compare.arguments(words))
        self.assertEqual([path.name for path in found["crafted"]], ["damaged.pcap", "whole.pcap"])
        self.assertEqual(list(found), ["crafted"])
        self.assertRegex(output.getvalue(), "^skipped: corpus captures: .*none is not there\n$")


class Frames(unittest.TestCase):
    """Which differences in the number of frames are explained."""

    def judged(self, frames, error, sensor=(5, None), named="", encaps=("1",), touches=0):
        found = {"frames": frames, "error": error, "encaps": dict.fromkeys(encaps, 1), "touches": touches}
        return compare.frame_differences(compare.Outcome(*sensor, [], {}), found, named)

    def test_only_the_named_difference_is_explained(self):
        why = "named in known_differences.md"
        self.assertEqual(self.judged(9, "x", (5, "y"), "sensor 5, tshark 9"), ([], why))
        for named in ("", "sensor 5, tshark 8", "sensor 4, tshark 9"):
            lines, explained = self.judged(9, "x", (5, "y"), named)
            self.assertEqual((lines, explained), (["frames: sensor 5, tshark 9"], None))

    def test_a_named_difference_that_is_gone_fails(self):
        lines, _ = self.judged(5, None, (5, None), "sensor 5, tshark 9")
        self.assertEqual(len(lines), 1)

    def test_a_link_type_unknown_to_tshark_explains_no_frames_and_nothing_else(self):
        error = "tshark: (pcap: network type 281 unknown or unsupported)"
        self.assertEqual(self.judged(0, error)[0], [])
        self.assertEqual(len(self.judged(4, error, (5, "y"))[0]), 1)
        self.assertEqual(len(self.judged(0, "cut short", (5, "y"))[0]), 1)

    def test_a_link_type_that_the_sensor_does_not_read_is_no_damage_where_the_oracle_agrees(self):
        says = "synledger: x.pcap: none of its frames (5) could be read: link type 129 (ARCNET_LINUX) is not read"
        self.assertEqual(self.judged(5, None, (5, says), encaps=("9",))[0], [])
        self.assertEqual(len(self.judged(5, None, (5, says), encaps=("9", "1"))[0]), 1)
        self.assertEqual(len(self.judged(5, None, (5, "cut short"), encaps=("9",))[0]), 1)

    def test_link_headers_that_lead_nowhere_are_no_damage_where_the_oracle_finds_no_syn_either(self):
        says = "synledger: x: none of its frames (1) could be read: the headers of link type 239 (NFLOG) are cut or damaged"
        self.assertEqual(self.judged(1, None, (1, says), encaps=("141",))[0], [])
        self.assertEqual(len(self.judged(1, None, (1, says), encaps=("141",), touches=1)[0]), 1)


class Truth(unittest.TestCase):
    """Which differences between truth.csv and tshark make a run fail."""

    SYN = {"encap": 1, "kind": "syn"}

    def report(self, row, named, inner=(), outer=1, files=1):
        """A report of files of `outer` SYNs each."""
        out = truth.Report({str(n): (named, "cause") for n in range(files)} if named else {})
        columns = ("tcp_syn_noack", "tuples4_plus_isn", "max_dports_pair_60s", "syn_in_tunnel")
        rows = [syn(n, 80 + n) | self.SYN for n in range(outer)]
        for n in range(files):
            out.add(str(n), dict(zip(columns, map(str, row))), {"rows": rows}, lambda: list(inner))
        return out.finish()

    def test_equal_files_pass_and_a_named_difference_that_is_gone_fails(self):
        self.assertEqual(self.report((1, 1, 1, 0), ""), [])
        self.assertEqual(len(self.report((1, 1, 1, 0), "tcp_syn_noack 0/1")), 1)

    def test_a_difference_must_be_named_exactly(self):
        differs = "tcp_syn_noack 0/1, tuples4_plus_isn 0/1, max_dports_pair_60s 0/1"
        self.assertEqual(self.report((0, 0, 0, 0), differs), [])
        self.assertEqual(len(self.report((0, 0, 0, 0), "")), 1)
        self.assertEqual(len(self.report((0, 0, 0, 0), differs.replace("0/1", "0/2"))), 1)

    def test_more_than_six_files_fail_even_if_named(self):
        differs = "tcp_syn_noack 0/1, tuples4_plus_isn 0/1, max_dports_pair_60s 0/1"
        self.assertEqual(self.report((0, 0, 0, 0), differs, files=6), [])
        self.assertEqual(len(self.report((0, 0, 0, 0), differs, files=7)), 1)

    def test_the_tunnels_must_explain_the_column(self):
        differs, inner = "max_dports_pair_60s 2/0", [syn(0, 1), syn(1, 2)]
        self.assertEqual(self.report((0, 0, 2, 2), differs, inner, outer=0), [])
        self.assertEqual(len(self.report((0, 0, 2, 2), differs, inner[:1], outer=0)), 1)
        self.assertEqual(len(self.report((0, 0, 2, 1), differs, inner, outer=0)), 1)

    def test_the_tables_are_read_by_heading(self):
        text = "# x\n## One\n| file | a |\n|---|---|\n| `f` | 1 | why |\n## Two\n| `g` | 2 | so |\n"
        self.assertEqual(known.table("Two", text), {"g": ("2", "so")})
        self.assertEqual(len(known.table("truth.csv")), 13)
        self.assertEqual(len(known.table("Frames")), 1)


class LogHashes(unittest.TestCase):
    """Which hashes of logs are reported."""

    def test_a_changed_log_is_named_with_both_hashes(self):
        known, same = {"a": ["1", "2"], "b": ["3", "-"]}, {"a": ["1", "2"], "b": ["3", "-"]}
        self.assertEqual(logs.differences(same, known), [])
        changed = logs.differences({"a": ["1", "9"], "c": ["3", "-"]}, known)
        self.assertEqual(changed[0], "a: eve: 9, was 2")
        self.assertEqual([line.split(":")[0] for line in changed], ["a", "b", "c"])

    def test_every_capture_of_the_record_has_hashes(self):
        known = logs.recorded()
        self.assertGreater(len(known), 1700)
        written = [hashes for hashes in known.values() if hashes != ["-", "-"]]
        self.assertGreater(len(written), 1400)


class EveSchema(unittest.TestCase):
    """What is removed from records, which faults are planted, and where our schema allows more than Suricata's."""

    def looser(self, ours, theirs):
        """The differences of one member `a` of a closed object."""
        closed = {"type": "object", "additionalProperties": False}
        theirs = closed | {"properties": {"a": theirs}, "$defs": {"word": {"type": "string", "enum": ["x"]}}}
        return list(eve_schema.looser(closed | {"properties": ours}, theirs, theirs))

    def test_only_our_member_and_event_types_are_removed(self):
        record = {"event_type": "lifecycle", "scan": {"synledger": 1}, "synledger": {}}
        self.assertEqual(eve_schema.without_ours(record), {"event_type": "flow", "scan": {"synledger": 1}})
        for kind in ("alert", "flow", "stats", "dns"):
            self.assertEqual(eve_schema.without_ours({"event_type": kind}), {"event_type": kind})

    def test_ours_may_be_narrower_but_not_looser(self):
        number, word = {"type": "number"}, {"$ref": "#/$defs/word"}
        for ours, theirs in (
            ({}, number), ({"a": number}, number), ({"a": {"type": "integer"}}, number),
            ({"a": {"type": "string", "enum": ["x"]}}, word), ({"a": number | {"minimum": 1}}, number),
            ({"a": number}, number | {"description": "b"}),
        ):
            self.assertEqual(self.looser(ours, theirs), [], (ours, theirs))
        for ours, theirs in (
            ({"b": number}, number), ({"a": number}, {"type": "integer"}), ({"a": {"type": "string"}}, word),
            ({"a": number}, number | {"minimum": 1}),
            ({"a": {"type": "object"}}, {"type": "object", "required": ["b"]}),
            ({"a": {"type": "object"}}, {"type": "object", "additionalProperties": False}),
            ({"a": {"type": "array", "items": number}}, {"type": "array", "items": {"type": "string"}}),
            ({"a": {"type": "array"}}, {"type": "array", "items": {"type": "string"}}),
        ):
            self.assertEqual(len(self.looser(ours, theirs)), 1, (ours, theirs))

    def test_each_member_and_each_object_has_its_fault(self):
        record = {"timestamp": "t", "event_type": "flow", "flow": {"age": 1}}
        faults = dict(eve_schema.planted(record))
        self.assertEqual(faults["flow.age of a wrong type"]["flow"], {"age": "7"})
        self.assertEqual(faults["flow.scan, which is unknown"]["flow"], {"age": 1, "scan": {}})
        self.assertNotIn("timestamp", faults["no timestamp"])
        self.assertEqual(len(faults), 4 + 2 + 2)
        self.assertNotIn(record, faults.values())
        self.assertEqual(record, {"timestamp": "t", "event_type": "flow", "flow": {"age": 1}})

    def test_an_alert_has_the_protocol_of_its_kind_and_a_source_unless_many_did_it(self):
        def faults(kind, proto, **more):
            judge = object.__new__(eve_schema.Judge)
            judge.detections, judge.lines = collections.Counter(), collections.Counter()
            judge.detection({"proto": proto, "synledger": {"scan": {"kind": kind, "phase": "ended"}}} | more, True)
            self.assertEqual(judge.detections[kind, "ended"], 1)
            return len(judge.lines)

        source = {"src_ip": "192.0.2.1"}
        self.assertEqual([faults("udp_scan", "UDP", **source), faults("icmp_flood", "ICMP")], [0, 0])
        self.assertEqual([faults("udp_scan", "TCP", **source), faults("sweep", "TCP", **source)], [1, 1])
        self.assertEqual([faults("port_scan", "TCP"), faults("distributed_scan", "TCP", **source)], [1, 1])


if __name__ == "__main__":
    unittest.main()
