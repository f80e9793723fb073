"""The faces of a shard in order: refused ones are drawn again, the accepted wait for their turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

from synthforge.jobs import JobSpec
from synthforge.shards import ShardPlan
from workers.encoding import LabelledFace
from workers.face_maker import Candidate, Draw, FaceMaker, Refusal
from workers.tally import Axes, Tally

MAX_WAITING_CHUNKS: Final = 8


class PlanError(Exception):
    """The plan cannot be carried out, by any worker at any time; the message says why."""


class FaceStream:
    """Yields a shard's labelled faces in the plan's order, a chunk at a time.

    Attributes:
        tally: what was drawn, accepted and refused so far.
    """

    def __init__(
        self, maker: FaceMaker, spec: JobSpec, plan: ShardPlan, before_chunk: Callable[[int], None]
    ) -> None:
        """Prepare; `before_chunk` is told the first sample's index and may raise to stop."""
        self.tally = Tally()
        self._maker = maker
        self._plan = plan
        self._max_attempts = spec.quality.max_attempts
        self._axes = Axes.of(spec)
        self._before_chunk = before_chunk
        self._waiting: dict[int, Candidate] = {}  # accepted, while an earlier sample is not yet

    def chunks(self) -> Iterator[list[LabelledFace]]:
        """Yield lists of up to `chunk_size` faces; each list is rendered in one go.

        Raises:
            PlanError: a sample was refused `max_attempts` times.
        """
        size = self._maker.chunk_size
        accepted = self._waiting
        ready: deque[Candidate] = deque()
        order = self._plan.sample_indices()
        wanted = next(order, None)
        for candidates in self._accepted_chunks():
            accepted.update((found.face.index, found) for found in candidates)
            while wanted in accepted:
                ready.append(accepted.pop(wanted))
                wanted = next(order, None)
            while len(ready) >= size or (wanted is None and ready):
                self._before_chunk(ready[0].face.index)
                yield self._maker.finish([ready.popleft() for _ in range(min(size, len(ready)))])

    def _accepted_chunks(self) -> Iterator[list[Candidate]]:
        """Yield what passed the gate, about in order.

        Retries go first, and nothing new is drawn while many faces wait for one that is refused
        again and again: each holds its label pictures.
        """
        size = self._maker.chunk_size
        split = self._plan.split
        first = (Draw(index, 0, split) for index in self._plan.sample_indices())
        retries: deque[Draw] = deque()
        while True:
            again = [retries.popleft() for _ in range(min(size, len(retries)))]
            room = max(0, MAX_WAITING_CHUNKS * size - len(self._waiting))
            draws = again + list(islice(first, min(size - len(again), room)))
            if not draws:
                return
            self._before_chunk(draws[0].index)
            results = self._maker.propose(draws)
            candidates = []
            for result in results:
                self.tally.count_draw(self._axes, result.face)
                if isinstance(result, Refusal):
                    retries.append(self._next_draw(result))
                else:
                    self.tally.count_accepted(self._axes, result.face)
                    candidates.append(result)
            yield candidates

    def _next_draw(self, refusal: Refusal) -> Draw:
        face, verdict = refusal.face, refusal.verdict
        self.tally.count_rejected(verdict.reason, face)
        if face.attempt + 1 >= self._max_attempts:
            raise PlanError(
                f"sample {face.index} was refused {self._max_attempts} times, at last for "
                f"{verdict.reason} ({verdict.measured:g}, limit {verdict.limit:g}): widen the "
                "ranges of pose and camera, or lower quality limits"
            )
        return Draw(face.index, face.attempt + 1, face.split)
