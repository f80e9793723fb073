"""What bytes depend on is in the fingerprint; what they do not is not."""

from __future__ import annotations

import platform
from collections.abc import Mapping

import pytest
import torch

from workers.fingerprint import cpu_model, fingerprint

ASSETS = {"head": "0" * 64}


def found(assets: Mapping[str, str] = ASSETS, backend: str = "numba") -> str:
    cpu_model.cache_clear()
    return fingerprint(assets, backend, cpu_model()).id


def test_equal_machines_have_equal_fingerprints(monkeypatch: pytest.MonkeyPatch) -> None:
    before = found()
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert found() == before


def test_assets_and_backend_change_the_fingerprint() -> None:
    assert len({found(), found({"head": "1" * 64}), found(backend="torch")}) == 3


def test_another_libc_or_other_vector_instructions_change_the_fingerprint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = found()
    with monkeypatch.context() as patch:
        patch.setattr(platform, "libc_ver", lambda: ("glibc", "0.0"))
        assert found() != before
    with monkeypatch.context() as patch:
        patch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "less")
        assert found() != before
    assert found() == before
