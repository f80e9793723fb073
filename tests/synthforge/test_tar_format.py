"""Shards are what tarfile calls plain ustar, to the byte."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthforge.tar_format import (
    TarError,
    TarMember,
    end_of_archive,
    header_block,
    padding,
    read_tar,
)

NAMES = st.from_regex(r"\A[a-z0-9_][a-z0-9._-]{0,99}\Z")
FILES = st.lists(st.tuples(NAMES, st.binary(max_size=1500)), max_size=30)


def by_us(files: list[tuple[str, bytes]]) -> bytes:
    body = b"".join(header_block(n, len(d)) + d + padding(len(d)) for n, d in files)
    return body + end_of_archive(len(body))


def by_tarfile(files: list[tuple[str, bytes]]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


@given(FILES)
def test_the_bytes_are_those_of_tarfile(files: list[tuple[str, bytes]]) -> None:
    assert by_us(files) == by_tarfile(files)


@given(FILES, st.integers(1, 5000))
def test_what_is_written_is_read_however_it_arrives(
    files: list[tuple[str, bytes]], chunk_bytes: int
) -> None:
    data = by_us(files)
    chunks = (data[i : i + chunk_bytes] for i in range(0, len(data), chunk_bytes))
    members = list(read_tar(chunks))
    assert [(member.name, member.data) for member in members] == files
    for member in members:
        assert data[member.offset :].startswith(header_block(member.name, len(member.data)))


FILES_OF_ONE = [("000000001.json", b"{}"), ("000000001.seg.png", b"x" * 700)]


@pytest.mark.parametrize(
    "name",
    [
        "../000000001.json",
        "a/../../000000001.json",
        "/etc/passwd",
        "a/000000001.json",
        "./000000001.json",
        "..",
        ".",
        ".ssh",
        "-rf",
        "..\\000000001.json",
        "C:\\000000001.json",
        "C:000000001.json",
        "~root",
        "a b.json",
        "a\n.json",
        "a\0.json",
        "\u2024\u2024.json",
        "",
    ],
)
def test_a_member_whose_name_is_more_than_a_files_name_is_neither_written_nor_read(
    name: str,
) -> None:
    with pytest.raises(ValueError, match="tar member"):
        header_block(name, 2)
    foreign = by_tarfile([(name, b"{}")])
    with pytest.raises(TarError):
        list(read_tar([foreign]))


def test_a_torn_archive_is_refused_wherever_it_ends() -> None:
    data = by_us(FILES_OF_ONE)
    for end in range(0, len(data), 97):
        with pytest.raises(TarError, match="too early"):
            list(read_tar([data[:end]]))


def test_any_bit_outside_the_content_is_checked() -> None:
    data = by_us(FILES_OF_ONE)
    content = {*range(512, 514), *range(1536, 2236)}
    for position in sorted(set(range(len(data))) - content):
        changed = bytearray(data)
        changed[position] ^= 1
        with pytest.raises(TarError):
            list(read_tar([bytes(changed)]))


def test_bytes_after_the_end_are_refused() -> None:
    with pytest.raises(TarError, match="follows"):
        list(read_tar([by_us(FILES_OF_ONE), b"\0"]))


def test_other_kinds_of_tar_are_refused() -> None:
    for member_type in (tarfile.SYMTYPE, tarfile.DIRTYPE, tarfile.LNKTYPE):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            info = tarfile.TarInfo("000000001.json")
            info.type, info.linkname = member_type, "/etc/passwd"
            archive.addfile(info)
        with pytest.raises(TarError, match="plain tar"):
            list(read_tar([out.getvalue()]))


def test_a_header_that_claims_gigabytes_is_refused_before_memory_is_taken() -> None:
    with pytest.raises(TarError, match="a member of"):
        list(read_tar([header_block("x", 8**11 - 1)]))


@pytest.mark.parametrize("name", ["", "x" * 101, "ü"])
def test_a_name_that_no_plain_header_holds_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"tar member|ascii"):
        header_block(name, 1)


def test_members_are_yielded_one_by_one() -> None:
    def chunks() -> object:
        yield header_block("a", 1) + b"a" + padding(1)
        raise AssertionError("read ahead of what was asked for")

    assert next(read_tar(chunks())) == TarMember("a", 0, b"a")  # type: ignore[arg-type]
