"""What a shard's bytes depend on besides its job and its plan."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Final

import torch

from synthforge import __version__
from synthforge.shards import Fingerprint, Sha256
from workers.plugins import installed

_LIBRARIES: Final = ("llvmlite", "numba", "numpy", "opencv-python-headless", "simplejpeg", "torch")
_SOURCES: Final = ("synthforge", "workers")


def fingerprint(assets: Mapping[str, Sha256], backend: str, device: str) -> Fingerprint:
    """Return the fingerprint of this process.

    Args:
        assets: sha256 by name of all files that its generators read.
        backend: of the rasteriser.
        device: model of the device that renders, of `cpu_model` or of the GPU.
    """
    libraries = {name: version(name) for name in _LIBRARIES}
    return Fingerprint(
        code=f"{__version__}+{_source_digest()}",
        backend=backend,
        device=device,
        libraries={
            **libraries,
            "libc": " ".join(platform.libc_ver()),  # its sines and logarithms shape the draws
            "python": platform.python_version(),
            **installed(),
        },
        assets=dict(assets),
    )


@lru_cache(maxsize=1)
def cpu_model() -> str:
    """Name this machine's processor; compiled kernels differ from one model to the next.

    A hypervisor may hide vector instructions of the same model: the ones that torch takes count.
    """
    return f"{_cpu_name()} {torch.backends.cpu.get_cpu_capability()}"


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}".strip()
    wanted = ("vendor_id", "cpu family", "model", "model name", "stepping")
    found: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() in wanted:
            found.setdefault(name.strip(), value.strip())
    return " ".join(f"{found[name]}" for name in wanted if name in found) or platform.machine()


@lru_cache(maxsize=1)
def _source_digest() -> str:
    """Hash our own source: a changed line is another version of the code."""
    root = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for package in _SOURCES:
        for path in sorted((root / package).rglob("*.py")):
            digest.update(f"{path.relative_to(root).as_posix()}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
