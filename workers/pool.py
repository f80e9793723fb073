"""The worker pool, a Ray driver: leases work, gives it to actors, reports what becomes of it.

Placement, GPU fractions and autoscaling are Ray's: the pool asks for as many actors as there is
work, up to its limit, and gives them back when they have been idle. One token is one execution: Ray
retries nothing. When an actor or its node dies the pool gives its leases back, with what the dead
was doing (`workers/actors.py`). Each actor leases under its own fingerprint, since nodes of a
cluster may differ. The loop waits for Ray alone: the service is talked to on threads
(`workers/messenger.py`).
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future, wait
from typing import Any, Final

import ray
from ray.exceptions import RayError, RayTaskError

from synthforge.client import Client
from synthforge.jobs import GeneratorKind
from synthforge.json_logs import bound
from synthforge.leases import (
    MAX_LEASES_PER_REQUEST,
    MAX_MESSAGE,
    Lease,
    LeaseGrant,
    LeaseRequest,
    LeaseReturn,
    Report,
)
from synthforge.refusals import ApiError
from synthforge.shards import ShardRecord
from workers import undone
from workers.actors import (
    Actor,
    Seen,
    ask_last_words,
    begin_preview,
    call,
    preview_result,
    start_actor,
    told_words,
)
from workers.executions import Progress
from workers.hand_in import HandIn
from workers.heartbeats import Heartbeats
from workers.job_log import JobLog, about, listening
from workers.log_courier import LogCourier
from workers.messenger import Messenger, is_passing
from workers.pool_settings import PoolSettings
from workers.preview_desk import PreviewDesk, Seat
from workers.scaling import Held, wanted_change
from workers.slots import ActorKey, Awake, Dead, Slot, Work
from workers.starts import Starts
from workers.trouble import ActorSpent, MachineTrouble

log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 0.2
LOOK_SOON_S: Final = 0.02  # while the service owes an answer that an actor waits for
WATCH_EVERY_S: Final = 0.5
LAST_WORDS_S: Final = 10.0  # a node that does not answer for so long is lost
LEAVE_S: Final = 3.0  # twice: to take in what is granted at the end, and to give it back


class Pool:
    """Runs leases on Ray actors until it is told to stop.

    The client must not wait by itself (`retry_for_s=0`): the pool has heartbeats to send.
    """

    def __init__(
        self, settings: PoolSettings, client: Client, actor_class: type[Actor] = Actor
    ) -> None:
        """Start nothing yet; Ray must be connected."""
        self._settings = settings
        self._actor_class = actor_class
        self._client = client
        self._messenger = Messenger()
        self._hand_in = HandIn(client, self._messenger)
        self._job_log = JobLog(settings.secrets, settings.name)
        self._courier = LogCourier(
            settings.name, client, self._messenger, self._job_log, time.monotonic
        )
        self._previews = PreviewDesk(
            settings.name, client, self._messenger, begin_preview, preview_result
        )
        self._heartbeats = Heartbeats(client, self._messenger, time.monotonic)
        self._slots: list[Slot] = []
        self._dead: list[Dead] = []
        self._asked: dict[ActorKey, Future[LeaseGrant]] = {}
        self._ask_again_at: dict[ActorKey, float] = {}
        self._waiting: dict[GeneratorKind, int] = dict.fromkeys(settings.generators, 0)
        self._looking: Future[LeaseGrant] | None = None
        self._look_again_at = 0.0
        self._starts = Starts(time.monotonic)

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set, then give back what is not finished."""
        with bound(pool=self._settings.name), listening(self._job_log):
            self._run(stop)

    def _run(self, stop: threading.Event) -> None:
        try:
            while not stop.is_set():
                self._look_for_work()
                self._scale()
                self._top_up()
                self._read_summaries()
                self._collect()
                self._bury()
                self._watch()
                self._beat()
                self._end_stuck()
                self._previews.tend(self._seats())
                self._courier.tend()
                self._messenger.tend()
        finally:
            self._leave()

    # As many actors as there is work

    def _look_for_work(self) -> None:
        """Ask how much waits, while there may be more or other actors."""
        if self._looking is not None and self._looking.done():
            answer, self._looking = self._looking, None
            grant = self._granted(answer)
            if grant is not None:
                self._waiting = {kind: grant.waiting.get(kind, 0) for kind in self._waiting}
            self._look_again_at = time.monotonic() + (
                WATCH_EVERY_S if grant is None else grant.retry_after_s
            )
        has_choice = len(self._slots) < self._settings.bounds.most or len(self._waiting) > 1
        if has_choice and self._looking is None and time.monotonic() >= self._look_again_at:
            request = LeaseRequest(
                pool=self._settings.name, generators=self._settings.generators, fingerprint=None
            )
            self._looking = self._messenger.ask(lambda: self._client.lease(request))

    def _scale(self) -> None:
        settings, now = self._settings, time.monotonic()
        held = [Held(slot.kind, slot.is_busy, now - slot.idle_since) for slot in self._slots]
        change = wanted_change(self._waiting, held, settings.bounds)
        spent = [slot for slot in self._slots if slot.is_spent and not slot.is_busy]
        for slot in {*spent, *[self._slots[number] for number in change.stop]}:
            self._end(slot)
        for kind in change.start if self._starts.is_due else ():
            actor = start_actor(
                self._actor_class,
                settings.worker,
                num_cpus=settings.cpus_per_worker,
                num_gpus=settings.gpus_per_worker,
                shunned=self._starts.shunned(),
            )
            waking = call(actor, "wake", "make", kind)
            self._slots.append(Slot(kind, actor, waking, idle_since=now))

    def _end(self, slot: Slot) -> None:
        self._slots.remove(slot)
        ray.kill(slot.actor)

    def _seats(self) -> list[Seat]:
        """Return the actors that are warm."""
        return [
            Seat(slot.kind, slot.actor, slot.is_busy)
            for slot in self._slots
            if slot.awake is not None and not slot.is_spent
        ]

    # Leases

    def _top_up(self) -> None:
        """Lease as much as there are free actors, under the fingerprint of each."""
        free: dict[ActorKey, list[Slot]] = {}
        for slot in self._slots:
            if slot.is_free and slot.awake is not None:
                free.setdefault((slot.kind, slot.awake.fingerprint.id), []).append(slot)
        for key, slots in free.items():
            due = time.monotonic() >= self._ask_again_at.get(key, 0.0)
            if due and key not in self._asked and slots[0].awake is not None:
                self._asked[key] = self._ask(key, len(slots), slots[0].awake)
        for key, answer in list(self._asked.items()):
            if answer.done():
                del self._asked[key]
                self._begin_granted(key, answer)

    def _ask(self, key: ActorKey, num_free: int, awake: Awake) -> Future[LeaseGrant]:
        request = LeaseRequest(
            pool=self._settings.name,
            generators=(key[0],),
            fingerprint=awake.fingerprint,
            max_leases=min(num_free, MAX_LEASES_PER_REQUEST),
        )
        return self._messenger.ask(lambda: self._client.lease(request))

    def _granted(self, answer: Future[LeaseGrant]) -> LeaseGrant | None:
        """Return what the service answered; None where it may answer later."""
        try:
            return answer.result()
        except ApiError as error:
            if not is_passing(error):
                raise
            log.warning("no answer from the service: %s", error)
            return None

    def _begin_granted(self, key: ActorKey, answer: Future[LeaseGrant]) -> None:
        grant = self._granted(answer)
        if grant is None:
            self._ask_again_at[key] = time.monotonic() + WATCH_EVERY_S
            return
        leases = list(grant.leases)
        self._waiting[key[0]] = max(0, self._waiting[key[0]] - len(leases)) if leases else 0
        for slot in self._slots:
            if leases and slot.is_free and slot.key == key:
                self._begin(slot, leases.pop(0))
        for lease in leases:  # their actors are gone since they were asked for
            self._hand_in.give_back(lease, LeaseReturn(reason="stopping"))
        if not grant.leases:
            self._ask_again_at[key] = time.monotonic() + grant.retry_after_s

    def _begin(self, slot: Slot, lease: Lease) -> None:
        with about(lease):
            log.info("an actor begins with it")
            self._begin_with(slot, lease)

    def _begin_with(self, slot: Slot, lease: Lease) -> None:
        now, token = time.monotonic(), lease.token
        slot.works[token] = Work(lease, answered_at=now, beat_at=now)
        slot.making_token = token
        if lease.kind == "shard":
            slot.making = call(slot.actor, "make", "make", lease)
        else:
            slot.reading = self._messenger.ask(lambda: tuple(self._client.committed_shards(token)))

    def _read_summaries(self) -> None:
        """Hand the records of a job to the actors that summarise, once the service gave them."""
        for slot in self._slots:
            if slot.reading is not None and slot.reading.done():
                answer, slot.reading = slot.reading, None
                self._begin_summary(slot, answer)

    def _begin_summary(self, slot: Slot, answer: Future[tuple[ShardRecord, ...]]) -> None:
        token = slot.making_token
        try:
            shards = answer.result()
        except ApiError as error:
            self._give_back(
                slot, token, LeaseReturn(reason="store", message=str(error)[:MAX_MESSAGE])
            )
            slot.end_making()
            return
        work = slot.works.get(token)
        if work is None:  # the lease was lost on the way
            slot.end_making()
        else:
            slot.making = call(slot.actor, "summarise", "make", work.lease, shards)

    # What actors answer

    def _collect(self) -> None:
        """Take in what actors have finished; waits a moment when there is nothing."""
        owners = {ref: slot for slot in self._slots for ref in slot.refs()}
        is_awaited = (
            self._asked
            or self._looking is not None
            or any(slot.reading is not None for slot in self._slots)
        )
        timeout_s = LOOK_SOON_S if is_awaited else LOOK_EVERY_S
        if not owners:
            time.sleep(timeout_s)
            return
        ray.wait(list(owners), num_returns=1, timeout=timeout_s)
        ready, _ = ray.wait(list(owners), num_returns=len(owners), timeout=0)
        for ref in ready:
            slot = owners[ref]
            if slot not in self._slots:
                continue  # it died a moment ago; what it held is given back
            try:
                self._settle(slot, ref)
            except RayError as error:
                self._note_dead(slot, error)

    def _settle(self, slot: Slot, ref: Any) -> None:
        if ref == slot.watching:
            slot.watching = None
            self._note_seen(slot, ray.get(ref))
        elif ref == slot.waking:
            slot.awake, slot.waking = ray.get(ref), None
            self._starts.went_well()
        elif ref == slot.making:
            slot.has_news = True
            self._settle_made(slot, ref)
        else:
            slot.has_news = True
            self._finish(slot, slot.delivering[ref], ref)
            del slot.delivering[ref]
        if not slot.is_busy:
            slot.idle_since = time.monotonic()

    def _settle_made(self, slot: Slot, ref: Any) -> None:
        token = slot.making_token
        work = slot.works.get(token)
        if work is not None and work.lease.kind == "summary":
            self._finish(slot, token, ref)
        else:
            try:
                progress: Progress = ray.get(ref)
            except RayTaskError as error:
                self._give_back_failed(slot, token, error)
            else:
                self._deliver(slot, token, work, progress)
        slot.end_making()

    def _deliver(self, slot: Slot, token: str, work: Work | None, progress: Progress) -> None:
        if work is None:  # the lease was lost on the way: nobody waits for this shard
            call(slot.actor, "discard", "deliver", token)
            return
        work.progress = progress
        slot.delivering[call(slot.actor, "deliver", "deliver", token)] = token

    def _finish(self, slot: Slot, token: str, ref: Any) -> None:
        """Report what lies in the store, or give back what does not."""
        try:
            report: Report = ray.get(ref)
        except RayTaskError as error:
            self._give_back_failed(slot, token, error)
            return
        work = slot.works.pop(token, None)
        if work is None:
            return  # the lease was lost on the way: another execution counts
        self._hand_in.report(work.lease, report)

    def _note_seen(self, slot: Slot, seen: Seen) -> None:
        self._job_log.put(seen.lines)
        for token, progress in seen.progress.items():
            if token in slot.works:
                slot.works[token].progress = progress

    # Leases live on

    def _watch(self) -> None:
        """Ask each busy actor how far it is and what it logged, on a thread of its own."""
        now = time.monotonic()
        for slot in self._slots:
            is_due = slot.watching is None and now - slot.watched_at >= WATCH_EVERY_S
            if is_due and (slot.works or slot.has_news):
                slot.watching = call(slot.actor, "look", "watch")
                slot.watched_at, slot.has_news = now, False

    def _beat(self) -> None:
        """Send the heartbeats that are due; stop what is not ours any more."""
        for slot in self._slots:

            def cancel(token: str, actor: Any = slot.actor) -> None:
                call(actor, "cancel", "watch", token)

            def abandon(token: str, slot: Slot = slot) -> None:
                """Stop an execution whose lease is gone; nothing of it will be reported."""
                slot.lose(token, time.monotonic())
                call(slot.actor, "cancel", "watch", token)

            self._heartbeats.tend(slot.works, abandon, cancel)

    # Work comes back

    def _end_stuck(self) -> None:
        """End actors that hang; others take their places, on other nodes where there are any."""
        for slot in [each for each in self._slots if each.is_stuck(time.monotonic())]:
            log.warning("an actor does not stop: it is ended")
            self._take_delivered(slot)
            for token in list(slot.works):
                self._give_back(slot, token, LeaseReturn(reason="interrupted"))
            if slot.awake is not None:
                self._starts.shun(slot.awake.node)
            self._end(slot)

    def _give_back(self, slot: Slot, token: str, returned: LeaseReturn) -> None:
        work = slot.works.pop(token, None)
        if work is not None:
            self._hand_in.give_back(work.lease, returned)

    def _give_back_failed(self, slot: Slot, token: str, error: RayTaskError) -> None:
        if isinstance(error.cause, ActorSpent):
            slot.is_spent = True
        if isinstance(error.cause, MachineTrouble) and slot.awake is not None:
            self._starts.shun(slot.awake.node)
        work = slot.works.pop(token, None)
        if work is not None:
            with about(work.lease):
                returned = undone.of_error(error.cause, work.progress.num_samples)
            self._hand_in.give_back(work.lease, returned)

    def _note_dead(self, slot: Slot, error: RayError) -> None:
        """Take a dead actor out, and ask its node what it was doing."""
        log.warning("an actor died: %s", " ".join(str(error).split())[:1000])
        self._take_delivered(slot)
        self._end(slot)  # one that is only out of reach must not go on beside its successor
        cause = error.cause if isinstance(error, RayTaskError) else error
        reason = (str(cause).strip() or type(cause).__name__).splitlines()[0][:500]
        if slot.awake is not None:  # before it woke it held nothing
            words = ask_last_words(slot.awake)
            until = time.monotonic() + LAST_WORDS_S
            self._dead.append(Dead(reason, slot.works, slot.making_token, words, until))
        elif isinstance(error, RayTaskError) or getattr(error, "actor_init_failed", False):
            self._note_unborn(reason, error)

    def _note_unborn(self, reason: str, error: RayError) -> None:
        """Start another later; give up where no actor of this pool can start."""
        self._starts.failed()
        if not self._starts.any_went_well and not self._slots:
            raise RuntimeError(f"a worker cannot start: {reason}") from error

    def _take_delivered(self, slot: Slot) -> None:
        """Report what an actor delivered before it died."""
        if not slot.delivering:
            return
        ready, _ = ray.wait(list(slot.delivering), num_returns=len(slot.delivering), timeout=0)
        for ref in ready:
            try:
                self._finish(slot, slot.delivering[ref], ref)
            except RayError:
                continue  # its lease comes back with the others

    def _bury(self) -> None:
        """Give the leases of dead actors back, once it is known what they were doing."""
        for dead in list(self._dead):
            if not dead.words.done() and time.monotonic() < dead.until:
                continue
            self._dead.remove(dead)
            words = told_words(dead.words)
            for work in dead.works.values():
                self._hand_in.give_back(work.lease, undone.of_death(dead, work, words))

    def _leave(self) -> None:
        """Give everything back, also what the service grants at this moment."""
        held = [slot.works for slot in self._slots] + [dead.works for dead in self._dead]
        for work in [work for works in held for work in works.values()]:
            self._hand_in.give_back(work.lease, LeaseReturn(reason="stopping"))
        for slot in self._slots:
            ray.kill(slot.actor)
        for answer in wait(self._asked.values(), timeout=LEAVE_S).done:
            if answer.exception() is None:
                for lease in answer.result().leases:
                    self._hand_in.give_back(lease, LeaseReturn(reason="stopping"))
        self._courier.close(LEAVE_S)
        self._messenger.close(LEAVE_S)
