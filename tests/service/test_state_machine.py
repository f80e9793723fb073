"""Any order of leases, beats, reports, returns, lapses and actions, against a model of the rules.

The model is plain dictionaries. After each step every row and every counter is compared with it:
no shard is lost, none committed twice, and no committed record ever changes.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select, text

from service import execution
from service.database import Database
from service.errors import StaleLeaseError, StateConflictError
from service.leasing import DEATHS_TO_SET_ASIDE, Terms
from service.store import Store
from service.store.claim_verbs import awaits_clearance
from service.store.rows import Granted
from service.tables import metadata, shards
from synthforge.job_status import JobState
from synthforge.leases import Heartbeat, LeaseReturn, SummaryReport
from synthforge.shards import StoredFile
from tests.service import driver
from tests.service.test_store import submit

TERMS = Terms(lease_s=1e6, heartbeat_s=5, stall_s=1e7)  # nothing lapses but by the rule below
BACK_OFF_IS_OVER_S = 61
NUM_SHARDS = 2
LEASABLE = {JobState.QUEUED, JobState.RUNNING, JobState.FINALIZING}
# From which states an action changes something, and in which it was done before.
STEERED = {
    "pause": ({JobState.QUEUED, JobState.RUNNING}, {JobState.PAUSED}),
    "resume": ({JobState.PAUSED}, LEASABLE),
    "retry": ({JobState.FAILED, JobState.CANCELLED}, LEASABLE),
}
FILES = SummaryReport(files=(StoredFile(name="README.md", num_bytes=1, sha256="0" * 64),))


@dataclass
class Piece:
    """A shard, or the summary, that was leased at least once."""

    state: str
    token: str
    deaths: tuple[int, int] = (0, 0)
    record: str | None = None


@dataclass
class ModelJob:
    """What a job should be."""

    state: JobState = JobState.QUEUED
    clearing: bool = False
    pieces: dict[int, Piece] = field(default_factory=dict)

    def count(self, state: str) -> int:
        return sum(
            piece.state == state for position, piece in self.pieces.items() if position < NUM_SHARDS
        )

    def settle(self) -> None:
        """Take the step that follows from the shards alone."""
        if self.state is JobState.CANCELLING and not self.count("leased") and not self.clearing:
            self.state = JobState.CANCELLED
        if self.state is JobState.RUNNING and self.count("done") == NUM_SHARDS:
            self.state = JobState.FINALIZING

    def at_work(self) -> JobState:
        """The state of a job that goes on, by how far it is."""
        if self.count("done") == NUM_SHARDS:
            return JobState.FINALIZING
        return JobState.RUNNING if self.pieces else JobState.QUEUED

    def steer(self, action: str) -> None:
        """Do to the job what its state allows."""
        if action == "retry":
            self.pieces.pop(NUM_SHARDS, None)
            for piece in self.pieces.values():
                if piece.state == "set_aside":
                    piece.state, piece.deaths = "open", (0, 0)
        self.state = JobState.PAUSED if action == "pause" else self.at_work()

    def available(self) -> list[int]:
        """Positions that may be leased, those given back first."""
        if self.state not in LEASABLE:
            return []
        stop = NUM_SHARDS + (self.state is JobState.FINALIZING)
        again = [at for at, piece in sorted(self.pieces.items()) if piece.state == "open"]
        return again + [at for at in range(stop) if at not in self.pieces]


class StoreMachine(RuleBasedStateMachine):
    """Two replicas of the real store on the left, taking turns; the model on the right."""

    tokens = Bundle("tokens")
    fresh_database: Callable[[], AbstractContextManager[str]]

    @initialize()
    def start(self) -> None:
        self.held_open = ExitStack()
        self.url = self.held_open.enter_context(type(self).fresh_database())
        self.replicas = deque(Store(Database(self.url)) for _ in range(2))
        self.model: dict[str, ModelJob] = {}
        self.granted: dict[str, Granted] = {}

    @property
    def store(self) -> Store:
        """The replica whose turn it is."""
        self.replicas.rotate()
        return self.replicas[0]

    def teardown(self) -> None:
        if hasattr(self, "replicas"):
            for replica in self.replicas:
                replica.database.close()
            self.held_open.close()

    @rule()
    def submit(self) -> None:
        if len(self.model) < 3:
            job_id = f"job{len(self.model)}"
            submit(self.store, job_id)
            self.model[job_id] = ModelJob()

    @rule(target=tokens, limit=st.integers(1, 4))
    def lease(self, limit: int) -> Any:
        return multiple(*self.take(limit))

    def take(self, limit: int) -> list[str]:
        granted = self.store.leases.lease(driver.request(max_leases=limit), TERMS)
        expected = [
            (job_id, position) for job_id, job in self.model.items() for position in job.available()
        ][:limit]
        assert [(lease.job.id, lease.position) for lease in granted] == expected
        for lease in granted:
            job = self.model[lease.job.id]
            held = job.pieces.get(lease.position)
            deaths = held.deaths if held else (0, 0)
            job.pieces[lease.position] = Piece("leased", lease.token, deaths)
            if job.state is JobState.QUEUED:
                job.state = JobState.RUNNING
            self.granted[lease.token] = lease
        return [lease.token for lease in granted]

    def held(self, token: str) -> tuple[ModelJob, Piece | None]:
        """The model's job of a token, and its piece if the token is the last that it had."""
        lease = self.granted[token]
        job = self.model[lease.job.id]
        piece = job.pieces.get(lease.position)
        return job, piece if piece is not None and piece.token == token else None

    @rule(token=tokens, num_samples=st.integers(0, 3))
    def beat(self, token: str, num_samples: int) -> None:
        job, piece = self.held(token)
        beat = Heartbeat(num_samples=num_samples)
        if piece is None or piece.state != "leased":
            with pytest.raises(StaleLeaseError):
                execution.heartbeat(self.store, token, beat, TERMS)
        else:
            ends = job.state in {JobState.CANCELLING, JobState.CANCELLED, JobState.FAILED}
            assert execution.heartbeat(self.store, token, beat, TERMS) == ends

    @rule(token=tokens)
    def report(self, token: str) -> None:
        lease = self.granted[token]
        job, piece = self.held(token)
        made: Any = FILES
        if lease.kind == "shard":
            made = driver.shard_report(driver.plan_of(lease.job, lease.position))
        if piece is not None and piece.state == "done":
            assert not execution.report(self.store, token, made)
        elif piece is None or piece.state != "leased":
            with pytest.raises(StaleLeaseError):
                execution.report(self.store, token, made)
        else:
            assert execution.report(self.store, token, made)
            piece.state, piece.record = "done", token
            job.settle()

    @rule(target=tokens)
    def finish_shards(self) -> Any:
        """Lease and report until summaries are all that is left, and lease those."""
        held = [
            piece.token
            for job in self.model.values()
            for position, piece in job.pieces.items()
            if piece.state == "leased" and position < NUM_SHARDS
        ]
        for token in held:
            self.report(token)
        tokens = self.take(9)
        for token in tokens:
            if self.granted[token].kind == "shard":
                self.report(token)
        return multiple(*tokens, *self.take(9))

    @rule(
        token=tokens,
        reason=st.sampled_from(["lost", "lost", "stopping", "cancelled", "failed", "store"]),
        num_samples=st.integers(0, 1),
    )
    def give_back(self, token: str, reason: str, num_samples: int) -> None:
        returned = LeaseReturn.model_validate({"reason": reason, "num_samples": num_samples})
        job, piece = self.held(token)
        if piece is None or piece.state == "done":
            with pytest.raises(StaleLeaseError):
                execution.give_back(self.store, token, returned)
            return
        verdict = execution.give_back(self.store, token, returned)
        if piece.state != "leased":
            assert verdict is None
            return
        if reason == "lost":
            count, where = piece.deaths
            piece.deaths = (count + 1 if count and where == num_samples else 1, num_samples)
        fails = reason == "failed" or (reason == "lost" and piece.deaths[0] >= DEATHS_TO_SET_ASIDE)
        piece.state = "set_aside" if fails else "open"
        if fails and job.state in {JobState.RUNNING, JobState.PAUSED, JobState.FINALIZING}:
            job.state = JobState.FAILED
        job.settle()
        if reason == "store":
            driver.age(self.store, BACK_OFF_IS_OVER_S)

    @rule()
    def silence(self) -> None:
        driver.age(self.store, TERMS.stall_s + 1)
        leased = [
            piece
            for job in self.model.values()
            for piece in job.pieces.values()
            if piece.state == "leased"
        ]
        assert self.store.leases.lapse(TERMS) == len(leased)
        for piece in leased:
            piece.state = "open"
        for job in self.model.values():
            job.settle()

    @rule(number=st.integers(0, 2), deletes=st.booleans())
    def cancel(self, number: int, deletes: bool) -> None:
        job = self.model.get(f"job{number}")
        if job is None:
            return
        if job.state is JobState.FINALIZING or (
            job.state.is_final and job.state is not JobState.CANCELLED
        ):
            with pytest.raises(StateConflictError):
                self.store.actions.cancel(f"job{number}", deletes=deletes)
            return
        self.store.actions.cancel(f"job{number}", deletes=deletes)
        job.clearing = job.clearing or (deletes and bool(job.pieces))
        if job.state is not JobState.CANCELLED or job.clearing:
            job.state = JobState.CANCELLING
        job.settle()

    @rule()
    def clear(self) -> None:
        """Delete what jobs left, as the service's loop does; another replica comes second."""
        due = {job.id: job.num for job in self.store.actions.awaiting_clearance()}
        expected = [
            job_id for job_id, job in self.model.items() if job.clearing and not job.count("leased")
        ]
        assert list(due) == expected
        for job_id, num in due.items():
            assert self.store.claims.take(num, awaits_clearance, "one", 60)
            assert self.store.claims.take(num, awaits_clearance, "two", 60) is None
            assert not self.store.actions.cleared(num, "two")
            assert self.store.actions.cleared(num, "one")
            assert not self.store.actions.cleared(num, "one")
            self.store.claims.release(num, "one")
            self.model[job_id] = ModelJob(state=JobState.CANCELLED)

    @rule(number=st.integers(0, 2), action=st.sampled_from(["pause", "resume", "retry"]))
    def steer(self, number: int, action: str) -> None:
        job = self.model.get(f"job{number}")
        if job is None:
            return
        verb = getattr(self.store.actions, action)
        begins, repeats = STEERED[action]
        if job.state not in begins | repeats:
            with pytest.raises(StateConflictError, match=f"is {job.state.value}"):
                verb(f"job{number}")
            return
        verb(f"job{number}")
        if job.state in begins:
            job.steer(action)

    @rule()
    def finish(self) -> None:
        due = {job.id: job.num for job in self.store.datasets.awaiting_manifest()}
        expected = [
            job_id
            for job_id, job in self.model.items()
            if job.state is JobState.FINALIZING
            and NUM_SHARDS in job.pieces
            and job.pieces[NUM_SHARDS].state == "done"
        ]
        assert list(due) == expected
        for job_id in expected:
            assert self.store.datasets.succeed(due[job_id], "0" * 64)
            assert not self.store.datasets.succeed(due[job_id], "1" * 64)
            self.model[job_id].state = JobState.SUCCEEDED

    @rule()
    def restart(self) -> None:
        self.replicas.pop().database.close()
        self.replicas.append(Store(Database(self.url)))

    @invariant()
    def the_store_is_as_the_model_says(self) -> None:
        model = getattr(self, "model", {})
        if not model:
            return
        store = self.store
        rows = {row.id: row for row in store.jobs.page(len(model))}
        rows_of: dict[int, dict[int, Any]] = {row.num: {} for row in rows.values()}
        with store.database.read() as connection:
            for found in connection.execute(select(shards)):
                rows_of[found.job_num][found.position] = found
        for job_id, job in model.items():
            row, held = rows[job_id], rows_of[rows[job_id].num]
            assert row.state == job.state
            assert (row.num_done, row.num_leased, row.num_set_aside) == (
                job.count("done"),
                job.count("leased"),
                job.count("set_aside"),
            )
            assert row.num_completed == 10 * job.count("done")
            assert {at: (piece.state, piece.token) for at, piece in job.pieces.items()} == {
                at: (found.state, found.token) for at, found in held.items()
            }
            assert all((found.record is not None) == (found.state == "done")
                       for found in held.values())  # fmt: skip


@pytest.fixture(params=["sqlite", "postgres"])
def fresh_database(
    request: pytest.FixtureRequest,
) -> Callable[[], AbstractContextManager[str]]:
    """What holds the URL of an empty, migrated database: one for each example."""
    made: Callable[[], AbstractContextManager[str]]
    made = request.getfixturevalue(f"fresh_{request.param}")
    return made


@pytest.fixture
def fresh_sqlite(migrated_sqlite: Path) -> Callable[[], AbstractContextManager[str]]:
    @contextmanager
    def fresh() -> Iterator[str]:
        with tempfile.TemporaryDirectory() as folder:
            path = shutil.copy(migrated_sqlite, Path(folder) / "service.db")
            yield f"sqlite:///{path}"

    return fresh


@pytest.fixture
def fresh_postgres(postgres_url: str) -> Callable[[], AbstractContextManager[str]]:
    """One database, emptied for each example: making one takes far longer."""
    tables = ", ".join(table.name for table in metadata.sorted_tables)

    @contextmanager
    def fresh() -> Iterator[str]:
        yield postgres_url
        database = Database(postgres_url)
        with database.write() as tx:
            tx.connection.execute(text(f"TRUNCATE {tables} RESTART IDENTITY CASCADE"))
        database.close()

    return fresh


def test_nothing_is_lost_and_nothing_committed_twice(
    fresh_database: Callable[[], AbstractContextManager[str]],
) -> None:
    StoreMachine.fresh_database = staticmethod(fresh_database)
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        StoreMachine,
        settings=settings(
            max_examples=25,
            stateful_step_count=40,
            suppress_health_check=list(HealthCheck),
        ),
    )
