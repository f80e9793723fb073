"""Named arrays in one .npz file: never an object array, its bytes known by their sha256."""

from __future__ import annotations

import hashlib
import math
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

Array = NDArray[np.generic]

_HASH_BLOCK_BYTES = 1 << 20
_MAX_HEADER_BYTES = 10_000 + 16  # what NumPy reads of a header at most
_MAX_ARRAY_BYTES = 1 << 30  # FLAME's largest has 48 MB


def file_sha256(path: Path) -> str:
    """Hash a file's bytes; 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_HASH_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def read_all_arrays(path: Path) -> dict[str, Array]:
    """Read every array of a file; errors as `read_arrays`."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path.name} is not a whole .npz file ({error})") from None
    return read_arrays(path, names)


def read_arrays(path: Path, names: Iterable[str], *, sha256: str | None = None) -> dict[str, Array]:
    """Read the named arrays of a file; others in it are left alone.

    Args:
        path: an .npz file.
        names: of the arrays wanted.
        sha256: what the file's bytes must hash to; None skips the comparison.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no .npz, an array is missing, holds objects, or announces another size
            than it has, or the hash differs.
    """
    if sha256 is not None and (found := file_sha256(path)) != sha256:
        raise ValueError(f"{path.name} has sha256 {found}, expected {sha256}: fetch it again")
    try:
        with zipfile.ZipFile(path) as archive:
            return {name: _read_member(archive, name) for name in names}
    except KeyError as error:
        raise ValueError(f"{path.name} holds no array {str(error.args[0])[:60]!r}") from None
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path.name} is not a whole .npz file ({error})") from None
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from None


def write_arrays(path: Path, arrays: Mapping[str, Array]) -> str:
    """Write arrays uncompressed and in order, so equal arrays make equal bytes.

    Returns:
        The file's sha256.
    """
    with path.open("wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy")  # its date is 1980 unless told
            with archive.open(member, "w", force_zip64=True) as out:
                npy.write_array(out, np.ascontiguousarray(array), allow_pickle=False)
    return file_sha256(path)


def _read_member(archive: zipfile.ZipFile, name: str) -> Array:
    info = archive.getinfo(f"{name}.npy")
    with archive.open(info) as member:
        shape, is_fortran, dtype = read_npy_header(member)
    num_bytes = math.prod(shape) * dtype.itemsize
    if info.file_size > _MAX_ARRAY_BYTES:
        raise ValueError(f"array {name!r} has {info.file_size} bytes, no head needs as many")
    if dtype.hasobject or not info.file_size - _MAX_HEADER_BYTES <= num_bytes < info.file_size:
        raise ValueError(f"array {name!r} of shape {str(shape)[:60]} is not what the file holds")
    raw = archive.read(info)
    numbers = np.frombuffer(raw, dtype=dtype, offset=len(raw) - num_bytes)
    return numbers.reshape(shape, order="F" if is_fortran else "C")


def read_npy_header(
    stream: IO[bytes],
) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    """Read the header of the .npy format: shape, whether columns come first, dtype.

    Leaves the stream at the first byte of the data. Raises ValueError if it is malformed.
    """
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    version = npy.read_magic(stream)
    if version not in readers:
        raise ValueError(f"version {version} of the .npy format is not known")
    shape, is_fortran, dtype = readers[version](stream)
    return shape, is_fortran, dtype
