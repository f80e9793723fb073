"""Where each member of a shard lies, read from the tar's headers alone."""

from __future__ import annotations

import os
from dataclasses import dataclass

from synthforge.samples import split_member_name
from synthforge.tar_format import BLOCK_BYTES, parse_header


@dataclass(frozen=True)
class Row:
    """One sample in a tar.

    Attributes:
        key: that its members share.
        members: suffix -> (byte offset, length) of the member's content.
    """

    key: str
    members: dict[str, tuple[int, int]]


def read_rows(file: int, num_bytes: int) -> tuple[Row, ...]:
    """Return the samples of an open tar in the order in which they lie.

    Args:
        file: descriptor of the whole, already verified file.
        num_bytes: its length.

    Raises:
        ValueError: a header is none of a plain tar's; the samples are not whole runs of members.
    """
    rows: list[Row] = []
    seen: set[str] = set()
    position = 0
    while position + BLOCK_BYTES <= num_bytes:
        header = os.pread(file, BLOCK_BYTES, position)
        if not any(header):
            break
        name, size = parse_header(header, position)
        key, suffix = split_member_name(name)
        if not rows or rows[-1].key != key:
            if key in seen:
                raise ValueError(f"sample {key} comes twice in one shard")
            seen.add(key)
            rows.append(Row(key, {}))
        rows[-1].members[suffix] = (position + BLOCK_BYTES, size)
        position += BLOCK_BYTES * (1 + -(-size // BLOCK_BYTES))
    return tuple(rows)
