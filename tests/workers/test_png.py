"""Our deflate and PNG: what other programs read back is what went in."""

from __future__ import annotations

import hashlib
import heapq
import zlib
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from workers.png import encode_png
from workers.png.deflate import TAIL_BYTES, deflate
from workers.png.kernels import MAX_CODE_BITS, make_code


def inflated(data: bytes, tail: bytes = bytes(TAIL_BYTES)) -> bytes:
    return zlib.decompress(deflate(np.frombuffer(data + tail, np.uint8)).tobytes(), -15)


def random_bytes(kind: str, size: int) -> bytes:
    rng = np.random.default_rng(size)
    draws: dict[str, NDArray[Any]] = {
        "incompressible": rng.integers(0, 256, size),
        "three values": rng.integers(0, 3, size),
        "skewed": rng.geometric(0.02, size) % 256,
        "very skewed": np.minimum(rng.geometric(0.5, size), 255),
        "zeros": np.zeros(size, int),
        "ramp": np.arange(size) // 7 % 256,
        "period beyond the window": np.tile(rng.integers(0, 256, 33_000), size // 33_000 + 1)[
            :size
        ],
        "period at the window": np.tile(rng.integers(0, 256, 32_768), size // 32_768 + 1)[:size],
        "long matches": np.tile(rng.integers(0, 256, 700), size // 700 + 1)[:size],
    }
    return draws[kind].astype(np.uint8).tobytes()


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 257, 258, 259, 263, 40_000, 300_000])
@pytest.mark.parametrize(
    "kind",
    [
        "incompressible",
        "three values",
        "skewed",
        "very skewed",
        "zeros",
        "ramp",
        "period beyond the window",
        "period at the window",
        "long matches",
    ],
)
def test_zlib_gives_back_what_was_deflated(kind: str, size: int) -> None:
    data = random_bytes(kind, size)
    assert inflated(data) == data


@settings(max_examples=300)
@given(
    st.lists(st.tuples(st.binary(min_size=1, max_size=40), st.integers(1, 60)), min_size=1),
    st.binary(min_size=TAIL_BYTES, max_size=TAIL_BYTES),
)
def test_any_repeats_come_back_and_the_tail_does_not_matter(
    pieces: list[tuple[bytes, int]], tail: bytes
) -> None:
    data = b"".join(piece * count for piece, count in pieces)
    assert inflated(data, tail) == data
    plain = deflate(np.frombuffer(data + bytes(TAIL_BYTES), np.uint8))
    assert np.array_equal(deflate(np.frombuffer(data + tail, np.uint8)), plain)


def test_data_that_cannot_shrink_hardly_grows() -> None:
    data = random_bytes("incompressible", 300_000)
    assert len(deflate(np.frombuffer(data + bytes(TAIL_BYTES), np.uint8))) < 1.01 * len(data)


def code_of(counts: list[int], most_bits: int) -> tuple[NDArray[np.uint8], NDArray[np.uint32]]:
    size = len(counts)
    lengths, codes = np.zeros(size, np.uint8), np.zeros(size, np.uint32)
    make_code(np.array(counts, np.int64), most_bits, lengths, codes)
    return lengths, codes


def huffman_cost(counts: list[int]) -> int:
    heap = [count for count in counts if count]
    heapq.heapify(heap)
    cost = 0
    while len(heap) > 1:
        joined = heapq.heappop(heap) + heapq.heappop(heap)
        cost += joined
        heapq.heappush(heap, joined)
    return cost


@given(
    st.lists(st.integers(0, 2**14), min_size=2, max_size=286).filter(
        lambda counts: sum(map(bool, counts)) > 1
    )
)
def test_a_code_is_huffman_s_where_no_symbol_is_cut(counts: list[int]) -> None:
    lengths, codes = code_of(counts, MAX_CODE_BITS)
    assert ((lengths > 0) == (np.array(counts) > 0)).all()
    assert sum(2.0 ** -int(bits) for bits in lengths if bits) <= 1
    cost = sum(count * int(bits) for count, bits in zip(counts, lengths, strict=True))
    assert cost >= huffman_cost(counts)
    if lengths.max() < MAX_CODE_BITS:
        assert cost == huffman_cost(counts)
    words = {f"{codes[i] >> 4:0{bits}b}"[::-1] for i, bits in enumerate(lengths.tolist()) if bits}
    ordered = sorted(words)  # no word begins another
    assert not any(b.startswith(a) for a, b in pairwise(ordered))


@pytest.mark.parametrize(("num_symbols", "most_bits"), [(40, 15), (19, 7), (30, 15)])
def test_the_longest_codes_are_cut_and_the_code_stays_one(num_symbols: int, most_bits: int) -> None:
    counts = [1, 1]
    while len(counts) < num_symbols:
        counts.append(counts[-1] + counts[-2])  # Fibonacci: the deepest of all trees
    lengths, _ = code_of(counts, most_bits)
    assert lengths.max() == most_bits
    assert sum(1 << (most_bits - int(bits)) for bits in lengths) <= 1 << most_bits
    assert (np.diff(lengths.astype(int)) <= 0).all()


@pytest.mark.parametrize("counts", [[0] * 30, [0, 0, 7], [5, 0, 0]])
def test_a_code_has_two_words_at_least(counts: list[int]) -> None:
    lengths, _ = code_of(counts, MAX_CODE_BITS)
    assert sorted(lengths[lengths > 0].tolist()) == [1, 1]


@pytest.mark.parametrize(("dtype", "channels"), [(np.uint8, ()), (np.uint16, ()), (np.uint8, (3,))])
@pytest.mark.parametrize("shape", [(1, 1), (1, 70), (70, 1), (63, 65), (512, 512)])
def test_opencv_reads_our_files(
    dtype: type[np.generic], channels: tuple[int, ...], shape: tuple[int, int]
) -> None:
    rng = np.random.default_rng(0)
    smooth = np.add.outer(np.arange(shape[0]) * 37, np.arange(shape[1]) * 11)
    for scale in (0, 3, 60000):
        values = smooth[(..., *[None] * len(channels))] + rng.integers(
            0, scale + 1, (*shape, *channels)
        )
        array = values.astype(dtype)
        flags = cv2.IMREAD_COLOR_RGB if channels else cv2.IMREAD_UNCHANGED
        decoded = cv2.imdecode(np.frombuffer(encode_png(array), np.uint8), flags)
        assert decoded.dtype == array.dtype
        assert np.array_equal(decoded, array)


def test_the_bytes_are_those_of_every_machine() -> None:
    rows, columns = np.indices((200, 300))
    array = (rows * rows * 3 + columns * 7 + (rows * columns) // 11).astype(np.uint16)
    # Written by this code; what changes it changes every dataset: a new release, and say so.
    expected = "46c50855ce3aceb6f7c900626526a05445694e38498d2ae966e9e4373b47ca4a"
    assert hashlib.sha256(encode_png(array)).hexdigest() == expected


def test_where_an_array_lies_in_memory_changes_nothing() -> None:
    array = np.random.default_rng(0).integers(0, 65535, (30, 40), np.uint16)
    expected = encode_png(array)
    assert encode_png(np.asfortranarray(array)) == expected
    assert encode_png(np.repeat(array, 2, axis=1)[:, ::2]) == expected
    assert encode_png(array[::-1][::-1]) == expected


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4), np.int32),
        np.zeros((4, 4), np.float32),
        np.zeros((4, 4, 3), np.uint16),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4), np.uint8),
        np.zeros(4, np.uint8),
    ],
)
def test_what_is_no_picture_is_refused(array: NDArray[Any]) -> None:
    with pytest.raises(ValueError, match=r"^png: .* would do"):
        encode_png(array)
