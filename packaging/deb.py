"""A Debian package: an ar(1) archive of two tar archives. Made here, so that it needs no Debian and no clock."""

import gzip
import hashlib
import pathlib

from tree import Tree

HERE = pathlib.Path(__file__).resolve().parent
SCRIPTS = ("postinst", "prerm", "postrm")
MAINTAINER = "synledger maintainers <maintainers@synledger.invalid>"
# Names of Debian's architectures by the first part of a target of Rust.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def member(name: str, data: bytes, epoch: int) -> bytes:
    """A member of an ar archive, at an even offset."""
    header = f"{name:<16}{epoch:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n"
    return header.encode() + data + b"\n" * (len(data) % 2)


def control(tree: Tree, version: str, architecture: str) -> Tree:
    """The files of the control archive for a package of `tree`."""
    kib = sum(1 if entry.data is None else -(-len(entry.data) // 1024) for entry in tree.entries.values())
    values = {"VERSION": version, "ARCHITECTURE": architecture, "MAINTAINER": MAINTAINER, "INSTALLED_KIB": kib}
    text = (HERE / "debian/control").read_text()
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    made = Tree(tree.epoch)
    made.file("control", text.encode())
    made.file("conffiles", (HERE / "debian/conffiles").read_bytes())
    files = sorted((path, entry.data) for path, entry in tree.entries.items() if entry.data is not None)
    sums = "".join(f"{hashlib.md5(data).hexdigest()}  {path}\n" for path, data in files if not path.startswith("etc/"))
    made.file("md5sums", sums.encode())
    for name in SCRIPTS:
        made.file(name, (HERE / "debian" / name).read_bytes(), 0o755)
    return made


def package(tree: Tree, version: str, architecture: str) -> bytes:
    """The package that installs `tree`."""
    parts = [b"!<arch>\n", member("debian-binary", b"2.0\n", tree.epoch)]
    for name, content in (("control", control(tree, version, architecture)), ("data", tree)):
        parts.append(member(f"{name}.tar.gz", gzip.compress(content.tar("./"), 9, mtime=0), tree.epoch))
    return b"".join(parts)
