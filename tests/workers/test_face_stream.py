"""The faces of a shard come in order, each once, and few of them wait in memory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from synthforge.jobs import parse_job_spec
from synthforge.shards import IndexRange, ShardPlan
from workers.face_maker import Draw, Refusal
from workers.face_stream import MAX_WAITING_CHUNKS, FaceStream, PlanError
from workers.quality import Rejected
from workers.sampling import IDENTITY_SCALARS, SAMPLE_SCALARS

SIZE = 4


class StubbornMaker:
    """Refuses some samples a number of times; counts the faces that it made and not yet gave."""

    chunk_size = SIZE

    def __init__(self, refusals: dict[int, int]) -> None:
        self._refusals = refusals
        self.held = 0
        self.most_held = 0

    def propose(self, draws: Sequence[Draw]) -> list[Any]:
        assert 0 < len(draws) <= SIZE
        results: list[Any] = []
        for draw in draws:
            face: Any = SimpleNamespace(
                index=draw.index,
                attempt=draw.attempt,
                split=draw.split,
                yaw_deg=0.0,
                scalars=dict.fromkeys((*SAMPLE_SCALARS, *IDENTITY_SCALARS), 0.0),
                drawn_betas=np.zeros(3),
                drawn_expression=np.zeros(3),
            )
            if draw.attempt < self._refusals.get(draw.index, 0):
                results.append(Refusal(face, Rejected("face_too_small", 0.0, 0.1)))
            else:
                results.append(SimpleNamespace(face=face))
                self.held += 1
        self.most_held = max(self.most_held, self.held)
        return results

    def finish(self, candidates: Sequence[Any]) -> list[int]:
        assert 0 < len(candidates) <= SIZE
        self.held -= len(candidates)
        return [candidate.face.index for candidate in candidates]


def stream_of(maker: StubbornMaker, count: int, max_attempts: int = 1000) -> FaceStream:
    document = {"count": count, "quality": {"max_attempts": max_attempts}}
    spec = parse_job_spec(json.dumps(document))
    plan = ShardPlan(split="train", number=0, indices=(IndexRange(start=0, stop=count),))
    return FaceStream(maker, spec, plan, lambda _: None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("count", "refusals"),
    [
        (1, {}),
        (SIZE, {}),
        (9, {0: 3, 8: 2}),
        (200, {0: 500}),
        (200, {0: 90, 1: 95, 2: 100, 3: 80, 4: 85, 150: 40}),
        (200, {index: index % 7 for index in range(200)}),
    ],
)
def test_faces_come_in_order_and_few_of_them_wait(count: int, refusals: dict[int, int]) -> None:
    maker = StubbornMaker(refusals)
    stream = stream_of(maker, count)
    chunks: list[Any] = list(stream.chunks())
    assert [index for chunk in chunks for index in chunk] == list(range(count))
    assert stream.tally.rejected.total() == sum(refusals.values())
    assert maker.most_held <= (MAX_WAITING_CHUNKS + 2) * SIZE


def test_a_sample_that_is_always_refused_ends_the_plan_and_says_why() -> None:
    with pytest.raises(PlanError, match=r"sample 2 was refused 3 times.*widen"):
        list(stream_of(StubbornMaker({2: 3}), 9, max_attempts=3).chunks())
