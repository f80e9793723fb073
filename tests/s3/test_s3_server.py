"""The S3 server of tests and demo starts anywhere and leaves nothing behind."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import tools.s3_server
from tools.s3_server import S3Server, S3ServerError, serve_s3

REPOSITORY = Path(__file__).resolve().parents[2]
NOBODY = 65534
PATIENCE_S = 30


def start_alone(*command: str) -> tuple[subprocess.Popen[str], dict[str, str]]:
    """Run the server's command in a process of its own; return what it exports."""
    process = subprocess.Popen(
        [*command, sys.executable, "-m", "tools.s3_server", "faces"],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(5)]
    exported = dict(line.strip().removeprefix("export ").split("=", 1) for line in lines)
    return process, exported


def answers(endpoint: str) -> bool:
    host, port = endpoint.removeprefix("http://").split(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError:
        return False
    return True


def falls_silent(endpoint: str) -> bool:
    deadline = time.monotonic() + PATIENCE_S
    while answers(endpoint) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not answers(endpoint)


def test_it_serves_while_the_with_lasts_and_leaves_no_folder(tmp_path: Path) -> None:
    with serve_s3(tmp_path) as server:
        assert server.make_bucket("faces") == "s3://faces"
        assert server.secret_key not in Path(f"/proc/{server.process_id}/cmdline").read_text()
    assert not answers(server.endpoint)
    assert list(tmp_path.iterdir()) == []


def test_it_listens_on_loopback_alone(s3_server: S3Server) -> None:
    inodes = set()
    for descriptor in Path(f"/proc/{s3_server.process_id}/fd").iterdir():
        target = os.readlink(descriptor)
        inodes.add(target.removeprefix("socket:[").rstrip("]"))
    listening = [
        fields[1]
        for table in ("tcp", "tcp6")
        for fields in map(str.split, Path(f"/proc/net/{table}").read_text().splitlines()[1:])
        if fields[9] in inodes and fields[3] == "0A"
    ]
    assert len(listening) == 4
    assert {address.split(":")[0] for address in listening} == {"0100007F"}


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_its_parent_however_that_ends(
    end: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    process, exported = start_alone()
    assert answers(exported["AWS_ENDPOINT_URL"])
    process.send_signal(end)
    process.communicate()
    assert falls_silent(exported["AWS_ENDPOINT_URL"])
    deadline = time.monotonic() + PATIENCE_S
    while list(tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list(tmp_path.iterdir()) == []


def test_an_ordinary_user_can_run_it() -> None:
    setpriv = shutil.which("setpriv")
    if os.geteuid() != 0:
        pytest.skip("this is an ordinary user already: every other test shows it")
    if setpriv is None:
        pytest.skip("no setpriv to become an ordinary user with")
    # It may read the checkout and the interpreter wherever they lie, and no more.
    reading = "-all,+dac_read_search"
    process, exported = start_alone(
        *(setpriv, f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
        *(f"--inh-caps={reading}", f"--ambient-caps={reading}"),
    )
    try:
        assert answers(exported["AWS_ENDPOINT_URL"])
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate()


def test_a_folder_without_extended_attributes_is_refused_with_what_would_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_arguments: object) -> None:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(os, "setxattr", unsupported)
    with pytest.raises(S3ServerError, match="set TMPDIR"), serve_s3(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_without_swift_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools.s3_server, "_SWIFT_PYTHON", Path("/none"))
    with pytest.raises(S3ServerError, match="make setup"), serve_s3():
        pass


def test_a_server_that_does_not_start_tells_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("raise SystemExit('no ring fits')")
    monkeypatch.setattr(tools.s3_server, "_SERVER", broken)
    with pytest.raises(S3ServerError, match="no ring fits"), serve_s3(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["broken.py"]
