"""Block lists: who is listed, who is spared, and what does not fit, on purpose."""

import contextlib
import io
import ipaddress
import json
import pathlib
import shutil
import subprocess
import tempfile
import unittest
import unittest.mock

import made
import tree  # noqa: F401

from synledger_fleet.blocklist.candidates import Candidate
from synledger_fleet.blocklist.command import judged
from synledger_fleet.blocklist.guard import Guard
from synledger_fleet.blocklist.targets import TARGETS, Options, complement
from synledger_fleet.cli import main

AT = made.BEGIN + made.DAY
NOW_S = AT // made.SECOND + 60


def candidate(address: str, proofs: int = 1, last_ns: int = AT) -> Candidate:
    """A source that scanned once."""
    return Candidate(ipaddress.ip_network(address), {"port_scan"}, 1, 9, 2, 12, last_ns - made.SECOND, last_ns, proofs)


def listings(kind: str, addresses: list[str], limit: int | None = None):
    """What a target makes of these."""
    guard = Guard(["none"], [], True)
    entries = judged([candidate(one) for one in addresses], guard, "handshake", made.DAY, NOW_S).listed
    return TARGETS[kind].write(entries, Options("fleet", NOW_S, limit or TARGETS[kind].limit))


class Guarded(unittest.TestCase):
    def test_own_networks_allowed_ones_and_what_is_no_host_are_never_listed(self):
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as allow:
            allow.write("# partners\n203.0.113.0/25 # one\n\n2001:db8:5::/48\n")
            allow.flush()
            guard = Guard(["198.51.100.0/24", "2001:db8::/48"], [allow.name], False)
        for address, reason in (("198.51.100.7", "own"), ("2001:db8::7", "own"), ("203.0.113.5", "allowed"),
                                ("203.0.113.200", None), ("2001:db8:5::1", "allowed"), ("10.0.0.1", "private"),
                                ("100.64.1.1", "private"), ("127.0.0.1", "no_host"), ("255.255.255.255", "no_host"),
                                ("169.254.1.1", "link_local"), ("fe80::1", "link_local"), ("::1", "no_host"),
                                ("192.0.2.1", None)):
            self.assertEqual(guard.spares(ipaddress.ip_network(address)), reason, address)
        self.assertEqual(Guard(["198.51.100.0/24"], [], True).spares(ipaddress.ip_network("198.51.0.0/16")), "own")

    def test_unproven_sources_and_those_whose_time_is_over_are_not_listed(self):
        all_of_them = [candidate("192.0.2.1"), candidate("192.0.2.2", 0), candidate("192.0.2.3", 1, AT - 2 * made.DAY)]
        report = judged(all_of_them, Guard(["none"], [], False), "handshake", made.DAY, NOW_S)
        self.assertEqual([str(one.net) for one in report.listed], ["192.0.2.1/32"])
        self.assertEqual([reason for _, reason in report.not_listed], ["unproven", "over"])
        report = judged(all_of_them, Guard(["none"], [], False), "none", made.DAY, NOW_S)
        self.assertEqual(len(report.listed), 2)


class Limits(unittest.TestCase):
    MANY = [f"192.0.{number // 250}.{number % 250 + 1}" for number in range(700)]

    def test_what_does_not_fit_is_named_with_the_reason(self):
        for kind, limit in (("import", 100), ("nftables", 100), ("ipset", 100), ("aws-waf", 100), ("nacl", None)):
            made_of = listings(kind, self.MANY, limit)
            most = limit or 18
            self.assertEqual(sum(len(one.fitted) for one in made_of), most, kind)
            left = [left for one in made_of for left in one.left_out]
            self.assertEqual(len(left), 700 - most, kind)
            self.assertTrue(all(str(most) in why for _, why in left), kind)

    def test_the_defaults_are_exceeded_too(self):
        many = [str(ipaddress.ip_address("11.0.0.0") + number) for number in range(10_050)]
        for kind in ("import", "aws-waf"):
            self.assertEqual(sum(len(one.left_out) for one in listings(kind, many)), 50, kind)

    def test_a_security_group_only_allows_so_hardly_anything_fits(self):
        (listing,) = listings("security-group", ["192.0.2.1", "203.0.113.9", "192.0.2.2", "2001:db8::1"])
        self.assertEqual([one.bare for one in listing.fitted], ["192.0.2.1", "203.0.113.9", "192.0.2.2"])
        # One address of IPv6 alone takes 128 rules.
        self.assertEqual([(one.bare, "128 rules" in why) for one, why in listing.left_out], [("2001:db8::1", True)])
        rules = json.loads(listing.text)["IpPermissions"][0]
        allowed = [ipaddress.ip_network(one["CidrIp"]) for one in rules["IpRanges"]]
        self.assertLessEqual(len(allowed), 60)
        for address, is_allowed in (("192.0.2.1", False), ("203.0.113.9", False), ("192.0.2.2", False), ("192.0.2.3", True)):
            self.assertEqual(any(ipaddress.ip_address(address) in net for net in allowed), is_allowed, address)

    def test_a_complement_shares_nothing_with_what_it_leaves_out_and_misses_nothing(self):
        nets = [ipaddress.ip_network(one) for one in ("192.0.2.1/32", "192.0.2.0/32", "10.0.0.0/8")]
        rest = complement(nets)
        self.assertEqual(sum(net.num_addresses for net in [*rest, *nets]), 2**32)
        self.assertFalse(any(one.overlaps(net) for one in rest for net in nets))

    def test_rule_numbers_of_an_acl_are_distinct_and_both_versions_have_their_own_places(self):
        (listing,) = listings("nacl", ["192.0.2.1", "2001:db8::1", "192.0.2.2"])
        rules = json.loads(listing.text)
        self.assertEqual(sorted(rule["RuleNumber"] for rule in rules), [1, 2, 3])
        self.assertEqual(sum("Ipv6CidrBlock" in rule for rule in rules), 1)

    @unittest.skipUnless(shutil.which("nft"), "nft is not installed")
    def test_nft_takes_the_script(self):
        (listing,) = listings("nftables", ["192.0.2.1", "2001:db8::1"])
        done = subprocess.run(["unshare", "-rn", "nft", "-f", "-"], input=listing.text, text=True, capture_output=True)
        if "unshare" in done.stderr:
            self.skipTest(done.stderr.strip())
        self.assertEqual(done.returncode, 0, done.stderr)


class Written(unittest.TestCase):
    """The command, over Parquet."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.data = pathlib.Path(cls.folder.name, "data")
        maker = made.Maker(3, 6)
        for port in range(6):
            maker.attempt("edge-001", made.BEGIN + port, "192.0.2.1", "198.51.100.1", port, state="S1")
            maker.attempt("edge-001", made.BEGIN + port, "192.0.2.2", "198.51.100.1", port, state="S0")
            maker.attempt("edge-001", made.BEGIN + port, "198.51.100.9", "198.51.100.1", port, state="S1")
            maker.attempt("edge-001", made.BEGIN + port, "2001:db8:f::1", "2001:db8::1", port, state="SF")
        # What is no address came from no sensor of ours, and goes to no firewall.
        for port in range(6):
            maker.attempt("edge-002", made.BEGIN + port, "192.0.2.3; flush ruleset", "198.51.100.1", port, state="S1")
        made.store(maker.rows, cls.data)

    def run_it(self, *arguments: str) -> tuple[int, str, str]:
        out, error = io.StringIO(), io.StringIO()
        now = unittest.mock.patch("time.time_ns", lambda: AT)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error), now:
            try:
                code = main(["blocklist", str(self.data), *arguments])
            except SystemExit as end:
                code = end.code
        return code, out.getvalue(), error.getvalue()

    def test_a_run_without_news_writes_nothing(self):
        folder = pathlib.Path(self.folder.name)
        kinds = {"import": "a.json", "nftables": "b.nft", "ipset": "c.ipset", "nacl": "d.json"}
        given = [word for kind, name in kinds.items() for word in ("--to", f"{kind}:{folder / name}")]
        given += ["--own", "198.51.100.0/24", "--expire", "365d"]
        code, said, _ = self.run_it(*given)
        self.assertEqual(code, 0, said)
        self.assertIn("2 sources are listed", said)
        self.assertIn("not listed: of your networks (--own): 198.51.100.9", said)
        self.assertRegex(said, r"completed no handshake.*: 192\.0\.2\.2\n")
        listed = json.loads((folder / "a.json").read_text())
        self.assertEqual({one["net"] for one in listed}, {"192.0.2.1/32", "2001:db8:f::1/128"})
        self.assertRegex(listed[0]["until"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        self.assertNotIn("flush ruleset", (folder / "b.nft").read_text())
        before = {name: (folder / name).stat() for name in kinds.values()}
        code, said, _ = self.run_it(*given, "--json")
        self.assertEqual((code, json.loads(said)["changed"]), (0, False))
        for name, stat in before.items():
            self.assertEqual((folder / name).stat().st_ino, stat.st_ino, name)

    def test_what_does_not_fit_is_said_by_the_exit_code(self):
        path = pathlib.Path(self.folder.name, "one.json")
        code, said, _ = self.run_it("--own", "none", "--to", f"import:{path}", "--limit-of", "import=1", "--expire", "365d")
        self.assertEqual(code, 3, said)
        self.assertIn("did not fit", said)

    def test_wrong_arguments_are_named_and_nothing_is_written(self):
        path = pathlib.Path(self.folder.name, "never.json")
        to = ("--to", f"import:{path}")
        for given, word in ((to, "--own"), ((*to, "--own", "198.51.100.7/24"), "198.51.100.0/24 meant"),
                            ((*to, "--own", "none", "--name", "x y"), "--name"), (("--to", "x:y", "--own", "none"), "--to"),
                            ((*to, "--own", "none", "--from", "all"), "--from"),
                            ((*to, "--own", "none", "--expire", "forever"), "--expire"),
                            ((*to, "--own", "none", "--limit-of", "import=0"), "--limit-of")):
            code, _, error = self.run_it(*given)
            self.assertEqual(code, 2, error)
            self.assertIn(word, error)
        code, _, error = self.run_it(*to, "--own", "none", "--allow", "/nowhere")
        self.assertEqual(code, 1, error)
        self.assertFalse(path.exists())


if __name__ == "__main__":
    unittest.main()
