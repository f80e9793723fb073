"""What an exception says that nobody raised on purpose: of the machine, or of the sample at work.

Errors of ours by type (a plan that cannot be done, a store that does not answer, a cancel) pass
unchanged: they say themselves what is to follow. After anything else the process is not trusted: a
CUDA context that failed once fails for good, and memory that ran short may stay short.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import torch

from synthforge.storage import StorageError
from workers.face_stream import PlanError

log = logging.getLogger(__name__)

_OF_THE_DEVICE: Final = ("CUDA error", "CUDA driver error", "cuDNN error", "CUBLAS_STATUS_")
# The CUDA runtime's words for what a kernel does with its own arguments: another GPU does it too.
_OF_THE_KERNEL: Final = (
    "device-side assert",
    "illegal memory access",
    "illegal instruction",
    "misaligned address",
)


class Cancelled(Exception):  # noqa: N818 - says what happened
    """The execution was told to stop."""


class ActorSpent(Exception):  # noqa: N818 - says what happened
    """The lease comes back undone, and the actor that held it is not to be used again.

    Attributes:
        num_samples: of the plan before the one at work.
    """

    def __init__(self, message: str, num_samples: int = 0) -> None:
        super().__init__(message, num_samples)
        self.num_samples = num_samples

    def __str__(self) -> str:
        """Return the message."""
        return str(self.args[0])


class MachineTrouble(ActorSpent):
    """This machine lacked something (disk, memory, a sound GPU); it says nothing of the plan."""


class UnforeseenError(ActorSpent):
    """What nobody foresaw; it counts as a death over the sample at work."""


class AssetsChanged(ActorSpent):
    """The registry has other files than this actor's fingerprint says; the next one takes them."""


@contextmanager
def told_apart(position: Callable[[], int]) -> Iterator[None]:
    """Raise what is raised inside as what it says.

    Args:
        position: gives the samples of the plan before the one at work.

    Raises:
        MachineTrouble, UnforeseenError: see there.
    """
    try:
        yield
    except (PlanError, Cancelled, StorageError, ActorSpent):
        raise
    except Exception as error:
        raise as_spent(error, position()) from error


def as_spent(error: BaseException, num_samples: int) -> ActorSpent:
    """Return an exception that nobody raised on purpose as what it says."""
    what = f"{type(error).__name__}: {' '.join(str(error).split())}"
    if _is_of_the_machine(error):
        log.warning("this machine is in trouble: %s", what)
        return MachineTrouble(what, num_samples)
    log.error("a worker failed", exc_info=error)
    return UnforeseenError(what, num_samples)


def _is_of_the_machine(error: BaseException) -> bool:
    if isinstance(error, OSError | MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error)
    is_of_the_device = isinstance(error, torch.AcceleratorError) or (
        isinstance(error, RuntimeError) and any(word in text for word in _OF_THE_DEVICE)
    )
    return is_of_the_device and not any(word in text for word in _OF_THE_KERNEL)
