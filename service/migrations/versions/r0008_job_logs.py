"""Log lines of jobs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_ROW_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "job_logs",
        sa.Column("job_num", _ROW_NUMBER, nullable=False),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("level", sa.String(length=8), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("shard", sa.String(length=64), nullable=True),
        sa.Column("token", sa.String(length=8), nullable=True),
        sa.Column("pool", sa.String(length=128), nullable=False),
        sa.Column("num_bytes", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_num"], ["jobs.num"], name=op.f("fk_job_logs_job_num"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_num", "seq", name=op.f("pk_job_logs")),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("job_logs")
