#!/usr/bin/env python3
"""Tests of the oracle's model of flows, and of the rules of stealth_scan, udp_scan and slow_scan."""

import unittest

import extract
import flows
import rules
from flows import ACK, FIN, PSH, RST, SECOND, SYN, URG

W = rules.WINDOW_NS
HOUR = 3600 * SECOND
A, B = "192.0.2.1", "198.51.100.1"
BORDERS = (-1, 0, 1)


class Capture:
    """Rows under construction: `there` from A to B, `back` the other way."""

    def __init__(self):
        self.rows, self.clock, self.frames = [], [], 0

    def tick(self, ns):
        """A frame of no concern that moves packet time."""
        self.frames += 1
        if not self.clock or ns > self.clock[-1][1]:
            self.clock.append([self.frames, ns])
        return self

    def add(self, ns, row):
        """A row at the next frame."""
        self.tick(ns)
        more = {"frame": self.frames, "ts": ns, "now": self.clock[-1][1], "joined": False}
        self.rows.append(row | more)
        return self

    def events(self):
        """The model's events."""
        return flows.events(rules.merged(self.rows), self.clock)

    def segment(self, ns, flags, port=80, sport=4000, seq=0, ack=0, size=0, back=False):
        """A segment between A:sport and B:port; `back`: from B."""
        ends = {"src": A, "sport": sport, "dst": B, "dport": port}
        if back:
            ends = {"src": B, "sport": port, "dst": A, "dport": sport}
        is_syn = flags & SYN and not flags & ACK
        kind = {"kind": "syn", "isn": seq} if is_syn else {"kind": "segment", "seq": seq}
        return self.add(ns, ends | kind | {"flags": flags, "ack": ack, "len": size})

    def back(self, ns, flags, **more):
        return self.segment(ns, flags, back=True, **more)

    def handshake(self, ns, port=80):
        """SYN 100, SYN+ACK 500, ACK, all at one time."""
        self.segment(ns, SYN, port, seq=100).back(ns, SYN | ACK, port=port, seq=500, ack=101)
        return self.segment(ns, ACK, port, seq=101, ack=501)

    def udp(self, ns, port, sport=4000, src=A, dst=B, payload=1):
        row = {"kind": "udp", "src": src, "sport": sport, "dst": dst, "dport": port, "len": 8 + payload}
        return self.add(ns, row)

    def icmp(self, ns, port=80, sport=4000, seq=None):
        """An unreachable that quotes a segment from A."""
        quote = {"src": A, "sport": sport, "dst": B, "dport": port, "seq": seq}
        return self.add(ns, {"kind": "icmp", "src": B, "dst": A, "quoted": quote})

    def of(self, *whats):
        """(what, frame) of the events of these kinds."""
        return [(one["what"], one["frame"]) for one in self.events() if one["what"] in whats]

    def probes(self):
        """(technique, frame, source, port) of the probes."""
        found = [one for one in self.events() if one["what"] == "probe"]
        return [(one["technique"], one["frame"], one["src"], one["dport"]) for one in found]


class Outcomes(unittest.TestCase):
    def outcome(self, capture):
        return capture.of("answered", "refused")

    def test_an_answer_acknowledges_the_syn_and_no_other_number(self):
        for ack, found in ((101, [("answered", 2)]), (100, []), (102, [])):
            capture = Capture().segment(0, SYN, seq=100).back(1, SYN | ACK, seq=7, ack=ack)
            self.assertEqual(self.outcome(capture), found, ack)
            capture = Capture().segment(0, SYN, seq=100).back(1, RST | ACK, ack=ack)
            refused = [("refused", frame) for _, frame in found]
            self.assertEqual(self.outcome(capture), refused, ack)

    def test_numbers_wrap(self):
        capture = Capture().segment(0, SYN, seq=2**32 - 1).back(1, SYN | ACK, seq=2**32 - 1, ack=0)
        capture.segment(2, ACK, seq=0, ack=0)
        self.assertEqual(self.outcome(capture), [("answered", 2)])
        self.assertEqual(capture.segment(400 * SECOND, 0).probes(), [("null", 4, A, 80)])

    def test_a_syn_with_data_may_be_acknowledged_in_part(self):
        for ack, found in ((101, 1), (109, 1), (110, 0)):
            capture = Capture().segment(0, SYN, seq=100, size=8).back(1, SYN | ACK, ack=ack)
            self.assertEqual(len(self.outcome(capture)), found, ack)

    def test_a_rst_without_ack_refuses_nothing(self):
        self.assertEqual(self.outcome(Capture().segment(0, SYN, seq=5).back(1, RST, seq=6)), [])

    def test_an_icmp_error_refuses_the_quoted_syn_within_5_s(self):
        for seq, found in ((100, 1), (None, 1), (101, 0)):
            self.assertEqual(len(self.outcome(Capture().segment(0, SYN, seq=100).icmp(1, seq=seq))), found)
        for off, found in zip(BORDERS, (1, 0, 0)):
            capture = Capture().segment(0, SYN, seq=100).icmp(5 * SECOND + off, seq=100)
            self.assertEqual(len(self.outcome(capture)), found, off)

    def test_a_segment_answers_within_the_horizon(self):
        for flags, word in ((SYN | ACK, "answered"), (RST | ACK, "refused")):
            for off, found in zip(BORDERS, ([(word, 2)], [], [])):
                capture = Capture().segment(0, SYN, seq=1).back(130 * SECOND + off, flags, ack=2)
                self.assertEqual(self.outcome(capture), found, (word, off))

    def test_each_outcome_is_reported_once(self):
        capture = Capture().segment(0, SYN, seq=100)
        for ns in (1, 2):
            capture.back(ns, RST | ACK, ack=101).segment(ns, SYN, seq=100)
        self.assertEqual(self.outcome(capture), [("refused", 2)])
        capture.back(9, SYN | ACK, ack=101).back(9, SYN | ACK, ack=101)
        self.assertEqual(self.outcome(capture), [("refused", 2), ("answered", 6)])

    def test_a_syn_of_the_same_number_behind_the_horizon_is_another_attempt(self):
        for off, found in zip(BORDERS, ([2], [2, 4], [2, 4])):
            capture = Capture().segment(0, SYN, seq=100).back(1, SYN | ACK, ack=101)
            capture.segment(130 * SECOND + off, SYN, seq=100).back(131 * SECOND, SYN | ACK, ack=101)
            self.assertEqual([frame for _, frame in self.outcome(capture)], found, off)

    def test_an_icmp_error_behind_an_answer_refuses_nothing(self):
        capture = Capture().segment(0, SYN, seq=100).back(1, SYN | ACK, ack=101).icmp(2, seq=100)
        self.assertEqual(self.outcome(capture), [("answered", 2)])

    def test_an_answer_may_come_a_second_before_its_syn(self):
        for off, found in zip(BORDERS, (1, 0, 0)):
            for flags, word in ((SYN | ACK, "answered"), (RST | ACK, "refused")):
                capture = Capture().back(0, flags, ack=101).segment(SECOND + off, SYN, seq=100)
                self.assertEqual(self.outcome(capture), [(word, 2)] * found, off)
            capture = Capture().icmp(0, seq=100).segment(SECOND + off, SYN, seq=100)
            self.assertEqual(self.outcome(capture), [("refused", 2)] * found, off)
        capture = Capture().back(0, SYN | ACK, ack=102).segment(1, SYN, seq=100)
        self.assertEqual(self.outcome(capture), [])


class Probes(unittest.TestCase):
    def test_flags_name_the_technique(self):
        cases = {0: "null", FIN: "fin", FIN | PSH | URG: "xmas", PSH: "flags", URG: "flags", PSH | URG: "flags",
                 FIN | URG: "flags", FIN | PSH: "flags", 0xC0: "null", 0xC0 | FIN: "fin"}
        for flags, technique in cases.items():
            self.assertEqual(Capture().segment(0, flags).probes(), [(technique, 1, A, 80)], flags)
        for flags in (RST, ACK, SYN | ACK, FIN | ACK, RST | ACK, FIN | RST):
            self.assertEqual(Capture().segment(0, flags).probes(), [], flags)

    def test_an_attempt_shields_its_ends_while_its_flow_is_open(self):
        for back in (False, True):
            for off, found in zip(BORDERS, (0, 1, 1)):
                capture = Capture().segment(0, SYN, seq=1).segment(5 * SECOND + off, 0, back=back)
                self.assertEqual(len(capture.probes()), found, off)
                capture = Capture().segment(0, SYN, seq=1).back(1, SYN | ACK, ack=2)
                capture.segment(130 * SECOND + off, 0, back=back)
                self.assertEqual(len(capture.probes()), found, off)
                # Again after its end, it waits to the end of the horizon.
                capture = Capture().segment(0, SYN, seq=1).segment(6 * SECOND, SYN, seq=1)
                capture.segment(130 * SECOND + off, 0, back=back)
                self.assertEqual(len(capture.probes()), found, off)
        self.assertEqual(len(Capture().segment(0, SYN, seq=1).segment(1, 0, sport=4001).probes()), 1)
        capture = Capture().segment(0, SYN, seq=1).back(1, RST | ACK, ack=2).segment(2, FIN)
        self.assertEqual(len(capture.probes()), 1)

    def test_a_connection_shields_its_ends_until_it_is_idle_for_300_s(self):
        for off, found in zip(BORDERS, (0, 1, 1)):
            capture = Capture().handshake(0).segment(300 * SECOND + off, FIN | PSH | URG)
            self.assertEqual(len(capture.probes()), found, off)

    def test_an_answered_attempt_that_goes_on_outlives_its_horizon(self):
        for ack, found in ((501, 0), (9, 0), (None, 1)):
            capture = Capture().segment(0, SYN, seq=100).back(0, SYN | ACK, seq=500, ack=101)
            if ack is not None:
                # A number that proves the handshake, or another.
                capture.segment(0, ACK, seq=101, ack=ack)
            self.assertEqual(len(capture.segment(299 * SECOND, FIN).probes()), found, ack)

    def test_only_the_numbers_of_the_syn_ack_prove_a_handshake(self):
        # A RST closes a connection, which waits for late packets; it ends an attempt at once.
        for seq, ack, found in ((101, 501, 0), (100, 501, 1), (101, 502, 1), (101, 500, 1)):
            capture = Capture().segment(0, SYN, seq=100).back(1, SYN | ACK, seq=500, ack=101)
            capture.segment(2, ACK, seq=seq, ack=ack).segment(3, RST, seq=101).segment(4, 0)
            self.assertEqual(len(capture.probes()), found, (seq, ack))

    def test_a_closed_connection_shields_its_ends_for_5_s(self):
        for off, found in zip(BORDERS, (0, 1, 1)):
            for closes in ((FIN | ACK, FIN | ACK), (RST, ACK)):
                capture = Capture().handshake(0).segment(200 * SECOND, closes[0], seq=101, ack=501)
                capture.back(200 * SECOND, closes[1], seq=501, ack=102).segment(205 * SECOND + off, 0)
                self.assertEqual(len(capture.probes()), found, (off, closes))

    def test_a_midstream_flow_does_not_shield(self):
        capture = Capture().segment(0, ACK | PSH, size=9).back(1, ACK | PSH, size=9).segment(2, FIN)
        self.assertEqual(capture.probes(), [("fin", 3, A, 80)])

    def refused(self, flags=ACK, size=0, answer=RST, seq=77, between=()):
        """Probes of a segment with ACK number 77 that gets this answer."""
        capture = Capture().segment(0, flags, ack=77, size=size)
        for more in between:
            capture.segment(1, **more)
        capture.back(2, answer, seq=seq)
        return capture.tick(2 * SECOND).probes()

    def test_a_fin_ack_that_a_rst_answers_is_a_probe_at_the_rst(self):
        self.assertEqual(self.refused(FIN | ACK), [("maimon", 2, A, 80)])
        self.assertEqual(Capture().segment(0, FIN | ACK, ack=77).probes(), [])

    def test_a_bare_ack_waits_a_second_for_its_syn_and_so_does_the_rst(self):
        self.assertEqual(self.refused(), [("ack", 3, A, 80)])
        for off, frame in zip(BORDERS, (4, 3, 3)):
            capture = Capture().segment(0, ACK, ack=77).back(5, RST, seq=77)
            self.assertEqual(capture.probes(), [("ack", flows.AT_END, A, 80)])
            capture.tick(5 + SECOND + off).tick(9 * SECOND)
            self.assertEqual(capture.probes(), [("ack", frame, A, 80)], off)
            self.assertEqual([one["ts"] for one in capture.events()], [5])
        # What follows on the same ports waits, too. The fifth ends all waits.
        capture = Capture().segment(0, ACK, ack=77).segment(5, 0).tick(5 + SECOND)
        self.assertEqual(capture.probes(), [("null", 3, A, 80)])
        capture = Capture().segment(0, ACK, ack=77).back(1, RST, seq=77).segment(2, 0).segment(3, 0).segment(4, 0)
        self.assertEqual([frame for _, frame, _, _ in capture.probes()], [5, 5, 5, 5])
        # A SYN that they do not answer takes nothing from them.
        capture = Capture().segment(0, ACK, ack=77).back(1, RST, seq=77).segment(2, SYN, seq=5)
        self.assertEqual(capture.tick(9 * SECOND).probes(), [("ack", 4, A, 80)])
        # The SYN comes: the ACK was the end of its handshake.
        capture = Capture().back(0, SYN | ACK, seq=500, ack=101).segment(1, ACK, seq=101, ack=501)
        capture.segment(2, SYN, seq=100).segment(200 * SECOND, FIN)
        self.assertEqual(capture.probes(), [])
        self.assertEqual(capture.of("answered"), [("answered", 3)])

    def test_what_is_near_to_it_is_none(self):
        self.assertEqual(self.refused(size=1), [])
        self.assertEqual(self.refused(answer=RST | ACK), [])
        self.assertEqual(self.refused(seq=78), [])
        self.assertEqual(self.refused(flags=SYN | ACK), [])
        self.assertEqual(self.refused(flags=RST | ACK), [])
        self.assertEqual(self.refused(between=({"flags": ACK, "size": 1},)), [])
        self.assertEqual(len(self.refused(between=({"flags": ACK, "ack": 9},))), 1)
        self.assertEqual(self.refused(between=({"flags": ACK, "back": True},)), [])
        # A flow that another segment opened: a RST that came first.
        for flags in (ACK, FIN | ACK):
            capture = Capture().back(0, RST, seq=77).segment(1, flags, ack=77).back(2, RST, seq=77)
            self.assertEqual(capture.probes(), [])

    def test_an_ack_of_a_connection_is_none(self):
        capture = Capture().handshake(0).segment(1, ACK, seq=101, ack=501).back(2, RST, seq=501)
        self.assertEqual(capture.probes(), [])
        capture = Capture().segment(0, SYN, seq=1).segment(1, ACK, ack=77).back(2, RST, seq=77)
        self.assertEqual(capture.probes(), [])

    def test_an_ack_behind_a_close_is_none_for_120_s(self):
        for off, found in zip(BORDERS, (0, 1, 1)):
            capture = Capture().handshake(0).segment(1, FIN | ACK, seq=101, ack=501)
            capture.back(1, FIN | ACK, seq=501, ack=102)
            at = 1 + 125 * SECOND + off
            capture.segment(at, ACK, ack=77).back(at + 1, RST, seq=77)
            self.assertEqual(len(capture.probes()), found, off)
            # What comes behind a close lengthens it, but for a RST.
            again = capture.segment(at + 100 * SECOND, FIN | ACK, ack=77).back(at + 100 * SECOND, RST, seq=77)
            self.assertEqual(len(again.probes()), found, off)


    def test_a_rst_behind_a_close_does_not_lengthen_it_and_data_opens_a_flow(self):
        for flags, size, found in ((RST, 0, 1), (RST | ACK, 0, 1), (ACK, 0, 0), (FIN | ACK, 9, 0), (ACK, 9, 0)):
            capture = Capture().handshake(0).segment(0, RST, seq=101).segment(100 * SECOND, flags, size=size)
            capture.segment(125 * SECOND, FIN | ACK, ack=77).back(125 * SECOND, RST, seq=77)
            self.assertEqual(len(capture.probes()), found, (flags, size))
        # The flow that the data opened lives for 300 s; behind a close would end 120 s after a FIN.
        for flags, found in ((ACK, 0), (FIN | ACK, 1)):
            capture = Capture().handshake(0).segment(0, RST, seq=101).segment(100 * SECOND, flags, size=9)
            capture.segment(220 * SECOND, FIN | ACK, ack=77).back(220 * SECOND, RST, seq=77)
            self.assertEqual(len(capture.probes()), found, flags)


class Stealth(unittest.TestCase):
    def fired(self, *probes):
        """Frames at which stealth_scan fires for NULLs (time, port)."""
        capture = Capture()
        for ns, port in probes:
            capture.segment(ns, 0, port)
        return [scan["frame"] for scan in rules.stealth_scans(capture.events())]

    def test_the_third_port_within_the_window_decides(self):
        for off, found in zip(BORDERS, ([3], [], [])):
            self.assertEqual(self.fired((0, 1), (1, 2), (W + off, 3)), found, off)
        self.assertEqual(self.fired((0, 1), (1, 2), (2, 1), (3, 2)), [])

    def test_techniques_count_together(self):
        capture = Capture().segment(0, SYN | FIN, 1).segment(1, SYN | RST, 2).segment(2, FIN | ACK, 3, ack=7)
        capture.segment(3, SYN, 9).back(4, RST, port=3, seq=7)
        (scan,) = rules.stealth_scans(capture.events())
        self.assertEqual((scan["frame"], scan["src"], scan["ports"]), (5, A, [1, 2, 3]))

    def test_the_time_of_an_ack_probe_is_that_of_the_rst(self):
        for flags, frame in ((FIN | ACK, 4), (ACK, 5)):
            for off, found in zip(BORDERS, ([frame], [], [])):
                capture = Capture().segment(0, 0, 1).segment(1, 0, 2).segment(W - SECOND, flags, 3, ack=7)
                capture.back(W + off, RST, port=3, seq=7).tick(W + 9 * SECOND)
                scans = rules.stealth_scans(capture.events())
                self.assertEqual([scan["frame"] for scan in scans], found, off)


class Udp(unittest.TestCase):
    def opened(self, capture):
        return [frame for _, frame in capture.of("udp_opened")]

    def test_a_flow_opens_once_in_either_direction(self):
        capture = Capture().udp(0, 7).udp(1, 7).udp(2, 4000, sport=7, src=B, dst=A).udp(3, 8).udp(4, 7, sport=9)
        self.assertEqual(self.opened(capture), [1, 4, 5])

    def test_it_ends_after_60_s_without_a_datagram(self):
        for off, found in zip(BORDERS, ([1], [1, 3], [1, 3])):
            capture = Capture().udp(0, 7).udp(SECOND, 7).udp(61 * SECOND + off, 7)
            self.assertEqual(self.opened(capture), found, off)
        capture = Capture().udp(0, 7).udp(SECOND, 4000, sport=7, src=B, dst=A).udp(60 * SECOND, 7)
        self.assertEqual(self.opened(capture), [1])

    def test_an_answer_without_a_question_opens_no_flow_but_holds_one(self):
        for sport, port, found in ((53, 1024, 0), (53, 1023, 1), (1023, 1024, 0), (1024, 1024, 1)):
            self.assertEqual(len(self.opened(Capture().udp(0, port, sport=sport))), found, (sport, port))
            empty = Capture().udp(0, port, sport=sport, payload=0)
            self.assertEqual(len(self.opened(empty)), 1, (sport, port))
        capture = Capture().udp(0, 5000, sport=53, src=B, dst=A).udp(1, 53, sport=5000)
        self.assertEqual(self.opened(capture), [])

    def test_groups_are_no_targets(self):
        for dst, found in (("224.0.0.0", 0), ("239.255.255.255", 0), ("255.255.255.255", 0), ("223.255.255.255", 1),
                           ("240.0.0.0", 1), ("ff00::", 0), ("ff02::fb", 0), ("fe80::1", 1), ("ff::1", 1)):
            src = "2001:db8::1" if ":" in dst else A
            self.assertEqual(len(self.opened(Capture().udp(0, 7, src=src, dst=dst))), found, dst)

    def test_the_tenth_port_within_the_window_decides(self):
        for off, found in zip(BORDERS, ([10], [], [])):
            capture = Capture()
            for port in range(9):
                capture.udp(port, port)
            capture.udp(W + off, 9)
            scans = rules.udp_scans(capture.events())
            self.assertEqual([scan["frame"] for scan in scans], found, off)


class Slow(unittest.TestCase):
    def fired(self, capture):
        return [scan["frame"] for scan in rules.slow_scans(capture.events())]

    def failing(self, count, gap=600 * SECOND):
        """SYNs to ports 1 to `count` without an answer."""
        capture = Capture()
        for n in range(count):
            capture.segment(n * gap, SYN, n + 1, seq=n)
        return capture

    def test_ten_that_failed_and_a_touch_decide(self):
        self.assertEqual(self.fired(self.failing(10)), [])
        self.assertEqual(self.fired(self.failing(11)), [11])
        self.assertEqual(self.fired(self.failing(40)), [11])

    def test_the_last_of_them_has_waited_for_5_s(self):
        for off, found in zip(BORDERS, ([], [11], [11])):
            capture = self.failing(10)
            last = capture.rows[-1]["ts"] + 5 * SECOND + off
            self.assertEqual(self.fired(capture.segment(last, SYN, 99)), found, off)

    def test_one_that_is_refused_has_failed_at_once(self):
        capture = self.failing(10)
        last = capture.rows[-1]["ts"]
        capture.back(last + 1, RST | ACK, port=10, ack=10).segment(last + 2, SYN, 99)
        self.assertEqual(self.fired(capture), [12])
        capture = self.failing(10).icmp(last + 1, port=10, seq=9).segment(last + 2, SYN, 99)
        self.assertEqual(self.fired(capture), [12])

    def test_one_that_is_answered_has_not_failed(self):
        capture = self.failing(10)
        last = capture.rows[-1]["ts"]
        capture.back(last + 1, SYN | ACK, port=10, ack=10).segment(last + 600 * SECOND, SYN, 99)
        self.assertEqual(self.fired(capture), [])
        # Not even if another attempt is refused later.
        capture.segment(last + 601 * SECOND, SYN, 10, seq=777).back(last + 602 * SECOND, RST | ACK, port=10, ack=778)
        self.assertEqual(self.fired(capture.segment(last + 603 * SECOND, SYN, 98)), [])

    def test_the_first_is_60_s_older(self):
        for off, found in zip(BORDERS, ([], [11], [11])):
            capture = self.failing(10, SECOND).segment(W + off, SYN, 99)
            self.assertEqual(self.fired(capture), found, off)

    def test_all_lie_within_8_hours(self):
        for off, found in zip(BORDERS, ([11], [], [])):
            capture = self.failing(10).segment(8 * HOUR + off, SYN, 99)
            self.assertEqual(self.fired(capture), found, off)

    def test_the_newest_touch_of_an_item_counts(self):
        for again, found in ((5401 * SECOND, [12]), (-SECOND, [])):
            capture = self.failing(10).segment(again, SYN, 1, seq=0).segment(8 * HOUR, SYN, 99)
            self.assertEqual(self.fired(capture), found, again)

    def test_only_the_twelve_touched_last_count(self):
        # Two that failed are pushed out by answered ones before the tenth has failed.
        capture = Capture()
        for n in range(14):
            capture.segment(n * 60 * SECOND, SYN, n + 1, seq=n)
            if 2 <= n < 5:
                capture.back(n * 60 * SECOND + 1, SYN | ACK, port=n + 1, ack=n + 1)
        self.assertEqual(self.fired(capture), [])
        # Touched again they stay, and push nothing out.
        again = self.failing(9)
        for n in range(9):
            again.segment(9 * 600 * SECOND + n, SYN, n + 1, seq=n)
        self.assertEqual(self.fired(again), [])

    def test_one_that_comes_back_starts_anew(self):
        for reply, found in ((SYN | ACK, [18]), (RST | ACK, [18])):
            capture = Capture().segment(0, SYN, 100, seq=5).back(1, reply, port=100, ack=6)
            for n in range(1, 13):
                capture.segment(n * 60 * SECOND, SYN, n, seq=n)
                if n < 4:
                    capture.back(n * 60 * SECOND, SYN | ACK, port=n, ack=n + 1)
            at = 13 * 60 * SECOND
            capture.segment(at, SYN, 100, seq=6)
            self.assertEqual(self.fired(capture), [])
            capture.segment(at + 5 * SECOND - 1, SYN, 3, seq=3)
            self.assertEqual(self.fired(capture), [])
            capture.segment(at + 5 * SECOND, SYN, 2, seq=2)
            self.assertEqual(self.fired(capture), [len(capture.rows)])

    def test_it_rearms_two_windows_behind_the_last_failure_that_made_it_hold(self):
        # It holds once, at the eleventh touch: the tenth newest failure is the one at 0.
        for off, found in zip(BORDERS, ([11], [11, 22], [11, 22])):
            capture, last = self.failing(11), 16 * HOUR + off
            for n in range(10):
                capture.segment(last - (10 - n) * 600 * SECOND, SYN, 50 + n)
            self.assertEqual(self.fired(capture.segment(last, SYN, 99)), found, off)

    def test_it_does_not_rearm_because_the_condition_was_false_for_a_while(self):
        capture = self.failing(11, 10 * SECOND)
        last = capture.rows[-1]["ts"]
        # Two answers make nine of ten.
        for port in (9, 10):
            capture.back(last + 1, SYN | ACK, port=port, ack=port)
        for n in range(1, 14):
            capture.segment(last + n * 600 * SECOND, SYN, 60 + n, seq=n)
        self.assertEqual(self.fired(capture), [11])

    def test_hosts_are_items_and_sources_are_apart(self):
        capture = self.failing(11)
        for row in capture.rows:
            row["dst"], row["dport"] = f"198.51.100.{row['dport']}", 80
        self.assertEqual(self.fired(capture), [11])
        capture.rows[3]["src"] = "192.0.2.99"
        self.assertEqual(self.fired(capture), [])


class Quotes(unittest.TestCase):
    """What is read of ICMP errors."""

    def row(self, protocols, **fields):
        every = dict.fromkeys(extract.FIELDS, "") | {"frame.encap_type": "1", "frame.protocols": protocols}
        every |= {name.replace("__", "."): value for name, value in fields.items()}
        return extract.relevant(every, 1, 0)

    def v4(self, code="3", protocols="eth:ethertype:ip:icmp:ip:tcp", **more):
        fields = {"ip__src": f"{B},{A}", "ip__dst": f"{A},{B}", "icmp__type": "3", "icmp__code": code,
                  "tcp__srcport": "4000", "tcp__dstport": "80"} | more
        return self.row(protocols, **fields)

    def test_an_unreachable_quotes_the_second_addresses(self):
        want = {"src": A, "sport": 4000, "dst": B, "dport": 80, "seq": 7}
        self.assertEqual(self.v4(tcp__seq_raw="7", tcp__seq="0")["quoted"], want)
        # Of eight quoted bytes tshark prints the raw number under another name.
        self.assertEqual(self.v4(tcp__seq="7")["quoted"], want)
        self.assertEqual(self.v4()["quoted"], want | {"seq": None})

    def test_fragmentation_needed_and_other_quotes_refuse_nothing(self):
        self.assertIsNone(self.v4(code="4"))
        self.assertIsNone(self.v4(protocols="eth:ethertype:ip:icmp:ip:udp"))
        self.assertIsNone(self.v4(icmp__type="11"))
        self.assertIsNone(self.v4(protocols="eth:ethertype:ip:icmp:ip:gre:ip:tcp"))

    def test_icmpv6_unreachable_is_type_1(self):
        ends = {"ipv6__src": "2001:db8::2,2001:db8::1", "ipv6__dst": "2001:db8::1,2001:db8::2",
                "tcp__srcport": "4000", "tcp__dstport": "80", "tcp__seq_raw": "7", "icmpv6__code": "4"}
        protocols = "eth:ethertype:ipv6:icmpv6:ipv6:tcp"
        self.assertEqual(self.row(protocols, icmpv6__type="1", **ends)["quoted"]["src"], "2001:db8::1")
        self.assertIsNone(self.row(protocols, icmpv6__type="3", **ends))

    def test_a_quoted_syn_is_no_segment_and_outer_udp_is_a_datagram(self):
        self.assertEqual(self.v4(tcp__flags="0x0002")["kind"], "icmp")
        udp = {"ip__src": f"{A},10.0.0.1", "ip__dst": f"{B},10.0.0.2", "udp__srcport": "5,9", "udp__dstport": "4789,7"}
        row = self.row("eth:ethertype:ip:udp:vxlan:eth:ethertype:ip:udp", **udp)
        self.assertEqual((row["kind"], row["src"], row["sport"], row["dport"]), ("udp", A, 5, 4789))


if __name__ == "__main__":
    unittest.main()
