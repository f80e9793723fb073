"""The database: its tables, in SQL that SQLite and PostgreSQL share.

Times are seconds since 1970 (UTC) by the database's own clock. Counters on a job's row are kept
by every change of its shards, under the lock of that row, so that a status read is one row.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    literal_column,
    text,
)

from synthforge.job_status import JobState

LIVE_STATES: Final = tuple(state.value for state in JobState if not state.is_final)
# States in which a pool may be given work; the others have none to give.
LEASABLE_STATES: Final = (
    JobState.QUEUED.value,
    JobState.RUNNING.value,
    JobState.FINALIZING.value,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite gives a row its number only where the column is INTEGER.
_RowNumber = BigInteger().with_variant(Integer, "sqlite")
# Ranges of URLs are ranges of bytes: PostgreSQL's default collation would reorder them.
_Bytewise = Text().with_variant(Text(collation="C"), "postgresql")


def _in_states(states: tuple[str, ...]) -> str:
    return "state IN (" + ", ".join(f"'{state}'" for state in states) + ")"


jobs = Table(
    "jobs",
    metadata,
    Column("num", _RowNumber, primary_key=True, autoincrement=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("owner", String(64), nullable=False),  # id of the key that ordered it; '' without keys
    Column("idempotency_key", String(255)),
    Column("state", String(16), nullable=False),
    Column("reason", Text),
    Column("spec", Text, nullable=False),  # canonical JSON
    Column("generator", String(32), nullable=False),
    Column("output_url", _Bytewise, nullable=False),
    Column("priority", Integer, nullable=False),
    # NULL: any will do. Otherwise that of the first lease, '' until then.
    Column("fingerprint", String(16)),
    Column("num_samples", BigInteger, nullable=False),
    Column("num_completed", BigInteger, nullable=False),
    Column("num_rejected", BigInteger, nullable=False),
    Column("num_shards", Integer, nullable=False),
    Column("num_done", Integer, nullable=False),
    Column("num_leased", Integer, nullable=False),
    Column("num_set_aside", Integer, nullable=False),
    # Shards from here on have no row yet; the summary comes after the last.
    Column("next_position", Integer, nullable=False),
    Column("num_events", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("finished_at", Double),
    Column("told_at", Double, nullable=False),  # of the last event
    Column("files", Text),  # of the summary, JSON; set when the manifest can be written
    Column("digest", String(64)),
    Column("num_bytes", BigInteger, nullable=False, server_default="0"),  # of committed shards
    # What is being deleted of it: its objects, or its whole dataset.
    Column("clearing", String(8)),
    Column("deleted_at", Double),  # its dataset
    Column("base", Text),  # JSON of the dataset that it adds to
    Column("request_id", String(64)),  # of the request that made it
    Column("traceparent", String(55)),  # of that request's span, as W3C's Trace Context has it
    # What it left in the store was deleted; an upload that was under way may have come since.
    Column("cleared_at", Double),
    # Nothing lay then under its dataset's prefix that no manifest names.
    Column("swept_at", Double),
)
Index(None, jobs.c.owner, jobs.c.idempotency_key, unique=True)
Index(None, jobs.c.output_url)
Index(None, jobs.c.state, jobs.c.num)
Index(
    "ix_jobs_leasable",
    jobs.c.priority.desc(),
    jobs.c.num,
    sqlite_where=text(_in_states(LEASABLE_STATES)),
    postgresql_where=text(_in_states(LEASABLE_STATES)),
)

Index(
    "ix_jobs_fair",
    jobs.c.priority,
    jobs.c.owner,
    jobs.c.num,
    sqlite_where=text(_in_states(LEASABLE_STATES)),
    postgresql_where=text(_in_states(LEASABLE_STATES)),
)
_CLEARING: Final = "clearing IS NOT NULL"
Index(
    "ix_jobs_clearing", jobs.c.num, sqlite_where=text(_CLEARING), postgresql_where=text(_CLEARING)
)

shards = Table(
    "shards",
    metadata,
    Column("job_num", ForeignKey("jobs.num", ondelete="CASCADE"), primary_key=True),
    # Of the shard in the job, from 0; the summary's is the number of shards.
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("kind", String(8), nullable=False),  # shard, summary
    Column("state", String(10), nullable=False),  # open, leased, done, set_aside
    Column("token", String(64), nullable=False, unique=True),  # of the last execution
    Column("pool", String(128), nullable=False),
    Column("fingerprint", String(16), nullable=False),
    Column("executions", Integer, nullable=False),
    Column("deaths", Integer, nullable=False),
    Column("deaths_at_samples", BigInteger, nullable=False),
    Column("num_samples", BigInteger, nullable=False),
    Column("num_rejected", BigInteger, nullable=False),
    Column("leased_at", Double, nullable=False),
    Column("progress_at", Double, nullable=False),
    Column("lapses_at", Double, nullable=False),
    Column("open_at", Double, nullable=False),  # not leased again before
    Column("record", Text),  # JSON of the ShardRecord
)
Index(
    "ix_shards_leased",
    shards.c.lapses_at,
    sqlite_where=text("state = 'leased'"),
    postgresql_where=text("state = 'leased'"),
)
Index(
    "ix_shards_open",
    shards.c.job_num,
    shards.c.position,
    sqlite_where=text("state = 'open'"),
    postgresql_where=text("state = 'open'"),
)

# Partial indexes are taken only where a query says the same as the index, with the words in it:
# SQLite proves nothing about bound parameters.
IS_LEASABLE: Final = jobs.c.state.in_([literal_column(f"'{state}'") for state in LEASABLE_STATES])
IS_CLEARING: Final = text(_CLEARING)
IS_LEASED: Final = shards.c.state == literal_column("'leased'")
IS_OPEN: Final = shards.c.state == literal_column("'open'")

events = Table(
    "events",
    metadata,
    Column("job_num", ForeignKey("jobs.num", ondelete="CASCADE"), primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("kind", String(16), nullable=False),
    Column("data", Text, nullable=False),
)

# Numbered by job from 1 on; the oldest go where there are too many, so the first number tells how
# many went.
job_logs = Table(
    "job_logs",
    metadata,
    Column("job_num", ForeignKey("jobs.num", ondelete="CASCADE"), primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", Double, nullable=False),  # by the clock of whoever logged it
    Column("level", String(8), nullable=False),  # info, warning, error
    Column("message", Text, nullable=False),
    Column("shard", String(64)),
    Column("token", String(8)),  # its first characters
    Column("pool", String(128), nullable=False),
    Column("num_bytes", Integer, nullable=False),
)

fingerprints = Table(
    "fingerprints",
    metadata,
    Column("job_num", ForeignKey("jobs.num", ondelete="CASCADE"), primary_key=True),
    Column("id", String(16), primary_key=True),
    Column("fingerprint", Text, nullable=False),
    Column("generator", Text, nullable=False),
)

# Which replica writes a job's manifest, or deletes what it left, and until when no other does.
commits = Table(
    "commits",
    metadata,
    Column("job_num", ForeignKey("jobs.num", ondelete="CASCADE"), primary_key=True),
    Column("holder", String(32), nullable=False),
    Column("expires_at", Double, nullable=False),
)

_PREVIEW_OPEN: Final = "state = 'open'"
IS_PREVIEW_OPEN: Final = text("previews.state = 'open'")
previews = Table(
    "previews",
    metadata,
    Column("token", String(64), primary_key=True),
    Column("state", String(8), nullable=False),  # open, leased, done
    Column("generator", String(32), nullable=False),
    Column("spec", Text, nullable=False),
    Column("num_samples", Integer, nullable=False),
    Column("output_url", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),  # nobody waits for it any more
    Column("report", Text),  # JSON
)
Index(
    "ix_previews_open",
    previews.c.created_at,
    sqlite_where=text(_PREVIEW_OPEN),
    postgresql_where=text(_PREVIEW_OPEN),
)

webhooks = Table(
    "webhooks",
    metadata,
    Column("num", _RowNumber, primary_key=True, autoincrement=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("owner", String(64), nullable=False),
    Column("url", Text, nullable=False),
    Column("secret", String(128), nullable=False),  # signs what is sent
    Column("created_at", Double, nullable=False),
)
Index(None, webhooks.c.owner)

_DELIVERY_PENDING: Final = "state = 'pending'"
IS_DELIVERY_PENDING: Final = text("deliveries.state = 'pending'")
deliveries = Table(
    "deliveries",
    metadata,
    Column("num", _RowNumber, primary_key=True, autoincrement=True),
    Column("id", String(128), nullable=False),  # the same at each attempt
    Column("webhook_num", ForeignKey("webhooks.num", ondelete="CASCADE"), nullable=False),
    Column("body", Text, nullable=False),
    Column("state", String(8), nullable=False),  # pending, taken, dead
    Column("attempts", Integer, nullable=False),
    Column("next_at", Double, nullable=False),  # not sent before
    Column("error", Text),  # of the last attempt
    Column("created_at", Double, nullable=False),
)
Index(
    "ix_deliveries_pending",
    deliveries.c.next_at,
    sqlite_where=text(_DELIVERY_PENDING),
    postgresql_where=text(_DELIVERY_PENDING),
)
Index(None, deliveries.c.webhook_num, deliveries.c.num)

rates = Table(
    "rates",
    metadata,
    Column("generator", String(32), primary_key=True),
    Column("image_size", Integer, primary_key=True, autoincrement=False),
    Column("members", String(128), primary_key=True),
    Column("ranges", String(16), primary_key=True),
    Column("num_samples", BigInteger, nullable=False),
    Column("num_rejected", BigInteger, nullable=False),
    Column("num_bytes", BigInteger, nullable=False),
    Column("seconds", Double, nullable=False),  # of workers, from lease to report
    Column("noted_at", Double, nullable=False, server_default="0"),  # added to at last
)

pools = Table(
    "pools",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("generators", Text, nullable=False),  # comma-separated
    Column("fingerprint", String(16), nullable=False),
    Column("seen_at", Double, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("num", _RowNumber, primary_key=True, autoincrement=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("name", String(64), nullable=False),
    Column("hash", String(64), nullable=False, unique=True),  # sha256 of the key, hexadecimal
    Column("scopes", Text, nullable=False),  # comma-separated
    # NULL: as many as it likes.
    Column("max_jobs", BigInteger),
    Column("max_samples", BigInteger),
    Column("max_bytes", BigInteger),
    # In use; jobs and samples of jobs that have not ended.
    Column("num_jobs", BigInteger, nullable=False),
    Column("num_samples", BigInteger, nullable=False),
    Column("num_bytes", BigInteger, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("revoked_at", Double),
)
