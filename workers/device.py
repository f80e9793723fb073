"""Where networks run: the GPU that this process was given, else its processor."""

from __future__ import annotations

from functools import lru_cache

import torch

from workers.fingerprint import cpu_model


@lru_cache(maxsize=1)
def render_device() -> torch.device:
    """Return the device of this process's networks, set to equal bytes for equal inputs.

    Ray hides every GPU from an actor that asked for none. Products keep all bits of float32
    (TensorFloat-32 keeps 10), and convolutions are computed one way, not the fastest of the day.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    return torch.device("cuda")


def device_model() -> str:
    """Name what a worker's bytes are computed on: its processor, and its GPU if it has one."""
    if render_device().type == "cpu":
        return cpu_model()
    return f"{torch.cuda.get_device_name()} CUDA {torch.version.cuda}, {cpu_model()}"
