"""What a pool knows of its actors: what each makes, delivers and holds. Nothing here calls Ray."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from synthforge.jobs import GeneratorKind
from synthforge.leases import HeartbeatAnswer, Lease
from synthforge.shards import Fingerprint, ShardRecord
from workers.executions import Progress
from workers.flight_recorder import LastWords

# Shards that an actor may have on its disk, made and not yet in the store: back-pressure.
MAX_DELIVERING: Final = 2
# An actor looks between two chunks whether its work is wanted still: one that does not for so long
# hangs, in a driver call perhaps, and holds its GPU for good.
STUCK_S: Final = 120.0


ActorKey = tuple[GeneratorKind, str]  # of actors that may have each other's work: the fingerprint


@dataclass(frozen=True)
class Awake:
    """What an actor says of itself once its generator is loaded.

    Attributes:
        fingerprint: what its bytes depend on.
        node: Ray's id of the node that it runs on.
        folder: its scratch folder there, with its flight recorder.
    """

    fingerprint: Fingerprint
    node: str
    folder: Path


@dataclass
class Work:
    """A lease that an actor holds; times are of the monotonic clock, seconds."""

    lease: Lease
    answered_at: float
    beat_at: float
    beating: Future[HeartbeatAnswer] | None = None
    progress: Progress = field(default_factory=lambda: Progress(0, 0))
    cancelled_by_service: bool = False


@dataclass(eq=False)
class Slot:
    """An actor, what it makes and what it delivers.

    `waking` is its answer to what it is, `reading` what the service has of the job that it is to
    summarise. `idle_since` counts while it holds no work. `has_news`: it ended something
    since it was last looked at. `is_spent`: it is given nothing more, and ends with what it holds.
    `lost_at`: since when what it makes is not its own any more.
    """

    kind: GeneratorKind
    actor: Any
    waking: Any
    idle_since: float
    awake: Awake | None = None
    reading: Future[tuple[ShardRecord, ...]] | None = None
    works: dict[str, Work] = field(default_factory=dict)
    making: Any = None
    making_token: str = ""
    delivering: dict[Any, str] = field(default_factory=dict)
    watching: Any = None
    watched_at: float = 0.0
    has_news: bool = False
    is_spent: bool = False
    lost_at: float | None = None

    @property
    def is_free(self) -> bool:
        """Whether it can begin with another lease."""
        has_room = len(self.delivering) < MAX_DELIVERING
        is_able = self.awake is not None and not self.is_spent
        return is_able and not self.making_token and has_room

    @property
    def is_busy(self) -> bool:
        """Whether it holds work, or what it made of work that is lost."""
        return bool(self.making_token or self.delivering or self.works)

    @property
    def key(self) -> ActorKey | None:
        """What it shares with actors that may have its work; None before it is warm."""
        return None if self.awake is None else (self.kind, self.awake.fingerprint.id)

    def end_making(self) -> None:
        """Make nothing any more."""
        self.making, self.making_token, self.lost_at = None, "", None

    def lose(self, token: str, now: float) -> None:
        """Hold a lease no longer; what is made of it may go on for a moment."""
        self.works.pop(token, None)
        if token == self.making_token and self.lost_at is None:
            self.lost_at = now

    def is_stuck(self, now: float) -> bool:
        """Whether it goes on with what it was told to stop long ago."""
        return self.lost_at is not None and now - self.lost_at > STUCK_S

    def refs(self) -> Iterator[Any]:
        """Yield everything that Ray is still to answer."""
        for ref in (self.waking, self.making, self.watching):
            if ref is not None:
                yield ref
        yield from self.delivering


@dataclass
class Dead:
    """An actor that is gone, while its node is asked for its last words."""

    reason: str
    works: dict[str, Work]
    making_token: str
    words: Future[LastWords | None]
    until: float
