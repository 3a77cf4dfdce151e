"""The image: unpacked by umoci, run by crun, capturing in a network namespace."""

import json
import pathlib
import subprocess
import tarfile

import lab

# Runs in namespaces: a network, the unified cgroups and the state folder that crun wants, and processes that all
# end with the first of them.
INSIDE = """set -e
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs tmpfs /run
ip link set lo up
exec crun run --bundle "$1" "$2"
"""


class Image(lab.Lab):
    def bundle(self) -> pathlib.Path:
        self.need_root()
        self.need("umoci", "crun", "unshare", "ip")
        folder = self.folder()
        with tarfile.open(self.made(".oci.tar")) as archive:
            archive.extractall(folder / "image", filter="data")
        self.run_ok("umoci", "unpack", "--image", f"{folder / 'image'}:{lab.VERSION}", folder / "bundle")
        return folder / "bundle"

    def config(self, bundle: pathlib.Path, args: list[str]) -> None:
        """As packaging/README.md says: the host's network, CAP_NET_RAW alone, nothing to write to."""
        path = bundle / "config.json"
        config = json.loads(path.read_text())
        process = config["process"]
        self.assertEqual(process["args"][0], "/usr/bin/synledger")
        process["args"] = [process["args"][0], *args]
        process["terminal"] = False
        process["noNewPrivileges"] = True
        config["linux"].pop("resources", None)
        process["capabilities"] = {kind: ["CAP_NET_RAW"] for kind in ("bounding", "effective", "permitted")}
        config["root"]["readonly"] = True
        kinds = [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")]
        config["linux"]["namespaces"] = kinds
        path.write_text(json.dumps(config))

    def test_the_default_command_is_one_that_the_program_takes(self):
        bundle = self.bundle()
        args = json.loads((bundle / "config.json").read_text())["process"]["args"]
        shown = subprocess.run([bundle / "rootfs/usr/bin/synledger", *args[1:], "--dry-run", "-i", "lo"],
                               capture_output=True, text=True, check=False)
        self.assertEqual(shown.returncode, 0, shown.stderr)
        self.assertIn("outputs: eve:-", shown.stdout + shown.stderr)

    def test_it_captures_in_the_network_namespace_that_it_shares(self):
        bundle = self.bundle()
        self.config(bundle, ["run", "-i", "lo", "--scan-scope", "all", "--ring-mib", "8", "--memory-mib", "64",
                             "--output", "text:-"])
        name = f"synledger-test-{bundle.parent.name}"
        errors = open(bundle.parent / "errors", "wb")
        self.addCleanup(errors.close)
        container = subprocess.Popen(
            ["unshare", "--net", "--mount", "--pid", "--mount-proc", "--fork", "--kill-child", "sh", "-c", INSIDE, "inside", bundle, name],
            stdout=subprocess.PIPE, stderr=errors, text=True)
        self.addCleanup(container.communicate)
        self.addCleanup(container.kill)
        said = lambda: (bundle.parent / "errors").read_text()
        self.wait_for("start", lambda: "watching lo" in said() or container.poll() is not None)
        self.assertIsNone(container.poll(), said())
        pid = self.run_ok("pgrep", "--full", f"crun run --bundle {bundle} {name}").split()[-1]
        connect = "import socket\nfor port in (22, 80):\n    socket.socket().connect_ex(('127.0.0.1', port))"
        self.run_ok("nsenter", "--target", pid, "--net", "python3", "-c", connect)
        lines = [container.stdout.readline() for _ in range(2)]
        self.assertIn(": New connection: 127.0.0.1:", lines[0])
        self.assertIn(" -> 127.0.0.1:80", lines[1])


if __name__ == "__main__":
    lab.unittest.main()
