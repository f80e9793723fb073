"""DEFLATE for label pictures: greedy matches, dynamic Huffman blocks, a third of zlib's time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from workers.png import kernels
from workers.png.kernels import Int32Array, Int64Array, UInt8Array, UInt16Array, UInt32Array

BLOCK_TOKENS: Final = 1 << 14  # each block has its own codes
TAIL_BYTES: Final = 8  # after the data: the kernels read words
_NUM_LITERALS: Final = 286
_NUM_DISTANCES: Final = 30
# RFC 1951, 3.2.7: the order in which the lengths of the code of lengths are written.
_LENGTH_ORDER: Final = np.array(
    [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15], np.uint8
)


@dataclass(frozen=True)
class _Tables:
    """The symbols of lengths and distances (RFC 1951, 3.2.5), as the kernels take them."""

    length_symbol: UInt16Array
    length_base: Int32Array
    length_bits: Int32Array
    distance_symbol: UInt8Array
    distance_base: Int32Array
    distance_bits: Int32Array


def _make_tables() -> _Tables:
    # 28 symbols cover lengths 3 to 257, four to each number of extra bits; 258 has its own.
    length_bits = np.array([0] * 8 + [i // 4 for i in range(4, 24)] + [0], np.int32)
    length_base = np.concatenate([[3], 3 + np.cumsum(1 << length_bits)[:-1]]).astype(np.int32)
    length_base[-1] = kernels.MAX_MATCH
    length_symbol = np.searchsorted(length_base, np.arange(259), side="right") + 256
    distance_bits = np.array([0, 0] + [i // 2 for i in range(28)], np.int32)
    distance_base = np.concatenate([[1], 1 + np.cumsum(1 << distance_bits)[:-1]]).astype(np.int32)
    near, far = np.arange(1, 257), 1 + 128 * np.arange(256)
    distances = np.concatenate([near, far])
    distance_symbol = np.searchsorted(distance_base, distances, side="right") - 1
    return _Tables(
        length_symbol.astype(np.uint16),
        length_base,
        length_bits,
        distance_symbol.astype(np.uint8),
        distance_base,
        distance_bits,
    )


_TABLES: Final = _make_tables()


@dataclass(frozen=True)
class _Code:
    """A Huffman code, made anew for each block."""

    counts: Int64Array
    lengths: UInt8Array
    codes: UInt32Array

    @staticmethod
    def of(size: int) -> _Code:
        """Make room for the code of so many symbols."""
        return _Code(np.zeros(size, np.int64), np.zeros(size, np.uint8), np.zeros(size, np.uint32))

    def make(self) -> None:
        """Make the code of the counts."""
        kernels.make_code(self.counts, kernels.MAX_CODE_BITS, self.lengths, self.codes)


def deflate(data: UInt8Array) -> UInt8Array:
    """Compress; `zlib.decompress(result, -15)` gives the data back.

    Equal data make equal bytes on every machine, whatever zlib is installed there.

    Args:
        data: (N + TAIL_BYTES,) uint8, N from 1 to 2^30; what the last bytes hold does not matter.

    Returns:
        (M,) uint8.
    """
    num_bytes = len(data) - TAIL_BYTES
    table = np.full(1 << kernels.HASH_BITS, -kernels.WINDOW_BYTES - 1, np.int32)
    tokens = np.empty(BLOCK_TOKENS, np.uint32)
    literals, distances = _Code.of(_NUM_LITERALS), _Code.of(_NUM_DISTANCES)
    # Huffman's codes take at most their entropy and a bit: 9.2 bits a literal, 33.2 a match with
    # its extra bits, which stands for 4 bytes or more. So 10 bits a byte; 300 bytes of lengths.
    num_blocks = 1 + num_bytes // BLOCK_TOKENS
    out = np.empty(num_bytes + num_bytes // 4 + 512 * num_blocks, np.uint8)
    state = np.zeros(3, np.int64)
    position = 0
    while position < num_bytes:
        literals.counts.fill(0)
        distances.counts.fill(0)
        reached, num_tokens = kernels.tokenise(
            data, position, num_bytes, table, tokens, literals.counts, distances.counts,
            _TABLES.length_symbol, _TABLES.distance_symbol,
        )  # fmt: skip
        position = int(reached)
        literals.counts[kernels.END_OF_BLOCK] = 1
        literals.make()
        distances.make()
        kernels.write_header(
            out, state, int(position >= num_bytes), literals.lengths, distances.lengths,
            _LENGTH_ORDER,
        )  # fmt: skip
        kernels.write_tokens(
            out, state, tokens, int(num_tokens), literals.codes, distances.codes,
            _TABLES.length_symbol, _TABLES.length_base, _TABLES.length_bits,
            _TABLES.distance_symbol, _TABLES.distance_base, _TABLES.distance_bits,
        )  # fmt: skip
    kernels.write_bits(out, state, 0, 7)  # fills up the last byte
    return out[: state[0]]
