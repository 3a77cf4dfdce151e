"""Sources that may be listed, with the evidence against each."""

import dataclasses
import ipaddress

from ..asking import Fleet
from ..errors import BadInput
from ..period import FOREVER_NS, Period, shown_ns

# What an answer counts, by the name of its query.
ANSWERS = {"port-scans": ("port_scan", "ports"), "sweeps": ("host_sweep", "hosts"),
           "slow-scans": ("slow_scan", "places_failed")}
_ALL = FOREVER_NS - 2
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclasses.dataclass
class Candidate:
    """A source."""

    net: Network
    kinds: set[str] = dataclasses.field(default_factory=set)
    episodes: int = 0
    # The largest extent of one episode.
    count: int = 0
    sensors: int = 0
    attempts: int = 0
    first_ns: int = FOREVER_NS
    last_ns: int = 0
    proofs: int = 0

    def add(self, kind: str, count: int, row: dict) -> None:
        """One episode more."""
        self.kinds.add(kind)
        self.episodes += 1
        self.count = max(self.count, count)
        self.sensors = max(self.sensors, row["sensors"])
        self.attempts += row["attempts"]
        self.first_ns = min(self.first_ns, row["first_ns"])
        self.last_ns = max(self.last_ns, row["last_ns"])

    @property
    def rank(self) -> tuple:
        """Who comes first where not all fit: most episodes, then the latest."""
        return (-self.episodes, -self.count, -self.last_ns, self.net.version, self.net)

    def why(self) -> str:
        """The evidence in words; ASCII, and nothing that came from the network but numbers."""
        proof = f"handshakes={self.proofs}" if self.proofs else "unproven"
        return (f"{'+'.join(sorted(self.kinds))} episodes={self.episodes} most={self.count} attempts={self.attempts} "
                f"sensors={self.sensors} last={shown_ns(self.last_ns)} {proof}")


def find(fleet: Fleet, answers: list[str], period: Period) -> list[Candidate]:
    """All sources of these answers, in their rank. What is no address is left out: no target could take it."""
    found: dict[str, Candidate] = {}
    for answer in dict.fromkeys(answers):
        if answer not in ANSWERS:
            raise BadInput("--from", answer, ", ".join(ANSWERS))
        kind, counted = ANSWERS[answer]
        for row in fleet.ask(answer.replace("-", "_"), period, _ALL).rows:
            try:
                address = ipaddress.ip_address(row["src_ip"])
            except ValueError:
                continue
            mapped = getattr(address, "ipv4_mapped", None)
            net = ipaddress.ip_network(mapped or address)
            found.setdefault(str(net), Candidate(net)).add(kind, row[counted], row)
    for row in fleet.ask("proofs", period, _ALL).rows:
        try:
            source = found.get(str(ipaddress.ip_network(row["src_ip"])))
        except ValueError:
            continue
        if source:
            source.proofs += row["proofs"]
    return sorted(found.values(), key=lambda one: one.rank)
