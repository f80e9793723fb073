"""Workers, order, crashes and load change nothing: one fingerprint gives one digest."""

from __future__ import annotations

import os
import signal
import tarfile
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from synthforge.cli import app
from synthforge.client import Client
from synthforge.storage import open_storage
from synthforge.verification import verify_dataset
from tests.end_to_end.engine import Engine, Made, actors_of_this_process, make, small_spec
from workers.regenerate import regenerate


def samples(made: Made) -> dict[str, bytes]:
    """Return every file of every sample by name."""
    storage = open_storage(made.url)
    files = {}
    for shard in made.manifest.shards:
        with tarfile.open(fileobj=BytesIO(storage.get_bytes(shard.name))) as archive:
            for info in archive:
                file = archive.extractfile(info)
                assert file is not None
                files[info.name] = file.read()
    return files


def test_a_dataset_verifies(undisturbed: Made) -> None:
    assert list(verify_dataset(open_storage(undisturbed.url))) == []
    assert undisturbed.manifest.num_samples == 14
    assert sum(undisturbed.manifest.splits.values()) == 14
    assert any(shard.rejected for shard in undisturbed.manifest.shards), "the gate was not tried"


@pytest.fixture(scope="module")
def two_workers(engine: Engine) -> Iterator[Client]:
    from workers import actors  # noqa: PLC0415 - Ray reads its environment

    class Mortal(actors.Actor):
        """By this name the tests find the two of this pool."""

    with engine.running(2, chunks_in_flight=4, gpus_per_worker=0.5, actor_class=Mortal) as client:
        yield client


def test_two_workers_make_the_same_digest_as_one(two_workers: Client, undisturbed: Made) -> None:
    import ray  # noqa: PLC0415 - reads its environment

    while len(actors_of_this_process("Mortal")) < 2:
        time.sleep(0.05)
    assert ray.available_resources().get("GPU", 0) == 0, "the two share the one GPU"
    assert make(two_workers, small_spec()).digest == undisturbed.digest


def test_two_killed_actors_do_not_change_the_digest(two_workers: Client, undisturbed: Made) -> None:
    killed: list[int] = []

    def kill_twice(job_id: str) -> None:
        while len(killed) < 2:
            at_work = [pid for pid in actors_of_this_process("Mortal") if pid not in killed]
            if at_work and two_workers.get(job_id).shards.leased:
                os.kill(at_work[0], signal.SIGKILL)
                killed.append(at_work[0])
            time.sleep(0.05)

    made = make(two_workers, small_spec(), kill_twice)
    assert len(killed) == 2
    assert made.digest == undisturbed.digest


def test_the_machines_thread_count_does_not_change_a_sample(undisturbed: Made) -> None:
    files = samples(undisturbed)
    held = torch.get_num_threads()
    try:
        for num_threads in (1, 2, 5):
            torch.set_num_threads(num_threads)
            sample, is_same_fingerprint = regenerate(undisturbed.manifest, 3)
            assert is_same_fingerprint
            for suffix, data in sample.members:
                assert files[f"{sample.key}.{suffix}"] == data
            assert torch.get_num_threads() == num_threads
    finally:
        torch.set_num_threads(held)


def test_regenerate_gives_the_bytes_that_the_shard_holds(undisturbed: Made, tmp_path: Path) -> None:
    files = samples(undisturbed)
    for index in (0, 7, 13):
        folder = tmp_path / str(index)
        done = CliRunner().invoke(
            app, ["regenerate", undisturbed.url, "--index", str(index), "--out", str(folder)]
        )
        assert done.exit_code == 0, done.output
        written = {path.name: path.read_bytes() for path in folder.iterdir()}
        assert written == {name: files[name] for name in files if name.startswith(f"{index:09d}.")}


def test_raising_the_count_changes_no_earlier_sample(warm: Client, undisturbed: Made) -> None:
    fewer, more = samples(undisturbed), samples(make(warm, small_spec(count=18)))
    assert len(more) > len(fewer)
    assert {name: more[name] for name in fewer} == fewer
