#!/usr/bin/env python3
"""Tests of prove.py without captures and without tshark: every difference is named, and only known causes excuse."""

import pathlib
import unittest
from unittest import mock

import extract
import prove
import rules

PLAIN = "eth:ethertype:ip:tcp"


def key(port):
    """A connection to this port."""
    return ("192.0.2.1", 4000, "198.51.100.1", port, 7)


def attempt(port, joined=False):
    """The same as the oracle has it."""
    return dict(zip(prove.KEY, key(port))) | {"joined": joined}


def lines(ours, theirs, hand):
    return list(prove.differences(ours, theirs, hand))


class Differences(unittest.TestCase):
    def test_what_all_three_have_is_no_difference(self):
        self.assertEqual(lines([key(80)], [attempt(80)], {key(80): (1, PLAIN, "1")}), [])

    def test_what_only_the_sensor_or_only_the_oracle_has_is_not_explained(self):
        hand = {key(80): (1, PLAIN, "1")}
        for ours, theirs in (([key(80)], []), ([], [attempt(80)]), ([key(80)] * 2, [attempt(80)])):
            ((line, explained),) = lines(ours, theirs, hand)
            self.assertFalse(explained)
            self.assertIn("192.0.2.1:4000 -> 198.51.100.1:80 isn 7", line)
            self.assertIn(f"synledger {len(ours)}, tshark {len(theirs)}, by hand 1: NOT EXPLAINED", line)

    def test_a_syn_after_the_horizon_counts_again(self):
        ((line, explained),) = lines([key(80)] * 2, [attempt(80)] * 2, {key(80): (1, PLAIN, "1")})
        self.assertTrue(explained)
        self.assertIn("came again 130 s", line)

    def test_only_a_syn_in_fragments_may_be_missing_by_hand(self):
        for joined in (True, False):
            ((_, explained),) = lines([key(80)], [attempt(80, joined)], {})
            self.assertEqual(explained, joined)

    def test_only_tunnels_and_link_types_that_are_not_read_excuse_what_is_counted_by_hand_alone(self):
        tunnel, unread = "eth:ethertype:ip:gre:ip:tcp", max(rules.LINKS) + 1
        for where, excused in (((3, PLAIN, "1"), False), ((3, tunnel, "1"), True), ((3, PLAIN, str(unread)), True)):
            ((line, explained),) = lines([], [], {key(80): where})
            self.assertEqual(explained, excused, line)

    def test_ipv6_is_shown_in_brackets(self):
        ends = ("", "2001:DB8:0::1", "4000", "", "2001:db8::2", "80", "7")
        self.assertEqual(prove.shown(prove.spelled(ends)), "[2001:db8::1]:4000 -> [2001:db8::2]:80 isn 7")


class Lines(unittest.TestCase):
    def test_the_first_syn_of_each_connection_is_counted_and_quotes_of_errors_are_not(self):
        def row(layers, flags):
            ends = dict(zip(prove.FIELDS, ("192.0.2.1", "", "4000", "198.51.100.1", "", "80", "7")))
            return ends | {"frame.protocols": layers, "frame.encap_type": "1", "tcp.flags": flags}

        rows = [(1, row(PLAIN, "0x0012")), (2, row(PLAIN, "0x0002")), (3, row(PLAIN, "0x00c2")),
                (4, row("eth:ethertype:ip:icmp:ip:tcp", "0x0002")), (None, None)]
        with mock.patch.object(extract, "packets", return_value=iter(rows)):
            self.assertEqual(prove.by_hand("x"), {key(80): (2, PLAIN, "1")})

    def test_the_line_of_shell_quotes_the_file(self):
        self.assertIn("-r 'a b.pcap' -Y", prove.pipeline(pathlib.Path("a b.pcap")))


if __name__ == "__main__":
    unittest.main()
