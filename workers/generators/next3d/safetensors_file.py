"""Tensors and a few words about them in one file that cannot hold code.

The safetensors format: 8 bytes little-endian length, a JSON header of names, types, shapes and
offsets, then the numbers one after the other. Read by memory map: nothing is copied until used.

Source: the format's description, github.com/huggingface/safetensors (README, "Format").
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from workers.pages import drop_pages

Array = NDArray[np.generic]

TYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "U8": "|u1",
    "BOOL": "|b1",
}
NAMES = {np.dtype(code): name for name, code in TYPES.items()}

MAX_HEADER_BYTES = 100_000_000
ALIGNMENT_BYTES = 8


class BadSafetensorsError(ValueError):
    """The file is torn or malformed."""


@dataclass(frozen=True)
class SafetensorsFile:
    """What a file holds.

    Attributes:
        tensors: by name; read-only views of the memory-mapped file.
        metadata: words by name.
    """

    tensors: Mapping[str, Array]
    metadata: Mapping[str, str]


def write_safetensors(
    path: Path, tensors: Mapping[str, Array], metadata: Mapping[str, str]
) -> None:
    """Write a file; names are sorted, so equal content makes equal bytes.

    Raises:
        ValueError: a tensor's type has no name in the format.
    """
    header: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))}
    at = 0
    for name, array in sorted(tensors.items()):
        dtype = array.dtype.newbyteorder("<")
        if dtype not in NAMES:
            raise ValueError(f"tensor {name!r} is {array.dtype}; use one of {', '.join(TYPES)}")
        end = at + array.size * dtype.itemsize
        header[name] = {
            "dtype": NAMES[dtype],
            "shape": list(array.shape),
            "data_offsets": [at, end],
        }
        at = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNMENT_BYTES)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, array in sorted(tensors.items()):
            little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
            file.write(little.reshape(-1).view(np.uint8).data)
            drop_pages(array)


def read_safetensors(path: Path) -> SafetensorsFile:
    """Map a file.

    Raises:
        BadSafetensorsError: it is torn or malformed.
    """
    num_bytes = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else num_bytes
        if length > min(num_bytes - 8, MAX_HEADER_BYTES):
            raise BadSafetensorsError(f"{path.name} is torn: its header is longer than the file")
        try:
            header = json.loads(file.read(length))
        except ValueError:
            raise BadSafetensorsError(f"{path.name} has a header that is no JSON") from None
    if not isinstance(header, dict):
        raise BadSafetensorsError(f"{path.name} has a header that is no dictionary")
    metadata = header.pop("__metadata__", {})
    data = np.memmap(path, np.uint8, "r", offset=8 + length) if header else np.empty(0, np.uint8)
    try:
        tensors = {name: _tensor(data, entry) for name, entry in header.items()}
    except (KeyError, TypeError, ValueError) as error:
        raise BadSafetensorsError(f"{path.name} is torn or malformed: {error}") from None
    return SafetensorsFile(tensors, metadata)


def _tensor(data: Array, entry: Mapping[str, object]) -> Array:
    dtype, shape, offsets = (
        np.dtype(TYPES[str(entry["dtype"])]),
        entry["shape"],
        entry["data_offsets"],
    )
    if not isinstance(shape, list) or not isinstance(offsets, list) or len(offsets) != 2:
        raise ValueError("a tensor's shape or offsets are no lists")
    start, end = offsets
    if not 0 <= start <= end <= len(data) or end - start != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"a tensor of shape {shape} lies at {start} to {end} of {len(data)} bytes")
    return data[start:end].view(dtype).reshape(shape)
