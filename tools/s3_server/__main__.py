"""`python -m tools.s3_server [BUCKET...]`: serve until Ctrl-C, after printing how to reach it."""

from __future__ import annotations

import shlex
import signal
import sys

from tools.s3_server import serve_s3


def main(buckets: list[str]) -> None:
    """Run the server; a shell can `eval` what is printed."""
    for wanted_end in (signal.SIGTERM, signal.SIGINT):
        signal.signal(wanted_end, lambda *_: sys.exit(0))
    with serve_s3() as server:
        for bucket in buckets:
            server.make_bucket(bucket)
        for name, value in server.environment().items():
            print(f"export {name}={shlex.quote(value)}", flush=True)
        signal.pause()


if __name__ == "__main__":
    main(sys.argv[1:])
