"""Several processes that fit one model together, whoever started them."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Final, Protocol, cast

import torch
import torch.distributed
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


class Ranks(Protocol):
    """This process among those that take each step together."""

    @property
    def rank(self) -> int:
        """Number of this process."""
        ...

    @property
    def num_ranks(self) -> int:
        """How many there are."""
        ...

    def wrapped(self, model: nn.Module) -> nn.Module:
        """Return the model such that a backward pass leaves the mean gradient of all ranks."""
        ...

    def kept_apart(self, fitted: nn.Module) -> AbstractContextManager[None]:
        """Within it a backward pass of a wrapped model exchanges nothing yet."""
        ...

    def summed(self, values: Tensor) -> Tensor:
        """Return the sum over all ranks."""
        ...


class OneRank:
    """One process alone."""

    rank: int = 0
    num_ranks: int = 1

    def wrapped(self, model: nn.Module) -> nn.Module:
        """Return the model itself."""
        return model

    def kept_apart(self, fitted: nn.Module) -> AbstractContextManager[None]:
        """Do nothing."""
        del fitted
        return nullcontext()

    def summed(self, values: Tensor) -> Tensor:
        """Return what is given."""
        return values


class DistributedRanks:
    """The processes of `torch.distributed`, which must be in use."""

    def __init__(self) -> None:
        self.rank: int = torch.distributed.get_rank()
        self.num_ranks: int = torch.distributed.get_world_size()

    def wrapped(self, model: nn.Module) -> nn.Module:
        """Wrap a model for data parallel training; batch statistics are shared on CUDA."""
        device = next(model.parameters()).device
        # A config may weigh no term of some head: its parameters get no gradient.
        if device.type != "cuda":
            return DistributedDataParallel(model, find_unused_parameters=True)
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return DistributedDataParallel(
            model, device_ids=[device.index], find_unused_parameters=True
        )

    def kept_apart(self, fitted: nn.Module) -> AbstractContextManager[None]:
        """Hold the exchange of gradients back until the next pass outside of it."""
        return cast(DistributedDataParallel, fitted).no_sync()

    def summed(self, values: Tensor) -> Tensor:
        """Add up over all ranks."""
        total = values.clone()
        torch.distributed.all_reduce(total)
        return total


ONE_RANK: Final = OneRank()


def own_ranks() -> Ranks:
    """Return the ranks of `torch.distributed` where it is in use, else one."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return DistributedRanks()
    return ONE_RANK
