#!/usr/bin/env python3
"""Validates EVE records of every kind against eve_schema.json, our restatement of Suricata's EVE schema, and their member
`synledger` against synledger_schema.json.

For the former the member `synledger` is removed first, and an event type of ours is replaced by `flow`: such a record may have only
members of a `flow` record. Records come from captures, and from a sensor that watches lo in a network namespace
of its own. `--suricata FILE`: Suricata's own etc/schema.json, which no package has; records are validated against
it too, and eve_schema.json must allow nothing that it forbids.

Exit status: 0 all valid (or nothing to validate: `skipped: why`), 1 not.
"""

import argparse
import collections
import concurrent.futures
import copy
import importlib.util
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import extract

SCHEMA = pathlib.Path(__file__).with_suffix(".json")
OWN_SCHEMA = SCHEMA.with_name("synledger_schema.json")
EVENTS = "events=connection+alert+flow+stats+lifecycle+block"
OURS = {"new_connection", "new_connections", "lifecycle", "block"}
SURICATAS = {"alert", "flow", "stats"}
# Kinds of detection, each with the protocol of its alerts, and the phases that every kind has.
DETECTIONS = {
    "port_scan": "TCP",
    "host_sweep": "TCP",
    "stealth_scan": "TCP",
    "udp_scan": "UDP",
    "slow_scan": "TCP",
    "distributed_scan": "TCP",
    "syn_flood": "TCP",
    "rst_flood": "TCP",
    "udp_flood": "UDP",
    "icmp_flood": "ICMP",
}
PHASES = ("started", "ended")
# Those that accuse no source: their alerts have no `src_ip`.
SOURCELESS = {"distributed_scan"} | {kind for kind in DETECTIONS if kind.endswith("_flood")}
# Keywords of a schema that constrain nothing.
NOTES = {"$comment", "$defs", "description", "suricata", "title"}
# What the live run must show: outcomes of blocks, and lifecycle records before its stop.
ACTIONS = {"blocked", "refused", "ended"}
EVENTS_OF_A_RUN = {"start", "reload"}
PATIENCE_S = 20
SHOWN = 20


def without_ours(record):
    """The record without `synledger`, and with `flow` for an event type of ours."""
    rest = {name: value for name, value in record.items() if name != "synledger"}
    if rest.get("event_type") in OURS:
        rest["event_type"] = "flow"
    return rest


def looser(ours, theirs, root, at="record"):
    """Lines for what our schema allows and theirs forbids."""
    while "$ref" in theirs:
        place = root
        for step in theirs["$ref"].removeprefix("#/").split("/"):
            place = place[step]
        theirs = place | {name: theirs[name] for name in theirs if name != "$ref"}
    members, known = ours.get("properties", {}), theirs.get("properties", {})
    for name, member in members.items():
        if name in known:
            yield from looser(member, known[name], root, f"{at}.{name}")
        elif theirs.get("additionalProperties") is False:
            yield f"{at}.{name}: Suricata has no such member"
    for word, value in theirs.items():
        own = ours.get(word)
        if word == "items":
            yield from looser(ours.get("items", {}), value, root, f"{at}[]")
        elif word == "required":
            yield from (f"{at}.{name}: required" for name in value if name not in (own or []))
        elif word not in NOTES | {"properties"} and own != value and (own, value) != ("integer", "number"):
            yield f"{at}: {word}: ours has {own}, Suricata's {value}"


def paths_in(value, path=()):
    """The paths of all members of a record."""
    if isinstance(value, dict):
        for name, member in value.items():
            yield (*path, name)
            yield from paths_in(member, (*path, name))


def members_of(schema, path=()):
    """The paths of all members that a schema names."""
    for name, member in schema.get("properties", {}).items():
        yield (*path, name)
        yield from members_of(member, (*path, name))


def planted(record):
    """(what, copy) for each fault, planted in a copy of a valid record: a wrong type in every member, an unknown member
    in every object, each required member missing."""
    objects = [()]
    for path in list(paths_in(record)):
        fault = copy.deepcopy(record)
        *above, name = path
        place = fault
        for step in above:
            place = place[step]
        if isinstance(place[name], dict):
            objects.append(path)
        place[name] = 7 if isinstance(place[name], str) else "7"
        yield f"{'.'.join(path)} of a wrong type", fault
    for path in objects:
        fault = copy.deepcopy(record)
        place = fault
        for step in path:
            place = place[step]
        place["scan"] = {}
        yield f"{'.'.join((*path, 'scan'))}, which is unknown", fault
    for name in ("timestamp", "event_type"):
        yield f"no {name}", {key: value for key, value in record.items() if key != name}


class Judge:
    """Validates records, and counts what it saw."""

    def __init__(self, schemas):
        import jsonschema

        self.validators = {}
        for name, schema in schemas.items():
            validator = jsonschema.validators.validator_for(schema, jsonschema.Draft202012Validator)
            validator.check_schema(schema)
            self.validators[name] = validator(schema)
        # By event type, for the member `synledger`.
        own = json.loads(OWN_SCHEMA.read_text(encoding="utf-8"))
        self.own = {}
        for kind in sorted(OURS | SURICATAS):
            schema = {"$defs": own["$defs"], "$ref": f"#/$defs/{kind}"}
            jsonschema.Draft202012Validator.check_schema(schema)
            self.own[kind] = jsonschema.Draft202012Validator(schema)
        self.own_examples = {}
        self.kinds = collections.Counter()
        self.detections = collections.Counter()
        self.members = set()
        self.examples = {}
        self.lines = collections.Counter()

    def record(self, source, record, crafted=False):
        """Validates one record; a fault is reported once for each kind and place."""
        kind = record.get("event_type")
        if kind not in OURS | SURICATAS:
            self.lines[f"{kind}: no event type of ours or Suricata's (first in {source})"] += 1
        rest = without_ours(record)
        self.kinds[kind] += 1
        if kind == "alert":
            self.detection(record, crafted)
        self.members.update(paths_in(rest))
        good = True
        for name, validator in self.validators.items():
            for error in validator.iter_errors(rest):
                good = False
                where = ".".join(map(str, error.absolute_path)) or "record"
                self.lines[f"{kind}: {where}: {error.message[:120]} ({name})"] += 1
        if kind in self.own:
            good &= self.own_member(kind, record.get("synledger"))
        # The record with the most members is mutated later.
        if good and len(rest) > len(self.examples.get(kind, ())):
            self.examples[kind] = rest

    def own_member(self, kind, member):
        """Validates the member `synledger`; false if it is wrong."""
        faults = list(self.own[kind].iter_errors(member))
        for error in faults:
            where = ".".join(map(str, ("synledger", *error.absolute_path)))
            self.lines[f"{kind}: {where}: {error.message[:120]} ({OWN_SCHEMA.name})"] += 1
        if not faults and len(member) > len(self.own_examples.get(kind, ())):
            self.own_examples[kind] = member
        return not faults

    def detection(self, record, crafted):
        """Counts an alert of crafted captures by kind and phase, and checks what the schema leaves open: protocol and source."""
        scan = record["synledger"]["scan"]
        kind = scan["kind"]
        self.detections[kind, scan["phase"]] += crafted
        if record.get("proto") != DETECTIONS.get(kind):
            self.lines[f"alert: {kind}: proto {record.get('proto')}"] += 1
        if ("src_ip" in record) == (kind in SOURCELESS):
            self.lines[f"alert: {kind}: {'a' if 'src_ip' in record else 'no'} src_ip"] += 1

    def plant(self):
        """Plants every fault in a record of each kind and returns their number; a fault that validates is a difference.
        Only our schema is checked: Suricata's leaves some objects open."""
        faults, (validator, *_) = 0, self.validators.values()
        for kind, record in sorted(self.examples.items()):
            for what, fault in planted(record):
                if validator.is_valid(fault):
                    self.lines[f"{kind}: a planted fault was not found: {what}"] += 1
                faults += 1
        for kind, member in sorted(self.own_examples.items()):
            for what, fault in self.planted_in_own(kind, member):
                if self.own[kind].is_valid(fault):
                    self.lines[f"{kind}: a planted fault was not found: synledger: {what}"] += 1
                faults += 1
        return faults

    def planted_in_own(self, kind, member):
        """(what, copy) for each fault in a copy of a member `synledger`: a wrong type in every member at any depth, a missing
        one that it requires, an unknown one in it, and in its object where it is one object alone."""
        schema = self.own[kind].schema["$defs"][kind]
        for path in list(paths_in(member)):
            fault = copy.deepcopy(member)
            *above, name = path
            place = fault
            for step in above:
                place = place[step]
            place[name] = [[7]]
            yield f"{'.'.join(path)} of a wrong type", fault
        for name in schema["required"]:
            yield f"no {name}", {other: value for other, value in member.items() if other != name}
        yield "unknown, which is unknown", member | {"unknown": 7}
        if kind in ("alert", "block", "new_connections"):
            (name,) = schema["required"]
            yield f"{name}.unknown, which is unknown", member | {name: member[name] | {"unknown": 7}}
            for part in schema["properties"][name].get("required", []):
                rest = {other: value for other, value in member[name].items() if other != part}
                yield f"no {name}.{part}", member | {name: rest}


def read(binary, path, *flags):
    """The EVE records of one capture."""
    command = [binary, "read", "-q", "--workers", "1", "--sweep-hosts", "5", *flags]
    command += ["--output", f"eve:-,{EVENTS}", str(path)]
    done = subprocess.run(command, capture_output=True, check=False, timeout=120)
    if done.returncode not in (0, 1):
        raise ValueError(f"exit status {done.returncode}: {done.stderr.decode('utf-8', 'replace')}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def from_captures(judge, args):
    """Validates the records of all captures. Returns the number of files, and whether both folders have captures."""
    runs, whole, files = [], True, set()
    folders = [("corpus", args.corpus, [()])]
    folders += [("crafted", folder, [(), ("--fold=1",)]) for folder in args.crafted or [None]]
    for what, folder, ways in folders:
        paths = extract.captures_under([folder]) if folder is not None and folder.is_dir() else []
        if not paths:
            print(f"skipped: EVE schema: no {what} captures at {folder}")
            whole = False
        files.update(paths)
        runs += [(path, flags, what == "crafted") for path in paths for flags in ways]
    binary = str(args.binary.resolve())
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        # In pieces, so that few logs are in memory.
        for start in range(0, len(runs), 64):
            piece = runs[start : start + 64]
            for (path, _, crafted), records in zip(piece, pool.map(lambda run: read(binary, run[0], *run[1]), piece)):
                for record in records:
                    judge.record(path.name, record, crafted)
    return len(files), whole


def wait_for(log, kinds):
    """Waits until the log has a record of each of these kinds."""
    end = time.monotonic() + PATIENCE_S
    missing = kinds
    while missing:
        if time.monotonic() > end:
            raise TimeoutError(f"no {', '.join(sorted(missing))} within {PATIENCE_S} s")
        time.sleep(0.05)
        text = log.read_text(encoding="utf-8") if log.is_file() else ""
        missing = {kind for kind in kinds if f'"event_type":"{kind}"' not in text}


def wait_for_words(log, words):
    """Waits until the log has each of these values of a member."""
    end = time.monotonic() + PATIENCE_S
    while missing := {word for word in words if f':"{word}"' not in log.read_text(encoding="utf-8")}:
        if time.monotonic() > end:
            raise TimeoutError(f"no {', '.join(sorted(missing))} within {PATIENCE_S} s")
        time.sleep(0.05)


def connect(port, times):
    """Connects to a port of lo, open or not."""
    for _ in range(times):
        with socket.socket() as client:
            client.connect_ex(("127.0.0.1", port))


def watch_lo(binary, log):
    """Inside the namespace: a sensor on lo that has a record of each kind to write."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    command = [binary, "run", "--no-config", "-i", "lo", "--workers", "1", "--ring-mib", "8", "--memory-mib", "128", "-q"]
    command += ["--fold", "3", "--scan-scope", "all", "--stats-interval", "1", "--output", f"eve:{log},{EVENTS}"]
    # Whoever scans here is this host: the record is a refusal.
    command += ["--block", "dry-run", "--block-on", "policy", "--status-socket", f"{log}.sock"]
    sensor = subprocess.Popen(command)
    try:
        wait_for(log, {"lifecycle"})
        with socket.create_server(("127.0.0.1", 9000), backlog=64):
            connect(9000, 30)
        for port in range(1, 20):
            connect(port, 1)
        wait_for(log, {"new_connection", "new_connections", "alert", "stats", "block"})
        # The other outcomes of a block, by hand; and a reload.
        for words in (["add", "192.0.2.9", "2001:db8::/64", "--for", "1h", "--reason", "noisy"], ["del", "192.0.2.9"]):
            subprocess.run([binary, "block", *words, "--socket", f"{log}.sock"], check=True, stdout=subprocess.DEVNULL)
        sensor.send_signal(signal.SIGHUP)
        wait_for_words(log, ACTIONS | EVENTS_OF_A_RUN)
        sensor.terminate()
        return sensor.wait(PATIENCE_S)
    finally:
        sensor.kill()


def from_live(judge, args):
    """Validates the records of a live run; false if there can be none."""
    space = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--net"]
    for program in ("unshare", "ip"):
        if shutil.which(program) is None:
            print(f"skipped: EVE schema: records of a live run: {program} is not installed")
            return False
    tried = subprocess.run([*space, "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        print(f"skipped: EVE schema: records of a live run: no network namespace: {tried.stderr.strip()}")
        return False
    with tempfile.TemporaryDirectory() as folder:
        log = pathlib.Path(folder, "eve.json")
        command = [*space, sys.executable, __file__, "--binary", str(args.binary.resolve()), "--watch-lo", str(log)]
        done = subprocess.run(command, check=False)
        if done.returncode != 0:
            judge.lines[f"live: exit status {done.returncode}"] += 1
        lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
    seen = set()
    for record in map(json.loads, lines):
        seen.add(record.get("event_type"))
        judge.record("live", record)
        block = record.get("synledger", {}).get("block", {})
        seen |= {block.get("action"), record.get("synledger", {}).get("event")}
    for word in sorted((ACTIONS | EVENTS_OF_A_RUN | {"stop"}) - seen):
        judge.lines[f"live: no record with {word}"] += 1
    for kind in sorted((OURS | SURICATAS) - seen):
        judge.lines[f"live: no record of kind {kind}"] += 1
    return True


def arguments(words):
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/synledger", type=pathlib.Path)
    parser.add_argument("--corpus", type=pathlib.Path, metavar="DIR", help="real captures")
    parser.add_argument("--crafted", type=pathlib.Path, nargs="+", metavar="DIR", help="crafted captures, all families")
    parser.add_argument("--suricata", type=pathlib.Path, metavar="FILE", help="Suricata's etc/schema.json")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="files at a time (2)")
    parser.add_argument("--watch-lo", type=pathlib.Path, metavar="LOG", help=argparse.SUPPRESS)
    return parser.parse_args(words)


def main(words=None):
    args = arguments(words)
    if args.watch_lo is not None:
        return watch_lo(str(args.binary), args.watch_lo)
    if importlib.util.find_spec("jsonschema") is None:
        print("skipped: EVE schema: jsonschema is not installed for this python3 (Debian: python3-jsonschema)")
        return 0
    if shutil.which(str(args.binary.absolute())) is None:
        print(f"eve_schema: no program at {args.binary} (--binary)", file=sys.stderr)
        return 1
    if args.suricata is not None and not args.suricata.is_file():
        print(f"eve_schema: no file {args.suricata} (--suricata)", file=sys.stderr)
        return 1
    ours = json.loads(SCHEMA.read_text(encoding="utf-8"))
    schemas, allowed = {SCHEMA.name: ours}, []
    if args.suricata is not None:
        theirs = json.loads(args.suricata.read_text(encoding="utf-8"))
        schemas["Suricata's"] = theirs
        allowed = looser(ours, theirs, theirs)
    judge = Judge(schemas)
    judge.lines.update(allowed)
    files, captures = from_captures(judge, args)
    live = from_live(judge, args)
    wanted = OURS | SURICATAS if live else OURS | SURICATAS - {"lifecycle", "block"}
    if not files and not live:
        return 0
    for kind in sorted(wanted - judge.kinds.keys()):
        judge.lines[f"no record of kind {kind} seen"] += 1
    if captures:
        for kind, phase in sorted((kind, phase) for kind in DETECTIONS for phase in PHASES):
            if not judge.detections[kind, phase]:
                judge.lines[f"no alert of kind {kind}, phase {phase} seen in crafted captures"] += 1
    if captures and live:
        for path in sorted(set(members_of(ours)) - judge.members):
            judge.lines[f"{'.'.join(path)}: in {SCHEMA.name}, but in no record"] += 1
    faults = judge.plant()
    for line, times in list(judge.lines.items())[:SHOWN]:
        print(f"differs: {line} ({times} times)")
    kinds = " ".join(f"{kind}={count}" for kind, count in sorted(judge.kinds.items(), key=str))
    print("detections: " + " ".join(f"{kind}={sum(judge.detections[kind, phase] for phase in PHASES)}" for kind in DETECTIONS))
    print(f"schema: files={files} live={int(live)} {kinds} planted={faults} differing={len(judge.lines)}")
    return 1 if judge.lines else 0


if __name__ == "__main__":
    sys.exit(main())
