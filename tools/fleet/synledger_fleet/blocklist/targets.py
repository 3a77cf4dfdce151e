"""Targets: what each loads, and how much of it."""

import dataclasses
import hashlib
import ipaddress
import json
from collections.abc import Callable

from ..period import SECOND_NS
from .candidates import Candidate

# Longest comment of nftables is 128 bytes with its end, of ipset 255; both are cut alike.
_COMMENT_MAX = 120


@dataclasses.dataclass
class Entry:
    """A source with the end of its block, seconds since the Unix epoch."""

    of: Candidate
    end_s: int
    until: str

    @property
    def net(self):
        """Its network."""
        return self.of.net

    @property
    def bare(self) -> str:
        """An address without its length."""
        return str(self.net.network_address)


@dataclasses.dataclass
class Listing:
    """A file's text, what is in it, and what is not, with the reason."""

    suffix: str
    text: str
    fitted: list[Entry]
    left_out: list[tuple[Entry, str]]


@dataclasses.dataclass(frozen=True)
class Options:
    """What all targets need."""

    name: str
    now_s: int
    limit: int


@dataclasses.dataclass(frozen=True)
class Target:
    """A kind of target: its limit, whence it comes, and the writer."""

    limit: int
    unit: str
    write: Callable[[list[Entry], Options], list[Listing]]


def _digest(entries: list[Entry], options: Options) -> str:
    """Of what is listed. Texts with times that count down are compared by it, not by their bytes."""
    listed = json.dumps([options.name, [[str(one.net), one.end_s] for one in entries]])
    return hashlib.sha256(listed.encode()).hexdigest()


def _cut(entries: list[Entry], limit: int, why: str) -> tuple[list[Entry], list[tuple[Entry, str]]]:
    return entries[:limit], [(one, why.format(limit=limit)) for one in entries[limit:]]


def _of(version: int, entries: list[Entry]) -> list[Entry]:
    return [one for one in entries if one.net.version == version]


def _import(entries: list[Entry], options: Options) -> list[Listing]:
    """`synledger block import`: an array with `net` and `until`; it passes over the evidence, which is for people."""
    kept, left = _cut(entries, options.limit, "the sensor holds {limit} blocks (--block-max)")
    lines = [json.dumps({"net": str(one.net), "until": one.until, "why": one.of.why(), "source": options.name})
             for one in kept]
    text = "[\n" + ",\n".join(lines) + "\n]\n" if lines else "[]\n"
    return [Listing("", text, kept, left)]


def _nftables(entries: list[Entry], options: Options) -> list[Listing]:
    """A table of its own; replacing it is one transaction."""
    kept, left = _cut(entries, options.limit, "the sets are made for {limit} elements")
    table = f"inet {options.name}_blocklist".replace("-", "_").replace(".", "_")
    lines = [f"# list={_digest(kept, options)}", f"add table {table}", f"delete table {table}", f"add table {table}"]
    for version, kind in ((4, "ipv4_addr"), (6, "ipv6_addr")):
        lines.append(f"add set {table} blocked{version} {{ type {kind}; flags timeout; size {options.limit}; }}")
    for hook in ("input", "forward"):
        lines.append(f"add chain {table} {hook} {{ type filter hook {hook} priority -300; policy accept; }}")
        lines += [f"add rule {table} {hook} {family} saddr @blocked{version} counter drop"
                  for version, family in ((4, "ip"), (6, "ip6"))]
    lines += [f"add element {table} blocked{one.net.version} {{ {one.bare} timeout {one.end_s - options.now_s}s "
              f"comment \"{one.of.why()[:_COMMENT_MAX]}\" }}" for one in kept]
    return [Listing("", "\n".join(lines) + "\n", kept, left)]


def _ipset(entries: list[Entry], options: Options) -> list[Listing]:
    """For `ipset restore`: sets are filled under another name and swapped, so that no moment is without a list."""
    lines, kept, left = [], [], []
    # Names have at most 31 characters.
    base = options.name[:24]
    for version, family in ((4, "inet"), (6, "inet6")):
        own, over = _cut(_of(version, entries), options.limit, "a set has at most {limit} elements (maxelem)")
        kept, left = kept + own, left + over
        form = f"hash:ip family {family} maxelem {options.limit} timeout 0 comment"
        lines += [f"create -exist {base}-{version} {form}", f"create -exist {base}-{version}-new {form}",
                  f"flush {base}-{version}-new"]
        lines += [f"add {base}-{version}-new {one.bare} timeout {min(one.end_s - options.now_s, 2_147_483)} "
                  f"comment \"{one.of.why()[:_COMMENT_MAX]}\"" for one in own]
        lines += [f"swap {base}-{version}-new {base}-{version}", f"destroy {base}-{version}-new"]
    head = f"# list={_digest(kept, options)}"
    return [Listing("", "\n".join([head, *lines]) + "\n", kept, left)]


def _json(value: object) -> str:
    return json.dumps(value, indent=1) + "\n"


def _aws_waf(entries: list[Entry], options: Options) -> list[Listing]:
    """For `aws wafv2 create-ip-set --cli-input-json`; a set has addresses of one version."""
    listings = []
    for version in (4, 6):
        own, over = _cut(_of(version, entries), options.limit, "an IP set has at most {limit} addresses")
        text = _json({"Name": f"{options.name}-ipv{version}", "Scope": "REGIONAL", "IPAddressVersion": f"IPV{version}",
                      "Description": "Sources that synledger sensors saw scanning", "Addresses": [str(one.net) for one in own]})
        listings.append(Listing(f"-ipv{version}", text, own, over))
    return listings


def complement(nets: list) -> list:
    """The networks of everything of one version but these."""
    rest = [ipaddress.ip_network("0.0.0.0/0" if nets[0].version == 4 else "::/0")]
    for net in nets:
        rest = [part for one in rest for part in (one.address_exclude(net) if net.subnet_of(one) else [one])]
    return sorted(rest)


def _security_group(entries: list[Entry], options: Options) -> list[Listing]:
    """For `aws ec2 authorize-security-group-ingress`: such groups only allow, so all but the listed is allowed."""
    kept, left, ranges = [], [], {4: [], 6: []}
    for version in (4, 6):
        listed: list[Entry] = []
        for one in _of(version, entries):
            rules = complement([*(other.net for other in listed), one.net])
            if len(rules) > options.limit:
                left.append((one, f"a group only allows: leaving it out would take {len(rules)} rules, "
                                  f"a group has {options.limit}"))
                continue
            listed.append(one)
            ranges[version] = rules
        kept += listed
        ranges[version] = ranges[version] or [ipaddress.ip_network("0.0.0.0/0" if version == 4 else "::/0")]
    about = f"all but {len(kept)} listed by {options.name}"
    allowed = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443,
               "IpRanges": [{"CidrIp": str(net), "Description": about} for net in ranges[4]],
               "Ipv6Ranges": [{"CidrIpv6": str(net), "Description": about} for net in ranges[6]]}
    return [Listing("", _json({"GroupId": "sg-REPLACE", "IpPermissions": [allowed]}), kept, left)]


def _nacl(entries: list[Entry], options: Options) -> list[Listing]:
    """For `aws ec2 create-network-acl-entry`, one object each; lower numbers win, so they stand before what allows."""
    kept, left, rules = [], [], []
    for version in (4, 6):
        own, over = _cut(_of(version, entries), options.limit,
                         "an ACL has {limit} places for IPv" + str(version) + " beside what allows and its last rule")
        kept, left = kept + own, left + over
        member = "CidrBlock" if version == 4 else "Ipv6CidrBlock"
        rules += [{"NetworkAclId": "acl-REPLACE", "RuleNumber": len(rules) + 1 + at, "Protocol": "-1", "RuleAction": "deny",
                   "Egress": False, member: str(one.net)} for at, one in enumerate(own)]
    return [Listing("", _json(rules), kept, left)]


# Defaults of the vendors' documentation: WAF 10,000 addresses a set; 60 inbound rules a group and version; 20 rules an ACL
# and version, of which one is the last and one has to allow.
TARGETS = {
    "import": Target(10_000, "blocks", _import),
    "nftables": Target(65_536, "elements", _nftables),
    "ipset": Target(65_536, "elements of each version", _ipset),
    "aws-waf": Target(10_000, "addresses of each version", _aws_waf),
    "security-group": Target(60, "rules of each version", _security_group),
    "nacl": Target(18, "rules of each version", _nacl),
}


def end_of(candidate: Candidate, expire_ns: int) -> int:
    """When its block ends: so long after it was last seen, whenever this runs. A run without news changes nothing."""
    return (candidate.last_ns + expire_ns) // SECOND_NS
