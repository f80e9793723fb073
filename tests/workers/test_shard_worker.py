"""A shard worker alone: makes, delivers, summarises, stops when told, writes only where allowed."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from synthforge.assets import AssetEntry, AssetKind, Provenance, index_key
from synthforge.codecs import decode_member
from synthforge.jobs import JobSpec, parse_job_spec
from synthforge.leases import Lease
from synthforge.samples import MEMBERS
from synthforge.shards import IndexRange, ShardPlan, StoredFile, part_key, tally_key
from synthforge.storage import DirectoryStorage, open_storage
from workers import executions, shard_worker, summary
from workers.assets import AssetRegistry
from workers.face_stream import PlanError
from workers.shard_worker import ShardWorker, WorkerSettings
from workers.summary.preview import read_sample
from workers.timing import Stages
from workers.trouble import AssetsChanged, Cancelled

ANNOTATIONS = ["landmarks68", "segmentation", "depth", "normals", "uv", "camera", "head"]


def spec_of(**changes: object) -> JobSpec:
    document = {"count": 5, "seed": 3, "image": {"size": 64}, "annotations": ANNOTATIONS}
    return parse_job_spec(json.dumps(document | changes))


def lease_of(spec: JobSpec, folder: Path, token: str = "token", kind: str = "shard") -> Lease:
    plan = ShardPlan(split="train", number=0, indices=(IndexRange(start=0, stop=spec.count),))
    return Lease(
        token=token,
        kind=kind,  # type: ignore[arg-type]
        job_id="job",
        spec=spec,
        output_url=f"file://{folder}/out/faces",
        plan=plan if kind == "shard" else None,
        lease_s=30,
        heartbeat_s=5,
    )


@pytest.fixture
def worker(tmp_path: Path) -> ShardWorker:
    prefix = f"file://{tmp_path}/out"
    return ShardWorker(WorkerSettings((prefix,), tmp_path / "scratch"))


def local_files(tmp_path: Path) -> list[Path]:
    found = [path for path in (tmp_path / "scratch").rglob("*") if path.is_file()]
    return [path for path in found if path.name != "flight-recorder"]


def test_a_lease_becomes_a_shard_its_record_and_a_summary(
    worker: ShardWorker, tmp_path: Path
) -> None:
    spec = spec_of()
    progress = worker.make(lease_of(spec, tmp_path))
    assert progress.num_samples == 5
    assert worker.watch()["token"] == progress
    report = worker.deliver("token")
    assert (
        {"shade", "encode", "write", "upload"} <= set(report.seconds) == set(worker.stages.seconds)
    )
    assert worker.watch() == {}
    assert local_files(tmp_path) == []
    assert report.record.num_samples == 5
    assert report.record.fingerprint == worker.fingerprint("builtin").id
    storage = open_storage(f"file://{tmp_path}/out/faces")
    for key in (report.record.name, part_key(report.record.name), tally_key(report.record.name)):
        assert storage.head(key)

    summary = worker.summarise(lease_of(spec, tmp_path, "s", "summary"), (report.record,))
    names = [file.name for file in summary.files]
    assert names == sorted(names)
    for file in summary.files:
        assert storage.head(file.name) == file.num_bytes
    found = json.loads(storage.get_bytes("report.json"))
    assert found["num_samples"] == 5
    yaw = next(row for row in found["parameters"] if row["name"] == "pose.yaw")
    assert sum(yaw["asked"]) == pytest.approx(1, abs=1e-4)
    assert sum(yaw["accepted"]) == pytest.approx(1, abs=1e-4)
    card = storage.get_bytes("README.md").decode()
    assert card.startswith("---\n")
    assert "**synthetic**" in card
    picture = decode_member(MEMBERS[0], storage.get_bytes("preview.jpg"))
    assert picture.shape[2] == 3  # type: ignore[union-attr]


def test_a_worker_says_which_shard_is_its_first(worker: ShardWorker, tmp_path: Path) -> None:
    said = []
    for token in ("first", "second"):
        worker.make(lease_of(spec_of(count=2), tmp_path, token))
        said.append(worker.deliver(token).is_first)

    assert said == [True, False]


def test_the_index_finds_each_sample_by_one_range(worker: ShardWorker, tmp_path: Path) -> None:
    worker.make(lease_of(spec_of(), tmp_path))
    record = worker.deliver("token").record
    storage = open_storage(f"file://{tmp_path}/out/faces")
    (tmp_path / "part").write_bytes(storage.get_bytes(part_key(record.name)))
    for row in pq.read_table(tmp_path / "part").to_pylist():
        run = storage.read_range(record.name, row["offset"], row["num_bytes"])
        sample = read_sample(run)
        assert sample["meta"].index == row["index"]  # type: ignore[union-attr]
        assert {"image", "segmentation", "depth", "normal", "u", "v"} <= set(sample)


def test_equal_leases_give_equal_bytes_whatever_the_chunks_in_flight(tmp_path: Path) -> None:
    digests = set()
    for in_flight in (1, 2, 4):
        prefix = f"file://{tmp_path}/out"
        settings = WorkerSettings((prefix,), tmp_path / "scratch", chunks_in_flight=in_flight)
        worker = ShardWorker(settings)
        worker.make(lease_of(spec_of(), tmp_path, "token"))
        digests.add(worker.deliver("token").record.sha256)
    assert len(digests) == 1


def test_rendering_waits_for_an_encoder_that_is_behind(
    worker: ShardWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered: list[int] = []
    may_encode, made = threading.Event(), []

    class Stream:
        def chunks(self) -> Iterator[list[int]]:
            for number in range(20):
                rendered.append(number)
                yield [number]

    def encode(face: int, *_: object, **__: object) -> int:
        may_encode.wait()
        return face

    monkeypatch.setattr(shard_worker, "encode_face", encode)
    lease = lease_of(spec_of(), tmp_path)
    encoded = worker._encoded(lease, Stream(), Stages())  # type: ignore[arg-type]
    thread = threading.Thread(target=lambda: made.extend(encoded))
    thread.start()
    try:
        while len(rendered) < 3:
            time.sleep(0.01)
        time.sleep(0.1)
        assert len(rendered) == 3, "two wait, and one is in the encoder's hands"
    finally:
        may_encode.set()
        thread.join()
    assert made == list(range(20))


def test_a_cancelled_execution_stops_and_leaves_nothing(
    worker: ShardWorker, tmp_path: Path
) -> None:
    stopped: list[BaseException] = []

    def make() -> None:
        try:
            worker.make(lease_of(spec_of(count=5000), tmp_path))
        except Cancelled as error:
            stopped.append(error)

    thread = threading.Thread(target=make)
    thread.start()
    while not worker.watch() or not worker.watch()["token"].num_samples:
        thread.join(0.02)
        assert thread.is_alive()
    worker.cancel("token")
    thread.join()
    assert stopped
    assert worker.watch() == {}
    assert local_files(tmp_path) == []


def test_one_cancelled_before_it_begins_never_begins(worker: ShardWorker, tmp_path: Path) -> None:
    worker.cancel("token")
    with pytest.raises(Cancelled):
        worker.make(lease_of(spec_of(), tmp_path))


@pytest.mark.parametrize(("num_puts", "num_left"), [(0, 0), (2, 2)])
def test_a_shard_whose_lease_is_gone_is_not_uploaded(
    worker: ShardWorker, tmp_path: Path, num_puts: int, num_left: int
) -> None:
    worker.make(lease_of(spec_of(count=1), tmp_path))
    if num_puts == 0:
        worker.cancel("token")
    put = DirectoryStorage.put_bytes
    puts: list[str] = []

    def cancelled_on_the_way(storage: DirectoryStorage, key: str, data: bytes) -> StoredFile:
        puts.append(key)
        if len(puts) == num_puts:
            worker.cancel("token")
        return put(storage, key, data)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(DirectoryStorage, "put_bytes", cancelled_on_the_way)
        with pytest.raises(Cancelled):
            worker.deliver("token")
    left = list(open_storage(f"file://{tmp_path}/out/faces").list_objects())
    assert len(left) == num_left  # counts and index part: no tar
    assert not [found for found in left if found.key.endswith(".tar")]
    assert worker.watch() == {}
    assert local_files(tmp_path) == []


def test_a_cancel_that_comes_too_late_leaves_nothing(worker: ShardWorker, tmp_path: Path) -> None:
    worker.make(lease_of(spec_of(count=1), tmp_path))
    worker.deliver("token")
    worker.cancel("token")
    assert worker.watch() == {}


def test_a_summary_shows_its_progress_and_stops_when_told(
    worker: ShardWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.make(lease_of(spec_of(), tmp_path))
    record = worker.deliver("token").record
    seen: list[int] = []

    def watched(*arguments: object) -> tuple[()]:
        on_shard = arguments[5]
        for _ in range(2):
            on_shard(record)  # type: ignore[operator]
            seen.append(worker.watch()["s"].num_samples)
        worker.cancel("s")
        on_shard(record)  # type: ignore[operator]
        return ()

    monkeypatch.setattr(shard_worker, "summarise", watched)
    with pytest.raises(Cancelled):
        worker.summarise(lease_of(spec_of(), tmp_path, "s", "summary"), (record,))
    assert seen == [5, 10]
    assert worker.watch() == {}
    assert local_files(tmp_path) == []


def test_uploads_are_progress_of_every_shard_that_is_made(
    worker: ShardWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executions, "_STEP_BYTES", 1)
    for token in ("first", "second"):
        worker.make(lease_of(spec_of(count=1), tmp_path, token))
    assert {each.num_steps for each in worker.watch().values()} == {0}
    num_bytes = worker.deliver("first").record.num_bytes
    waiting = worker.watch()["second"]
    assert waiting.num_steps > 2 * num_bytes, "it is put, and read back"
    assert waiting.num_samples == 1


def test_a_summary_goes_on_behind_its_last_shard(
    worker: ShardWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.make(lease_of(spec_of(count=1), tmp_path))
    record = worker.deliver("token").record
    seen: list[int] = []

    def watched(*arguments: object) -> bytes:
        seen.append(worker.watch()["s"].num_steps)
        return b"sheet"

    monkeypatch.setattr(summary, "contact_sheet", watched)
    worker.summarise(lease_of(spec_of(count=1), tmp_path, "s", "summary"), (record,))
    assert seen[0] >= 3


def test_what_was_made_can_be_thrown_away(worker: ShardWorker, tmp_path: Path) -> None:
    worker.make(lease_of(spec_of(count=1), tmp_path))
    assert local_files(tmp_path)
    worker.discard("token")
    assert local_files(tmp_path) == []
    assert worker.watch() == {}


def test_an_impossible_range_ends_with_the_reason_and_the_remedy(
    worker: ShardWorker, tmp_path: Path
) -> None:
    blind = spec_of(count=2, quality={"max_attempts": 3, "min_face": 0.99})
    with pytest.raises(PlanError, match=r"sample \d was refused 3 times.*face_too_small.*widen"):
        worker.make(lease_of(blind, tmp_path))
    assert local_files(tmp_path) == []


def test_a_worker_writes_under_its_own_prefixes_alone(tmp_path: Path) -> None:
    worker = ShardWorker(WorkerSettings(("file:///elsewhere",), tmp_path / "scratch"))
    with pytest.raises(PlanError, match="none of this worker's output prefixes"):
        worker.make(lease_of(spec_of(), tmp_path))
    with pytest.raises(PlanError, match="none of this worker's output prefixes"):
        worker.summarise(lease_of(spec_of(), tmp_path, kind="summary"), ())


def test_a_lease_without_a_plan_is_refused(worker: ShardWorker, tmp_path: Path) -> None:
    bare = lease_of(spec_of(), tmp_path).model_copy(update={"plan": None})
    with pytest.raises(PlanError, match="carries no plan"):
        worker.make(bare)


def test_a_preset_that_the_head_lacks_is_an_error_that_names_it(
    worker: ShardWorker, tmp_path: Path
) -> None:
    for name in ("smile", "frown", "surprise", "disgust", "kiss", "wink", "shout"):
        spec = spec_of(count=1, expression={"presets": {name: 1}})
        assert worker.make(lease_of(spec, tmp_path, name)).num_samples == 1
        worker.discard(name)


def add_asset(registry: Path, kind: AssetKind, digit: str) -> None:
    """Describe an asset; nobody opens its file here."""
    entry = AssetEntry(
        kind=kind, name=kind, file=f"files/{digit}.npz", sha256=digit * 64, num_bytes=1,
        licence="ours", source="here", provenance=Provenance(
            imported_at="2026-11-26T00:00:00Z", file="a", sha256="0" * 64, num_bytes=1, tool="t"),
    )  # fmt: skip
    path = registry / index_key(kind)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(entry.to_json())


def test_an_import_ends_a_worker_only_where_its_generator_takes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = tmp_path / "registry"
    add_asset(registry, "semantic_map", "1")
    settings = WorkerSettings(
        (f"file://{tmp_path}/out",), tmp_path / "scratch", assets_url=str(registry)
    )
    worker = ShardWorker(settings)
    own = worker.fingerprint("builtin"), worker.fingerprint("next3d")
    assert own[1].assets.keys() == {"head", "semantic_map"}

    def fail(*_: object) -> None:
        raise PlanError("it was opened")

    monkeypatch.setattr(shard_worker, "open_generator", fail)
    next3d = lease_of(spec_of(generator={"kind": "next3d", "untrained": True}), tmp_path)
    for kind in ("flame_masks", "calibration", "ict_head"):  # of others
        add_asset(registry, kind, "2")
    with pytest.raises(PlanError, match="it was opened"):
        worker.make(next3d)
    add_asset(registry, "semantic_map", "2")
    with pytest.raises(AssetsChanged, match="semantic_map changed"):
        worker.make(next3d)
    with pytest.raises(PlanError, match="it was opened"):
        worker.make(lease_of(spec_of(), tmp_path))
    assert (worker.fingerprint("builtin"), worker.fingerprint("next3d")) == own
    assert ShardWorker(settings).fingerprint("next3d") != own[1]


def test_the_embedded_generator_reads_no_registry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = WorkerSettings((f"file://{tmp_path}/out",), tmp_path / "scratch", assets_url="/none")
    worker = ShardWorker(settings)
    worker.fingerprint("builtin")
    monkeypatch.setattr(AssetRegistry, "find", None)
    assert worker.make(lease_of(spec_of(count=1), tmp_path)).num_samples == 1


def test_free_memory_goes_back_before_each_chunk_and_after_a_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(shard_worker.HeapTrimmer, "between_chunks", lambda _: told.append("chunk"))
    monkeypatch.setattr(shard_worker.HeapTrimmer, "after_shard", lambda _: told.append("shard"))
    worker = ShardWorker(WorkerSettings((f"file://{tmp_path}/out",), tmp_path / "scratch"))
    worker.make(lease_of(spec_of(count=20), tmp_path))
    assert len(told) > 20 // 8  # chunks of 8, more of them where the gate refuses
    assert told == ["chunk"] * (len(told) - 1) + ["shard"]
