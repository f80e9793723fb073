"""What may be done to a job in which state: pure, one table.

An action that a state does not allow is refused naming the state; a repeated one changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from service.errors import StateConflictError
from synthforge.job_status import JobState

_QUEUED, _RUNNING, _PAUSED = JobState.QUEUED, JobState.RUNNING, JobState.PAUSED
_FINALIZING, _CANCELLING = JobState.FINALIZING, JobState.CANCELLING


@dataclass(frozen=True)
class Action:
    """One thing that a user may ask of a job.

    Attributes:
        done: what the job is then, as in `it can be paused`.
        begins: the states in which it changes something.
        repeats: the states in which it was done before, or need not be.
    """

    done: str
    begins: tuple[JobState, ...]
    repeats: tuple[JobState, ...] = ()

    def changes(self, job_id: str, state: JobState) -> bool:
        """Tell whether the action changes a job in that state.

        Raises:
            StateConflictError: the state does not allow it.
        """
        if state in self.begins:
            return True
        if state in self.repeats:
            return False
        raise StateConflictError(job_id, state, _listed(self.begins), self.done)


PAUSE: Final = Action("paused", (_QUEUED, _RUNNING), (_PAUSED,))
RESUME: Final = Action("resumed", (_PAUSED,), (_QUEUED, _RUNNING, _FINALIZING))
CANCEL: Final = Action("cancelled", (_QUEUED, _RUNNING, _PAUSED), (_CANCELLING, JobState.CANCELLED))
RETRY: Final = Action(
    "retried", (JobState.FAILED, JobState.CANCELLED), (_QUEUED, _RUNNING, _FINALIZING)
)
CLEAR: Final = Action("cleared", tuple(state for state in JobState if state.is_final))
EXTEND: Final = Action("extended", (JobState.SUCCEEDED,))
REORDER: Final = Action("reordered", tuple(state for state in JobState if not state.is_final))


def state_at_work(num_shards: int, num_done: int, *, has_started: bool) -> JobState:
    """Return the state of a job that goes on, by how far it is."""
    if num_done == num_shards:
        return _FINALIZING
    return _RUNNING if has_started else _QUEUED


def _listed(states: tuple[JobState, ...]) -> str:
    *others, last = [state.value for state in states]
    return f"{', '.join(others)} or {last}" if others else last
