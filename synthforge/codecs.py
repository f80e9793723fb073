"""A member's bytes to its array, by the table `MEMBERS`; the checks that writer and reader share.

Not a contract module: it needs numpy, and loads OpenCV and simplejpeg when first used. The other
way, arrays to bytes, is `workers.encoding`.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from synthforge.samples import Encoding, Member, SampleMeta

Array = NDArray[Any]

MAX_SIDE_PX: Final = 8192  # of a picture that is decoded; a header may claim anything

_PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_PNG_HEADER: Final = struct.Struct(">8sI4sIIBB")  # signature, IHDR: width, height, depth, colour
_PNG_KINDS: Final[dict[Encoding, tuple[int, int]]] = {  # bits, colour type (PNG 3rd ed., 11.2.1)
    "png8": (8, 0),
    "png16": (16, 0),
    "png8_rgb": (8, 2),
}
_NPY_MAGIC: Final = b"\x93NUMPY\x01\x00"
_NPY_HEADER_BYTES: Final = 128  # a multiple of 64, as numpy.lib.format aligns it
_NPY_HEADER: Final = re.compile(
    rb"\{'descr': '<f4', 'fortran_order': False, 'shape': \((\d{1,9}), (\d{1,9})\), \} *\n"
)


class CodecError(ValueError):
    """A member's array or bytes are not what its row of `MEMBERS` says."""


def check_array(member: Member, array: Array, sizes: dict[str, int] | None = None) -> None:
    """Check an array against its member's row.

    Args:
        member: the row.
        array: to be stored, or just decoded.
        sizes: known extents of the shape's letters, e.g. `{"H": 512, "W": 512}`.

    Raises:
        CodecError: naming the member, what it has and what would do.
    """
    if array.dtype != np.dtype(member.dtype):
        raise CodecError(f"{member.name}: dtype {array.dtype}; {member.dtype} would do")
    wanted = _axes(member.shape)
    fits = array.ndim == len(wanted) and all(
        length == (axis if isinstance(axis, int) else (sizes or {}).get(axis, length))
        for length, axis in zip(array.shape, wanted, strict=True)
    )
    if not fits:
        named = "".join(f", {axis} = {size}" for axis, size in (sizes or {}).items())
        raise CodecError(f"{member.name}: shape {array.shape}; {member.shape}{named} would do")


def encode_npy(array: Array) -> bytes:
    """Return a (N, M) float32 array as an npy of version 1.0, as `numpy.lib.format` writes it."""
    rows, columns = array.shape
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}"
    header = text.encode().ljust(_NPY_HEADER_BYTES - len(_NPY_MAGIC) - 3) + b"\n"
    return b"".join(
        (_NPY_MAGIC, struct.pack("<H", len(header)), header, array.astype("<f4").tobytes())
    )


def decode_array(member: Member, data: bytes) -> Array:
    """Return a member's array, dtype and shape as its row says: 16-bit stays 16-bit.

    Raises:
        CodecError: the bytes are torn, or hold something else.
    """
    try:
        array = _DECODERS[member.encoding](data)
    except CodecError as error:
        raise CodecError(f"{member.name}: {error}") from None
    check_array(member, array)
    return array


def decode_meta(data: bytes) -> SampleMeta:
    """Return a sample's JSON.

    Raises:
        CodecError: it is no `SampleMeta`.
    """
    try:
        return SampleMeta.model_validate_json(data)
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise CodecError(f"meta: {reason[:200]}") from None


def decode_member(member: Member, data: bytes) -> Array | SampleMeta:
    """Return an array, or the `SampleMeta` of the member `meta`; errors as of both."""
    return decode_meta(data) if member.encoding == "json" else decode_array(member, data)


@cache
def _axes(shape: str) -> tuple[int | str, ...]:
    """Read `(H, W, 3)` as `("H", "W", 3)`."""
    names = [name.strip() for name in shape.strip("()").split(",")]
    return tuple(int(name) if name.isdigit() else name for name in names)


def _decode_png(encoding: Encoding, data: bytes) -> Array:
    import cv2  # noqa: PLC0415

    if len(data) < _PNG_HEADER.size:
        raise CodecError("no png: too short")
    signature, _, chunk, width, height, bits, colour = _PNG_HEADER.unpack_from(data)
    if signature != _PNG_SIGNATURE or chunk != b"IHDR":
        raise CodecError("no png")
    if (bits, colour) != _PNG_KINDS[encoding]:
        raise CodecError(
            f"a png of {bits} bits and colour type {colour}; {_PNG_KINDS[encoding]} would do"
        )
    _check_sides(width, height)
    flags = cv2.IMREAD_COLOR_RGB if encoding == "png8_rgb" else cv2.IMREAD_UNCHANGED
    array = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if array is None:
        raise CodecError("a png that is torn")
    return array


def _decode_jpeg(data: bytes) -> Array:
    import simplejpeg  # noqa: PLC0415

    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        _check_sides(width, height)
        if colours not in {"YCbCr", "RGB"}:
            raise CodecError(f"a jpg of colours {colours}; YCbCr would do")
        decoded: Array = simplejpeg.decode_jpeg(data, "RGB")
    except CodecError:
        raise
    except ValueError as error:
        raise CodecError(f"no jpg: {error}") from None
    return decoded


def _decode_npy(data: bytes) -> Array:
    body = len(_NPY_MAGIC) + 2
    if data[: len(_NPY_MAGIC)] != _NPY_MAGIC or len(data) < body:
        raise CodecError("no npy of version 1.0")
    start = body + int.from_bytes(data[len(_NPY_MAGIC) : body], "little")
    header = _NPY_HEADER.fullmatch(data[body:start])
    if header is None:
        raise CodecError("no npy of little-endian float32 in two axes")
    rows, columns = int(header[1]), int(header[2])
    if len(data) - start != 4 * rows * columns:
        raise CodecError(f"an npy of {rows} x {columns} with {len(data) - start} bytes: torn")
    # A copy: readers may write to what they get.
    return np.frombuffer(data, "<f4", offset=start).reshape(rows, columns).astype(np.float32)


def _check_sides(width: int, height: int) -> None:
    if not (1 <= width <= MAX_SIDE_PX and 1 <= height <= MAX_SIDE_PX):
        raise CodecError(f"{width} x {height} pixels; 1 to {MAX_SIDE_PX} a side would do")


_DECODERS: Final[dict[Encoding, Callable[[bytes], Array]]] = {
    "jpg": _decode_jpeg,
    "png8": lambda data: _decode_png("png8", data),
    "png8_rgb": lambda data: _decode_png("png8_rgb", data),
    "png16": lambda data: _decode_png("png16", data),
    "npy": _decode_npy,
}
