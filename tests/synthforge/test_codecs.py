"""What is encoded comes back, bit for bit where the format is lossless."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from synthforge.codecs import (
    CodecError,
    check_array,
    decode_array,
    decode_member,
    decode_meta,
)
from synthforge.samples import MEMBERS, Member, SampleMeta, member_of_suffix
from workers.encoding import encode_array

LOSSLESS = [member for member in MEMBERS if member.encoding.startswith("png")]
ARRAYS = [member for member in MEMBERS if member.encoding != "json"]


def random_array(member: Member, height: int, width: int, seed: int) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    if member.encoding == "npy":
        return rng.normal(size=(height * width, 3)).astype(np.float32)
    shape = (height, width, 3) if "3" in member.shape else (height, width)
    top = np.iinfo(member.dtype).max
    return rng.integers(0, top, shape, np.dtype(member.dtype), endpoint=True)


@pytest.mark.parametrize("member", LOSSLESS, ids=lambda member: member.suffix)
@settings(max_examples=30)
@given(height=st.integers(1, 40), width=st.integers(1, 40), seed=st.integers(0, 2**32))
def test_a_png_comes_back_bit_for_bit(member: Member, height: int, width: int, seed: int) -> None:
    array = random_array(member, height, width, seed)
    data = encode_array(member, array)
    decoded = decode_array(member, data)
    assert decoded.dtype == array.dtype
    assert np.array_equal(decoded, array)
    assert encode_array(member, array.copy()) == data


@settings(max_examples=30)
@given(rows=st.integers(0, 300), seed=st.integers(0, 2**32))
def test_vertices_come_back_bit_for_bit_and_numpy_reads_them(rows: int, seed: int) -> None:
    member = member_of_suffix("dense.npy")
    array = np.random.default_rng(seed).normal(size=(rows, 3)).astype(np.float32)
    data = encode_array(member, array)
    assert np.array_equal(decode_array(member, data), array)
    assert np.array_equal(np.load(io.BytesIO(data), allow_pickle=False), array)
    written = io.BytesIO()
    np.lib.format.write_array(written, array, version=(1, 0), allow_pickle=False)
    assert data == written.getvalue()


def test_a_jpg_comes_back_close_and_its_colours_are_not_swapped() -> None:
    member = member_of_suffix("jpg")
    image = np.zeros((32, 48, 3), np.uint8)
    image[:, :24] = (250, 20, 10)
    image[:, 24:] = (10, 30, 240)
    decoded = decode_array(member, encode_array(member, image, jpeg_quality=95))
    assert np.abs(decoded.astype(int) - image).max() <= 4  # an edge of pure colour: 4:4:4
    small = encode_array(member, image, jpeg_quality=10)
    assert len(small) < len(encode_array(member, image, jpeg_quality=95))


def test_a_colour_png_keeps_the_order_of_its_channels() -> None:
    member = member_of_suffix("normal.png")
    array = np.zeros((2, 2, 3), np.uint8)
    array[..., 0] = 200
    data = encode_array(member, array)
    assert png_rows(data)[0, 0].tolist() == [200, 0, 0]
    assert decode_array(member, data)[0, 0].tolist() == [200, 0, 0]


def test_the_high_byte_of_16_bits_comes_first() -> None:
    member = member_of_suffix("depth.png")
    array = np.full((1, 1), 0x1234, np.uint16)
    assert png_rows(encode_array(member, array)).ravel().tolist() == [0x12, 0x34]


def png_rows(data: bytes) -> NDArray[np.uint8]:
    """Decode a PNG whose rows have filter None or Up, without OpenCV."""
    width, height, bits, colour = struct.unpack(">IIBB", data[16:26])
    channels = {0: 1, 2: 3}[colour] * bits // 8
    position, body = 8, b""
    while position < len(data):
        length, kind = struct.unpack(">I4s", data[position : position + 8])
        if kind == b"IDAT":
            body += data[position + 8 : position + 8 + length]
        position += 12 + length
    raw = np.frombuffer(zlib.decompress(body), np.uint8).reshape(height, 1 + width * channels)
    assert set(raw[:, 0].tolist()) <= {0, 1, 2}
    rows = np.add.accumulate(raw[:, 1:], axis=0, dtype=np.uint8)
    return rows.reshape(height, width, channels) if len(rows) else rows


@pytest.mark.parametrize("member", ARRAYS, ids=lambda member: member.suffix)
def test_a_wrong_dtype_or_shape_is_refused_by_name(member: Member) -> None:
    array = random_array(member, 8, 6, 0)
    check_array(member, array, {"H": 8, "W": 6})
    with pytest.raises(CodecError, match=f"^{member.name}: dtype int64; {member.dtype} would do"):
        check_array(member, array.astype(np.int64))
    with pytest.raises(CodecError, match=f"^{member.name}: shape"):
        check_array(member, array[..., None])
    if "H" in member.shape:
        with pytest.raises(CodecError, match=rf"^{member.name}: shape \(8, 6.*H = 6"):
            check_array(member, array, {"H": 6, "W": 8})


@pytest.mark.parametrize("member", ARRAYS, ids=lambda member: member.suffix)
def test_torn_bytes_are_refused_by_name(member: Member) -> None:
    data = encode_array(member, random_array(member, 24, 24, 1))
    for end in (0, 1, 7, 20, 40, 60, len(data) // 2, len(data) - 12, len(data) - 1):
        with pytest.raises(CodecError, match=f"^{member.name}: "):
            decode_array(member, data[:end])


@pytest.mark.parametrize("wrong", ARRAYS, ids=lambda member: member.suffix)
@pytest.mark.parametrize("member", ARRAYS, ids=lambda member: member.suffix)
def test_another_member_s_bytes_are_refused(member: Member, wrong: Member) -> None:
    if member.encoding == wrong.encoding:
        return
    data = encode_array(wrong, random_array(wrong, 8, 8, 2))
    with pytest.raises(CodecError):
        decode_array(member, data)


@settings(max_examples=200)
@given(st.sampled_from(ARRAYS), st.integers(0, 10**6), st.integers(0, 255))
def test_a_changed_byte_gives_an_array_or_an_error_and_nothing_else(
    member: Member, position: int, value: int
) -> None:
    data = bytearray(encode_array(member, random_array(member, 9, 9, 3)))
    data[position % len(data)] = value
    with contextlib.suppress(CodecError):
        check_array(member, decode_array(member, bytes(data)))


def test_a_header_that_claims_a_giant_is_refused_before_memory_is_taken() -> None:
    depth = member_of_suffix("depth.png")
    data = bytearray(encode_array(depth, np.ones((4, 4), np.uint16)))
    data[16:24] = struct.pack(">II", 2**31 - 1, 2**31 - 1)
    with pytest.raises(CodecError, match="pixels"):
        decode_array(depth, bytes(data))
    dense = member_of_suffix("dense.npy")
    data = bytearray(encode_array(dense, np.ones((4, 3), np.float32)))
    with pytest.raises(CodecError, match="torn"):
        decode_array(dense, bytes(data).replace(b"(4, 3), }        ", b"(999999999, 3), }"))


def test_what_is_decoded_may_be_written_to() -> None:
    for member in ARRAYS:
        decoded = decode_array(member, encode_array(member, random_array(member, 5, 5, 4)))
        assert decoded.flags.writeable


def test_the_json_comes_back_as_it_was() -> None:
    meta = SampleMeta(
        index=3, identity=1, split="train", attempt=0, width=8, height=8, quality={"a": 0.1}
    )
    assert decode_meta(meta.to_json()) == meta
    assert decode_member(member_of_suffix("json"), meta.to_json()) == meta


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b'{"index": "3"}', b"\xff", b"{" * 10000])
def test_a_json_that_is_no_sample_is_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(CodecError, match=r"^meta: ") as refusal:
        decode_meta(data)
    assert "\n" not in str(refusal.value)
