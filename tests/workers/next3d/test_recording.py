"""What a GPU is asked for again and again is recorded once, and not for ever."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from workers.generators.next3d.recording import MAX_RECORDINGS, Function, Recordings


def _doubled(x: Tensor) -> tuple[Tensor, ...]:
    return (2 * x,)


def test_on_a_processor_a_call_is_just_a_call() -> None:
    (found,) = Recordings(torch.device("cpu"))("doubled", _doubled, torch.ones(3))

    assert found.tolist() == [2, 2, 2]


class _Pretended(Recordings):
    """Records on a processor: a graph writes the function's outputs into their place."""

    def __init__(self) -> None:
        super().__init__(torch.device("cuda"))
        self.made: Counter[int] = Counter()

    def _recorded(self, function: Function, given: tuple[Tensor, ...]) -> object:
        own = tuple(each.clone() for each in given)
        found = function(*own)
        self.made[len(found)] += 1

        def replay() -> None:
            for place, new in zip(found, function(*own), strict=True):
                place.copy_(new)

        return SimpleNamespace(graph=SimpleNamespace(replay=replay), given=own, found=found)


def test_a_recording_answers_for_what_it_is_given_and_its_answer_stays() -> None:
    recordings = _Pretended()

    first = recordings("doubled", _doubled, torch.full((2,), 1.0))
    second = recordings("doubled", _doubled, torch.full((2,), 5.0))

    assert (first[0].tolist(), second[0].tolist()) == ([2, 2], [10, 10])
    assert recordings.made.total() == 1


def test_the_longest_unused_recording_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _: None)
    recordings, x = _Pretended(), torch.ones(1)
    for name in range(MAX_RECORDINGS):
        recordings(name, _doubled, x)
    recordings(0, _doubled, x)
    recordings("one more", _doubled, x)
    made = recordings.made.total()

    recordings(0, _doubled, x)
    assert recordings.made.total() == made == MAX_RECORDINGS + 1
    recordings(1, _doubled, x)
    assert recordings.made.total() == made + 1
