"""The worker pool, a Ray driver: leases work, gives it to actors, reports what becomes of it.

Placement, GPU fractions and autoscaling are Ray's. One token is one execution: Ray retries
nothing. When an actor or its node dies the pool gives its leases back as `lost` and starts
another actor. The only file that imports Ray besides `workers/ray_runtime.py`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

import ray
from ray.exceptions import RayActorError, RayTaskError

from synthforge.client import Client, ConflictError, NotFoundError, UnavailableError
from synthforge.jobs import Generator, GeneratorKind
from synthforge.leases import Heartbeat, Lease, LeaseRequest, LeaseReturn, Report
from synthforge.shards import Fingerprint
from synthforge.storage import StorageUnavailable
from workers.face_stream import PlanError
from workers.shard_worker import Cancelled, Progress, ShardWorker, WorkerSettings

log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 0.2
WATCH_EVERY_S: Final = 0.5
_THREADS: Final = {"make": 1, "deliver": 1, "watch": 1}
_GONE: Final = (ConflictError, NotFoundError)  # the lease is another's, or was never there


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
    generators: tuple[GeneratorKind, ...] = ("builtin",)


@dataclass
class _Work:
    """A lease that an actor holds."""

    lease: Lease
    answered_at: float
    beat_at: float
    progress: Progress = field(default_factory=lambda: Progress(0, 0))
    cancelled_by_service: bool = False


@dataclass(frozen=True)
class _Untold:
    """A result that the service has not taken yet."""

    call: Callable[[], object]
    until: float


@dataclass
class _Slot:
    """An actor, what it makes and what it delivers."""

    number: int
    actor: Any
    works: dict[str, _Work] = field(default_factory=dict)
    making: Any = None
    making_token: str = ""
    delivering: dict[Any, str] = field(default_factory=dict)
    watching: Any = None
    watched_at: float = 0.0

    @property
    def is_free(self) -> bool:
        """Whether it can begin with another lease."""
        return self.making is None

    def refs(self) -> list[Any]:
        """Return everything that Ray is still to answer."""
        held = [ref for ref in (self.making, self.watching) if ref is not None]
        return held + list(self.delivering)


class Pool:
    """Runs leases on Ray actors until it is told to stop.

    The client must not wait by itself (`retry_for_s=0`): the pool has heartbeats to send.
    """

    def __init__(self, settings: PoolSettings, client: Client) -> None:
        """Start the actors; Ray must be connected."""
        self._settings = settings
        self._client = client
        self._slots = [self._started(number) for number in range(settings.num_workers)]
        self._ask_again_at = 0.0
        self._untold: list[_Untold] = []
        self._fingerprint = self._first_fingerprint()

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set, then give back what is not finished."""
        try:
            while not stop.is_set():
                self._top_up()
                self._collect()
                self._watch()
                self._beat()
                self._tell_all()
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
        return _Slot(number, actor_class.remote(replace(settings.worker, scratch=scratch)))

    def _first_fingerprint(self) -> Fingerprint:
        """Ask an actor, which also loads the generator before the first lease's clock runs."""
        generator = Generator(kind=self._settings.generators[0])
        asked = [_call(slot.actor, "fingerprint", "make", generator) for slot in self._slots]
        fingerprints: list[Fingerprint] = ray.get(asked)
        return fingerprints[0]

    def _top_up(self) -> None:
        """Lease as much as there are free actors."""
        free = [slot for slot in self._slots if slot.is_free]
        now = time.monotonic()
        if not free or now < self._ask_again_at:
            return
        request = LeaseRequest(
            pool=self._settings.name,
            generators=self._settings.generators,
            fingerprint=self._fingerprint,
            max_leases=len(free),
        )
        try:
            grant = self._client.lease(request)
        except UnavailableError as error:
            log.warning("no answer from the service: %s", error)
            self._ask_again_at = now + WATCH_EVERY_S
            return
        for slot, lease in zip(free, grant.leases, strict=False):
            self._begin(slot, lease)
        if len(grant.leases) < len(free):
            self._ask_again_at = time.monotonic() + grant.retry_after_s

    def _begin(self, slot: _Slot, lease: Lease) -> None:
        now = time.monotonic()
        slot.works[lease.token] = _Work(lease, answered_at=now, beat_at=now)
        slot.making_token = lease.token
        if lease.kind == "shard":
            slot.making = _call(slot.actor, "make", "make", lease)
        else:
            self._begin_summary(slot, lease)

    def _begin_summary(self, slot: _Slot, lease: Lease) -> None:
        try:
            shards = tuple(self._client.committed_shards(lease.token))
        except (*_GONE, UnavailableError) as error:
            self._give_back(slot, lease.token, LeaseReturn(reason="store", message=str(error)))
            slot.making_token = ""
        else:
            slot.making = _call(slot.actor, "summarise", "make", lease, shards)

    def _collect(self) -> None:
        """Take in what actors have finished; waits a moment when there is nothing."""
        refs = [ref for slot in self._slots for ref in slot.refs()]
        if not refs:
            time.sleep(LOOK_EVERY_S)
            return
        ready, _ = ray.wait(refs, num_returns=1, timeout=LOOK_EVERY_S)
        for ref in ready:
            slot = next(slot for slot in self._slots if ref in slot.refs())
            try:
                self._settle(slot, ref)
            except RayActorError as error:
                self._replace_dead(slot, error)

    def _settle(self, slot: _Slot, ref: Any) -> None:
        if ref == slot.watching:
            slot.watching = None
            self._note_progress(slot, ray.get(ref))
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
        self._tell(lambda: self._client.report(token, report), work.lease.lease_s)

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
                if now - work.beat_at >= work.lease.heartbeat_s:
                    work.beat_at = now
                    self._beat_one(slot, token, work)

    def _beat_one(self, slot: _Slot, token: str, work: _Work) -> None:
        beat = Heartbeat(
            num_samples=work.progress.num_samples, num_rejected=work.progress.num_rejected
        )
        try:
            answer = self._client.heartbeat(token, beat)
        except _GONE:
            self._abandon(slot, token)
        except UnavailableError:
            # Fenced by our own clock: unanswered for so long, the lease may be another's by now.
            if time.monotonic() - work.answered_at > work.lease.lease_s:
                self._abandon(slot, token)
        else:
            work.answered_at = time.monotonic()
            if answer.cancelled and not work.cancelled_by_service:
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
        log.info("lease %s comes back: %s %s", token, undone.reason, undone.message)
        self._tell(lambda: self._client.return_(token, counted), work.lease.lease_s)

    def _replace_dead(self, slot: _Slot, error: RayActorError) -> None:
        """Return all that a dead actor held as lost, and start another in its place."""
        reason = str(error).strip().splitlines()[0]
        if error.actor_init_failed:
            raise RuntimeError(f"a worker cannot start: {reason}") from error
        log.warning("actor %d died: %s", slot.number, reason)
        for token in list(slot.works):
            self._give_back(slot, token, LeaseReturn(reason="lost", message=reason[:500]))
        self._slots[self._slots.index(slot)] = self._started(slot.number)

    def _leave(self) -> None:
        for slot in self._slots:
            for token in list(slot.works):
                self._give_back(slot, token, LeaseReturn(reason="stopping"))
            ray.kill(slot.actor)

    def _tell(self, call: Callable[[], object], lease_s: float) -> None:
        """Send a result now, or, while the service does not answer, until the lease is over."""
        self._untold.append(_Untold(call, time.monotonic() + lease_s))
        self._tell_all()

    def _tell_all(self) -> None:
        waiting = []
        for untold in self._untold:
            try:
                untold.call()
            except _GONE as error:
                log.info("the lease was no longer ours: %s", error)
            except UnavailableError as error:
                if time.monotonic() < untold.until:
                    waiting.append(untold)
                else:
                    log.warning("the service did not take a result, its lease lapses: %s", error)
        self._untold = waiting


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
    if isinstance(cause, PlanError):
        return LeaseReturn(reason="failed", message=message)
    log.error("a worker failed", exc_info=error)
    return LeaseReturn(reason="failed", message=f"{type(cause).__name__}: {message}"[:2000])
