"""A shard plan in, a shard record out: plain calls in the order of docs/architecture.md."""

from __future__ import annotations

import logging
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path

from synthforge import telemetry
from synthforge.assets import assets_of_kind, taken_assets
from synthforge.jobs import Generator, GeneratorKind
from synthforge.leases import MAX_MESSAGE, Lease, ShardReport, SummaryReport
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
from workers.executions import Execution, Executions, Progress
from workers.face_maker import FaceMaker
from workers.face_stream import FaceStream, PlanError
from workers.fingerprint import fingerprint
from workers.flight_recorder import FlightRecorder
from workers.generators.protocol import FaceGenerator
from workers.generators.registry import open_generator, read_hashes
from workers.gpu_clock import GpuClock
from workers.heap import HeapTrimmer
from workers.job_log import about, of_trace
from workers.made_shard import MadeShard
from workers.one_thread import one_thread
from workers.preview_maker import make_preview
from workers.raster.select import Backend
from workers.render_turn import RenderTurn
from workers.shard_writer import ShardWriter
from workers.summary import summarise
from workers.timing import Stages
from workers.trouble import AssetsChanged, told_apart
from workers.upload import upload_shard

log = logging.getLogger(__name__)


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


class ShardWorker:
    """Makes shards, then delivers them; while one is delivered the next can be made.

    `make`, `deliver`, `watch` and `preview` may be called from four threads; two `make` at once
    may not.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._executions = Executions()
        self._made: dict[str, MadeShard] = {}
        self._known: set[GeneratorKind] = set()
        self._turn = RenderTurn()
        self._heap = HeapTrimmer()
        self._assets: dict[GeneratorKind, AssetSnapshot] = {}
        self.stages = Stages()
        settings.scratch.mkdir(parents=True, exist_ok=True)
        self.recorder = FlightRecorder(settings.scratch)

    @property
    def scratch(self) -> Path:
        """The local folder for shards on their way."""
        return self._settings.scratch

    def fingerprint(self, kind: GeneratorKind) -> Fingerprint:
        """Return what this worker's bytes depend on, as it was when it was first asked."""
        hashes = read_hashes(self._own_assets(kind))
        return fingerprint(hashes, self._settings.backend, device_model())

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
            self._known.add(lease.spec.generator.kind)
            execution.waits_for_store = True
            log.info(made.story())
            made.trace(span)
        except BaseException:
            self._executions.end(lease.token)
            raise
        finally:
            self._heap.after_shard()
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
            generator = self._opened_anew(task.spec.generator)
            with self._turn.cut_in(), one_thread():
                self.recorder.begin(task.token)  # what kills here is no death of the shard's
                made = make_preview(task.spec, task.plan, generator, self._settings.backend, check)
        except PlanError as error:
            return PreviewReport(error=str(error)[:MAX_MESSAGE])
        storage = open_storage(task.output_url, root=prefix)
        return PreviewReport(
            file=storage.put_bytes(PREVIEW_FILE, made.tar),
            num_samples=made.num_samples,
            num_rejected=made.num_rejected,
            seconds=time.monotonic() - begin,
        )

    def deliver(self, token: str) -> ShardReport:
        """Upload what `make` made, read it back, and say where it lies.

        What a lost or cancelled lease has in the store then is left to the service, which alone
        knows whether another execution, whose bytes have the same names, counts by now.

        Raises:
            Cancelled: `cancel` was called for it.
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
            self._executions.end(token)
            made.file.path.unlink(missing_ok=True)

    def discard(self, token: str) -> None:
        """Throw away what `make` made."""
        self._executions.end(token)
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
        execution.waits_for_store = True

        def count(shard: ShardRecord) -> None:
            execution.check()
            self.recorder.at(execution.num_samples)
            execution.num_samples += shard.num_samples

        try:
            return self._summarise(lease, shards, generator, count, execution)
        finally:
            self._executions.end(lease.token)

    def watch(self) -> dict[str, Progress]:
        """Return the progress of every execution in the works, by token."""
        return self._executions.progress()

    def cancel(self, token: str) -> None:
        """Tell an execution to stop before its next chunk; also one that has not begun."""
        self._executions.cancel(token)

    def _begin(self, token: str) -> Execution:
        execution = self._executions.begin(token, Stages(self.stages))
        self.recorder.begin(token)
        return execution

    def _summarise(
        self,
        lease: Lease,
        shards: tuple[ShardRecord, ...],
        generator: FaceGenerator,
        on_shard: Callable[[ShardRecord], None],
        execution: Execution,
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
                execution.step,
            )

    def _make(self, lease: Lease, plan: ShardPlan, execution: Execution) -> MadeShard:
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
            self._heap.between_chunks()

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
        stages, is_first = execution.stages, lease.spec.generator.kind not in self._known
        gpu_seconds = stages.gpu_seconds()
        return MadeShard(
            lease, file, stream.tally, own, maker.info(), stages, gpu_seconds, is_first
        )

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

        def check() -> None:
            self._executions.check(lease.token)

        check()
        storage.put_bytes(tally_key(name), made.tally.to_json())
        uploaded = upload_shard(storage, made.file, plan.split, plan.number, check)
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
        return ShardReport(
            record=record,
            fingerprint=made.fingerprint,
            generator=made.generator,
            is_first=made.is_first,
        )

    def _opened(self, generator: Generator) -> tuple[FaceGenerator, Fingerprint]:
        """Open a job's generator with this worker's own assets; say what bytes depend on.

        Raises:
            PlanError: assets are missing, or do not fit each other.
            AssetsChanged: the registry has others by now: the lease was for what this worker was.
            StorageUnavailable: the registry does not answer.
        """
        own, taken = self._own_assets(generator.kind), taken_assets(generator)
        try:
            now = AssetSnapshot.of(self._settings.assets_url, taken)
            if (changed := own.differs(now, taken)) is not None:
                raise AssetsChanged(f"the registry's {changed} changed since this worker started")
            return _opened(generator, own), self.fingerprint(generator.kind)
        except ValueError as error:
            raise PlanError(str(error)) from error

    def _opened_anew(self, generator: Generator) -> FaceGenerator:
        """Open a generator with the registry as it is now: for what no fingerprint is kept of."""
        try:
            taken = taken_assets(generator)
            return _opened(generator, AssetSnapshot.of(self._settings.assets_url, taken))
        except ValueError as error:
            raise PlanError(str(error)) from error

    def _own_assets(self, kind: GeneratorKind) -> AssetSnapshot:
        """Return the registry as it was when this worker first looked at it for a kind."""
        if kind not in self._assets:
            self._assets[kind] = AssetSnapshot.of(self._settings.assets_url, assets_of_kind(kind))
        return self._assets[kind]

    def _storage(self, lease: Lease) -> Storage:
        prefix = self._check_fence(lease)
        return open_storage(lease.output_url, root=prefix, on_bytes=self._executions.count_bytes)

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


def _opened(generator: Generator, assets: AssetSnapshot) -> FaceGenerator:
    with one_thread():  # its many small tensors only wait for more
        return open_generator(generator, assets)


def _plan_of(lease: Lease) -> ShardPlan:
    if lease.plan is None:
        raise PlanError(f"lease {lease.token} of kind {lease.kind} carries no plan")
    return lease.plan
