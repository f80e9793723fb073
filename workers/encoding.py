"""A labelled face to a sample's files, by the table of `synthforge.samples`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import simplejpeg

from synthforge.codecs import Array, CodecError, check_array, encode_npy
from synthforge.samples import Member, SampleMeta
from synthforge.shards import sample_key
from workers.png import encode_png
from workers.types import Float32Array, UInt8Array, UInt16Array

# 4:4:4: chroma at full resolution, so that the picture's edges lie where the labels' do.
_JPEG_SUBSAMPLING: Final = "444"


@dataclass(frozen=True)
class LabelledFace:
    """A picture and its labels, all in the picture's pixel frame; None where not asked for.

    Attributes:
        meta: what goes into the JSON; its width and height are those of every array.
        image: (H, W, 3) uint8 RGB.
        segmentation: (H, W) uint8 class ids.
        depth: (H, W) uint16, steps of 0.1 mm; 0 = nothing there.
        normal: (H, W, 3) uint8; 0, 0, 0 = nothing there.
        u: (H, W) uint16; 0 = none. So too v.
        v: (H, W) uint16.
        dense: (V, 3) float32 metres, camera axes.
    """

    meta: SampleMeta
    image: UInt8Array
    segmentation: UInt8Array | None = None
    depth: UInt16Array | None = None
    normal: UInt8Array | None = None
    u: UInt16Array | None = None
    v: UInt16Array | None = None
    dense: Float32Array | None = None


@dataclass(frozen=True)
class EncodedSample:
    """A sample's files in the order of the tar.

    Attributes:
        meta: what its JSON says.
        members: suffix and bytes of each file.
    """

    meta: SampleMeta
    members: tuple[tuple[str, bytes], ...]

    @property
    def key(self) -> str:
        """What all its files are called before the first dot."""
        return sample_key(self.meta.index)


def encode_face(
    face: LabelledFace, members: Sequence[Member], *, jpeg_quality: int = 95
) -> EncodedSample:
    """Turn a face into the files that a job asks for.

    Args:
        face: with every array that `members` names.
        members: `members_of(spec)`.
        jpeg_quality: 1 to 100.

    Raises:
        CodecError: naming the member whose array is missing, or of another dtype or shape.
    """
    sizes = {"H": face.meta.height, "W": face.meta.width}
    files: list[tuple[str, bytes]] = []
    for member in members:
        if member.encoding == "json":
            files.append((member.suffix, face.meta.to_json()))
            continue
        array: Array | None = getattr(face, member.name)
        if array is None:
            raise CodecError(f"{member.name}: the job asks for it, and sample {face.meta.index} "
                             "lacks it")  # fmt: skip
        check_array(member, array, sizes)
        files.append((member.suffix, encode_array(member, array, jpeg_quality=jpeg_quality)))
    return EncodedSample(face.meta, tuple(files))


def encode_array(member: Member, array: Array, *, jpeg_quality: int = 95) -> bytes:
    """Return the bytes of an array that `check_array` has passed; equal arrays, equal bytes.

    Args:
        member: its row.
        array: dtype and shape of the row; RGB where it has colours.
        jpeg_quality: 1 to 100, of a jpg.
    """
    if member.encoding == "jpg":
        contiguous = np.ascontiguousarray(array)
        encoded: bytes = simplejpeg.encode_jpeg(contiguous, jpeg_quality, "RGB", _JPEG_SUBSAMPLING)
        return encoded
    return encode_npy(array) if member.encoding == "npy" else encode_png(array)
