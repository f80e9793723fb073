"""What each member costs: `python -m benchmarks.encoding [--faces N] [--size PX]`.

Process time of one thread, milliseconds, and bytes, on faces of the embedded head with all
annotations: means over the faces of the least of the repeats. `--png` compares OpenCV's options.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from statistics import mean
from typing import TypeVar

import cv2

from synthforge.codecs import Array, decode_member
from synthforge.jobs import ANNOTATIONS, JobSpec
from synthforge.samples import Member, members_of
from synthforge.shards import IndexRange, ShardPlan
from workers.encoding import LabelledFace, encode_array, encode_face
from workers.face_maker import FaceMaker
from workers.face_stream import FaceStream
from workers.generators.registry import open_generator
from workers.one_thread import one_thread
from workers.timing import Stages

T = TypeVar("T")
NUM_REPEATS = 5
STRATEGIES = {
    "default": cv2.IMWRITE_PNG_STRATEGY_DEFAULT,
    "filtered": cv2.IMWRITE_PNG_STRATEGY_FILTERED,
    "rle": cv2.IMWRITE_PNG_STRATEGY_RLE,
    "huffman": cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY,
}
FILTERS = {
    "none": cv2.IMWRITE_PNG_FILTER_NONE,
    "sub": cv2.IMWRITE_PNG_FILTER_SUB,
    "up": cv2.IMWRITE_PNG_FILTER_UP,
    "paeth": cv2.IMWRITE_PNG_FILTER_PAETH,
}


def least_ms(call: Callable[[], T]) -> tuple[float, T]:
    """Return the least process time of the repeats, and what the call gave."""
    result = call()
    times = []
    for _ in range(NUM_REPEATS):
        start = time.process_time()
        result = call()
        times.append(time.process_time() - start)
    return 1000 * min(times), result


def make_faces(spec: JobSpec) -> list[LabelledFace]:
    """Draw the faces of a job."""
    plan = ShardPlan(split="train", number=0, indices=(IndexRange(start=0, stop=spec.count),))
    maker = FaceMaker(spec, open_generator(spec.generator), "numba", Stages())
    stream = FaceStream(maker, spec, plan, lambda _: None)
    return [face for chunk in stream.chunks() for face in chunk]


def print_members(spec: JobSpec, faces: list[LabelledFace]) -> None:
    """Print a line a member: encode, decode, bytes."""
    print(f"{'member':<12} {'encode ms':>9} {'decode ms':>9} {'bytes':>9}")
    for member in members_of(spec):
        encoded = [least_ms(partial(encode_one, member, face)) for face in faces]
        decoded = [least_ms(partial(decode_member, member, data))[0] for _, data in encoded]
        size = mean(len(data) for _, data in encoded)
        times = f"{mean(ms for ms, _ in encoded):9.2f} {mean(decoded):9.2f}"
        print(f"{member.suffix:<12} {times} {size:9.0f}")
    whole = [least_ms(partial(encode_face, face, members_of(spec))) for face in faces]
    size = mean(sum(len(data) for _, data in sample.members) for _, sample in whole)
    print(f"{'all':<12} {mean(ms for ms, _ in whole):9.2f} {'':>9} {size:9.0f}")


def encode_one(member: Member, face: LabelledFace) -> bytes:
    """Return a member's bytes."""
    if member.encoding == "json":
        return face.meta.to_json()
    array: Array = getattr(face, member.name)
    return encode_array(member, array)


def print_png_options(spec: JobSpec, faces: list[LabelledFace]) -> None:
    """Print time and bytes of each of OpenCV's options, the fastest first."""
    for member in members_of(spec):
        if not member.encoding.startswith("png"):
            continue
        lines = []
        for level in (1, 2, 3):
            for strategy, filter_name in ((s, f) for s in STRATEGIES for f in FILTERS):
                options = [
                    *(cv2.IMWRITE_PNG_COMPRESSION, level),
                    *(cv2.IMWRITE_PNG_STRATEGY, STRATEGIES[strategy]),
                    *(cv2.IMWRITE_PNG_FILTER, FILTERS[filter_name]),
                ]
                found = [
                    least_ms(partial(cv2.imencode, ".png", getattr(face, member.name), options))
                    for face in faces
                ]
                size = mean(len(result[1]) for _, result in found)
                ms = mean(ms for ms, _ in found)
                lines.append((ms, size, f"level {level} {strategy} {filter_name}"))
        print(f"\n{member.suffix}")
        for ms, size, name in sorted(lines):
            print(f"  {ms:6.2f} ms {size:9.0f} bytes  {name}")


def main() -> None:
    """Draw faces, then print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.encoding", description=__doc__)
    parser.add_argument("--faces", type=int, default=16)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--png", action="store_true", help="compare OpenCV's options")
    given = parser.parse_args()
    spec = JobSpec.model_validate(
        {"count": given.faces, "annotations": ANNOTATIONS, "image": {"size": given.size}}
    )
    with one_thread():
        faces = make_faces(spec)
        print_members(spec, faces)
        if given.png:
            print_png_options(spec, faces)


if __name__ == "__main__":
    main()
