"""The rules of leases: pure, with `now` (the database's clock, seconds) as an argument."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from service.planning import PlannedShard
from synthforge.leases import LeaseRequest, LeaseReturn
from synthforge.shards import IndexRange, ShardRecord

DEATHS_TO_SET_ASIDE: Final = 3
FIRST_BACK_OFF_S: Final = 1.0
LONGEST_BACK_OFF_S: Final = 60.0
_CLOCK_S: Final = 1e-3  # more than what sums of seconds since 1970 are rounded by

Outcome = Literal["open", "set_aside"]


@dataclass(frozen=True)
class Terms:
    """How long a lease lives; all in seconds."""

    lease_s: float
    heartbeat_s: float
    stall_s: float


@dataclass(frozen=True)
class Progress:
    """How far an execution is, and since when it has been there."""

    num_samples: int
    num_rejected: int
    progress_at: float


@dataclass(frozen=True)
class Deaths:
    """How often executions of a shard died in a row, and after how many samples."""

    count: int
    num_samples: int


@dataclass(frozen=True)
class Verdict:
    """What becomes of a shard whose execution ended undone.

    Attributes:
        outcome: `open` to be leased again, `set_aside` for good.
        deaths: the count that stands now.
        open_at: not leased again before.
        reason: why its job failed, if it did.
    """

    outcome: Outcome
    deaths: Deaths
    open_at: float
    reason: str | None = None


def fair_shares(leased: Mapping[str, int], limit: int) -> dict[str, int]:
    """Share new leases among owners: each goes to the owner that has the fewest then.

    Args:
        leased: how many each owner has already.
        limit: how many there are to share.

    Returns:
        How many each owner gets, the neediest first; owners that get none are left out.
    """
    order = sorted(leased, key=lambda owner: (leased[owner], owner))
    heap = [(leased[owner], place) for place, owner in enumerate(order)]
    shares = dict.fromkeys(order, 0)
    for _ in range(limit if heap else 0):
        count, place = heapq.heappop(heap)
        shares[order[place]] += 1
        heapq.heappush(heap, (count + 1, place))
    return {owner: share for owner, share in shares.items() if share}


def may_work_on(generator: str, fingerprint: str | None, request: LeaseRequest) -> bool:
    """Tell whether a pool may have work of a job.

    Args:
        generator: of the job.
        fingerprint: None where any will do; '' where the first lease decides it.
        request: of the pool.
    """
    if request.fingerprint is None:
        return False
    return generator in request.generators and fingerprint in {None, "", request.fingerprint.id}


def advanced(held: Progress, num_samples: int, num_rejected: int, now: float) -> Progress:
    """Take in a heartbeat; one that comes late or twice takes nothing back.

    A refused sample is work too: a job of hard ranges may refuse for long before it accepts.
    """
    samples = max(held.num_samples, num_samples)
    rejected = max(held.num_rejected, num_rejected)
    moved = (samples, rejected) != (held.num_samples, held.num_rejected)
    return Progress(samples, rejected, now if moved else held.progress_at)


def lapses_at(terms: Terms, progress_at: float, now: float) -> float:
    """Return when a lease lapses: by silence from now on, or by work that stands still."""
    return min(now + terms.lease_s, progress_at + terms.stall_s)


def stood_still(terms: Terms, progress_at: float, lapses_at: float) -> bool:
    """Tell of a lease that lapsed whether its work stood still; if not, its pool was silent."""
    return lapses_at - progress_at >= terms.stall_s - _CLOCK_S


def judge_stall(terms: Terms, num_samples: int, deaths: Deaths, what: str, now: float) -> Verdict:
    """Decide about a shard whose worker hung while its pool spoke: it counts as a death."""
    counted = _counted(deaths, num_samples)
    if counted.count < DEATHS_TO_SET_ASIDE:
        return Verdict("open", counted, now)
    return Verdict(
        "set_aside",
        counted,
        now,
        f"{what} was set aside: {counted.count} times in a row it did not get beyond "
        f"{num_samples} samples, at last it stood still for {terms.stall_s:g} s",
    )


def judge_return(
    returned: LeaseReturn, deaths: Deaths, executions: int, what: str, now: float
) -> Verdict:
    """Decide about a shard whose pool gave it back.

    Only a `lost` execution counts as a death, and three in a row at one sample set the shard
    aside: whatever kills there would kill again.
    """
    match returned.reason:
        case "failed":
            message = _one_line(returned.message) or "no message was given"
            return Verdict("set_aside", deaths, now, f"{what} failed: {message}")
        case "lost":
            return _judge_death(returned, deaths, what, now)
        case "store":
            wait_s = min(FIRST_BACK_OFF_S * 2.0 ** min(executions - 1, 30), LONGEST_BACK_OFF_S)
            return Verdict("open", deaths, now + wait_s)
        case "interrupted" | "stopping" | "cancelled":
            return Verdict("open", deaths, now)


def _judge_death(returned: LeaseReturn, deaths: Deaths, what: str, now: float) -> Verdict:
    counted = _counted(deaths, returned.num_samples)
    if counted.count < DEATHS_TO_SET_ASIDE:
        return Verdict("open", counted, now)
    message = _one_line(returned.message)
    last_words = f": {message}" if message else ""
    return Verdict(
        "set_aside",
        counted,
        now,
        f"{what} was set aside: its worker died {counted.count} times after "
        f"{counted.num_samples} samples{last_words}",
    )


def _counted(deaths: Deaths, num_samples: int) -> Deaths:
    again = deaths.count > 0 and deaths.num_samples == num_samples
    return Deaths(deaths.count + 1 if again else 1, num_samples)


def _one_line(message: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in message).split())


def mismatch(record: ShardRecord, plan: PlannedShard) -> tuple[str, str, str] | None:
    """Return field, value and expectation of the first way a record differs from its plan."""
    for name, given, planned in (
        ("split", record.split, plan.split),
        ("number", record.number, plan.number),
        ("num_samples", record.num_samples, plan.num_samples),
        ("indices", _bounds(record.indices), plan.bounds),
    ):
        if given != planned:
            return f"record.{name}", _shown(given), _shown(planned)
    return None


def _bounds(indices: tuple[IndexRange, ...]) -> tuple[tuple[int, int], ...]:
    return tuple([(piece.start, piece.stop) for piece in indices])  # compares ten times as fast


def _shown(value: object) -> str:
    text = (
        ",".join(f"{start}:{stop}" for start, stop in value)
        if isinstance(value, tuple)
        else str(value)
    )
    return text if len(text) <= 80 else text[:77] + "..."
