"""A real S3-compatible server on this machine, for the tests and for the demo: OpenStack Swift.

It listens on the loopback interface alone, keeps everything in a temporary folder that goes with
it, and ends when its parent does, even one that was killed.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import boto3
from botocore.config import Config

_SERVER: Final = Path(__file__).with_name("swift_process.py")
_SWIFT_PYTHON: Final = Path(sys.prefix) / "swift" / "bin" / "python"  # made by `make setup`
_START_S: Final = 60  # it takes 2; a busy machine takes longer
_STOP_S: Final = 10
_REGION: Final = "us-east-1"


class S3ServerError(RuntimeError):
    """The server cannot be started here; the message says what would do."""


@dataclass(frozen=True)
class S3Server:
    """A running server.

    Attributes:
        endpoint: http://127.0.0.1:port.
        access_key: of its one user.
        secret_key: made up at start.
        process_id: of the server.
    """

    endpoint: str
    access_key: str
    secret_key: str
    process_id: int

    def environment(self) -> dict[str, str]:
        """Return the AWS_* variables by which programs find the server."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": _REGION,
            "AWS_DEFAULT_REGION": _REGION,
        }

    def make_bucket(self, name: str) -> str:
        """Make a bucket and return its URL."""
        client = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=_REGION,
            config=Config(
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )
        try:
            client.create_bucket(Bucket=name)
        finally:
            client.close()
        return f"s3://{name}"


@contextmanager
def serve_s3(parent_folder: Path | None = None) -> Iterator[S3Server]:
    """Run a server until the `with` ends.

    Args:
        parent_folder: where its temporary folder is made; by default the first that can hold it
            of the system's temporary folder, /var/tmp and the working folder.

    Raises:
        S3ServerError: Swift is not installed, no folder has extended attributes, or it did not
            start.
    """
    with RestartableS3(parent_folder) as held:
        yield held.start()


class RestartableS3:
    """A server that can be killed and started again: same port, same keys, same objects."""

    def __init__(self, parent_folder: Path | None = None) -> None:
        """Make its folder, and start nothing yet; see `serve_s3`."""
        if not _SWIFT_PYTHON.exists():
            raise S3ServerError("the S3 server is not installed: `make setup` does that")
        self._folder = _make_folder(parent_folder)
        self._secret_key = secrets.token_hex(16)
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        """Return the server, not yet started."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it, and remove what it holds."""
        if self._process is not None:
            _stop(self._process)
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> S3Server:
        """Start it, or start it again after `kill`; returns when it answers."""
        log_path = self._folder / "server.log"
        with log_path.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own program, no shell
                [str(_SWIFT_PYTHON), "-I", str(_SERVER), str(self._folder), str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,  # Ctrl-C on the terminal is for the parent, who stops it
            )
        return _await_start(self._process, self._secret_key, log_path)

    def kill(self) -> None:
        """SIGKILL it; what it has acknowledged stays on the disk."""
        assert self._process is not None  # noqa: S101 - it was started
        self._process.kill()
        self._process.wait()
        _close_pipes(self._process)


def _await_start(process: subprocess.Popen[str], secret_key: str, log_path: Path) -> S3Server:
    """Hand the secret over, not by the command line, which everyone can read; wait for the port."""
    assert process.stdin is not None  # noqa: S101 - it is a pipe
    assert process.stdout is not None  # noqa: S101
    try:
        process.stdin.write(secret_key + "\n")
        process.stdin.flush()
        ready = json.loads(_read_line(process))
    except (OSError, ValueError):
        _stop(process)
        log = log_path.read_text(errors="replace").strip()
        raise S3ServerError(f"the S3 server did not start: {log[-2000:] or 'no word'}") from None
    return S3Server(ready["endpoint"], ready["access_key"], secret_key, process.pid)


def _read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None  # noqa: S101
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        if not selector.select(_START_S):
            raise TimeoutError(errno.ETIMEDOUT, "no word")
    return process.stdout.readline()


def _stop(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    _close_pipes(process)


def _close_pipes(process: subprocess.Popen[str]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def _make_folder(parent_folder: Path | None) -> Path:
    """Make a temporary folder on a file system with extended attributes: Swift's metadata."""
    usual = (Path(tempfile.gettempdir()), Path("/var/tmp"), Path.cwd())  # noqa: S108
    parents = usual if parent_folder is None else (parent_folder,)
    for parent in parents:
        try:
            folder = Path(tempfile.mkdtemp(prefix="synthforge-s3-", dir=parent))
        except OSError:
            continue
        try:
            os.setxattr(folder, "user.swift.probe", b"x")
        except OSError:
            folder.rmdir()
            continue
        return folder
    tried = ", ".join(str(parent) for parent in parents)
    raise S3ServerError(
        f"the S3 server needs a folder with extended attributes (ext4, xfs, btrfs; tmpfs since "
        f"Linux 6.6): none of {tried} can be written and has them; set TMPDIR to one that has"
    )
