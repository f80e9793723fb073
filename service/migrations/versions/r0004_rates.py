"""What samples cost: measured sums a kind of job."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "rates",
        sa.Column("generator", sa.String(length=32), nullable=False),
        sa.Column("image_size", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("members", sa.String(length=128), nullable=False),
        sa.Column("ranges", sa.String(length=16), nullable=False),
        sa.Column("num_samples", sa.BigInteger(), nullable=False),
        sa.Column("num_rejected", sa.BigInteger(), nullable=False),
        sa.Column("num_bytes", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint(
            "generator", "image_size", "members", "ranges", name=op.f("pk_rates")
        ),
    )


def downgrade() -> None:
    """Forget what was measured."""
    op.drop_table("rates")
