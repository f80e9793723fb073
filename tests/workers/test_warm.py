"""Generators stay open between jobs while memory has room; the longest unused goes first."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from workers.generators.warm import Warm, free_memory_share


class Memory:
    """Room for so many; each that is opened takes a place until it is let go of."""

    def __init__(self, places: int) -> None:
        self.places = places
        self.opened: list[str] = []
        self.warm: Warm[Held] = Warm(self.free_share, room=1 / places)
        self.num_held = 0

    def free_share(self) -> float:
        return (self.places - self.num_held) / self.places

    def get(self, name: str) -> Held:
        return self.warm.get(name, lambda: Held(name, self))


class Held:
    def __init__(self, name: str, memory: Memory) -> None:
        self._memory = memory
        memory.opened.append(name)
        memory.num_held += 1

    def __del__(self) -> None:
        self._memory.num_held -= 1


def test_what_is_open_is_not_opened_again() -> None:
    memory = Memory(3)
    assert memory.get("a") is memory.get("a")
    memory.get("b")
    memory.get("a")
    assert memory.opened == ["a", "b"]


def test_the_longest_unused_makes_room_for_another() -> None:
    memory = Memory(2)
    for name in ("a", "b", "a", "c"):
        memory.get(name)
    assert memory.num_held == 2
    memory.get("a")
    memory.get("c")
    assert memory.opened == ["a", "b", "c"], "b was let go of, not a"
    memory.get("b")
    assert memory.opened[-1] == "b"


def test_one_that_needs_more_than_there_is_is_tried_alone() -> None:
    memory = Memory(1)
    memory.get("a")
    memory.get("b")
    assert memory.num_held == 1


def test_what_cannot_be_opened_is_not_held() -> None:
    memory = Memory(2)

    def broken() -> Held:
        raise ValueError("no such weights")

    with pytest.raises(ValueError, match="no such weights"):
        memory.warm.get("a", broken)
    memory.get("a")
    assert memory.opened == ["a"]


def test_two_threads_open_it_once() -> None:
    memory = Memory(4)
    together = threading.Barrier(2)

    def ask() -> None:
        together.wait()
        memory.get("a")

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert memory.opened == ["a"]


def test_the_scarcest_memory_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert free_memory_share(tmp_path) == 1.0, "nothing is known of this machine"
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 1000 kB\nMemAvailable: 800 kB\n")
    assert free_memory_share(tmp_path) == 0.8
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    (group / "memory.max").write_text("1000\n")
    (group / "memory.current").write_text("700\n")
    (group / "memory.stat").write_text("anon 400\ninactive_file 200\n")
    assert free_memory_share(tmp_path) == 0.5
    (group / "memory.max").write_text("max\n")
    assert free_memory_share(tmp_path) == 0.8
