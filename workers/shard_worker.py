"""A shard plan in, a shard record out: plain calls in the order of docs/architecture.md."""

from __future__ import annotations

import logging
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from synthforge import telemetry
from synthforge.jobs import Generator
from synthforge.leases import Lease, ShardReport, SummaryReport
from synthforge.previews import PREVIEW_FILE, PreviewReport, PreviewTask
from synthforge.samples import members_of
from synthforge.shards import (
    Fingerprint,
    ShardPlan,
    ShardRecord,
    StoredFile,
    shard_key,
    tally_key,
)
from synthforge.storage import Storage, open_storage
from synthforge.telemetry import Span
from synthforge.urls import UrlError, canonical_url, is_under
from workers.assets.snapshot import AssetSnapshot
from workers.device import device_model
from workers.encoding import EncodedSample, LabelledFace, encode_face
from workers.face_maker import FaceMaker
from workers.face_stream import FaceStream, PlanError
from workers.fingerprint import fingerprint
from workers.flight_recorder import FlightRecorder
from workers.generators.protocol import FaceGenerator
from workers.generators.registry import open_generator, read_hashes
from workers.gpu_clock import GpuClock
from workers.heap import trim_heap
from workers.job_log import about, of_trace
from workers.made_shard import MadeShard
from workers.one_thread import one_thread
from workers.preview_maker import make_preview
from workers.raster.select import Backend
from workers.render_turn import RenderTurn
from workers.shard_writer import ShardWriter
from workers.summary import summarise
from workers.timing import Stages
from workers.trouble import Cancelled, told_apart
from workers.upload import upload_shard

log = logging.getLogger(__name__)

# Tokens that were cancelled before they began, or after they ended: the last few are kept.
_MAX_CANCELLED_EARLY: Final = 64


@dataclass(frozen=True)
class WorkerSettings:
    """What an operator sets of a worker; none of it changes a byte but `backend`.

    Attributes:
        output_prefixes: URLs under which this worker writes, and nowhere else.
        scratch: local folder for shards on their way.
        backend: of the rasteriser; part of the fingerprint.
        chunks_in_flight: rendered chunks that may wait for the encoder.
        assets_url: registry of licensed files; None takes what SYNTHFORGE_ASSETS says.
        logs_as_json: for programs; else what goes wrong is logged for people.
        traces_url: that traces go to; '' makes none.
    """

    output_prefixes: tuple[str, ...]
    scratch: Path
    backend: Backend = "numba"
    chunks_in_flight: int = 2
    assets_url: str | None = None
    logs_as_json: bool = False
    traces_url: str = ""


@dataclass(frozen=True)
class Progress:
    """How far an execution is."""

    num_samples: int
    num_rejected: int


@dataclass
class _Execution:
    """One lease in the works: what the threads of a worker share of it."""

    stages: Stages
    cancelled: threading.Event = field(default_factory=threading.Event)
    num_samples: int = 0
    num_rejected: int = 0

    def check(self) -> None:
        if self.cancelled.is_set():
            raise Cancelled


class ShardWorker:
    """Makes shards, then delivers them; while one is delivered the next can be made.

    `make`, `deliver`, `watch` and `preview` may be called from four threads; two `make` at once
    may not.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._executions: dict[str, _Execution] = {}
        self._cancelled_early: deque[str] = deque(maxlen=_MAX_CANCELLED_EARLY)
        self._lock = threading.Lock()
        self._made: dict[str, MadeShard] = {}
        self._turn = RenderTurn()
        self.stages = Stages()
        settings.scratch.mkdir(parents=True, exist_ok=True)
        self.recorder = FlightRecorder(settings.scratch)

    @property
    def scratch(self) -> Path:
        """The local folder for shards on their way."""
        return self._settings.scratch

    def fingerprint(self, generator: Generator) -> Fingerprint:
        """Return what this worker's bytes depend on; the generator is loaded on the way."""
        assets = AssetSnapshot.of(self._settings.assets_url)
        with one_thread():  # its many small tensors only wait for more
            open_generator(generator, assets)
        return fingerprint(read_hashes(assets), self._settings.backend, device_model())

    def make(self, lease: Lease) -> Progress:
        """Render, label, judge, encode and write the shard of a lease to a local tar.

        Raises:
            PlanError: no worker could do it.
            Cancelled: `cancel` was called for it.
            ActorSpent: another actor may; this one is not to be used again.
        """
        traced = telemetry.span("render", lease.traceparent, of_trace(lease))
        with about(lease), traced as span, told_apart(lambda: self.recorder.position):
            return self._make_for(lease, span)

    def _make_for(self, lease: Lease, span: Span) -> Progress:
        execution = self._begin(lease.token)
        try:
            self._check_fence(lease)
            with self._turn.held(), one_thread():
                made = self._make(lease, _plan_of(lease), execution)
            self._made[lease.token] = made
            log.info(made.story())
            made.trace(span)
            trim_heap()
        except BaseException:
            self._executions.pop(lease.token, None)
            raise
        return Progress(execution.num_samples, execution.num_rejected)

    def preview(self, task: PreviewTask) -> PreviewReport:
        """Make a preview before the shard in hand goes on, and put it into the store.

        Raises:
            StorageError: the store did not take it.
        """
        begin = time.monotonic()

        def check(_index: int) -> None:
            if time.monotonic() - begin > task.patience_s:
                raise PlanError(f"it took longer than {task.patience_s:.0f} s: ask for less")

        try:
            prefix = self._prefix_of(task.output_url)
            generator, _ = self._opened(task.spec.generator)
            with self._turn.cut_in(), one_thread():
                self.recorder.begin(task.token)  # what kills here is no death of the shard's
                made = make_preview(task.spec, task.plan, generator, self._settings.backend, check)
        except PlanError as error:
            return PreviewReport(error=str(error)[:2000])
        storage = open_storage(task.output_url, root=prefix)
        return PreviewReport(
            file=storage.put_bytes(PREVIEW_FILE, made.tar),
            num_samples=made.num_samples,
            num_rejected=made.num_rejected,
            seconds=time.monotonic() - begin,
        )

    def deliver(self, token: str) -> ShardReport:
        """Upload what `make` made, read it back, and say where it lies.

        Raises:
            StorageUnavailable: the store did not take it; another execution may succeed.
            StorageRefused: it never will.
            ActorSpent: as `make`.
        """
        made = self._made.pop(token)
        try:
            lease = made.lease
            traced = telemetry.span("upload", lease.traceparent, of_trace(lease), "client")
            timed = made.stages.timed("upload", time.perf_counter)
            with about(lease), traced, told_apart(lambda: made.file.num_samples), timed:
                report = self._deliver(made)
                record = report.record
                log.info("%s is in the store: %d bytes", record.name, record.num_bytes)
            spent = {"seconds": made.stages.seconds, "gpu_seconds": made.gpu_seconds}
            return report.model_copy(update=spent)
        finally:
            self._executions.pop(token, None)
            made.file.path.unlink(missing_ok=True)

    def discard(self, token: str) -> None:
        """Throw away what `make` made."""
        self._executions.pop(token, None)
        made = self._made.pop(token, None)
        if made is not None:
            made.file.path.unlink(missing_ok=True)

    def summarise(self, lease: Lease, shards: tuple[ShardRecord, ...]) -> SummaryReport:
        """Write report, preview, card, topology and index of a job whose shards are all there.

        Raises:
            PlanError: no worker could do it.
            Cancelled: `cancel` was called for it.
            StorageUnavailable: the store did not take it; another execution may succeed.
            StorageError: it never will.
            ActorSpent: as `make`.
        """
        traced = telemetry.span("summary", lease.traceparent, of_trace(lease))
        with about(lease), traced, told_apart(lambda: self.recorder.position):
            files = self._summary_files(lease, shards)
            log.info("the summary of %d shards is in the store", len(shards))
        return SummaryReport(files=files)

    def _summary_files(
        self, lease: Lease, shards: tuple[ShardRecord, ...]
    ) -> tuple[StoredFile, ...]:
        self._check_fence(lease)
        generator, _ = self._opened(lease.spec.generator)
        execution = self._begin(lease.token)

        def count(shard: ShardRecord) -> None:
            execution.check()
            self.recorder.at(execution.num_samples)
            execution.num_samples += shard.num_samples

        try:
            return self._summarise(lease, shards, generator, count)
        finally:
            self._executions.pop(lease.token, None)

    def watch(self) -> dict[str, Progress]:
        """Return the progress of every execution in the works, by token."""
        return {
            token: Progress(execution.num_samples, execution.num_rejected)
            for token, execution in list(self._executions.items())
        }

    def cancel(self, token: str) -> None:
        """Tell an execution to stop before its next chunk; also one that has not begun."""
        with self._lock:
            execution = self._executions.get(token)
            if execution is None:
                self._cancelled_early.append(token)
            else:
                execution.cancelled.set()

    def _begin(self, token: str) -> _Execution:
        execution = _Execution(Stages(self.stages))
        with self._lock:
            if token in self._cancelled_early:
                execution.cancelled.set()
            self._executions[token] = execution
        self.recorder.begin(token)
        return execution

    def _summarise(
        self,
        lease: Lease,
        shards: tuple[ShardRecord, ...],
        generator: FaceGenerator,
        on_shard: Callable[[ShardRecord], None],
    ) -> tuple[StoredFile, ...]:
        with one_thread(), tempfile.TemporaryDirectory(dir=self._settings.scratch) as folder:
            return summarise(
                lease.spec,
                shards,
                generator,
                self._storage(lease),
                Path(folder),
                on_shard,
                lease.parent,
            )

    def _make(self, lease: Lease, plan: ShardPlan, execution: _Execution) -> MadeShard:
        generator, own = self._opened(lease.spec.generator)
        execution.stages = Stages(self.stages, GpuClock.of(generator.device))
        try:
            maker = FaceMaker(lease.spec, generator, self._settings.backend, execution.stages)
        except ValueError as error:  # a plug-in that is not here
            raise PlanError(str(error)) from error

        def before_chunk(index: int) -> None:
            execution.check()
            if self._turn.give_way():
                self.recorder.begin(lease.token)
            self.recorder.at(plan.position_of(index))

        stream = FaceStream(maker, lease.spec, plan, before_chunk)
        path = self._settings.scratch / f"{lease.token}.tar"
        with ShardWriter(path) as writer:
            for sample in self._encoded(lease, stream, execution.stages):
                with execution.stages.timed("write"):
                    writer.add(sample)
                execution.num_samples = writer.num_samples
                execution.num_rejected = stream.tally.rejected.total()
            file = writer.close()
        if file.num_samples != plan.num_samples:
            raise PlanError(f"{file.num_samples} samples were made of {plan.num_samples} planned")
        stages = execution.stages
        return MadeShard(lease, file, stream.tally, own, maker.info(), stages, stages.gpu_seconds())

    def _encoded(self, lease: Lease, stream: FaceStream, stages: Stages) -> Iterator[EncodedSample]:
        """Encode on a second thread while the first renders, a bounded number of chunks behind."""
        members = members_of(lease.spec)
        quality = lease.spec.image.quality
        waiting: deque[Future[list[EncodedSample]]] = deque()

        def encode(faces: list[LabelledFace]) -> list[EncodedSample]:
            with one_thread(), stages.timed("encode"):
                return [encode_face(face, members, jpeg_quality=quality) for face in faces]

        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="encode") as encoder:
            for faces in stream.chunks():
                waiting.append(encoder.submit(copy_context().run, encode, faces))
                while len(waiting) > self._settings.chunks_in_flight:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()

    def _deliver(self, made: MadeShard) -> ShardReport:
        lease, plan = made.lease, _plan_of(made.lease)
        storage = self._storage(lease)
        name = shard_key(plan.split, plan.number, made.file.sha256)
        storage.put_bytes(tally_key(name), made.tally.to_json())
        uploaded = upload_shard(storage, made.file, plan.split, plan.number)
        record = ShardRecord(
            name=uploaded.tar.name,
            split=plan.split,
            number=plan.number,
            num_samples=made.file.num_samples,
            num_bytes=uploaded.tar.num_bytes,
            sha256=uploaded.tar.sha256,
            indices=plan.indices,
            rejected=dict(sorted(made.tally.rejected.items())),
            fingerprint=made.fingerprint.id,
        )
        return ShardReport(record=record, fingerprint=made.fingerprint, generator=made.generator)

    def _opened(self, generator: Generator) -> tuple[FaceGenerator, Fingerprint]:
        """Open a job's generator, with the registry as it is now, and say what bytes depend on.

        Raises:
            PlanError: assets are missing, or do not fit each other.
            StorageUnavailable: the registry does not answer.
        """
        try:
            own = self.fingerprint(generator)
            opened = open_generator(generator, AssetSnapshot.of(self._settings.assets_url))
        except ValueError as error:
            raise PlanError(str(error)) from error
        return opened, own

    def _storage(self, lease: Lease) -> Storage:
        prefix = self._check_fence(lease)
        return open_storage(lease.output_url, root=prefix)

    def _check_fence(self, lease: Lease) -> str:
        return self._prefix_of(lease.output_url)

    def _prefix_of(self, output_url: str) -> str:
        """Hold an output under this worker's own prefixes, whatever the service says."""
        try:
            url = canonical_url(output_url)
        except UrlError as error:
            raise PlanError(f"output_url: {error}") from None
        for prefix in self._settings.output_prefixes:
            if is_under(url, prefix):
                return prefix
        raise PlanError(
            f"output_url {url} lies under none of this worker's output prefixes "
            f"({', '.join(self._settings.output_prefixes)}): add one, or ask for another URL"
        )


def _plan_of(lease: Lease) -> ShardPlan:
    if lease.plan is None:
        raise PlanError(f"lease {lease.token} of kind {lease.kind} carries no plan")
    return lease.plan
