"""How many actors a pool wants of Ray, and of which generator: pure, decided anew every moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from synthforge.jobs import GeneratorKind


@dataclass(frozen=True)
class Bounds:
    """What an operator allows.

    Attributes:
        least: actors that are kept even without work.
        most: actors.
        idle_s: an actor without work is kept warm for so long.
    """

    least: int
    most: int
    idle_s: float


@dataclass(frozen=True)
class Held:
    """An actor that the pool has, or has asked Ray for.

    Attributes:
        kind: of the generator that it keeps warm.
        is_busy: it holds work.
        idle_s: since when it holds none.
    """

    kind: GeneratorKind
    is_busy: bool
    idle_s: float


@dataclass(frozen=True)
class Change:
    """What is to be done: actors to start, by generator, and numbers of actors to stop."""

    start: tuple[GeneratorKind, ...] = ()
    stop: tuple[int, ...] = ()


def wanted_change(
    waiting: Mapping[GeneratorKind, int], held: Sequence[Held], bounds: Bounds
) -> Change:
    """Ask for min(most, backlog) actors; Ray's autoscaler sees those that it cannot place yet.

    An idle actor of one generator gives its place to another generator that has work; otherwise it
    is kept warm for `idle_s`, and with it what it has loaded.

    Args:
        waiting: pieces of work that nobody holds, by generator; the first kind is the one that
            `least` actors are of.
        held: the pool's actors.
        bounds: of the operator.
    """
    idle = Counter(actor.kind for actor in held if not actor.is_busy)
    missing = {kind: max(0, waiting[kind] - idle[kind]) for kind in waiting}
    start: list[GeneratorKind] = []
    for kind in sorted(missing, key=lambda kind: -missing[kind]):
        start += [kind] * min(missing[kind], bounds.most - len(held) - len(start))
    if waiting and (lacking := bounds.least - len(held) - len(start)) > 0:
        start += [next(iter(waiting))] * lacking
    if sum(missing.values()) > len(start):
        return Change(tuple(start), _replaceable(waiting, held, sum(missing.values()) - len(start)))
    return Change(tuple(start), _expired(waiting, held, bounds))


def _replaceable(
    waiting: Mapping[GeneratorKind, int], held: Sequence[Held], num_wanted: int
) -> tuple[int, ...]:
    """Choose idle actors whose generators have no work, the longest idle first."""
    useless = [
        number
        for number, actor in enumerate(held)
        if not actor.is_busy and not waiting.get(actor.kind, 0)
    ]
    return tuple(sorted(useless, key=lambda number: -held[number].idle_s)[:num_wanted])


def _expired(
    waiting: Mapping[GeneratorKind, int], held: Sequence[Held], bounds: Bounds
) -> tuple[int, ...]:
    idle = [
        number
        for number, actor in enumerate(held)
        if not actor.is_busy and actor.idle_s >= bounds.idle_s and not waiting.get(actor.kind, 0)
    ]
    return tuple(idle[: max(0, len(held) - bounds.least)])
