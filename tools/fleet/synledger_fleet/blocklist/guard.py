"""Networks that are never listed."""

import ipaddress
import pathlib

from ..errors import BadInput, FleetError

# The sensor's guard has the same: RFC 6890, RFC 5771, RFC 4291; RFC 3927; RFC 1918, RFC 6598, RFC 4193.
_NO_HOST = ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4", "::/96", "::ffff:0:0/96", "ff00::/8")
_LINK_LOCAL = ("169.254.0.0/16", "fe80::/10")
_PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def network(thing: str, text: str) -> Network:
    """A network, or an address as one."""
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        try:
            meant = f"; is {ipaddress.ip_network(text, strict=False)} meant?" if "host bits" in str(error) else ""
        except ValueError:
            meant = ""
        raise BadInput(thing, text, f"a network such as 192.0.2.0/24 or 2001:db8::/32, or an address{meant}") from None


def read_file(path: str) -> list[Network]:
    """Networks of a file, one a line, with comments behind #."""
    try:
        lines = pathlib.Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        # A guard that cannot be read must not be an empty one.
        raise FleetError(f"--allow {path}: cannot be read: {error}; nothing was written") from None
    bare = [(number, line.partition("#")[0].strip()) for number, line in enumerate(lines, 1)]
    return [network(f"--allow {path}: line {number}:", text) for number, text in bare if text]


class Guard:
    """Says why a network is spared."""

    def __init__(self, own: list[str] | None, allow: list[str], private: bool):
        if not own:
            raise BadInput("--own", "", "your networks, so that none of yours is ever blocked; --own none if you have none")
        own_nets = [] if own == ["none"] else [network("--own", text) for text in own]
        allowed = [net for path in allow for net in read_file(path)]
        reasons = [("no_host", map(ipaddress.ip_network, _NO_HOST)), ("own", own_nets), ("allowed", allowed),
                   ("link_local", map(ipaddress.ip_network, _LINK_LOCAL))]
        if not private:
            reasons.append(("private", map(ipaddress.ip_network, _PRIVATE)))
        self.reasons = [(reason, list(nets)) for reason, nets in reasons]

    def spares(self, net: Network) -> str | None:
        """The reason, if it is spared: it shares an address with a guarded network."""
        for reason, nets in self.reasons:
            if any(one.version == net.version and one.overlaps(net) for one in nets):
                return reason
        return None
