"""What a GPU is asked for again and again is recorded once and then started in one go.

A network of hundreds of small kernels keeps a processor busy with starting them; a CUDA graph of
the same kernels, with the same memory, starts at once. On a processor a call is just a call.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

MAX_RECORDINGS: Final = 12
"""That are kept: a job needs four."""

Function = Callable[..., tuple[Tensor, ...]]


@dataclass(frozen=True)
class _Recording:
    graph: torch.cuda.CUDAGraph
    given: tuple[Tensor, ...]
    found: tuple[Tensor, ...]


class Recordings:
    """Functions of tensors of fixed shapes that never ask the host; for one thread at a time.

    All share one pool of memory: what lies between a function's inputs and its outputs is free
    again for the next. The outputs of a call are the caller's own.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._recordings: dict[Hashable, _Recording] = {}  # the longest unused first
        self._pool: Any = None

    def __call__(self, name: Hashable, function: Function, *given: Tensor) -> tuple[Tensor, ...]:
        """Return `function(*given)`.

        Args:
            name: one for every function and whatever it depends on but `given`.
            function: of which the kernels depend on nothing but the shapes of `given`.
            given: on any device; shapes of a name never change.
        """
        if self._device.type != "cuda":
            return function(*given)
        recording = self._recordings.pop(name, None)
        if recording is None:
            self._make_room()
            recording = self._recorded(function, given)
        self._recordings[name] = recording
        for own, new in zip(recording.given, given, strict=True):
            own.copy_(new, non_blocking=True)
        recording.graph.replay()
        return tuple(found.clone() for found in recording.found)

    def _make_room(self) -> None:
        """Forget the longest unused; jobs name ever new sizes and truncations."""
        if len(self._recordings) >= MAX_RECORDINGS:
            torch.cuda.synchronize(self._device)  # none is forgotten while it runs
            del self._recordings[next(iter(self._recordings))]

    def _recorded(self, function: Function, given: tuple[Tensor, ...]) -> _Recording:
        own = tuple(each.to(self._device, copy=True) for each in given)
        beside = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        beside.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(beside):  # libraries and Triton prepare themselves at a first call
            function(*own)
        torch.cuda.current_stream(self._device).wait_stream(beside)
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            found = function(*own)
        return _Recording(graph, own, found)
