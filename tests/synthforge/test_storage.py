"""Every store keeps the same promises."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import pytest

from synthforge.storage import NotFound, Storage, StorageRefused, open_storage
from synthforge.urls import UrlError


@pytest.fixture(params=["file", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "s3":
        return open_storage(f"{request.getfixturevalue('s3_url')}/some/prefix")
    return open_storage(f"file://{tmp_path}/store/prefix")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_what_is_put_is_what_is_read(storage: Storage, tmp_path: Path) -> None:
    data = bytes(range(256)) * 9000  # over two chunks
    path = tmp_path / "local.tar"
    path.write_bytes(data)
    stored = storage.put_file(path, "shards/a.tar", sha256(data))
    assert (stored.name, stored.num_bytes, stored.sha256) == (
        "shards/a.tar",
        len(data),
        sha256(data),
    )
    assert storage.head("shards/a.tar") == len(data)
    assert storage.get_bytes("shards/a.tar") == data
    assert b"".join(storage.stream("shards/a.tar")) == data
    assert storage.read_range("shards/a.tar", 300, 77) == data[300:377]
    assert storage.read_range("shards/a.tar", 300, 0) == b""


def test_bytes_are_told_on_the_way_there_and_back(storage: Storage, tmp_path: Path) -> None:
    told: list[int] = []
    counted = open_storage(storage.url, on_bytes=told.append)
    data = bytes(3 << 20)
    path = tmp_path / "local.tar"
    path.write_bytes(data)
    counted.put_file(path, "a.tar", sha256(data))
    assert sum(told) == 2 * len(data)
    assert len(told) >= 6, "a large file is told bit by bit"
    assert counted.get_bytes("a.tar") == data
    assert sum(told) == 3 * len(data)


def test_bytes_replace_what_lay_there(storage: Storage) -> None:
    storage.put_bytes("manifest.json", b"one")
    stored = storage.put_bytes("manifest.json", b"second")
    assert storage.get_bytes("manifest.json") == b"second"
    assert stored.sha256 == sha256(b"second")
    storage.put_bytes("empty", b"")
    assert storage.get_bytes("empty") == b""
    assert storage.head("empty") == 0


def test_a_file_with_another_hash_is_refused_and_leaves_nothing(
    storage: Storage, tmp_path: Path
) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"data")
    with pytest.raises(StorageRefused, match="sha256"):
        storage.put_file(path, "x", sha256(b"other"))
    assert list(storage.list_objects()) == []


def test_putting_twice_is_putting_once(storage: Storage, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"data")
    first = storage.put_file(path, "x", sha256(b"data"))
    written = next(storage.list_objects()).modified_s
    assert storage.put_file(path, "x", sha256(b"data")) == first
    assert next(storage.list_objects()).modified_s == written


def test_a_wrong_object_of_the_right_size_is_replaced(storage: Storage, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"data")
    storage.put_bytes("x", b"atad")
    storage.put_file(path, "x", sha256(b"data"))
    assert storage.get_bytes("x") == b"data"


def test_what_is_not_there_is_not_found(storage: Storage) -> None:
    assert storage.head("a/b") is None
    with pytest.raises(NotFound):
        storage.get_bytes("a/b")
    with pytest.raises(NotFound):
        list(storage.stream("a/b"))
    with pytest.raises(NotFound):
        storage.read_range("a/b", 0, 1)
    storage.delete("a/b")
    assert list(storage.list_objects()) == []
    assert list(storage.list_objects("a")) == []


def test_a_listing_is_sorted_by_key_and_held_to_its_folder(storage: Storage) -> None:
    keys = ["a-b", "a/x", "a/y/z", "a.b", "ab/c", "b"]
    for key in keys:
        storage.put_bytes(key, key.encode())
    assert [found.key for found in storage.list_objects()] == sorted(keys)
    assert [(found.key, found.num_bytes) for found in storage.list_objects("a")] == [
        ("a/x", 3),
        ("a/y/z", 5),
    ]


def test_what_is_deleted_is_gone(storage: Storage) -> None:
    storage.put_bytes("a/b", b"x")
    storage.delete("a/b")
    assert storage.head("a/b") is None


def test_an_object_over_the_limit_is_not_read(storage: Storage) -> None:
    storage.put_bytes("big", b"x" * 100)
    with pytest.raises(StorageRefused, match="100 bytes"):
        storage.get_bytes("big", max_bytes=99)
    assert len(storage.get_bytes("big", max_bytes=100)) == 100


@pytest.mark.parametrize(("offset", "length"), [(0, 5), (3, 2), (4, 1), (-1, 2), (0, -1)])
def test_a_range_that_is_not_there_is_refused(storage: Storage, offset: int, length: int) -> None:
    storage.put_bytes("x", b"four")
    with pytest.raises(StorageRefused):
        storage.read_range("x", offset, length)


@pytest.mark.parametrize("key", ["../x", "/etc/passwd", "a/../../x", "", "a//b", "a%2e"])
def test_no_method_takes_a_key_that_leaves_the_prefix(storage: Storage, key: str) -> None:
    for call in (
        lambda: storage.put_bytes(key, b"x"),
        lambda: storage.get_bytes(key),
        lambda: list(storage.stream(key)),
        lambda: storage.read_range(key, 0, 1),
        lambda: storage.head(key),
        lambda: storage.delete(key),
    ):
        with pytest.raises(UrlError):
            call()
    if key:
        with pytest.raises(UrlError):
            list(storage.list_objects(key))


def test_a_store_travels_to_another_process(storage: Storage) -> None:
    storage.put_bytes("x", b"data")
    assert pickle.loads(pickle.dumps(storage)).get_bytes("x") == b"data"


def test_two_stores_of_one_bucket_share_what_lies_below_both(storage: Storage) -> None:
    storage.put_bytes("inner/x", b"data")
    assert open_storage(f"{storage.url}/inner").get_bytes("x") == b"data"
