"""The database's engine, clock and transactions: the one file that tells the two dialects apart."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import (
    URL,
    Connection,
    Double,
    Engine,
    FromClause,
    create_engine,
    event,
    make_url,
    select,
)
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler
from sqlalchemy.exc import ArgumentError, DisconnectionError, OperationalError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.sql.functions import FunctionElement

from service.statements import Session

_WOULD_DO: Final = "sqlite:///FILE or postgresql://HOST/NAME would do"
SQLITE_BUSY_S: Final = 30.0  # how long one process waits for another's writer
_MIGRATIONS: Final = Path(__file__).parent / "migrations"
# Keys of PostgreSQL's advisory locks: any two numbers that only we use.
_SUBMISSION_LOCK: Final = 0x53796E01
_MIGRATION_LOCK: Final = 0x53796E02
_TRUSTED_S: Final = 1.0  # a connection that was used so lately is alive
_USED_AT: Final = "used_at"


class database_now(FunctionElement[float]):  # noqa: N801 - it reads as an SQL function
    """Seconds since 1970 by the database's clock."""

    type = Double()
    inherit_cache = True


@compiles(database_now, "sqlite")
def _now_sqlite(*_args: Any, **_options: Any) -> str:
    # julianday counts from noon of 24 November 4714 BC; 1970 began at 2440587.5.
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(database_now, "postgresql")
def _now_postgres(*_args: Any, **_options: Any) -> str:
    return "extract(epoch from clock_timestamp())::double precision"


def place_of(url: str) -> str:
    """Return where a database is, for a person: a file's whole path, a server's URL, no password.

    Args:
        url: SQLAlchemy's, as the setting `database_url` has it.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        return str(Path(parsed.database).absolute())
    return parsed.render_as_string(hide_password=True)


@dataclass(frozen=True)
class Transaction:
    """An open transaction that may write.

    Attributes:
        session: to run prepared statements in it.
        now: the database's time at its start.
    """

    session: Session
    now: float

    @property
    def connection(self) -> Connection:
        """To run any other statement in it."""
        return self.session.connection


class Database:
    """One database: reads side by side, writers one at a time on SQLite."""

    def __init__(self, url: str, *, sqlite_synchronous: str = "normal") -> None:
        """Open nothing yet; `url` is SQLAlchemy's.

        Raises:
            ValueError: the URL is none, or of another database than SQLite (a file) and PostgreSQL.
        """
        try:
            parsed = make_url(url)
        except ArgumentError:  # not shown: a password may be in it
            raise ValueError(f"database_url is no URL: {_WOULD_DO}") from None
        self.url: Final = url
        self._is_sqlite = parsed.get_backend_name() == "sqlite"
        if self._is_sqlite:
            if parsed.database in {None, "", ":memory:"}:
                raise ValueError(f"database_url {url!r}: SQLite needs a file, sqlite:///FILE")
            self.engine = _sqlite_engine(url, sqlite_synchronous)
        elif parsed.get_backend_name() == "postgresql":
            self.engine = _postgres_engine(parsed)
        else:
            raise ValueError(f"database_url {parsed.render_as_string()!r}: {_WOULD_DO}")
        self._now: Final = str(select(database_now()).compile(dialect=self.engine.dialect))
        # Open, idle, last used: each is used by one thread at a time. While a thread waits for the
        # pool, what becomes idle goes back there, or the pool would wait for what lies here.
        self._idle: deque[tuple[Session, float]] = deque()
        self._num_waiting = 0
        self._idle_lock = threading.Lock()
        # SQLite's own wait for the writer sleeps in growing steps; threads queue here instead.
        self._writer = threading.Lock() if self._is_sqlite else nullcontext()

    @property
    def is_missing(self) -> bool:
        """Whether it is a file that is not there yet, so that opening it would make one."""
        url = self.engine.url
        is_plain_file = self._is_sqlite and "uri" not in url.query
        return is_plain_file and not Path(str(url.database)).exists()

    @property
    def answers_at_once(self) -> bool:
        """Whether it is a file here, and not a server at the other end of a wire."""
        return self._is_sqlite

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Read the latest state, at each statement anew: outside a transaction, one round trip."""
        with self.session() as session:
            yield session.connection

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """Write all or nothing; commits when the block ends, rolls back when it raises."""
        with self._writer, self.session() as session:
            now = self._begin(session)
            yield Transaction(session, now)
            session.control("COMMIT")

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Read as `read` does, by prepared statements.

        The connection is an idle one or new; after a failure the pool rolls it back.
        """
        session = self._take()
        try:
            yield session
        except BaseException:
            session.connection.close()
            raise
        with self._idle_lock:
            if not self._num_waiting:
                self._idle.append((session, time.monotonic()))
                return
        session.connection.close()

    def _take(self) -> Session:
        while (held := self._take_idle()) is not None:
            session, used_at = held
            if self._is_sqlite or time.monotonic() - used_at < _TRUSTED_S:
                return session
            session.connection.close()  # the pool looks whether it is alive
        try:
            return Session(self.engine.connect())
        finally:
            with self._idle_lock:
                self._num_waiting -= 1

    def _take_idle(self) -> tuple[Session, float] | None:
        """Return an idle session; None where there is none, and count who waits for the pool."""
        with self._idle_lock:
            if self._idle:
                return self._idle.pop()
            self._num_waiting += 1
            return None

    def _begin(self, session: Session) -> float:
        """Begin to write; returns the time."""
        if self._is_sqlite:
            session.control("BEGIN IMMEDIATE")
            (now,) = session.control(self._now).fetchone()
        else:
            cursor = session.control(f"BEGIN; {self._now}")  # one round trip
            cursor.nextset()
            (now,) = cursor.fetchone()
        return float(now)

    def serialize_submissions(self, transaction: Transaction) -> None:
        """Let one submission at a time look for others on its prefix, until the commit."""
        if not self._is_sqlite:  # there a writer is alone already
            transaction.session.control(f"SELECT pg_advisory_xact_lock({_SUBMISSION_LOCK})")

    def migrate(self, revision: str = "head") -> None:
        """Bring the schema to a revision, up or down; replicas that start at once take turns."""
        with self._writer, self.engine.begin() as connection:
            session = Session(connection)
            self._begin(session)
            if not self._is_sqlite:
                session.control(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
            config = _alembic_config(connection)
            if revision == "base":
                command.downgrade(config, revision)
            else:
                command.upgrade(config, revision)

    def is_ready(self) -> bool:
        """Tell whether the database answers and its schema is this release's."""
        try:
            with self.read() as connection:
                current = MigrationContext.configure(connection).get_current_revision()
        except OperationalError:
            return False
        return current == _head_revision()

    def close(self) -> None:
        """Close every connection."""
        while self._idle:
            self._idle.pop()[0].connection.close()
        self.engine.dispose()


def _alembic_config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _head_revision() -> str | None:
    return ScriptDirectory.from_config(_alembic_config()).get_current_head()


def _postgres_engine(url: URL) -> Engine:
    """Speak to PostgreSQL by psycopg 3, whichever driver SQLAlchemy would take by default."""
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    engine = create_engine(url, pool_size=20, max_overflow=20, isolation_level="AUTOCOMMIT")

    @event.listens_for(engine, "checkout")
    def _ping_if_idle(connection: Any, record: ConnectionPoolEntry, _proxy: Any) -> None:
        # The server may have been restarted meanwhile; `pool_pre_ping` would ask every time.
        if time.monotonic() - record.info.get(_USED_AT, 0.0) > _TRUSTED_S:
            try:
                engine.dialect.do_ping(connection)
            except psycopg.OperationalError as error:
                raise DisconnectionError from error  # SQLAlchemy opens another one

    @event.listens_for(engine, "checkin")
    def _note_use(_connection: Any, record: ConnectionPoolEntry) -> None:
        record.info[_USED_AT] = time.monotonic()

    return engine


class _HintedCompiler(SQLiteCompiler):
    """Writes `with_hint` after the table, as INDEXED BY stands: SQLAlchemy leaves it out."""

    def get_from_hint_text(self, _table: FromClause, text: str | None) -> str | None:
        """Return the hint as it was given."""
        return text


def _sqlite_engine(url: str, synchronous: str) -> Engine:
    engine = create_engine(url, pool_size=20, max_overflow=40, isolation_level="AUTOCOMMIT")
    engine.dialect.statement_compiler = _HintedCompiler

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver begins nothing by itself
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {int(SQLITE_BUSY_S * 1000)}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute(f"PRAGMA synchronous = {synchronous}")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    return engine
