"""Why work comes back undone: what an exception says, and what a dead actor's last words say."""

from __future__ import annotations

from typing import Literal

from synthforge.leases import MAX_MESSAGE, LeaseReturn
from synthforge.storage import StorageError, StorageUnavailable
from workers.face_stream import PlanError
from workers.flight_recorder import LastWords
from workers.slots import Dead, Work
from workers.trouble import ActorSpent, AssetsChanged, Cancelled, MachineTrouble, as_spent


def of_error(error: BaseException, num_samples: int) -> LeaseReturn:
    """Tell from a worker's exception what the service should do: try again, or give up.

    Args:
        error: what the worker raised.
        num_samples: that were done, as far as the pool knows.
    """
    message = str(error).strip()[:MAX_MESSAGE]
    match error:
        case Cancelled():
            return LeaseReturn(reason="cancelled", num_samples=num_samples)
        case StorageUnavailable():
            return LeaseReturn(reason="store", message=message, num_samples=num_samples)
        case AssetsChanged():
            return LeaseReturn(reason="interrupted", message=message)
        case PlanError() | StorageError():
            return LeaseReturn(reason="failed", message=message, num_samples=num_samples)
    spent = error if isinstance(error, ActorSpent) else as_spent(error, num_samples)
    reason: Literal["store", "lost"] = "store" if isinstance(spent, MachineTrouble) else "lost"
    return LeaseReturn(
        reason=reason, message=str(spent)[:MAX_MESSAGE], num_samples=spent.num_samples
    )


def of_death(dead: Dead, work: Work, words: LastWords | None) -> LeaseReturn:
    """Tell whether the death of an actor says something about the work that it held.

    It does not where the node was lost with it (nobody has its last words), where it was told to
    leave, and where it was at other work or at none. What is on its way to the store is blamed only
    where nothing was being made beside it: a shard that kills must not take its neighbour along.

    Args:
        dead: the actor.
        work: that it held.
        words: what it was doing; None if its node does not answer.
    """
    token = work.lease.token
    if words is not None and not words.was_told_to_leave:
        if token == dead.making_token == words.token:
            return LeaseReturn(reason="lost", message=dead.reason, num_samples=words.position)
        if not dead.making_token:  # it was only delivering
            done = work.progress.num_samples
            return LeaseReturn(reason="lost", message=dead.reason, num_samples=done)
    return LeaseReturn(reason="interrupted", message=dead.reason)
