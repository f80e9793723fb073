"""The worker pool, a Ray driver: leases work, gives it to actors, reports what becomes of it.

Placement, GPU fractions and autoscaling are Ray's. One token is one execution: Ray retries
nothing. When an actor or its node dies the pool gives its leases back as `lost` and starts
another actor. Each actor leases under its own fingerprint, since nodes of a cluster may differ.
The loop waits for Ray alone: the service is talked to on threads (`workers/messenger.py`).
The only file that imports Ray besides `workers/ray_runtime.py`.
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future, wait
from dataclasses import dataclass, field, replace
from typing import Any, Final

import ray
from ray.exceptions import ObjectLostError, RayActorError, RayTaskError

from synthforge.client import ApiError, Client
from synthforge.jobs import GENERATOR_KINDS, Generator, GeneratorKind
from synthforge.leases import (
    MAX_LEASES_PER_REQUEST,
    Heartbeat,
    HeartbeatAnswer,
    Lease,
    LeaseGrant,
    LeaseRequest,
    LeaseReturn,
    Report,
)
from synthforge.shards import Fingerprint, ShardRecord
from synthforge.storage import StorageError, StorageUnavailable
from workers.face_stream import PlanError
from workers.messenger import Messenger, is_gone, is_passing
from workers.shard_worker import Cancelled, Progress, ShardWorker, WorkerSettings

log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 0.2
LOOK_SOON_S: Final = 0.02  # while the service owes an answer that an actor waits for
WATCH_EVERY_S: Final = 0.5
LEAVE_S: Final = 5.0  # to tell the service what a pool that leaves gives back
_THREADS: Final = {"make": 1, "deliver": 1, "watch": 1}


@dataclass(frozen=True)
class PoolSettings:
    """What an operator sets of a pool.

    Attributes:
        name: of the pool, unique on the service.
        num_workers: actors.
        cpus_per_worker: of Ray's count; fractions are allowed, so too of GPUs.
        gpus_per_worker: of Ray's count.
        generators: kinds that the actors can run.
        worker: settings of each actor.
    """

    name: str
    num_workers: int
    worker: WorkerSettings
    cpus_per_worker: float = 1.0
    gpus_per_worker: float = 0.0
    generators: tuple[GeneratorKind, ...] = GENERATOR_KINDS


@dataclass
class _Work:
    """A lease that an actor holds."""

    lease: Lease
    answered_at: float
    beat_at: float
    beating: Future[HeartbeatAnswer] | None = None
    progress: Progress = field(default_factory=lambda: Progress(0, 0))
    cancelled_by_service: bool = False


@dataclass(eq=False)
class _Slot:
    """An actor, what it makes and what it delivers.

    `waking` is its answer to what its fingerprint is, `reading` what the service has of the job
    that it is to summarise.
    """

    number: int
    actor: Any
    waking: Any = None
    fingerprint: Fingerprint | None = None
    reading: Future[tuple[ShardRecord, ...]] | None = None
    works: dict[str, _Work] = field(default_factory=dict)
    making: Any = None
    making_token: str = ""
    delivering: dict[Any, str] = field(default_factory=dict)
    watching: Any = None
    watched_at: float = 0.0

    @property
    def is_free(self) -> bool:
        """Whether it can begin with another lease."""
        return self.fingerprint is not None and not self.making_token

    def refs(self) -> list[Any]:
        """Return everything that Ray is still to answer."""
        held = [ref for ref in (self.waking, self.making, self.watching) if ref is not None]
        return held + list(self.delivering)


class Pool:
    """Runs leases on Ray actors until it is told to stop.

    The client must not wait by itself (`retry_for_s=0`): the pool has heartbeats to send.
    """

    def __init__(self, settings: PoolSettings, client: Client) -> None:
        """Start the actors; Ray must be connected."""
        self._settings = settings
        self._client = client
        self._messenger = Messenger()
        self._asked: dict[str, Future[LeaseGrant]] = {}  # by the fingerprint asked for
        self._ask_again_at: dict[str, float] = {}
        self._slots = [self._started(number) for number in range(settings.num_workers)]

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set, then give back what is not finished."""
        try:
            while not stop.is_set():
                self._top_up()
                self._read_summaries()
                self._collect()
                self._watch()
                self._beat()
                self._messenger.tend()
        finally:
            self._leave()

    def _started(self, number: int) -> _Slot:
        settings = self._settings
        scratch = settings.worker.scratch / f"actor-{number}-{time.monotonic_ns()}"
        actor_class = ray.remote(
            num_cpus=settings.cpus_per_worker,
            num_gpus=settings.gpus_per_worker,
            max_restarts=0,
            max_task_retries=0,
            concurrency_groups=_THREADS,
        )(ShardWorker)
        actor = actor_class.remote(replace(settings.worker, scratch=scratch))
        # The question also loads the generator before the first lease's clock runs.
        generator = Generator(kind=settings.generators[0])
        return _Slot(number, actor, waking=_call(actor, "fingerprint", "make", generator))

    def _top_up(self) -> None:
        """Lease as much as there are free actors, under the fingerprint of each."""
        free: dict[str, list[_Slot]] = {}
        for slot in self._slots:
            if slot.is_free and slot.fingerprint is not None:
                free.setdefault(slot.fingerprint.id, []).append(slot)
        for key, slots in free.items():
            due = time.monotonic() >= self._ask_again_at.get(key, 0.0)
            if due and key not in self._asked:
                self._ask(key, slots)
        for key, answer in list(self._asked.items()):
            if answer.done():
                del self._asked[key]
                self._begin_granted(key, answer)

    def _ask(self, key: str, free: list[_Slot]) -> None:
        assert free[0].fingerprint is not None  # noqa: S101 - it is free
        request = LeaseRequest(
            pool=self._settings.name,
            generators=self._settings.generators,
            fingerprint=free[0].fingerprint,
            max_leases=min(len(free), MAX_LEASES_PER_REQUEST),
        )
        self._asked[key] = self._messenger.ask(lambda: self._client.lease(request))

    def _begin_granted(self, key: str, answer: Future[LeaseGrant]) -> None:
        try:
            grant = answer.result()
        except ApiError as error:
            if not is_passing(error):
                raise
            log.warning("no answer from the service: %s", error)
            self._ask_again_at[key] = time.monotonic() + WATCH_EVERY_S
            return
        leases = list(grant.leases)
        for slot in self._slots:
            if leases and slot.is_free and slot.fingerprint and slot.fingerprint.id == key:
                self._begin(slot, leases.pop(0))
        for lease in leases:  # their actors died since they were asked for
            self._return(lease, LeaseReturn(reason="stopping"))
        if not grant.leases:
            self._ask_again_at[key] = time.monotonic() + grant.retry_after_s

    def _begin(self, slot: _Slot, lease: Lease) -> None:
        now = time.monotonic()
        token = lease.token
        slot.works[token] = _Work(lease, answered_at=now, beat_at=now)
        slot.making_token = token
        if lease.kind == "shard":
            slot.making = _call(slot.actor, "make", "make", lease)
        else:
            slot.reading = self._messenger.ask(lambda: tuple(self._client.committed_shards(token)))

    def _read_summaries(self) -> None:
        """Hand the records of a job to the actors that summarise, once the service gave them."""
        for slot in self._slots:
            if slot.reading is not None and slot.reading.done():
                answer, slot.reading = slot.reading, None
                self._begin_summary(slot, answer)

    def _begin_summary(self, slot: _Slot, answer: Future[tuple[ShardRecord, ...]]) -> None:
        token = slot.making_token
        try:
            shards = answer.result()
        except ApiError as error:
            self._give_back(slot, token, LeaseReturn(reason="store", message=str(error)[:2000]))
            slot.making_token = ""
            return
        work = slot.works.get(token)
        if work is None:  # the lease was lost on the way
            slot.making_token = ""
        else:
            slot.making = _call(slot.actor, "summarise", "make", work.lease, shards)

    def _collect(self) -> None:
        """Take in what actors have finished; waits a moment when there is nothing."""
        owners = {ref: slot for slot in self._slots for ref in slot.refs()}
        is_awaited = self._asked or any(slot.reading is not None for slot in self._slots)
        timeout_s = LOOK_SOON_S if is_awaited else LOOK_EVERY_S
        if not owners:
            time.sleep(timeout_s)
            return
        ray.wait(list(owners), num_returns=1, timeout=timeout_s)
        ready, _ = ray.wait(list(owners), num_returns=len(owners), timeout=0)
        for ref in ready:
            slot = owners[ref]
            if slot not in self._slots:
                continue  # it died a moment ago; what it held was given back
            try:
                self._settle(slot, ref)
            except (RayActorError, ObjectLostError) as error:
                self._replace_dead(slot, error)

    def _settle(self, slot: _Slot, ref: Any) -> None:
        if ref == slot.watching:
            slot.watching = None
            self._note_progress(slot, ray.get(ref))
        elif ref == slot.waking:
            slot.fingerprint = ray.get(ref)
            slot.waking = None
        elif ref == slot.making:
            self._settle_made(slot, ref)
        else:
            token = slot.delivering[ref]
            self._finish(slot, token, ref)
            del slot.delivering[ref]

    def _settle_made(self, slot: _Slot, ref: Any) -> None:
        token = slot.making_token
        work = slot.works.get(token)
        if work is not None and work.lease.kind == "summary":
            self._finish(slot, token, ref)
        else:
            try:
                progress: Progress = ray.get(ref)
            except RayTaskError as error:
                self._give_back(slot, token, _undone(error))
            else:
                self._deliver(slot, token, work, progress)
        slot.making, slot.making_token = None, ""

    def _deliver(self, slot: _Slot, token: str, work: _Work | None, progress: Progress) -> None:
        if work is None:  # the lease was lost on the way: nobody waits for this shard
            _call(slot.actor, "discard", "deliver", token)
            return
        work.progress = progress
        slot.delivering[_call(slot.actor, "deliver", "deliver", token)] = token

    def _finish(self, slot: _Slot, token: str, ref: Any) -> None:
        """Report what lies in the store, or give back what does not."""
        try:
            report: Report = ray.get(ref)
        except RayTaskError as error:
            self._give_back(slot, token, _undone(error))
            return
        work = slot.works.pop(token, None)
        if work is None:
            return  # the lease was lost on the way: another execution counts
        lease = work.lease

        def give_up(error: ApiError) -> None:
            log.error("the report of lease %s is refused: %s", token, error)
            self._return(lease, LeaseReturn(reason="failed", message=f"refused: {error}"[:2000]))

        self._messenger.tell(lambda: self._client.report(token, report), lease.lease_s, give_up)

    def _note_progress(self, slot: _Slot, seen: dict[str, Progress]) -> None:
        for token, progress in seen.items():
            if token in slot.works:
                slot.works[token].progress = progress

    def _watch(self) -> None:
        """Ask each busy actor how far it is, on a thread of its own."""
        now = time.monotonic()
        for slot in self._slots:
            if slot.works and slot.watching is None and now - slot.watched_at >= WATCH_EVERY_S:
                slot.watching = _call(slot.actor, "watch", "watch")
                slot.watched_at = now

    def _beat(self) -> None:
        """Send the heartbeats that are due; stop what is not ours any more."""
        now = time.monotonic()
        for slot in self._slots:
            for token, work in list(slot.works.items()):
                if work.beating is not None and work.beating.done():
                    answer, work.beating = work.beating, None
                    self._take_answer(slot, token, work, answer)
                if token not in slot.works:
                    continue
                if work.beating is None and now - work.beat_at >= work.lease.heartbeat_s:
                    work.beat_at = now
                    work.beating = self._sent_beat(token, work.progress)
                # Fenced by our own clock: the lease may be another's by now.
                if now - work.answered_at > work.lease.lease_s:
                    self._abandon(slot, token)

    def _sent_beat(self, token: str, progress: Progress) -> Future[HeartbeatAnswer]:
        beat = Heartbeat(num_samples=progress.num_samples, num_rejected=progress.num_rejected)
        return self._messenger.ask(lambda: self._client.heartbeat(token, beat))

    def _take_answer(
        self, slot: _Slot, token: str, work: _Work, answer: Future[HeartbeatAnswer]
    ) -> None:
        try:
            told = answer.result()
        except ApiError as error:
            if is_gone(error):
                self._abandon(slot, token)
            else:
                log.warning("heartbeat of lease %s: %s", token, error)
            return
        work.answered_at = work.beat_at  # the service counts from when it was asked, or later
        if told.cancelled and not work.cancelled_by_service:
            work.cancelled_by_service = True
            _call(slot.actor, "cancel", "watch", token)

    def _abandon(self, slot: _Slot, token: str) -> None:
        """Stop an execution whose lease is gone; nothing of it will be reported."""
        slot.works.pop(token, None)
        _call(slot.actor, "cancel", "watch", token)

    def _give_back(self, slot: _Slot, token: str, undone: LeaseReturn) -> None:
        work = slot.works.pop(token, None)
        if work is None:
            return
        counted = undone.model_copy(update={"num_samples": work.progress.num_samples})
        self._return(work.lease, counted)

    def _return(self, lease: Lease, undone: LeaseReturn) -> None:
        log.info("lease %s comes back: %s %s", lease.token, undone.reason, undone.message)
        self._messenger.tell(lambda: self._client.return_(lease.token, undone), lease.lease_s)

    def _replace_dead(self, slot: _Slot, error: RayActorError | ObjectLostError) -> None:
        """Return all that a dead actor held as lost, and start another in its place."""
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        if isinstance(error, RayActorError) and error.actor_init_failed:
            raise RuntimeError(f"a worker cannot start: {reason}") from error
        log.warning("actor %d died: %s", slot.number, reason)
        self._take_delivered(slot)
        ray.kill(slot.actor)  # one that is only out of reach must not go on beside its successor
        for token in list(slot.works):
            self._give_back(slot, token, LeaseReturn(reason="lost", message=reason[:500]))
        self._slots[self._slots.index(slot)] = self._started(slot.number)

    def _take_delivered(self, slot: _Slot) -> None:
        """Report what an actor delivered before it died."""
        if not slot.delivering:
            return
        ready, _ = ray.wait(list(slot.delivering), num_returns=len(slot.delivering), timeout=0)
        for ref in ready:
            try:
                self._finish(slot, slot.delivering[ref], ref)
            except (RayActorError, ObjectLostError):
                continue  # its lease comes back with the others

    def _leave(self) -> None:
        """Give everything back, also what the service grants at this moment."""
        for slot in self._slots:
            for token in list(slot.works):
                self._give_back(slot, token, LeaseReturn(reason="stopping"))
            ray.kill(slot.actor)
        for answer in wait(self._asked.values(), timeout=LEAVE_S).done:
            if answer.exception() is None:
                for lease in answer.result().leases:
                    self._return(lease, LeaseReturn(reason="stopping"))
        self._messenger.close(LEAVE_S)


def _call(actor: Any, method: str, group: str, *arguments: object) -> Any:
    """Call an actor's method on the thread of a concurrency group."""
    return getattr(actor, method).options(concurrency_group=group).remote(*arguments)


def _undone(error: RayTaskError) -> LeaseReturn:
    """Tell from an actor's exception what the service should do: try again, or give up."""
    cause = error.cause
    message = f"{cause}".strip()[:2000]
    if isinstance(cause, Cancelled):
        return LeaseReturn(reason="cancelled")
    if isinstance(cause, StorageUnavailable):
        return LeaseReturn(reason="store", message=message)
    if isinstance(cause, PlanError | StorageError):
        return LeaseReturn(reason="failed", message=message)
    if isinstance(cause, OSError | MemoryError):  # this machine's trouble, not the plan's
        log.warning("a worker lacks something: %s", message)
        return LeaseReturn(reason="lost", message=f"{type(cause).__name__}: {message}"[:2000])
    log.error("a worker failed", exc_info=error)
    return LeaseReturn(reason="failed", message=f"{type(cause).__name__}: {message}"[:2000])
