"""An image for containers (OCI image layout 1.0, as tar), from scratch: one program, two users, its folders."""

import gzip
import hashlib
import json
from datetime import datetime, timezone

from tree import Tree

# A container gives ambient capabilities to nobody: the program is root there, with CAP_NET_RAW alone
# if it is started as packaging/README.md says.
COMMAND = ["run", "--wait", "--capture", "control", "--output", "eve:-,events=alert+stats+lifecycle",
           "--metrics", "127.0.0.1:9477"]
# Names of architectures, as Go has them, by the first part of a target of Rust.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def root(epoch: int, program: bytes, licences: dict[str, bytes]) -> Tree:
    """The image's files."""
    tree = Tree(epoch)
    tree.file("usr/bin/synledger", program, 0o755)
    tree.file("etc/passwd", b"root:x:0:0::/:/\nsynledger:x:999:999::/:/\n")
    tree.file("etc/group", b"root:x:0:\nsynledger:x:999:\n")
    for name, text in licences.items():
        tree.file(f"usr/share/doc/synledger/{name}", text)
    for folder in ("var/log/synledger", "run/synledger", "proc", "sys", "dev"):
        tree.folder(folder)
    tree.folder("tmp", 0o1777)
    return tree


def image(tree: Tree, version: str, machine: str) -> bytes:
    """The layout of an image with `tree` as its only layer."""
    made = Tree(tree.epoch)

    def blob(kind: str, data: bytes, **more) -> dict:
        digest = hashlib.sha256(data).hexdigest()
        made.file(f"blobs/sha256/{digest}", data)
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest}", "size": len(data), **more}

    encoded = lambda value: json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    tar = tree.tar()
    layer = blob("layer.v1.tar+gzip", gzip.compress(tar, 9, mtime=0))
    created = datetime.fromtimestamp(tree.epoch, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    config = blob("config.v1+json", encoded({
        "created": created, "architecture": ARCHITECTURES[machine], "os": "linux",
        "config": {"Entrypoint": ["/usr/bin/synledger"], "Cmd": COMMAND, "WorkingDir": "/", "StopSignal": "SIGTERM",
                   "Labels": {"org.opencontainers.image.title": "synledger", "org.opencontainers.image.version": version,
                              "org.opencontainers.image.licenses": "MIT OR Apache-2.0"}},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(tar).hexdigest()]},
        "history": [{"created": created, "created_by": "make dist"}]}))
    manifest = blob("manifest.v1+json", encoded({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": [layer]}),
        annotations={"org.opencontainers.image.ref.name": version})
    made.file("index.json", encoded({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
                                     "manifests": [manifest]}))
    made.file("oci-layout", encoded({"imageLayoutVersion": "1.0.0"}))
    return made.tar()
