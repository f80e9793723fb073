"""The plain tar of a shard: ustar headers with fixed time, owner and mode, nothing else.

The same members make the same bytes, those of `tarfile` with `USTAR_FORMAT`; what differs in one
bit is refused when read. Format: POSIX.1-1988 (IEEE Std 1003.1), "ustar interchange format".
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

BLOCK_BYTES: Final = 512
RECORD_BYTES: Final = 20 * BLOCK_BYTES  # an archive's length is a multiple of it
MAX_NAME_BYTES: Final = 100
# A plain file's name, and no path: whoever unpacks an archive writes into one folder.
_NAME: Final = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9._-]{{0,{MAX_NAME_BYTES - 1}}}")
MAX_MEMBER_BYTES: Final = 64 << 20  # far above any member; a torn header may claim 8 GiB

# name, mode, uid, gid, size, mtime, checksum, type, link, magic, version, then names, devices
_HEADER: Final = struct.Struct("100s8s8s8s12s12s8s1s100s6s2s32s32s8s8s155s12x")
_MODE: Final = b"0000644\0"
_ZERO: Final = b"0000000\0"
_EPOCH: Final = b"00000000000\0"
_REGULAR: Final = b"0"
_BLANK_CHECKSUM: Final = b" " * 8


class TarError(ValueError):
    """An archive that is not a shard's plain tar, or is torn."""


@dataclass(frozen=True)
class TarMember:
    """One file of an archive.

    Attributes:
        name: of the file.
        offset: byte at which its header starts.
        data: its content.
    """

    name: str
    offset: int
    data: bytes


def header_block(name: str, num_bytes: int) -> bytes:
    """Return the 512 bytes before a member.

    Raises:
        ValueError: the name is a path, has other characters than ASCII's letters, digits, dot,
            dash and underscore, or is too long for a plain header.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"tar member {name!r}: 1 to {MAX_NAME_BYTES} letters, digits, dots, dashes and "
            "underscores would do, the first no dot and no dash"
        )
    encoded = name.encode("ascii")
    block = _pack(encoded, num_bytes, _BLANK_CHECKSUM)
    return _pack(encoded, num_bytes, b"%06o\0 " % sum(block))


def padding(num_bytes: int) -> bytes:
    """Return the zeros that fill a member's last block."""
    return bytes(-num_bytes % BLOCK_BYTES)


def end_of_archive(num_bytes: int) -> bytes:
    """Return what closes an archive of `num_bytes`: two zero blocks, then zeros to a record."""
    return bytes(2 * BLOCK_BYTES + -(num_bytes + 2 * BLOCK_BYTES) % RECORD_BYTES)


def parse_header(block: bytes, offset: int) -> tuple[str, int]:
    """Read a header's name and size, and see that they make up the whole header.

    Args:
        block: the 512 bytes before a member.
        offset: where they lie, for the message.

    Raises:
        TarError: the block is not what `header_block` makes.
    """
    fields = _HEADER.unpack(block)
    try:
        name = fields[0].rstrip(b"\0").decode("ascii")
        num_bytes = int(fields[4].rstrip(b"\0"), 8)
        if num_bytes > MAX_MEMBER_BYTES:
            raise TarError(f"byte {offset}: a member of {num_bytes} bytes")
        same = header_block(name, num_bytes) == block
    except TarError:
        raise
    except ValueError:
        same = False
    if not same:
        raise TarError(f"byte {offset}: not the header of a plain tar with fixed time and owner")
    return name, num_bytes


def read_tar(chunks: Iterable[bytes]) -> Iterator[TarMember]:
    """Yield the members of a shard, holding one in memory at a time.

    Raises:
        TarError: at the first byte that a shard's writer would not have written.
    """
    reader = _Reader(iter(chunks))
    while True:
        offset = reader.position
        block = reader.take(BLOCK_BYTES)
        if not any(block):
            break
        name, num_bytes = parse_header(block, offset)
        data = reader.take(num_bytes)
        if any(reader.take(-num_bytes % BLOCK_BYTES)):
            raise TarError(f"byte {reader.position}: padding that is not zero")
        yield TarMember(name, offset, data)
    rest = reader.take(len(end_of_archive(offset)) - BLOCK_BYTES)
    if any(rest) or not reader.is_at_end():
        raise TarError(f"byte {offset}: more follows the end of the archive")


class _Reader:
    """A stream of chunks, taken by exact lengths."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._buffer = b""
        self._start = 0  # of what is not taken yet, in the buffer
        self.position = 0

    def take(self, num_bytes: int) -> bytes:
        held = len(self._buffer) - self._start
        if held < num_bytes:
            pieces = [self._buffer[self._start :]]
            while held < num_bytes:
                chunk = next(self._chunks, None)
                if chunk is None:
                    raise TarError(f"byte {self.position + held}: the archive ends too early")
                pieces.append(chunk)
                held += len(chunk)
            self._buffer, self._start = b"".join(pieces), 0
        taken = self._buffer[self._start : self._start + num_bytes]
        self._start += num_bytes
        self.position += num_bytes
        return taken

    def is_at_end(self) -> bool:
        return self._start == len(self._buffer) and not any(self._chunks)


def _pack(name: bytes, num_bytes: int, checksum: bytes) -> bytes:
    size = b"%011o\0" % num_bytes
    no_link, no_names_nor_devices = b"", (b"",) * 5
    return _HEADER.pack(
        *(name, _MODE, _ZERO, _ZERO, size, _EPOCH, checksum, _REGULAR),
        *(no_link, b"ustar\0", b"00", *no_names_nor_devices),
    )
