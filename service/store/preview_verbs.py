"""The verbs of previews: asked for, leased once, reported once, forgotten soon."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import bindparam, delete, func, insert, select, text, update

from service.database import Database, database_now
from service.errors import StaleLeaseError, TooManyPreviewsError
from service.tables import IS_PREVIEW_OPEN, previews

PreviewState = Literal["open", "leased", "done"]
LATE_S: Final = 60.0  # a worker that was slow has put its file by then

_INSERT: Final = insert(previews)
_NUM_WAITED_FOR: Final = (
    select(func.count()).select_from(previews).where(previews.c.expires_at > database_now())
)
_OPEN: Final = (
    select(previews.c.token)
    .where(IS_PREVIEW_OPEN, previews.c.expires_at > database_now())
    .where(previews.c.generator.in_(bindparam("generators", expanding=True)))
    .order_by(previews.c.created_at)
    .limit(bindparam("limit"))
)
_LEASE: Final = (
    update(previews)
    .where(previews.c.token == bindparam("wanted"), previews.c.state == text("'open'"))
    .values(state="leased")
    .returning(previews, (previews.c.expires_at - database_now()).label("patience_s"))
)
_REPORT: Final = (
    update(previews)
    .where(previews.c.token == bindparam("wanted"), previews.c.state == text("'leased'"))
    .values(state="done", report=bindparam("made"))
)
_BY_TOKEN: Final = select(previews).where(previews.c.token == bindparam("wanted"))
_FORGET: Final = delete(previews).where(previews.c.token == bindparam("wanted"))
_WITHDRAW: Final = _FORGET.where(previews.c.state == text("'open'"))
_LEFT: Final = select(previews).where(previews.c.expires_at < database_now() - LATE_S)


@dataclass(frozen=True)
class PreviewRow:
    """A preview that somebody waits for; `report` is JSON, once it is done."""

    token: str
    state: PreviewState
    generator: str
    spec: str
    num_samples: int
    output_url: str
    created_at: float
    expires_at: float
    report: str | None


@dataclass(frozen=True)
class NewPreview:
    """A preview to be."""

    token: str
    generator: str
    spec: str
    num_samples: int
    output_url: str


class PreviewVerbs:
    """What the service asks of its database about previews."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ask(self, new: NewPreview, patience_s: float, most: int) -> None:
        """Keep a preview that somebody waits for.

        Raises:
            TooManyPreviewsError: `most` are waited for already.
        """
        with self._database.write() as tx:
            if (tx.connection.scalar(_NUM_WAITED_FOR) or 0) >= most:
                raise TooManyPreviewsError(most)
            times = {"created_at": tx.now, "expires_at": tx.now + patience_s}
            tx.connection.execute(_INSERT, vars(new) | times | {"state": "open"})

    def lease(self, generators: tuple[str, ...], limit: int) -> list[tuple[PreviewRow, float]]:
        """Hand previews out, the oldest first; return each with the seconds left for it."""
        with self._database.read() as connection:
            wanted = {"generators": generators, "limit": limit}
            tokens = list(connection.scalars(_OPEN, wanted))
        granted = []
        for token in tokens:
            with self._database.write() as tx:
                row = tx.connection.execute(_LEASE, {"wanted": token}).first()
            if row is not None and row.patience_s > 0:
                granted.append((_preview_row(row), float(row.patience_s)))
        return granted

    def report(self, token: str, made: str) -> bool:
        """Keep what became of a preview; a report that comes twice changes nothing.

        Raises:
            StaleLeaseError: nobody waits for it any more.
        """
        with self._database.write() as tx:
            if tx.connection.execute(_REPORT, {"wanted": token, "made": made}).rowcount:
                return True
            if tx.connection.execute(_BY_TOKEN, {"wanted": token}).first() is None:
                raise StaleLeaseError
            return False

    def get(self, token: str) -> PreviewRow | None:
        """Read a preview; None where it was forgotten."""
        with self._database.read() as connection:
            row = connection.execute(_BY_TOKEN, {"wanted": token}).first()
        return None if row is None else _preview_row(row)

    def forget(self, token: str) -> None:
        """Forget a preview: it was fetched."""
        with self._database.write() as tx:
            tx.connection.execute(_FORGET, {"wanted": token})

    def withdraw(self, token: str) -> None:
        """Forget a preview that nobody waits for any more, unless a worker has begun with it."""
        with self._database.write() as tx:
            tx.connection.execute(_WITHDRAW, {"wanted": token})

    def left(self) -> list[PreviewRow]:
        """Read the previews that nobody fetched; their files are to be deleted."""
        with self._database.read() as connection:
            return [_preview_row(row) for row in connection.execute(_LEFT)]


def _preview_row(row: Any) -> PreviewRow:
    return PreviewRow(*row[: len(previews.c)])
