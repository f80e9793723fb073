"""A preview holds the job's own samples, and changes no byte of the shard it cuts in on."""

from __future__ import annotations

import tarfile
import threading
from io import BytesIO
from pathlib import Path

import pytest
import simplejpeg

from service.previews import plan_of
from synthforge.jobs import JobSpec
from synthforge.previews import PREVIEW_FILE, SHEET_NAME, PreviewTask
from synthforge.storage import open_storage
from tests.workers.test_shard_worker import lease_of, spec_of
from workers.render_turn import RenderTurn
from workers.shard_worker import ShardWorker, WorkerSettings


@pytest.fixture
def worker(tmp_path: Path) -> ShardWorker:
    return ShardWorker(WorkerSettings((f"file://{tmp_path}/out",), tmp_path / "scratch"))


def task_of(spec: JobSpec, tmp_path: Path, patience_s: float = 60.0) -> PreviewTask:
    return PreviewTask(
        token="preview-1",
        spec=spec,
        plan=plan_of(spec, 3),
        output_url=f"file://{tmp_path}/out/.previews/1",
        patience_s=patience_s,
    )


def members(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=BytesIO(data)) as archive:
        return {info.name: archive.extractfile(info).read() for info in archive}  # type: ignore[union-attr]


def test_a_preview_holds_a_sheet_and_the_first_samples_of_the_job(
    worker: ShardWorker, tmp_path: Path
) -> None:
    spec = spec_of()
    worker.make(lease_of(spec, tmp_path))
    record = worker.deliver("token").record
    shard = members(open_storage(f"file://{tmp_path}/out/faces").get_bytes(record.name))
    task = task_of(spec, tmp_path)
    report = worker.preview(task)
    assert report.num_samples == 3
    assert report.file is not None
    held = members(open_storage(task.output_url).get_bytes(PREVIEW_FILE))
    sheet = held.pop(SHEET_NAME)
    height, width, *_ = simplejpeg.decode_jpeg_header(sheet)
    assert (height, width) == (2 * 176, 2 * 4 * 176)
    assert held == {name: data for name, data in shard.items() if name[:9] < "000000003"}


def test_a_preview_cuts_in_on_a_shard_and_changes_no_byte_of_it(
    worker: ShardWorker, tmp_path: Path
) -> None:
    spec = spec_of(count=24)
    worker.make(lease_of(spec, tmp_path, "alone"))
    alone = worker.deliver("alone").record
    making = threading.Thread(target=worker.make, args=(lease_of(spec, tmp_path, "disturbed"),))
    making.start()
    done_before = [worker.preview(task_of(spec, tmp_path)) for _ in range(2)]
    was_making = making.is_alive()
    making.join()
    assert all(report.file is not None for report in done_before)
    assert was_making, "the shard was done before the previews: nothing was disturbed"
    assert worker.deliver("disturbed").record.sha256 == alone.sha256


def test_a_preview_that_takes_too_long_or_lets_no_sample_through_says_so(
    worker: ShardWorker, tmp_path: Path
) -> None:
    assert "ask for less" in worker.preview(task_of(spec_of(), tmp_path, 1e-6)).error
    blind = spec_of(quality={"max_attempts": 2, "min_face": 0.99})
    assert "was refused 2 times" in worker.preview(task_of(blind, tmp_path)).error
    outside = task_of(spec_of(), tmp_path).model_copy(update={"output_url": "file:///elsewhere"})
    assert "output prefixes" in worker.preview(outside).error


def test_a_long_holder_goes_on_after_those_who_cut_in() -> None:
    turn, order = RenderTurn(), []
    begun = threading.Event()

    def cut_in() -> None:
        begun.set()
        with turn.cut_in():
            order.append("short")

    thread = threading.Thread(target=cut_in)
    with turn.held():
        thread.start()
        begun.wait()
        while "short" not in order:
            turn.give_way()
        order.append("long")
    thread.join()
    assert order == ["short", "long"]
