"""Makes a preview: a few samples of a job, a contact sheet of them, in one tar."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from synthforge.codecs import decode_member
from synthforge.jobs import JobSpec
from synthforge.previews import SHEET_NAME
from synthforge.samples import member_of_suffix, members_of
from synthforge.shards import ShardPlan
from synthforge.tar_format import end_of_archive, header_block, padding
from workers.encoding import EncodedSample, encode_face
from workers.face_maker import FaceMaker
from workers.face_stream import FaceStream
from workers.generators.protocol import FaceGenerator
from workers.raster.select import Backend
from workers.summary.preview import sheet_of
from workers.timing import Stages


@dataclass(frozen=True)
class MadePreview:
    """A preview's tar, and what it took."""

    tar: bytes
    num_samples: int
    num_rejected: int


def make_preview(
    spec: JobSpec,
    plan: ShardPlan,
    generator: FaceGenerator,
    backend: Backend,
    check: Callable[[int], None],
) -> MadePreview:
    """Render the samples of a plan; they are those of the job, byte for byte.

    Args:
        spec: of the job.
        plan: its first samples.
        generator: that draws the faces.
        backend: of the rasteriser.
        check: called before each chunk with its first sample's index; may raise to stop.

    Raises:
        PlanError: a sample was refused as often as the spec allows.
    """
    maker = FaceMaker(spec, generator, backend, Stages())
    stream = FaceStream(maker, spec, plan, check)
    members = members_of(spec)
    samples = [
        encode_face(face, members, jpeg_quality=spec.image.quality)
        for faces in stream.chunks()
        for face in faces
    ]
    return MadePreview(_tar_of(samples), len(samples), stream.tally.rejected.total())


def _tar_of(samples: Sequence[EncodedSample]) -> bytes:
    decoded = []
    for sample in samples:
        found = [(member_of_suffix(suffix), data) for suffix, data in sample.members]
        decoded.append({member.name: decode_member(member, data) for member, data in found})
    files = [(SHEET_NAME, sheet_of(decoded))]
    files += [
        (f"{sample.key}.{suffix}", data) for sample in samples for suffix, data in sample.members
    ]
    pieces = [
        piece
        for name, data in files
        for piece in (header_block(name, len(data)), data, padding(len(data)))
    ]
    body = b"".join(pieces)
    return body + end_of_archive(len(body))
