"""Actors as Ray has them: started, called, killed, and asked about after their death.

Ray retries nothing. What a dead actor was doing is asked of its node: the node that answers was not
lost with it, and its scratch folder is swept on the way.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Collection
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import (
    NodeAffinitySchedulingStrategy,
    NodeLabelSchedulingStrategy,
    NotIn,
)

from synthforge import telemetry
from synthforge.job_logs import LogLine
from synthforge.jobs import Generator, GeneratorKind
from synthforge.json_logs import log_as_json, log_for_people
from synthforge.previews import PreviewReport, PreviewTask
from workers.executions import Progress
from workers.flight_recorder import FlightRecorder, LastWords, read_last_words
from workers.generators.registry import open_generator
from workers.job_log import JobLog, listen
from workers.one_thread import one_thread
from workers.scratch import make_scratch
from workers.shard_worker import ShardWorker, WorkerSettings
from workers.slots import Awake

_THREADS: Final = {"make": 1, "deliver": 1, "watch": 1, "preview": 1}
_NODE_LABEL: Final = "ray.io/node-id"  # Ray gives it to every node


@dataclass(frozen=True)
class Seen:
    """What is seen of an actor: how far each execution is, and what it logged about jobs."""

    progress: dict[str, Progress]
    lines: tuple[LogLine, ...]


class Actor(ShardWorker):
    """A shard worker in a process of its own, with scratch space of its own."""

    def __init__(self, settings: WorkerSettings) -> None:
        """Make the scratch folder, and note it when the process is told to leave."""
        (log_as_json if settings.logs_as_json else log_for_people)()
        telemetry.start(settings.traces_url, "synthforge-worker")
        super().__init__(replace(settings, scratch=make_scratch(settings.scratch)))
        _note_sigterm(self.recorder)
        self._job_log = JobLog()
        listen(self._job_log)

    def look(self) -> Seen:
        """Return what there is to see since the last time."""
        return Seen(self.watch(), self._job_log.take())

    def wake(self, kind: GeneratorKind) -> Awake:
        """Load head and kernels before the first lease's clock runs; say what this actor is."""
        with one_thread():  # its many small tensors only wait for more
            open_generator(Generator(kind="builtin"))
        return Awake(
            fingerprint=self.fingerprint(kind),
            node=ray.get_runtime_context().get_node_id(),
            folder=self.scratch,
        )


def start_actor(
    plain_class: type[Actor],
    settings: WorkerSettings,
    *,
    num_cpus: float,
    num_gpus: float,
    shunned: Collection[str] = (),
) -> Any:
    """Ask Ray for an actor; its autoscaler sees one that no node has room for.

    Args:
        plain_class: of the actor.
        settings: of the worker.
        num_cpus: of Ray's count.
        num_gpus: of Ray's count.
        shunned: nodes that are taken only where no other will do.
    """
    elsewhere = {_NODE_LABEL: NotIn(*shunned)} if shunned else None
    actor_class = ray.remote(
        num_cpus=num_cpus,
        num_gpus=num_gpus,
        max_restarts=0,
        max_task_retries=0,
        concurrency_groups=_THREADS,
        scheduling_strategy=NodeLabelSchedulingStrategy({}, soft=elsewhere) if elsewhere else None,
    )(plain_class)
    return actor_class.remote(settings)


def call(actor: Any, method: str, group: str, *arguments: object) -> Any:
    """Call an actor's method on the thread of a concurrency group."""
    return getattr(actor, method).options(concurrency_group=group).remote(*arguments)


def begin_preview(actor: Any, task: PreviewTask) -> Any:
    """Have an actor make a preview before what it is at; return what stands for its answer."""
    return call(actor, "preview", "preview", task)


def preview_result(ref: Any) -> PreviewReport | None:
    """Return an actor's answer once it is there; raises what the actor did, or died of."""
    ready, _ = ray.wait([ref], timeout=0)
    if not ready:
        return None
    report: PreviewReport = ray.get(ref)
    return report


def ask_last_words(awake: Awake) -> Future[LastWords | None]:
    """Ask the node of a dead actor what it was doing; a RayError where the node is gone too."""
    if awake.node == ray.get_runtime_context().get_node_id():
        answer: Future[LastWords | None] = Future()
        answer.set_result(_take_last_words(awake.folder))
        return answer
    there = NodeAffinitySchedulingStrategy(awake.node, soft=False)
    task = ray.remote(num_cpus=0, max_retries=0)(_take_last_words)
    asked = task.options(scheduling_strategy=there).remote(awake.folder)
    told: Future[LastWords | None] = asked.future()
    return told


def told_words(asked: Future[LastWords | None]) -> LastWords | None:
    """Return what a dead actor's node said; None where the node is gone, or does not answer."""
    if not asked.done() or isinstance(asked.exception(), RayError):
        return None
    return asked.result()


def _take_last_words(folder: Path) -> LastWords | None:
    words = read_last_words(folder)
    shutil.rmtree(folder, ignore_errors=True)
    return words


def _note_sigterm(recorder: FlightRecorder) -> None:
    """Record a SIGTERM when it comes: Ray's own handler waits until Python's main thread runs."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def watch() -> None:
        while numbers := os.read(reader, 64):
            if signal.SIGTERM in numbers:
                recorder.told_to_leave()

    threading.Thread(target=watch, name="sigterm", daemon=True).start()
