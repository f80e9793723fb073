"""`synthforge generate` goes on where it was stopped, and leaves nothing behind."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from synthforge import cli
from synthforge.client import Client
from synthforge.commands import engine
from synthforge.leases import Lease, LeaseRequest, LeaseReturn
from synthforge.shards import Manifest
from workers.options import PoolOptions
from workers.shard_worker import ShardWorker, WorkerSettings

NUM_SHARDS = 4


class Hand:
    """A pool of one worker in this process; dies, its lease in hand, once so many are made."""

    def __init__(self, scratch: Path, dies_after: int = NUM_SHARDS) -> None:
        self.made: list[str] = []
        self._scratch = scratch
        self._dies_after = dies_after

    def __call__(self, options: PoolOptions, stop: threading.Event) -> None:
        worker = ShardWorker(WorkerSettings(options.output_prefixes, self._scratch))
        request = LeaseRequest(
            pool="hand", generators=("builtin",), fingerprint=worker.fingerprint("builtin")
        )
        with Client(options.service_url, key=options.key) as client:
            while not stop.wait(0.05):
                for lease in client.lease(request).leases:
                    self._work_on(client, worker, lease)

    def _work_on(self, client: Client, worker: ShardWorker, lease: Lease) -> None:
        if lease.kind == "summary":
            records = tuple(client.committed_shards(lease.token))
            client.report(lease.token, worker.summarise(lease, records))
            return
        if len(self.made) == self._dies_after:
            raise RuntimeError("the power failed")
        worker.make(lease)
        client.report(lease.token, worker.deliver(lease.token))
        self.made.append(lease.what)


@pytest.fixture
def generated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generated:
    monkeypatch.setenv("SYNTHFORGE_LEASE_S", "600")  # nothing lapses by itself
    return Generated(tmp_path, monkeypatch)


class Generated:
    """Runs the command in this process."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._monkeypatch = monkeypatch

    def __call__(self, name: str, hand: Hand, seed: int = 0) -> Result:
        self._monkeypatch.setattr(engine, "_run_pool", hand)
        document = {
            "count": NUM_SHARDS,
            "seed": seed,
            "image": {"size": 64},
            "annotations": ["landmarks68"],
            "output": {"samples_per_shard": 1},
        }
        arguments = ["generate", "-", "--output", str(self._folder / name)]
        return CliRunner().invoke(cli.app, arguments, input=json.dumps(document))


def digest(folder: Path) -> str:
    return Manifest.model_validate_json((folder / "manifest.json").read_bytes()).digest


def test_a_command_that_was_stopped_goes_on_and_makes_the_same_dataset(
    generated: Generated, tmp_path: Path
) -> None:
    first, other, second, undisturbed = (
        Hand(tmp_path / "scratch", dies_after) for dies_after in (2, 9, 9, 9)
    )
    stopped = generated("faces", first)
    assert "the power failed" in str(stopped.exception)
    assert len(first.made) == 2

    refused = generated("faces", other, seed=1)
    assert "another spec was begun there and is not finished" in str(refused.exception)
    assert other.made == []

    ended = generated("faces", second)
    assert ended.exit_code == 0, ended.output
    assert f"{NUM_SHARDS} samples verified" in ended.stdout
    assert len(second.made) == NUM_SHARDS - 2
    assert not set(first.made) & set(second.made), "a shard was rendered twice"
    assert not (tmp_path / "faces/.synthforge").exists()

    assert generated("again", undisturbed).exit_code == 0
    assert digest(tmp_path / "faces") == digest(tmp_path / "again")


def test_a_job_that_failed_is_tried_again(generated: Generated, tmp_path: Path) -> None:
    class Refusing(Hand):
        def _work_on(self, client: Client, _worker: ShardWorker, lease: Lease) -> None:
            client.return_(lease.token, LeaseReturn(reason="failed", message="no such light"))

    failed = generated("faces", Refusing(tmp_path / "scratch"))
    assert "no such light" in str(failed.exception)
    ended = generated("faces", Hand(tmp_path / "scratch"))
    assert ended.exit_code == 0, ended.output


def test_a_job_that_is_refused_leaves_no_folder(generated: Generated, tmp_path: Path) -> None:
    (tmp_path / "faces/shards").mkdir(parents=True)
    (tmp_path / "faces/shards/mine.txt").write_text("precious")
    refused = generated("faces", Hand(tmp_path / "scratch"))
    assert "shards/mine.txt lies there already" in str(refused.exception)
    assert [path.name for path in (tmp_path / "faces").iterdir()] == ["shards"]
