"""The programs that containers run beside `synthforge` do what the runbook says."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest

from service.server import serving
from service.settings import Settings

PROGRAMS = Path(__file__).resolve().parents[2] / "deploy/container"
FAKE_RAY = """#!/bin/sh
echo "ray $*" >> "$CALLS"
case "$2" in submit) trap 'exit 0' TERM; while [ ! -e "$CALLS.end" ]; do sleep 0.05; done;; esac
case "$2" in delete) exit 1;; esac
"""
FAKE_SYNTHFORGE = """#!/bin/sh
echo "synthforge $*" >> "$CALLS"
"""


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        return port


def run_python(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(PROGRAMS / name), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_health_check_tells_a_ready_service_from_a_dead_one(tmp_path: Path) -> None:
    settings = Settings(database_url=f"sqlite:///{tmp_path}/jobs.db", port=0)
    with serving(settings) as url:
        assert run_python("healthcheck.py", f"{url}/readyz").returncode == 0
        assert run_python("healthcheck.py", f"{url}/nothing-here").returncode == 1
    assert run_python("healthcheck.py", f"{url}/readyz").returncode == 1


def test_a_backup_of_a_live_database_holds_what_was_committed(tmp_path: Path) -> None:
    source, target = tmp_path / "jobs.db", tmp_path / "copy.db"
    with closing(sqlite3.connect(source)) as live:
        live.execute("PRAGMA journal_mode = WAL")
        live.execute("CREATE TABLE jobs (id TEXT)")
        live.execute("INSERT INTO jobs VALUES ('kept')")
        live.commit()
        live.execute("INSERT INTO jobs VALUES ('not committed')")
        done = run_python("backup_sqlite.py", str(source), str(target))
        assert done.returncode == 0, done.stderr
    with closing(sqlite3.connect(target)) as copy:
        assert copy.execute("SELECT id FROM jobs").fetchall() == [("kept",)]
    assert sorted(path.name for path in tmp_path.glob("copy*")) == ["copy.db"]


def test_a_backup_of_nothing_fails_and_leaves_nothing(tmp_path: Path) -> None:
    done = run_python("backup_sqlite.py", str(tmp_path / "none.db"), str(tmp_path / "copy.db"))
    assert done.returncode == 1
    assert "no such database" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_lets_old_things_go_runs_again_though_it_failed_and_leaves_at_once(
    tmp_path: Path,
) -> None:
    fake, calls = tmp_path / "synthforge", tmp_path / "calls"
    fake.write_text(FAKE_SYNTHFORGE + "exit 1\n")
    fake.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "CALLS": str(calls)}
    command = ["sh", str(PROGRAMS / "gc_daily.sh"), "0.05"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for _ in range(2):
            assert "synthforge gc failed" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert calls.read_text().splitlines()[:2] == ["synthforge gc"] * 2
    with subprocess.Popen([*command[:2], "60"], env=environment) as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) in {0, -signal.SIGTERM}  # before or after its trap


def test_a_bucket_is_made_once_and_found_again(s3_url: str) -> None:
    for _ in range(2):
        done = run_python("make_bucket.py", f"{s3_url}-more/prefix")
        assert done.returncode == 0, done.stderr
    boto3.client("s3").head_bucket(Bucket=f"{s3_url.removeprefix('s3://')}-more")
    assert run_python("make_bucket.py", "file:///data").returncode == 1


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that stand-ins of `ray` and `synthforge` write their arguments to."""
    for name, text in (("ray", FAKE_RAY), ("synthforge", FAKE_SYNTHFORGE)):
        path = tmp_path / name
        path.write_text(text)
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return tmp_path / "calls"


def test_a_pool_joins_the_cluster_before_it_works(
    calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [str(PROGRAMS / "pool.sh"), "--workers", "3"]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    assert "HOST:PORT of the Ray head" in refused.stderr
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    subprocess.run(command, check=True)
    first, second = calls.read_text().splitlines()
    assert first.startswith("ray start --address=head:6379 --num-cpus=0 --num-gpus=0 ")
    assert second == "synthforge work --workers 3"


def test_a_submitted_pool_is_stopped_with_its_submitter(
    calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://head:8265")
    process = subprocess.Popen([str(PROGRAMS / "submit_pool.sh"), "--workers", "3"])
    try:
        deadline = time.monotonic() + 30
        while "submit" not in (calls.read_text() if calls.exists() else ""):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 143
    finally:
        process.kill()
        calls.with_name("calls.end").touch()
    assert calls.read_text().splitlines() == [
        "ray job delete synthforge-pool",
        "ray job submit --submission-id synthforge-pool -- synthforge work --workers 3",
        "ray job stop synthforge-pool --no-wait",
    ]


def test_the_service_of_compose_runs_on_postgresql_and_knows_the_keys_of_its_secrets(
    postgres_url: str, tmp_path: Path, compose: dict[str, Any]
) -> None:
    keys = {name: secrets.token_hex(32) for name in compose["secrets"]}
    for name, key in keys.items():
        (tmp_path / name).write_text(key)
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "SYNTHFORGE_DATABASE_URL": postgres_url,
        "SYNTHFORGE_OUTPUT_PREFIXES": str(tmp_path / "out"),
        "SYNTHFORGE_PORT": str(free_port()),
    }
    make_keys = [PROGRAMS / "make_keys.sh", tmp_path]
    subprocess.run(make_keys, env=environment, check=True)
    command = compose["services"]["service"]["command"].split()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{environment['SYNTHFORGE_PORT']}"
    try:
        # The container runs again at every start.
        subprocess.run(make_keys, env=environment, check=True)
        while run_python("healthcheck.py", f"{url}/readyz").returncode != 0:
            assert process.poll() is None
            time.sleep(0.2)
        with httpx.Client(base_url=url) as http:
            assert http.get("/metrics").status_code == 401
            expected = {
                "metrics_key": (200, 403),
                "worker_key": (403, 200),
                "admin_key": (200, 200),
            }
            for name, statuses in expected.items():
                bearer = {"Authorization": f"Bearer {keys[name]}"}
                asking = {"pool": "pool", "generators": ["builtin"]}
                seen = http.get("/metrics", headers=bearer).status_code
                leased = http.post("/v1/leases", json=asking, headers=bearer).status_code
                assert (seen, leased) == statuses, name
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
