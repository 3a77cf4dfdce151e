#!/usr/bin/env python3
"""Makes what is given away: tarball, Debian package, image, bill of materials and their sums. `make dist` builds the
program first. Equal inputs give equal bytes."""

import argparse
import gzip
import hashlib
import os
import pathlib
import subprocess
import sys
import tempfile
import tomllib
from email.utils import formatdate

import deb
import oci
import sbom
from tree import Tree

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
LICENCES = ("LICENSE-MIT", "LICENSE-APACHE")
DEFAULT_PRESET = b'#preset = "watch"\n'
# What the example says of defaults is true of `watch`.
PRESET_NOTE = b"""\
# preset = "edge", further down, is in force: of capture, metrics, output and state the lines with # show what is so
# without it. `synledger run --dry-run` shows what is in force.
#
"""


def epoch_of(root: pathlib.Path) -> int:
    """Every time in the archives: SOURCE_DATE_EPOCH, or the time of the last commit."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given is None:
        log = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=root, stdout=subprocess.PIPE, text=True, check=False)
        given = log.stdout.strip()
    if not given.isdecimal():
        sys.exit(f"dist: SOURCE_DATE_EPOCH={given!r}: must be seconds since 1970; without git it must be set")
    return int(given)


def stripped(program: pathlib.Path) -> tuple[bytes, bytes]:
    """The program without symbols, and the file that debuggers take them from."""
    with tempfile.TemporaryDirectory() as folder:
        debug, bare = pathlib.Path(folder, "synledger.debug"), pathlib.Path(folder, "synledger")
        subprocess.run(["objcopy", "--only-keep-debug", program, debug], check=True)
        subprocess.run(["objcopy", "--strip-all", f"--add-gnu-debuglink={debug}", program, bare], check=True)
        return bare.read_bytes(), debug.read_bytes()


def configuration(example: bytes) -> bytes:
    """/etc/synledger/synledger.toml: the example with the preset of a service."""
    if example.count(DEFAULT_PRESET) != 1:
        sys.exit(f"dist: synledger.toml: no line {DEFAULT_PRESET.decode().strip()}: take that of `make man`")
    return PRESET_NOTE + example.replace(DEFAULT_PRESET, b'preset = "edge"\n')


def completions(tree: Tree, man: pathlib.Path, share: str, zsh: str) -> None:
    tree.file(f"{share}/bash-completion/completions/synledger", (man / "synledger.bash").read_bytes())
    tree.file(f"{share}/zsh/{zsh}/_synledger", (man / "_synledger").read_bytes())
    tree.file(f"{share}/fish/vendor_completions.d/synledger.fish", (man / "synledger.fish").read_bytes())


def pages(man: pathlib.Path) -> dict[str, bytes]:
    found = {path.name: path.read_bytes() for path in sorted(man.glob("synledger*.[0-9]"))}
    if not found:
        sys.exit(f"dist: {man}: no manual pages: run `make man` first")
    return found


def for_debian(program: bytes, man: pathlib.Path, bill: bytes, version: str, epoch: int) -> Tree:
    """What the Debian package installs."""
    tree = Tree(epoch)
    tree.file("usr/bin/synledger", program, 0o755)
    for name, text in pages(man).items():
        tree.gzipped(f"usr/share/man/man{name[-1]}/{name}", text)
    completions(tree, man, "usr/share", "vendor-completions")
    systemd = HERE / "systemd"
    tree.file("usr/lib/systemd/system/synledger.service", (systemd / "synledger.service").read_bytes())
    tree.file("usr/lib/sysusers.d/synledger.conf", (systemd / "sysusers.conf").read_bytes())
    tree.file("usr/lib/tmpfiles.d/synledger.conf", (systemd / "tmpfiles.conf").read_bytes())
    tree.file("etc/synledger/synledger.toml", configuration((man / "synledger.toml").read_bytes()))
    doc = "usr/share/doc/synledger"
    tree.file(f"{doc}/examples/block.conf", (systemd / "block.conf").read_bytes())
    for name in ("rules.yml", "dashboard.json"):
        tree.file(f"{doc}/examples/{name}", (HERE / "monitoring" / name).read_bytes())
    tree.gzipped(f"{doc}/sbom.cdx.json", bill)
    changes = f"synledger ({version}) stable; urgency=medium\n\n  * CHANGELOG.md of the source says what changed.\n\n" \
              f" -- {deb.MAINTAINER}  {formatdate(epoch)}\n"
    tree.gzipped(f"{doc}/changelog", changes.encode())
    mit = "".join(f" {line}\n" if line else " .\n" for line in (ROOT / "LICENSE-MIT").read_text().rstrip().splitlines())
    tree.file(f"{doc}/copyright", (HERE / "debian/copyright").read_text().replace("@MIT@\n", mit).encode())
    tree.file("usr/share/lintian/overrides/synledger", (HERE / "debian/lintian-overrides").read_bytes())
    return tree


def for_any(program: bytes, man: pathlib.Path, bill: bytes, epoch: int) -> Tree:
    """What the tarball holds: the layout of /usr/local, and what a service needs."""
    tree = Tree(epoch)
    tree.file("bin/synledger", program, 0o755)
    for name, text in pages(man).items():
        tree.file(f"share/man/man{name[-1]}/{name}", text)
    completions(tree, man, "share", "site-functions")
    for name in ("synledger.service", "block.conf", "sysusers.conf", "tmpfiles.conf"):
        tree.file(f"systemd/{name}", (HERE / "systemd" / name).read_bytes())
    tree.file("synledger.toml", configuration((man / "synledger.toml").read_bytes()))
    tree.file("sbom.cdx.json", bill)
    for name in (*LICENCES, "README.md", "CHANGELOG.md"):
        tree.file(name, (ROOT / name).read_bytes())
    tree.file("INSTALL.md", (HERE / "README.md").read_bytes())
    for path in (path for folder in ("ansible", "cloud", "monitoring") for path in (HERE / folder).rglob("*")):
        inside = path.relative_to(HERE)
        # Hidden: what linters leave.
        if path.is_file() and not any(part.startswith(".") for part in inside.parts):
            tree.file(str(inside), path.read_bytes(), 0o755 if path.read_bytes()[:2] == b"#!" else 0o644)
    return tree


def main() -> None:
    workspace = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", type=pathlib.Path, required=True, help="the static program")
    parser.add_argument("--man", type=pathlib.Path, required=True, help="folder that `make man` wrote")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder for the results")
    parser.add_argument("--target", required=True, help="the program's target of Rust, such as x86_64-unknown-linux-musl")
    parser.add_argument("--version", default=workspace["version"], help="default: that of Cargo.toml")
    args = parser.parse_args()
    machine = args.target.split("-")[0]
    if machine not in deb.ARCHITECTURES:
        sys.exit(f"dist: --target {args.target}: must begin with one of {', '.join(deb.ARCHITECTURES)}")
    epoch = epoch_of(ROOT)
    program, debug = stripped(args.program)
    known = sbom.known(str(ROOT), os.environ.get("CARGO", "cargo"), "synledger", args.target)
    bill = sbom.document(known, (ROOT / "Cargo.lock").read_text(), "synledger", args.version, epoch)
    name = f"synledger-{args.version}-{machine}-linux"
    architecture = deb.ARCHITECTURES[machine]
    licences = {licence: (ROOT / licence).read_bytes() for licence in LICENCES} | {"sbom.cdx.json": bill}
    tarball = for_any(program, args.man, bill, epoch).tar(f"{name}/")
    package = deb.package(for_debian(program, args.man, bill, args.version, epoch), args.version, architecture)
    made = {
        f"{name}.tar.gz": gzip.compress(tarball, 9, mtime=0),
        f"{name}.debug": debug,
        f"synledger_{args.version}_{architecture}.deb": package,
        f"{name}.oci.tar": oci.image(oci.root(epoch, program, licences), args.version, machine),
        f"synledger-{args.version}.cdx.json": bill,
    }
    made["SHA256SUMS"] = "".join(
        f"{hashlib.sha256(data).hexdigest()}  {file}\n" for file, data in sorted(made.items())).encode()
    args.out.mkdir(parents=True, exist_ok=True)
    for file, data in made.items():
        (args.out / file).write_bytes(data)
        print(f"dist: {args.out / file}: {len(data)} bytes")


if __name__ == "__main__":
    main()
