"""How fast shards become batches: `python -m benchmarks.stream [--samples N] [--size PX] [--s3]`.

Picture, segmentation, depth and landmarks of built-in faces. One table: decoding alone from memory;
`open_stream` and plain webdataset with the same decoders, both from a folder and, with `--s3`, from
the S3 server of the tests; then a training step's time beside the time it waits for its data.
Each row is the median of `--runs` epochs; readers take turns, so that a busy machine slows them
alike.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import cv2
import torch
from torch.utils.data import DataLoader, IterableDataset

from synthforge.conventions import CLASSES
from synthforge.jobs import JobSpec
from synthforge.samples import SampleMeta, members_of
from synthforge.shards import (
    MANIFEST_NAME,
    GeneratorInfo,
    IndexRange,
    Manifest,
    ShardPlan,
    ShardRecord,
    dataset_digest,
    shard_key,
)
from synthforge.storage import open_storage
from tools.s3_server import serve_s3
from trainer.augment import Augment
from trainer.batches import Batch, collate
from trainer.decoding import decode_sample
from trainer.loop import StepReport
from trainer.recipes import stage1_quick
from trainer.shard_store import CacheConfig, OpenShard
from trainer.stages import open_training
from trainer.stream import StreamConfig, open_stream
from trainer.webdataset_source import plain_dataset
from workers.encoding import EncodedSample, encode_face
from workers.face_maker import FaceMaker
from workers.face_stream import FaceStream
from workers.generators.builtin.generator import BuiltinGenerator
from workers.shard_writer import ShardWriter
from workers.timing import Stages

BATCH_SIZE = 32
NUM_FACES = 32  # really made; every further sample is one of them under a key of its own
SHARD_SAMPLES = 64
NUM_STEPS = 12
SUFFIXES = ("jpg", "seg.png", "depth.png", "json")
Epoch = Callable[[], int]  # reads all, returns how many samples came


def main() -> None:
    """Measure and print."""
    arguments = _parse()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        manifest = write_dataset(folder / "faces", arguments.samples, arguments.size)
        print(
            f"{manifest.num_samples} samples, {arguments.size} px, "
            f"{sum(r.num_bytes for r in manifest.shards) / manifest.num_samples / 1024:.0f} KiB "
            f"each; {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}"
        )
        epochs = readers(str(folder / "faces"), folder, "folder")
        if arguments.s3:
            server = stack.enter_context(serve_s3())
            os.environ.update(server.environment())
            url = f"{server.make_bucket('bench')}/faces"
            _upload(folder / "faces", url, manifest)
            epochs |= readers(url, folder, "s3")
        report({"decode alone": decode_only(folder / "faces", manifest)} | epochs, arguments.runs)
        report_steps(str(folder / "faces"))


def readers(url: str, scratch: Path, place: str) -> dict[str, Epoch]:
    """Return what reads one whole epoch, by name; an S3 epoch starts with an empty cache."""
    caches = (CacheConfig(scratch / "cache" / str(number)) for number in itertools.count())

    def ours(workers: int) -> Epoch:
        def epoch() -> int:
            config = StreamConfig(
                batch_size=BATCH_SIZE, workers=workers, threads=1, cache=next(caches)
            )
            return sum(len(batch) for batch in open_stream(url, config))

        return epoch

    def plain(workers: int) -> Epoch:
        return lambda: sum(len(batch) for batch in _plain_batches(url, workers))

    return {
        f"{place}: {name}, {workers or 'no'} loader processes": reader(workers)
        for workers in (0, 2)
        for name, reader in (("webdataset", plain), ("open_stream", ours))
    }


def decode_only(folder: Path, manifest: Manifest) -> Epoch:
    """Return an epoch that decodes and stacks members that lie in memory."""
    packed = []
    for record in manifest.shards:
        with (folder / record.name).open("rb") as file:
            shard = OpenShard(os.dup(file.fileno()), record.num_bytes)
        packed += [(row.key, {s: shard.read(row, s) for s in SUFFIXES}) for row in shard.rows]

    def epoch() -> int:
        for start in range(0, len(packed), BATCH_SIZE):
            part = packed[start : start + BATCH_SIZE]
            samples = (decode_sample(key, SUFFIXES, held.__getitem__) for key, held in part)
            collate(samples, [1.0] * len(part))
        return manifest.num_samples

    return epoch


def report(epochs: dict[str, Epoch], runs: int) -> None:
    """Run each reader in turn and print samples a second of wall and of CPU time, and ratios."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in epochs}
    for _ in range(runs):
        for name, epoch in epochs.items():
            wall, cpu = time.perf_counter(), _cpu_s()
            count = epoch()
            taken[name].append((count / (time.perf_counter() - wall), count / (_cpu_s() - cpu)))
    print(f"{'':<48}{'samples/s':>12}{'a CPU second':>16}")
    for name, rates in taken.items():
        print(f"{name:<48}{_median(rates, 0):>12.1f}{_median(rates, 1):>16.1f}")
    for name, own_rates in taken.items():
        others = [name.replace("open_stream", "webdataset"), "decode alone"]
        for other in others if "open_stream" in name else ():
            pairs = zip(own_rates, taken[other], strict=True)
            ratios = [(own[0] / its[0], own[1] / its[1]) for own, its in pairs]
            print(f"{name} / {other.partition(': ')[2] or other}: ", end="")
            print(f"{_median(ratios, 0):.2f}x wall, {_median(ratios, 1):.2f}x CPU")


def _median(rates: list[tuple[float, float]], column: int) -> float:
    return statistics.median(rate[column] for rate in rates)


def report_steps(url: str) -> None:
    """Print a training step's time beside the time that it waits for its batch."""
    recipe = stage1_quick()
    recipe = replace(recipe, loop=replace(recipe.loop, steps=NUM_STEPS))
    stream = open_stream(
        url, replace(recipe.stream, keep_decoded_bytes=0), transform=Augment(recipe.augment)
    )
    training = open_training(recipe, torch.device("cpu"))
    steps: list[StepReport] = []
    training.run(itertools.chain.from_iterable(itertools.repeat(stream)), steps.append)
    whole = statistics.median(step.step_s for step in steps[2:])
    wait = statistics.median(step.wait_s for step in steps[2:])
    print(f"training step of {recipe.stream.batch_size}: {whole:.3f} s, of it {wait:.3f} s waiting")


def write_dataset(folder: Path, num_samples: int, size_px: int) -> Manifest:
    """Make a few faces and write shards that hold them again and again."""
    spec = JobSpec.model_validate({"count": num_samples, "image": {"size": size_px}})
    made = _faces(spec)
    records = []
    (folder / "shards").mkdir(parents=True)
    for number, start in enumerate(range(0, num_samples, SHARD_SAMPLES)):
        indices = range(start, min(start + SHARD_SAMPLES, num_samples))
        path = folder / "shards" / "shard.tar"
        with ShardWriter(path) as writer:
            for index in indices:
                writer.add(_renamed(made[index % len(made)], index))
            shard = writer.close()
        name = shard_key("train", number, shard.sha256)
        path.rename(folder / name)
        records.append(
            ShardRecord(
                name=name,
                split="train",
                number=number,
                num_samples=shard.num_samples,
                num_bytes=shard.num_bytes,
                sha256=shard.sha256,
                indices=(IndexRange(start=indices.start, stop=indices.stop),),
                rejected={},
                fingerprint="0" * 16,
            )
        )
    manifest = Manifest(
        job=spec,
        generator=GeneratorInfo(kind="builtin", versions={}, assets={}, licences={}),
        classes={str(class_id): name for class_id, name in CLASSES.items()},
        num_samples=num_samples,
        splits={"train": num_samples},
        files=(),
        shards=tuple(records),
        digest=dataset_digest(records),
    )
    (folder / MANIFEST_NAME).write_bytes(manifest.to_json())
    return manifest


class _PlainBatches(IterableDataset[Batch]):
    """webdataset's samples, stacked as ours are."""

    def __init__(self, url: str) -> None:
        self._samples = plain_dataset(url)

    def __iter__(self) -> Iterator[Batch]:
        samples = iter(self._samples)
        while part := list(itertools.islice(samples, BATCH_SIZE)):
            yield collate(part, [1.0] * len(part))


def _plain_batches(url: str, workers: int) -> Iterable[Batch]:
    return DataLoader(_PlainBatches(url), batch_size=None, num_workers=workers)


def _faces(spec: JobSpec) -> list[EncodedSample]:
    maker = FaceMaker(spec, BuiltinGenerator(), "numba", Stages())
    indices = (IndexRange(start=0, stop=min(NUM_FACES, spec.count)),)
    plan = ShardPlan(split="train", number=0, indices=indices)
    stream = FaceStream(maker, spec, plan, lambda _: None)
    return [encode_face(face, members_of(spec)) for chunk in stream.chunks() for face in chunk]


def _renamed(sample: EncodedSample, index: int) -> EncodedSample:
    meta: SampleMeta = sample.meta.model_copy(update={"index": index})
    return replace(sample, meta=meta)


def _upload(folder: Path, url: str, manifest: Manifest) -> None:
    storage = open_storage(url)
    for name in (*(record.name for record in manifest.shards), MANIFEST_NAME):
        path = folder / name
        storage.put_file(path, name, hashlib.sha256(path.read_bytes()).hexdigest())


def _cpu_s() -> float:
    """CPU seconds of this process and of the children that it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=512)
    parser.add_argument("--size", type=int, default=512, help="side of the pictures, pixels")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--s3", action="store_true", help="also from the S3 server of the tests")
    return parser.parse_args()


if __name__ == "__main__":
    main()
