"""A worker says what its networks run on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.parity import next3d_cuda
from workers.device import device_model, render_device
from workers.fingerprint import cpu_model


@pytest.fixture(autouse=True)
def asked_anew() -> None:
    render_device.cache_clear()


def test_without_a_gpu_the_processor_is_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert render_device() == torch.device("cpu")
    assert device_model() == cpu_model()
    with pytest.raises(RuntimeError, match="no CUDA device is here"):
        next(next3d_cuda.checks(Path()))


def test_a_gpu_is_named_beside_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Card 1")
    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    before = products.allow_tf32, convolutions.allow_tf32, convolutions.deterministic
    try:
        assert device_model().startswith("Card 1 CUDA ")
        assert device_model().endswith(cpu_model())
        assert not products.allow_tf32
        assert convolutions.deterministic
    finally:
        render_device.cache_clear()
        products.allow_tf32, convolutions.allow_tf32, convolutions.deterministic = before
