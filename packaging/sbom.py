"""A software bill of materials, CycloneDX 1.5: what is linked into the program, by cargo and Cargo.lock.

cargo-cyclonedx does that, too, but takes minutes to build and writes another serial number each time."""

import json
import subprocess
import tomllib
import uuid
from datetime import datetime, timezone
from typing import NamedTuple


def asked(root: str, *command: str) -> str:
    return subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE, text=True).stdout


class Known(NamedTuple):
    """What cargo knows of a program's packages for a target, by name and version."""

    packages: dict[tuple[str, str], dict]
    depends: dict[tuple[str, str], list[tuple[str, str]]]


def known(root: str, cargo: str, name: str, target: str) -> Known:
    """The packages that are linked into the program `name`: no tools of tests, none that only run while it is built.

    `cargo tree` says which; `cargo metadata` alone would add what features of other programs of the workspace need."""
    tree = asked(root, cargo, "tree", "--locked", "--package", name, "--edges", "normal,no-proc-macro", "--prefix", "none",
                 "--target", target, "--format", "{p}")
    linked = {(words[0], words[1].removeprefix("v")) for words in map(str.split, tree.splitlines())}
    metadata = json.loads(asked(root, cargo, "metadata", "--format-version", "1", "--locked", "--filter-platform", target))
    by_id = {package["id"]: package for package in metadata["packages"]}
    key = lambda package: (by_id[package]["name"], by_id[package]["version"])
    nodes = {key(node["id"]): node for node in metadata["resolve"]["nodes"]}
    return Known(
        packages={key(package): by_id[package] for package in by_id if key(package) in linked},
        depends={one: sorted({key(dep["pkg"]) for dep in nodes[one]["deps"]
                              if any(kind["kind"] is None for kind in dep["dep_kinds"])} & linked) for one in linked})


def component(package: dict, checksums: dict[tuple[str, str], str]) -> dict:
    name, version = package["name"], package["version"]
    made = {"type": "library", "bom-ref": f"pkg:cargo/{name}@{version}", "name": name, "version": version,
            "purl": f"pkg:cargo/{name}@{version}"}
    if package.get("license"):
        # Before SPDX expressions cargo had a slash.
        made["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    if (name, version) in checksums:
        made["hashes"] = [{"alg": "SHA-256", "content": checksums[name, version]}]
    return made


def document(found: Known, lock: str, name: str, version: str, epoch: int) -> bytes:
    """The bill for the program `name`. Its serial number follows from what it lists."""
    locked = tomllib.loads(lock)["package"]
    checksums = {(one["name"], one["version"]): one["checksum"] for one in locked if "checksum" in one}
    ref = "pkg:cargo/{0[0]}@{0[1]}".format
    own = next(one for one in found.packages if one[0] == name)
    program = component(found.packages[own], {}) | {"type": "application", "version": version}
    parts = [component(package, checksums) for one, package in sorted(found.packages.items()) if one != own]
    graph = [{"ref": ref(one), "dependsOn": [ref(dep) for dep in deps]} for one, deps in sorted(found.depends.items())]
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps([program, parts, graph], sort_keys=True))
    made = {"bomFormat": "CycloneDX", "specVersion": "1.5", "serialNumber": f"urn:uuid:{serial}", "version": 1,
            "metadata": {"timestamp": datetime.fromtimestamp(epoch, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
                         "component": program},
            "components": parts, "dependencies": graph}
    return json.dumps(made, indent=1).encode() + b"\n"
