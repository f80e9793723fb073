"""One training step after another; nothing about faces.

A step takes `accumulate` batches of every rank, and its gradient is that of the mean over the
weights of all of their samples: parts may differ in size.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

from trainer.ranks import ONE_RANK, Ranks

_BACKBONE: Final = "backbone."  # names of its parameters begin so
_EMA_WARM_UP: Final = 10.0  # steps in which the average follows the young model closely


class Weighted(Protocol):
    """A batch that says how much each of its samples counts."""

    @property
    def weight(self) -> Tensor:
        """(B,) weights."""
        ...


BatchT = TypeVar("BatchT", bound=Weighted)
Terms = dict[str, Tensor]
# model, batch, sum of all weights of the step -> what to minimise, and its named parts
LossFunction = Callable[[nn.Module, BatchT, Tensor], tuple[Tensor, Terms]]


@dataclass(frozen=True)
class LoopConfig:
    """How the model is fitted.

    Attributes:
        steps: optimiser steps in all.
        learning_rate: its peak, after the warm-up.
        warmup_steps: in which the rate rises from 0.
        final_share: of the peak, at the end of the cosine.
        second_beta: of AdamW: memory of the gradient's square; short runs want a short one.
        weight_decay: of AdamW, on weights of two or more axes.
        backbone_rate_share: of the learning rate, for the model's part `backbone`.
        clip_norm: largest norm of the gradient.
        accumulate: batches a step.
        ema_decay: of the averaged model that is evaluated and kept.
        bf16: compute in bfloat16 where the operators allow it.
        channels_last: memory format of pictures and features.
    """

    steps: int = 1000
    learning_rate: float = 2e-3
    warmup_steps: int = 50
    final_share: float = 0.01
    second_beta: float = 0.99
    weight_decay: float = 0.02
    backbone_rate_share: float = 1.0
    clip_norm: float = 1.0
    accumulate: int = 1
    ema_decay: float = 0.995
    bf16: bool = False
    channels_last: bool = True

    def __post_init__(self) -> None:
        for name in ("steps", "accumulate", "warmup_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: at least 1 would do")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate is {self.learning_rate}: above 0 would do")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay is {self.ema_decay}: 0 up to below 1 would do")


@dataclass(frozen=True)
class StepReport:
    """What one step did.

    Attributes:
        step: done so far, this one included.
        num_steps: in all.
        loss: the weighted sum.
        terms: its named parts, unweighted.
        learning_rate: of this step.
        step_s: from the step's begin to its end, or to the next one's begin, seconds.
        wait_s: of it, waiting for data.
        num_samples: that counted, on all ranks.
    """

    step: int
    num_steps: int
    loss: float
    terms: dict[str, float]
    learning_rate: float
    step_s: float
    wait_s: float
    num_samples: int


class Training(Generic[BatchT]):
    """A model on its way: its weights, their average, the optimiser's state, the step.

    Args:
        model: whose parameters are fitted.
        loss: of a batch.
        config: of the fit.
        ranks: the processes that take each step together, each on batches of its own.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: LossFunction[BatchT],
        config: LoopConfig,
        ranks: Ranks = ONE_RANK,
    ) -> None:
        if config.channels_last:
            model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model = model
        self.average = copy.deepcopy(model).requires_grad_(False).eval()
        self.config = config
        self.step = 0
        self._loss = loss
        self._ranks = ranks
        self._fitted = ranks.wrapped(model)
        self.optimiser = torch.optim.AdamW(
            _grouped(model, config),
            lr=config.learning_rate,
            betas=(0.9, config.second_beta),
            fused=True,
        )

    def run(
        self,
        batches: Iterator[BatchT],
        on_step: Callable[[StepReport], None],
        stop_at: int = -1,
        settle_every: int = 1,
    ) -> None:
        """Take steps until the config's number of them, or `stop_at`, is done.

        Args:
            batches: `accumulate` of them a step.
            on_step: told of each step.
            stop_at: last step of this call; by default the config's.
            settle_every: steps after which nothing has begun of the next one when `on_step` is
                told, and at the last. In between it is told of a step once the next has been
                handed to the device, which need not wait for the host to read figures.
        """
        self.model.train()
        last = self.config.steps if stop_at < 0 else min(stop_at, self.config.steps)
        late: _Taken | None = None
        while self.step < last:
            taken = self._take_step(batches)
            if late is not None:
                on_step(late.report(self.config, taken.begun))
            late = taken
            if self.step == last or self.step % settle_every == 0:
                on_step(late.report(self.config))
                late = None

    def _take_step(self, batches: Iterator[BatchT]) -> _Taken:
        """Hand one optimiser step on the next batches to the device."""
        begun = time.perf_counter()
        parts = list(islice(batches, self.config.accumulate))
        if len(parts) < self.config.accumulate:
            raise RuntimeError(f"the data ended after {self.step} of {self.config.steps} steps")
        waited = time.perf_counter() - begun
        rate = learning_rate(self.config, self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["rate_share"]
        names, values = self._gradient(parts)
        nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.step += 1
        self._follow()
        return _Taken(self.step, rate, begun, waited, names, OnItsWay(values))

    def state_dict(self) -> dict[str, Any]:
        """Return all that a stopped training needs to go on as if it had never stopped."""
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        self.step = int(state["step"])
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])

    def _gradient(self, parts: list[BatchT]) -> tuple[list[str], Tensor]:
        """Fill the gradients; return names and values of what `_Taken` holds, over all ranks."""
        total_weight = self._ranks.summed(torch.stack([part.weight.sum() for part in parts]).sum())
        names: list[str] = []
        sums: list[Tensor] = []
        for number, part in enumerate(parts, start=1):
            is_last = number == len(parts)
            with nullcontext() if is_last else self._ranks.kept_apart(self._fitted):
                with torch.autocast(
                    total_weight.device.type, torch.bfloat16, enabled=self.config.bf16
                ):
                    loss, terms = self._loss(self._fitted, part, total_weight)
                # The exchange takes the mean over ranks; each has its share of the sum.
                (loss * self._ranks.num_ranks).backward()  # type: ignore[no-untyped-call]
            names = list(terms)
            counted = (part.weight > 0).sum().to(loss.dtype)
            sums.append(
                torch.stack([counted, loss.detach(), *(t.detach() for t in terms.values())])
            )
        return names, self._ranks.summed(torch.stack(sums).sum(0))

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the averaged model towards the fitted one; running statistics are taken over."""
        decay = min(self.config.ema_decay, self.step / (self.step + _EMA_WARM_UP))
        averaged: list[Tensor] = list(self.average.parameters())
        fitted: list[Tensor] = list(self.model.parameters())
        torch._foreach_lerp_(averaged, fitted, 1.0 - decay)
        for own, its in _by_type(self.average.buffers(), self.model.buffers()):
            torch._foreach_copy_(own, its)


class OnItsWay:
    """Numbers that a device has yet to compute: the host waits only when it reads them."""

    def __init__(self, values: Tensor) -> None:
        self._values, self._event = values, None
        if values.device.type == "cuda":
            self._values = torch.empty_like(values, device="cpu", pin_memory=True)
            self._values.copy_(values, non_blocking=True)
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._event.record()

    def read(self) -> list[float]:
        """Return them, once they are there."""
        if self._event is not None:
            self._event.synchronize()
        found: list[float] = self._values.tolist()
        return found


@dataclass(frozen=True)
class _Taken:
    """A step that the device may still be at.

    Attributes:
        step: done so far, this one included.
        rate: of learning.
        begun: when, by `time.perf_counter`.
        waited: for data, seconds.
        names: of the loss terms.
        values: samples that counted, loss, terms.
    """

    step: int
    rate: float
    begun: float
    waited: float
    names: list[str]
    values: OnItsWay

    def report(self, config: LoopConfig, ended: float | None = None) -> StepReport:
        """Wait for the figures of the step, which ended now if not before."""
        counted, loss, *terms = self.values.read()
        return StepReport(
            step=self.step,
            num_steps=config.steps,
            loss=loss,
            terms=dict(zip(self.names, terms, strict=True)),
            learning_rate=self.rate,
            step_s=(time.perf_counter() if ended is None else ended) - self.begun,
            wait_s=self.waited,
            num_samples=int(counted),
        )


def learning_rate(config: LoopConfig, step: int) -> float:
    """Return the rate of a step: a straight rise, then half a cosine down to `final_share`."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    way = (step - config.warmup_steps) / max(config.steps - config.warmup_steps, 1)
    share = config.final_share + (1 - config.final_share) * 0.5 * (1 + math.cos(math.pi * way))
    return config.learning_rate * share


def _grouped(model: nn.Module, config: LoopConfig) -> list[dict[str, Any]]:
    """Decay matrices and kernels, not biases and scales; the backbone has a rate of its own."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            kind = (name.startswith(_BACKBONE), parameter.ndim <= 1)
            groups.setdefault(kind, []).append(parameter)
    return [
        {
            "params": parameters,
            "weight_decay": 0.0 if is_thin else config.weight_decay,
            "rate_share": config.backbone_rate_share if is_backbone else 1.0,
        }
        for (is_backbone, is_thin), parameters in groups.items()
    ]


def _by_type(
    own: Iterable[Tensor], its: Iterable[Tensor]
) -> Iterable[tuple[list[Tensor], list[Tensor]]]:
    """Return pairs of lists of one type each: such lists are copied in one go."""
    lists: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
    for one, other in zip(own, its, strict=True):
        pair = lists.setdefault(one.dtype, ([], []))
        pair[0].append(one)
        pair[1].append(other)
    return lists.values()
