"""Programs that detect scans: whom each reports in one capture.

A program has rows in the tables: the sensor one, Suricata one for each set of rules, psad one for each firewall.
"""

import dataclasses
import ipaddress
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import firewall

TIMEOUT_S = 300
# From weak to strong.
VERDICTS = ("unproven", "suspicious", "scan")
# Kinds of which the sensor's record has the destination of the deciding packet alone.
OF_SOURCE = ("host_sweep", "slow_scan")


@dataclasses.dataclass(frozen=True)
class Alert:
    """Whom a program reports. `source`: an address, a network (`2001:db8::/64`), or None for many; `destinations`
    None: it names none, or only that of a packet."""

    source: str | None
    destinations: frozenset | None = None
    verdict: str | None = None


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of the tables: its name, and what it is of."""

    name: str
    words: str
    has_verdicts: bool = False


class Failed(Exception):
    """A program ended with an error, or says what cannot be read."""


def address(text):
    """One spelling for each address."""
    return str(ipaddress.ip_address(text))


def run(command, **more):
    """Runs a command; Failed where its exit status is not 0."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, check=False, timeout=TIMEOUT_S, text=True, errors="replace",
                          **more)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise Failed(f"{words[0]}: exit status {done.returncode}: {last}")
    return done


class Synledger:
    """The sensor, with its defaults."""

    needs_root = False

    def __init__(self, binary, _folder):
        self.binary = binary
        self.version = run([binary, "--version"]).stdout.split()[1]
        self.rows = [Row("synledger", f"synledger {self.version}, `read`, its defaults", has_verdicts=True)]

    def alerts(self, path, _rows):
        """One list of alerts, in a list."""
        done = run([self.binary, "read", "-q", "--output", "eve:-,events=alert", path])
        return [from_sensor(done.stdout)]


def from_sensor(text):
    """Alerts of the sensor's EVE records."""
    out = []
    for event in map(json.loads, text.splitlines()):
        if event["event_type"] != "alert":
            continue
        scan, source, destination = event["synledger"]["scan"], event.get("src_ip"), event.get("dest_ip")
        if source is not None:
            source = address(source) + (f"/{scan['src_prefix']}" if "src_prefix" in scan else "")
        pair = destination is not None and scan["kind"] not in OF_SOURCE
        out.append(Alert(source, frozenset([address(destination)]) if pair else None, scan.get("verdict")))
    return out


SYN = "alert tcp any any -> any any (flags:S,12;"
# One alert a source and minute for each: they are of single packets.
ODD = [f"alert tcp any any -> any any (flags:{flags}; threshold: type limit, track by_src, count 1, seconds 60;"
       for flags in ("0", "F,12", "FPU,12")]
# What rows of the table have: the first rule of each that this version takes, and rules beside it.
SURICATA_RULES = (
    ([f"{SYN} detection_filter: track by_both, count 3, seconds 60, unique_on dst_port;",
      f"{SYN} detection_filter: track by_both, count 3, seconds 60;",
      f"{SYN} detection_filter: track by_src, count 3, seconds 60;"], []),
    ([f"{SYN} threshold: type both, track by_src, count 5, seconds 120;"], ODD),
    ([f"{SYN} threshold: type both, track by_src, count 30, seconds 60;"], ODD),
)
SURICATA_SETTINGS = """%YAML 1.1
---
outputs:
  - eve-log:
      enabled: yes
      filetype: regular
      filename: eve.json
      types:
        - alert
stats:
  enabled: no
logging:
  default-log-level: notice
  outputs:
    - console:
        enabled: yes
unix-command:
  enabled: no
"""


def shown(rule):
    """A rule about SYNs, as the legend shows it."""
    return rule.removeprefix(SYN).strip(" ;")


class Suricata:
    """Suricata from a file, with the rules above and no others."""

    needs_root = False

    def __init__(self, binary, folder):
        self.binary, self.folder = binary, folder
        self.version = re.search(r"version (\S+)", run([binary, "-V"]).stdout)[1]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "suricata.yaml").write_text(SURICATA_SETTINGS)
        # What it says of rules that it does not take.
        self.refused, self.rows, self.rules = [], [], []
        for row, (rules, beside) in enumerate(SURICATA_RULES):
            rule = self.first_taken(rules)
            self.rules += [(row, one) for one in [rule, *beside]]
            more = "; NULL, FIN and XMAS by `flags`, one packet each" if beside else ""
            self.rows.append(Row(f"Suricata {'abc'[row]}", f"Suricata {self.version}, `{shown(rule)}`{more}"))
        with_sids = [f"{rule} sid:{sid};)\n" for sid, (_, rule) in enumerate(self.rules, 1)]
        (folder / "peers.rules").write_text("".join(with_sids))

    def command(self, *words):
        """Its command line: checksums are not checked, as in the sensor."""
        return [self.binary, "-c", self.folder / "suricata.yaml", "-k", "none", "-l", self.folder, *words]

    def first_taken(self, rules):
        """The first of these rules that it takes."""
        one = self.folder / "one.rules"
        for rule in rules:
            one.write_text(f"{rule} sid:1;)\n")
            done = subprocess.run(self.command("-T", "-S", one), capture_output=True, check=False,
                                  timeout=TIMEOUT_S, text=True)
            if done.returncode == 0:
                return rule
            said = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("E: ")]
            self.refused.append((shown(rule), said[0] if said else "no message"))
        raise Failed(f"{self.binary}: takes none of {rules}")

    def alerts(self, path, _rows):
        """A list of alerts for each row."""
        log = self.folder / "eve.json"
        log.unlink(missing_ok=True)
        done = run(self.command("-S", self.folder / "peers.rules", "--runmode", "single", "-r", path))
        if re.search(r"^E: ", done.stdout + done.stderr, re.MULTILINE):
            raise Failed(f"{path.name}: {done.stdout}{done.stderr}")
        return from_suricata(log.read_text() if log.exists() else "", [row for row, _ in self.rules],
                             len(self.rows))


def from_suricata(text, row_of_rule, rows):
    """Alerts of its EVE records for each row. Its destination is that of one packet: the rules count by source."""
    out = [[] for _ in range(rows)]
    for event in map(json.loads, text.splitlines()):
        if event.get("event_type") == "alert":
            row = row_of_rule[event["alert"]["signature_id"] - 1]
            out[row].append(Alert(address(event["src_ip"])))
    return out


class Psad:
    """psad on lines that a firewall logs, with its defaults: `psad -A -m FILE`. Needs root.

    This mode takes no notice of time: all packets of a file count. A psad that runs forgets a source after an hour."""

    needs_root = True
    FIREWALLS = (
        (False, "every packet that opens a connection or belongs to none is logged"),
        (True, "the same, but for what opens a connection to a port that answers anywhere in the capture"),
    )

    def __init__(self, binary, folder, settings=pathlib.Path("/etc/psad/psad.conf")):
        self.binary, self.folder = binary, folder
        text = settings.read_text()
        for name in ("PSAD_DIR", "PSAD_RUN_DIR", "PSAD_FIFO_DIR"):
            (folder / name).mkdir(parents=True, exist_ok=True)
            text = re.sub(rf"^{name} .*$", f"{name} {folder.resolve() / name};", text, flags=re.MULTILINE)
        text = re.sub(r"^HOSTNAME .*$", "HOSTNAME sensor;", text, flags=re.MULTILINE)
        (folder / "psad.conf").write_text(text)
        said = run([binary, "-c", folder / "psad.conf", "--Version"]).stdout
        self.version = re.search(r"psad v?(\d[\d.]*)", said)[1]
        self.rows = [Row(f"psad {letter}", f"psad {self.version}, `psad -A` on a firewall's log: {words}")
                     for letter, (_, words) in zip("ab", self.FIREWALLS)]

    def alerts(self, _path, rows):
        """A list of alerts for each row; `rows` are those of the extract."""
        out = []
        for knows_services, _ in self.FIREWALLS:
            lines = [firewall.line(row) for row in firewall.logged(rows, knows_services)]
            log = self.folder / "messages"
            log.write_text("".join(f"{line}\n" for line in lines))
            if not lines:
                out.append([])
                continue
            done = run([self.binary, "-A", "-c", self.folder / "psad.conf", "-m", log])
            out.append(from_psad(done.stdout, len(lines)))
        return out


def from_psad(text, lines):
    """Alerts of its report: sources of danger level 1 to 5, with all their destinations. Failed unless it read so
    many lines."""
    read = re.search(r"Found (\d+) iptables log messages out of (\d+) total lines", text)
    if read is None or read[1] != str(lines) or read[2] != str(lines):
        raise Failed(f"psad: {read[0] if read else 'no count of lines'}, of {lines} written")
    found = []
    for line in text.splitlines():
        source = re.match(r"SRC: +(\S+).*, DL: (\d+)", line)
        destination = re.match(r" +DST: +(\S+)", line)
        if source:
            found.append((address(source[1]), int(source[2]), set()))
        elif destination and found:
            found[-1][2].add(address(destination[1]))
    counted = sum(int(n) for n in re.findall(r"^ +Level [1-5]: (\d+) IP addresses", text, re.MULTILINE))
    out = [Alert(source, frozenset(to)) for source, level, to in found if level >= 1]
    if counted != len(out):
        raise Failed(f"psad: {counted} sources with a danger level, {len(out)} of them in its report")
    return out


def installed(args):
    """The programs that are here; prints `skipped: why` for one that is not."""
    out = []
    for name, kind in (("synledger", Synledger), ("suricata", Suricata), ("psad", Psad)):
        binary = shutil.which(str(args.binary.absolute())) if name == "synledger" else shutil.which(name)
        if binary is None:
            print(f"skipped: {name}: it is not installed", file=sys.stderr)
        elif kind.needs_root and os.geteuid() != 0:
            print(f"skipped: {name}: it runs only as root", file=sys.stderr)
        else:
            out.append(kind(binary, args.work / name))
    return out
