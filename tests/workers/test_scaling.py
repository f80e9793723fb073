"""A pool wants as many actors as there is work, and none when there is none."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from synthforge.jobs import GeneratorKind
from workers.scaling import Bounds, Change, Held, wanted_change

BOUNDS = Bounds(least=0, most=4, idle_s=60)


def busy(kind: GeneratorKind = "builtin") -> Held:
    return Held(kind, is_busy=True, idle_s=0)


def idle(seconds: float, kind: GeneratorKind = "builtin") -> Held:
    return Held(kind, is_busy=False, idle_s=seconds)


def test_it_asks_for_as_many_as_there_is_work_up_to_the_most() -> None:
    assert wanted_change({"builtin": 2}, [], BOUNDS) == Change(start=("builtin",) * 2)
    assert wanted_change({"builtin": 1000}, [], BOUNDS) == Change(start=("builtin",) * 4)
    assert wanted_change({"builtin": 1000}, [busy()] * 3, BOUNDS) == Change(start=("builtin",))


def test_an_idle_actor_is_given_work_before_another_is_asked_for() -> None:
    assert wanted_change({"builtin": 1}, [idle(0)], BOUNDS) == Change()
    assert wanted_change({"builtin": 2}, [idle(0)], BOUNDS) == Change(start=("builtin",))


def test_it_goes_down_to_zero_once_actors_have_been_idle() -> None:
    held = [idle(59), idle(61), busy()]
    assert wanted_change({"builtin": 0}, held, BOUNDS) == Change(stop=(1,))


def test_the_least_are_started_without_work_and_kept() -> None:
    bounds = Bounds(least=2, most=4, idle_s=60)
    assert wanted_change({"builtin": 0}, [], bounds) == Change(start=("builtin",) * 2)
    assert wanted_change({"builtin": 0}, [idle(90)] * 3, bounds) == Change(stop=(0,))


def test_an_idle_actor_gives_its_place_to_a_generator_that_has_work() -> None:
    held = [busy(), idle(5), idle(9), idle(1)]
    assert wanted_change({"builtin": 0, "next3d": 2}, held, BOUNDS) == Change(stop=(2, 1))
    assert wanted_change({"builtin": 0, "next3d": 2}, held[:2], BOUNDS) == Change(
        start=("next3d",) * 2
    )


def test_an_actor_whose_own_generator_has_work_keeps_its_place() -> None:
    held = [busy()] * 3 + [idle(90)]
    assert wanted_change({"builtin": 1, "next3d": 5}, held, BOUNDS) == Change()


_KINDS = st.sampled_from(("builtin", "next3d"))


@given(
    st.dictionaries(_KINDS, st.integers(0, 20)),
    st.lists(st.builds(Held, _KINDS, st.booleans(), st.floats(0, 200)), max_size=6),
    st.integers(0, 3),
)
def test_it_never_has_more_than_the_most_nor_stops_one_at_work(
    waiting: dict[GeneratorKind, int], held: list[Held], least: int
) -> None:
    change = wanted_change(waiting, held, Bounds(least=least, most=6, idle_s=60))
    assert len(held) + len(change.start) <= 6
    assert len(set(change.stop)) == len(change.stop)
    assert not any(held[number].is_busy for number in change.stop)
    if not any(waiting.values()):
        assert len(held) - len(change.stop) >= min(least, len(held))
