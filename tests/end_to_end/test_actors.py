"""Actors come with work and go without it; their deaths are told apart."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx
import pytest

from service.database import Database
from service.leasing import Terms
from service.store import Store
from synthforge.client import Client
from synthforge.job_status import JobState
from synthforge.jobs import GeneratorKind
from synthforge.leases import Lease
from synthforge.storage import open_storage
from tests.end_to_end.engine import Engine, actors_of_this_process, small_spec
from workers.executions import Progress
from workers.flight_recorder import read_last_words
from workers.scaling import Bounds
from workers.shard_worker import WorkerSettings
from workers.slots import Awake

POISONED_SAMPLE = 5


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)


def was_told(engine: Engine, actor: int) -> bool:
    found = [read_last_words(path) for path in engine.scratch.glob(f"synthforge-{actor}-*")]
    return any(words is not None and words.was_told_to_leave for words in found)


def test_a_pool_has_actors_while_there_is_work_and_none_without(engine: Engine) -> None:
    from workers import actors  # noqa: PLC0415 - Ray reads its environment

    class Passing(actors.Actor):
        """By this name the test finds them."""

    bounds = Bounds(least=0, most=2, idle_s=0.3)
    with (
        engine.service() as (url, settings),
        Client(url) as client,
        engine.pool(url, settings, 0, bounds=bounds, actor_class=Passing),
    ):
        until(lambda: bool(client.pools()))
        assert client.pools()[0]["fingerprint"] is None
        assert actors_of_this_process("Passing") == []
        job = client.submit(small_spec(seed=11, count=1))
        assert client.wait(job.id).state is JobState.SUCCEEDED
        assert client.pools()[0]["fingerprint"] is not None
        until(lambda: not actors_of_this_process("Passing"))


def test_a_shard_whose_sample_kills_three_actors_is_set_aside_and_no_other_shard(
    engine: Engine,
) -> None:
    from workers import actors  # noqa: PLC0415 - Ray reads its environment

    class Poisoned(actors.Actor):
        def __init__(self, settings: WorkerSettings) -> None:
            super().__init__(settings)
            from workers.face_maker import Draw, FaceMaker  # noqa: PLC0415

            propose = FaceMaker.propose

            def die_at_the_sample(maker: FaceMaker, draws: list[Draw]) -> Any:
                if any(draw.index == POISONED_SAMPLE for draw in draws):
                    os.kill(os.getpid(), signal.SIGKILL)
                return propose(maker, draws)

            FaceMaker.propose = die_at_the_sample  # type: ignore[assignment]

    with engine.running(actor_class=Poisoned) as client:
        job = client.submit(small_spec(seed=12, count=12))
        ended = client.wait(job.id)
    assert ended.state is JobState.FAILED
    assert str(ended.reason).startswith("shard train-000001 was set aside: its worker died 3 times")
    assert ended.shards.set_aside == 1, "a neighbour on its way to the store was blamed"
    shards = open_storage(ended.output_url).list_objects()
    assert any("train-000000" in item.key for item in shards), "the others are intact"


def test_a_node_that_fails_costs_a_pool_one_actor_and_a_job_nothing(engine: Engine) -> None:
    from workers import actors  # noqa: PLC0415 - Ray reads its environment

    class Unlucky(actors.Actor):
        """The first of them cannot wake, the GPU of the second fails in its first shard."""

        def __init__(self, settings: WorkerSettings) -> None:
            super().__init__(settings)
            self._folder = settings.scratch.parent

        def wake(self, kind: GeneratorKind) -> Awake:
            if self._is_first("wake"):
                raise OSError("No space left on device")
            return super().wake(kind)

        def _make_for(self, lease: Lease, *rest: Any) -> Progress:
            if self._is_first("make"):
                raise RuntimeError("CUDA error: uncorrectable ECC error encountered")
            return super()._make_for(lease, *rest)

        def _is_first(self, what: str) -> bool:
            try:
                (self._folder / f"first-{what}").touch(exist_ok=False)
            except FileExistsError:
                return False
            return True

    with engine.running(2, actor_class=Unlucky) as client:
        job = client.submit(small_spec(seed=14, count=6))
        ended = client.wait(job.id)
        told = [line.message for page in client.logs(job.id, "warning") for line in page.lines]
    assert ended.state is JobState.SUCCEEDED
    assert any("comes back undone, store: RuntimeError: CUDA error" in line for line in told)


def test_an_actor_that_hangs_is_ended_and_another_takes_its_place(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workers import actors  # noqa: PLC0415 - Ray reads its environment

    monkeypatch.setattr("workers.slots.STUCK_S", 0.2)

    class Hanging(actors.Actor):
        def __init__(self, settings: WorkerSettings) -> None:
            super().__init__(settings)
            self._first = settings.scratch / "first"

        def _make_for(self, lease: Lease, *rest: Any) -> Progress:
            with suppress(FileExistsError):
                self._first.touch(exist_ok=False)
                while True:  # as in a call to a driver that does not come back
                    time.sleep(0.1)
            return super()._make_for(lease, *rest)

    with (
        engine.service() as (url, settings),
        Client(url) as client,
        engine.pool(url, settings, 1, actor_class=Hanging),
    ):
        job = client.submit(small_spec(seed=15, count=4))
        until((engine.scratch / "first").exists)
        (hung,) = actors_of_this_process("Hanging")
        database = Database(settings.database_url)
        leases = Store(database).leases
        leases.end_all()  # as when its count stands still
        assert leases.lapse(Terms(lease_s=20, heartbeat_s=0.5, stall_s=300)) == 1
        database.close()
        until(lambda: hung not in actors_of_this_process("Hanging"))
        assert client.wait(job.id).state is JobState.SUCCEEDED


def test_an_actor_that_is_told_to_leave_says_nothing_against_its_shard(
    engine: Engine, key: str
) -> None:
    bearer = {"Authorization": f"Bearer {key}"}
    from workers import actors  # noqa: PLC0415 - Ray reads its environment

    class PutOut(actors.Actor):
        """By this name the test finds it."""

    with (
        engine.service() as (url, settings),
        Client(url) as client,
        engine.pool(url, settings, 1, actor_class=PutOut),
    ):
        job = client.submit(small_spec(seed=13, count=600, output={"samples_per_shard": 600}))
        until(lambda: client.get(job.id).shards.leased > 0)
        (actor,) = actors_of_this_process("PutOut")
        os.kill(actor, signal.SIGTERM)
        # A scheduler gives it time to note that before it kills; Ray may end it before that.
        until(lambda: was_told(engine, actor) or actor not in actors_of_this_process("PutOut"))
        with suppress(ProcessLookupError):
            os.kill(actor, signal.SIGKILL)
        until(lambda: 'leases_returned_total{reason="interrupted"} 1.0'
              in httpx.get(f"{url}/metrics", headers=bearer).text)  # fmt: skip
        client.cancel(job.id)
