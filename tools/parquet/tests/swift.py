"""Runs a command with OpenStack Swift's s3api on loopback: swift.py PORT COMMAND...

Swift comes from PyPI (pip install swift). The server has the bucket `synledger`; AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are set
for the command. With --away SECONDS before the command the server is stopped for so long, so many seconds after it was started, and brought
back. Files lie in a temporary folder on a file system with extended attributes.
"""

import argparse
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

KEY, SECRET = "synledger:tester", "testing"
BACKENDS = {"account": 1, "container": 2, "object": 3}

BACKEND = """[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
devices = {root}/devices
mount_check = false
swift_dir = {root}
workers = 0
[pipeline:main]
pipeline = {name}-server
[app:{name}-server]
use = egg:swift#{name}
"""

PROXY = """[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
swift_dir = {root}
workers = 0
[pipeline:main]
pipeline = catch_errors proxy-logging cache listing_formats s3api tempauth copy slo proxy-logging proxy-server
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:proxy-logging]
use = egg:swift#proxy_logging
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:1
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
s3_acl = false
[filter:tempauth]
use = egg:swift#tempauth
user_synledger_tester = testing .admin
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
minimum_segment_size = 1
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
"""


def configure(root, port, tools):
    """Writes the files of one account, container, object and proxy server each, and their rings."""
    (root / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = a\nswift_hash_path_prefix = b\n")
    (root / "devices/d1").mkdir(parents=True)
    for name, step in BACKENDS.items():
        (root / f"{name}-server.conf").write_text(BACKEND.format(name=name, port=port + step, root=root))
        builder = [tools / "swift-ring-builder", root / f"{name}.builder"]
        device = f"r1z1-127.0.0.1:{port + step}/d1"
        for arguments in (["create", "4", "1", "1"], ["add", device, "1"], ["rebalance"]):
            subprocess.run([*builder, *arguments], check=True, stdout=subprocess.DEVNULL)
    (root / "proxy-server.conf").write_text(PROXY.format(port=port, root=root))


def start(root, tools, name):
    environment = os.environ | {"SWIFT_DIR": str(root)}
    log = open(root / f"{name}.log", "ab")
    return subprocess.Popen([tools / f"swift-{name}-server", root / f"{name}-server.conf"], stdout=log, stderr=log, env=environment)


def wait_for(port):
    for _ in range(200):
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    sys.exit(f"no server at port {port}")


def make_bucket(port):
    import boto3

    client = boto3.client(
        "s3", endpoint_url=f"http://127.0.0.1:{port}", aws_access_key_id=KEY, aws_secret_access_key=SECRET, region_name="us-east-1"
    )
    client.create_bucket(Bucket="synledger")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("port", type=int)
    parser.add_argument("--away", type=float, metavar="SECONDS")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    args = parser.parse_args()
    tools = pathlib.Path(sys.executable).parent
    root = pathlib.Path(tempfile.mkdtemp(prefix="swift-", dir="/var/tmp"))
    running = {}
    try:
        # The servers look for swift.conf at its usual place only.
        os.environ["SWIFT_CONF_FILE"] = str(root / "swift.conf")
        configure(root, args.port, tools)
        for name in (*BACKENDS, "proxy"):
            running[name] = start(root, tools, name)
        for step in (*BACKENDS.values(), 0):
            wait_for(args.port + step)
        make_bucket(args.port)

        def away():
            time.sleep(args.away)
            running["proxy"].send_signal(signal.SIGKILL)
            running["proxy"].wait()
            time.sleep(args.away)
            running["proxy"] = start(root, tools, "proxy")

        if args.away:
            threading.Thread(target=away, daemon=True).start()
        environment = os.environ | {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
        code = subprocess.run(args.command, env=environment).returncode
    finally:
        for server in running.values():
            server.kill()
        shutil.rmtree(root, ignore_errors=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
