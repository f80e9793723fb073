"""The first schema: jobs, shards, events, fingerprints, pools."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_ROW_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_BYTEWISE = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_LEASABLE = sa.text("state IN ('queued', 'running', 'finalizing')")
_LEASED = sa.text("state = 'leased'")
_OPEN = sa.text("state = 'open'")


def upgrade() -> None:
    """Make every table."""
    op.create_table(
        "jobs",
        sa.Column("num", _ROW_NUMBER, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("idempotency_key", sa.String(length=255), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("generator", sa.String(length=32), nullable=False),
        sa.Column("output_url", _BYTEWISE, nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("fingerprint", sa.String(length=16), nullable=True),
        sa.Column("num_samples", sa.BigInteger(), nullable=False),
        sa.Column("num_completed", sa.BigInteger(), nullable=False),
        sa.Column("num_rejected", sa.BigInteger(), nullable=False),
        sa.Column("num_shards", sa.Integer(), nullable=False),
        sa.Column("num_done", sa.Integer(), nullable=False),
        sa.Column("num_leased", sa.Integer(), nullable=False),
        sa.Column("num_set_aside", sa.Integer(), nullable=False),
        sa.Column("next_position", sa.Integer(), nullable=False),
        sa.Column("num_events", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=True),
        sa.Column("finished_at", sa.Double(), nullable=True),
        sa.Column("told_at", sa.Double(), nullable=False),
        sa.Column("files", sa.Text(), nullable=True),
        sa.Column("digest", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("num", name=op.f("pk_jobs")),
        sa.UniqueConstraint("id", name=op.f("uq_jobs_id")),
    )
    op.create_index(
        "ix_jobs_leasable",
        "jobs",
        [sa.literal_column("priority DESC"), "num"],
        unique=False,
        sqlite_where=_LEASABLE,
        postgresql_where=_LEASABLE,
    )
    op.create_index(op.f("ix_jobs_output_url"), "jobs", ["output_url"], unique=False)
    op.create_index(
        op.f("ix_jobs_owner_idempotency_key"), "jobs", ["owner", "idempotency_key"], unique=True
    )
    op.create_index(op.f("ix_jobs_state_num"), "jobs", ["state", "num"], unique=False)
    op.create_table(
        "pools",
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("generators", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.String(length=16), nullable=False),
        sa.Column("seen_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_pools")),
    )
    op.create_table(
        "events",
        sa.Column("job_num", _ROW_NUMBER, nullable=False),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_num"], ["jobs.num"], name=op.f("fk_events_job_num"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_num", "seq", name=op.f("pk_events")),
    )
    op.create_table(
        "fingerprints",
        sa.Column("job_num", _ROW_NUMBER, nullable=False),
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("generator", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_num"], ["jobs.num"], name=op.f("fk_fingerprints_job_num"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_num", "id", name=op.f("pk_fingerprints")),
    )
    op.create_table(
        "shards",
        sa.Column("job_num", _ROW_NUMBER, nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("token", sa.String(length=64), nullable=False),
        sa.Column("pool", sa.String(length=128), nullable=False),
        sa.Column("fingerprint", sa.String(length=16), nullable=False),
        sa.Column("executions", sa.Integer(), nullable=False),
        sa.Column("deaths", sa.Integer(), nullable=False),
        sa.Column("deaths_at_samples", sa.BigInteger(), nullable=False),
        sa.Column("num_samples", sa.BigInteger(), nullable=False),
        sa.Column("num_rejected", sa.BigInteger(), nullable=False),
        sa.Column("leased_at", sa.Double(), nullable=False),
        sa.Column("progress_at", sa.Double(), nullable=False),
        sa.Column("lapses_at", sa.Double(), nullable=False),
        sa.Column("open_at", sa.Double(), nullable=False),
        sa.Column("record", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["job_num"], ["jobs.num"], name=op.f("fk_shards_job_num"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_num", "position", name=op.f("pk_shards")),
        sa.UniqueConstraint("token", name=op.f("uq_shards_token")),
    )
    op.create_index(
        "ix_shards_leased",
        "shards",
        ["lapses_at"],
        unique=False,
        sqlite_where=_LEASED,
        postgresql_where=_LEASED,
    )
    op.create_index(
        "ix_shards_open",
        "shards",
        ["job_num", "position"],
        unique=False,
        sqlite_where=_OPEN,
        postgresql_where=_OPEN,
    )


def downgrade() -> None:
    """Drop every table."""
    op.drop_table("shards")
    op.drop_table("fingerprints")
    op.drop_table("events")
    op.drop_table("pools")
    op.drop_table("jobs")
