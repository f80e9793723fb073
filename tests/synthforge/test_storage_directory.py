"""Directories: nothing half written, no link followed."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from synthforge.storage import (
    NotFound,
    Storage,
    StorageRefused,
    StorageUnavailable,
    open_storage,
)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_bytes(b"secret")
    return folder


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    folder = tmp_path / "prefix"
    folder.mkdir()
    return folder


def every_verb(storage: Storage, key: str) -> list[Callable[[], Any]]:
    return [
        lambda: storage.put_bytes(key, b"x"),
        lambda: storage.get_bytes(key),
        lambda: list(storage.stream(key)),
        lambda: storage.read_range(key, 0, 1),
        lambda: storage.head(key),
    ]


def test_a_linked_folder_is_not_entered(prefix: Path, outside: Path) -> None:
    (prefix / "link").symlink_to(outside, target_is_directory=True)
    storage = open_storage(str(prefix))
    for call in [*every_verb(storage, "link/secret"), lambda: storage.delete("link/secret")]:
        with pytest.raises(StorageRefused, match="link"):
            call()
    with pytest.raises(StorageRefused, match="link"):
        list(storage.list_objects("link"))
    assert list(storage.list_objects()) == []
    assert [path.name for path in outside.iterdir()] == ["secret"]


def test_a_linked_file_is_not_read_and_a_put_replaces_the_link_itself(
    prefix: Path, outside: Path
) -> None:
    (prefix / "x").symlink_to(outside / "secret")
    storage = open_storage(str(prefix))
    for call in every_verb(storage, "x")[1:]:
        with pytest.raises(StorageRefused):
            call()
    storage.put_bytes("x", b"mine")
    assert (outside / "secret").read_bytes() == b"secret"
    assert storage.get_bytes("x") == b"mine"
    assert not (prefix / "x").is_symlink()


def test_a_link_between_the_allowed_root_and_the_dataset_is_not_followed(
    prefix: Path, outside: Path
) -> None:
    (prefix / "job").symlink_to(outside, target_is_directory=True)
    with pytest.raises(StorageRefused, match="link"):
        open_storage(f"{prefix}/job", root=str(prefix)).put_bytes("x", b"x")
    assert open_storage(f"{prefix}/job").get_bytes("secret") == b"secret"  # its owner's own choice


def test_a_store_outside_its_root_is_refused(prefix: Path) -> None:
    with pytest.raises(StorageRefused, match="does not lie under"):
        open_storage(f"{prefix}-other", root=str(prefix))


def test_a_named_pipe_is_refused_at_once(prefix: Path) -> None:
    os.mkfifo(prefix / "pipe")
    storage = open_storage(str(prefix))
    with pytest.raises(StorageRefused, match="regular"):
        storage.get_bytes("pipe")
    assert list(storage.list_objects()) == []


def test_a_folder_where_an_object_should_be_is_refused(prefix: Path) -> None:
    (prefix / "x" / "y").mkdir(parents=True)
    storage = open_storage(str(prefix))
    with pytest.raises(StorageRefused):
        storage.put_bytes("x", b"data")
    with pytest.raises(StorageRefused):
        storage.get_bytes("x")
    assert [path.name for path in prefix.iterdir()] == ["x"]


def test_a_file_where_a_folder_should_be_is_refused(prefix: Path) -> None:
    (prefix / "x").write_bytes(b"data")
    with pytest.raises(StorageRefused, match="folder"):
        open_storage(str(prefix)).put_bytes("x/y", b"data")


@pytest.mark.parametrize("verb", ["fsync", "rename", "write"])
def test_a_full_disk_leaves_nothing_and_may_be_tried_again(
    prefix: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    def full(*_arguments: object, **_names: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, verb, full)
    with pytest.raises(StorageUnavailable, match="No space left"):
        open_storage(str(prefix)).put_bytes("x", b"data")
    assert list(prefix.iterdir()) == []


def test_a_disk_that_gives_other_bytes_back_is_noticed(
    prefix: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, b"\x00" * len(data)))
    with pytest.raises(StorageUnavailable, match="other bytes"):
        open_storage(str(prefix)).put_bytes("x", b"data")
    assert list(prefix.iterdir()) == []


def test_a_missing_root_reads_as_empty(tmp_path: Path) -> None:
    storage = open_storage(f"{tmp_path}/none/such")
    assert list(storage.list_objects()) == []
    assert storage.head("x") is None
    with pytest.raises(NotFound):
        storage.get_bytes("x")
    assert not (tmp_path / "none").exists()


def test_a_directory_gives_no_links(prefix: Path) -> None:
    with pytest.raises(StorageRefused, match="no links"):
        open_storage(str(prefix)).presign("x", 60)


def test_a_folder_goes_with_the_last_object_in_it(prefix: Path) -> None:
    storage = open_storage(f"{prefix}/team/faces", root=str(prefix))
    for key in ("parts/summary/x", "parts/y", "manifest.json"):
        storage.put_bytes(key, b"x")
    storage.delete("parts/summary/x")
    assert [path.name for path in (prefix / "team" / "faces" / "parts").iterdir()] == ["y"]
    storage.delete("parts/y")
    assert [path.name for path in (prefix / "team" / "faces").iterdir()] == ["manifest.json"]
    (prefix / "team" / "faces" / "shards").mkdir()
    storage.delete("shards/none")
    assert [path.name for path in (prefix / "team" / "faces").iterdir()] == ["manifest.json"]
    storage.delete("manifest.json")
    assert list((prefix / "team").iterdir()) == []  # what leads there is not ours
    open_storage(str(prefix)).put_bytes("x", b"x")
    open_storage(str(prefix)).delete("x")
    assert [path.name for path in prefix.iterdir()] == ["team"]


def test_a_put_makes_a_folder_again_that_a_delete_takes_away(
    prefix: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = open_storage(str(prefix))
    mkdir, num_taken = os.mkdir, 3
    taken: list[str] = []

    def taken_away(name: str, *mode: int, **options: Any) -> None:
        mkdir(name, *mode, **options)
        if len(taken) < num_taken:
            taken.append(name)
            os.rmdir(name, **options)

    monkeypatch.setattr(os, "mkdir", taken_away)
    storage.put_bytes("parts/summary/x", b"x")
    assert storage.get_bytes("parts/summary/x") == b"x"
    assert taken == ["parts"] * 3
    num_taken = 10_000
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(StorageUnavailable, match="deleted each time"):
        storage.put_bytes("shards/x", b"x")
    assert len(os.listdir("/proc/self/fd")) == before


def test_puts_and_deletes_side_by_side_lose_nothing(prefix: Path) -> None:
    storage = open_storage(str(prefix))

    def come_and_go(number: int) -> None:
        for _ in range(100):
            storage.put_bytes(f"a/b/{number}", b"x")
            assert storage.get_bytes(f"a/b/{number}") == b"x"
            storage.delete(f"a/b/{number}")

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(come_and_go, range(4)))
    assert list(prefix.iterdir()) == []


def test_no_descriptor_stays_open(prefix: Path) -> None:
    storage = open_storage(str(prefix))
    before = len(os.listdir("/proc/self/fd"))
    storage.put_bytes("a/b/x", b"data")
    storage.get_bytes("a/b/x")
    list(storage.list_objects())
    for key in ("a/b/none", "a/b", "a/b/x/y"):
        with pytest.raises((NotFound, StorageRefused)):
            storage.get_bytes(key)
    assert len(os.listdir("/proc/self/fd")) == before


def test_boto3_stays_unloaded() -> None:
    code = (
        "import sys; from synthforge.storage import open_storage; open_storage('/x'); "
        "sys.exit('boto3' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("way", ["put_file", "copy"])
def test_a_wrong_hash_and_a_disk_that_keeps_other_bytes_are_told_apart(
    way: str, prefix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong hash is the caller's, for ever; a bad write may go well on another disk."""
    storage = open_storage(str(prefix))
    held = storage.put_bytes("source", b"as it was")
    source = tmp_path / "source"
    source.write_bytes(b"as it was")
    write = os.write

    def put(sha256: str) -> None:
        if way == "copy":
            storage.copy("source", "key", sha256)
        else:
            storage.put_file(source, "key", sha256)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda file, data: write(file, bytes(len(data))))
        with pytest.raises(StorageUnavailable, match="other bytes back"):
            put(held.sha256)
    with pytest.raises(StorageRefused, match=f"its sha256 is {held.sha256}, not {'0' * 64}"):
        put("0" * 64)
    assert [path.name for path in prefix.iterdir()] == ["source"]


def test_a_local_file_that_is_not_there_is_no_fault_of_the_store(
    prefix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "source"
    path.write_bytes(b"data")
    size = path.stat()
    path.unlink()
    monkeypatch.setattr(Path, "stat", lambda *_, **__: size)  # it goes after its size was asked for
    with pytest.raises(FileNotFoundError):
        open_storage(str(prefix)).put_file(path, "key", "0" * 64)
