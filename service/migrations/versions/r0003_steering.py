"""Extending, deleting and fair shares: three columns of jobs, two indexes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_LEASABLE = sa.text("state IN ('queued', 'running', 'finalizing')")
_CLEARING = sa.text("clearing IS NOT NULL")
_COLUMNS = ("clearing", "deleted_at", "base")


def upgrade() -> None:
    """Add columns and indexes."""
    op.add_column("jobs", sa.Column("clearing", sa.String(length=8), nullable=True))
    op.add_column("jobs", sa.Column("deleted_at", sa.Double(), nullable=True))
    op.add_column("jobs", sa.Column("base", sa.Text(), nullable=True))
    op.create_index(
        "ix_jobs_fair",
        "jobs",
        ["priority", "owner", "num"],
        unique=False,
        sqlite_where=_LEASABLE,
        postgresql_where=_LEASABLE,
    )
    op.create_index(
        "ix_jobs_clearing",
        "jobs",
        ["num"],
        unique=False,
        sqlite_where=_CLEARING,
        postgresql_where=_CLEARING,
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_index("ix_jobs_clearing", table_name="jobs")
    op.drop_index("ix_jobs_fair", table_name="jobs")
    for name in _COLUMNS:
        op.drop_column("jobs", name)
