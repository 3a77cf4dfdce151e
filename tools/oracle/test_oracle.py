#!/usr/bin/env python3
"""Tests of the oracle's rules and of the comparison, without captures: `python3 test_oracle.py`."""

import unittest

import compare
import extract
import fake_synledger
import rules

SECOND = 1_000_000_000
W = rules.WINDOW_NS


def syn(ns, port=80, isn=1, frame=0, now=None, joined=False):
    """A SYN row of one pair."""
    now = ns if now is None else now
    return {"frame": frame, "ts": ns, "now": now, "src": "192.0.2.1", "sport": 4000,
            "dst": "198.51.100.1", "dport": port, "isn": isn, "joined": joined}


def edges(*touches):
    """Indexes of the touches (time, port) at which port_scan fires."""
    rows = [syn(ns, port, frame=i) for i, (ns, port) in enumerate(touches)]
    return [edge["frame"] for edge in rules.rising_edges(rows)]


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

    def test_three_ports_are_no_scan_however_often(self):
        self.assertEqual(edges(*((i, i % 3) for i in range(50))), [])

    def test_it_rearms_after_a_window_of_false(self):
        first = [(i * SECOND, i) for i in range(4)]  # true until W
        for off, fired in ((-1, [3]), (0, [3, 7]), (1, [3, 7])):
            last = 2 * W + off
            burst = [(last - i, 10 + i) for i in (3, 2, 1, 0)]
            # All four within three nanoseconds: only the fourth makes it true.
            self.assertEqual(edges(*first, *burst), fired, off)

    def test_the_newest_may_come_first(self):
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
            "eth:ethertype:arp": (None, None),
        }
        for protocols, want in cases.items():
            self.assertEqual(extract.outer(protocols), want, protocols)

    def test_port_lists_come_back(self):
        for ports in ((80,), (80, 81, 82, 99), (1, 3, 5), (0, 65535)):
            self.assertEqual(compare.ports_of(fake_synledger.ranges(ports)), ports)

    def test_differences_name_both_sides_and_stop_at_the_last_frame(self):
        lines = compare.differences("x", [(1, "a"), (2, "b"), (9, "c")], [(2, "b"), (3, "d")], 5)
        self.assertEqual(len(lines), 2)
        self.assertIn("only the sensor: (1, 'a')", lines[0])
        self.assertIn("only the oracle: (3, 'd')", lines[1])


if __name__ == "__main__":
    unittest.main()
