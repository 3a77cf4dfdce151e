"""Who scans in a capture, and what a program says about it: found, missed, false."""

import collections
import dataclasses
import ipaddress

import rules

# The sensor's defaults.
LIMITS = dataclasses.replace(rules.DEFAULTS, hosts=25)
# A run of a tool that scans, whatever the tool does.
TOOL = "tool"


@dataclasses.dataclass(frozen=True)
class Episode:
    """One who scans. `destination` None: many."""

    kind: str
    source: str
    destination: str | None = None


@dataclasses.dataclass
class Truth:
    """What a capture holds. Alerts about `others` are neither found nor false."""

    episodes: frozenset = frozenset()
    others: frozenset = frozenset()

    def sources(self):
        """All of whom a program may speak."""
        return {one.source for one in self.episodes} | self.others


def by_rules(extracted):
    """The truth by the rules of the sensor at its defaults."""
    out = set()
    for kind, scans in rules.judge(extracted, rules.LINKS, LIMITS)["scans"].items():
        pair = kind not in ("host_sweep", "slow_scan")
        out |= {Episode(kind, one["src"], one["dst"] if pair else None) for one in scans}
    return Truth(frozenset(out))


def by_tool(run):
    """The truth of a run of a tool: the scanner scans, and its decoys seem to."""
    words = run["mode"].split()
    decoys = words[words.index("-D") + 1].split(",") if "-D" in words else []
    return Truth(frozenset([Episode(TOOL, run["source"])]), frozenset(decoys) - {"ME"})


def is_scan(run):
    """Whether a run of a tool scans; others flood."""
    return not any(kind.endswith("_flood") for kind in run["promised"])


def about(episode, alerts):
    """The alerts that name its source, and its destination where both have one."""
    return [
        alert for alert in alerts
        if alert.source == episode.source
        and (None in (episode.destination, alert.destinations) or episode.destination in alert.destinations)
    ]


def strongest(words, verdicts):
    """The strongest of these verdicts, None if there is none; `verdicts` are all, from weak to strong."""
    return max(words, key=lambda one: -1 if one is None else verdicts.index(one))


def is_true(source, sources):
    """A source that is reported is one of these, or a network with one of them; None, many, is true with any."""
    if source is None:
        return bool(sources)
    if "/" not in source:
        return source in sources
    network = ipaddress.ip_network(source)
    return any(ipaddress.ip_address(one) in network for one in sources)


def false_sources(truth, alerts, verdicts):
    """{source: its strongest verdict} of those reported that the truth does not have."""
    out, sources = {}, truth.sources()
    for alert in alerts:
        if is_true(alert.source, sources):
            continue
        out[alert.source] = strongest([alert.verdict, out.get(alert.source)], verdicts)
    return out


@dataclasses.dataclass
class Tally:
    """What one program did with one group of captures."""

    # By kind.
    episodes: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    found: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    # Those found, by verdict (None: the program has none).
    verdicts: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    # False sources of each capture, by verdict.
    false: dict = dataclasses.field(default_factory=dict)
    # Captures in which it found all episodes.
    complete: set = dataclasses.field(default_factory=set)

    def add(self, capture, truth, alerts, verdicts):
        """Judges one capture."""
        hits = {one: found for one in truth.episodes if (found := about(one, alerts))}
        self.episodes.update(one.kind for one in truth.episodes)
        self.found.update(one.kind for one in hits)
        self.verdicts.update(strongest([each.verdict for each in found], verdicts) for found in hits.values())
        if len(hits) == len(truth.episodes):
            self.complete.add(capture)
        self.false[capture] = collections.Counter(false_sources(truth, alerts, verdicts).values())

    def false_by_verdict(self):
        """False sources of all captures."""
        return sum(self.false.values(), collections.Counter())
