"""The numba kernels of `deflate`: matches, Huffman codes, bits (RFC 1951).

Integers alone, so equal data make equal bytes on every machine. Kernels are called a few times a
block, not inlined into one, which would take 10 s to compile instead of 4. Constants that they pass
to each other are cast: numba would compile a callee anew for each literal.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from workers.raster.jit import compiled

UInt8Array = NDArray[np.uint8]
UInt16Array = NDArray[np.uint16]
UInt32Array = NDArray[np.uint32]
Int32Array = NDArray[np.int32]
Int64Array = NDArray[np.int64]

HASH_BITS: Final = 15
HASH_FACTOR: Final = 2654435761  # 2^32 over the golden ratio (Knuth, TAOCP 3, 6.4)
WINDOW_BYTES: Final = 32768
MIN_MATCH: Final = 4
MAX_MATCH: Final = 258
END_OF_BLOCK: Final = 256
MAX_CODE_BITS: Final = 15
LENGTH_CODE_BITS: Final = 7
DYNAMIC_BLOCK: Final = 2
MATCH_FLAG: Final = 1 << 31
FILTER_UP: Final = 2
ADLER_BASE: Final = 65521
ADLER_RUN: Final = 4096  # bytes whose weighted sum, at most 255 * 4096^2 / 2, fits 32 bits


@compiled
def filter_rows(samples: UInt8Array, row_filter: int, rows: UInt8Array) -> np.int64:
    """Write each row after its filter's number, as differences from the row above where it is Up.

    Args:
        samples: (H, N).
        row_filter: 0 or `FILTER_UP`.
        rows: (H, N + 1) filled.

    Returns:
        Adler-32 of `rows` (RFC 1950, 8.2).
    """
    height, row_bytes = samples.shape
    low, high = np.int64(1), np.int64(0)
    for i in range(height):
        row, sample = rows[i], samples[i]
        row[0] = np.uint8(row_filter)
        filtered = row[1:]
        if row_filter == FILTER_UP and i > 0:
            above = samples[i - 1]
            for k in range(row_bytes):
                filtered[k] = np.uint8(sample[k] - above[k])
        else:
            for k in range(row_bytes):
                filtered[k] = sample[k]
        for start in range(0, row_bytes + 1, ADLER_RUN):
            run = row[start : start + ADLER_RUN]
            size = run.shape[0]
            total, weighted = np.uint32(0), np.uint32(0)
            for k in range(np.int32(size)):
                byte = np.uint32(run[k])
                total = np.uint32(total + byte)
                weighted = np.uint32(weighted + byte * np.uint32(np.int32(size) - np.int32(k)))
            high = (high + low * size + np.int64(weighted)) % ADLER_BASE
            low = (low + np.int64(total)) % ADLER_BASE
    return (high << 16) | low


@compiled
def tokenise(
    data: UInt8Array,
    start: int,
    num_bytes: int,
    table: Int32Array,
    tokens: UInt32Array,
    literal_counts: Int64Array,
    distance_counts: Int64Array,
    length_symbol: UInt16Array,
    distance_symbol: UInt8Array,
) -> tuple[np.int64, np.int64]:
    """Cut bytes from `start` on into literals and matches until the block is full.

    Args:
        data: (num_bytes + 8,) uint8; the last 8 are read and mean nothing.
        start: where the last block ended.
        num_bytes: where the data ends, below 2^31.
        table: (2^HASH_BITS,) where four bytes of each hash were last seen; kept between blocks.
        tokens: (T,) filled: a literal, or MATCH_FLAG | length << 16 | distance - 1.
        literal_counts: (286,) zeros, counted up by the symbols used; so too distance_counts (30,).
        distance_counts: as above.
        length_symbol: (259,) symbol of each length; distance_symbol (512,): see `_distance_symbol`.
        distance_symbol: as above.

    Returns:
        Where the next block starts, and how many tokens were filled in.
    """
    position = np.uint64(start)
    end = np.uint64(num_bytes)
    one = np.uint64(1)
    num_tokens = np.uint64(0)
    limit = np.uint64(len(tokens))
    while position < end and num_tokens < limit:
        word = _word(data, position)
        product = (np.uint64(word) * np.uint64(HASH_FACTOR)) & np.uint64(0xFFFFFFFF)
        slot = product >> np.uint64(32 - HASH_BITS)
        candidate = table[slot]
        table[slot] = np.int32(position)
        distance = np.int64(position) - np.int64(candidate)
        if (
            distance <= WINDOW_BYTES
            and position + np.uint64(MIN_MATCH) <= end
            and _word(data, np.uint64(candidate)) == word
        ):
            most = min(end - position, np.uint64(MAX_MATCH))
            length = np.uint64(MIN_MATCH)
            source = np.uint64(candidate)
            while length + np.uint64(4) <= most and _word(data, source + length) == _word(
                data, position + length
            ):
                length += np.uint64(4)
            while length < most and data[source + length] == data[position + length]:
                length += one
            tokens[num_tokens] = np.uint32(
                np.uint64(MATCH_FLAG) | (length << np.uint64(16)) | np.uint64(distance - 1)
            )
            literal_counts[length_symbol[length]] += 1
            distance_counts[_distance_symbol(distance_symbol, np.uint64(distance - 1))] += 1
            position += length
        else:
            literal = data[position]
            tokens[num_tokens] = np.uint32(literal)
            literal_counts[np.uint64(literal)] += 1
            position += one
        num_tokens += one
    return np.int64(position), np.int64(num_tokens)


@compiled
def write_tokens(
    out: UInt8Array,
    state: Int64Array,
    tokens: UInt32Array,
    num_tokens: int,
    literal_codes: UInt32Array,
    distance_codes: UInt32Array,
    length_symbol: UInt16Array,
    length_base: Int32Array,
    length_bits: Int32Array,
    distance_symbol: UInt8Array,
    distance_base: Int32Array,
    distance_bits: Int32Array,
) -> None:
    """Write a block's tokens and its end.

    Args:
        out: (M,) with 8 bytes to spare; state: see `write_bits`.
        state: as above.
        tokens: of `tokenise`.
        num_tokens: of them.
        literal_codes: (286,) of `make_code`; so too distance_codes (30,).
        distance_codes: as above.
        length_symbol: (259,), length_base (29,), length_bits (29,): RFC 1951, 3.2.5.
        length_base: first length of each symbol from 257 on.
        length_bits: its extra bits.
        distance_symbol: (512,), distance_base (30,), distance_bits (30,): the same of distances.
        distance_base: first distance of each symbol.
        distance_bits: its extra bits.
    """
    at = np.uint64(state[0])
    held = np.uint64(state[1])
    count = np.uint64(state[2])
    for i in range(num_tokens):
        token = np.uint64(tokens[i])
        if token < np.uint64(MATCH_FLAG):
            code = np.uint64(literal_codes[token])
            held |= (code >> np.uint64(4)) << count
            count += code & np.uint64(15)
        else:
            length = (token >> np.uint64(16)) & np.uint64(0x1FF)
            length_code = np.uint64(length_symbol[length])
            code = np.uint64(literal_codes[length_code])
            held |= (code >> np.uint64(4)) << count
            count += code & np.uint64(15)
            row = length_code - np.uint64(257)
            held |= (length - np.uint64(length_base[row])) << count
            count += np.uint64(length_bits[row])
            distance = token & np.uint64(0xFFFF)
            symbol = _distance_symbol(distance_symbol, distance)
            code = np.uint64(distance_codes[symbol])
            held |= (code >> np.uint64(4)) << count
            count += code & np.uint64(15)
            held |= (distance + np.uint64(1) - np.uint64(distance_base[symbol])) << count
            count += np.uint64(distance_bits[symbol])
        # A match takes 15 + 5 + 15 + 13 bits, after at most 7 that are held: 64 are enough. All
        # eight bytes are stored, in one go and without a branch; what is not whole is held on.
        for byte in range(8):
            out[at + np.uint64(byte)] = np.uint8((held >> np.uint64(8 * byte)) & np.uint64(0xFF))
        at += count >> np.uint64(3)
        held >>= count & np.uint64(56)
        count &= np.uint64(7)
    state[0] = np.int64(at)
    state[1] = np.int64(held)
    state[2] = np.int64(count)
    end = literal_codes[END_OF_BLOCK]
    write_bits(out, state, np.int64(end) >> 4, np.int64(end) & 15)


@compiled
def write_bits(
    out: UInt8Array, state: Int64Array, value: int | np.int64, num_bits: int | np.int64
) -> None:
    """Append bits, the lowest first.

    Args:
        out: (M,) where bytes go.
        state: (3,) bytes written, bits held back, how many these are; changed.
        value: the bits.
        num_bits: at most 32.
    """
    held = state[1] | (np.int64(value) << state[2])
    count = state[2] + num_bits
    while count >= 8:
        out[state[0]] = np.uint8(held & 0xFF)
        state[0] += 1
        held >>= 8
        count -= 8
    state[1] = held
    state[2] = count


@compiled
def write_header(
    out: UInt8Array,
    state: Int64Array,
    is_last: int,
    literal_lengths: UInt8Array,
    distance_lengths: UInt8Array,
    order: UInt8Array,
) -> None:
    """Begin a dynamic block with what a reader needs to make its codes too (RFC 1951, 3.2.7).

    Lengths are written one by one: joining runs of them would save 1 byte in 200.

    Args:
        out: (M,) where bytes go; state: see `write_bits`.
        state: as above.
        is_last: 1 in the data's last block, else 0.
        literal_lengths: (286,) of `make_code`; so too distance_lengths (30,).
        distance_lengths: as above.
        order: (19,) in which the lengths of the code of lengths are written.
    """
    num_literals = max(_num_used(literal_lengths), 257)
    num_distances = max(_num_used(distance_lengths), 1)
    counts = np.zeros(order.shape[0], np.int64)
    for i in range(num_literals):
        counts[literal_lengths[i]] += 1
    for i in range(num_distances):
        counts[distance_lengths[i]] += 1
    lengths = np.empty(order.shape[0], np.uint8)
    codes = np.empty(order.shape[0], np.uint32)
    make_code(counts, int(np.int64(LENGTH_CODE_BITS)), lengths, codes)
    num_lengths = 0
    for i in range(order.shape[0]):
        if lengths[order[i]] > 0:
            num_lengths = i + 1
    write_bits(out, state, DYNAMIC_BLOCK << 1 | is_last, np.int64(3))
    write_bits(out, state, num_literals - 257, np.int64(5))
    write_bits(out, state, num_distances - 1, np.int64(5))
    write_bits(out, state, num_lengths - 4, np.int64(4))
    for i in range(num_lengths):
        write_bits(out, state, np.int64(lengths[order[i]]), np.int64(3))
    for i in range(num_literals):
        code = np.int64(codes[literal_lengths[i]])
        write_bits(out, state, code >> 4, code & 15)
    for i in range(num_distances):
        code = np.int64(codes[distance_lengths[i]])
        write_bits(out, state, code >> 4, code & 15)


@compiled
def _num_used(lengths: UInt8Array) -> int:
    """The number of lengths up to the last that is not 0."""
    size = len(lengths)
    while size > 0 and lengths[size - 1] == 0:
        size -= 1
    return size


@compiled
def make_code(
    counts: Int64Array,
    most_bits: int,
    lengths: UInt8Array,
    codes: UInt32Array,
) -> None:
    """Make the Huffman code of some counts, no symbol longer than `most_bits`.

    Two symbols at least get a code: some readers refuse a code of one. Built bottom up from the
    counts in order (Moffat and Katajainen 1995), then cut, and evened out to keep Kraft's sum.

    Args:
        counts: (N,), N <= 512; changed where fewer than two are used.
        most_bits: 7 or 15.
        lengths: (N,) filled with each symbol's bits, 0 for none.
        codes: (N,) filled with `code << 4 | bits`, the code's bits turned round.
    """
    keys = np.empty(len(counts), np.int64)
    weights = np.empty(2 * len(counts), np.int64)
    parent = np.empty(2 * len(counts), np.int64)
    of_length = np.zeros(MAX_CODE_BITS + 2, np.int64)
    num_used = _sorted_symbols(counts, keys)
    for i in range(num_used):
        weights[i] = keys[i] >> 9
    _join_lightest(num_used, weights, parent)
    depth = weights  # a node's weight is not looked at again
    depth[2 * num_used - 2] = 0
    for node in range(2 * num_used - 3, -1, -1):
        depth[node] = depth[parent[node]] + 1
        if node < num_used:
            of_length[min(depth[node], most_bits)] += 1
    _keep_kraft(of_length, most_bits)
    for symbol in range(len(lengths)):
        lengths[symbol] = 0
    at = 0
    for bits in range(most_bits, 0, -1):  # the rarest get the longest
        for _ in range(of_length[bits]):
            lengths[keys[at] & 511] = bits
            at += 1
    _number_codes(lengths, most_bits, codes)


@compiled
def _join_lightest(num_leaves: int, weights: Int64Array, parent: Int64Array) -> None:
    """Build Huffman's tree over leaves in order of weight; inner nodes follow the leaves."""
    leaf = 0
    inner = num_leaves
    for made in range(num_leaves, 2 * num_leaves - 1):
        weights[made] = 0
        for _ in range(2):
            if leaf < num_leaves and (inner >= made or weights[leaf] <= weights[inner]):
                lightest = leaf
                leaf += 1
            else:
                lightest = inner
                inner += 1
            weights[made] += weights[lightest]
            parent[lightest] = made


@compiled
def _sorted_symbols(counts: Int64Array, keys: Int64Array) -> int:
    """Fill `keys` with `count << 9 | symbol` of the symbols used, sorted; return how many."""
    num_used = 0
    for symbol in range(len(counts)):
        num_used += counts[symbol] > 0
    for symbol in range(2):
        if num_used < 2 and counts[symbol] == 0:
            counts[symbol] = 1
            num_used += 1
    at = 0
    for symbol in range(len(counts)):
        if counts[symbol] > 0:
            keys[at] = (counts[symbol] << 9) | symbol
            at += 1
    _sort(keys, at)
    return at


@compiled
def _sort(keys: Int64Array, size: int) -> None:
    """Sort the first `size` keys in place: Shell's way with Ciura's gaps; numpy's compiles long."""
    for gap in (301, 132, 57, 23, 10, 4, 1):
        for i in range(gap, size):
            key = keys[i]
            j = i
            while j >= gap and keys[j - gap] > key:
                keys[j] = keys[j - gap]
                j -= gap
            keys[j] = key


@compiled
def _keep_kraft(of_length: Int64Array, most_bits: int) -> None:
    """Lengthen codes until those that were cut fit: the sum of 2^-length is at most 1."""
    excess = -(1 << most_bits)
    for bits in range(1, most_bits + 1):
        excess += of_length[bits] << (most_bits - bits)
    while excess > 0:
        bits = most_bits - 1
        while of_length[bits] == 0:
            bits -= 1
        of_length[bits] -= 1
        of_length[bits + 1] += 2
        of_length[most_bits] -= 1
        excess -= 1


@compiled
def _number_codes(lengths: UInt8Array, most_bits: int, codes: UInt32Array) -> None:
    """Fill in the canonical codes (RFC 1951, 3.2.2)."""
    next_code = 0
    for bits in range(1, most_bits + 1):
        next_code <<= 1
        for symbol in range(len(lengths)):
            if lengths[symbol] == bits:
                turned = 0
                for bit in range(bits):
                    turned |= ((next_code >> bit) & 1) << (bits - 1 - bit)
                codes[symbol] = np.uint32((turned << 4) | bits)
                next_code += 1


@compiled
def _word(data: UInt8Array, i: np.uint64) -> np.uint32:
    """Return four bytes, as the processor's one load."""
    return np.uint32(
        np.uint32(data[i])
        | (np.uint32(data[i + np.uint64(1)]) << np.uint32(8))
        | (np.uint32(data[i + np.uint64(2)]) << np.uint32(16))
        | (np.uint32(data[i + np.uint64(3)]) << np.uint32(24))
    )


@compiled
def _distance_symbol(distance_symbol: UInt8Array, distance_less_1: np.uint64) -> np.uint64:
    """Return a distance's symbol: the first 256 have their own entry, the others one a 128."""
    if distance_less_1 < np.uint64(256):
        return np.uint64(distance_symbol[distance_less_1])
    return np.uint64(distance_symbol[np.uint64(256) + (distance_less_1 >> np.uint64(7))])
