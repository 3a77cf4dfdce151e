"""The command line."""

import argparse

from . import __version__
from .engines import ENGINES
from .queries import DIALECTS

EXIT_CODES = """exit codes:
  0    answered; block lists written, or unchanged
  1    could not be carried out: an engine, a file or S3 failed
  2    wrong arguments
  3    blocklist: written, but something did not fit its target
  130  interrupted
"""
_EXAMPLES = """examples:
  synledger-fleet port-scans /srv/flows --window 60s --ports 4 --since 24h
  synledger-fleet top-syn s3://bucket/flows --since 2026-11-30 --until 2026-12-01 --json
  synledger-fleet sql /srv/flows "SELECT sensor, COUNT(*) FROM records GROUP BY sensor"
  synledger-fleet blocklist /srv/flows --own 198.51.100.0/24 --to import:block.json

"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str):
        self.exit(2, f"synledger-fleet: {message}\nsynledger-fleet: {self.prog} --help says more\n")


def _common(parser: argparse.ArgumentParser, answers: bool = True) -> None:
    parser.add_argument("place", metavar="PLACE", help="folder, or s3://BUCKET/PREFIX, with date=/hour=/sensor=/ below")
    parser.add_argument("--engine", default="datafusion", metavar="NAME",
                        help=f"{', '.join(ENGINES)}; all but the first are extras (default: datafusion)")
    parser.add_argument("--master", metavar="URL", help="of a Spark cluster (default: threads of this machine)")
    parser.add_argument("--since", metavar="TIME", help="first moment: 2026-11-30, 2026-11-30T10:00Z (UTC), or 24h ago")
    parser.add_argument("--until", metavar="TIME", help="first moment that is too late")
    if answers:
        form = parser.add_mutually_exclusive_group()
        form.add_argument("--json", action="store_true", help="an array, a row a line; times in nanoseconds")
        form.add_argument("--csv", action="store_true", help="RFC 4180; times in nanoseconds")


def _query(commands, name: str, about: str, limit: int = 1000) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=about, description=about, epilog=EXIT_CODES,
                                 formatter_class=argparse.RawDescriptionHelpFormatter)
    _common(parser)
    parser.add_argument("--limit", metavar="N", default=str(limit), help=f"most rows (default: {limit}); more are said")
    parser.add_argument("--show-sql", metavar="DIALECT", help=f"print the SQL instead: {', '.join(DIALECTS)}")
    return parser


def _scan(commands, name: str, about: str, window: str, count: str, at_least: int, of: str):
    parser = _query(commands, name, about)
    parser.add_argument("--window", metavar="TIME", default=window,
                        help=f"a touch that is just as old does not count (default: {window})")
    parser.add_argument(count, metavar="N", dest="at_least", default=str(at_least), help=f"{of} (default: {at_least})")
    parser.add_argument("--per-sensor", action="store_true",
                        help="judge what each sensor saw alone: for sites with the same private addresses")
    return parser


def parser() -> argparse.ArgumentParser:
    """All commands."""
    top = _Parser(prog="synledger-fleet", description="Asks the Parquet files of many synledger sensors.",
                  epilog=_EXAMPLES + EXIT_CODES, formatter_class=argparse.RawDescriptionHelpFormatter)
    top.add_argument("--version", action="version", version=__version__)
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)
    _query(commands, "top-syn", "sources by attempts, with failed connections, ports and hosts", limit=20)
    _scan(commands, "port-scans", "sources that tried many ports of one destination", "60s", "--ports", 4,
          "ports that make a scan")
    _scan(commands, "sweeps", "sources that tried one port of many hosts", "60s", "--hosts", 25, "hosts that make a sweep")
    slow = _scan(commands, "slow-scans", "sources nearly all of whose connections fail, over days", "3d", "--places", 10,
                 "failed places (host and port)")
    slow.add_argument("--span", metavar="TIME", default="1h", help="shortest time from first to last (default: 1h)")
    slow.add_argument("--failed-percent", metavar="N", default="83", help="of the places tried (default: 83)")
    shared = _scan(commands, "distributed", "many sources that share a scan of one destination", "60s", "--ports", 20,
                   "closed ports")
    shared.add_argument("--sources", metavar="N", default="3", help="least sources (default: 3)")
    host = _query(commands, "connections", "connections of one host, newest first", limit=100)
    host.add_argument("--host", metavar="ADDRESS", required=True, help="IPv4 or IPv6 address, either side")
    first = _query(commands, "first-seen", "what was seen for the first time in the period")
    first.add_argument("--of", metavar="WHAT", default="source", help="source, destination, or service (default: source)")
    first.add_argument("--history", metavar="TIME", help="how far to look back before --since (default: all)")
    cover = _query(commands, "coverage", "what each sensor did not watch or lost")
    cover.add_argument("--gaps", action="store_true", help="each time that it was not watching, instead of sums")
    cover.add_argument("--least-gap", metavar="TIME", default="1s", help="between books (default: 1s)")
    own = commands.add_parser("sql", help="one SELECT of yours over the table records", epilog=EXIT_CODES,
                              formatter_class=argparse.RawDescriptionHelpFormatter)
    _common(own)
    own.add_argument("statement", metavar="SELECT", help="or - for standard input; --since and --until do not apply")
    _blocklist(commands)
    page = commands.add_parser("report", help="one page of HTML, with nothing from the network", epilog=EXIT_CODES,
                               formatter_class=argparse.RawDescriptionHelpFormatter)
    _common(page, answers=False)
    page.add_argument("--html", metavar="FILE", required=True, help="where the page goes; replaced atomically")
    page.add_argument("--title", metavar="TEXT", default="synledger fleet", help="its heading")
    return top


def _blocklist(commands) -> None:
    block = commands.add_parser("blocklist", help="an answer as a block list for sensors, firewalls and clouds",
                                epilog=EXIT_CODES, formatter_class=argparse.RawDescriptionHelpFormatter)
    _common(block, answers=False)
    block.add_argument("--to", metavar="KIND:FILE", action="append", required=True,
                       help="import, nftables, ipset, aws-waf, security-group, nacl, and the file; repeatable. "
                            "aws-waf writes FILE with -ipv4 and -ipv6 before its ending")
    block.add_argument("--from", metavar="QUERY", action="append", dest="answers",
                       help="port-scans, sweeps, slow-scans; repeatable (default: port-scans and sweeps)")
    block.add_argument("--own", metavar="NET", action="append",
                       help="network of yours that is never listed; repeatable; none if you have none. Must be given")
    block.add_argument("--allow", metavar="FILE", action="append", default=[],
                       help="networks that are never listed, one a line, # comments; repeatable")
    block.add_argument("--private", action="store_true", help="private addresses may be listed")
    block.add_argument("--proof", metavar="WORD", default="handshake",
                       help="handshake: only sources that completed one, as others may be spoofed; none (default: handshake)")
    block.add_argument("--expire", metavar="TIME", default="24h", help="on the list after last seen (default: 24h)")
    block.add_argument("--name", metavar="NAME", default="fleet", help="of the list (default: fleet)")
    block.add_argument("--limit-of", metavar="KIND=N", action="append", default=[],
                       help="another limit of a target, where its quota was raised or lowered; repeatable")
    block.add_argument("--json", action="store_true", help="the report as JSON")
