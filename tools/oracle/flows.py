"""Attempts with their outcomes, probes without SYN, and UDP flows, by a plain model of who talks to whom.

In: rows of a capture, in the order of frames. Out: events, in that order, each with its frame, with the time
stamp `ts` of its row, and with the addresses and ports of the one who asks. Their `what`:

- `touch`: a SYN without ACK, with `probe: True` if it has FIN or RST
- `answered`, `refused`: the outcome of an attempt, each at most once
- `probe`: a segment that no stack opens with, or a segment with ACK alone that a RST answers (`technique`)
- `udp_opened`: a datagram that opens a flow

A segment that may belong to a SYN which is still to come waits for it, 1 s of packet time; what it is the event
of happens at the frame that ends its wait.
"""

import bisect
import dataclasses
import ipaddress

SECOND = 1_000_000_000
# A SYN is a retransmission so long after the first one.
HORIZON_NS = 130 * SECOND
# How long a SYN waits for an ICMP error, or for being called unanswered.
UNANSWERED_NS = 5 * SECOND
# How long an answer waits for its SYN: taps reorder. And how many packets wait for one.
EARLY_NS = SECOND
EARLY_MAX = 4
TCP_IDLE_NS = 300 * SECOND
UDP_IDLE_NS = 60 * SECOND
UDP_HEADER = 8
# A closed connection waits so long for late packets; then what comes is behind its close for so long.
LINGER_NS = 5 * SECOND
BEHIND_NS = 120 * SECOND

FIN, SYN, RST, PSH, ACK, URG = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
# Technique of a segment without SYN, ACK and RST, by its FIN, PSH and URG; any other: `flags`.
TECHNIQUES = {0: "null", FIN: "fin", FIN | PSH | URG: "xmas"}
LIMITED_BROADCAST = "255.255.255.255"
# The frame of what happens behind the last frame.
AT_END = 2**63


def ends_of(row):
    """Sender's address and port, receiver's address and port."""
    return row["src"], row["sport"], row["dst"], row["dport"]


def reversed_ends(ends):
    """The same conversation, seen from the other end."""
    return ends[2:] + ends[:2]


def either_way(ends):
    """One key for both directions."""
    return min(ends, reversed_ends(ends))


def event(what, row, ends, **more):
    """An event at a row; `ends` has the one who asks first."""
    src, sport, dst, dport = ends
    return {"what": what, "frame": row["frame"], "ts": row["ts"], "src": src, "sport": sport, "dst": dst,
            "dport": dport} | more


def within(number, first, span):
    """`number` is one of `first` to `first + span`, modulo 2^32."""
    return (number - first) % 2**32 <= span


@dataclasses.dataclass
class Talk:
    """What both sides of a conversation were seen to send, packet time of the last included."""

    ends: tuple
    touched: int
    flags: list = dataclasses.field(default_factory=lambda: [0, 0])
    payload: list = dataclasses.field(default_factory=lambda: [0, 0])
    packets: list = dataclasses.field(default_factory=lambda: [0, 0])

    def side(self, row):
        """0: the originator sends, 1: the responder."""
        return 0 if ends_of(row) == self.ends else 1

    def add(self, row):
        """Accounts a segment."""
        side = self.side(row)
        self.flags[side] |= row["flags"]
        self.payload[side] += row["len"]
        self.packets[side] += 1
        self.touched = max(self.touched, row["now"])

    def sent_by_responder(self):
        """Sequence numbers that the responder was seen to use behind its SYN."""
        return self.payload[1] + bool(self.flags[1] & FIN)

    def closed(self):
        """Reset, or both sides have sent FIN."""
        return bool((self.flags[0] | self.flags[1]) & RST or self.flags[0] & self.flags[1] & FIN)

    def over_at(self):
        """Packet time at which it ends if nothing more comes."""
        return self.touched + (LINGER_NS if self.closed() else TCP_IDLE_NS)


@dataclasses.dataclass
class Attempt:
    """A SYN without ACK of new numbers, and the connection that it may become."""

    row: dict
    talk: Talk
    server_isn: int | None = None
    # What was reported of it.
    told: set = dataclasses.field(default_factory=set)
    # It is proven, so its connection outlives the horizon.
    proven: bool = False
    # Refused, reset, or unanswered for 5 s.
    ended: bool = False
    # A SYN came again after its end: it waits to the end of the horizon.
    reopened: bool = False

    def open(self, now):
        """It waits for what comes next."""
        waits = not self.reopened and self.server_isn is None
        live = not self.ended and not self.proven
        return live and now < self.row["now"] + (UNANSWERED_NS if waits else HORIZON_NS)

    def goes_on(self):
        """Something was seen of it behind the SYN+ACK."""
        alive = self.talk.flags[0] & ACK or self.talk.payload[1] > 0
        answered = self.server_isn is not None and not self.ended and not self.is_odd()
        return self.proven or bool(answered and alive)

    def is_odd(self):
        """Its SYN has FIN or RST: it can never become a connection."""
        return bool(self.row["flags"] & (FIN | RST))

    def acknowledged_by(self, row):
        """A segment of the server acknowledges the SYN, or some of its data, and no more."""
        first = (self.row["isn"] + 1) % 2**32
        return bool(row["flags"] & ACK) and within(row["ack"], first, self.row["len"])

    def is_server(self, row):
        """The segment comes from the one whom the SYN asks."""
        return ends_of(row) == reversed_ends(self.talk.ends)


@dataclasses.dataclass
class Midstream:
    """A conversation whose SYN was not seen, and the row that opened it."""

    opener: dict
    talk: Talk


class Model:
    """All conversations of a capture."""

    def __init__(self, clock):
        # [frame, packet time] of each frame that moved packet time.
        self.clock = clock
        self.events = []
        # By `either_way`.
        self.attempts = {}
        self.midstream = {}
        self.behind_until = {}
        self.udp = {}
        # Rows that wait for their SYN, in their order.
        self.waiting = []

    def on_row(self, row):
        """Takes a row of kind syn, segment, udp or icmp."""
        self.release(lambda one: one["now"] + EARLY_NS <= row["now"])
        {"syn": self.on_syn, "segment": self.on_segment, "udp": self.on_udp, "icmp": self.on_icmp}[
            row["kind"]
        ](row)

    def finish(self):
        """Ends all waits; the events in the order of their frames."""
        self.release(lambda _: True)
        return sorted(self.events, key=lambda one: one["frame"])

    def tell(self, attempt, outcome, row):
        """Reports an outcome of an attempt, once."""
        if outcome not in attempt.told:
            attempt.told.add(outcome)
            self.events.append(event(outcome, row, attempt.talk.ends))

    # TCP

    def on_syn(self, row):
        """A SYN without ACK: a touch, and an attempt unless it is one again."""
        ends = ends_of(row)
        odd = bool(row["flags"] & (FIN | RST))
        self.events.append(event("touch", row, ends, probe=odd))
        known = self.attempts.setdefault(either_way(ends), [])
        same = ("isn", "joined")
        for attempt in known:
            young = row["now"] < attempt.row["now"] + HORIZON_NS
            if attempt.talk.ends == ends and young and all(attempt.row[x] == row[x] for x in same):
                return self.on_repeated_syn(attempt, row)
        attempt = Attempt(row, Talk(ends, row["now"]))
        known.append(attempt)
        return self.on_early(attempt, row)

    def on_repeated_syn(self, attempt, row):
        """A SYN that comes again opens its attempt again, if that has ended."""
        if not attempt.proven and not attempt.open(row["now"]):
            attempt.ended, attempt.reopened, attempt.server_isn = False, True, None
        attempt.talk.touched = max(attempt.talk.touched, row["now"])

    def on_early(self, attempt, syn):
        """Takes the answers that came up to 1 s before their SYN, as if they came behind it, and whatever waits
        with them."""
        waiting = self.waits_for(either_way(attempt.talk.ends))
        if not any(answers(row, attempt) for row in waiting):
            return
        self.waiting = [row for row in self.waiting if row not in waiting]
        for row in waiting:
            again = row | {name: syn[name] for name in ("frame", "now")}
            if row["kind"] == "icmp":
                self.on_icmp(again, waits=False)
            else:
                self.on_segment(again)

    def newest(self, key, wanted, now):
        """The newest attempt of these ends within its horizon that is wanted, open ones first; or None."""
        found = [
            one for one in self.attempts.get(key, [])
            if now < one.row["now"] + HORIZON_NS and wanted(one)
        ]
        return max(found, key=lambda one: (one.open(now), one.row["now"]), default=None)

    def connection(self, key, now):
        """The connection of these ends that lives, or None."""
        alive = [
            one for one in self.attempts.get(key, [])
            if one.goes_on() and now < one.talk.over_at()
            and (one.proven or now >= one.row["now"] + HORIZON_NS)
        ]
        return alive[-1] if alive else None

    def on_segment(self, row):
        """A segment that is no SYN without ACK."""
        key, now = either_way(ends_of(row)), row["now"]
        if self.on_proof(row) or self.on_answer(row) or self.on_reset(row):
            return
        attempt = self.connection(key, now) or self.newest(key, lambda one: one.open(now), now)
        if attempt is None:
            self.on_midstream(row)
        else:
            attempt.talk.add(row)

    def on_proof(self, row):
        """True if the segment shows that the client of an attempt has received the SYN+ACK: it acknowledges
        numbers that the server was seen to send."""
        if not row["flags"] & ACK or row["flags"] & SYN:
            return False

        def wanted(one):
            waits = one.server_isn is not None and one.open(row["now"]) and not one.is_odd()
            return (
                waits and not one.proven and ends_of(row) == one.talk.ends
                and 0 < (row["seq"] - one.row["isn"]) % 2**32 < 2**31
                and within(row["ack"], one.server_isn + 1, one.talk.sent_by_responder())
            )

        attempt = self.newest(either_way(ends_of(row)), wanted, row["now"])
        if attempt is None:
            return False
        attempt.talk.add(row)
        attempt.proven = True
        return True

    def on_answer(self, row):
        """True if the segment is the server's answer to an attempt: a SYN+ACK, a RST with ACK or, where the
        SYN+ACK was not seen, data; its numbers acknowledge the SYN."""
        flags, now = row["flags"], row["now"]
        speaks = flags & (SYN | ACK | RST | FIN) == SYN | ACK or not flags & (SYN | RST) and (
            row["len"] > 0 or flags & FIN
        )
        refuses = flags & (SYN | RST | ACK) == RST | ACK
        if not speaks and not refuses:
            return False
        attempt = self.newest(
            either_way(ends_of(row)),
            lambda one: one.is_server(row) and one.acknowledged_by(row) and not one.proven, now,
        )
        if attempt is None:
            return False
        if attempt.server_isn is not None:
            attempt.ended = attempt.ended or bool(refuses)
            attempt.talk.add(row)
            return True
        attempt.ended = bool(refuses)
        attempt.talk.add(row)
        if speaks:
            attempt.server_isn = row["seq"] if flags & SYN else row["seq"] - 1
            attempt.reopened = attempt.reopened or now >= attempt.row["now"] + UNANSWERED_NS
        self.tell(attempt, "refused" if refuses else "answered", row)
        return True

    def on_reset(self, row):
        """True if the segment is a RST that ends an attempt that nobody has proven."""
        if not row["flags"] & RST:
            return False

        def wanted(one):
            if one.proven or not one.open(row["now"]):
                return False
            if not one.is_server(row):
                return within(row["seq"], one.row["isn"], 1 + one.talk.payload[0])
            if one.server_isn is None:
                return False
            if row["flags"] & ACK:
                return within(row["ack"], one.row["isn"] + 1, max(one.talk.payload[0], one.row["len"]))
            return row["seq"] == (one.server_isn + 1) % 2**32

        attempt = self.newest(either_way(ends_of(row)), wanted, row["now"])
        if attempt is None:
            return False
        attempt.talk.add(row)
        attempt.ended = True
        return True

    def on_midstream(self, row):
        """A segment of no open attempt and no connection with a known SYN."""
        key = either_way(ends_of(row))
        if self.live_midstream(key, row["now"]) is not None:
            self.add_midstream(row, row)
            return
        waiting = self.waits_for(key)
        if self.is_behind_a_close(key, row):
            self.on_odd(row, row)
            if not row["flags"] & RST:
                self.note_close(key, row["now"])
            return
        if waiting and len(waiting) == EARLY_MAX:
            self.release(lambda one: one in waiting, row)
        elif waiting or may_be_early(row):
            self.waiting.append(row)
            return
        self.add_midstream(row, row)

    def add_midstream(self, row, at):
        """Adds a segment to the flow of its ends, or opens one; what it tells happens at the frame of `at`."""
        key, now = either_way(ends_of(row)), row["now"]
        self.on_odd(row, at)
        flow = self.live_midstream(key, now)
        if flow is None:
            flow = self.midstream[key] = Midstream(row, Talk(ends_of(row), now))
        technique = refused_probe(flow, row)
        if technique is not None:
            self.tell_probe(technique, row, flow.talk.ends, at)
        flow.talk.add(row)

    def live_midstream(self, key, now):
        """The flow of these ends whose SYN was not seen, or None."""
        flow = self.midstream.get(key)
        if flow is None or now < flow.talk.over_at():
            return flow
        del self.midstream[key]
        if flow.talk.closed():
            self.note_close(key, flow.talk.over_at())
        return None

    def on_odd(self, row, at):
        """A segment with none of SYN, ACK and RST is a probe."""
        if not row["flags"] & (SYN | ACK | RST):
            technique = TECHNIQUES.get(row["flags"] & (FIN | PSH | URG), "flags")
            self.tell_probe(technique, row, ends_of(row), at)

    def tell_probe(self, technique, row, ends, at):
        """Reports a probe at the frame of `at`."""
        self.events.append(event("probe", row, ends) | {"technique": technique, "frame": at["frame"]})

    # What waits for its SYN

    def waits_for(self, key):
        """What waits on these ends."""
        return [row for row in self.waiting if key == either_way(ends_of(row.get("quoted", row)))]

    def release(self, which, at=None):
        """Ends the wait of rows, at the frame of `at` or when they have waited long enough."""
        due = [row for row in self.waiting if which(row)]
        self.waiting = [row for row in self.waiting if not which(row)]
        for row in due:
            if row["kind"] == "segment":
                self.add_midstream(row, at or self.end_of_wait(row))

    def end_of_wait(self, row):
        """The frame that brings packet time 1 s behind the row's."""
        after = bisect.bisect_left(self.clock, row["now"] + EARLY_NS, key=lambda one: one[1])
        frame = self.clock[after][0] if after < len(self.clock) else AT_END
        return {"frame": frame}

    def note_close(self, key, now):
        """What comes after this is behind a close, for 120 s."""
        self.behind_until[key] = max(self.behind_until.get(key, now + BEHIND_NS), now + BEHIND_NS)

    def is_behind_a_close(self, key, row):
        """What a closed connection sends again: no SYN, and no data unless it ends the connection, too."""
        for one in self.attempts.get(key, []):
            if one.proven and one.talk.closed():
                self.note_close(key, one.talk.over_at())
        ends = row["len"] == 0 or row["flags"] & (FIN | RST)
        return bool(ends and not row["flags"] & SYN and row["now"] < self.behind_until.get(key, row["now"]))

    def on_icmp(self, row, waits=True):
        """A destination unreachable refuses the attempt that it quotes, if that still waits for an answer."""
        quote, now = row["quoted"], row["now"]
        key = either_way(ends_of(quote))
        attempt = self.newest(
            key,
            lambda one: one.talk.ends == ends_of(quote) and one.open(now) and one.server_isn is None
            and quote["seq"] in (None, one.row["isn"]), now,
        )
        if attempt is not None:
            attempt.ended = True
            self.tell(attempt, "refused", row)
        elif waits and quote["seq"] is not None and len(self.waits_for(key)) < EARLY_MAX:
            self.waiting.append(row)

    # UDP

    def on_udp(self, row):
        """A datagram opens a flow if its 5-tuple has none, in either direction."""
        ends, now = ends_of(row), row["now"]
        key = either_way(ends)
        held = key in self.udp and now < self.udp[key] + UDP_IDLE_NS
        self.udp[key] = now
        # The answer to a question that was not seen comes from a port that only servers have, and has payload.
        is_answer = row["sport"] < 1024 <= row["dport"] and row["len"] != UDP_HEADER
        if not held and not is_answer and not is_group(row["dst"]):
            self.events.append(event("udp_opened", row, ends))


def answers(row, attempt):
    """What came before its SYN answers it, or ends the handshake that it begins."""
    if row["kind"] == "icmp":
        return ends_of(row["quoted"]) == attempt.talk.ends and row["quoted"]["seq"] == attempt.row["isn"]
    if attempt.is_server(row):
        return not is_bare_ack(row) and may_be_early(row) and attempt.acknowledged_by(row)
    first = (attempt.row["isn"] + 1) % 2**32
    return is_bare_ack(row) and within(row["seq"], first, attempt.row["len"])


def is_bare_ack(row):
    """What a client ends a handshake with."""
    return row["flags"] & (SYN | ACK | RST | FIN) == ACK and row["len"] == 0


def may_be_early(row):
    """A SYN+ACK, a RST with ACK, or a bare ACK: its SYN may be still to come."""
    flags = row["flags"] & (SYN | ACK | RST | FIN)
    return flags == SYN | ACK or flags & ~FIN == RST | ACK or is_bare_ack(row)


def refused_probe(flow, row):
    """The technique, if this row is the RST that shows a flow's opener to be a probe with ACK; else None."""
    opener, talk = flow.opener, flow.talk
    probes = opener["flags"] & (SYN | ACK | RST) == ACK and talk.payload[0] == 0
    is_first = talk.side(row) == 1 and talk.packets[1] == 0
    refuses = row["flags"] & (SYN | RST | ACK) == RST and row["seq"] == opener["ack"]
    if not (probes and is_first and refuses):
        return None
    return "maimon" if opener["flags"] & FIN else "ack"


def is_group(address):
    """Multicast, or the limited broadcast."""
    return ipaddress.ip_address(address).is_multicast or address == LIMITED_BROADCAST


def events(rows, clock):
    """The events of a capture; `rows` as `rules.merged` gives them, `clock` as `extract.extract` does."""
    model = Model(clock)
    for row in rows:
        model.on_row(row)
    return model.finish()
