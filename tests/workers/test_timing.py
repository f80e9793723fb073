"""Stages add up their own time alone; a GPU's comes of events that the host does not wait for."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch

from workers import gpu_clock
from workers.gpu_clock import GpuClock
from workers.timing import Stages


class Gpu:
    """A device that does what it is asked some time later.

    Attributes:
        asked_s: when what was asked of it so far will be done, by its own clock.
        done_s: how far it is.
        num_waits: how often the host waited for it.
    """

    def __init__(self) -> None:
        self.asked_s = 0.0
        self.done_s = 0.0
        self.num_waits = 0
        self.num_events = 0

    def work(self, seconds: float) -> None:
        self.asked_s += seconds

    def make_event(self) -> Event:
        self.num_events += 1
        return Event(self)


class Event:
    """A mark on its stream."""

    def __init__(self, gpu: Gpu) -> None:
        self.gpu = gpu
        self.at_s = -1.0

    def record(self) -> None:
        self.at_s = self.gpu.asked_s

    def query(self) -> bool:
        return self.gpu.done_s >= self.at_s

    def synchronize(self) -> None:
        self.gpu.num_waits += 1
        self.gpu.done_s = max(self.gpu.done_s, self.at_s)

    def elapsed_time(self, end_event: Any) -> float:
        assert self.query()
        assert end_event.query()
        return 1000.0 * (end_event.at_s - self.at_s)


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def gpu() -> Gpu:
    return Gpu()


@pytest.fixture
def stages(gpu: Gpu) -> Stages:
    return Stages(gpu=GpuClock(gpu.make_event))


def test_a_gpus_seconds_are_read_at_the_end_and_nothing_waits_before(
    gpu: Gpu, stages: Stages
) -> None:
    for _ in range(3):
        with stages.timed("observe", on_gpu=True):
            gpu.work(0.25)
        gpu.work(9.0)  # of no stage
        with stages.timed("shade", on_gpu=True):
            gpu.work(2.0)
    with stages.timed("annotate"):
        gpu.work(4.0)  # of a stage that asks no GPU
    assert gpu.num_waits == 0
    assert stages.gpu_seconds() == {"observe": 0.75, "shade": 6.0}
    assert gpu.num_waits == 1
    assert stages.gpu_seconds() == {"observe": 0.75, "shade": 6.0}
    assert set(stages.seconds) == {"observe", "shade", "annotate"}


def test_events_are_used_again_however_long_a_shard_is(
    gpu: Gpu, stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_clock, "_LOOK_FROM", 8)
    for _ in range(1000):
        with stages.timed("shade", on_gpu=True):
            gpu.work(1.0)
        gpu.done_s = gpu.asked_s - 3.0  # it is three pictures behind
    assert gpu.num_waits == 0
    assert gpu.num_events <= 2 * 9
    assert stages.gpu_seconds() == {"shade": 1000.0}


def test_a_stage_inside_another_is_counted_once(gpu: Gpu, stages: Stages) -> None:
    clock = Clock()
    with stages.timed("annotate", clock, on_gpu=True):
        clock.now_s += 1.0
        gpu.work(10.0)
        with stages.timed("shade", clock, on_gpu=True):
            clock.now_s += 5.0
            gpu.work(20.0)
        clock.now_s += 2.0
        gpu.work(30.0)
    assert stages.seconds == {"annotate": 3.0, "shade": 5.0}
    assert stages.gpu_seconds() == {"annotate": 40.0, "shade": 20.0}


def test_a_stage_that_fails_is_counted_and_closed(stages: Stages) -> None:
    clock = Clock()

    def fail() -> None:
        with stages.timed("head", clock):
            clock.now_s += 1.0
            raise ValueError("no head")

    with pytest.raises(ValueError, match="no head"):
        fail()
    with stages.timed("raster", clock):
        clock.now_s += 2.0
    assert stages.seconds == {"head": 1.0, "raster": 2.0}


def test_threads_have_stages_of_their_own_and_the_whole_has_all() -> None:
    whole = Stages()
    part, clock = Stages(whole), Clock()

    def encode() -> None:
        with part.timed("encode", lambda: 0.0):
            pass
        part.add("encode", 7.0)

    with part.timed("shade", clock):
        thread = threading.Thread(target=encode)
        thread.start()
        thread.join()
        clock.now_s += 1.0
    assert part.seconds == whole.seconds == {"shade": 1.0, "encode": 7.0}
    first, last = part.windows["shade"]
    begun, ended = part.windows["encode"]
    assert first <= begun <= ended <= last


def test_a_processor_has_no_gpu_seconds() -> None:
    assert GpuClock.of(torch.device("cpu")) is None
    stages = Stages(gpu=None)
    with stages.timed("shade", on_gpu=True):
        pass
    assert stages.gpu_seconds() == {}


@pytest.mark.gpu
def test_cuda_events_time_what_the_gpu_does() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device: torch.cuda.is_available() is false")
    clock = GpuClock.of(torch.device("cuda"))
    stages = Stages(gpu=clock)
    matrix = torch.rand(4096, 4096, device="cuda")
    for _ in range(5):
        with stages.timed("shade", on_gpu=True):
            for _ in range(20):
                matrix = torch.tanh(matrix @ matrix)
    (seconds,) = stages.gpu_seconds().values()
    host = stages.seconds["shade"]
    # A hundred products of 1.4e11 operations: no GPU does them in a millisecond.
    assert seconds > 0.001
    assert host < seconds  # the host only asked
