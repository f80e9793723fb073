"""The server's own process: proxy, account, container and object server of Swift in one.

Run by the environment that has Swift: `python swift_process.py FOLDER PARENT_PID`, the secret key
on standard input. Prints one line of JSON when it answers. Standard library and Swift alone.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

from swift.common import utils

utils.monkey_patch()

import eventlet  # noqa: E402 - after Swift's own patching
from eventlet import wsgi  # noqa: E402
from swift.common.http_protocol import SwiftHttpProtocol  # noqa: E402
from swift.common.ring import RingBuilder  # noqa: E402
from swift.common.utils.logs import NullLogger, get_swift_logger  # noqa: E402
from swift.common.wsgi import loadapp  # noqa: E402

HOST = "127.0.0.1"
USER = "synthforge:s3"  # account and name, as tempauth writes them; the access key
DEVICE = "disk"
BACKENDS = ("account", "container", "object")
WATCH_S = 0.5

# s3api answers as Amazon S3 does; tempauth knows one user; slo and bulk stand behind multipart
# uploads and multi-object deletes. No memcached: nothing here needs more than a restart can lose.
PIPELINE = (
    "catch_errors gatekeeper healthcheck listing_formats bulk s3api tempauth copy slo proxy-server"
)
PROXY_CONF = """
[DEFAULT]
swift_dir = {folder}
log_level = ERROR
[pipeline:main]
pipeline = {pipeline}
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
max_upload_part_num = 10000
[filter:tempauth]
use = egg:swift#tempauth
user_{user} = {secret} .admin
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
"""
BACKEND_CONF = """
[DEFAULT]
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
disable_fallocate = true
fallocate_reserve = 0
log_level = ERROR
[pipeline:main]
pipeline = {name}-server
[app:{name}-server]
use = egg:swift#{name}
"""
SWIFT_CONF = """
[swift-hash]
swift_hash_path_prefix = {prefix}
swift_hash_path_suffix = {suffix}
[storage-policy:0]
name = default
default = yes
"""


def write_settings(folder: Path, ports: dict[str, int], secret: str) -> None:
    """Write the configuration and the rings: one device, one replica."""
    (folder / "devices" / DEVICE).mkdir(parents=True)
    hash_path = {"prefix": secrets.token_hex(8), "suffix": secrets.token_hex(8)}
    (folder / "swift.conf").write_text(SWIFT_CONF.format(**hash_path))
    proxy_conf = folder / "proxy.conf"
    proxy_conf.touch(mode=0o600)
    user = USER.replace(":", "_")
    values = {"folder": folder, "pipeline": PIPELINE, "user": user, "secret": secret}
    proxy_conf.write_text(PROXY_CONF.format(**values))
    for name in BACKENDS:
        (folder / f"{name}.conf").write_text(BACKEND_CONF.format(folder=folder, name=name))
        builder = RingBuilder(part_power=4, replicas=1, min_part_hours=0)
        builder.add_dev(
            {"region": 1, "zone": 1, "ip": HOST, "port": ports[name], "device": DEVICE, "weight": 1}
        )
        builder.rebalance()
        builder.get_ring().save(str(folder / f"{name}.ring.gz"))


def listen(folder: Path, secret: str) -> dict[str, Any]:
    """Open the sockets; a server that was killed comes back on its old ports, with its objects."""
    kept = folder / "ports.json"
    known: dict[str, int] = json.loads(kept.read_text()) if kept.exists() else {}
    listeners = {name: eventlet.listen((HOST, known.get(name, 0))) for name in ("proxy", *BACKENDS)}
    if not known:
        ports = {name: listener.getsockname()[1] for name, listener in listeners.items()}
        write_settings(folder, ports, secret)
        kept.write_text(json.dumps(ports))
    return listeners


def serve(listener: Any, conf_path: Path) -> None:
    """Serve one application on one socket, with the settings of Swift's own `run_server`."""
    app = loadapp(str(conf_path), global_conf={"log_name": conf_path.stem})
    eventlet.spawn(
        wsgi.server,
        listener,
        app,
        NullLogger(),
        protocol=SwiftHttpProtocol,
        custom_pool=eventlet.GreenPool(1024),
        socket_timeout=60,
        # clients look for "ETag", not "Etag"
        capitalize_response_headers=False,
    )


def end_with_parent(folder: Path, parent_id: int) -> None:
    """Wait until the parent is gone, however it went; then leave nothing behind."""
    while os.getppid() == parent_id:
        eventlet.sleep(WATCH_S)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


def main(folder: Path, parent_id: int) -> None:
    """Start everything, say so, serve until the end."""
    warnings.filterwarnings("ignore")
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    secret = sys.stdin.readline().strip()
    get_swift_logger.console_handler4logger = {}  # errors to standard error, not to syslog
    listeners = listen(folder, secret)
    utils.set_swift_dir(str(folder))
    utils.disable_fallocate()
    for name, listener in listeners.items():
        serve(listener, folder / f"{name}.conf")
    ready = {
        "endpoint": f"http://{HOST}:{listeners['proxy'].getsockname()[1]}",
        "access_key": USER,
    }
    print(json.dumps(ready), flush=True)
    end_with_parent(folder, parent_id)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
