"""PNG files of label pictures, written fast and the same on every machine (PNG, third edition)."""

from __future__ import annotations

import struct
import zlib
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from workers.png import kernels
from workers.png.deflate import TAIL_BYTES, deflate

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
# zlib's header (RFC 1950): deflate, window of 32 KiB, "fastest algorithm"; a multiple of 31.
_ZLIB_HEADER: Final = b"\x78\x01"
_GREY, _RGB = 0, 2  # colour types
_FILTER_NONE, _FILTER_UP = 0, kernels.FILTER_UP
_KINDS: Final = {(np.dtype(np.uint8), 2): (8, _GREY), (np.dtype(np.uint16), 2): (16, _GREY),
                 (np.dtype(np.uint8), 3): (8, _RGB)}  # fmt: skip


def encode_png(array: NDArray[Any]) -> bytes:
    """Return the file of a picture; equal pictures, equal bytes.

    Pictures of numbers that vary smoothly (16 bits, colours) hold each row's difference from the
    row above, grey ones of 8 bits, which are class ids, the ids themselves.

    Args:
        array: (H, W) uint8 or uint16, or (H, W, 3) uint8 RGB; no side is 0.

    Raises:
        ValueError: dtype or shape is another.
    """
    kind = _KINDS.get((array.dtype, array.ndim))
    if kind is None or array.size == 0 or (kind[1] == _RGB and array.shape[2] != 3):
        raise ValueError(
            f"png: {array.dtype} {array.shape}; uint8 or uint16 (H, W), or uint8 (H, W, 3) would do"
        )
    bits, colour = kind
    rows, check = _filtered(array, _FILTER_NONE if kind == (8, _GREY) else _FILTER_UP)
    body = b"".join((_ZLIB_HEADER, deflate(rows).tobytes(), check.to_bytes(4, "big")))
    height, width = array.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    chunks = (_chunk(b"IHDR", header), _chunk(b"IDAT", body), _chunk(b"IEND", b""))
    return b"".join((_SIGNATURE, *chunks))


def _filtered(array: NDArray[Any], row_filter: int) -> tuple[NDArray[np.uint8], int]:
    """Return the rows as the stream holds them, each after its filter's number, and their check.

    Returns:
        The rows, then `TAIL_BYTES` of zeros; and their Adler-32 (RFC 1950), without the zeros.
    """
    big_endian = np.ascontiguousarray(array, array.dtype.newbyteorder(">"))
    samples = big_endian.view(np.uint8).reshape(len(array), -1)
    height, row_bytes = samples.shape
    data = np.empty(height * (row_bytes + 1) + TAIL_BYTES, np.uint8)
    data[-TAIL_BYTES:] = 0
    rows = data[:-TAIL_BYTES].reshape(height, row_bytes + 1)
    return data, int(kernels.filter_rows(samples, row_filter, rows))


def _chunk(kind: bytes, data: bytes) -> bytes:
    checked = kind + data
    return b"".join((len(data).to_bytes(4, "big"), checked, zlib.crc32(checked).to_bytes(4, "big")))
