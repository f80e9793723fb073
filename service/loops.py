"""What the service does by itself: lapsed leases are taken back, finished jobs get a manifest."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from service import clearing, manifests, previews
from service.context import Context
from service.launcher import Launcher
from service.patience import Patience
from service.store.rows import JobRow
from service.webhooks import Deliverer
from synthforge.storage import NotFound, StorageError, StorageRefused

_LOG: Final = logging.getLogger(__name__)
PREVIEWS_SWEPT_EVERY_S: Final = 30.0
RATES_KEPT_EVERY_S: Final = 5.0
MOST_REFUSALS: Final = 8  # in a row, about two minutes: no passing trouble
_STOP_S: Final = 5.0  # steps on their way get so long at shutdown, all together


class Loop:
    """A thread that takes one step after another, at an interval or when it is woken.

    A step that fails is counted, and the next comes all the same: what a step does is decided by
    the database, so nothing is lost with it. Of those that fail in a row ever fewer are logged: a
    night without a database must not fill the disk with its log.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], object],
        interval_s: float,
        failed: Callable[[str], None],
        woken: threading.Event | None = None,
    ) -> None:
        self._name = name
        self._step = step
        self._interval_s = interval_s
        self._failed = failed
        self._woken = woken or threading.Event()
        self._stopped = False
        self._num_failed = 0  # in a row
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Take no further step; one that is on its way goes on."""
        self._stopped = True
        self._woken.set()

    def join(self, timeout_s: float) -> None:
        """Wait for the step that is on its way, for so long at most."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._stopped:
            self._take_step()
            self._woken.wait(self._interval_s)
            self._woken.clear()

    def _take_step(self) -> None:
        try:
            self._step()
        except Exception:
            self._num_failed += 1
            self._failed(self._name)
            if self._num_failed & (self._num_failed - 1) == 0:  # the 1st, 2nd, 4th, 8th ...
                told = {"loop": self._name, "times": self._num_failed}
                _LOG.exception("a step failed", extra=told)
            return
        if self._num_failed:
            told = {"loop": self._name, "times": self._num_failed}
            _LOG.info("steps succeed again", extra=told)
            self._num_failed = 0


def stop_all(loops: Sequence[Loop], clock: Callable[[], float] = time.monotonic) -> None:
    """Stop loops; the steps on their way share one time to end, for a container has one."""
    for loop in loops:
        loop.stop()
    end = clock() + _STOP_S
    for loop in loops:
        loop.join(max(0.0, end - clock()))


class Reaper:
    """Takes lapsed leases back and forgets pools that are gone."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def step(self) -> int:
        """Return how many leases were taken back."""
        num_lapsed = self._context.store.leases.lapse(self._context.terms)
        if num_lapsed:
            _LOG.warning("leases lapsed", extra={"num_leases": num_lapsed})
            self._context.metrics.leases_lapsed.inc(num_lapsed)
        self._context.store.pools.forget()
        return num_lapsed


class Committer:
    """Writes the manifests that are due; a store that does not answer is asked again, later."""

    def __init__(self, context: Context, clock: Callable[[], float] = time.monotonic) -> None:
        self._context = context
        self._patience = Patience(clock)

    def step(self) -> int:
        """Return how many jobs ended."""
        due = self._context.store.datasets.awaiting_manifest()
        self._patience.keep_only([job.num for job in due])
        return sum(self._commit(job) for job in due)

    def _commit(self, job: JobRow) -> bool:
        """Write one job's manifest; whatever happens to it, the other jobs go on."""
        context = self._context
        if context.stopping.is_set() or not self._patience.is_due(job.num):
            return False
        try:
            ended = manifests.commit(context.store, context.open_storage, job)
        except (StorageRefused, NotFound, ValueError) as error:
            return self._refused(job, error)
        except StorageError as error:
            self._wait(job, error)
            return False
        except Exception:
            again_in_s = self._patience.failed(job.num)
            told = {"job_id": job.id, "again_in_s": again_in_s}
            _LOG.exception("a manifest was not written", extra=told)
            context.metrics.count_failed_step("committer")
            return False
        if ended:
            context.metrics.manifests_written.inc()
        return ended

    def _refused(self, job: JobRow, error: Exception) -> bool:
        """Wait, and in the end fail the job: its owner has to see why, and can have it retried."""
        self._wait(job, error, is_refusal=True)
        if self._patience.num_refusals(job.num) < MOST_REFUSALS:
            return False
        return self._context.store.datasets.fail(job.num, f"no manifest: {error}")

    def _wait(self, job: JobRow, error: Exception, *, is_refusal: bool = False) -> None:
        again_in_s = self._patience.failed(job.num, is_refusal=is_refusal)
        told = {"job_id": job.id, "reason": str(error), "again_in_s": again_in_s}
        _LOG.warning("the manifest waits for the store", extra=told)


class Clearer:
    """Deletes what jobs left in the store, where that was asked for."""

    def __init__(self, context: Context, clock: Callable[[], float] = time.monotonic) -> None:
        self._context = context
        self._patience = Patience(clock)

    def step(self) -> int:
        """Return how many jobs were cleared; one whose store does not answer waits."""
        due = self._context.store.actions.awaiting_clearance()
        self._patience.keep_only([job.num for job in due])
        return sum(self._clear(job) for job in due)

    def _clear(self, job: JobRow) -> bool:
        """Clear one job; whatever happens to it, the other jobs go on."""
        context = self._context
        if context.stopping.is_set() or not self._patience.is_due(job.num):
            return False
        try:
            return clearing.clear(context.store, context.open_storage, job)
        except StorageError as error:
            again_in_s = self._patience.failed(job.num)
            told = {"job_id": job.id, "reason": str(error), "again_in_s": again_in_s}
            _LOG.warning("what is to be deleted waits for the store", extra=told)
        except Exception:
            again_in_s = self._patience.failed(job.num)
            told = {"job_id": job.id, "again_in_s": again_in_s}
            _LOG.exception("what is to be deleted was not", extra=told)
            context.metrics.count_failed_step("clearer")
        return False


class RateKeeper:
    """Writes down what shards cost."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def step(self) -> int:
        """Return how many kinds of job were measured since the last step."""
        rates, book = self._context.store.rates, self._context.rates
        book.set_clock(rates.now())
        noted = book.drain()
        if noted:
            rates.add(noted)
        return len(noted)


def make_loops(context: Context) -> tuple[Loop, ...]:
    """Return the service's loops, not yet started."""
    settings = context.settings
    interval_s = settings.reap_interval_s
    failed = context.metrics.count_failed_step
    loops = (
        Loop("reaper", Reaper(context).step, interval_s, failed),
        Loop("committer", Committer(context).step, interval_s, failed, context.manifest_due),
        Loop("clearer", Clearer(context).step, interval_s, failed, context.clearing_due),
        Loop("webhooks", Deliverer(context).step, interval_s, failed),
        Loop("previews", partial(previews.sweep, context), PREVIEWS_SWEPT_EVERY_S, failed),
        Loop("rates", RateKeeper(context).step, RATES_KEPT_EVERY_S, failed),
    )
    if not settings.ray_jobs_url:
        return loops
    launcher = Launcher(
        settings.ray_jobs_url,
        settings.public_url,
        settings.pool_arguments,
        token=os.environ.get("RAY_AUTH_TOKEN"),
    )
    return (*loops, Loop("launcher", launcher.step, settings.launch_interval_s, failed))
