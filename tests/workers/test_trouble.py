"""An exception that nobody raised on purpose blames the machine or the sample, never the plan."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from synthforge.storage import StorageRefused
from tests.workers.test_shard_worker import lease_of, spec_of
from workers import shard_worker
from workers.face_stream import PlanError
from workers.shard_worker import ShardWorker, WorkerSettings
from workers.trouble import ActorSpent, Cancelled, MachineTrouble, UnforeseenError, told_apart

OF_THE_MACHINE = [
    OSError(28, "No space left on device"),
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
    torch.AcceleratorError("CUDA error: uncorrectable ECC error encountered"),
    RuntimeError("CUDA error: unspecified launch failure\nCUDA kernel errors might be reported"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR"),
]
OF_THE_SAMPLE = [
    torch.AcceleratorError("CUDA error: an illegal memory access was encountered"),
    RuntimeError("CUDA error: device-side assert triggered"),
    IndexError("list index out of range"),
    ValueError("tensors lie on cuda; the numba backend takes CPU tensors"),
]


def raised_of(error: Exception) -> Exception:
    with pytest.raises(Exception) as caught, told_apart(lambda: 7):  # noqa: PT011
        raise error
    return caught.value


@pytest.mark.parametrize("error", OF_THE_MACHINE, ids=repr)
def test_what_a_machine_lacks_says_nothing_of_the_plan(error: Exception) -> None:
    assert type(raised_of(error)) is MachineTrouble


@pytest.mark.parametrize("error", OF_THE_SAMPLE, ids=repr)
def test_what_nobody_foresaw_counts_at_the_sample_at_work(error: Exception) -> None:
    spent = raised_of(error)
    assert type(spent) is UnforeseenError
    assert spent.num_samples == 7
    assert type(error).__name__ in str(spent)


@pytest.mark.parametrize(
    "error", [PlanError("too narrow"), Cancelled(), StorageRefused("no bucket")], ids=repr
)
def test_what_we_raise_ourselves_passes_unchanged(error: Exception) -> None:
    assert raised_of(error) is error


def test_it_travels_from_actor_to_pool_whole() -> None:
    there = pickle.loads(pickle.dumps(MachineTrouble("no room", 3)))
    assert (str(there), there.num_samples) == ("no room", 3)


def test_a_worker_whose_gpu_fails_in_a_shard_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = ShardWorker(WorkerSettings((f"file://{tmp_path}/out",), tmp_path / "scratch"))

    def fail(*_: object, **__: object) -> None:
        worker.recorder.at(3)
        raise torch.AcceleratorError("CUDA error: uncorrectable ECC error encountered")

    monkeypatch.setattr(shard_worker.FaceMaker, "propose", fail)
    with pytest.raises(ActorSpent) as caught:
        worker.make(lease_of(spec_of(), tmp_path))
    assert (type(caught.value), caught.value.num_samples) == (MachineTrouble, 3)
    assert worker.watch() == {}
